"""The towers of a pair: both molecules' soft tokens, and what the two make together.

Beside the towers stands an optional head on the two graph-level vectors. Trained with the answer it is a
control: its error says how much reading and writing text costs. Its hidden vector may also enter the prompt
as *pair tokens*, so that the molecules meet before the language model; both are off unless asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from moltc.backbone.graph_encoder import BatchNorm
from moltc.backbone.towers import TowerInputs, TowerSet

PAIR = "pair"


@dataclass(frozen=True)
class PairHeadConfig:
    """The auxiliary head on both graph-level vectors."""

    weight: float = 0.0
    """Factor of the head's loss (squared error of the standardised label, or binary cross-entropy); 0: no
    head."""
    pair_tokens: int = 0
    """Soft tokens made from the head's hidden vector, placed before the question; 0: none."""
    pair_tokens_see_output: bool = False
    """Whether pair tokens are made from the head's own output too; then much of the answer is the head's."""
    hidden: tuple[int, ...] = (256,)
    """Widths of the head's hidden layers."""
    dropout: float = 0.0
    """After each hidden layer."""
    label_smoothing: float = 0.0
    """Yes/no tasks: the head's targets are drawn this far towards 1/2; helps where negatives were sampled."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))  # a list after a trip through JSON
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"head.hidden lists the widths of the hidden layers, not {list(self.hidden)}")
        if self.weight < 0 or self.pair_tokens < 0:
            raise ValueError("head.weight and head.pair_tokens must not be negative")
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f"head.label_smoothing lies between 0 and 1, not {self.label_smoothing}")
        if self.pair_tokens_see_output and not self.pair_tokens:
            raise ValueError("head.pair_tokens_see_output needs pair tokens: give head.pair_tokens a number")
        if self.pair_tokens and not self.weight:
            raise ValueError("pair tokens are made by the auxiliary head: give head.weight a value above 0")


class PairInputs(NamedTuple):
    """What the towers of a batch of B prompts read.

    ``towers`` holds the distinct molecules; ``row_a`` and ``row_b`` (long [B]) say which member of towers
    ``key_a`` and ``key_b`` each prompt's molecules are; ``pair`` (long) which prompts ask for pair tokens,
    in packed order.
    """

    towers: TowerInputs
    key_a: str
    key_b: str
    row_a: Tensor
    row_b: Tensor
    pair: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PairInputs:
        """The same inputs on another device."""
        towers = TowerInputs(
            self.towers.graphs.to(device, non_blocking=non_blocking),
            {k: v.to(device, non_blocking=non_blocking) for k, v in self.towers.members.items()},
        )
        rows = (t.to(device, non_blocking=non_blocking) for t in (self.row_a, self.row_b, self.pair))
        return PairInputs(towers, self.key_a, self.key_b, *rows)


class PairOutput(NamedTuple):
    """Soft tokens by tower key, and the head's output [B] (standardised value or log-odds), None without a
    head."""

    soft_tokens: dict[str, Tensor]
    prediction: Tensor | None


class InputNorm(BatchNorm):
    """Batch norm in which an input that never varies says nothing, in evaluation as in training.

    With one solvent for all pairs half of the head's inputs are the same in each batch: training sees 0
    there. Evaluation would divide the drift of the running mean by a variance of almost nothing.
    """

    constant_below = 1e-6

    def forward(self, input: Tensor) -> Tensor:
        normed = super().forward(input)
        if self.training:
            return normed
        assert self.running_var is not None
        return torch.where(self.running_var > self.constant_below, normed, self.bias)


class PairTowers(nn.Module):
    """Towers of both molecules with the optional head.

    Parameters
    ----------
    towers : encodes molecules.
    head : the auxiliary head; weight 0 builds none.
    out_dim : width H of the language model.
    symmetric : the label does not depend on the order, so the head must not either.
    """

    def __init__(self, towers: TowerSet, head: PairHeadConfig, out_dim: int, *, symmetric: bool) -> None:
        super().__init__()
        self.towers = towers
        self.config = head
        self.symmetric = symmetric
        self.out_dim = out_dim
        if head.weight:
            width = towers.pooled_dim * (3 if symmetric else 4)
            layers: list[nn.Module] = [InputNorm(width)]
            for hidden in head.hidden:
                layers += [
                    nn.Linear(width, hidden),
                    BatchNorm(hidden),
                    nn.ReLU(),
                    nn.Dropout(head.dropout),
                ]
                width = hidden
            self.body = nn.Sequential(*layers)
            self.out = nn.Linear(width, 1)
            if head.pair_tokens:
                seen = width + int(head.pair_tokens_see_output)
                self.tokens = nn.Linear(seen, head.pair_tokens * out_dim)

    def forward(self, inputs: PairInputs) -> PairOutput:
        """Encode the molecules once; soft tokens of every tower, and of the pairs that ask for them."""
        output = self.towers(inputs.towers)
        soft = dict(output.soft_tokens)
        if not self.config.weight:
            return PairOutput(soft, None)
        a = output.pooled[inputs.key_a][inputs.row_a]
        b = output.pooled[inputs.key_b][inputs.row_b]
        hidden = self.body(self._join(a, b))  # [B, hidden]
        output = self.out(hidden)  # [B, 1]
        if self.config.pair_tokens:
            seen = torch.cat([hidden, output], dim=1) if self.config.pair_tokens_see_output else hidden
            tokens = self.tokens(seen[inputs.pair])
            soft[PAIR] = tokens.view(-1, self.config.pair_tokens, self.out_dim)  # [M, Q, H]
        return PairOutput(soft, output.squeeze(-1))

    def _join(self, a: Tensor, b: Tensor) -> Tensor:
        if self.symmetric:
            return torch.cat([a + b, a * b, (a - b).abs()], dim=-1)
        return torch.cat([a, b, a * b, (a - b).abs()], dim=-1)
