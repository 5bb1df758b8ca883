"""From rows of the table to a batch: negatives are drawn, mismatched completions added, trees packed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import torch

from align.batch import Pack, PreferenceBatch
from align.chat import ChatFormat
from align.records import PreferenceTable
from align.tokenise import Limits, tokenise
from moltc.backbone.language_model import LanguageModel
from moltc.backbone.prompt import PromptTree

Draw = Literal["first", "fixed", "epoch"]


class Examples(Protocol):
    """Examples as prompt trees; :class:`align.tokenise.TokenisedExamples` gives those of text."""

    @property
    def rows(self) -> np.ndarray:
        """Rows of the table that there are, int64 [n], ascending."""

    def tree(self, place: int, columns: Sequence[int]) -> PromptTree:
        """Example ``place`` (from 0) with these of its completions, in the table's numbering."""

    def completion(self, place: int, column: int) -> np.ndarray:
        """Ids of one completion, int64."""

    def tokens(self, completions: int | None = None) -> np.ndarray:
        """Tokens that a model reads of each example, int64 [n]."""


@dataclass(frozen=True)
class Negatives:
    """Which rejected completions of an example a batch holds.

    Attributes
    ----------
    count : how many at most; None: all.
    draw : "first": those that stand first; "fixed": drawn for each example by (seed, example id), the same in
        every epoch, as in S-DPO (Chen et al., NeurIPS 2024); "epoch": drawn anew each epoch.
    seed : of the draws.

    Raises
    ------
    ValueError : the count is below 1, or a draw is asked for without one.
    """

    count: int | None = None
    draw: Draw = "first"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.draw not in ("first", "fixed", "epoch"):
            raise ValueError(f"negatives are drawn first, fixed or by epoch, not {self.draw!r}")
        if self.count is None and self.draw != "first":
            raise ValueError(f"draw {self.draw!r} needs a number of negatives: set negatives")
        if self.count is not None and self.count < 1:
            raise ValueError(f"negatives must be at least 1, not {self.count}; leave it out for all")

    def choose(self, order: np.ndarray, example_id: int, epoch: int) -> np.ndarray:
        """The chosen completion and some of the rejected ones.

        Args:
            order: all completions of an example, the chosen one first, int64 ``[K]``.
            example_id, epoch: what the draw depends on beside the seed.
        """
        if self.count is None or len(order) <= self.count + 1:
            return order
        if self.draw == "first":
            return order[: self.count + 1]
        drawn_in = epoch if self.draw == "epoch" else 0
        rng = np.random.default_rng([self.seed, drawn_in, example_id])
        return np.concatenate([order[:1], rng.choice(order[1:], self.count, replace=False)])


def text_collator(
    model: LanguageModel,
    pack: Pack,
    table: PreferenceTable,
    rows: np.ndarray,
    limits: Limits,
    chat: ChatFormat,
) -> PreferenceCollator:
    """Tokenise rows of a table once, int64 ``[n]``, and make their collator.

    Args:
        model: whose tokenizer and window are used.
        pack: packs trees the way it reads them.
        table, rows, limits, chat: see :func:`align.tokenise.tokenise`, which also says what it raises.
    """
    window = model.max_positions
    examples = tokenise(table, rows, model.tokenizer, limits=limits, chat=chat, window=window)
    return PreferenceCollator(table, examples, pack, window)


@dataclass
class PreferenceCollator:
    """Makes batches; an object of its own so that data workers can take it along.

    Parameters
    ----------
    table, examples : the rows, and their tokens.
    pack : packs trees the way the model reads them.
    window : tokens that the model reads; None: no limit.
    negatives : which rejected completions a batch holds.
    mismatched : give each completion of unpaired data the company of one that belongs to another prompt, from
        whose log-ratio KTO estimates its reference point (Ethayarajh et al., ICML 2024, eq. 8). It is drawn
        by (seed, epoch), so that it does not depend on the batch; one longer than the window is cut.
    seed : of the mismatches.
    """

    table: PreferenceTable
    examples: Examples
    pack: Pack
    window: int | None = None
    negatives: Negatives = Negatives()
    mismatched: bool = False
    seed: int = 0

    def __call__(self, indices: Sequence[int]) -> PreferenceBatch:
        """Rows of the table; a multiple of its length on top counts epochs."""
        epochs, rows = np.divmod(np.asarray(indices, dtype=np.int64), len(self.table))
        epoch = int(epochs[0])
        places = np.searchsorted(self.examples.rows, rows)
        trees = [
            self.examples.tree(place, self._columns(row, epoch).tolist())
            for place, row in zip(places.tolist(), rows.tolist(), strict=True)
        ]
        desirable = None
        if self.mismatched and self.table.desirable is not None:
            desirable = torch.from_numpy(self.table.desirable[rows])
            others = self.partners(epoch)[places].tolist()
            trees = [self._with_mismatch(tree, place) for tree, place in zip(trees, others, strict=True)]
        return PreferenceBatch(
            packed=self.pack(trees),
            trees=trees,
            ids=torch.from_numpy(self.table.ids[rows]),
            num_completions=torch.tensor([len(tree.completions) for tree in trees]),
            desirable=desirable,
            rows=rows,
        )

    def tokens(self) -> np.ndarray:
        """Tokens that a model reads of each example, int64 [n]."""
        count = self.negatives.count
        return self.examples.tokens(None if count is None else count + 1)

    def whole(self) -> PreferenceCollator:
        """The same with all rejected completions, whichever are drawn later; for reference values."""
        return replace(self, negatives=Negatives())

    def _columns(self, row: int, epoch: int) -> np.ndarray:
        return self.negatives.choose(self.table.order(row), int(self.table.ids[row]), epoch)

    def partners(self, epoch: int) -> np.ndarray:
        """For each example another one, of another prompt; places, int64 [n].

        Raises
        ------
        ValueError : all examples have one prompt.
        """
        groups = self.table.prompt_groups[self.examples.rows]
        order = np.random.default_rng([self.seed, epoch]).permutation(len(groups))
        partners = np.empty_like(order)
        partners[order] = np.roll(order, -1)
        after = partners.copy()
        for _ in range(len(groups)):
            same = groups[partners] == groups
            if not same.any():
                return partners
            partners[same] = after[partners[same]]
        raise ValueError(f"{self.table.name} has one prompt, but KTO compares with completions of others")

    def _with_mismatch(self, tree: PromptTree, place: int) -> PromptTree:
        other = self.examples.completion(place, 0)
        if self.window is not None:
            other = other[: self.window + 1 - len(tree.prompt_ids)]
        return tree.with_completions([*tree.completions, other])
