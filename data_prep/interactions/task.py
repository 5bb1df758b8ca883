"""A ranking task: what is fitted, which rows are ranked and how, and the hash that tells two tasks apart."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from data_prep.interactions.findings import no_findings
from data_prep.interactions.ragged import flat
from data_prep.interactions.splits import Parts
from data_prep.records import SourceFile


@dataclass(frozen=True)
class Protocol:
    """How rows are ranked and read.

    Attributes:
        name: of the protocol; with the variant, where there are several.
        metric: what settings and epochs are chosen by on the validation rows.
        ks: list lengths that are reported.
        filter_seen: items of a row's whole history are removed before ranking.
        variants: what train.parquet and trainval.parquet hold, in words.
        ties: "against": tied items count against the target; "average": they share their mean rank.
    """

    name: str
    metric: str = "NDCG@10"
    ks: tuple[int, ...] = (1, 5, 10, 20)
    filter_seen: bool = True
    variants: dict[str, str] = field(
        default_factory=lambda: {
            "train": "what comes before the validation part",
            "trainval": "the training part and what validation adds",
        }
    )
    ties: str = "against"


@dataclass(frozen=True)
class RankingTask:
    """All that a build writes.

    Attributes:
        name: of the data set.
        items: catalogue, ``[I]``: ``item``, ``item_id``, ``title``, groups.
        parts: the split, in item numbers.
        sequence_ids: what the source calls each sequence; None where it gives no names.
    """

    name: str
    protocol: Protocol
    items: pl.DataFrame
    parts: Parts
    sequence_ids: pl.Series | None = None
    sources: tuple[SourceFile, ...] = ()
    findings: pl.DataFrame = field(default_factory=no_findings)
    notes: tuple[str, ...] = ()

    @property
    def num_items(self) -> int:
        """Catalogue size I."""
        return len(self.items)

    def with_sources(self, *more: SourceFile) -> RankingTask:
        """The task with further files named in its report."""
        return replace(self, sources=(*self.sources, *more))


def task_hash(task: RankingTask) -> str:
    """SHA-256 over what decides a ranking: catalogue ids, protocol, filter, and every row's history, target
    and candidates. Figures of two tasks may be compared only when it is the same."""
    digest = hashlib.sha256()
    rules = {"protocol": task.protocol.name, "filter_seen": task.protocol.filter_seen}
    digest.update(json.dumps(rules, sort_keys=True).encode())
    digest.update("\n".join(task.items["item_id"]).encode())
    for rows in (task.parts.valid, task.parts.test):
        for values in _decisive(rows):
            digest.update(np.int64(len(values)).astype("<i8").tobytes())
            digest.update(np.ascontiguousarray(values, dtype="<i8").tobytes())
    return digest.hexdigest()


def _decisive(rows: pl.DataFrame) -> list[np.ndarray]:
    history, lengths = flat(rows["history"])
    columns = [lengths, history, rows["target"].to_numpy()]
    if "candidates" in rows.columns:
        columns.append(
            rows["candidates"].explode(empty_as_null=False).explode(empty_as_null=False).to_numpy()
        )
    return columns
