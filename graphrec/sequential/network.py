"""Table, encoder and output layer together, in one form for strong and reference networks.

Letters: B rows, P tokens, d width, I items.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from graphrec.histories import Histories
from graphrec.sequential.examples import encoder_rows
from graphrec.sequential.packing import Packing, pack
from graphrec.sequential.reference.caser import Caser
from graphrec.sequential.reference.gru4rec import GRU4Rec
from graphrec.sequential.reference.sasrec import SASRec
from graphrec.sequential.transformer import Transformer

Published = GRU4Rec | Caser | SASRec


class SequenceNetwork(nn.Module, ABC):
    """Item tokens to states, and what states are scored with.

    Attributes:
        num_items: I, the number that stands for nothing.
        length: most places of a row.
        shows_start: whether a start comes before the first item, or only in empty rows.
    """

    num_items: int
    length: int
    shows_start: bool

    @abstractmethod
    def last_states(self, tokens: Tensor, packing: Packing) -> Tensor:
        """States after each row, in the caller's order, ``[B, d]``."""

    @abstractmethod
    def all_states(self, tokens: Tensor, packing: Packing) -> Tensor:
        """States at every token, ``[P, d]``."""

    @property
    @abstractmethod
    def inputs(self) -> Tensor:
        """Vectors that are read, ``[I, d]``."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[Tensor, Tensor | None]:
        """Vectors ``[I, d]`` and biases ``[I]`` that states are scored with."""

    def rows(self, histories: Histories) -> Histories:
        """What the network reads of each history: one token at least."""
        return encoder_rows(histories, self.length, self.num_items, always=self.shows_start)

    def pack(self, rows: Histories) -> tuple[Tensor, Packing]:
        """Flat tokens ``[P]`` where the weights are, and how rows lie in them."""
        tokens, packing = pack(rows)
        return tokens.to(self.inputs.device), packing

    def encode(self, histories: Histories) -> Tensor:
        """States after each history, empty ones included, ``[B, d]``."""
        return self.last_states(*self.pack(self.rows(histories)))


class StrongNetwork(SequenceNetwork):
    """A table, any encoder of packed vectors, and the same table, or another with a bias, to score with.

    Args:
        num_items: I.
        width: d.
        length: most places of a row.
        encoder: vectors ``[P, d]`` and their packing to states ``[P, d]``.
        tied: score with the vectors that are read.
        std: standard deviation of the item vectors at the start.
        extra_tokens: further rows of the table, such as a mask.
    """

    shows_start = True

    def __init__(
        self,
        num_items: int,
        width: int,
        length: int,
        encoder: nn.Module,
        *,
        tied: bool = True,
        std: float = 0.02,
        extra_tokens: int = 0,
    ) -> None:
        super().__init__()
        self.num_items, self.length = num_items, length
        self.table = nn.Parameter(torch.randn(num_items, width) * std)
        self.special = nn.Parameter(torch.randn(1 + extra_tokens, width) * std)  # the start comes first
        self.encoder = encoder
        self.output = None if tied else nn.Linear(width, num_items)

    def last_states(self, tokens: Tensor, packing: Packing) -> Tensor:
        if not isinstance(self.encoder, Transformer):
            return self.all_states(tokens, packing)[packing.last.to(tokens.device)]
        return self.encoder.last(self._vectors(tokens), packing)[packing.place.to(tokens.device)]

    def all_states(self, tokens: Tensor, packing: Packing) -> Tensor:
        states: Tensor = self.encoder(self._vectors(tokens), packing)
        return states

    def _vectors(self, tokens: Tensor) -> Tensor:
        return embedding(tokens, torch.cat([self.table, self.special]))

    @property
    def inputs(self) -> Tensor:
        return self.table

    @property
    def outputs(self) -> tuple[Tensor, Tensor | None]:
        return (self.table, None) if self.output is None else (self.output.weight, self.output.bias)


class ReferenceNetwork(SequenceNetwork):
    """A published network, which reads rows padded on the right and has the names of published weights.

    Args:
        model: it has an output layer of its own.
        length: L.
    """

    model: Published

    shows_start = False

    def __init__(self, model: Published, length: int) -> None:
        super().__init__()
        self.model, self.length = model, length
        self.num_items = model.num_items

    def last_states(self, tokens: Tensor, packing: Packing) -> Tensor:
        rows = tokens.new_full((len(packing.order), self.length), self.num_items)
        row_of = torch.from_numpy(packing.order.repeat(packing.lengths)).to(tokens.device)
        rows[row_of, packing.positions.to(tokens.device)] = tokens
        lengths = torch.empty(len(rows), dtype=torch.long)
        lengths[torch.from_numpy(packing.order)] = torch.from_numpy(packing.lengths)
        return self.model.encode(rows, lengths.to(tokens.device))

    def all_states(self, tokens: Tensor, packing: Packing) -> Tensor:
        raise ValueError(
            "the reference network gives the state after a row only; train with network: strong for the "
            "state at every place"
        )

    @property
    def inputs(self) -> Tensor:
        return self.model.item_embeddings.weight[: self.num_items]

    @property
    def outputs(self) -> tuple[Tensor, Tensor | None]:
        return self.model.s_fc.weight, self.model.s_fc.bias
