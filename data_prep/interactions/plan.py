"""How a log is turned into a ranking task: the split, its seed and shares, filter, metric, candidates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from data_prep.errors import DataError
from data_prep.interactions.log import Log, RawLog, number
from data_prep.interactions.row_tasks import with_candidates
from data_prep.interactions.splits import (
    Order,
    Parts,
    Targets,
    assign_sequences,
    by_global_time,
    by_sequence,
    leave_one_out,
)
from data_prep.interactions.task import Protocol, RankingTask
from data_prep.splits import Fractions

Method = Literal["leave-one-out", "global-time", "by-sequence"]
METHODS: tuple[Method, ...] = ("leave-one-out", "global-time", "by-sequence")
_METRIC = re.compile(r"(NDCG|HR)@[1-9]\d*|HitRatio@1")
_FITTED = {
    "leave-one-out": ("all but the last two interactions of each sequence", "all but the last one"),
    "global-time": ("interactions before the first cut", "interactions before the second cut"),
    "by-sequence": ("the training sequences", "the training and validation sequences"),
}


@dataclass(frozen=True)
class SplitPlan:
    """Choices of a build from a log; an option that a method does not use must be left at None.

    Attributes:
        method: one of :data:`METHODS`.
        fractions: shares of train, valid and test; default 0.8, 0.1, 0.1. Not for leave-one-out.
        seed: of the shuffle of sequences, and of candidates.
        targets: which interactions of a held-out sequence or period are ranked: "last" (default by
            sequence) or "all" (default by time). Not for leave-one-out.
        order: of sequences before the cut, "shuffled" (default) or "time". By sequence only.
        filter_seen: remove a row's history before ranking.
        metric, ks: what settings are chosen by, and list lengths reported.
        candidates: size of drawn candidate lists, 0 for the whole catalogue.
        draws: candidate lists of each row.
        ties: see :class:`Protocol`.
    """

    method: Method = "leave-one-out"
    fractions: Fractions | None = None
    seed: int = 0
    targets: Targets | None = None
    order: Order | None = None
    filter_seen: bool = True
    metric: str = "NDCG@10"
    ks: tuple[int, ...] = (1, 5, 10, 20)
    candidates: int = 0
    draws: int = 1
    ties: str = "average"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise DataError(f"There is no split {self.method!r}; choose one of {', '.join(METHODS)}.")
        if self.method == "leave-one-out" and (self.fractions or self.targets):
            raise DataError("Leave-one-out has neither fractions nor a choice of targets; leave both out.")
        if self.method != "by-sequence" and self.order:
            raise DataError("An order of sequences is for --split by-sequence; leave it out.")
        shares = self.shares
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise DataError(f"Fractions must be three shares that add up to 1, not {shares}.")
        shuffles = self.method == "by-sequence" and self.order != "time"
        if self.seed and not (shuffles or self.candidates):
            raise DataError("Nothing is drawn by chance here: a seed has no effect; leave it out.")
        if not _METRIC.fullmatch(self.metric):
            raise DataError(f"There is no metric {self.metric!r}: give NDCG@k, HR@k or HitRatio@1.")
        if not self.ks or min(self.ks) < 1:
            raise DataError(f"List lengths are counts of one or more, not {self.ks}.")
        if self.candidates < 0 or self.candidates == 1 or self.draws < 1:
            raise DataError("Candidate lists need two items or more, and at least one draw.")
        if self.draws > 1 and not self.candidates:
            raise DataError("Several draws need a number of candidates.")

    @property
    def shares(self) -> Fractions:
        """The fractions, or what stands for them."""
        return self.fractions or (0.8, 0.1, 0.1)

    def split(self, log: Log) -> Parts:
        """Divide a log."""
        if self.method == "leave-one-out":
            return leave_one_out(log)
        if self.method == "global-time":
            return by_global_time(log, self.shares, targets=self.targets or "all")
        order = self.order or "shuffled"
        part = assign_sequences(log, self.shares, order=order, seed=self.seed)
        return by_sequence(log, part, targets=self.targets or "last")

    def protocol(self, name: str | None = None) -> Protocol:
        """The protocol of tasks made by this plan; its name tells all that decides the rows."""
        told: list[str] = [self.method]
        if self.method != "leave-one-out":
            told += [":".join(f"{share:g}" for share in self.shares), self.targets or ""]
        if self.method == "by-sequence":
            told += [self.order or "shuffled", f"seed {self.seed}" if self.order != "time" else ""]
        if self.candidates:
            told.append(f"{self.candidates} candidates")
        train, trainval = _FITTED[self.method]
        return Protocol(
            name or ", ".join(word for word in told if word),
            self.metric,
            self.ks,
            self.filter_seen,
            {"train": train, "trainval": trainval},
            self.ties,
        )


def log_task(raw: RawLog, plan: SplitPlan, name: str, *, protocol: str | None = None) -> RankingTask:
    """A ranking task from a log.

    Args:
        name: of the data set.
        protocol: name of the protocol; default: the plan's own.

    Raises:
        DataError: when the log does not fit the plan.
    """
    log = number(raw)
    parts = plan.split(log)
    if plan.candidates:
        parts = with_candidates(parts, len(log.items), size=plan.candidates, draws=plan.draws, seed=plan.seed)
    return RankingTask(
        name,
        plan.protocol(protocol),
        log.items,
        parts,
        log.sequence_ids,
        raw.sources,
        raw.findings,
        raw.notes,
    )
