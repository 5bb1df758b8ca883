"""The Lightning module: how a MolTC model is trained, watched and tested."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from data_prep.molecules import MoleculeTable
from moltc.answering import Answers, answer, write_freely
from moltc.backbone.checkpoint import CheckpointError, own_state
from moltc.backbone.language_model import LanguageModelConfig
from moltc.backbone.towers import TowerConfig
from moltc.chain_of_thought import ChainOfThought, PromptStyle
from moltc.collate import PairBatch, PairCollator, PairTable
from moltc.data import PairDataModule
from moltc.metrics import binary_metrics
from moltc.model import DecodingConfig, MolTC, MolTCConfig
from moltc.optim import OptimConfig, schedule
from moltc.pair_towers import PairHeadConfig
from moltc.ranks import all_ranks, gathered
from moltc.task import Task

MAX_TOKENIZER_TEXTS = 20_000


class PairModule(lightning.LightningModule):
    """Trains a MolTC model on a :class:`moltc.data.PairDataModule`.

    Parameters
    ----------
    language_model, towers, cot, prompt, head, decoding : the model, see :class:`moltc.model.MolTCConfig`.
    optim : optimiser and schedule.
    seed : of weights, and of the noise of every step, which depends on (seed, step) alone so that a resumed
        run repeats it.
    free_answers : pairs of the test split that the model also answers freely, to count invalid answers.
    start_from : an exported model whose weights are the start (stages, fine-tuning); the parts must be the
        same.
    """

    def __init__(
        self,
        language_model: LanguageModelConfig = LanguageModelConfig(),
        towers: TowerConfig = TowerConfig(),
        cot: ChainOfThought = ChainOfThought(),
        prompt: PromptStyle = PromptStyle(),
        head: PairHeadConfig = PairHeadConfig(),
        decoding: DecodingConfig = DecodingConfig(),
        optim: OptimConfig = OptimConfig(),
        seed: int = 0,
        free_answers: int = 500,
        start_from: str | None = None,
    ) -> None:
        super().__init__()
        self.strict_loading = False  # frozen base weights are not stored; on_load_checkpoint checks the rest
        self.config = MolTCConfig(language_model, towers, cot, prompt, head, decoding)
        if optim.pretrain_epochs and not head.weight:
            raise ValueError("pretrain_epochs train the auxiliary head: give head.weight a value above 0")
        if free_answers < 0:
            raise ValueError(f"free_answers must be 0 or a number of pairs, not {free_answers}")
        self.optim, self.seed, self.free_answers, self.start_from = optim, seed, free_answers, start_from
        self.model: MolTC | None = None
        self.answers: list[tuple[np.ndarray, Answers]] = []
        self.test_answers: dict[str, tuple[np.ndarray, Answers]] = {}
        self.free_texts: list[tuple[int, str]] = []

    # -- set-up ------------------------------------------------------------------------------------

    @property
    def data(self) -> PairDataModule:
        module = getattr(self.trainer, "datamodule", None)
        if not isinstance(module, PairDataModule):
            raise TypeError("PairModule trains on a PairDataModule")
        return module

    def setup(self, stage: str) -> None:
        """Build the model for the data set's task; the tiny model's tokenizer is trained from the training
        split."""
        table = self.data.table
        assert table is not None
        if self.model is None:
            train = self.data.rows("train")
            task = Task.from_labels(
                table.family,
                table.property,
                table.dataset,
                table.label[train],
                computed=table.dataset.endswith("computed"),
            )
            if self.start_from is not None:
                self.model = continued(self.config, task, self.start_from)
            else:
                self.model = MolTC.build(
                    self.config, task, training_texts(self.config, task, table, train), seed=self.seed
                )
        self.data.make_collator = self.collator

    def collator(self, table: PairTable, *, targets: bool, both_orders: bool) -> PairCollator:
        """The collator that writes this model's prompts; all but training keep room for an answer."""
        model = self.moltc
        lm = model.language_model
        return PairCollator(
            table,
            model.writer,
            lm.sharing,
            targets,
            both_orders,
            pad_id=lm.tokenizer.pad_token_id or 0,
            max_positions=lm.max_positions,
            room=0 if targets and not both_orders else model.room,
        )

    @property
    def moltc(self) -> MolTC:
        """The model, once :meth:`setup` has run."""
        if self.model is None:
            raise RuntimeError("the model is built in setup(), from the data set's task")
        return self.model

    # -- optimisation ------------------------------------------------------------------------------

    def parameter_groups(self) -> Iterator[tuple[str, bool, list[torch.nn.Parameter]]]:
        """(part, weight decay?, trained parameters) with part "towers" or "language_model"."""
        for part, module in (
            ("towers", self.moltc.pair_towers),
            ("language_model", self.moltc.language_model),
        ):
            named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
            plain = [p for n, p in named if p.ndim < 2 or "embed" in n or "query_tokens" in n]
            decayed = [p for n, p in named if not (p.ndim < 2 or "embed" in n or "query_tokens" in n)]
            for decay, parameters in ((True, decayed), (False, plain)):
                if parameters:
                    yield part, decay, parameters

    def configure_optimizers(self) -> Any:
        settings = self.optim
        rates = {"towers": settings.lr_towers, "language_model": settings.lr_language_model}
        groups, schedules = [], []
        steps = self.trainer.estimated_stepping_batches
        if math.isinf(steps):
            raise ValueError("the schedule needs an end: give trainer.max_epochs or trainer.max_steps")
        total = int(steps)
        phase = self._pretraining_steps()
        if phase and phase >= total:
            raise ValueError(
                f"{settings.pretrain_epochs} pretrain_epochs leave nothing of {total} steps to the language "
                "model: give fewer, or more trainer.max_epochs (max_steps)"
            )
        for part, decay, parameters in self.parameter_groups():
            groups.append(
                {"params": parameters, "lr": rates[part], "weight_decay": settings.weight_decay * decay}
            )
            schedules.append(schedule(settings, part, phase, total))
        optimizer = torch.optim.AdamW(groups, betas=settings.betas)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedules)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _pretraining_steps(self) -> int:
        """Optimiser steps of the epochs that train towers and head alone."""
        if not self.optim.pretrain_epochs:
            return 0
        self.trainer.fit_loop.setup_data()  # else batches are not counted yet where only max_steps is given
        batches = self.trainer.num_training_batches
        return self.optim.pretrain_epochs * math.ceil(batches / self.trainer.accumulate_grad_batches)

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip towers and language model each by its own norm, so that neither drowns the other."""
        if not gradient_clip_val:
            return
        if gradient_clip_algorithm not in (None, "norm"):
            raise ValueError("gradients are clipped by norm; leave gradient_clip_algorithm out")
        for module in (self.moltc.pair_towers, self.moltc.language_model):
            clip_grad_norm_([p for p in module.parameters() if p.grad is not None], gradient_clip_val)

    @property
    def pretraining(self) -> bool:
        """Whether the current epoch trains towers and head alone."""
        fitting = self.trainer.state.fn == "fit"
        return fitting and self.current_epoch < self.optim.pretrain_epochs

    def on_train_batch_start(self, batch: PairBatch, batch_idx: int) -> None:
        place = np.random.SeedSequence([self.seed, self.global_step, batch_idx, self.global_rank])
        torch.manual_seed(int(place.generate_state(1, np.uint64)[0] >> 1))

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        model = self.moltc
        if self.pretraining:
            loss = model.head_loss(model.lm.encode(batch.inputs), batch.labels)
            losses = {"loss": loss, "head": loss}
        else:
            losses = model.losses(batch.packed, batch.inputs, batch.labels)
        for name, value in losses.items():
            self.log(f"train/{name}", value.detach(), prog_bar=name == "loss", batch_size=batch.num_pairs)
        return losses["loss"]

    # -- validation --------------------------------------------------------------------------------

    def validation_step(self, batch: PairBatch, batch_idx: int) -> None:
        model = self.moltc
        if self.pretraining:
            return
        losses = model.losses(batch.packed, batch.inputs, batch.labels)
        self.log("val/nll", losses["nll"], batch_size=batch.num_pairs, sync_dist=True)
        self.answers.append((batch.rows, answer(model, batch)))

    def on_validation_epoch_end(self) -> None:
        name = "val/rmse" if self.moltc.task.is_number else "val/auc"
        if not self.answers:
            self.log(name, float("nan"), prog_bar=True)
            return
        rows, found = gathered(self.answers)
        self.answers = []
        labels = self.labels(rows)
        if self.moltc.task.is_number:
            score = float(np.sqrt(np.mean((found.value - labels) ** 2)))
        else:
            score = binary_metrics(labels, found.log_odds, resamples=1)["auc_roc"].value
        self.log(name, score, prog_bar=True)

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """Labels of table rows on the printed scale."""
        assert self.data.table is not None
        return self.moltc.task.printed(self.data.table.label[rows])

    # -- test and prediction -----------------------------------------------------------------------

    def on_test_start(self) -> None:
        self._tested: dict[str, list[tuple[np.ndarray, Answers]]] = {"valid": [], "test": []}
        self._free: list[tuple[int, str]] = []
        rows = self.data.rows("test")
        chosen = np.random.default_rng(self.seed).permutation(rows)[: self.free_answers]
        self._free_rows = set(chosen.tolist())

    def test_step(self, batch: PairBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        split = ("valid", "test")[dataloader_idx]
        self._tested[split].append((batch.rows, answer(self.moltc, batch)))
        chosen = [row for row in batch.rows.tolist() if row in self._free_rows] if split == "test" else []
        if chosen:
            assert self.data.table is not None
            collate = self.collator(self.data.table, targets=False, both_orders=False)
            texts = write_freely(self.moltc, collate(chosen).to(self.device))
            self._free += zip(chosen, texts, strict=True)

    def on_test_end(self) -> None:
        self.test_answers = {split: gathered(parts) for split, parts in self._tested.items()}
        self.free_texts = sorted(all_ranks(self._free))

    def predict_step(self, batch: PairBatch, batch_idx: int) -> tuple[np.ndarray, Answers]:
        return batch.rows, answer(self.moltc, batch)

    # -- checkpoints -------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was trained (adapters included) and what names it."""
        kept = set(self._stored_names())
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in kept}
        checkpoint["moltc"] = {
            "task": self.moltc.task.to_dict(),
            "vocabulary": self._vocabulary(),
            "settings": self._settings(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        stored, wanted = set(checkpoint["state_dict"]), set(self._stored_names())
        missing, unexpected = sorted(wanted - stored), sorted(stored - wanted)
        if missing or unexpected:
            what = "the adapter, " if any("lora_" in name for name in missing) else ""
            raise CheckpointError(
                f"the checkpoint does not fit this model: missing {what}{missing[:3]}, "
                f"unexpected {unexpected[:3]}; use the configuration that the run was started with"
            )
        shapes = self.state_dict()
        for name, tensor in checkpoint["state_dict"].items():
            if tensor.shape != shapes[name].shape:
                raise CheckpointError(
                    f"the checkpoint does not fit this model: {name} has shape {list(tensor.shape)}, the "
                    f"model {list(shapes[name].shape)}; use the configuration the run was started with"
                )
        before, now = checkpoint["moltc"]["settings"], self._settings()
        changed = sorted(key for key in now if now[key] != before.get(key))
        if changed and self.trainer.state.fn == "fit":
            told = "; ".join(f"{key} was {before.get(key)}, is {now[key]}" for key in changed[:5])
            raise CheckpointError(f"a resumed run keeps its settings, these differ: {told}")
        if checkpoint["moltc"]["task"] != self.moltc.task.to_dict():
            raise CheckpointError(
                "the checkpoint was trained on other data: its task or label statistics differ"
            )
        if checkpoint["moltc"]["vocabulary"] != self._vocabulary():
            raise CheckpointError("the checkpoint's tokenizer differs from that of this training split")

    def _settings(self) -> dict[str, str]:
        """What a resumed run must have in common with the run it goes on, flat and as text."""
        groups = {"optim": self.optim, **{f.name: getattr(self.config, f.name) for f in fields(self.config)}}
        found: dict[str, str] = {"model.seed": str(self.seed)}
        for group, value in groups.items():
            found |= {f"model.{group}.{f.name}": str(getattr(value, f.name)) for f in fields(value)}
        for name in ("batch_size", "seed", "label_noise", "max_train_pairs"):
            found[f"data.{name}"] = str(getattr(self.data, name))
        return found

    def _stored_names(self) -> list[str]:
        model = self.moltc
        names = set(own_state(model, model.language_model))
        names |= {n for n, p in model.named_parameters() if p.requires_grad}
        return [f"model.{name}" for name in sorted(names)]

    def _vocabulary(self) -> list[str]:
        vocabulary = self.moltc.language_model.tokenizer.get_vocab()
        return sorted(vocabulary, key=vocabulary.__getitem__)

    def export(self, folder: str | Path, results: dict[str, Any] | None = None) -> None:
        """Save the model for :class:`moltc.PairPredictor`."""
        self.moltc.save_pretrained(folder, results=results)


def continued(config: MolTCConfig, task: Task, folder: str) -> MolTC:
    """A model for ``task`` that starts from an exported one: its language model, vocabulary and towers, and
    its auxiliary head where both have the same.

    Raises
    ------
    ValueError : the exported model has another language model, other towers, or towers for other roles.
    """
    before = MolTC.from_pretrained(folder)
    if before.config.towers != config.towers or before.config.language_model != config.language_model:
        raise ValueError(
            f"{folder} was made with another language model or other towers; give the same configuration"
        )
    model = MolTC(config, task, before.language_model)
    known, wanted = before.pair_towers.towers.keys, model.pair_towers.towers.keys
    if set(known) != set(wanted):
        raise ValueError(
            f"{folder} has towers for {', '.join(known)}, this task needs them for {', '.join(wanted)}; "
            "train both with towers.sharing: tied or by_slot"
        )
    model.pair_towers.towers.load_state_dict(before.pair_towers.towers.state_dict())
    if before.config.head == config.head and before.task.kind.symmetric == task.kind.symmetric:
        model.pair_towers.load_state_dict(before.pair_towers.state_dict())
    return model.train()  # loaded models are in evaluation mode, and trainers leave the mode as it is


def training_texts(config: MolTCConfig, task: Task, table: PairTable, rows: np.ndarray) -> Iterator[str]:
    """Texts that the tiny tokenizer learns from: what the prompts and targets of the training split hold."""
    rows = rows[:: max(1, len(rows) // MAX_TOKENIZER_TEXTS)]
    molecules: MoleculeTable = table.molecules
    seen = np.unique(np.concatenate([table.mol_a[rows], table.mol_b[rows]]))
    if config.prompt.smiles:
        yield from (str(s) for s in molecules.smiles[seen])
    if config.cot.properties:
        yield from (str(s) for s in molecules.property_text[seen])
    yield from task.answers(task.printed(table.label[rows]), config.cot)
