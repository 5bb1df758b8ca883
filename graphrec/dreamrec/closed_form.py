"""What a sampler does when the denoiser is one linear layer, worked out: an affine map and Gaussian noise.

With ``f(x, h, t) = A x + B h + u_t`` a step of a plan is ``x <- (a A + b I) x + a (B h' + u_t) + σ z``, where
``h' = (1+w) h - w ∅`` holds the guidance. The whole chain is therefore ``x = G h' + k + P x_T + noise``: one
product of a row with a ``d x d`` matrix takes the place of all steps, exactly, for any w.

Letters: B rows, d width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from graphrec.dreamrec.denoiser import LinearParts
from graphrec.dreamrec.plans import Plan
from graphrec.dreamrec.sampling import guided


@dataclass(frozen=True, eq=False)
class AffineSampler:
    """The distribution ``N(G h' + k, Σ)`` of the generated item vector, for ``x_T ~ N(0, I)``."""

    gain: Tensor
    """G, ``[d, d]``."""
    offset: Tensor
    """k, ``[d]``."""
    carry: Tensor
    """P, ``[d, d]``: what is left of the noise ``x_T`` that sampling starts from."""
    covariance: Tensor
    """Σ, ``[d, d]``, of all noise together; the same for every history and any guidance."""

    def mean(self, condition: Tensor, null: Tensor, guidance: float) -> Tensor:
        """Mean generated vectors ``[B, d]`` for conditions ``[B, d]`` and the null condition ``[d]``."""
        effective = guided(condition, null, guidance)
        return torch.addmm(self.offset.to(effective), effective, self.gain.to(effective).T)


def compose(plan: Plan, parts: LinearParts) -> AffineSampler:
    """Work out a plan for a linear denoiser, in the dtype of its parts (float64 as they come).

    Goes from the last step to the first: ``P`` is what all steps after this one do to the state.
    """
    identity = torch.eye(len(parts.state), dtype=parts.state.dtype, device=parts.state.device)
    P = identity
    weighted = torch.zeros_like(identity)  # Σ_t a_t P_t
    offset = torch.zeros_like(parts.offsets[0])
    covariance = torch.zeros_like(identity)
    for t, a, b, sigma in reversed(
        list(
            zip(
                plan.steps.tolist(),
                plan.clean_weights.tolist(),
                plan.state_weights.tolist(),
                plan.noise_scales.tolist(),
                strict=True,
            )
        )
    ):
        if sigma:
            covariance = covariance + sigma**2 * (P @ P.T)
        weighted = weighted + a * P
        offset = offset + a * (P @ parts.offsets[t])
        P = P @ (a * parts.state + b * identity)
    return AffineSampler(weighted @ parts.condition, offset, P, covariance + P @ P.T)
