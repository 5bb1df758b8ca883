"""Does a conservative, contrastive learner do what its terms are there for? Four checks over several seeds.

No figure of MCRL (arXiv 2310.16566) is known to this project, so that the learner is accepted by its
behaviour: every loss falls; the conservative term lowers the values of random items; the transition model
tells the taken item from others; lists are no worse than those of SQN with the same encoder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from data_prep.errors import DataError
from data_prep.files import existing
from graphrec.data import RecommendationData
from graphrec.offline_rl.probes import Probes, probe
from graphrec.offline_rl.recommender import OfflineRL

TERMS = ("actor", "td", "conservative", "reward_contrast", "transition_contrast")
SHARE = 0.1
"""Share of a run's logged steps that its beginning and its end are averaged over."""
FAR_ABOVE_CHANCE = 2.0
"""Times chance that the transition model must reach."""
LEAST_SEEDS = 3


class Check(NamedTuple):
    """One check: what it asks, whether it holds, and the figures."""

    question: str
    holds: bool
    found: str


def check(
    data: RecommendationData,
    full: Sequence[Path],
    bare: Sequence[Path],
    sqn: Sequence[Path],
    *,
    metric: str | None = None,
) -> list[Check]:
    """The four checks.

    Args:
        data: what the runs were fitted on; its test rows are asked about.
        full: run folders of the learner, one for each seed.
        bare: the same without its conservative term, in the same order of seeds.
        sqn: SQN with the same encoder.
        metric: of the test rows, compared in the last check; default: the one that data name.

    Raises:
        ValueError: there are fewer than three seeds, or the runs are not what they are named as.
    """
    for name, runs in (("full", full), ("bare", bare), ("sqn", sqn)):
        if len(runs) < LEAST_SEEDS:
            raise ValueError(f"{len(runs)} runs of {name}: give at least {LEAST_SEEDS}, each of another seed")
    if len(bare) != len(full):
        raise ValueError(
            f"{len(full)} runs of full and {len(bare)} of bare are compared seed by seed: give as many"
        )
    models = {name: [_model(run) for run in runs] for name, runs in _named(full, bare, sqn).items()}
    _check_roles(models)
    probes = {name: [probe(model, data.test) for model in found] for name, found in models.items()}
    wanted = metric or data.manifest.metric
    scores = {
        name: [_score(run, wanted, data) for run in runs] for name, runs in (("full", full), ("sqn", sqn))
    }
    return [
        losses_fall([falls(run) for run in full]),
        random_items_are_worth_less(probes["full"], probes["bare"]),
        transitions_are_told_apart(probes["full"]),
        lists_are_no_worse(scores["full"], scores["sqn"], wanted),
    ]


def losses_fall(found: Sequence[Mapping[str, tuple[float, float]]]) -> Check:
    """(i) Every logged term is lower at the end of every run than at its beginning."""
    rising = [name for run in found for name, (first, last) in run.items() if not last < first]
    means = {name: np.mean([run[name] for run in found], axis=0) for name in found[0]}
    told = "; ".join(f"{name} {first:.4g} to {last:.4g}" for name, (first, last) in means.items())
    return Check("each loss decreases", not rising, told)


def random_items_are_worth_less(full: Sequence[Probes], bare: Sequence[Probes]) -> Check:
    """(ii) The mean value of random items is lower with the conservative term, seed by seed."""
    with_term, without = (np.array([p.random_value for p in group], dtype=float) for group in (full, bare))
    told = f"{_spread(with_term)} with the conservative term, {_spread(without)} without"
    return Check("random items are worth less", bool((with_term < without).all()), told)


def transitions_are_told_apart(full: Sequence[Probes]) -> Check:
    """(iii) The transition model is far above chance in every seed."""
    found, chance = np.array([p.transition_top1 for p in full], dtype=float), full[0].chance
    told = f"top-1 accuracy {_spread(found)}, chance {chance:.4f}"
    return Check("transitions are told apart", bool(found.min() > FAR_ABOVE_CHANCE * chance), told)


def lists_are_no_worse(full: Sequence[float], sqn: Sequence[float], metric: str) -> Check:
    """(iv) The mean over seeds is not below that of SQN by more than one standard deviation."""
    ours, theirs = np.array(full), np.array(sqn)
    spread = max(ours.std(ddof=1), theirs.std(ddof=1))
    told = f"{metric} {_spread(ours)}, SQN {_spread(theirs)}"
    return Check("lists are no worse than SQN's", bool(ours.mean() >= theirs.mean() - spread), told)


def falls(run: Path) -> dict[str, tuple[float, float]]:
    """Mean of each logged term at the beginning and at the end of a run.

    Raises:
        DataError: the run kept no log, or too short a one.
    """
    versions = sorted((run / "logs").glob("version_*/metrics.csv"), key=lambda path: path.stat().st_mtime)
    if not versions:
        raise DataError(f"{run} has no logs/version_N/metrics.csv: name the folder of a finished run")
    log = pl.concat([pl.read_csv(path) for path in versions], how="diagonal_relaxed")
    found = {}
    for name in TERMS:
        column = f"train/{name}"
        if column not in log.columns:
            continue
        values = log[column].drop_nulls().to_numpy()
        size = int(np.ceil(SHARE * len(values)))
        if len(values) < 2 * size or len(values) < 2:
            raise DataError(f"{run} logged {len(values)} steps of {name}: lower trainer.log_every")
        found[name] = float(values[:size].mean()), float(values[-size:].mean())
    return found


def _named(full: Sequence[Path], bare: Sequence[Path], sqn: Sequence[Path]) -> dict[str, Sequence[Path]]:
    return {"full": full, "bare": bare, "sqn": sqn}


def _model(run: Path) -> OfflineRL:
    return OfflineRL.from_pretrained(run / "export")


def _check_roles(models: Mapping[str, Sequence[OfflineRL]]) -> None:
    encoders = {model.config.backbone for group in models.values() for model in group}
    if len(encoders) > 1:
        raise ValueError(
            f"the runs have several encoders ({', '.join(sorted(encoders))}); compare those of one"
        )
    for model in models["full"]:
        if not model.objective.conservative_weight or not model.objective.transition_contrast_weight:
            raise ValueError("a run named as full lacks the conservative term or the transition contrast")
    for name in ("bare", "sqn"):
        if any(model.objective.conservative_weight for model in models[name]):
            raise ValueError(f"a run named as {name} has a conservative term; set conservative_weight: 0")
    if not all(model.objective.learns_values for model in (*models["bare"], *models["sqn"])):
        raise ValueError("a run named as bare or sqn learns no values; set td_weight above 0")


def _score(run: Path, metric: str, data: RecommendationData) -> float:
    path = run / "test" / "results.json"
    existing(path, mend="Test the model first.")
    results = json.loads(path.read_text(encoding="utf-8"))
    if results["task"]["hash"] != data.manifest.hash:
        raise DataError(f"{path} ranks another task than {data.folder}; test the model on these data")
    metrics = results["metrics"]["all"]
    if metric not in metrics:
        raise DataError(f"{path} has no {metric}; test the model on the whole catalogue")
    return float(metrics[metric]["value"])


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.4f} ± {values.std(ddof=1):.4f}"
