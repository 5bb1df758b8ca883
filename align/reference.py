"""The frozen reference that losses compare with: where its log-probabilities come from.

Each source is called with a batch and gives one sum per completion. Sources that live inside the model in
training (adapter off, weights of the start) change it for the length of a call only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch import Tensor, nn

from moltc.backbone.soft_prompt_lm import SoftPromptLM

if TYPE_CHECKING:
    from align.batch import PreferenceBatch
    from align.policy import Policy

Source = Literal["auto", "base", "start", "model"]


@dataclass(frozen=True)
class ReferenceConfig:
    """Which reference, for losses that need one."""

    source: Source = "auto"
    """base: the model without its adapter; start: a frozen copy of what is trained (adapter or all weights)
    as it was at the start; model: another model. auto: base where a fresh adapter is trained, else start."""
    name: str | None = None
    """Exported folder, Hugging Face folder or id of the other model."""
    cached: bool = True
    """Compute its log-probabilities once, before training, and keep them on disk."""
    file: str | None = None
    """Where they are kept, for several runs to share (default: reference/logps.safetensors of the run)."""

    def __post_init__(self) -> None:
        if self.source not in ("auto", "base", "start", "model"):
            raise ValueError(
                f"reference.source={self.source!r} is not known; choose auto, base, start or model"
            )
        if (self.source == "model") != (self.name is not None):
            raise ValueError("reference.name belongs to reference.source: model; give both or neither")
        if self.file is not None and not self.cached:
            raise ValueError("reference.file is where a cache is kept; leave it out with cached: false")


class Reference(Protocol):
    """Where reference log-probabilities come from."""

    def __call__(self, batch: PreferenceBatch) -> Tensor:
        """Sums of all completions of a batch, float ``[C]``, in its order, without gradient."""


class WithoutAdapter:
    """The model in training with its adapter switched off.

    Raises
    ------
    ValueError : the model has no adapter, or more than the adapter is trained.
    """

    def __init__(self, policy: Policy) -> None:
        if policy.language_model.config.training != "lora":
            raise ValueError("reference.source: base is the model without its adapter; train with lora")
        others = [name for name, _ in trained(policy.model) if "lora_" not in name]
        if others:
            raise ValueError(
                f"more than the adapter is trained ({others[0]}), so that without it the model is not the "
                "reference: use reference.source: start"
            )
        self.policy = policy

    def __call__(self, batch: PreferenceBatch) -> Tensor:
        peft_model: Any = self.policy.language_model.model
        with torch.no_grad(), evaluating(self.policy.model), peft_model.disable_adapter():
            return self.policy.score(batch).logps


class FrozenCopy:
    """The model in training with the trained weights (an adapter, or all) that it had when this was made.

    Only trained weights are copied; they change places with the model's for the length of a call.

    Attributes
    ----------
    weights : the copies by name.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.weights: dict[str, Tensor] = {name: p.detach().clone() for name, p in trained(policy.model)}

    def __call__(self, batch: PreferenceBatch) -> Tensor:
        with torch.no_grad(), evaluating(self.policy.model), self._in_place():
            return self.policy.score(batch).logps

    @contextmanager
    def _in_place(self) -> Iterator[None]:
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        parameters = dict(self.policy.model.named_parameters())
        for name, frozen in self.weights.items():
            parameter = parameters[name]
            self.weights[name] = parameter.data
            parameter.data = frozen.to(parameter.device)


class SecondModel:
    """Another model, frozen, with a tokenizer of the same entries."""

    def __init__(self, model: SoftPromptLM, policy: Policy) -> None:
        own, other = policy.language_model.tokenizer, model.language_model.tokenizer
        if own.get_vocab() != other.get_vocab():
            raise ValueError(
                "the reference model has another tokenizer than the model in training, so that its "
                "log-probabilities are those of other tokens; choose a model of the same family"
            )
        self.model = model.requires_grad_(False).eval()

    def __call__(self, batch: PreferenceBatch) -> Tensor:
        if batch.packed.slot_index.numel():
            raise ValueError("the prompts hold soft tokens, which another model does not read")
        self.model.to(batch.packed.input_ids.device)
        with torch.no_grad():
            return self.model.score(batch.packed).logps


class OwnStart:
    """The model itself, for the time before its first training step, when it is its own reference."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def __call__(self, batch: PreferenceBatch) -> Tensor:
        with torch.no_grad(), evaluating(self.policy.model):
            return self.policy.score(batch).logps


def trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Names and parameters that are trained."""
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within the block the model is in evaluation mode; afterwards each part is in its own again."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
