"""What every recommender can do, whatever it is made of: fit, recommend, score, be saved and loaded.

A model scores every item of the catalogue for a batch of histories (:meth:`Recommender.scores`), or gives
vectors whose products are the scores (:meth:`Recommender.factors`); lists are then found without holding all
scores. Everything else is done here, alike for all models: ids and numbers, empty histories, unknown and
repeated items, filters, batches of bounded memory, files.

Letters: B rows, I items, d width, C candidates of a row.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from graphrec.catalogue import Catalogue, ItemId
from graphrec.histories import Histories, Integers
from graphrec.topk import Factors, best_by_factors, best_by_scores

if TYPE_CHECKING:
    from graphrec.data import RecommendationData
    from graphrec.trainer import TrainerConfig
    from moltc.backbone.tracking import RunTracker

Floats = NDArray[np.floating]
Model = TypeVar("Model", bound="Recommender")

CHUNK_CELLS = 4_000_000
"""Scores held at once while many rows are worked on: 16 MB in float32."""
ROWS_AT_ONCE = 1_024
"""Histories that are encoded at once."""


class Recommendation(NamedTuple):
    """One entry of a list."""

    item_id: str
    title: str | None
    score: float


class FurtherReport(Protocol):
    """What a model finds out about itself on the rows of a split, beside their ranks."""

    def save(self, folder: Path) -> None:
        """Write it into a folder."""

    def markdown(self) -> str:
        """Its figures."""

    def track(self, tracker: RunTracker) -> None:
        """Tell a tracked run."""


@dataclass(frozen=True)
class FitReport:
    """What fitting took and what it found.

    Attributes:
        seconds: wall-clock time.
        epochs: passes over the data, of models that make such.
        best_epoch: the epoch whose weights were kept, where validation chose one.
        score: name and value of the validation score of these weights.
        notes: further facts, one sentence each.
    """

    seconds: float
    epochs: int = 0
    best_epoch: int | None = None
    score: tuple[str, float] | None = None
    notes: tuple[str, ...] = field(default=())


class Recommender(ABC):
    """A model that ranks the items of one catalogue.

    A subclass names itself (``name``, its key in :mod:`graphrec.registry`) and its settings
    (``config_class``, a frozen dataclass of plain values), and says how it is fitted, how it scores, and
    which arrays it consists of.

    Args:
        config: settings; default those of ``config_class()``.
    """

    name: ClassVar[str]
    config_class: ClassVar[type[Any]]
    grid: ClassVar[Mapping[str, Sequence[Any]]] = {}
    """Values of settings that are worth trying, see :mod:`graphrec.tuning`."""
    scoring_settings: ClassVar[tuple[str, ...]] = ()
    """Settings that change how a fitted model scores, and not what it learned."""
    config: Any
    catalogue: Catalogue
    folder: Path | None = None
    """Where it was read from, for files that are no arrays."""

    def __init__(self, config: Any = None) -> None:
        if config is not None and not isinstance(config, self.config_class):
            raise TypeError(
                f"{type(self).__name__} takes a {self.config_class.__name__}, not {type(config).__name__}"
            )
        self.config = self.config_class() if config is None else config

    # -- what a model defines ------------------------------------------------------------------------------

    @abstractmethod
    def fit(
        self,
        data: RecommendationData,
        *,
        refit_on_trainval: bool = False,
        trainer: TrainerConfig | None = None,
        seed: int = 0,
    ) -> FitReport:
        """Fit on the training part of ``data``, with ``refit_on_trainval`` on what validation adds too.

        Args:
            trainer: how long and where gradient-trained models are trained; others take none.
            seed: of everything that is drawn.
        """

    def scores(self, histories: Histories) -> Floats:
        """A score for each item, higher is better, ``[B, I]``; the caller keeps B within memory.

        A model that has :meth:`factors` need not define this.
        """
        factors = self.factors(histories)
        if factors is None:
            raise NotImplementedError(f"{type(self).__name__} must define scores or factors")
        return factors.scores()

    def factors(self, histories: Histories) -> Factors | None:
        """Vectors whose products are the scores, for models that have them."""
        return None

    def item_vectors(self) -> Floats:
        """A vector for each item, ``[I, d]``, to be read by other models.

        Raises:
            ValueError: the model has none.
        """
        raise ValueError(f"{self.name} has no item vectors; use sasrec, gru4rec, caser, lightgcn or dreamrec")

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that was fitted, by name."""

    @abstractmethod
    def set_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what :meth:`arrays` gave; ``catalogue`` and ``config`` are there already."""

    def file_writer(self) -> Callable[[Path], None] | None:
        """What writes files that are no arrays, such as a tokenizer, into a folder; None: there are none."""
        return None

    def further_reports(
        self, data: RecommendationData, split: str, *, label: str | None = None, seed: int = 0
    ) -> Mapping[str, FurtherReport]:
        """What else ``graphrec fit`` reports of a tested model, by the name of its folder."""
        return {}

    # -- public calls --------------------------------------------------------------------------------------

    def recommend(
        self,
        histories: Sequence[Sequence[ItemId]],
        k: int = 10,
        exclude_seen: bool = True,
        allow: Collection[ItemId] | None = None,
        *,
        unknown: Literal["error", "skip"] = "error",
    ) -> list[list[Recommendation]]:
        """The best items for each history, best first.

        Args:
            histories: item ids, oldest first; an empty history is answered too.
            k: length of a list; it is shorter where fewer items are on offer.
            exclude_seen: leave out items of the history.
            allow: ids of the items that may be recommended; None: all.
            unknown: an id that the catalogue does not have is an error, or is skipped with a warning that
                counts them.

        Raises:
            UnknownItemError: an id is unknown; the message names row and id.
            ValueError: ``k`` is no length.
        """
        if k < 1:
            raise ValueError(f"k={k} is no length of a list; give a whole number from 1")
        known = self._known(histories, unknown)
        allowed = None if allow is None else np.unique(self.catalogue.numbers(list(allow)))
        if allowed is not None and not len(allowed):
            raise ValueError("allow names no item; leave it out to recommend from the whole catalogue")
        found: list[list[Recommendation]] = []
        for numbers, scores in self._best(known, k, exclude_seen, allowed):
            for row, values in zip(numbers.tolist(), scores.tolist(), strict=True):
                found.append([self._named(n, s) for n, s in zip(row, values, strict=True) if n >= 0])
        return found

    def score(
        self,
        histories: Sequence[Sequence[ItemId]],
        candidates: Sequence[Sequence[ItemId]],
        *,
        unknown: Literal["error", "skip"] = "error",
    ) -> list[Floats]:
        """Scores of given items for each history, in the given order.

        Args:
            histories: item ids, oldest first.
            candidates: item ids, as many lists as histories; they must be known.
            unknown: as in :meth:`recommend`, for histories.
        """
        if len(histories) != len(candidates):
            raise ValueError(
                f"{len(histories)} histories and {len(candidates)} lists of candidates: give one each"
            )
        known = self._known(histories, unknown)
        asked = self.catalogue.histories(candidates)
        return self.list_scores(known, asked)

    def list_scores(self, histories: Histories, asked: Histories) -> list[Floats]:
        """Scores of item numbers in lists of any length, one list for each history."""
        block = asked.padded(max(1, int(asked.lengths.max(initial=0))), 0)
        scores = self.candidate_scores(histories, block)
        return [row[:length] for row, length in zip(scores, asked.lengths, strict=True)]

    def candidate_scores(self, histories: Histories, candidates: Integers) -> Floats:
        """Scores of given item numbers, ``[B, C]`` for candidates ``[B, C]``."""
        parts = [
            self._candidate_scores(histories[part], candidates[part], part.start)
            for part in self.parts(len(histories))
        ]
        return np.concatenate(parts) if parts else np.empty(candidates.shape, dtype=np.float32)

    def draw_scores(self, histories: Histories, candidates: Integers) -> Floats:
        """Scores within several lists of each row, ``[B, draws, C]`` for candidates of that shape.

        A model that reads the list it chooses from scores each list by itself.
        """
        return self.candidate_scores(histories, candidates.reshape(len(candidates), -1)).reshape(
            candidates.shape
        )

    def _candidate_scores(self, histories: Histories, candidates: Integers, first: int) -> Floats:
        factors = self.factors(histories)
        if factors is not None:
            return self._finite(factors.candidate_scores(candidates), first)
        return np.take_along_axis(self._finite(self.scores(histories), first), candidates, axis=1)

    def parts(self, num_rows: int) -> Iterator[slice]:
        """Slices of rows whose scores fit into bounded memory."""
        size = max(1, CHUNK_CELLS // len(self.catalogue))
        for first in range(0, num_rows, size):
            yield slice(first, min(first + size, num_rows))

    # -- saving and loading --------------------------------------------------------------------------------

    def save_pretrained(self, folder: str | Path) -> None:
        """Save settings, catalogue and weights into a folder, whole or not at all.

        Raises:
            CheckpointError: the folder exists and is no saved model.
        """
        from graphrec.saving import save

        save(folder, self.name, asdict(self.config), self.catalogue, self.arrays(), self.file_writer())

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """The recommender that :meth:`save_pretrained` saved, of whatever class it was.

        Raises:
            CheckpointError: the folder is incomplete, altered, or holds another kind of model.
        """
        from graphrec.saving import load

        return load(cls, folder)

    # -- inside --------------------------------------------------------------------------------------------

    def _known(self, histories: Sequence[Sequence[ItemId]], unknown: str) -> Histories:
        if unknown not in ("error", "skip"):
            raise ValueError(f"unknown={unknown!r} is not known; choose 'error' or 'skip'")
        known = self.catalogue.histories(histories, skip_unknown=unknown == "skip")
        skipped = sum(len(row) for row in histories) - len(known.items)
        if skipped:
            warnings.warn(f"{skipped} ids that the catalogue does not have were skipped", stacklevel=3)
        return known

    def _best(
        self, histories: Histories, k: int, exclude_seen: bool, allowed: Integers | None
    ) -> Iterator[tuple[Integers, Floats]]:
        """Numbers and scores of the best items of consecutive rows; -1 where nothing more is on offer."""
        for first in range(0, len(histories), ROWS_AT_ONCE):
            some = histories[first : first + ROWS_AT_ONCE]
            factors = self.factors(some)
            if factors is not None:
                seen = some if exclude_seen else None
                yield best_by_factors(factors, k, seen=seen, allowed=allowed)
                continue
            for part in self.parts(len(some)):
                rows = some[part]
                scores = self._finite(self.scores(rows), first + part.start)
                yield best_by_scores(scores, k, seen=rows if exclude_seen else None, allowed=allowed)

    def _finite(self, scores: Floats, first: int) -> Floats:
        undefined = np.flatnonzero(np.isnan(scores).any(axis=1))
        if undefined.size:
            raise ValueError(f"{self.name} gives NaN for row {first + int(undefined[0])}; fit it again")
        return scores

    def _named(self, number: int, score: float) -> Recommendation:
        return Recommendation(self.catalogue.item_ids[number], self.catalogue.title(number), score)
