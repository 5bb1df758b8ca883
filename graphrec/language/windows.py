"""Windows of a sequence as rows of tokens in which every title is a target.

An item is its title, the mark that ends it, and one soft token; the next title is predicted from the soft
token before it. With form "token" titles are not shown: each is a branch that the soft tokens do not see. No
tree is built item by item, so that making a batch costs far less than a step.

Letters: B windows, C items of all windows (each a target), S soft tokens, R rows of T tokens.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphrec.histories import Histories, Integers
from graphrec.language.config import ItemForm
from graphrec.language.towers import ITEM, Entity, ItemInputs, States
from moltc.backbone.packing import PackedTrees
from moltc.backbone.prompt import PromptTree, SlotRun


@dataclass(frozen=True)
class TitleBatch:
    """A packed batch whose completions are titles.

    Attributes:
        packed: B prompts and C titles, prompt after prompt.
        inputs: what the soft tokens stand for.
        targets: item of each title, long ``[C]``.
    """

    packed: PackedTrees
    inputs: ItemInputs
    targets: Tensor

    def to(self, device: torch.device | str) -> TitleBatch:
        """The same on a device."""
        return TitleBatch(self.packed.to(device), self.inputs.to(device), self.targets.to(device))

    def showing(self, shown: bool) -> TitleBatch:
        """The same with soft tokens, or with placeholders in their places."""
        return replace(self, inputs=self.inputs._replace(shown=shown))


@dataclass(frozen=True)
class _Layout:
    """Where everything stands.

    Attributes:
        width: T.
        title: first flat place of each title, ``[C]``.
        slot: flat place of the soft token after each title, ``[C]``; the last of a window has none.
        before: flat place that predicts the first token of each title, ``[C]``.
        position: of the first token of each title, counted without other branches, ``[C]``.
    """

    width: int
    title: Integers
    slot: Integers
    before: Integers
    position: Integers


def _layout(windows: Histories, sizes: Integers, form: ItemForm) -> _Layout:
    """Lay out windows, one in each row; ``sizes`` are the stored tokens of each title, ``[C]``."""
    rows = windows.rows
    ends = np.cumsum(sizes + 1)  # a title and its soft token
    begin = ends - sizes - 1
    column = 1 + begin - begin[windows.starts][rows]  # after the start token
    last = windows.ends - 1
    width = int((column + sizes)[last].max(initial=1))
    title = rows * width + column
    slot = title + sizes
    first = windows.positions == 0
    before = np.where(first, rows * width, np.roll(slot, 1))
    position = windows.positions + 1 if form == "token" else column
    return _Layout(width, title, slot, before, position)


def title_windows(
    windows: Histories,
    titles: Histories,
    *,
    start_id: int,
    pad_id: int,
    form: ItemForm = "hybrid",
    states: States | None = None,
) -> TitleBatch:
    """Pack windows, one in each row.

    Args:
        windows: item numbers, at least one in each row.
        titles: token ids of each item's title, the end mark included, one row for each item.
        start_id, pad_id: tokens before the first title and after the last.
        form: "token" hides titles from what follows them; "hybrid" and "text" are laid out alike.
        states: a recommender's states; each soft token then holds the state of the history up to its item.

    Raises:
        ValueError: a window is empty.
    """
    if not len(windows) or windows.lengths.min() < 1:
        raise ValueError("a window needs at least one item; leave empty sequences out")
    hidden = form == "token"
    tokens = titles.select(windows.items)
    lengths = tokens.lengths  # of each title, [C]
    stored = lengths - 1 if hidden else lengths
    at = _layout(windows, stored, form)
    shape = (len(windows), at.width)

    within = tokens.positions
    kept = within < np.repeat(stored, lengths)
    place = np.repeat(at.title, lengths) + within  # flat, of each title token
    ids = np.full(shape, pad_id, dtype=np.int64)
    ids[:, 0] = start_id
    ids.ravel()[place[kept]] = tokens.items[kept]
    with_slot = np.flatnonzero(windows.places_from_end > 0)
    slots = at.slot[with_slot]

    tree = np.full(shape, -1, dtype=np.int64)
    tree[np.arange(at.width) <= _last_columns(at, windows, stored)[:, None]] = 0
    tree = np.where(tree < 0, -1, np.arange(len(windows))[:, None])
    branch = np.zeros(shape, dtype=np.int64)
    position = np.broadcast_to(np.arange(at.width), shape).copy()
    if hidden:
        branch.ravel()[place[kept]] = np.repeat(windows.positions + 1, lengths)[kept]
        position.ravel()[place[kept]] = (np.repeat(at.position, lengths) + within)[kept]
        position.ravel()[slots] = windows.positions[with_slot] + 1
    entities, source, inputs = _entities(windows, with_slot, states)
    packed = PackedTrees(
        input_ids=torch.from_numpy(ids),
        position_ids=torch.from_numpy(position),
        tree=torch.from_numpy(tree),
        branch=torch.from_numpy(branch),
        slot_index=torch.from_numpy(slots),
        slot_source=torch.from_numpy(source),
        score_from=torch.from_numpy(np.where(within == 0, np.repeat(at.before, lengths), place - 1)),
        score_label=torch.from_numpy(tokens.items),
        score_owner=torch.from_numpy(tokens.rows),
        prompt_end=torch.from_numpy(at.before[windows.ends - 1]),
        lengths=torch.from_numpy(lengths),
        num_completions=torch.from_numpy(windows.lengths),
        entities={ITEM: entities} if entities else {},
        num_queries={ITEM: 1} if entities else {},
        causal=not hidden,
    )
    return TitleBatch(packed, inputs, torch.from_numpy(windows.items.copy()))


def _last_columns(at: _Layout, windows: Histories, stored: Integers) -> Integers:
    """Column of the last token of each window, ``[B]``."""
    last = windows.ends - 1
    columns: Integers = (at.title[last] + stored[last] - 1) % at.width
    return columns


def _entities(
    windows: Histories, with_slot: Integers, states: States | None
) -> tuple[list[Hashable], NDArray[np.int64], ItemInputs]:
    """Numbers of the distinct entities, which of them each soft token is, ``[S]``, and their inputs."""
    shown = windows.items[with_slot]
    if states is None:
        items, source = np.unique(shown, return_inverse=True)
        entities: list[Hashable] = items.tolist()
        return entities, source.astype(np.int64), ItemInputs(torch.from_numpy(items))
    rows = windows.rows[with_slot]
    begins, ends = windows.starts[rows], with_slot + 1
    lengths = ends - begins
    shift = np.repeat(begins - (np.cumsum(lengths) - lengths), lengths)
    pasts = Histories.from_lengths(windows.items[np.arange(int(lengths.sum())) + shift], lengths)
    number = np.arange(len(shown))
    return list(range(len(shown))), number, ItemInputs(torch.from_numpy(shown), states(pasts))


def history_tree(
    history: Sequence[int],
    titles: Histories,
    *,
    start_id: int,
    pad_id: int,
    form: ItemForm = "hybrid",
    with_states: bool = False,
    completions: Sequence[np.ndarray] = (),
) -> PromptTree:
    """One history as the prompt that :func:`title_windows` trains on, and titles that may follow it.

    Args:
        history: item numbers, oldest first; it may be empty.
        with_states: each soft token stands for the history up to its item.
        titles, start_id, pad_id, form: as there.
        completions: token ids of what may follow, each with its end mark.
    """
    starts, ends = titles.starts, titles.ends
    parts = [np.array([start_id], dtype=np.int64)]
    slots: list[SlotRun] = []
    soft, length = np.array([pad_id], dtype=np.int64), 1
    for place, item in enumerate(history):
        if form != "token":
            parts.append(titles.items[starts[item] : ends[item]])
            length += len(parts[-1])
        parts.append(soft)
        entity: Entity = tuple(history[: place + 1]) if with_states else item
        slots.append(SlotRun(length, 1, ITEM, entity))
        length += 1
    return PromptTree(np.concatenate(parts), tuple(completions), tuple(slots))
