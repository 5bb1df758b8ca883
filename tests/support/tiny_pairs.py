"""A hand-made table of pairs over twelve real molecules, and models small enough to train in seconds.

Labels follow simple rules, so that a tiny model can learn them: a solvation value is a sum of one number per
molecule, two drugs interact when both or neither are aromatic.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import polars as pl
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig

from data_prep.molecules import featurise
from data_prep.tables import write_parquet
from moltc.backbone.graph_encoder import GraphEncoderConfig
from moltc.backbone.language_model import LanguageModelConfig, LoraSettings, TinyConfig
from moltc.backbone.qformer import QFormerConfig
from moltc.backbone.tokenizer import SPECIAL, wrap
from moltc.backbone.towers import TowerConfig
from moltc.chain_of_thought import ChainOfThought, PromptStyle
from moltc.collate import PairBatch, PairCollator
from moltc.data import PairDataModule
from moltc.model import DecodingConfig, MolTC, MolTCConfig
from moltc.module import PairModule
from moltc.pair_table import PairTable
from moltc.stages import training_texts
from moltc.training import AtomicCheckpointIO

SMILES = (
    "CCO",
    "CC(=O)C",
    "c1ccccc1",
    "Oc1ccccc1",
    "CCN",
    "CC(=O)O",
    "CCCCCC",
    "CC#N",
    "O",
    "CO",
    "ClCCl",
    "Cc1ccccc1",
)
KINDS = ("alcohol", "ketone", "arene", "phenol", "amine", "acid")
KINDS += ("alkane", "nitrile", "water", "alcohol", "chloride", "arene")
SHARE = (-1.37, -1.02, -0.55, -2.81, -1.48, -2.26, 0.93, -1.17, -1.9, -1.21, -0.44, 0.08)
SPLITS = np.repeat(["train", "valid", "test"], [32, 8, 8])


def write_pairs(folder: Path, family: str, *, property_text: Sequence[str] | None = None) -> Path:
    """Write 48 pairs of a family, "solvation" or "ddi", as ``data-prep`` does; 32 are for training.

    ``property_text`` gives each molecule of :data:`SMILES` a text instead of the computed one.
    """
    featurised = featurise(SMILES, workers=1, progress=False)
    if property_text is not None:
        texts = np.array(property_text, dtype=object)  # the molecules are distinct: rows keep their order
        featurised = replace(featurised, table=replace(featurised.table, property_text=texts))
    folder.mkdir(parents=True, exist_ok=True)
    featurised.table.save(folder)
    if family == "solvation":  # eight solutes in six solvents, of which two are solutes as well
        pairs = list(product(range(8), (0, 1, 8, 9, 10, 11)))
        labels = [round(SHARE[a] + SHARE[b] - 1.5, 2) for a, b in pairs]
        names = ("solute", "solvent", "solvation free energy", "kcal/mol")
    else:
        pairs = list(combinations(range(12), 2))[::-1][:48]
        labels = [float(("c1" in SMILES[a]) == ("c1" in SMILES[b])) for a, b in pairs]
        names = ("drug", "drug", "interaction", None)
    order = np.random.default_rng(3).permutation(len(pairs))
    rows = featurised.row_of[np.array(pairs)[order]].astype(np.int32)  # [48, 2]
    count = len(rows)
    frame = pl.DataFrame(
        {
            "pair_id": [f"tiny-{n}" for n in range(count)],
            "family": [family] * count,
            "dataset": [f"tiny-{family}"] * count,
            "role_a": [names[0]] * count,
            "role_b": [names[1]] * count,
            "mol_a": rows[:, 0],
            "mol_b": rows[:, 1],
            "property": [names[2]] * count,
            "label": np.array(labels, dtype=np.float64)[order],
            "label_std": pl.Series([None] * count, dtype=pl.Float64),
            "n_merged": np.ones(count, dtype=np.int32),
            "unit": pl.Series([names[3]] * count, dtype=pl.String),
            "split": SPLITS,
            "source": ["tiny"] * count,
            "source_row": np.arange(count),
        }
    )
    write_parquet(frame, folder / "pairs.parquet", metadata={"molecules_sha256": featurised.table.sha256})
    return folder


TINY_LANGUAGE_MODEL = LanguageModelConfig(
    tiny=TinyConfig(hidden=32, layers=2, heads=4, ffn=64, vocab_size=300)
)
POOLED = TowerConfig(
    encoder=GraphEncoderConfig(kind="gine", features="ogb", hidden=16, num_layers=2),
    projector="pooled",
    pooled_hidden=32,
    num_queries=2,
)
QFORMER = TowerConfig(
    encoder=GraphEncoderConfig(hidden=16, num_layers=2),
    num_queries=3,
    qformer=QFormerConfig(hidden=16, layers=2, heads=2, ffn=32, dropout=0.0),
)


def tiny_config(**parts: Any) -> MolTCConfig:
    """A tiny model with SMILES, pooled towers and the interval step; ``parts`` replace parts of it."""
    config = MolTCConfig(
        language_model=TINY_LANGUAGE_MODEL,
        towers=POOLED,
        cot=ChainOfThought(),
        prompt=PromptStyle(),
        decoding=DecodingConfig(width=8, max_reasoning_tokens=12),
    )
    return replace(config, **parts)


def build(config: MolTCConfig, table: PairTable, seed: int = 0) -> MolTC:
    """An untrained model for the tasks of a table, ready to answer."""
    train = table.rows("train")
    tasks = table.tasks(train)
    return MolTC.build(config, tasks, training_texts(config, tasks, table, train), seed=seed).eval()


def collator(
    model: MolTC, table: PairTable, *, targets: bool = False, both_orders: bool = True
) -> PairCollator:
    """The collator that writes the model's prompts, for answering unless told otherwise."""
    lm = model.language_model
    return PairCollator(table, model.writers, lm.sharing, targets, both_orders, lm.tokenizer.pad_token_id)


def train_batch(model: MolTC, table: PairTable, rows: Any) -> PairBatch:
    """A batch with targets, each pair in one order."""
    return collator(model, table, targets=True, both_orders=False)(list(rows))


def module(config: MolTCConfig, **settings: Any) -> PairModule:
    """The Lightning module of a model."""
    return PairModule(
        language_model=config.language_model,
        towers=config.towers,
        cot=config.cot,
        prompt=config.prompt,
        head=config.head,
        decoding=config.decoding,
        **settings,
    )


def data(folder: Path | Sequence[Path], **settings: Any) -> PairDataModule:
    """The data module of a written table, or of several, 8 pairs a batch."""
    named = str(folder) if isinstance(folder, Path) else [str(one) for one in folder]
    return PairDataModule(named, **({"batch_size": 8, "eval_batch_size": 8} | settings))


def trainer(root: Path, **settings: Any) -> lightning.Trainer:
    """A quiet trainer on one CPU thread, without logs and checkpoints unless asked for."""
    quiet = {
        "default_root_dir": root,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
        "log_every_n_steps": 1,
    }
    return lightning.Trainer(**(quiet | settings))


class Snapshots(lightning.Callback):
    """Keeps the trainable and the other weights at the start and after each epoch."""

    def __init__(self) -> None:
        self.states: list[dict[str, torch.Tensor]] = []

    def _take(self, learner: PairModule) -> None:
        self.states.append({n: p.detach().clone() for n, p in learner.moltc.named_parameters()})

    def on_train_start(self, trainer: Any, learner: Any) -> None:
        self._take(learner)

    def on_train_epoch_end(self, trainer: Any, learner: Any) -> None:
        self._take(learner)

    def moved(self, epoch: int) -> set[str]:
        """Names of the parameters that an epoch changed."""
        before, after = self.states[epoch], self.states[epoch + 1]
        return {name for name in before if not torch.equal(before[name], after[name])}


def fit(learner: PairModule, folder: Path | Sequence[Path], root: Path, **settings: Any) -> Snapshots:
    """Two batches an epoch, one epoch unless told otherwise."""
    snapshots = Snapshots()
    options = {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 0} | settings
    runner = trainer(root, callbacks=[snapshots], plugins=[AtomicCheckpointIO()], **options)
    runner.fit(learner, datamodule=data(folder))
    return snapshots


def character_tokenizer() -> Any:
    """One token per character: what an ordinary model with a plain tokenizer looks like, offline."""
    letters = sorted({chr(code) for code in range(32, 127)} | {"\n"})
    vocabulary = {token: n for n, token in enumerate([*SPECIAL, *letters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    return wrap(tokenizer)


def write_llama(folder: Path) -> str:
    """A local Llama folder with random weights and a tokenizer, as transformers saves it; gives its name."""
    tokenizer = character_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def llama_config(name: str, training: str, **parts: Any) -> MolTCConfig:
    """A tiny configuration on a local Llama folder: training "lora", "frozen" or "full"."""
    lora = LoraSettings(r=4, alpha=8, dropout=0.0)
    return tiny_config(language_model=LanguageModelConfig(name=name, training=training, lora=lora), **parts)


FIT_OPTIONS = {
    "data.batch_size": 8,
    "data.eval_batch_size": 8,
    "model.language_model.tiny.hidden": 32,
    "model.language_model.tiny.layers": 1,
    "model.language_model.tiny.vocab_size": 300,
    "model.towers.encoder.hidden": 16,
    "model.towers.encoder.num_layers": 2,
    "model.towers.projector": "pooled",
    "model.towers.pooled_hidden": 16,
    "model.towers.num_queries": 2,
    "model.free_answers": 4,
    "trainer.max_epochs": 2,
    "trainer.accelerator": "cpu",
    "trainer.enable_progress_bar": "false",
    "trainer.enable_model_summary": "false",
    "fingerprint_baselines": "false",
}


def arguments(command: str, folder: Path, root: Path, **options: Any) -> list[str]:
    """Command line of a tiny run; options are named with double underscores for points."""
    named = {name.replace("__", "."): value for name, value in options.items()}
    every = FIT_OPTIONS | {"data.folder": folder, "trainer.default_root_dir": root} | named
    return [command, *(f"--{name}={value}" for name, value in every.items())]


class StoppedError(Exception):
    """What :class:`StopAt` raises."""


class StopAt(lightning.Callback):
    """Ends a run before the given optimiser step, as a crash would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise StoppedError


class Slow(lightning.Callback):
    """Waits before each batch, so that a run lasts long enough to be killed in the middle."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_batch_start(self, *_: Any) -> None:
        time.sleep(self.seconds)


class RankScores(lightning.Callback):
    """Writes what each process logged in validation, one file for each rank."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_validation_end(self, trainer: Any, *_: Any) -> None:
        scores = {name: float(value) for name, value in trainer.callback_metrics.items() if "val/" in name}
        (self.folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(scores))


class Described(lightning.Callback):
    """Writes the language model's sizes, the type of its own weights, the loss of the last step, and how much
    of what is trained the run moved."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_start(self, trainer: Any, learner: Any) -> None:
        named = learner.moltc.named_parameters()
        self.before = {name: p.detach().clone() for name, p in named if p.requires_grad}

    def on_train_end(self, trainer: Any, learner: Any) -> None:
        named = dict(learner.moltc.named_parameters())
        moved = [not torch.equal(p, named[name]) for name, p in self.before.items()]
        base = learner.moltc.language_model.named_parameters()
        found = learner.moltc.language_model.describe() | {
            "dtypes": sorted({str(p.dtype) for name, p in base if not p.requires_grad}),
            "loss": float(trainer.callback_metrics["train/loss"]),
            "moved": sum(moved) / len(moved),
        }
        (self.folder / "described.json").write_text(json.dumps(found))


def callback(name: str, **init_args: Any) -> str:
    """A callback of this file, as the command line takes it."""
    return json.dumps([{"class_path": f"tiny_pairs.{name}", "init_args": init_args}])
