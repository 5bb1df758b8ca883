"""The weights of DreamRec and what is computed with them: encode, denoise, generate, rank.

Letters: B rows, I items, L longest history, T steps, d width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphrec.dreamrec.closed_form import AffineSampler, compose
from graphrec.dreamrec.config import DreamRecConfig
from graphrec.dreamrec.denoiser import Denoiser
from graphrec.dreamrec.dropout import Dropout
from graphrec.dreamrec.last_state import Places, last_states
from graphrec.dreamrec.plans import Plan, ancestral, ddim, one_step
from graphrec.dreamrec.sampling import generate
from graphrec.dreamrec.schedules import Diffusion
from graphrec.sequential.reference.sasrec import SASRecEncoder


class DreamRecNetwork(nn.Module):
    """Item table, history encoder, null condition and denoiser.

    Args:
        config: sizes, schedule, and how the table is read.
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
        self._worked_out: _WorkedOut | None = None

    @property
    def table(self) -> Tensor:
        """Item vectors, ``[I + 1, d]``; the last row pads and is never ranked."""
        table = self.encoder.item_embeddings.weight
        return functional.normalize(table, dim=1) * table.shape[1] ** 0.5 if self.config.normalised else table

    def encode(self, rows: Tensor) -> Tensor:
        """Conditions ``[B, d]`` of histories ``[B, L]``, padded on the right with I."""
        places = Places(rows != self.num_items)
        vectors = functional.embedding(rows.flatten()[places.cells], self.table)
        return last_states(self.encoder, vectors, places)

    def encode_and_look_up(self, rows: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Conditions ``[B, d]`` of histories, and vectors ``[B, d]`` of items ``[B]``, by one look-up."""
        places = Places(rows != self.num_items)
        asked = torch.cat([rows.flatten()[places.cells], targets])
        vectors, found = functional.embedding(asked, self.table).split([len(places.cells), len(targets)])
        return last_states(self.encoder, vectors, places), found

    def generate(self, condition: Tensor, settings: DreamRecConfig) -> Tensor:
        """Vectors of the ideal next item, ``[B, d]`` for conditions ``[B, d]``.

        Args:
            settings: name the sampler and what it takes, guidance included; they may differ from those the
                network was trained with.
        """
        if settings.sampler == "closed_form":
            return self.affine(settings).mean(condition, self.null, settings.guidance)
        return generate(
            self.denoiser,
            sampler_plan(settings, self.diffusion),
            condition,
            self.null,
            guidance=settings.guidance,
            seed=settings.noise_seed,
        )

    def affine(self, settings: DreamRecConfig) -> AffineSampler:
        """The worked-out sampler of a linear denoiser.

        Without gradients it is worked out once, and again when a weight of the denoiser has changed.
        """
        if torch.is_grad_enabled():
            return self._work_out(settings)
        weights = tuple(self.denoiser.parameters())
        key = (settings.sampler_steps, settings.eta, weights[0].device, weights[0].dtype)
        known = self._worked_out
        if known is None or known.key != key or not all(map(torch.equal, known.weights, weights)):
            copies = tuple(weight.clone() for weight in weights)
            known = self._worked_out = _WorkedOut(key, copies, self._work_out(settings))
        return known.sampler

    def _work_out(self, settings: DreamRecConfig) -> AffineSampler:
        return compose(sampler_plan(settings, self.diffusion), self.denoiser.linear_parts())


class _WorkedOut(NamedTuple):
    """A closed form, and what it was worked out from: a copy, since weights change in place."""

    key: tuple[object, ...]
    weights: tuple[Tensor, ...]
    sampler: AffineSampler


def sampler_plan(settings: DreamRecConfig, diffusion: Diffusion) -> Plan:
    """The steps that the sampler takes."""
    if settings.sampler_steps is not None:
        return ddim(diffusion, settings.sampler_steps, settings.eta)
    return one_step(diffusion) if settings.sampler == "one_step" else ancestral(diffusion)
