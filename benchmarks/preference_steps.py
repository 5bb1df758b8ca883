"""A small random Llama, examples of given lengths, and this package's optimiser step on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from align.accumulation import Gradients
from align.batch import PreferenceBatch
from align.gap_statistics import FRESH
from align.loss_config import PreferenceLossConfig, build_loss
from align.metrics import preference_metrics, values
from align.objective import Step
from align.optim import OptimConfig, optimiser
from align.policy import build_policy
from align.reference import Reference, WithoutAdapter
from align.reference_cache import CachedReference, LogpStore
from moltc.backbone.language_model_config import LanguageModelConfig, LoraSettings
from moltc.backbone.prompt import PromptTree

SIZES = {
    "small": {"hidden_size": 256, "num_hidden_layers": 4, "intermediate_size": 704},
    "wide": {"hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 2048},
}
LORA = LoraSettings(r=16, alpha=32, dropout=0.0, target_modules=("q_proj", "v_proj"))
BETA, RATE, CLIP = 0.1, 1e-4, 1.0
WORDS = 1000
"""Tokens that occur, of the whole vocabulary; the first two are end and padding."""
END, PAD = 0, 1


class Shape(NamedTuple):
    """Tokens of a prompt and of a completion, rejected completions of each prompt, prompts of a batch."""

    prompt: int
    completion: int
    rejected: int
    batch: int = 1

    @property
    def completions(self) -> int:
        """Completions of a batch."""
        return self.batch * (self.rejected + 1)


def write_model(folder: Path, size: str, vocabulary: int) -> str:
    """A Llama with random weights, its head the embedding matrix, and a tokenizer of one token per word."""
    names = ["<end>", "<pad>", *(f"t{n}" for n in range(2, WORDS))]
    words = Tokenizer(models.WordLevel({name: n for n, name in enumerate(names)}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>", pad_token="<pad>")
    sizes: dict[str, Any] = SIZES[size]
    config = LlamaConfig(
        **sizes,
        vocab_size=vocabulary,
        num_attention_heads=sizes["hidden_size"] // 64,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def trees_of(shape: Shape) -> list[PromptTree]:
    """Examples of random tokens, all of the same lengths, so that nobody has to pad."""
    rng = np.random.default_rng(0)

    def ids(length: int) -> np.ndarray:
        return rng.integers(PAD + 1, WORDS, size=length)

    return [
        PromptTree(
            ids(shape.prompt),
            tuple(np.append(ids(shape.completion - 1), END) for _ in range(shape.rejected + 1)),
        )
        for _ in range(shape.batch)
    ]


class OurStep:
    """Optimiser steps of this package on one batch: DPO of pairs, S-DPO where there are more completions.

    Parameters
    ----------
    folder : the base model.
    trees : examples, tokenised.
    sharing : "shared", or "expanded" for one row per completion.
    cached : reference log-probabilities are computed before training, else in each step by the model without
        its adapter.
    """

    def __init__(
        self, folder: str, trees: list[PromptTree], sharing: Literal["shared", "expanded"], *, cached: bool
    ) -> None:
        config = LanguageModelConfig(name=folder, training="lora", lora=LORA, sharing=sharing)
        self.policy = build_policy(config, None)
        self.trees, self.taken = trees, 0
        reference: Reference = WithoutAdapter(self.policy)
        if cached:
            reference = CachedReference(LogpStore({}), reference, self.policy.pack)
            reference.fill([self.batch()])
        method: Literal["dpo", "sdpo"] = "dpo" if len(trees[0].completions) == 2 else "sdpo"
        loss = build_loss(PreferenceLossConfig(method=method, beta=BETA))
        self.gradients = Gradients(loss, self.policy, reference)
        self.trained = [p for p in self.policy.parameters() if p.requires_grad]
        self.optimizer = optimiser(OptimConfig(lr=RATE), self.policy.named_parameters())

    def batch(self) -> PreferenceBatch:
        """The examples, packed."""
        return PreferenceBatch(
            packed=self.policy.pack(self.trees),
            trees=self.trees,
            ids=torch.arange(len(self.trees)),
            num_completions=torch.tensor([len(tree.completions) for tree in self.trees]),
            desirable=None,
            rows=np.arange(len(self.trees)),
        )

    def adapter(self) -> dict[str, Tensor]:
        """A copy of the adapter's weights."""
        weights = get_peft_model_state_dict(self.policy.language_model.model)
        return {name: tensor.clone() for name, tensor in weights.items()}

    def take_adapter(self, weights: dict[str, Tensor]) -> None:
        """Start from somebody else's adapter."""
        set_peft_model_state_dict(self.policy.language_model.model, weights)

    def __call__(self) -> dict[str, float]:
        """One optimiser step, packing included; what is logged of it."""
        self.optimizer.zero_grad()
        self.taken += 1
        output = self.gradients.accumulate([self.batch()], FRESH, Step(key=(0, self.taken)))
        norm = clip_grad_norm_(self.trained, CLIP)
        self.optimizer.step()
        return values(preference_metrics(output)) | {"loss": float(output.loss), "grad_norm": float(norm)}
