"""What an architecture can do, found out by trying a handful of tokens when a language model is built.

The trial leaves no trace: each module's training mode is put back, and nothing is drawn from torch's random
numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn

from moltc.backbone.packing import PackedTrees, pack
from moltc.backbone.prompt import PromptTree

if TYPE_CHECKING:
    from moltc.backbone.language_model import LanguageModel

KNOWN_LAYERS = {"full_attention", "sliding_attention"}
REFUSALS = (TypeError, ValueError, RuntimeError, LookupError, AttributeError)


@torch.no_grad()
def check_logits(lm: LanguageModel) -> None:
    """Compare the model's own logits with those that :class:`LanguageModel` computes from its hidden states.

    Raises
    ------
    ValueError
        when they differ: the architecture treats its logits in a way that the head of this package does not.
    """
    if lm.device.type == "meta":
        return
    packed = _pack(lm, "expanded")
    with evaluating(lm):
        own = lm.causal_lm(input_ids=packed.input_ids).logits.flatten(0, 1)[packed.score_from]
        ours = lm.logits(_scored_states(lm, packed))
    if _largest(own - ours) > _tolerance(lm) * _largest(own):
        raise ValueError(
            f"{lm.hf_config.model_type} changes its logits in a way that is not known here: "
            "teach it to head_transform in moltc/backbone/language_model.py"
        )


@torch.no_grad()
def why_not_shared(lm: LanguageModel) -> str | None:
    """Run one prompt tree shared and expanded; None when they agree, else the reason in a few words.

    Layers other than full and sliding attention are refused by name: what they leave out shows in long rows
    only.
    """
    config = lm.hf_config
    kinds = getattr(config, "layer_types", None) or getattr(config, "attention_layers", None) or ()
    if unknown := sorted(set(kinds) - KNOWN_LAYERS):
        return f"it has layers of type {', '.join(unknown)}"
    if lm.device.type == "meta":
        return None
    with evaluating(lm):
        expanded = _scored_states(lm, _pack(lm, "expanded"))
        try:
            shared = _scored_states(lm, _pack(lm, "shared"))
        except REFUSALS as error:
            return f"its forward pass refuses a mask: {(str(error) or repr(error)).splitlines()[0][:120]}"
    difference = _largest(shared - expanded)
    if not difference <= _tolerance(lm) * _largest(expanded):  # also where it is not a number
        return f"results differ by {difference:.2g} when the prompt is shared"
    return None


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; afterwards every submodule is in the mode that it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _pack(lm: LanguageModel, sharing: Literal["shared", "expanded"]) -> PackedTrees:
    """A prompt of four tokens with two completions."""
    vocabulary = lm.causal_lm.get_input_embeddings().weight.shape[0]
    ids = np.random.default_rng(0).integers(0, min(vocabulary, 1000), size=11)
    return pack([PromptTree(ids[:4], (ids[4:7], ids[7:]))], sharing=sharing).to(lm.device)


def _scored_states(lm: LanguageModel, packed: PackedTrees) -> Tensor:
    """Hidden states that predict a completion token, [P, H]."""
    hidden = lm.hidden(lm.embed(packed.input_ids), packed.position_ids, lm.mask(packed))
    return hidden.flatten(0, 1)[packed.score_from]


def _tolerance(lm: LanguageModel) -> float:
    """Largest difference, relative to the largest value, that rounding explains."""
    exact = lm.dtype == torch.float32 and lm.config.quantization == "none"
    return 1e-3 if exact else 0.1


def _largest(values: Tensor) -> float:
    return float(values.float().abs().max())
