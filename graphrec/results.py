"""What a recommender reached on a split: ranks row by row, metrics with intervals, groups apart, files.

The hash of the data's manifest goes with the ranks: figures are only ever compared within one ranking task.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from data_prep.errors import DataError
from data_prep.files import existing, replacing
from graphrec.data import RecommendationData, Rows, Words
from graphrec.ranking import Columns, Ranks, candidate_ranks, metric_column, rank_rows
from graphrec.recommender import Recommender
from moltc.backbone.bootstrap import Bootstrap, Metric, mean_statistic

RANKS, RESULTS = "ranks.parquet", "results.json"
Split = Literal["valid", "test"]
Groups = dict[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class Task:
    """What was ranked, and by whom.

    Attributes:
        hash: of the manifest; results with different hashes are never compared.
        data, protocol, split: what was ranked.
        metric: by which settings were chosen.
        ks: list lengths that are reported.
        model: name in the registry.
        label: what the model is called in tables.
        seed: of the run; None where the model was saved without one.
    """

    hash: str
    data: str
    protocol: str
    split: str
    metric: str
    ks: tuple[int, ...]
    model: str
    label: str
    seed: int | None = None


@dataclass(frozen=True)
class Evaluation:
    """Ranks of one model on one split.

    Attributes:
        task: what they are ranks of.
        ranks: of each target among the whole catalogue, ``[B]``; infinity where it was not offered. None:
            only candidates were ranked.
        draws: among the candidates of each draw, ``[B, draws]``; None where there are none.
        groups: rows that are also reported apart, by name, ``[B]`` each.
    """

    task: Task
    ranks: Ranks | None
    draws: Ranks | None = None
    groups: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.ranks is None and self.draws is None:
            raise ValueError("nothing was ranked: give ranks, or draws")

    def __len__(self) -> int:
        """Number of rows."""
        ranked = self.draws if self.ranks is None else self.ranks
        assert ranked is not None
        return len(ranked)

    @property
    def columns(self) -> Columns:
        """Each metric row by row, ``[B]``; figures of sampled candidates are the HitRatios."""
        found: Columns = {}
        if self.draws is not None:
            found["HitRatio@1"] = metric_column("HitRatio@1", self.draws)
            found["HitRatio@1, draw 0"] = metric_column("HitRatio@1", self.draws[:, 0])
        if self.ranks is None:
            return found
        ks = list(self.task.ks)
        kind, _, length = self.task.metric.partition("@")
        if kind in ("HR", "NDCG") and int(length) not in ks:  # the metric that decides is always shown
            ks.append(int(length))
        names = [f"{kind}@{k}" for k in ks for kind in ("HR", "NDCG")]
        return found | {name: metric_column(name, self.ranks) for name in [*names, "MRR"]}

    def metrics(self, bootstrap: Bootstrap | None = None) -> dict[str, dict[str, Metric]]:
        """Means with intervals over rows, of all rows and of each group that has any."""
        estimate = (bootstrap or Bootstrap()).estimate
        columns = self.columns
        every = np.ones(len(self), dtype=bool)
        return {
            name: estimate(mean_statistic({key: column[rows] for key, column in columns.items()}), rows.sum())
            for name, rows in {"all": every, **self.groups}.items()
            if rows.any()
        }

    def save(self, folder: Path, bootstrap: Bootstrap | None = None) -> dict[str, dict[str, Metric]]:
        """Write ``ranks.parquet`` and ``results.json``; returns the metrics."""
        metrics = self.metrics(bootstrap)
        ranks = {} if self.ranks is None else {"rank": self.ranks}
        table = pl.DataFrame({"row": np.arange(len(self)), **ranks, **self.groups})
        if self.draws is not None:
            table = table.with_columns(draws=pl.Series(self.draws.tolist(), dtype=pl.List(pl.Float64)))
        with replacing(folder / RANKS) as partial:
            table.write_parquet(partial, metadata={"task": json.dumps(asdict(self.task))})
        content = {
            "task": asdict(self.task),
            "rows": {name: int(rows.sum()) for name, rows in self.groups.items()} | {"all": len(self)},
            "metrics": {
                group: {name: metric._asdict() for name, metric in found.items()}
                for group, found in metrics.items()
            },
        }
        with replacing(folder / RESULTS) as partial:
            partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        return metrics

    @classmethod
    def load(cls, folder: Path) -> Evaluation:
        """Ranks that :meth:`save` wrote, from its folder or the run's.

        Raises:
            DataError: there are none.
        """
        places = [folder / RANKS, folder / "test" / RANKS]
        path = next((place for place in places if place.is_file()), places[0])
        existing(path, mend="Name the folder of a run that was tested, or its test or valid folder.")
        table, metadata = pl.read_parquet(path), pl.read_parquet_metadata(path)
        if "task" not in metadata:
            raise DataError(f"{path} was not written by graphrec; test the model again.")
        values = json.loads(metadata["task"])
        draws = np.array(table["draws"].to_list()) if "draws" in table.columns else None
        groups = {name: table[name].to_numpy() for name, kind in table.schema.items() if kind == pl.Boolean}
        task = Task(**values | {"ks": tuple(values["ks"])})
        ranks = table["rank"].to_numpy() if "rank" in table.columns else None
        return cls(task, ranks, draws, groups)


def evaluate(
    model: Recommender,
    data: RecommendationData,
    split: Split = "test",
    *,
    label: str | None = None,
    seed: int | None = None,
    candidates_only: bool = False,
) -> Evaluation:
    """Rank every row of a split by the protocol of its data.

    Args:
        model: what ranks.
        data, split: which rows.
        label, seed: kept with the ranks.
        candidates_only: rank candidates alone, not the whole catalogue as well. Only for data whose metric is
            taken among candidates.

    Raises:
        ValueError: the model's catalogue is not that of the data, the split has no rows, or only candidates
            are asked for and the metric is of the whole catalogue.
    """
    check_catalogue(model, data)
    rows, manifest = data.rows(split), data.manifest
    if not len(rows):
        raise ValueError(f"{data.folder} has no {split} rows: there is nothing to rank")
    if candidates_only:
        check_candidates(data)
        ranks = None
    else:
        ranks = rank_rows(model, rows, filter_seen=manifest.filter_seen, ties=manifest.ties)
    draws = None if rows.candidates is None else candidate_ranks(model, rows, ties=manifest.ties)
    task = Task(
        hash=manifest.hash,
        data=manifest.name,
        protocol=manifest.protocol,
        split=split,
        metric=manifest.metric,
        ks=manifest.ks,
        model=model.name,
        label=label or model.name,
        seed=seed,
    )
    return Evaluation(task, ranks, draws, _groups(rows, data))


def check_candidates(data: RecommendationData) -> None:
    """Where candidates alone are ranked, they must be what the data's metric is taken among."""
    metric = data.manifest.metric
    if not metric.startswith("HitRatio"):
        raise ValueError(
            f"{data.folder} is decided by {metric} of the whole catalogue, which has to be ranked: set "
            "candidates_only to false, or leave it out"
        )


def check_catalogue(model: Recommender, data: RecommendationData) -> None:
    """The model must have been fitted on the same catalogue: its item numbers are the data's."""
    ours, theirs = model.catalogue, data.catalogue
    if len(ours) != len(theirs) or list(ours.item_ids) != list(theirs.item_ids):
        raise ValueError(
            f"the model knows another catalogue ({len(ours)} items) than {data.folder} ({len(theirs)} "
            "items): fit it on these data"
        )


def _groups(rows: Rows, data: RecommendationData) -> Groups:
    """Rows that are told apart: without history, with a target that was never fitted, by kind of event."""
    fitted = np.zeros(data.num_items, dtype=bool)
    fitted[data.train.items] = True
    with_history = rows.histories.lengths > 0
    known = fitted[rows.targets]
    groups = {
        "with history": with_history,
        "without history": ~with_history,
        "known target": known,
        "cold target": ~known,
    }
    events: Any = rows.columns.get("event")
    if isinstance(events, Words):
        groups |= {f"event {name}": events.is_word(name) for name in events.names}
    return {name: mask for name, mask in groups.items() if mask.any() and not mask.all()}
