"""A language model from scratch that begins close to a recommender: token embeddings from item vectors.

Each token's embedding is the sum of the vectors of the items whose titles hold it, divided by the root of
their number; vectors reach the width of the model by one linear map, which the projectors begin with too.
With words as tokens most titles own a word, so that the output layer scores titles much as the recommender
does.

Letters: I items, V tokens, d width of a vector, D width of the language model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from graphrec.histories import Histories
from graphrec.language.towers import Projector

if TYPE_CHECKING:
    from graphrec.language.network import ItemLanguageModel

TOKEN_GAIN = 0.12
"""Root mean square of a token's embedding."""
ITEM_GAIN, STATE_GAIN = 0.25, 0.5
"""The same of what a soft token says of its item and of the state."""
NOISE = 0.02
QUIET = 0.1
"""What the output of each layer is multiplied by, so that embeddings are not drowned at first."""
STRAIGHT = 4.0
"""Where the GELU is a straight line."""


def token_vectors(vectors: Tensor, titles: Histories, num_tokens: int) -> Tensor:
    """Vectors of tokens ``[V, d]`` from those of items ``[I, d]``.

    Args:
        titles: token ids of each item's title; a token that is in no title, and one that is in every title
            (the end mark), gets zero.
        num_tokens: V.
    """
    tokens, items = torch.from_numpy(titles.items), torch.from_numpy(titles.rows)
    pairs = torch.unique(torch.stack([tokens, items]), dim=1)  # a word counts once in a title
    summed = vectors.new_zeros(num_tokens, vectors.shape[1]).index_add(0, pairs[0], vectors[pairs[1]])
    counts = torch.bincount(pairs[0], minlength=num_tokens).to(vectors)
    everywhere = counts == len(titles)
    means = summed / counts.clamp(min=1).sqrt()[:, None]
    return means.masked_fill(everywhere[:, None], 0.0)


def spreading_map(width: int, out_dim: int) -> Tensor:
    """A linear map ``[D, d]`` that keeps mean squares: the identity, or a drawn one that is orthogonal.

    Directions are lost where D is smaller than d.
    """
    if width == out_dim:
        return torch.eye(width)
    drawn: Tensor = nn.init.orthogonal_(torch.empty(out_dim, width))
    return drawn * max(1.0, out_dim / width) ** 0.5


@torch.no_grad()
def start_projector(projector: Projector, linear_map: Tensor, gain: float) -> None:
    """Let a projector begin as ``gain`` times a linear map ``[D, d]``; exactly, or nearly with a GELU.

    The first layer then moves its inputs to where the GELU is straight, and the last one moves them back.
    """
    first = projector.layers[0]
    assert isinstance(first, nn.Linear)
    if len(projector.layers) == 1:
        first.weight.copy_(gain * linear_map)
        first.bias.zero_()
        return
    last = projector.layers[2]
    assert isinstance(last, nn.Linear)
    first.weight.copy_(0.5 * linear_map)
    first.bias.fill_(STRAIGHT)
    last.weight.copy_(2 * gain * torch.eye(projector.out_dim))
    last.bias.fill_(-2 * gain * STRAIGHT)


@torch.no_grad()
def start_tokens(embeddings: Tensor, vectors: Tensor, linear_map: Tensor) -> None:
    """Write token embeddings ``[V, D]`` from token vectors ``[V, d]``, with a small random part."""
    embeddings.copy_(TOKEN_GAIN * vectors @ linear_map.T + NOISE * torch.randn_like(embeddings))


@torch.no_grad()
def quieten(model: nn.Module) -> None:
    """Make what each layer of a Llama-style model adds small."""
    for name, module in model.named_modules():
        if name.endswith(("o_proj", "down_proj")) and isinstance(module, nn.Linear):
            module.weight.mul_(QUIET)


def start_from_vectors(network: ItemLanguageModel) -> None:
    """Let a network from scratch begin close to its item vectors; draws from torch's generator."""
    tower, causal = network.towers, network.language_model.causal_lm
    vectors = tower.vectors
    table, head = causal.get_input_embeddings().weight, causal.get_output_embeddings().weight
    linear_map = spreading_map(vectors.shape[1], table.shape[1])
    start_tokens(table, token_vectors(vectors, network.titles, len(table)), linear_map)
    if head is not table:
        with torch.no_grad():
            head.copy_(table)
    if tower.item_projector is not None:
        start_projector(tower.item_projector, linear_map, ITEM_GAIN)
    if tower.state_projector is not None:
        start_projector(tower.state_projector, linear_map, STATE_GAIN)
    quieten(network.language_model)
