"""Weights & Biases beside the files of a run: configuration, metrics, pictures, tables, data report, model.

Nothing is sent unless a run asks for it and an API key is found (or ``mode: online`` is chosen): without a
key all is kept in the run's folder, ready for ``wandb sync``. Code, git state, machine and user are never
recorded. ``wandb`` is imported when a run starts.
"""

from __future__ import annotations

import json
import math
import netrc
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from moltc.backbone.bootstrap import Metric

if TYPE_CHECKING:
    import wandb

Mode = Literal["online", "offline", "disabled"]

# WANDB_MODE also takes the older names.
_ENVIRONMENT_MODES: dict[str, Mode] = {
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}
# No code, git state, console text, package list, machine or user leaves the process.
_PRIVATE: dict[str, Any] = {
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "disable_job_creation": True,
    "save_code": False,
    "host": "",
    "username": "",
    "email": "",
    "program": "moltc",
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
    "symlink": False,
}
_REPORT_KEYS = ("dataset", "family", "computed", "notes", "pairs", "merged", "split", "leakage")


@dataclass(frozen=True)
class WandbConfig:
    """How a run appears on Weights & Biases.

    Parameters
    ----------
    mode : auto: online where an API key is found (WANDB_API_KEY or netrc), otherwise offline; WANDB_MODE is
        heeded. online, offline, disabled: as said.
    project : where the run is filed (default: WANDB_PROJECT, or the name of the command).
    entity : user or team (default: the key's own).
    name : of the run (default: WANDB_NAME, or the name of the run's folder).
    group : runs that belong together, such as seeds.
    tags : short words to find the run by.
    """

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    project: str | None = None
    entity: str | None = None
    name: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()


def choose_mode(config: WandbConfig, environment: Mapping[str, str] = os.environ) -> tuple[Mode, str]:
    """The mode of a run, and why in a few words.

    Raises
    ------
    ValueError : WANDB_MODE is no mode, or the netrc file cannot be read.
    """
    if config.mode != "auto":
        return config.mode, "wandb.mode says so"
    if said := environment.get("WANDB_MODE"):
        if said not in _ENVIRONMENT_MODES:
            raise ValueError(f"WANDB_MODE must be online, offline or disabled, not {said!r}")
        return _ENVIRONMENT_MODES[said], "WANDB_MODE says so"
    if has_key(environment):
        return "online", "an API key was found"
    return "offline", "no API key was found (WANDB_API_KEY, or wandb login)"


def has_key(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether credentials for the W&B server stand in the environment or the netrc file.

    Raises
    ------
    ValueError : the netrc file cannot be read.
    """
    if environment.get("WANDB_API_KEY") or environment.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    home = Path(environment.get("HOME") or Path.home())
    files = [Path(environment["NETRC"])] if "NETRC" in environment else [home / ".netrc", home / "_netrc"]
    host = urlsplit(environment.get("WANDB_BASE_URL") or "https://api.wandb.ai").netloc
    for file in files:
        if file.is_file():
            try:
                return netrc.netrc(file).authenticators(host) is not None
            except (netrc.NetrcParseError, OSError) as error:
                raise ValueError(
                    f"{file} may hold the W&B key but cannot be read ({error}); mend it, or choose wandb.mode"
                ) from error
    return False


class RunTracker(Logger):
    """The W&B run of one folder, as a Lightning logger. It starts with the first thing said to it, and on the
    first process only.

    Parameters
    ----------
    config : how the run appears.
    root : the run's folder; W&B's own files go to ``root/wandb``.
    run_id : id of the W&B run to go on with; None: a new one.
    project : where it is filed if neither the configuration nor WANDB_PROJECT says so.
    """

    def __init__(
        self, config: WandbConfig, root: Path, run_id: str | None = None, project: str = "moltc"
    ) -> None:
        super().__init__()
        self._project = project
        self.config, self.root = config, Path(root).resolve()
        self.run_id = run_id or secrets.token_hex(4)
        self.mode, self._reason = choose_mode(config)
        self._run: wandb.Run | None = None

    @property
    def name(self) -> str:
        """The project."""
        return self.config.project or os.environ.get("WANDB_PROJECT") or self._project

    @property
    def version(self) -> str:
        """The run's id."""
        return self.run_id

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.root)

    @property
    @rank_zero_experiment
    def experiment(self) -> wandb.Run:
        """The W&B run, for anything not covered here."""
        if self._run is None:
            self._run = self._start()
        return self._run

    def _start(self) -> wandb.Run:
        import wandb

        config = self.config
        self.root.mkdir(parents=True, exist_ok=True)
        settings = _PRIVATE | {"silent" if self.mode == "offline" else "quiet": True}
        with self._own_folders():
            try:
                run = wandb.init(
                    project=self.name,
                    entity=config.entity,
                    name=config.name or os.environ.get("WANDB_NAME") or self.root.name,
                    group=config.group,
                    tags=list(config.tags) or None,
                    id=self.run_id,
                    resume="allow",
                    mode=self.mode,
                    dir=str(self.root),
                    reinit="create_new",
                    settings=settings,
                )
            except wandb.Error as error:
                said = str(error).splitlines()[0]
                raise ValueError(
                    f"W&B does not start ({said}); --wandb.mode offline needs no server"
                ) from error
        say = Console(highlight=False, soft_wrap=True)
        if self.mode == "offline":
            folder = Path(run.dir).parent
            say.print(f"W&B: offline, {self._reason}; to send it: wandb sync {folder}", markup=False)
        elif self.mode == "online":
            say.print(f"W&B: {run.url}", markup=False)
        return run

    @contextmanager
    def _own_folders(self) -> Iterator[None]:
        """Keep copies of artifacts in the run's folder, and send W&B no error reports; what the user has set
        stays."""
        folder = self.root / "wandb"
        ours = {
            "WANDB_DATA_DIR": str(folder),
            "WANDB_CACHE_DIR": str(folder / "cache"),
            "WANDB_ERROR_REPORTING": "false",
        }
        added = {name: value for name, value in ours.items() if name not in os.environ}
        os.environ.update(added)
        try:
            yield
        finally:
            for name in added:
                os.environ.pop(name, None)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Add settings to the run's configuration."""
        self.experiment.config.update(dict(params), allow_val_change=True)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add what a training step or a validation measured."""
        self.experiment.log(dict(metrics), step=step)

    def log_results(
        self,
        metrics: Mapping[str, Metric],
        rows: Mapping[str, Mapping[str, Metric]],
        plots: Sequence[Path],
        task: str = "",
    ) -> None:
        """Keep test results: the model's as ``test/NAME`` with ``_low`` and ``_high``, those of other methods
        as ``baseline/METHOD/NAME`` likewise, and plots (PNG); one of several tasks has its name after the
        first word."""
        behind = f"/{task}" if task else ""
        summary = flat_metrics(f"test{behind}", metrics)
        for method, found in rows.items():
            summary |= flat_metrics(f"baseline{behind}/{method}", found)
        self.experiment.summary.update(summary)
        if plots:
            self.log_images({f"test{behind}/plots/{plot.stem}": plot for plot in plots})

    def log_images(self, images: Mapping[str, Path]) -> None:
        """Keep pictures (PNG) by name."""
        import wandb

        self.experiment.log({name: wandb.Image(str(path)) for name, path in images.items()})

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Keep a table by name; a cell may be text, a number, or a picture of wandb's."""
        import wandb

        table = wandb.Table(columns=list(columns))
        for row in rows:
            table.add_data(*(_plain(cell) for cell in row))
        with self._own_folders():
            self.experiment.log({name: table})

    def log_artifact(self, path: Path, *, name: str, kind: str) -> None:
        """Keep a file or a folder as artifact; offline, a copy of it stays with the run."""
        import wandb

        artifact = wandb.Artifact(re.sub(r"[^\w.-]+", "-", name), type=kind)
        with self._own_folders():
            policy: Any = "mutable" if self.mode == "offline" else "immutable"
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file():
                    inside = file.relative_to(path).as_posix() if path.is_dir() else file.name
                    artifact.add_file(str(file), name=inside, skip_cache=True, policy=policy)
            self.experiment.log_artifact(artifact)

    def __enter__(self) -> RunTracker:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.finish(failed=kind is not None)

    def finish(self, *, failed: bool = False) -> None:
        """End the run, if it started: everything said is then on disk, or sent."""
        run, self._run = self._run, None
        if run is None:
            return
        import wandb

        with self._own_folders():
            run.finish(exit_code=int(failed))
            if wandb.run is None:  # nobody else's run is open
                wandb.teardown()  # the process that writes the files ends with the last byte on disk


def flat_metrics(prefix: str, metrics: Mapping[str, Metric]) -> dict[str, float | None]:
    """Metrics as plain entries ``PREFIX/NAME``, ``_low`` and ``_high``; undefined numbers are null."""
    flat = {}
    for name, metric in metrics.items():
        for ending, number in (("", metric.value), ("_low", metric.low), ("_high", metric.high)):
            flat[f"{prefix}/{name}{ending}"] = number if math.isfinite(number) else None
    return flat


def add_tracking(parser: Any) -> None:
    """The options ``--tracking`` and ``--wandb`` of a jsonargparse parser."""
    parser.add_argument(
        "--tracking",
        type=Literal["none", "wandb"],
        default="none",
        help="wandb: keep the run on Weights & Biases too, offline where no API key is found",
    )
    parser.add_class_arguments(WandbConfig, "wandb")


def data_summary(report: Path) -> dict[str, Any]:
    """What the configuration of a run says about its data: the main entries of a build's ``report.json``."""
    whole = json.loads(report.read_text(encoding="utf-8"))
    summary = {key: whole[key] for key in _REPORT_KEYS if key in whole}
    if "rows" in whole:
        summary["rejected"] = whole["rows"]["rejected"]["count"]
    return summary


def _plain(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
