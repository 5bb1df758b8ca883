"""Modules that stay frozen: no gradients, and evaluation behaviour while the model around them trains."""

from __future__ import annotations

from typing import Self

from torch import nn


class Freezable(nn.Module):
    """A module with a lasting :meth:`freeze`.

    A frozen module keeps its batch-norm statistics and drops nothing out: ``train()`` on it or on a parent
    does not wake it.
    """

    frozen: bool = False

    def freeze(self) -> Self:
        """Stop gradients into all parameters and stay in evaluation mode from now on."""
        self.frozen = True
        self.requires_grad_(False)
        return self.eval()

    def train(self, mode: bool = True) -> Self:
        """As usual, but a frozen module stays in evaluation mode."""
        return super().train(mode and not self.frozen)

    def adapter_targets(self) -> list[str]:
        """Names of the linear maps inside that low-rank adapters may change; none by default."""
        return []
