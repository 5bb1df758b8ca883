from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from moltc.backbone.loading import ResumableBatches, ResumableLoader
from moltc.backbone.prompt import PromptTree, SlotRun
from moltc.backbone.shipping import Shipped, unpacked


@dataclass
class Mixed:
    """One of everything that a batch is made of."""

    ids: torch.Tensor
    scores: torch.Tensor
    bits: torch.Tensor
    empty: torch.Tensor
    tree: PromptTree
    rows: np.ndarray


def mixed(rows: list[int]) -> Mixed:
    return Mixed(
        ids=torch.tensor([rows, rows]).T,  # not contiguous
        scores=torch.tensor(rows, dtype=torch.float32) / 3,
        bits=torch.tensor(rows, dtype=torch.uint8),
        empty=torch.empty(0, 2, dtype=torch.long),
        tree=PromptTree(np.array(rows), (), (SlotRun(0, 1, "drug", rows[0]),)),
        rows=np.array(rows),
    )


def same(one: Mixed, other: Mixed) -> None:
    for name in ("ids", "scores", "bits", "empty"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert mine.dtype == theirs.dtype
        assert torch.equal(mine, theirs)
    assert one.tree.slots == other.tree.slots
    np.testing.assert_array_equal(one.tree.prompt_ids, other.tree.prompt_ids)
    np.testing.assert_array_equal(one.rows, other.rows)


def test_a_batch_arrives_as_it_left():
    arrived = unpacked(Shipped(mixed)([1, 2, 3]))
    same(arrived, mixed([1, 2, 3]))
    arrived.scores += 1  # and may be written to


def test_types_that_numpy_lacks_and_nested_values_arrive():
    sent = {"half": torch.ones(2, 3, dtype=torch.bfloat16), "pair": (torch.tensor(4), [torch.tensor(5)])}
    arrived = unpacked(Shipped(lambda rows: sent)([0]))
    assert torch.equal(arrived["half"], sent["half"]) and arrived["half"].dtype == torch.bfloat16
    assert arrived["pair"] == (torch.tensor(4), [torch.tensor(5)])


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1)], ids=str)
def test_tensors_that_repeat_one_element_arrive(shape):
    sent = torch.tensor([7]).expand(2, 3)[0, :1].expand(*shape) if shape else torch.tensor(7)
    assert torch.equal(unpacked(Shipped(lambda rows: (sent,))([0]))[0], sent)


def test_packing_leaves_the_batch_as_it_was():
    batch = mixed([1, 2])
    Shipped(lambda rows: batch)([0])
    same(batch, mixed([1, 2]))


class Pairs(ResumableBatches):
    def epoch_batches(self) -> list[np.ndarray]:
        return [np.array([0, 1]), np.array([2, 3]), np.array([4, 5])]

    def __len__(self) -> int:
        return 3


@pytest.mark.parametrize("workers", [0, 1], ids=["same_process", "data_process"])
def test_the_loader_gives_the_same_batches_from_any_process(workers):
    loader = ResumableLoader(Pairs(), 6, mixed, workers)
    for batch, rows in zip(loader, ([0, 1], [2, 3], [4, 5]), strict=True):
        same(batch, mixed(rows))
