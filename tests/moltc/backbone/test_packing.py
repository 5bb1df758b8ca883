"""Packing: layout, mask rule, deduplication, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import random_trees

from moltc.backbone.flex import mask_mod
from moltc.backbone.packing import assign_rows, attend, pack
from moltc.backbone.prompt import PromptTree, SlotRun


def ids(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_the_layout_of_one_small_tree():
    packed = pack([PromptTree(ids(7, 8), (ids(1, 2, 3), ids(4), ids(5, 6)))])
    assert packed.input_ids.tolist() == [[7, 8, 1, 2, 5]]  # the last token of a completion predicts nothing
    assert packed.position_ids.tolist() == [[0, 1, 2, 3, 2]]
    assert packed.branch.tolist() == [[0, 0, 1, 1, 3]]
    assert packed.score_from.tolist() == [1, 2, 3, 1, 1, 4]
    assert packed.score_label.tolist() == [1, 2, 3, 4, 5, 6]
    assert packed.score_owner.tolist() == [0, 0, 0, 1, 2, 2]
    assert packed.lengths.tolist() == [3, 1, 2]
    assert not packed.causal


def test_one_completion_is_plain_causal():
    packed = pack([PromptTree(ids(7, 8), (ids(1, 2, 3),)), PromptTree(ids(7, 8, 9), (ids(1, 2, 3),))])
    assert packed.causal
    assert packed.tree.tolist() == [[0, 0, 0, 0, -1], [1, 1, 1, 1, 1]]


@pytest.mark.parametrize("window", [None, 3], ids=["full", "sliding"])
@pytest.mark.parametrize("sharing", ["shared", "expanded"])
def test_the_mask_is_the_written_rule(sharing, window):
    packed = pack(random_trees(), sharing=sharing, row_tokens=130)
    seen = attend(packed, window)
    flex = mask_mod(packed, window)
    rows, length = packed.tree.shape
    rng = np.random.default_rng(0)
    for r, i, j in zip(*(rng.integers(0, n, size=4000) for n in (rows, length, length)), strict=True):
        expected = (
            packed.tree[r, i] == packed.tree[r, j]
            and j <= i
            and packed.branch[r, j] in (0, packed.branch[r, i])
            and (window is None or i == j or packed.position_ids[r, i] - packed.position_ids[r, j] < window)
        )
        assert bool(seen[r, i, j]) == bool(expected)
        assert bool(flex(*(torch.tensor(int(x)) for x in (r, 0, i, j)))) == bool(expected)


def test_equal_entities_are_encoded_once():
    a = PromptTree(ids(1, 0, 0, 2, 0, 0), (), (SlotRun(1, 2, "drug", 5), SlotRun(4, 2, "drug", 3)))
    b = PromptTree(ids(0, 0, 9, 0, 0), (), (SlotRun(0, 2, "drug", 3), SlotRun(3, 2, "solvent", 5)))
    packed = pack([a, b], sharing="expanded")
    assert packed.entities == {"drug": [5, 3], "solvent": [5]}
    assert packed.slot_source.tolist() == [0, 1, 2, 3, 2, 3, 4, 5]
    assert packed.slot_index.tolist() == [1, 2, 4, 5, 6, 7, 9, 10]


def test_a_tower_with_two_lengths_is_refused():
    tree = PromptTree(ids(0, 0, 0), (), (SlotRun(0, 1, "drug", 5), SlotRun(1, 2, "drug", 3)))
    with pytest.raises(ValueError, match="always gives the same number"):
        pack([tree])


def test_errors_name_the_tree():
    with pytest.raises(ValueError, match="tree 1 needs 9 tokens"):
        pack([PromptTree(ids(1)), PromptTree(np.arange(9))], row_tokens=8)
    with pytest.raises(ValueError, match="nothing to pack"):
        pack([])
    with pytest.raises(ValueError, match="completion 1 is empty"):
        PromptTree(ids(1), (ids(1), ids()))
    with pytest.raises(ValueError, match="at least one token"):
        PromptTree(ids())


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(40, 90))
@settings(max_examples=60, deadline=None)
def test_rows_never_overflow_or_overlap(lengths, capacity):
    lengths = np.array(lengths)
    rows, columns, count = assign_rows(lengths, capacity)
    used = np.zeros((count, capacity), dtype=int)
    for n, r, c in zip(lengths, rows, columns, strict=True):
        used[r, c : c + n] += 1
    assert used.max() == 1
    assert used.any(axis=1).all()
    assert count <= max(1, int(np.ceil(2 * lengths.sum() / capacity)))


@given(
    st.integers(0, 10_000),
    st.lists(st.integers(0, 4), min_size=1, max_size=6),
    st.sampled_from(["shared", "expanded"]),
)
@settings(max_examples=40, deadline=None)
def test_every_path_can_be_read_back(seed, counts, sharing):
    trees = random_trees(seed, counts)
    packed = pack(trees, sharing=sharing)
    flat = packed.input_ids.flatten()
    seen = attend(packed)
    order = torch.arange(flat.numel())
    width = packed.input_ids.shape[1]
    c = 0
    for tree in trees:
        for completion in tree.completions:
            mine = packed.score_owner == c
            assert packed.score_label[mine].tolist() == completion.tolist()
            last = int(packed.score_from[mine][-1])
            row, col = divmod(last, width)
            path = order.view(-1, width)[row][seen[row, col]]
            expected = np.concatenate([tree.prompt_ids, completion[:-1]])
            assert flat[path].tolist() == expected.tolist()
            assert packed.position_ids.flatten()[path].tolist() == list(range(len(expected)))
            c += 1
    assert c == len(packed.lengths)


def test_a_prompt_is_cut_from_the_left_and_counted():
    tree = PromptTree(np.arange(10), (ids(1, 2),), (SlotRun(5, 2, "drug", 0),))
    same, cut = tree.limited(12)
    assert cut == 0
    assert same is tree
    shorter, cut = tree.limited(9)
    assert cut == 3
    assert shorter.prompt_ids.tolist() == list(range(3, 10))
    assert shorter.slots[0].start == 2
    with pytest.raises(ValueError, match="only 5 tokens stand before the first soft token"):
        tree.limited(6)


def test_positions_count_on_over_the_padding():
    packed = pack([PromptTree(ids(7, 8), (ids(1, 2),)), PromptTree(ids(7, 8, 9), (ids(1, 2),))], row_tokens=6)
    assert packed.causal
    assert packed.position_ids.tolist() == [[0, 1, 2, 3, 3, 3]] * 2  # and never reach beyond the longest path
    assert packed.tree.tolist() == [[1, 1, 1, 1, -1, -1], [0, 0, 0, -1, -1, -1]]


def test_paths_beyond_the_window_are_refused():
    tree = PromptTree(ids(1, 2, 3), (ids(4), ids(5, 6, 7)))
    assert pack([tree], max_positions=5).tree.shape == (1, 5)
    with pytest.raises(ValueError, match="tree 1 has a path of 5 tokens, the model reads 4"):
        pack([PromptTree(ids(1)), tree], max_positions=4)


def test_the_numbers_of_soft_tokens_are_told():
    tree = PromptTree(ids(0, 0, 0), (), (SlotRun(0, 1, "item", 5), SlotRun(1, 2, "drug", 3)))
    assert pack([tree]).num_queries == {"item": 1, "drug": 2}


def test_another_device_gets_the_same_batch():
    packed = pack(random_trees())
    moved = packed.to("meta")
    assert moved.input_ids.device == moved.score_from.device == torch.device("meta")
    assert moved.entities == packed.entities
    assert moved.causal == packed.causal
