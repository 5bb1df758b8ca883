"""The weights of DreamRec and what is computed with them: encode, denoise, generate, rank.

Letters: B rows, I items, L longest history, T steps, d width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphrec.dreamrec.closed_form import AffineSampler, compose
from graphrec.dreamrec.config import DreamRecConfig
from graphrec.dreamrec.denoiser import Denoiser
from graphrec.dreamrec.dropout import Dropout
from graphrec.dreamrec.last_state import last_states
from graphrec.dreamrec.plans import Plan, ancestral, ddim, one_step
from graphrec.dreamrec.sampling import generate
from graphrec.dreamrec.schedules import Diffusion
from graphrec.sequential.reference.sasrec import SASRecEncoder


class DreamRecNetwork(nn.Module):
    """Item table, history encoder, null condition and denoiser.

    Args:
        config: sizes and choices.
        num_items: I; number I pads histories.
    """

    def __init__(self, config: DreamRecConfig, num_items: int) -> None:
        super().__init__()
        self.config, self.num_items = config, num_items
        self.encoder = SASRecEncoder(
            num_items, config.width, config.length, num_heads=config.num_heads, dropout=config.dropout
        )
        for part in (self.encoder, self.encoder.mh_attn, self.encoder.feed_forward):
            part.drop = Dropout(config.dropout)  # the same, cheaper
        self.encoder.item_embeddings.weight.requires_grad_(not config.frozen_table)
        self.null = nn.Parameter(torch.randn(config.width))
        self.denoiser = Denoiser(config.width, config.num_steps, config.denoiser_layers)
        self.diffusion = Diffusion.build(config.schedule, config.num_steps)
        self.plan = sampler_plan(config, self.diffusion)
        self._affine: AffineSampler | None = None
        self.register_load_state_dict_post_hook(DreamRecNetwork._forget)

    def _forget(self, *_: object) -> None:
        """Weights may change: the worked-out sampler must not outlive them."""
        self._affine = None

    def train(self, mode: bool = True) -> DreamRecNetwork:
        """Training mode on or off."""
        self._forget()
        return super().train(mode)

    @property
    def table(self) -> Tensor:
        """Item vectors, ``[I + 1, d]``; the last row pads and is never ranked."""
        table = self.encoder.item_embeddings.weight
        return functional.normalize(table, dim=1) * table.shape[1] ** 0.5 if self.config.normalised else table

    def encode(self, rows: Tensor) -> Tensor:
        """Conditions ``[B, d]`` of histories ``[B, L]``, padded on the right with I."""
        return last_states(self.encoder, functional.embedding(rows, self.table), rows != self.num_items)

    def encode_and_look_up(self, rows: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Conditions ``[B, d]`` of histories, and vectors ``[B, d]`` of items ``[B]``, by one look-up."""
        asked = torch.cat([rows.flatten(), targets])
        history, found = functional.embedding(asked, self.table).split([rows.numel(), len(targets)])
        return last_states(self.encoder, history.view(*rows.shape, -1), rows != self.num_items), found

    def generate(self, condition: Tensor) -> Tensor:
        """Vectors of the ideal next item, ``[B, d]`` for conditions ``[B, d]``, by the configured sampler."""
        guidance = self.config.guidance
        if self.config.sampler == "closed_form":
            return self.affine().mean(condition, self.null, guidance)
        return generate(
            self.denoiser, self.plan, condition, self.null, guidance=guidance, seed=self.config.noise_seed
        )

    def affine(self) -> AffineSampler:
        """The worked-out sampler of a linear denoiser; in evaluation it is worked out once."""
        if torch.is_grad_enabled() or self.training:
            return compose(self.plan, self.denoiser.linear_parts())
        if self._affine is None:
            self._affine = compose(self.plan, self.denoiser.linear_parts())
        return self._affine


def sampler_plan(config: DreamRecConfig, diffusion: Diffusion) -> Plan:
    """The steps that the configured sampler takes."""
    if config.sampler_steps is not None:
        return ddim(diffusion, config.sampler_steps, config.eta)
    return one_step(diffusion) if config.sampler == "one_step" else ancestral(diffusion)
