"""The tower of items: from frozen item vectors, and states of a recommender, to one soft token each.

LLaRA (Liao et al., SIGIR 2024, arXiv 2312.02445, section 3.2): ``Linear(d, D), GELU, Linear(D, D)``, float32.

Letters: I items, M distinct entities of a batch, d width of a vector, D width of the language model.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from graphrec.histories import Histories

ITEM = "item"
"""Key of the tower."""
Entity = int | tuple[int, ...]
"""What a soft token stands for: an item, or, where states are shown, the history that ends in it."""
States = Callable[[Histories], Tensor]
"""States after histories, ``[B, d']``."""


class ItemInputs(NamedTuple):
    """The distinct entities of a batch, in the order of its soft tokens.

    Attributes:
        items: long ``[M]``.
        states: ``[M, d']``, or None where none are shown.
        shown: False: every soft token is the placeholder.
    """

    items: Tensor
    states: Tensor | None = None
    shown: bool = True

    def to(self, device: torch.device | str) -> ItemInputs:
        """The same on a device."""
        states = None if self.states is None else self.states.to(device)
        return ItemInputs(self.items.to(device), states, self.shown)


class SoftTokens(NamedTuple):
    """What a soft-prompt language model reads."""

    soft_tokens: dict[str, Tensor]
    """Tower key -> ``[M, 1, D]``."""


class Projector(nn.Module):
    """From vectors ``[M, d]`` to the width of the language model ``[M, D]``, in float32."""

    def __init__(self, width: int, out_dim: int, kind: str = "mlp") -> None:
        super().__init__()
        self.out_dim = out_dim
        first = nn.Linear(width, out_dim)
        self.layers = (
            nn.Sequential(first)
            if kind == "linear"
            else nn.Sequential(first, nn.GELU(), nn.Linear(out_dim, out_dim))
        )

    def forward(self, vectors: Tensor) -> Tensor:
        with torch.autocast(vectors.device.type, enabled=False):
            projected: Tensor = self.layers(vectors.float())
        return projected


class ItemTower(nn.Module):
    """Soft tokens of items.

    Args:
        num_items, width: of the frozen table of item vectors; width 0: there is none.
        out_dim: width D of the language model.
        kind: of the projectors, "linear" or "mlp".
        state_width: of states that are added to items; 0: none are.
    """

    vectors: Tensor
    placeholder: Tensor

    def __init__(
        self, num_items: int, width: int, out_dim: int, *, kind: str = "mlp", state_width: int = 0
    ) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(num_items, width))
        self.register_buffer("placeholder", 0.02 * torch.randn(1, 1, out_dim))
        self.item_projector = Projector(width, out_dim, kind) if width else None
        self.state_projector = Projector(state_width, out_dim, kind) if state_width else None

    def forward(self, inputs: ItemInputs) -> SoftTokens:
        if not inputs.shown:
            return SoftTokens({ITEM: self.placeholder.expand(len(inputs.items), -1, -1)})
        if self.item_projector is None:
            raise ValueError("this model has no item vectors, so it shows no soft tokens: use form 'text'")
        tokens = self.item_projector(self.vectors[inputs.items])  # [M, D]
        if self.state_projector is not None and inputs.states is not None:
            tokens = tokens + self.state_projector(inputs.states)
        return SoftTokens({ITEM: tokens.unsqueeze(1)})


def item_inputs(entities: Sequence[Hashable], states: States | None, *, shown: bool = True) -> ItemInputs:
    """The tower's inputs for entities, each an :data:`Entity`; items without history get a state of zero."""
    pasts = [entity if isinstance(entity, tuple) else (entity,) for entity in entities]
    items = torch.tensor([past[-1] for past in pasts], dtype=torch.long)
    if states is None or not shown or not len(pasts):
        return ItemInputs(items, None, shown)
    with_past = [place for place, entity in enumerate(entities) if isinstance(entity, tuple)]
    past_histories = Histories.from_lists([np.array(pasts[place], dtype=np.int64) for place in with_past])
    found = states(past_histories)
    every = found.new_zeros(len(pasts), found.shape[1])
    every[torch.tensor(with_past, dtype=torch.long, device=found.device)] = found
    return ItemInputs(items, every, shown)
