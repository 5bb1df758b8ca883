"""Query transformer: a few learned queries read the atom states of a molecule through cross-attention.

The Q-Former of BLIP-2 (Li et al. 2023, arXiv 2301.12597) as MolCA (arXiv 2310.12798) and MolTC (arXiv
2402.03781) use it before a language model: no text inside, cross-attention to the graph in every second
layer. The layers are those of transformers' ``Blip2QFormerModel``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Blip2QFormerConfig, Blip2QFormerModel

from moltc.backbone.freezing import Freezable


@dataclass(frozen=True)
class QFormerConfig:
    """Sizes of the query transformer; the defaults are BERT-base, as in MolCA and MolTC."""

    hidden: int = 768
    """Width of queries and layers."""
    layers: int = 12
    heads: int = 12
    ffn: int = 3072
    """Inner width of the feed-forward blocks."""
    cross_attention_frequency: int = 2
    """The queries read the graph in layers 0, f, 2 f, ..."""
    dropout: float = 0.1
    """Dropout of states and attention weights, while training."""

    def __post_init__(self) -> None:
        if self.hidden % self.heads:
            raise ValueError(
                f"Q-Former width {self.hidden} is no multiple of {self.heads} heads: change one of them"
            )
        if min(self.layers, self.ffn, self.cross_attention_frequency) < 1 or not 0 <= self.dropout < 1:
            raise ValueError(
                "a Q-Former needs layers, ffn, cross_attention_frequency >= 1 and 0 <= dropout < 1"
            )


class QFormer(nn.Module):
    """Queries in, queries out, having read the states of an encoder of width ``encoder_dim``.

    With the default sizes and ``encoder_dim`` 300 it has 94,926,336 parameters.
    """

    def __init__(self, config: QFormerConfig, encoder_dim: int) -> None:
        super().__init__()
        self.out_dim = config.hidden
        self.model = Blip2QFormerModel(
            Blip2QFormerConfig(
                hidden_size=config.hidden,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                intermediate_size=config.ffn,
                hidden_dropout_prob=config.dropout,
                attention_probs_dropout_prob=config.dropout,
                cross_attention_frequency=config.cross_attention_frequency,
                encoder_hidden_size=encoder_dim,
            )
        )
        self.cross_layers = range(0, config.layers, config.cross_attention_frequency)

    def forward(self, queries: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """Let each molecule's queries read its states.

        Arguments
        ---------
        queries : [Q, hidden], the same for all molecules, or [M, Q, hidden].
        states : [M, S, encoder_dim].
        mask : bool [M, S], True where there is a state; at least one in each row.

        Returns
        -------
        [M, Q, hidden].
        """
        queries = queries.expand(states.shape[0], -1, -1)
        output = self.model(query_embeds=queries, encoder_hidden_states=states, encoder_attention_mask=mask)
        return output.last_hidden_state


class QueryTokens(Freezable):
    """Q learned queries, N(0, 0.02²) at the start."""

    def __init__(self, num_queries: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_queries, dim).normal_(std=0.02))

    def forward(self) -> Tensor:
        """[Q, dim]."""
        return self.weight


class Float32LayerNorm(nn.LayerNorm):
    """Layer normalisation computed in float32 also for narrower inputs."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., dim] -> [..., dim], of the input's type."""
        x = input.float() if input.dtype.itemsize < 4 else input
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return F.layer_norm(x, self.normalized_shape, weight, bias, self.eps).to(input.dtype)


class GraphReader(Freezable):
    """The "qformer" part of a tower: layer norm of the graph sequence, then the query transformer."""

    def __init__(self, config: QFormerConfig, encoder_dim: int) -> None:
        super().__init__()
        self.norm = Float32LayerNorm(encoder_dim)
        self.qformer = QFormer(config, encoder_dim)
        self.out_dim = self.qformer.out_dim

    def forward(self, queries: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """queries [Q, hidden], states [M, S, encoder_dim], mask bool [M, S] -> [M, Q, hidden]."""
        return self.qformer(queries, self.norm(states), mask)

    def adapter_targets(self) -> list[str]:
        """Keys and values of the cross-attention."""
        return [
            f"qformer.model.encoder.layer.{layer}.crossattention.attention.{name}"
            for layer in self.qformer.cross_layers
            for name in ("key", "value")
        ]
