"""Packed sequences: every token once, rectangles that change neither values nor gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphrec.histories import Histories
from graphrec.sequential.packing import Packing, pack, permuted

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=30)


@settings(max_examples=40, deadline=None)
@given(LENGTHS)
def test_rectangles_hold_every_token_once(lengths: list[int]) -> None:
    packing = Packing.of(np.array(lengths))
    flat = torch.arange(packing.num_tokens, dtype=torch.float64).unsqueeze(1)
    back = [rectangle.empty(rectangle.fill(flat)) for rectangle in packing.rectangles]
    assert torch.equal(torch.cat(back), flat)


@settings(max_examples=40, deadline=None)
@given(LENGTHS)
def test_rectangles_are_nearly_full(lengths: list[int]) -> None:
    packing = Packing.of(np.array(lengths))
    for rectangle in packing.rectangles:
        rows, longest = rectangle.shape
        tokens = rectangle.tokens.stop - rectangle.tokens.start
        assert tokens >= rows * (0.75 * longest - 2)


def test_rows_of_a_rectangle_are_sequences_with_their_last_token_repeated() -> None:
    tokens, packing = pack(Histories.from_lists([[1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]))
    (rectangle,) = packing.rectangles
    filled = rectangle.fill(tokens.double().unsqueeze(1)).squeeze(-1)
    assert filled.tolist() == [[4, 5, 6, 7], [1, 2, 3, 3], [8, 9, 10, 10]]


def test_sequences_of_one_length_are_taken_as_they_lie() -> None:
    _, packing = pack(Histories.from_lists([[1, 2], [3, 4]]))
    assert [rectangle.filled for rectangle in packing.rectangles] == [None]


def test_last_tokens_come_in_the_order_of_the_caller() -> None:
    tokens, packing = pack(Histories.from_lists([[1], [2, 3, 4], [5, 6]]))
    assert tokens[packing.last].tolist() == [1, 4, 6]
    assert packing.positions.tolist() == [0, 1, 2, 0, 1, 0]


def test_gradients_pass_through_rectangles_and_orders() -> None:
    packing = Packing.of(np.array([4, 3, 3, 1]))
    flat = torch.randn(packing.num_tokens, 2, dtype=torch.float64, requires_grad=True)
    order = torch.randperm(packing.num_tokens)

    def through(flat: torch.Tensor) -> torch.Tensor:
        blocks = [rectangle.empty(rectangle.fill(flat).sin()) for rectangle in packing.rectangles]
        return permuted(permuted(torch.cat(blocks), order) ** 2, order, back=True)

    assert torch.equal(through(flat), flat.sin() ** 2)
    assert torch.autograd.gradcheck(through, flat)


def test_a_row_without_a_token_is_refused() -> None:
    with pytest.raises(ValueError, match="row 1 has no token"):
        Packing.of(np.array([3, 0, 2]))
