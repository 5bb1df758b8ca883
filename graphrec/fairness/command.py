"""``graphrec fairness``: how unfair a saved model is to groups of items, and what mends it.

Libraries are imported when the command runs, so that help is quick.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphrec.fairness.report import FairnessReport
    from graphrec.fairness.study import FairnessOptions

Commands = Any
"""What ``argparse`` calls a group of sub-commands."""

KS = [1, 5, 10, 20]


def add_fairness_command(commands: Commands) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "fairness",
        help="shares of groups of items in lists against those in histories",
        description="Shares of groups (genres, popularity) in recommended lists against a target (MGU, DGU, "
        "with intervals), of the model's own lists, of lists reranked with a punishment that validation "
        "chooses, and of lists calibrated to the target at least cost.",
    )
    parser.add_argument("--model", required=True, metavar="DIR", help="saved model, e.g. runs/mine/export")
    parser.add_argument("--data", required=True, metavar="FOLDER", help="folder written by data-prep")
    parser.add_argument(
        "--groups",
        nargs="+",
        default=["popularity"],
        metavar="NAME",
        help="popularity, popularity:10, or a column of groups such as genres (default: popularity)",
    )
    parser.add_argument(
        "--target",
        default="history",
        metavar="NAME",
        help="history, history-once, train, catalogue, uniform, or a JSON file of shares by group "
        "(default: history)",
    )
    parser.add_argument("--counting", choices=["full", "fractional"], default="full")
    parser.add_argument("--ks", nargs="+", type=int, default=KS, metavar="K", help="list lengths")
    parser.add_argument("--alphas", nargs="+", type=float, metavar="A", help="default: 0, 0.01, ... 0.1")
    parser.add_argument(
        "--form",
        choices=["convex_minmax", "additive_minmax", "additive_raw"],
        default="convex_minmax",
        help="how the punishment is added (default: convex_minmax)",
    )
    parser.add_argument("--keep", type=float, default=0.97, help="share of NDCG to be left (default: 0.97)")
    parser.add_argument(
        "--calibrated-k",
        type=int,
        metavar="K",
        help="length of calibrated lists (default: 10 where it is in ks)",
    )
    parser.add_argument("--no-calibration", action="store_true", help="leave calibrated lists out")
    parser.add_argument(
        "--tolerance", type=float, default=0.005, help="of calibrated shares (default: 0.005)"
    )
    parser.add_argument(
        "--no-decoding", action="store_true", help="leave answers held to groups out, of models that write"
    )
    parser.add_argument("--out", metavar="FOLDER", help="where the report goes (default: beside the model)")
    parser.add_argument("--label", help="what the report calls the model (default: its name)")
    parser.add_argument("--seed", type=int, default=0, help="of the intervals (default: 0)")
    parser.add_argument(
        "--tracking",
        choices=["none", "wandb"],
        default="none",
        help="wandb: keep figures, curves and plots on Weights & Biases too",
    )
    parser.add_argument(
        "--wandb-mode", choices=["auto", "online", "offline"], help="default: offline where no key is found"
    )


def run(options: argparse.Namespace) -> int:
    """Study a saved model and write its report."""
    from rich.console import Console

    from graphrec.data import RecommendationData
    from graphrec.fairness.report import FairnessReport, check_place
    from graphrec.fairness.study import study
    from graphrec.recommender import Recommender

    if options.wandb_mode and options.tracking == "none":
        raise ValueError("--wandb-mode needs --tracking wandb; add it, or leave it out")
    chosen = _options(options)
    model = Recommender.from_pretrained(options.model)
    data = RecommendationData.load(options.data)
    folder = Path(options.out) if options.out else Path(options.model).parent / "fairness"
    check_place(folder, data.manifest)
    studies = study(model, data, tuple(options.groups), chosen)
    report = FairnessReport(options.label or model.name, data.manifest, chosen, studies)
    written = report.write(folder)
    _print(report)
    if options.tracking == "wandb":
        _track(report, written, folder, options.wandb_mode or "auto")
    Console(highlight=False).print(f"report: {folder}", markup=False)
    return 0


def _track(report: FairnessReport, written: list[Path], folder: Path, mode: Any) -> None:
    from graphrec.fairness.tracking import track
    from moltc.backbone.tracking import RunTracker, WandbConfig

    config = WandbConfig(mode=mode, name=f"{report.label} fairness", tags=("fairness",))
    with RunTracker(config, folder, project="graphrec") as tracker:
        if tracker.mode == "disabled":
            return
        tracker.log_hyperparams({"model": report.label, "data": report.manifest.name})
        track(report, written, tracker)


def _options(options: argparse.Namespace) -> FairnessOptions:
    from graphrec.fairness.reranking import ALPHAS
    from graphrec.fairness.study import FairnessOptions
    from moltc.backbone.bootstrap import Bootstrap

    if options.no_calibration and options.calibrated_k:
        raise ValueError("--calibrated-k and --no-calibration exclude each other; leave one out")
    ks = tuple(sorted(set(options.ks)))
    deep = tuple(k for k in ks if k >= 5) or ks
    calibrated = options.calibrated_k or (10 if 10 in ks else ks[-1])
    return FairnessOptions(
        ks=ks,
        counting=options.counting,
        target=_target(options.target),
        alphas=tuple(options.alphas or ALPHAS),
        form=options.form,
        fairness_ks=deep,
        accuracy_k=5 if 5 in ks else deep[0],
        keep=options.keep,
        calibrated_k=None if options.no_calibration else calibrated,
        tolerance=options.tolerance,
        decoding=not options.no_decoding,
        bootstrap=Bootstrap(seed=options.seed),
    )


def _target(given: str) -> Any:
    """A name as it is, or the shares of a JSON file."""
    path = Path(given)
    if path.suffix != ".json":
        return given
    try:
        shares = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON object of shares by group: {error}") from error
    plain = isinstance(shares, Mapping) and all(
        isinstance(share, (int, float)) and not isinstance(share, bool) for share in shares.values()
    )
    if not plain:
        raise ValueError(f"{path} is no JSON object of numbers by group, such as {{'Drama': 0.4, ...}}")
    return shares


def _print(report: FairnessReport) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 240)
    for name, found in report.studies.items():
        table = Table("metric", title=f"{report.label} on {report.manifest.name}, {name}")
        for arm in found.arms:
            table.add_column(f"reranked, alpha {found.chosen.alpha:g}" if arm == "reranked" else arm)
        for k in report.options.ks:
            for kind in ("MGU", "DGU", "NDCG"):
                cells = [arm.metrics.get(f"{kind}@{k}") for arm in found.arms.values()]
                table.add_row(
                    f"{kind}@{k}",
                    *("" if c is None else f"{c.value:.4f} ({c.low:.4f} to {c.high:.4f})" for c in cells),
                )
        console.print(table)
