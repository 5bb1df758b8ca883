"""The reader: a weighted sum over places, and what it does without states."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from graphrec.recinterpreter.reader import StateReader


def states_of(rows: int, length: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.ones(rows, length, dtype=torch.bool)
    mask[0, :2] = False
    return torch.randn(rows, length, width), mask


def test_the_sum_by_hand() -> None:
    states, mask = states_of(3, 4, 5)
    reader = StateReader(5, 4, 6)
    with torch.no_grad():
        reader.weights.copy_(torch.tensor([1.0, -2.0, 0.5, 3.0]))
        reader.bias.fill_(0.25)
        found = reader(states, mask)
        summary = states[0, 2] * 0.5 + states[0, 3] * 3 + 0.25
        torch.testing.assert_close(found[0, 0], reader.project(summary))
    assert found.shape == (3, 1, 6)


def test_what_is_masked_is_not_read() -> None:
    states, mask = states_of(3, 4, 5)
    other = states.clone()
    other[0, :2] = 99.0
    reader = StateReader(5, 4, 6)
    torch.testing.assert_close(reader(states, mask), reader(other, mask), rtol=0, atol=0)


def test_the_last_state_alone() -> None:
    states, mask = states_of(3, 4, 5)
    reader = StateReader(5, 4, 6, reads="last")
    torch.testing.assert_close(reader(states, mask)[:, 0], reader.project(states[:, -1]))
    assert {name for name, _ in reader.named_parameters()} == {"project.weight", "project.bias"}


@pytest.mark.parametrize("projector", ["linear", "mlp"])
def test_several_soft_tokens(projector: Any) -> None:
    states, mask = states_of(2, 3, 4)
    reader = StateReader(4, 3, 6, soft_tokens=5, projector=projector)
    assert reader(states, mask).shape == (2, 5, 6)


def test_every_place_is_trained() -> None:
    states, mask = states_of(3, 4, 5)
    reader = StateReader(5, 4, 6)
    reader(states, mask).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in reader.parameters())
