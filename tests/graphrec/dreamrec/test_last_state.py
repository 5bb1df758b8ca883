from __future__ import annotations

import pytest
import torch
from torch import Tensor

from graphrec.dreamrec.dropout import Dropout
from graphrec.dreamrec.last_state import Places, last_states
from graphrec.sequential.reference.sasrec import SASRecEncoder

ITEMS, WIDTH, LENGTH = 9, 8, 5
ROWS = torch.tensor([[3, 1, 9, 9, 9], [0, 0, 2, 7, 8], [9, 9, 9, 9, 9], [5, 9, 9, 9, 9]])
LENGTHS = torch.tensor([2, 5, 1, 1])


def shortened(encoder: SASRecEncoder, rows: Tensor) -> Tensor:
    real = rows != ITEMS
    return last_states(encoder, encoder.item_embeddings(rows[real]), Places(real))


@pytest.mark.parametrize("num_heads", [1, 2, 4], ids=["one head", "two heads", "four heads"])
def test_is_the_whole_block_in_value_and_gradient(num_heads: int) -> None:
    encoder = SASRecEncoder(ITEMS, WIDTH, LENGTH, num_heads=num_heads).double().eval()
    weights = torch.randn(4, WIDTH, dtype=torch.float64)
    whole = encoder(ROWS, LENGTHS)
    (whole * weights).sum().backward()
    expected = {name: weight.grad.clone() for name, weight in encoder.named_parameters()}
    encoder.zero_grad()
    ours = shortened(encoder, ROWS)
    (ours * weights).sum().backward()
    torch.testing.assert_close(ours, whole)
    for name, weight in encoder.named_parameters():
        got = torch.zeros_like(weight) if weight.grad is None else weight.grad  # keys' bias: changes nothing
        torch.testing.assert_close(got, expected[name], msg=name)


def test_columns_of_padding_can_be_left_out() -> None:
    encoder = SASRecEncoder(ITEMS, WIDTH, LENGTH).eval()
    short = ROWS[[0, 3]]
    torch.testing.assert_close(shortened(encoder, short[:, :2]), shortened(encoder, short))


def test_what_padding_holds_does_not_matter() -> None:
    encoder = SASRecEncoder(ITEMS, WIDTH, LENGTH).eval()
    before = shortened(encoder, ROWS)
    with torch.no_grad():
        encoder.item_embeddings.weight[ITEMS] = 1e3
    assert torch.equal(shortened(encoder, ROWS), before)


def test_no_history_gives_the_bias_of_the_last_norm() -> None:
    encoder = SASRecEncoder(ITEMS, WIDTH, LENGTH).eval()
    torch.nn.init.normal_(encoder.ln_3.bias)
    torch.testing.assert_close(shortened(encoder, ROWS)[2], encoder.ln_3.bias)
    torch.testing.assert_close(shortened(encoder, ROWS[[2, 2]])[1], encoder.ln_3.bias)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_keeps_its_rate_and_the_mean(rate: float) -> None:
    drop = Dropout(rate)
    dropped = drop(torch.ones(401, 501))
    error = (rate * (1 - rate) / dropped.numel()) ** 0.5
    assert (dropped == 0).double().mean().item() == pytest.approx(rate, abs=4 * error + 1 / 65536)
    assert dropped.max().item() == pytest.approx(1 / (1 - rate), rel=1e-4)
    assert not torch.equal(dropped, drop(torch.ones(401, 501)))


def test_dropout_gradient_is_its_mask() -> None:
    inputs = torch.ones(30, 7, requires_grad=True)
    dropped = Dropout(0.3)(inputs)
    dropped.sum().backward()
    assert inputs.grad is not None
    assert torch.equal(inputs.grad, dropped)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_dropout_of_nothing_and_of_all(rate: float) -> None:
    inputs = torch.randn(3, 5)
    assert torch.equal(Dropout(rate)(inputs), inputs * (1 - rate))
    assert torch.equal(Dropout(rate).eval()(inputs), inputs)
