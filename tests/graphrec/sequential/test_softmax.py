"""The chunked softmax loss: value and gradients of the plain formula, whatever the chunks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from graphrec.sequential import softmax
from graphrec.sequential.softmax import full_softmax


@pytest.fixture(params=[(256, 2048), (3, 4), (1, 1)], ids=["one_chunk", "odd_chunks", "single_cells"])
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmax, "POSITIONS", request.param[0])
    monkeypatch.setattr(softmax, "COLUMNS", request.param[1])


def inputs(*, bias: bool) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    states = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    table = torch.randn(11, 5, dtype=torch.float64, requires_grad=True)
    biases = torch.randn(11, dtype=torch.float64, requires_grad=True) if bias else None
    return states, table, torch.tensor([0, 10, 3, 3, 3, 7, 2]), biases


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("bias", [False, True], ids=["products", "products_and_bias"])
def test_equals_the_plain_formula(bias: bool) -> None:
    states, table, targets, biases = inputs(bias=bias)
    scores = states @ table.T if biases is None else states @ table.T + biases
    torch.testing.assert_close(full_softmax(states, table, targets, biases), cross_entropy(scores, targets))
    wanted = [part for part in (states, table, biases) if part is not None]
    expected = torch.autograd.grad(cross_entropy(scores, targets) * 3, wanted)
    got = torch.autograd.grad(full_softmax(states, table, targets, biases) * 3, wanted)
    torch.testing.assert_close(got, expected)


@pytest.mark.usefixtures("chunks")
def test_gradients_by_finite_differences() -> None:
    states, table, targets, biases = inputs(bias=True)
    assert torch.autograd.gradcheck(lambda s, t, b: full_softmax(s, t, targets, b), (states, table, biases))


def test_large_scores_do_not_overflow() -> None:
    states, table = torch.tensor([[500.0, -500.0]]), torch.eye(2)
    assert full_softmax(states, table, torch.tensor([1])).item() == pytest.approx(1000.0)


def test_without_gradients_none_are_worked_out() -> None:
    states, table, targets, _ = inputs(bias=False)
    with torch.no_grad():
        value = full_softmax(states, table, targets)
    assert not value.requires_grad
    torch.testing.assert_close(value, full_softmax(states, table, targets).detach())


def test_a_frozen_table_gets_no_gradient() -> None:
    states, table, targets, _ = inputs(bias=False)
    full_softmax(states, table.detach(), targets).backward()
    assert states.grad is not None
    assert table.grad is None


@pytest.mark.parametrize("target", [-1, 11], ids=["negative", "beyond"])
def test_a_target_outside_the_table_is_named(target: int) -> None:
    states, table, *_ = inputs(bias=False)
    with pytest.raises(ValueError, match=f"target {target} is not an item from 0 to 10"):
        full_softmax(states, table, torch.full((7,), target))


def test_no_position_is_an_error() -> None:
    with pytest.raises(ValueError, match="no position"):
        full_softmax(torch.randn(0, 5), torch.randn(3, 5), torch.empty(0, dtype=torch.long))
