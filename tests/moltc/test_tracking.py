"""A tracked run, read back from disk: what it keeps, what it does not, and that nothing is sent."""

from __future__ import annotations

import json
import math
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest
import yaml
from lightning.pytorch.utilities import rank_zero_only
from offline_runs import OfflineRun, offline_runs
from tiny_pairs import StoppedError, arguments, callback, write_pairs

from moltc.bootstrap import Metric
from moltc.drawings import chosen_pairs, distinct_molecules
from moltc.lightning_cli import run
from moltc.tracking import RunTracker, WandbConfig, choose_mode, data_summary, flat_metrics, has_key

SHOWN = 5
KEY = {"WANDB_API_KEY": "0" * 40}
REPORT = {
    "dataset": "tiny",
    "pairs": 48,
    "rows": {"read": 50, "rejected": {"count": 2}},
    "leakage": {"pairs": 0},
    "sources": [{"name": "tiny.csv"}],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A folder of solvation pairs with a build report."""
    folder = write_pairs(tmp_path_factory.mktemp("tracked") / "tiny", "solvation")
    (folder / "report.json").write_text(json.dumps(REPORT))
    return folder


@pytest.fixture(scope="module", autouse=True)
def keyless(tmp_path_factory):
    """No key and no W&B setting of the machine reaches these tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("API_KEY", "MODE", "PROJECT", "NAME", "DIR", "BASE_URL", "IDENTITY_TOKEN_FILE"):
            patch.delenv(f"WANDB_{name}", raising=False)
        patch.setenv("NETRC", str(tmp_path_factory.mktemp("home") / "none"))
        yield


def fit(data: Path, root: Path, **options: object) -> int:
    """A tracked run of two epochs."""
    named = {
        "tracking": "wandb",
        "wandb__group": "seeds",
        "wandb__tags": "[tiny, test]",
        "drawn_pairs": SHOWN,
    }
    return run("fit", arguments("fit", data, root, **(named | options)))


@pytest.fixture(scope="module")
def root(data, tmp_path_factory) -> Path:
    """Folder of a finished run that was tracked offline."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    assert fit(data, folder) == 0
    return folder


@pytest.fixture(scope="module")
def tracked(root) -> OfflineRun:
    """What W&B kept of it."""
    (found,) = offline_runs(root)
    return found


def results(root: Path) -> dict:
    return json.loads((root / "test/metrics.json").read_text())


# -- a tracked run ---------------------------------------------------------------------------------------


def test_history_holds_every_logged_metric(root, tracked):
    """Promise: W&B and metrics.csv hold the same figures at the same steps."""
    log = pl.read_csv(root / "logs/version_0/metrics.csv", infer_schema_length=None)
    names = [name for name in log.columns if "/" in name]
    assert {"train/loss", "val/rmse"} <= set(names)
    for name in names:
        expected = dict(log.drop_nulls(name).select("step", name).iter_rows())
        assert tracked.series(name) == pytest.approx(expected), name


def test_configuration_is_the_saved_one_with_the_data_report(root, tracked):
    saved = yaml.safe_load((root / "logs/version_0/config.yaml").read_text())
    kept = {name: value for name, value in tracked.config.items() if name != "_wandb"}
    reports = kept.pop("data_reports")
    assert kept == saved
    assert reports == [{"dataset": "tiny", "pairs": 48, "rejected": 2, "leakage": {"pairs": 0}}]


def test_summary_holds_test_results_with_intervals_and_baselines(root, tracked):
    found = results(root)
    rows = {"test": found["metrics"]} | {f"baseline/{name}": row for name, row in found["baselines"].items()}
    assert "baseline/mean of train" in rows
    for prefix, metrics in rows.items():
        for name, metric in metrics.items():
            for ending, value in (("", "value"), ("_low", "low"), ("_high", "high")):
                assert tracked.summary[f"{prefix}/{name}{ending}"] == metric[value]


def test_table_shows_chosen_pairs_with_one_drawing_a_molecule(root, tracked):
    answered = pl.read_parquet(root / "test/predictions.parquet")
    expected = chosen_pairs(answered, SHOWN)
    files = tracked.files("run_table")
    table = json.loads(files["test/pairs.table.json"])
    columns = table["columns"]
    assert {"molecule_a", "molecule_b", "truth", "value", "error", "low", "high", "text"} <= set(columns)
    assert len(table["data"]) == SHOWN < answered.height
    for name in ("smiles_a", "smiles_b", "truth", "value", "error", "text", "chosen"):
        assert [row[columns.index(name)] for row in table["data"]] == expected[name].to_list()
    drawings = {name: content for name, content in files.items() if name.endswith(".png")}
    assert len(drawings) == len(distinct_molecules(expected))
    assert all(content.startswith(b"\x89PNG") for content in drawings.values())
    for molecule, smiles in (("molecule_a", "smiles_a"), ("molecule_b", "smiles_b")):
        for row in table["data"]:
            drawn = row[columns.index(molecule)]
            assert drawn["path"] in drawings
            assert drawn["caption"] == row[columns.index(smiles)]
    assert tracked.summary["test/pairs_note"].startswith(f"{SHOWN} of 8 test pairs")


def test_plots_are_pictures_of_the_run(root, tracked):
    shown = {name.removeprefix("test/plots/") for row in tracked.history for name in row if "plots" in name}
    assert shown == {plot.stem for plot in (root / "test").glob("*.png")} >= {"parity", "loss1"}


@pytest.mark.parametrize("kind", ["data-report", "model"])
def test_artifacts_are_copies_kept_with_the_run(data, root, tracked, kind):
    """Promise: the data report and the exported model stay with the offline run, whole."""
    source = data if kind == "data-report" else root / "export"
    expected = [data / "report.json"] if kind == "data-report" else source.rglob("*")
    files = tracked.files(kind)
    assert files == {f.relative_to(source).as_posix(): f.read_bytes() for f in expected if f.is_file()}
    copies = [Path(entry.local_path) for entry in tracked.artifacts[kind].manifest.contents]
    assert all(copy.is_relative_to(root / "wandb") for copy in copies)


def test_run_is_filed_under_its_names_and_ended(root, tracked):
    assert (tracked.run.project, tracked.run.display_name) == ("moltc", root.name)
    assert (tracked.run.run_group, list(tracked.run.tags)) == ("seeds", ["tiny", "test"])
    assert tracked.exit_code == 0


def test_tasks_of_a_joint_run_are_kept_apart(pairs_folder, tmp_path):
    folders = [str(pairs_folder(family)) for family in ("solvation", "ddi")]
    options = {"data__folder": json.dumps(folders), "trainer__max_epochs": 1}
    assert fit(Path("unused"), tmp_path, **options) == 0
    (found,) = offline_runs(tmp_path)
    for task in ("tiny-solvation.solvation_free_energy", "tiny-ddi.interaction"):
        result = json.loads((tmp_path / "test" / task / "metrics.json").read_text())
        for name, metric in result["metrics"].items():
            assert found.summary[f"test/{task}/{name}"] == metric["value"]
        assert f"test/{task}/pairs" in found.summary
        assert (tmp_path / "test" / task / "pairs.html").is_file()
    assert found.config["data_reports"] == []


def test_nothing_private_is_recorded(tracked):
    """Promise: no machine, user, code, git state, package list or console text."""
    assert not (tracked.run.host or tracked.run.git.remote_url or tracked.run.git.commit)
    assert not tracked.kinds & {"environment", "output", "output_raw", "stats"}
    kept = {path.relative_to(tracked.folder / "files").parts[0] for path in tracked.folder.glob("files/*")}
    assert kept == {"media"}


# -- further starts --------------------------------------------------------------------------------------


def test_resumed_and_tested_runs_go_on_under_the_same_id(data, root, tracked, tmp_path):
    """Promise: resume and test continue the W&B run; a fresh start in the same folder is another one."""
    folder = tmp_path / "moved"
    shutil.copytree(root, folder)
    last = folder / "checkpoints/last.ckpt"
    assert fit(data, folder, ckpt_path=last, trainer__max_epochs=3) == 0
    best = folder / "checkpoints/best.ckpt"
    again = {"tracking": "wandb", "ckpt_path": best, "drawn_pairs": 0}
    assert run("test", arguments("test", data, folder, **again)) == 0
    assert fit(data, folder, trainer__max_epochs=1) == 0
    first, resumed, tested, fresh = offline_runs(folder)
    assert first.run.run_id == resumed.run.run_id == tested.run.run_id == tracked.run.run_id
    assert fresh.run.run_id != first.run.run_id
    assert list(resumed.series("train/loss")) == [8, 9, 10, 11]
    assert "test/rmse" in tested.summary
    assert "run_table" not in tested.artifacts


def test_new_runs_have_ids_of_their_own(tmp_path):
    assert RunTracker(WandbConfig(), tmp_path).version != RunTracker(WandbConfig(), tmp_path).version


def test_failed_run_is_marked_as_failed(data, tmp_path):
    with pytest.raises(StoppedError):
        fit(data, tmp_path, trainer__callbacks=callback("StopAt", step=3))
    (found,) = offline_runs(tmp_path)
    assert found.exit_code == 1
    assert list(found.series("train/loss")) == [0, 1, 2]


def test_offline_run_opens_no_connection(tmp_path, monkeypatch):
    """Promise: offline, nothing is asked of the server, a proxy or anyone else."""
    calls = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"http://127.0.0.1:{server.getsockname()[1]}"
        for name in ("WANDB_BASE_URL", "HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
            monkeypatch.setenv(name, place)

        def listen() -> None:
            try:
                while True:
                    calls.append(server.accept())
            except OSError:
                return  # closed

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        with RunTracker(WandbConfig(), tmp_path, "abcd1234") as tracker:
            tracker.log_metrics({"train/loss": 1.0}, 0)
            tracker.log_artifact(Path(__file__), name="a file", kind="data-report")
        server.shutdown(socket.SHUT_RDWR)
        listener.join(timeout=5)
    assert calls == []
    assert offline_runs(tmp_path)[0].series("train/loss") == {0: 1.0}


def test_offline_run_says_why_and_how_to_send_it(tmp_path, capsys):
    with RunTracker(WandbConfig(), tmp_path, "abcd1234") as tracker:
        tracker.log_metrics({"train/loss": 1.0}, 0)
    (said,) = capsys.readouterr().out.splitlines()
    (folder,) = tmp_path.glob("wandb/offline-run-*")
    assert said == (
        f"W&B: offline, no API key was found (WANDB_API_KEY, or wandb login); to send it: wandb sync {folder}"
    )


def test_only_the_first_process_starts_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    with RunTracker(WandbConfig(), tmp_path, "abcd1234") as tracker:
        tracker.log_metrics({"train/loss": 1.0}, 0)
        tracker.log_hyperparams({"a": 1})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "environment"),
    [({}, {}), ({"tracking": "wandb"}, {"WANDB_MODE": "disabled"})],
    ids=["by-default", "switched-off-from-outside"],
)
def test_untracked_runs_leave_the_same_files_and_no_wandb(
    data, root, tmp_path, monkeypatch, options, environment
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert run("fit", arguments("fit", data, tmp_path, drawn_pairs=SHOWN, **options)) == 0
    for part in ("test", "export", "logs/version_0"):
        names = [{path.name for path in (folder / part).iterdir()} for folder in (root, tmp_path)]
        assert names[0] == names[1]
    assert (tmp_path / "test/pairs.html").is_file()
    assert not (tmp_path / "wandb").exists()
    assert results(tmp_path) == results(root)


def test_wandb_is_imported_only_for_tracked_runs():
    code = "import sys, moltc.lightning_cli; print('wandb' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wandb__project": "p"}, "need --tracking wandb"),
        ({"wandb__mode": "sometimes"}, r"wandb\.mode.*see moltc fit --help"),
        ({"drawn_pairs": -1}, "drawn_pairs must be 0 or"),
    ],
    ids=["project-without-tracking", "mode", "pairs"],
)
def test_wrong_options_end_in_one_sentence(data, tmp_path, capsys, options, message):
    assert run("fit", arguments("fit", data, tmp_path, **options)) == 2
    (said,) = (line for line in capsys.readouterr().err.splitlines() if "Seed set" not in line)
    assert re.search(message, said)


# -- which mode ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "environment", "expected"),
    [
        ("auto", {}, "offline"),
        ("auto", KEY, "online"),
        ("auto", KEY | {"WANDB_MODE": "offline"}, "offline"),
        ("auto", {"WANDB_MODE": "dryrun"}, "offline"),
        ("auto", {"WANDB_MODE": "disabled"}, "disabled"),
        ("offline", KEY, "offline"),
        ("online", {"WANDB_MODE": "offline"}, "online"),
        ("disabled", KEY, "disabled"),
    ],
    ids=["no-key", "key", "environment", "older-name", "off", "asked-offline", "asked-online", "asked-off"],
)
def test_mode(tmp_path, mode, environment, expected):
    """Promise: what is asked for comes first, then WANDB_MODE, then whether there is a key."""
    assert choose_mode(WandbConfig(mode=mode), {"HOME": str(tmp_path)} | environment)[0] == expected


@pytest.mark.parametrize(
    ("machine", "server", "expected"),
    [
        ("api.wandb.ai", None, True),
        ("example.org", None, False),
        ("wandb.example.org", "https://wandb.example.org", True),
        ("api.wandb.ai", "https://wandb.example.org", False),
    ],
    ids=["public", "other-host", "own-server", "key-of-the-public-server"],
)
def test_key_in_the_netrc_file(tmp_path, machine, server, expected):
    """Promise: wandb login is enough; a key of another server is none."""
    (tmp_path / ".netrc").write_text(f"machine {machine}\n  login user\n  password {'0' * 40}\n")
    environment = {"HOME": str(tmp_path)} | ({"WANDB_BASE_URL": server} if server else {})
    assert has_key(environment) is expected


def test_unreadable_settings_are_named(tmp_path):
    with pytest.raises(ValueError, match="WANDB_MODE must be online, offline or disabled, not 'maybe'"):
        choose_mode(WandbConfig(), {"WANDB_MODE": "maybe"})
    (tmp_path / ".netrc").write_text("machine\n")
    with pytest.raises(ValueError, match=r"\.netrc may hold the W&B key but cannot be read"):
        choose_mode(WandbConfig(), {"HOME": str(tmp_path)})


# -- small parts -----------------------------------------------------------------------------------------


def test_undefined_numbers_are_null():
    found = flat_metrics("test", {"rmse": Metric(0.5, math.nan, math.inf)})
    assert found == {"test/rmse": 0.5, "test/rmse_low": None, "test/rmse_high": None}


def test_data_summary_leaves_sources_out(data):
    assert "sources" not in data_summary(data / "report.json")
