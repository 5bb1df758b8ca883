"""How well a saved interpreter reads: its states against controls that read nothing, with intervals.

RecInterpreter (arXiv 2310.20487) counts recovered titles. Popular titles are recovered without reading
anything, hence the controls: the states of another user, and the most frequent titles. A language model that
was trained on titles is also given the titles' own digests, which is the most that it can be told.

Letters: B rows, L places, C candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphrec.data import RecommendationData, Rows
from graphrec.histories import Histories, Integers
from graphrec.llara.candidates import drawn_candidates
from graphrec.llara.matching import plain_title
from graphrec.recinterpreter.mentions import TitleIndex
from graphrec.recinterpreter.metrics import estimates, recovery_columns
from graphrec.recinterpreter.network import Evidence
from graphrec.recinterpreter.recommender import RecInterpreter
from moltc.backbone.bootstrap import Bootstrap, Metric, Statistic, mean_statistic

STATES, SHUFFLED, POPULAR, TITLES = "states", "another's states", "popular titles", "title digests"
Task = Literal["recovery", "residual"]


@dataclass(frozen=True)
class StudyOptions:
    """What is asked.

    Attributes:
        split: whose rows are read.
        rows: so many of them, drawn; None: all that have a history.
        num_candidates: of the residual task, where the data have no lists.
        seed: of draws.
        bootstrap: of intervals.
    """

    split: Literal["valid", "test"] = "test"
    rows: int | None = None
    num_candidates: int = 20
    seed: int = 0
    bootstrap: Bootstrap = field(default_factory=Bootstrap)


class Arm(NamedTuple):
    """What one kind of evidence led to."""

    texts: list[str]
    metrics: Statistic
    histogram: list[int]
    """Of recovered titles; empty for the residual task."""


@dataclass(frozen=True)
class TaskStudy:
    """One task, arm by arm.

    Attributes:
        arms: what each gave.
        metrics: of each arm, and paired gains of the states, by arm or "states - ARM".
    """

    arms: dict[str, Arm]
    metrics: dict[str, dict[str, Metric]]


@dataclass(frozen=True)
class Study:
    """All tasks that the interpreter was trained on.

    Attributes:
        rows: what was read.
        left_out: rows of the split without a history.
        tasks: by name.
    """

    rows: Rows
    left_out: int
    tasks: dict[str, TaskStudy]


def study(model: RecInterpreter, data: RecommendationData, options: StudyOptions) -> Study:
    """Ask a saved interpreter about the rows of a split.

    Raises:
        ValueError: the split has no row with a history.
    """
    rows, left_out = studied_rows(data.rows(options.split), options)
    reading = Reading(model, rows, data.train, options)
    asked = {"recovery": reading.recovery, "residual": reading.residual}
    tasks: dict[str, TaskStudy] = {}
    for name in (name for name in model.config.tasks if name in asked):
        arms = asked[name]()
        statistics = {arm: found.metrics for arm, found in arms.items()}
        tasks[name] = TaskStudy(arms, estimates(statistics, STATES, len(rows), options.bootstrap))
    return Study(rows, left_out, tasks)


def studied_rows(rows: Rows, options: StudyOptions) -> tuple[Rows, int]:
    """Rows with a history, at most as many as asked for, and how many have none."""
    with_history = np.flatnonzero(rows.histories.lengths > 0)
    if len(with_history) < 2:
        raise ValueError(
            f"the {options.split} split has {len(with_history)} rows with a history; read another"
        )
    chosen = np.random.default_rng(options.seed).permutation(with_history)[: options.rows]
    return rows.select(np.sort(chosen)), len(rows) - len(with_history)


def other_rows(count: int, seed: int) -> Integers:
    """Another row for each of B, each row taken once."""
    order = np.random.default_rng(seed).permutation(count)
    others = np.empty(count, dtype=np.int64)
    others[order] = np.roll(order, 1)
    return others


class Reading:
    """The rows of a study before one interpreter: evidence by arm, questions, answers.

    Args:
        train: says which items are popular.
    """

    def __init__(self, model: RecInterpreter, rows: Rows, train: Histories, options: StudyOptions) -> None:
        self.model, self.rows, self.options = model, rows, options
        self.counts = np.bincount(train.items, minlength=len(model.titles))
        self.index = TitleIndex(model.titles)
        self.own = np.arange(len(rows))
        self.others = other_rows(len(rows), options.seed)

    def titles_of(self, numbers: Sequence[int]) -> list[str]:
        """Titles of item numbers."""
        return [self.model.titles[number] for number in numbers]

    def popular(self, count: int) -> list[str]:
        """Titles of the most frequent items, most frequent first."""
        return self.titles_of(np.argsort(-self.counts, kind="stable")[:count].tolist())

    def recovery(self) -> dict[str, Arm]:
        """Texts that list each row's latest items."""
        windows = self.rows.histories.last(self.model.config.length)
        wanted = [self.titles_of(window) for window in windows.lists()]
        texts = {
            arm: self.model.answers("recovery", evidence, entities[:, None], titles=arm == TITLES)
            for arm, (evidence, entities) in self._evidence(windows, self.own).items()
        }
        popular = self.popular(self.model.config.length)
        texts[POPULAR] = [self.model.config.separator.join(popular[: len(titles)]) for titles in wanted]
        return {arm: Arm(said, *recovery_columns(said, wanted, self.index)) for arm, said in texts.items()}

    def residual(self) -> dict[str, Arm]:
        """Titles that were added to each row's history: its target."""
        lists = self.candidates()
        targets = self.titles_of(self.rows.targets.tolist())
        place = (lists == self.rows.targets[:, None]).argmax(axis=1)
        options = [self.titles_of(row) for row in lists.tolist()]
        before = self.rows.histories.lists()
        after = [[*row, target] for row, target in zip(before, self.rows.targets.tolist(), strict=True)]
        both = Histories.from_lists([*before, *after])
        arms = {}
        for arm, (evidence, rows) in self._evidence(both, self.own).items():
            entities = np.stack([rows, len(self.rows) + rows], axis=1)
            texts = self.model.answers("residual", evidence, entities, titles=arm == TITLES)
            found = self.model.log_probs("residual", evidence, entities, options, titles=arm == TITLES)
            chosen = np.array([scores.argmax() == own for scores, own in zip(found, place, strict=True)])
            arms[arm] = self._named(texts, targets, chosen.astype(np.float64))
        chance = [expected_hit(row, own) for row, own in zip(self.counts[lists], place, strict=True)]
        arms[POPULAR] = self._named(self.popular(1) * len(targets), targets, np.array(chance))
        return arms

    def _evidence(self, windows: Histories, rows: Integers) -> dict[str, tuple[Evidence, Integers]]:
        """Evidence of each arm, and whose evidence each row is given."""
        states = self.model.evidence(windows)
        found = {STATES: (states, rows), SHUFFLED: (states, self.others[rows])}
        if self.model.digests is not None:
            found[TITLES] = (self.model.title_evidence(windows), rows)
        return found

    def candidates(self) -> Integers:
        """Lists that hold each target once: the data's first draw, or drawn ones, ``[B, C]``."""
        if self.rows.candidates is not None:
            return self.rows.candidates[:, 0]
        return drawn_candidates(
            self.rows.targets,
            self.rows.histories,
            len(self.model.catalogue),
            self.options.num_candidates,
            seed=self.options.seed,
            step=0,
        )

    def _named(self, texts: Sequence[str], targets: Sequence[str], chosen: NDArray[np.float64]) -> Arm:
        said = [plain_title(text) for text in texts]
        exact = [text == plain_title(target) for text, target in zip(said, targets, strict=True)]
        columns: Mapping[str, NDArray[np.float64]] = {
            "exact": np.array(exact, dtype=np.float64),
            "in_catalogue": np.array([text in self.index.items for text in said], dtype=np.float64),
            "among_candidates": chosen,
        }
        return Arm(list(texts), mean_statistic(columns), [])


def expected_hit(scores: NDArray[np.integer], own: int) -> float:
    """Chance to hit the own place by choosing among the best scored ``[C]`` alike."""
    best = scores == scores.max()
    return float(best[own] / best.sum())
