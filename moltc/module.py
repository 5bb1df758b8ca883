"""The Lightning module: how a MolTC model is trained, watched and tested."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from moltc.answering import Answers, answer, write_freely
from moltc.backbone.batch_norm import share_statistics
from moltc.backbone.checkpoint import CheckpointError, check_fit, own_state
from moltc.backbone.language_model import LanguageModelConfig
from moltc.backbone.processes import global_mean
from moltc.backbone.sharding import decoder_layers, hold_whole, is_sharded, let_go, shard, whole_state
from moltc.backbone.towers import TowerConfig
from moltc.chain_of_thought import ChainOfThought, PromptStyle
from moltc.collate import PairBatch, PairCollator
from moltc.data import PairDataModule
from moltc.model import DecodingConfig, MolTC, MolTCConfig
from moltc.optim import OptimConfig, flat_options, schedule
from moltc.pair_table import PairTable
from moltc.pair_towers import PairHeadConfig
from moltc.ranks import all_ranks, gathered
from moltc.selection import validation_score
from moltc.stages import continued, training_texts
from moltc.strategies import ShardedStrategy, tell_of_unused_parameters
from moltc.task import Task

Found = tuple[np.ndarray, Answers]


class PairModule(lightning.LightningModule):
    """Trains a MolTC model on the tasks of a :class:`moltc.data.PairDataModule`.

    Parameters
    ----------
    language_model, towers, cot, prompt, head, decoding : the model, see :class:`moltc.model.MolTCConfig`.
    optim : optimiser and schedule.
    seed : of weights, and of the noise of every step, which depends on (seed, step) alone so that a resumed
        run repeats it.
    free_answers : pairs of each task's test split that the model also answers freely, to count invalid
        answers; of a free-text task, the pairs that are answered at all.
    start_from : an exported model whose weights are the start (stages, fine-tuning), see
        :func:`moltc.stages.continued`.
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
        self.answers: dict[int, list[Found]] = {}
        self._validated: list[tuple[int, float]] = []  # pairs and loss of each batch
        self.test_answers: list[dict[str, Found]] = []  # by task
        self.free_texts: list[list[tuple[int, str]]] = []  # by task: (row, what was written)

    # -- set-up ------------------------------------------------------------------------------------

    @property
    def data(self) -> PairDataModule:
        module = getattr(self.trainer, "datamodule", None)
        if not isinstance(module, PairDataModule):
            raise TypeError("PairModule trains on a PairDataModule")
        return module

    def setup(self, stage: str) -> None:
        """Build the model for the tasks of the data; the tiny model's tokenizer is trained from the training
        split."""
        table = self.data.table
        assert table is not None
        if self.model is None:
            train = self.data.rows("train")
            tasks = table.tasks(train)
            if stage in ("fit", "test") and not self.free_answers:
                _need_free_answers(tasks)
            if self.start_from is not None:
                self.model = continued(self.config, tasks, self.start_from)
            else:
                texts = training_texts(self.config, tasks, table, train)
                self.model = MolTC.build(self.config, tasks, texts, seed=self.seed)
            self.model.remember(table, train)
        self.data.make_collator = self.collator
        self.data.first_text_epoch = self.optim.pretrain_epochs
        some_unused = self.optim.pretrain_epochs > 0 or len(self.moltc.tasks) > 1
        tell_of_unused_parameters(self.trainer.strategy, some_unused)

    def configure_model(self) -> None:
        """Under FSDP2 spread the weights; a model that only answers stays whole in each process."""
        strategy, model = self.trainer.strategy, self.moltc
        if not isinstance(strategy, ShardedStrategy) or self.trainer.state.fn != "fit" or is_sharded(model):
            return
        if len(model.tasks) > 1:
            raise ValueError("under fsdp2 one task is trained; train several under ddp")
        parts = [*decoder_layers(model.language_model), model.pair_towers]
        shard(model, parts, strategy.data_mesh, ("losses", "tower_losses"))

    def collator(self, table: PairTable, *, targets: bool, both_orders: bool) -> PairCollator:
        """The collator that writes this model's prompts; all but training keep room for an answer."""
        model = self.moltc
        lm = model.language_model
        training = targets and not both_orders
        return PairCollator(
            table,
            model.writers,
            lm.sharing,
            targets,
            both_orders,
            pad_id=lm.tokenizer.pad_token_id or 0,
            max_positions=lm.max_positions,
            rooms=() if training else [model.room(n) for n in range(len(model.tasks))],
        )

    @property
    def moltc(self) -> MolTC:
        """The model, once :meth:`setup` has run."""
        if self.model is None:
            raise RuntimeError("the model is built in setup(), from the tasks of the data")
        return self.model

    @property
    def shares_statistics(self) -> bool:
        """Whether batch norm takes the rows of all processes: where all run the same parts, with one task."""
        return self.trainer.world_size > 1 and len(self.moltc.tasks) == 1

    def on_fit_start(self) -> None:
        share_statistics(self.moltc.pair_towers, self.shares_statistics)

    # -- optimisation ------------------------------------------------------------------------------

    def parameter_groups(self) -> Iterator[tuple[str, bool, list[torch.nn.Parameter]]]:
        """(part, weight decay?, trained parameters) with part "towers" (what auxiliary heads read, and they
        themselves), "projection" (the rest of the way to soft tokens) or "language_model"."""
        pair_towers = self.moltc.pair_towers
        read = pair_towers.read_by_heads
        for part, module, wanted in (
            ("towers", pair_towers, read),
            ("projection", pair_towers, lambda name: not read(name)),
            ("language_model", self.moltc.language_model, lambda name: True),
        ):
            named = [(n, p) for n, p in module.named_parameters() if p.requires_grad and wanted(n)]
            plain = [p for n, p in named if p.ndim < 2 or "embed" in n or "query_tokens" in n]
            decayed = [p for n, p in named if not (p.ndim < 2 or "embed" in n or "query_tokens" in n)]
            for decay, parameters in ((True, decayed), (False, plain)):
                if parameters:
                    yield part, decay, parameters

    def configure_optimizers(self) -> Any:
        settings = self.optim
        rates = dict.fromkeys(("towers", "projection"), settings.lr_towers)
        rates["language_model"] = settings.lr_language_model
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
        if self.shares_statistics:
            batch = replace(batch, inputs=batch.inputs.counted_once())
        losses = (model.tower_losses if self.pretraining else model.losses)(batch, global_mean)
        told: dict[str, Any] = {"batch_size": batch.num_pairs, "sync_dist": True}
        for name, value in losses.items():
            self.log(f"train/{name}", value.detach(), prog_bar=name == "loss", **told)
        return losses["loss"]

    # -- validation --------------------------------------------------------------------------------

    def on_validation_start(self) -> None:
        hold_whole(self.moltc)

    def validation_step(self, batch: PairBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        model = self.moltc
        if self.pretraining:
            return
        losses = model.losses(batch)
        shown = {"val/nll": losses["nll"]}
        if len(model.tasks) > 1:
            shown = {f"val/nll/{model.tasks[batch.task].name}": losses["nll"]}
            self._validated.append((batch.num_pairs, float(losses["loss"])))
        self.log_dict(shown, batch_size=batch.num_pairs, sync_dist=True, add_dataloader_idx=False)
        if model.tasks[batch.task].kind.kind != "text":
            self.answers.setdefault(batch.task, []).append((batch.rows, answer(model, batch)))

    def on_validation_epoch_end(self) -> None:
        let_go(self.moltc)
        tasks = self.moltc.tasks
        for number, task in enumerate(tasks):
            name = f"val/{task.score[0]}" + (f"/{task.name}" if len(tasks) > 1 else "")
            if task.kind.kind == "text":  # its loss is logged with the batches
                continue
            score = float("nan")
            if number in self.answers:
                rows, found = gathered(self.answers[number])
                score = validation_score(task, self.labels(rows), found)
            self.log(name, score, prog_bar=True)
        if len(tasks) > 1:
            validated = np.array(all_ranks(self._validated)).reshape(-1, 2)
            counts, values = validated.T
            self.log("val/loss", float(np.average(values, weights=counts)) if len(counts) else float("nan"))
        self.answers, self._validated = {}, []

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """Labels of table rows of one task on the printed scale."""
        table = self.data.table
        assert table is not None
        number = int(table.task[rows[0]]) if len(rows) else 0
        return self.moltc.tasks[number].printed(table.label[rows])

    def references(self, rows: np.ndarray) -> list[str]:
        """The answers that rows of a free-text task should get."""
        assert self.data.table is not None
        collate = self.collator(self.data.table, targets=True, both_orders=False)
        return [
            collate.written_text(self.moltc.writers[int(collate.table.task[r])], r) for r in rows.tolist()
        ]

    # -- test and prediction -----------------------------------------------------------------------

    def on_test_start(self) -> None:
        hold_whole(self.moltc)
        count = len(self.moltc.tasks)
        self._tested: list[list[Found]] = [[] for _ in range(2 * count)]  # valid, test of each task
        self._free: list[tuple[int, str]] = []
        rng = np.random.default_rng(self.seed)
        chosen = [rng.permutation(self.data.rows("test", n))[: self.free_answers] for n in range(count)]
        self._free_rows = set(np.concatenate(chosen).tolist())

    def test_step(self, batch: PairBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        free = [row for row in batch.rows.tolist() if row in self._free_rows] if dataloader_idx % 2 else []
        if self.moltc.tasks[batch.task].kind.kind == "text":  # writing is slow: only the chosen pairs
            keep = np.isin(batch.rows, free)
            if free:
                found = answer(self.moltc, batch).take(np.flatnonzero(keep))
                self._tested[dataloader_idx].append((batch.rows[keep], found))
            return
        self._tested[dataloader_idx].append((batch.rows, answer(self.moltc, batch)))
        if free:
            assert self.data.table is not None
            collate = self.collator(self.data.table, targets=False, both_orders=False)
            texts = write_freely(self.moltc, collate(free).to(self.device))
            self._free += zip(free, texts, strict=True)

    def on_test_end(self) -> None:
        let_go(self.moltc)
        table, tasks = self.data.table, self.moltc.tasks
        assert table is not None
        texts = sorted(all_ranks(self._free))
        self.free_texts = [[t for t in texts if table.task[t[0]] == n] for n in range(len(tasks))]
        self.test_answers = [
            {
                split: gathered(parts)
                for split, parts in zip(("valid", "test"), self._tested[2 * n : 2 * n + 2], strict=True)
                if all_ranks([len(parts)]) != [0] * len(all_ranks([0]))
            }
            for n in range(len(tasks))
        ]

    def predict_step(self, batch: PairBatch, batch_idx: int, dataloader_idx: int = 0) -> Found:
        return batch.rows, answer(self.moltc, batch)

    # -- checkpoints -------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was trained (adapters included) and what names it."""
        kept = set(self.stored_names())
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in kept}
        checkpoint["moltc"] = {
            "tasks": [task.to_dict() for task in self.moltc.tasks],
            "vocabulary": self._vocabulary(),
            "settings": self._settings(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name, votes in self.moltc.pair_towers.voting():  # the pairs it was trained on, whatever is tested
            votes.make_room_for(checkpoint["state_dict"], f"model.lm.towers.votes.{name}.")
        places = self.state_dict()
        check_fit(
            "the checkpoint does not fit this model",
            {name: places[name] for name in self.stored_names()},
            checkpoint["state_dict"],
            mend="use the configuration that the run was started with",
        )
        before, now = checkpoint["moltc"]["settings"], self._settings()
        defaults = flat_options(
            optim=OptimConfig(), **vars(MolTCConfig())
        )  # of options that came after the checkpoint
        changed = sorted(key for key in now if now[key] != before.get(key, defaults.get(key)))
        if changed and self.trainer.state.fn == "fit":
            told = "; ".join(f"{key} was {before.get(key)}, is {now[key]}" for key in changed[:5])
            raise CheckpointError(f"a resumed run keeps its settings, these differ: {told}")
        if [Task.from_dict(t) for t in checkpoint["moltc"]["tasks"]] != list(self.moltc.tasks):
            raise CheckpointError(
                "the checkpoint was trained on other data: its tasks or label statistics differ"
            )
        if checkpoint["moltc"]["vocabulary"] != self._vocabulary():
            raise CheckpointError("the checkpoint's tokenizer differs from that of this training split")

    def _settings(self) -> dict[str, str]:
        """What a resumed run must have in common with the run it goes on, flat and as text."""
        found = {"model.seed": str(self.seed), **flat_options(optim=self.optim, **vars(self.config))}
        return found | {f"data.{name}": value for name, value in self.data.settings().items()}

    def stored_names(self) -> list[str]:
        """Entries of the state that a checkpoint keeps: what was trained, and what exists nowhere else."""
        model = self.moltc
        names = set(own_state(model, model.language_model))
        names |= {n for n, p in model.named_parameters() if p.requires_grad}
        return [f"model.{name}" for name in sorted(names)]

    def _vocabulary(self) -> list[str]:
        vocabulary = self.moltc.language_model.tokenizer.get_vocab()
        return sorted(vocabulary, key=vocabulary.__getitem__)

    def export(self, folder: str | Path, results: dict[str, Any] | None = None) -> None:
        """Save the model for :class:`moltc.PairPredictor`; all processes must ask, the first one writes."""
        state = whole_state(self, set(self.stored_names()))
        if self.global_rank == 0:
            plain = {name.removeprefix("model."): tensor for name, tensor in state.items()}
            self.moltc.save_pretrained(folder, results=results, state=plain)


def _need_free_answers(tasks: Sequence[Task]) -> None:
    for task in tasks:
        if task.kind.kind == "text":
            raise ValueError(f"{task.name} is tested on texts that are written: set free_answers above 0")
