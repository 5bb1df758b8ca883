"""The chunked operator equals log_softmax and gather, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from moltc.backbone import logps
from moltc.backbone.logps import HeadTransform, is_plain_linear, label_logps, module_label_logps


@pytest.mark.parametrize("chunk", [1, 3, 7, 100], ids=["one-row", "uneven", "even", "all"])
@pytest.mark.parametrize(
    "transform", [HeadTransform(), HeadTransform(0.5, 3.0)], ids=["plain", "scaled-capped"]
)
@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no-bias"])
def test_equals_log_softmax(chunk, transform, with_bias):
    torch.manual_seed(0)
    hidden = torch.randn(14, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(30, 8, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(30, dtype=torch.float64, requires_grad=True) if with_bias else None
    labels = torch.randint(30, (14,))
    upstream = torch.randn(14, dtype=torch.float64)
    leaves = [t for t in (hidden, weight, bias) if t is not None]

    logits = transform(hidden @ weight.T + (0 if bias is None else bias))
    expected = logits.log_softmax(-1)[torch.arange(14), labels]
    expected_grads = torch.autograd.grad((expected * upstream).sum(), leaves)
    actual = label_logps(hidden, weight, labels, bias=bias, transform=transform, chunk=chunk)
    grads = torch.autograd.grad((actual * upstream).sum(), leaves)
    torch.testing.assert_close(actual, expected)
    for a, b in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(a, b)


def test_gradcheck():
    torch.manual_seed(1)
    hidden = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 5, 2, 2, 1])
    assert torch.autograd.gradcheck(lambda h, w: label_logps(h, w, labels, chunk=2), (hidden, weight))


def test_a_frozen_head_gets_no_gradient():
    hidden = torch.randn(5, 4, requires_grad=True)
    weight = torch.randn(6, 4)
    label_logps(hidden, weight, torch.zeros(5, dtype=torch.long)).sum().backward()
    assert hidden.grad is not None
    assert weight.grad is None


@pytest.mark.parametrize("chunk", [3, 100], ids=["uneven", "all"])
@pytest.mark.parametrize(
    "transform", [HeadTransform(), HeadTransform(0.5, 3.0)], ids=["plain", "scaled-capped"]
)
@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no-bias"])
def test_a_frozen_head_gives_the_same_gradient(chunk, transform, with_bias):
    """Promise: what the forward pass keeps for it is exact, for any gradient that comes back."""
    torch.manual_seed(5)
    hidden = torch.randn(14, 8, dtype=torch.float64, requires_grad=True)
    weight, bias = torch.randn(30, 8, dtype=torch.float64), torch.randn(30, dtype=torch.float64)
    bias = bias if with_bias else None
    labels, upstream = torch.randint(30, (14,)), torch.randn(14, dtype=torch.float64)
    logits = transform(hidden @ weight.T + (0 if bias is None else bias))
    expected = logits.log_softmax(-1)[torch.arange(14), labels]
    (wanted,) = torch.autograd.grad((expected.square() * upstream).sum(), hidden)
    actual = label_logps(hidden, weight, labels, bias=bias, transform=transform, chunk=chunk)
    torch.testing.assert_close(actual, expected)
    (found,) = torch.autograd.grad((actual.square() * upstream).sum(), hidden)
    torch.testing.assert_close(found, wanted)


def test_a_large_vocabulary_makes_chunks_smaller(monkeypatch):
    """Promise: memory is bounded whatever the vocabulary, and results do not know of it."""
    monkeypatch.setitem(logps.MOST_LOGITS, "cpu", 100)
    torch.manual_seed(6)
    hidden, weight, labels = torch.randn(9, 4), torch.randn(30, 4), torch.randint(30, (9,))
    seen = []
    original = logps._logits

    def counting(rows, *others):
        seen.append(len(rows))
        return original(rows, *others)

    monkeypatch.setattr(logps, "_logits", counting)
    bounded = label_logps(hidden, weight, labels)
    assert seen == [3, 3, 3]
    monkeypatch.setitem(logps.MOST_LOGITS, "cpu", 1)
    torch.testing.assert_close(label_logps(hidden, weight, labels), bounded)
    assert seen[3:] == [1] * 9


def test_nothing_to_score():
    out = label_logps(
        torch.zeros(0, 4, requires_grad=True), torch.zeros(6, 4), torch.zeros(0, dtype=torch.long)
    )
    assert out.shape == (0,)
    out.sum().backward()


def test_bfloat16_keeps_float32_sums():
    torch.manual_seed(2)
    hidden, weight = torch.randn(9, 16).bfloat16(), torch.randn(50, 16).bfloat16()
    labels = torch.randint(50, (9,))
    out = label_logps(hidden, weight, labels, chunk=4)
    assert out.dtype == torch.float32
    expected = (hidden @ weight.T).float().log_softmax(-1)[torch.arange(9), labels]
    torch.testing.assert_close(out, expected)


def test_under_autocast():
    torch.manual_seed(3)
    hidden, weight = torch.randn(9, 16, requires_grad=True), torch.randn(50, 16, requires_grad=True)
    labels = torch.randint(50, (9,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = label_logps(hidden, weight, labels, chunk=4)
    out.sum().backward()
    assert hidden.grad.dtype == weight.grad.dtype == torch.float32
    expected = (hidden @ weight.T).log_softmax(-1)[torch.arange(9), labels]
    torch.testing.assert_close(out, expected, atol=0.1, rtol=0.05)


@pytest.mark.parametrize("chunk", [2, 100])
def test_a_head_that_is_more_than_linear(chunk):
    torch.manual_seed(4)
    head = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 20))
    hidden, labels = torch.randn(7, 8, requires_grad=True), torch.randint(20, (7,))
    expected = head(hidden).log_softmax(-1)[torch.arange(7), labels]
    leaves = [hidden, *head.parameters()]
    expected_grads = torch.autograd.grad(expected.square().sum(), leaves)
    actual = module_label_logps(hidden, head, labels, chunk=chunk)
    torch.testing.assert_close(actual, expected)
    for a, b in zip(torch.autograd.grad(actual.square().sum(), leaves), expected_grads, strict=True):
        torch.testing.assert_close(a, b)


def test_a_chunk_of_zero_rows_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        label_logps(torch.zeros(1, 2), torch.zeros(3, 2), torch.zeros(1, dtype=torch.long), chunk=0)
    with pytest.raises(ValueError, match="at least 1"):
        module_label_logps(torch.zeros(1, 2), nn.Linear(2, 3), torch.zeros(1, dtype=torch.long), chunk=0)


def test_second_derivatives_are_refused():
    hidden, weight = torch.randn(3, 4, requires_grad=True), torch.randn(6, 4, requires_grad=True)
    out = label_logps(hidden, weight, torch.zeros(3, dtype=torch.long))
    (grad,) = torch.autograd.grad(out.square().sum(), hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_only_whole_linear_maps_are_taken_apart():
    class Sharded(nn.Linear):
        """Like the classes that FSDP makes."""

    gathered_later = nn.Linear(2, 3)
    gathered_later.weight = nn.Parameter(torch.empty(0))  # as under ZeRO-3
    hooked = nn.Linear(2, 3)
    hooked.forward = lambda x: x  # as off-loading does
    assert is_plain_linear(nn.Linear(2, 3))
    assert not any(
        map(is_plain_linear, (Sharded(2, 3), gathered_later, hooked, nn.Sequential(nn.Linear(2, 3))))
    )
