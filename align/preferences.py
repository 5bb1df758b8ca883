"""The log-probabilities of one batch of preferences: all that a loss reads.

Shapes: B prompts, K the largest number of rejected completions of a prompt. A row holds the completions of
one prompt, the chosen one in column 0 and its rejected ones after it, so that pairs are rows of width 2 and
lists of any length share a batch under a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_NEXT_PAIR = 1 << 40  # between the ids of the pairs that a row is split into; the first keeps its row's


@dataclass(frozen=True)
class Preferences:
    """Sums of token log-probabilities, ``[B, 1 + K]``; half precision is raised to float32.

    Attributes
    ----------
    policy : [B, 1 + K] sums under the model in training.
    lengths : [B, 1 + K] scored tokens, the end token included.
    reference : [B, 1 + K] sums under the frozen reference, or None.
    mask : bool [B, 1 + K], which completions exist; default all.
    ids : long [B], a number that stays with its example; random draws follow it, so that no draw depends on
        the order of rows or on how they are spread over micro-batches and processes. Default: the place in
        the batch.
    desirable : bool [B], for unpaired data: column 0 is a completion, good or bad, and column 1 a mismatched
        one (that of another row).
    prompt_logps, prompt_lengths : [B] sum and number of the prompt's own tokens, for a likelihood term that
        counts the prompt.

    Raises
    ------
    ValueError : when shapes do not agree.
    """

    policy: Tensor
    lengths: Tensor
    reference: Tensor | None = None
    mask: Tensor | None = None
    ids: Tensor | None = None
    desirable: Tensor | None = None
    prompt_logps: Tensor | None = None
    prompt_lengths: Tensor | None = None

    def __post_init__(self) -> None:
        if self.policy.ndim != 2:
            raise ValueError(f"policy has shape {list(self.policy.shape)}; give [B, 1 + K], chosen first")
        rows, width = self.policy.shape
        for field in fields(self):
            value = getattr(self, field.name)
            shape = [rows, width] if field.name in _WIDE else [rows]
            if value is not None and list(value.shape) != shape:
                raise ValueError(f"{field.name} has shape {list(value.shape)}, but policy needs {shape}")

    def __len__(self) -> int:
        return len(self.policy)

    @classmethod
    def from_pairs(
        cls,
        chosen: Tensor,
        rejected: Tensor,
        chosen_lengths: Tensor,
        rejected_lengths: Tensor,
        ref_chosen: Tensor | None = None,
        ref_rejected: Tensor | None = None,
        **others: Tensor | None,
    ) -> Preferences:
        """A batch of pairs from vectors ``[B]``."""
        if (ref_chosen is None) != (ref_rejected is None):
            raise ValueError("give both ref_chosen and ref_rejected, or neither")
        reference = (
            None if ref_chosen is None or ref_rejected is None else torch.stack([ref_chosen, ref_rejected], 1)
        )
        return cls(
            torch.stack([chosen, rejected], 1),
            torch.stack([chosen_lengths, rejected_lengths], 1),
            reference,
            **others,
        )

    @classmethod
    def from_flat(
        cls,
        logps: Tensor,
        lengths: Tensor,
        num_completions: Tensor,
        ref_logps: Tensor | None = None,
        **others: Tensor | None,
    ) -> Preferences:
        """A batch from completions in one row, prompt after prompt and the chosen one first in each.

        Args:
            logps, lengths, ref_logps: ``[C]``.
            num_completions: long ``[B]``, completions of each prompt; their sum is C.
            others: the remaining fields, ``[B]``.
        """
        if int(num_completions.sum()) != len(logps):
            raise ValueError(
                f"num_completions add up to {int(num_completions.sum())}, but {len(logps)} logps are given"
            )
        width = max(int(num_completions.max()), 1) if len(num_completions) else 1
        mask = torch.arange(width, device=logps.device) < num_completions[:, None]

        def padded(values: Tensor) -> Tensor:
            return values.new_zeros(mask.shape).masked_scatter(mask, values)

        reference = None if ref_logps is None else padded(ref_logps)
        return cls(padded(logps), padded(lengths), reference, mask, **others)

    @property
    def exists(self) -> Tensor:
        """The mask, written out where there is none."""
        return torch.ones_like(self.policy, dtype=torch.bool) if self.mask is None else self.mask

    @property
    def scored(self) -> Tensor:
        """Completions that exist and have at least one scored token, bool ``[B, 1 + K]``."""
        return self.exists & (self.lengths > 0)

    @property
    def usable(self) -> Tensor:
        """Rows with a chosen and at least one rejected completion to compare, bool ``[B]``.

        The others have weight zero in every loss, statistic and count.
        """
        return self.scored[:, 0] & self.scored[:, 1:].any(1)

    def sums(self, *, length_normalize: bool = False) -> Tensor:
        """Policy sums S(y), or averages S(y) / n(y), ``[B, 1 + K]``; zero where nothing is scored."""
        return self._values(full_precision(self.policy), length_normalize)

    def log_ratios(self, *, length_normalize: bool = False) -> Tensor:
        """Policy less reference, of sums or of averages, ``[B, 1 + K]``; zero where nothing is scored.

        Raises:
            ValueError: when the batch has no reference.
        """
        # subtracted before the division: in float32 this keeps the digits of small differences
        ratios = full_precision(self.policy) - full_precision(self._given_reference())
        return self._values(ratios, length_normalize)

    def ref_sums(self, *, length_normalize: bool = False) -> Tensor:
        """Reference sums or averages, ``[B, 1 + K]``, without gradient.

        Raises:
            ValueError: when the batch has no reference.
        """
        return self._values(full_precision(self._given_reference()), length_normalize)

    def _given_reference(self) -> Tensor:
        if self.reference is None:
            raise ValueError("this loss compares with a reference: give the reference log-probabilities")
        return self.reference.detach()

    def _values(self, sums: Tensor, length_normalize: bool) -> Tensor:
        sums = torch.where(self.scored, sums, 0.0)
        return sums / self.lengths.clamp(min=1) if length_normalize else sums

    def pairs(self) -> Preferences:
        """Each rejected completion as a pair of its own with its row's chosen one; pairs stay as they are."""
        if self.policy.shape[1] <= 2:
            return self
        exists = self.exists
        row, place = (exists[:, :1] & exists[:, 1:]).nonzero(as_tuple=True)
        split = self._each(
            lambda name, value: (
                torch.stack([value[row, 0], value[row, place + 1]], 1) if name in _WIDE else value[row]
            )
        )
        if self.ids is None:
            return split
        return replace(split, ids=self.ids[row] + place * _NEXT_PAIR)

    def with_mask(self) -> Preferences:
        """The same batch with its mask written out."""
        return replace(self, mask=self.exists)

    def rows(self, index: slice | Tensor) -> Preferences:
        """Some of the rows."""
        return self._each(lambda name, value: value[index])

    def detached(self) -> Preferences:
        """The same numbers without gradient."""
        return self._each(lambda name, value: value.detach())

    def to(self, device: torch.device | str) -> Preferences:
        """The same batch on another device."""
        return self._each(lambda name, value: value.to(device))

    def _each(self, change: Callable[[str, Tensor], Tensor]) -> Preferences:
        present = {name: value for name, value in vars(self).items() if value is not None}
        return replace(self, **{name: change(name, value) for name, value in present.items()})


_WIDE = ("policy", "lengths", "reference", "mask")  # one number per completion; the others have one per row


def concatenate(batches: Sequence[Preferences]) -> Preferences:
    """Batches one after the other, padded to the widest.

    Raises:
        ValueError: when there is no batch, or a field is there in some of them only.
    """
    if not batches:
        raise ValueError("there is no batch to concatenate; give at least one")
    width = max(batch.policy.shape[1] for batch in batches)
    if any(batch.policy.shape[1] != width or batch.mask is not None for batch in batches):
        batches = [batch.with_mask() for batch in batches]
    parts: dict[str, Any] = {}
    for field in fields(Preferences):
        values = [getattr(batch, field.name) for batch in batches]
        present = [value for value in values if value is not None]
        if present and len(present) < len(values):
            raise ValueError(
                f"{field.name} is given in some of the batches only; give it in all of them or in none"
            )
        if field.name in _WIDE:
            present = [functional.pad(value, (0, width - value.shape[1])) for value in present]
        parts[field.name] = torch.cat(present) if present else None
    return Preferences(**parts)


def full_precision(values: Tensor) -> Tensor:
    """Half precision raised to float32; float32 and float64 as they are."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()
