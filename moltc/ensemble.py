"""``moltc ensemble``: the test answers of several runs averaged, pair by pair.

Deep ensembles (Lakshminarayanan et al., NeurIPS 2017, arXiv 1612.01474): models of several seeds on one
split; numbers are averaged, and so are probabilities of yes/no answers and of classes.

Letters: M runs, n pairs, C classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_prep.tables import write_parquet
from moltc.bootstrap import Metric
from moltc.class_metrics import class_metrics
from moltc.metrics import binary_metrics, regression_metrics, sigmoid
from moltc.report import print_metrics, write_report
from moltc.summary import Row, read_results, results_file

PREDICTIONS = "predictions.parquet"
CLASS_SCORES = "log_probabilities"
"""Column of the log-probability of each class."""
KEYS = ("pair_id", "query")
"""Columns that tell the rows of a test apart."""
KEPT = ("pair_id", "smiles_a", "smiles_b", "query", "truth")
SURE = 1e-6
"""Averaged probabilities stay so far from 0 and 1 when odds are made of them."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ensemble:
    """What several runs answer together.

    Attributes
    ----------
    title, unit, computed : of the test that they share.
    metrics : of the averaged answers. members : the rows of each run's text answers, by run.
    answers : one row per pair, with the spread between runs.
    """

    title: str
    unit: str
    computed: bool
    metrics: dict[str, Metric]
    members: dict[str, Row]
    answers: pl.DataFrame

    @property
    def name(self) -> str:
        """Of its row in tables."""
        return f"MolTC, ensemble of {len(self.members)} (text answers)"

    def save(self, folder: Path) -> Path:
        """Write predictions and report into ``folder``/test; returns the page.

        Raises
        ------
        ValueError : the results of a member lie there.
        """
        place = folder / "test"
        if any(results_file(Path(run)).parent.resolve() == place.resolve() for run in self.members):
            raise ValueError(f"{folder} is one of the runs, whose results would be lost; name another folder")
        place.mkdir(parents=True, exist_ok=True)
        write_parquet(self.answers, place / PREDICTIONS)
        return write_report(place, metrics=self.metrics, baselines=self.members, **self._about())

    def print(self) -> None:
        """Print its metrics and those of its members."""
        from rich.console import Console

        print_metrics(Console(), self.metrics, self.members, **self._about())

    def _about(self) -> dict[str, Any]:
        return {"title": self.title, "unit": self.unit, "computed": self.computed, "model_name": self.name}


def ensemble(runs: Sequence[Path], seed: int = 0) -> Ensemble:
    """Average the test answers of runs.

    Parameters
    ----------
    runs : folders whose test/ holds predictions and metrics, two at least; of a run with several tasks name
        RUN/test/TASK.
    seed : of the bootstrap.

    Raises
    ------
    ValueError : a folder has no test answers, or the runs answered different pairs or questions.
    """
    if len(runs) < 2:
        raise ValueError("an ensemble needs two runs at least")
    if len({run.resolve() for run in runs}) < len(runs):
        raise ValueError("a run is named twice; it would count twice")
    read = [_answers(run) for run in runs]
    first = read[0]
    for run, frame in zip(runs[1:], read[1:], strict=True):
        _check_alike(runs[0], first, run, frame)
    truth = _truth(first)
    for column, combine in _KINDS.items():
        if column in first.columns:
            metrics, columns = combine(truth, read, seed)
            break
    else:
        raise ValueError(
            f"{runs[0]} answered in free text, or was tested before classes kept their {CLASS_SCORES}; test "
            "it again, or leave it out"
        )
    record: dict[str, Any] = json.loads(results_file(runs[0]).read_text(encoding="utf-8"))
    kept = first.select([name for name in KEPT if name in first.columns])
    return Ensemble(
        title=str(record["title"]),
        unit=str(record["unit"]),
        computed=bool(record["computed"]),
        metrics=metrics,
        members={str(run): next(iter(read_results(run).values())) for run in runs},
        answers=kept.with_columns(**{name: pl.Series(values) for name, values in columns.items()}),
    )


def _answers(run: Path) -> pl.DataFrame:
    """Test answers of a run in the order of their ids."""
    path = results_file(run).with_name(PREDICTIONS)
    if not path.is_file():
        raise ValueError(f"{run} holds no test/{PREDICTIONS}; test it again")
    frame = pl.read_parquet(path)
    return frame.sort([name for name in KEYS if name in frame.columns])


def _truth(frame: pl.DataFrame) -> Floats:
    """Labels of the pairs, NaN for free texts, which have none."""
    if "truth" not in frame.columns:
        return np.full(frame.height, np.nan)
    return frame["truth"].to_numpy().astype(np.float64)


def _check_alike(run: Path, one: pl.DataFrame, other_run: Path, other: pl.DataFrame) -> None:
    if set(one.columns) != set(other.columns):
        odd = ", ".join(sorted(set(one.columns) ^ set(other.columns)))
        raise ValueError(f"{run} and {other_run} answered different questions: only one has {odd}")
    keys = [name for name in KEYS if name in one.columns]
    if not one.select(keys).equals(other.select(keys)):
        raise ValueError(
            f"{run} and {other_run} were tested on different pairs ({one.height} and {other.height}); give "
            "runs of one split"
        )
    if not np.array_equal(_truth(one), _truth(other), equal_nan=True):
        raise ValueError(f"{run} and {other_run} were tested against different labels")


Combined = tuple[dict[str, Metric], dict[str, Any]]


def _numbers(truth: Floats, runs: Sequence[pl.DataFrame], seed: int) -> Combined:
    values = np.stack([run["value"].to_numpy() for run in runs])  # [M, n]
    mean = values.mean(axis=0)
    return regression_metrics(truth, mean, seed=seed), {"value": mean, "spread": values.std(axis=0, ddof=1)}


def _binary(truth: Floats, runs: Sequence[pl.DataFrame], seed: int) -> Combined:
    each = np.stack([sigmoid(run["log_odds"].to_numpy()) for run in runs])  # [M, n]
    mean = each.mean(axis=0)
    sure = np.clip(mean, SURE, 1 - SURE)
    log_odds = np.log(sure / (1 - sure))
    columns = {"log_odds": log_odds, "probability": mean, "spread": each.std(axis=0, ddof=1)}
    return binary_metrics(truth, log_odds, seed=seed), columns


def _classes(truth: Floats, runs: Sequence[pl.DataFrame], seed: int) -> Combined:
    each = np.stack([np.exp(run[CLASS_SCORES].to_numpy().astype(np.float64)) for run in runs])  # [M, n, C]
    mean = each.mean(axis=0)
    best = mean.argmax(axis=1)
    rows = np.arange(len(best))
    columns = {
        "class": best.astype(np.int32),
        "probability": mean[rows, best],
        "spread": each[:, rows, best].std(axis=0, ddof=1),
        CLASS_SCORES: np.log(np.maximum(mean, np.finfo(np.float64).tiny)).astype(np.float32),
    }
    return class_metrics(truth.astype(np.int64), columns[CLASS_SCORES], seed=seed), columns


_KINDS: dict[str, Callable[[Floats, Sequence[pl.DataFrame], int], Combined]] = {
    "value": _numbers,
    "log_odds": _binary,
    CLASS_SCORES: _classes,
}
"""How answers are averaged, by a column that only answers of that kind have."""
