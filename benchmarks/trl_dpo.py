"""The same optimiser step by TRL's DPO trainer, for comparison.

K rejected completions of a prompt become K pairs with the same prompt and the same chosen completion, as one
has to write them for a trainer of pairs.
"""

from __future__ import annotations

import tempfile
import warnings
from typing import Any

import torch
import trl.trainer.utils
from datasets import Dataset, disable_progress_bars
from peft import LoraConfig, set_peft_model_state_dict
from preference_steps import BETA, CLIP, LORA, RATE
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers import logging as transformers_logging
from trl import DPOConfig, DPOTrainer

from moltc.backbone.prompt import PromptTree


class TrlStep:
    """Optimiser steps of TRL's DPO trainer on one batch.

    Parameters
    ----------
    folder : the base model and its tokenizer of one token per word.
    trees : examples; TRL is given their text, and its tokenisation finds the same ids again.
    cached : reference log-probabilities are computed before training.
    scored_only : the head reads completions alone, as it does on a GPU. Elsewhere TRL's head reads every
        position, which would flatter a comparison made on a CPU.
    """

    def __init__(
        self, folder: str, trees: list[PromptTree], *, cached: bool, scored_only: bool = False
    ) -> None:
        disable_progress_bars()
        transformers_logging.set_verbosity_error()
        warnings.simplefilter("ignore", FutureWarning)  # of settings that TRL itself gives
        tokenizer = AutoTokenizer.from_pretrained(folder)
        self.scored_only = scored_only
        self.trainer = DPOTrainer(
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
            args=DPOConfig(
                tempfile.mkdtemp(prefix="trl"),
                beta=BETA,
                learning_rate=RATE,
                per_device_train_batch_size=sum(len(tree.completions) - 1 for tree in trees),
                precompute_ref_log_probs=cached,
                max_length=None,
                gradient_checkpointing=False,  # on by default, as is bf16
                bf16=False,
                use_cpu=True,
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list(pairs(trees, tokenizer)),
            processing_class=tokenizer,
            peft_config=LoraConfig(
                r=LORA.r,
                lora_alpha=LORA.alpha,
                lora_dropout=LORA.dropout,
                target_modules=list(LORA.target_modules),
                task_type="CAUSAL_LM",
            ),
        )
        self.trainer.create_optimizer()
        self.trainer.current_gradient_accumulation_steps = 1  # set by the training loop
        self.trained = [p for p in self.trainer.model.parameters() if p.requires_grad]
        self.examples = list(self.trainer.train_dataset)

    def take_adapter(self, weights: dict[str, Tensor]) -> None:
        """Start from somebody else's adapter."""
        set_peft_model_state_dict(self.trainer.model, weights)

    def __call__(self) -> dict[str, float]:
        """One optimiser step, collation included; what the trainer logs of it."""
        trainer = self.trainer
        trainer.model.train()
        kept = trl.trainer.utils._use_triton
        trl.trainer.utils._use_triton = lambda device: self.scored_only
        try:
            loss = trainer.training_step(trainer.model, trainer.data_collator(self.examples))
        finally:
            trl.trainer.utils._use_triton = kept
        norm = clip_grad_norm_(self.trained, CLIP)
        trainer.optimizer.step()
        trainer.model.zero_grad()
        logged = {name: values[-1] for name, values in trainer._metrics["train"].items()}
        return logged | {"loss": float(loss), "grad_norm": float(norm)}


def pairs(trees: list[PromptTree], tokenizer: Any) -> list[dict[str, str]]:
    """Each rejected completion beside the chosen one, without the end token, which TRL appends."""

    def text(ids: Any) -> str:
        return " ".join(tokenizer.convert_ids_to_tokens(ids.tolist()))

    return [
        {
            "prompt": text(tree.prompt_ids),
            "chosen": f" {text(tree.completions[0][:-1])} ",
            "rejected": f" {text(rejected[:-1])} ",
        }
        for tree in trees
        for rejected in tree.completions[1:]
    ]
