"""Encoders of packed sequences: each equals its plain form on one sequence at a time, and no state sees what
is later or what is in another sequence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from graphrec.sequential.convolution import Convolution
from graphrec.sequential.packing import Packing
from graphrec.sequential.recurrent import Recurrent
from graphrec.sequential.transformer import CausalAttention, Transformer

WIDTH, LONGEST, WINDOW = 8, 12, 6
LENGTHS = np.array([3, 1, 12, 7, 7, 2, 11])

Plain = Callable[[nn.Module, Tensor], Tensor]


def attention() -> nn.Module:
    return CausalAttention(WIDTH, num_heads=2)


def plain_attention(layer: CausalAttention, vectors: Tensor) -> Tensor:
    """Masked attention of one sequence ``[T, d]``, head after head."""
    query, key, value = layer.inputs(vectors).chunk(3, dim=-1)
    heads = []
    for head in range(2):
        part = slice(head * 4, head * 4 + 4)
        scores = query[:, part] @ key[:, part].T / 2
        later = torch.ones_like(scores, dtype=torch.bool).triu(1)
        heads.append(scores.masked_fill(later, -torch.inf).softmax(-1) @ value[:, part])
    return layer.output(torch.cat(heads, dim=-1))


def plain_recurrent(layer: Recurrent, vectors: Tensor) -> Tensor:
    """The recurrent layer over one sequence ``[T, d]``."""
    return layer.norm(layer.output(layer.gru(vectors)[0]))


def plain_convolution(layer: Convolution, vectors: Tensor) -> Tensor:
    """Convolutions over the window before each token of one sequence ``[T, d]``, window after window."""
    padded = pad(vectors, (0, 0, WINDOW - 1, 0))
    image = padded.unfold(0, WINDOW, 1).transpose(1, 2).unsqueeze(1)  # [T, 1, window, d]
    taps = layer.taps.weight.split(layer.num_filters)  # each [filters, d], the latest token first
    features, first = [], 0
    for height, bias in zip(layer.heights, layer.bias, strict=True):
        kernel = torch.stack(taps[first : first + height], dim=1).flip(1).unsqueeze(1)
        features.append(conv2d(image, kernel).squeeze(-1).amax(-1) + bias)
        first += height
    vertical = [image[:, 0].flip(1).transpose(1, 2) @ weights for weights in layer.vertical]
    return layer.norm(layer.output(torch.cat([*features, *vertical], dim=-1).relu()))


CASES: list[tuple[Callable[[], nn.Module], Plain]] = [
    (attention, plain_attention),
    (lambda: Recurrent(WIDTH, num_layers=2, hidden=10), plain_recurrent),
    (lambda: Convolution(WIDTH, WINDOW, num_filters=5, num_vertical=2), plain_convolution),
]
IDS = ["attention", "recurrent", "convolution"]


@pytest.mark.parametrize(("make", "plain"), CASES, ids=IDS)
def test_equals_one_sequence_at_a_time(make: Callable[[], nn.Module], plain: Plain) -> None:
    layer = make().double().eval()
    packing = Packing.of(LENGTHS)
    vectors = torch.randn(packing.num_tokens, WIDTH, dtype=torch.float64, requires_grad=True)
    got = layer(vectors, packing)
    parts = [plain(layer, part) for part in vectors.split(packing.lengths.tolist())]
    torch.testing.assert_close(got, torch.cat(parts))
    weights = torch.randn_like(got)
    wanted = [vectors, *layer.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad((got * weights).sum(), wanted),
        torch.autograd.grad((torch.cat(parts) * weights).sum(), wanted),
    )


ENCODERS: list[Callable[[], nn.Module]] = [
    lambda: Transformer(WIDTH, LONGEST, num_heads=2),
    lambda: Recurrent(WIDTH),
    lambda: Convolution(WIDTH, WINDOW),
]
ENCODER_IDS = ["transformer", "recurrent", "convolution"]


@pytest.mark.parametrize("make", ENCODERS, ids=ENCODER_IDS)
def test_states_see_neither_the_future_nor_other_sequences(make: Callable[[], nn.Module]) -> None:
    encoder, packing = make().eval(), Packing.of(LENGTHS)
    vectors = torch.randn(packing.num_tokens, WIDTH)
    changed = vectors.clone()
    place = int(packing.starts[2]) + 4  # in the third longest sequence
    changed[place] = torch.randn(WIDTH)
    moved = (encoder(vectors, packing) - encoder(changed, packing)).abs().amax(1) > 1e-6
    later = torch.zeros_like(moved)
    later[place : packing.ends[2]] = True
    assert not (moved & ~later).any()
    assert moved[place]


def test_too_long_a_sequence_is_named() -> None:
    packing = Packing.of(np.array([LONGEST + 1]))
    with pytest.raises(ValueError, match=r"13 tokens is longer than length=12"):
        Transformer(WIDTH, LONGEST)(torch.randn(13, WIDTH), packing)


def test_heads_divide_the_width() -> None:
    with pytest.raises(ValueError, match="num_heads=3"):
        Transformer(WIDTH, LONGEST, num_heads=3)


def test_filters_fit_the_window() -> None:
    with pytest.raises(ValueError, match="between 1 and window=3"):
        Convolution(WIDTH, 3, heights=(2, 4))


def test_last_states_alone_equal_the_last_of_all() -> None:
    encoder = Transformer(WIDTH, LONGEST, num_heads=2).double().eval()
    packing = Packing.of(LENGTHS)
    vectors = torch.randn(packing.num_tokens, WIDTH, dtype=torch.float64)
    weights = torch.randn(len(LENGTHS), WIDTH, dtype=torch.float64)
    found = []
    for read in (encoder.last, lambda *given: encoder(*given)[torch.from_numpy(packing.ends - 1)]):
        inputs = vectors.clone().requires_grad_()
        states = read(inputs, packing)
        encoder.zero_grad()
        (states * weights).sum().backward()
        found.append([states, inputs.grad, *(parameter.grad.clone() for parameter in encoder.parameters())])
    for alone, of_all in zip(*found, strict=True):
        torch.testing.assert_close(alone, of_all)
