"""Preferences made by hand, and models small enough to train on them in seconds: nothing is downloaded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from tiny_pairs import Slow as Slow
from tiny_pairs import StopAt as StopAt
from tiny_pairs import StoppedError as StoppedError
from transformers import AutoModelForCausalLM, LlamaConfig

from align.batch import PreferenceBatch
from align.data import PreferenceDataModule
from align.module import PreferenceModule
from align.policy import Policy, build_policy
from moltc.backbone.language_model import LanguageModelConfig, LoraSettings, TinyConfig
from moltc.backbone.prompt import PromptTree
from moltc.backbone.tokenizer import train_tokenizer
from moltc.backbone.training import AtomicCheckpointIO

TEXT = "Human: name a colour. Assistant: blue is a colour, and so is red; green is one too."
SIZES = TinyConfig(hidden=32, layers=1, heads=2, ffn=48, vocab_size=300)
TINY = LanguageModelConfig(tiny=SIZES)
IDS = 280  # ids below are in the tiny vocabulary
NOUNS = ["cat", "dog", "sun", "moon", "tree", "river", "stone", "bird", "car", "house", "book", "pen"]


# -- batches of random tokens --------------------------------------------------------------------------------


def policy(config: LanguageModelConfig = TINY, *, seed: int = 0, on_prompt: bool = False) -> Policy:
    """A small model with random weights, large enough that completions differ."""
    made = build_policy(config, None, [TEXT], seed=seed, on_prompt=on_prompt)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad and parameter.ndim > 1:
                parameter.mul_(1.7)
    return made.eval()


def moved(made: Policy, size: float = 0.02) -> Policy:
    """The same policy some steps later."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.requires_grad:
                parameter.add_(size * torch.randn_like(parameter))
    return made


def trees(counts: Sequence[int], *, seed: int = 0) -> list[PromptTree]:
    """Prompts with so many completions each, of one to seven tokens."""
    rng = np.random.default_rng(seed)
    return [
        PromptTree(
            rng.integers(4, IDS, size=int(rng.integers(2, 9))),
            tuple(rng.integers(4, IDS, size=int(n)) for n in rng.integers(1, 8, size=count)),
        )
        for count in counts
    ]


def batch(
    made: Policy, counts: Sequence[int] = (2,) * 8, *, seed: int = 0, unpaired: bool = False
) -> PreferenceBatch:
    """A batch for a policy; unpaired rows are good and bad in turns."""
    examples = trees(counts, seed=seed)
    marks = torch.arange(len(examples)) % 2 == 0 if unpaired else None
    return PreferenceBatch(
        packed=made.pack(examples),
        trees=examples,
        ids=torch.arange(100, 100 + len(examples)),
        num_completions=torch.tensor(counts),
        desirable=marks,
        rows=np.arange(len(examples)),
    )


# -- models ------------------------------------------------------------------------------------------------


def write_llama(folder: Path, seed: int = 1) -> str:
    """A random Llama and its tokenizer in the Hugging Face layout; returns the folder."""
    tokenizer = train_tokenizer([TEXT], vocab_size=300)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def lora(name: str) -> LanguageModelConfig:
    """That Llama under a small adapter with dropout."""
    return LanguageModelConfig(name=name, training="lora", lora=LoraSettings(r=2, alpha=4, dropout=0.2))


# -- files and runs ----------------------------------------------------------------------------------------


def write_records(file: Path, kind: str = "pair", count: int = 48) -> Path:
    """Records whose good reply names the prompt's noun: "pair", "list" (one to three bad) or "unpaired"."""
    rng, records = np.random.default_rng(0), []
    for number in range(count):
        noun, *others = rng.permutation(NOUNS)[:4].tolist()
        prompt = f"Human: name {noun} {number}. Assistant:"
        good, bad = f" the {noun} is good.", [f" no {other}." for other in others]
        if kind == "pair":
            records.append({"prompt": prompt, "chosen": good, "rejected": bad[0]})
        elif kind == "list":
            records.append({"prompt": prompt, "chosen": good, "rejected": bad[: 1 + number % 3]})
        else:
            label = bool(number % 2)
            records.append({"prompt": prompt, "completion": good if label else bad[0], "label": label})
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def learner(**settings: Any) -> PreferenceModule:
    """The Lightning module of a tiny model."""
    return PreferenceModule(**({"language_model": TINY} | settings))


def data(file: Path, **settings: Any) -> PreferenceDataModule:
    """The data module of a file of records, 8 examples a batch."""
    return PreferenceDataModule(str(file), **({"batch_size": 8, "eval_batch_size": 8} | settings))


def trainer(root: Path, **settings: Any) -> lightning.Trainer:
    """A quiet trainer on the CPU, without logs and checkpoints unless asked for."""
    quiet = {
        "default_root_dir": root,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "max_epochs": 1,
        "plugins": [AtomicCheckpointIO()],
    }
    return lightning.Trainer(**(quiet | settings))


FIT_OPTIONS = {
    "data.batch_size": 8,
    "data.eval_batch_size": 8,
    "model.language_model.tiny.hidden": SIZES.hidden,
    "model.language_model.tiny.layers": SIZES.layers,
    "model.language_model.tiny.heads": SIZES.heads,
    "model.language_model.tiny.ffn": SIZES.ffn,
    "model.language_model.tiny.vocab_size": SIZES.vocab_size,
    "model.optim.lr": 0.003,
    "trainer.max_epochs": 2,
    "trainer.accelerator": "cpu",
    "trainer.enable_progress_bar": "false",
    "samples": 2,
    "sample_tokens": 4,
}


def arguments(command: str, file: Path, root: Path, **options: Any) -> list[str]:
    """Command line of a tiny run; options are named with double underscores for points."""
    named = {name.replace("__", "."): value for name, value in options.items()}
    every = FIT_OPTIONS | {"data.folder": file, "trainer.default_root_dir": root} | named
    return [command, *(f"--{name}={value}" for name, value in every.items())]


class Poison(lightning.Callback):
    """Makes the weights infinite before some steps and gives them back afterwards, so that losses are NaN."""

    def __init__(self, batches: Sequence[int]) -> None:
        self.batches = list(batches)

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, number: int) -> None:
        if number in self.batches:
            head = module.policy.language_model.causal_lm.get_output_embeddings().weight
            self.kept = head.detach().clone()
            head.data.fill_(float("nan"))

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, number: int) -> None:
        if number in self.batches:
            module.policy.language_model.causal_lm.get_output_embeddings().weight.data.copy_(self.kept)


def callback(name: str, **init_args: Any) -> str:
    """A callback of this file, as the command line takes it."""
    return json.dumps([{"class_path": f"tiny_preferences.{name}", "init_args": init_args}])


class Log(lightning.Callback):
    """Keeps what every step and every validation logged."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []
        self.validations: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.steps.append({k: float(v) for k, v in trainer.logged_metrics.items() if "train/" in k})

    def on_validation_end(self, trainer: Any, *_: Any) -> None:
        found = {k: float(v) for k, v in trainer.callback_metrics.items() if "val/" in k}
        self.validations.append(found)


def fit(file: Path, root: Path, settings: dict[str, Any], batches: dict[str, Any], **more: Any) -> tuple:
    """Train; returns the learner and its log."""
    log, made = Log(), learner(**settings)
    trainer(root, callbacks=[log, *more.pop("callbacks", [])], **more).fit(made, data(file, **batches))
    return made, log


def fit_and_tell(file: Path, root: Path, settings: dict[str, Any], strategy: str) -> int:
    """Train in one of several processes; each writes its log and the state of its loss."""
    rank = {} if strategy == "auto" else {"devices": 2, "strategy": strategy}
    made, log = fit(file, root, settings, {}, **rank)
    told = {"steps": log.steps, "validations": log.validations, "state": made.loss_state.state_dict()}
    (root / f"rank{made.global_rank}.json").write_text(json.dumps(told))
    return 0
