"""Packing: many prompt trees into one rectangular batch.

Each prompt is stored once, its completions side by side after it; positions of every completion restart at
the prompt's length and a token sees its own tree's prompt and its own branch only. ``sharing="expanded"``
stores one row per completion instead, for models that take no custom attention mask; both carry the same
scores in the same order. The last token of a completion predicts nothing and is not stored.
"""

from __future__ import annotations

import bisect
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from moltc.backbone.prompt import PromptTree

Sharing = Literal["shared", "expanded"]


@dataclass
class PackedTrees:
    """B trees with C completions in R rows of T tokens.

    Attributes
    ----------
    input_ids, position_ids : long [R, T]; at padding the positions count on, as if the row were longer.
    tree, branch : long [R, T]; tree -1 is padding; branch 0 is the prompt, k the k-th completion stored in
        that tree.
    slot_index, slot_source : long [S]; flat token position <- flat row of the encoded soft tokens.
    score_from, score_label, score_owner : long [P]; flat position whose hidden state predicts, the label, the
        completion.
    prompt_end : long [B]; flat position of the last prompt token (of the first copy when expanded).
    lengths : long [C]; scored tokens of each completion, the end token included.
    num_completions : long [B].
    entities : tower key -> distinct entities, in the order of the encoded soft tokens.
    num_queries : tower key -> soft tokens Q of each entity.
    causal : every row is one path, so plain causal attention needs no mask.
    """

    input_ids: Tensor
    position_ids: Tensor
    tree: Tensor
    branch: Tensor
    slot_index: Tensor
    slot_source: Tensor
    score_from: Tensor
    score_label: Tensor
    score_owner: Tensor
    prompt_end: Tensor
    lengths: Tensor
    num_completions: Tensor
    entities: dict[str, list[Hashable]]
    num_queries: dict[str, int]
    causal: bool

    @property
    def owner(self) -> Tensor:
        """Prompt of each completion, long [C]."""
        return torch.repeat_interleave(self.num_completions, output_size=len(self.lengths))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PackedTrees:
        """The same batch on another device."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=non_blocking)
            for name, value in values.items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)


def attend(packed: PackedTrees, window: int | None = None) -> Tensor:
    """Who sees whom, bool [R, T, T]: same tree, not later, and in the prompt or the same branch.

    ``window`` further limits the distance in *positions*, for sliding-window layers.
    """
    tree, branch, position = packed.tree, packed.branch, packed.position_ids
    length = tree.shape[1]
    order = torch.arange(length, device=tree.device)
    seen = (tree[:, :, None] == tree[:, None, :]) & (order[None, :] <= order[:, None])
    seen &= (branch[:, None, :] == 0) | (branch[:, :, None] == branch[:, None, :])
    if window is not None:
        near = position[:, :, None] - position[:, None, :] < window
        seen &= near | (order[None, :] == order[:, None])
    return seen


def _ragged_arange(lengths: np.ndarray) -> np.ndarray:
    """[0..l_0-1, 0..l_1-1, ...]."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) - np.repeat(ends - lengths, lengths)


def assign_rows(lengths: np.ndarray, capacity: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Best-fit-decreasing bin packing.

    Parameters
    ----------
    lengths : int64 [units], each at most ``capacity``.

    Returns
    -------
    row and first column of each unit, int64 [units] each, and the number of rows.
    """
    rows = np.empty(len(lengths), dtype=np.int64)
    columns = np.empty(len(lengths), dtype=np.int64)
    if len(lengths) and int(lengths.min()) * 2 > capacity:  # no two fit together
        return np.arange(len(lengths)), np.zeros(len(lengths), dtype=np.int64), len(lengths)
    free: list[tuple[int, int]] = []  # (space left, row), sorted
    count = 0
    for unit in np.argsort(-lengths, kind="stable").tolist():
        need = int(lengths[unit])
        at = bisect.bisect_left(free, (need, -1))
        if at < len(free):
            space, row = free.pop(at)
        else:
            space, row, count = capacity, count, count + 1
        rows[unit], columns[unit] = row, capacity - space
        bisect.insort(free, (space - need, row))
    return rows, columns, count


def _number_slots(
    trees: Sequence[PromptTree],
) -> tuple[dict[str, list[Hashable]], dict[str, int], np.ndarray]:
    """Number the entities of all slots.

    Returns
    -------
    distinct entities by tower; soft tokens of each by tower; and int64 [slots, 4]: for each slot its tree,
    start, length, and the first row of its encoded soft tokens.
    """
    seen: dict[str, dict[Hashable, int]] = {}
    queries: dict[str, int] = {}
    found: list[tuple[int, int, int, str, int]] = []
    for b, tree in enumerate(trees):
        for run in tree.slots:
            known = seen.setdefault(run.tower, {})
            if queries.setdefault(run.tower, run.length) != run.length:
                raise ValueError(
                    f"tower {run.tower!r} is used with {queries[run.tower]} and with {run.length} soft "
                    "tokens; a tower always gives the same number"
                )
            found.append((b, run.start, run.length, run.tower, known.setdefault(run.entity, len(known))))
    base, offset = {}, 0
    for tower, known in seen.items():
        base[tower] = offset
        offset += len(known) * queries[tower]
    table = np.array([(b, s, q, base[t] + m * q) for b, s, q, t, m in found], dtype=np.int64).reshape(-1, 4)
    return {tower: list(known) for tower, known in seen.items()}, queries, table


def pack(
    trees: Sequence[PromptTree],
    *,
    sharing: Sharing = "shared",
    row_tokens: int | None = None,
    pad_id: int = 0,
    max_positions: int | None = None,
) -> PackedTrees:
    """Pack prompt trees into one batch.

    Parameters
    ----------
    trees : B >= 1 prompt trees; completions may be ragged, also 0.
    sharing : "shared" stores a prompt once, "expanded" once per completion, each in a row of its own.
    row_tokens : row length T; default the longest unit. Shorter units fill the rows that have room left.
    pad_id : id written at padding (never read by any other token).
    max_positions : tokens that the model reads, prompt and one completion together; default no limit.

    Raises
    ------
    ValueError
        when there is no tree, a unit is longer than ``row_tokens`` or a path longer than ``max_positions``.
    """
    if not trees:
        raise ValueError("there is nothing to pack: the batch has no prompt tree")
    if sharing not in ("shared", "expanded"):
        raise ValueError(f"sharing must be 'shared' or 'expanded', not {sharing!r}")
    completions = [c for tree in trees for c in tree.completions]
    tokens = np.concatenate([*(t.prompt_ids for t in trees), *completions]).astype(np.int64, copy=False)
    prompt_len = np.array([len(t.prompt_ids) for t in trees], dtype=np.int64)
    num_comp = np.array([len(t.completions) for t in trees], dtype=np.int64)
    comp_len = np.array([len(c) for c in completions], dtype=np.int64)
    prompt_src = np.cumsum(prompt_len) - prompt_len
    comp_src = int(prompt_len.sum()) + np.cumsum(comp_len) - comp_len
    comp_tree = np.repeat(np.arange(len(trees)), num_comp)

    unit_tree, first_unit, comp_unit, comp_branch = _units(num_comp, sharing)
    unit_prompt = prompt_len[unit_tree]
    stored = comp_len - 1
    unit_len = unit_prompt + np.bincount(comp_unit, weights=stored, minlength=len(unit_tree)).astype(np.int64)
    path_len = prompt_len.copy()  # longest path of each tree
    np.maximum.at(path_len, comp_tree, prompt_len[comp_tree] + stored)
    longest = int(path_len.max())
    if max_positions is not None and longest > max_positions:
        raise ValueError(
            f"tree {int(path_len.argmax())} has a path of {longest} tokens, the model reads {max_positions}; "
            "shorten the example (PromptTree.limited)"
        )
    width = int(unit_len.max()) if row_tokens is None else row_tokens
    if unit_len.max() > width:
        worst = int(unit_len.argmax())
        raise ValueError(
            f"tree {int(unit_tree[worst])} needs {int(unit_len[worst])} tokens, more than a row of {width}; "
            "raise row_tokens or shorten the example"
        )
    if sharing == "shared":
        unit_row, unit_col, num_rows = assign_rows(unit_len, width)
    else:
        unit_row, unit_col, num_rows = np.arange(len(unit_len)), np.zeros_like(unit_len), len(unit_len)
    unit_start = unit_row * width + unit_col

    # completions stand behind the prompt of their unit, in order
    before = np.cumsum(stored) - stored
    first_of_unit = np.searchsorted(comp_unit, np.arange(len(unit_tree)))
    offset = before - before[first_of_unit[comp_unit]] if len(completions) else before
    comp_start = unit_start[comp_unit] + unit_prompt[comp_unit] + offset

    seg_len = np.concatenate([unit_prompt, stored])
    seg_dst = np.concatenate([unit_start, comp_start])
    seg_src = np.concatenate([prompt_src[unit_tree], comp_src])
    seg_pos = np.concatenate([np.zeros_like(unit_prompt), unit_prompt[comp_unit]])
    seg_tree = np.concatenate([np.arange(len(unit_tree)), comp_unit])
    seg_branch = np.concatenate([np.zeros(len(unit_tree), dtype=np.int64), comp_branch])
    within = _ragged_arange(seg_len)
    dst = np.repeat(seg_dst, seg_len) + within

    def filled(padding: int | np.ndarray, source: np.ndarray) -> Tensor:
        table = np.empty((num_rows, width), dtype=np.int64)
        table[:] = padding
        table.reshape(-1)[dst] = source
        return torch.from_numpy(table)

    # scores: the last prompt token predicts the first token of every completion
    comp_within = _ragged_arange(comp_len)
    owner = np.repeat(np.arange(len(completions)), comp_len)
    prompt_last = unit_start + unit_prompt - 1
    score_from = np.where(
        comp_within == 0, prompt_last[comp_unit][owner], comp_start[owner] + comp_within - 1
    )

    entities, num_queries, slots = _number_slots(trees)
    slot_units, slot_rows = _expand_slots(slots, unit_tree, len(trees))
    q = slots[slot_rows, 2]
    slot_within = _ragged_arange(q)
    slot_index = np.repeat(unit_start[slot_units] + slots[slot_rows, 1], q) + slot_within
    slot_source = np.repeat(slots[slot_rows, 3], q) + slot_within

    units_per_row = np.bincount(unit_row, minlength=num_rows)
    branches = np.bincount(comp_unit, weights=stored > 0, minlength=len(unit_tree))
    # positions that count on over the padding tell the model that a row is one text, so that it needs no mask
    counting_on = np.minimum(np.arange(width), longest - 1)
    return PackedTrees(
        input_ids=filled(pad_id, tokens[np.repeat(seg_src, seg_len) + within]),
        position_ids=filled(counting_on, np.repeat(seg_pos, seg_len) + within),
        tree=filled(-1, np.repeat(seg_tree, seg_len)),
        branch=filled(0, np.repeat(seg_branch, seg_len)),
        slot_index=torch.from_numpy(slot_index),
        slot_source=torch.from_numpy(slot_source),
        score_from=torch.from_numpy(score_from.astype(np.int64)),
        score_label=torch.from_numpy(tokens[int(prompt_len.sum()) :].copy()),
        score_owner=torch.from_numpy(owner),
        prompt_end=torch.from_numpy(prompt_last[first_unit]),
        lengths=torch.from_numpy(comp_len),
        num_completions=torch.from_numpy(num_comp),
        entities=entities,
        num_queries=num_queries,
        causal=bool(units_per_row.max() == 1 and (branches.max() if len(branches) else 0) <= 1),
    )


def _units(num_comp: np.ndarray, sharing: Sharing) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What must stay together in one row: a whole tree when shared, else one path.

    Returns
    -------
    tree of each unit, first unit of each tree, and of each completion its unit and its branch there; all
    int64.
    """
    trees = np.arange(len(num_comp))
    if sharing == "shared":
        return trees, trees, np.repeat(trees, num_comp), _ragged_arange(num_comp) + 1
    copies = np.maximum(num_comp, 1)  # a prompt without completions takes a row as well
    first = np.cumsum(copies) - copies
    comp_unit = np.repeat(first, num_comp) + _ragged_arange(num_comp)
    return np.repeat(trees, copies), first, comp_unit, np.ones_like(comp_unit)


def _expand_slots(slots: np.ndarray, unit_tree: np.ndarray, num_trees: int) -> tuple[np.ndarray, np.ndarray]:
    """Each unit takes the slots of its tree: (unit, row of ``slots``) pairs."""
    per_tree = np.bincount(slots[:, 0], minlength=num_trees)
    first = np.cumsum(per_tree) - per_tree
    per_unit = per_tree[unit_tree]
    units = np.repeat(np.arange(len(unit_tree)), per_unit)
    return units, first[unit_tree][units] + _ragged_arange(per_unit)
