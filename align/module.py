"""The Lightning module: how a model is trained on preferences, watched and tested."""

from __future__ import annotations

import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import nn
from torch.nn.utils import clip_grad_norm_

from align.accumulation import Gradients
from align.batch import PreferenceBatch
from align.chat import ChatFormat
from align.collate import PreferenceCollator, text_collator
from align.data import PreferenceDataModule
from align.gap_statistics import FRESH, GapState
from align.loss_config import PreferenceLossConfig, build_loss
from align.metrics import merged, preference_metrics, values
from align.objective import LossOutput, Step
from align.optim import OptimConfig, optimiser, schedule
from align.policy import Policy, build_policy, without_noise
from align.preferences import Preferences, concatenate
from align.processes import average_gradients, current_ranks, gathered
from align.prompts import examples_of, read_table
from align.records import PreferenceTable
from align.reference import Reference, ReferenceConfig
from align.reference_cache import CachedReference
from align.reference_setup import CachePlan, build_reference, every_completion
from align.tokenise import Limits
from moltc.backbone.checkpoint import CheckpointError, own_state
from moltc.backbone.language_model import LanguageModelConfig
from moltc.backbone.processes import sum_over_processes

DATA_SETTINGS = (
    "batch_size",
    "limits",
    "chat",
    "negatives",
    "targets_only",
    "unpair",
    "flip_noise",
    "flip_exact",
    "pool",
    "seed",
    "max_train_examples",
)
"""What of a data module decides which batches there are."""


class NonFiniteLossError(ValueError):
    """The loss was not a number too often."""


class PreferenceModule(lightning.LightningModule):
    """Trains a language model on the examples of a :class:`align.data.PreferenceDataModule`.

    A training step is an optimiser step: the data module's batch, over all processes, cut into micro-batches
    (:mod:`align.accumulation`). Optimisation is manual, so Lightning's accumulation and clipping stay unused.

    Parameters
    ----------
    language_model : the model; with ``start_from``, settings left alone are the export's.
    loss, reference, optim : what is minimised, against what, and how.
    start_from : exported folder to train on.
    seed : of new weights, of draws and of dropout; a step's noise depends on (seed, step) alone.
    dropout : train with dropout; null: only under ``method: sft``, since preference losses compare
        log-probabilities with the reference's.
    max_skipped_steps : optimiser steps in a row that may be skipped because their loss is not finite.
    """

    def __init__(
        self,
        language_model: LanguageModelConfig = LanguageModelConfig(),
        loss: PreferenceLossConfig = PreferenceLossConfig(),
        reference: ReferenceConfig = ReferenceConfig(),
        optim: OptimConfig = OptimConfig(),
        start_from: str | None = None,
        seed: int = 0,
        dropout: bool | None = None,
        max_skipped_steps: int = 5,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.strict_loading = False  # frozen base weights are not stored; on_load_checkpoint checks the rest
        if max_skipped_steps < 0:
            raise ValueError(f"max_skipped_steps must be 0 or more, not {max_skipped_steps}")
        self.language_model_config, self.loss_config = language_model, loss
        self.reference_config, self.optim = reference, optim
        self.start_from, self.seed, self.max_skipped_steps = start_from, seed, max_skipped_steps
        self.dropout = loss.method == "sft" if dropout is None else dropout
        self.loss = build_loss(loss)
        if not self.loss.needs_reference and reference != ReferenceConfig():
            raise ValueError(f"method {loss.method} reads no reference here: leave model.reference out")
        self.policy: Policy | None = None
        self.reference: Reference | None = None
        self.loss_state: GapState = FRESH
        self.skipped_steps = self.skipped_in_a_row = 0
        self.evaluated: LossOutput | None = None  # of the split that was validated or tested last
        self._scored: list[Preferences] = []

    # -- set-up --------------------------------------------------------------------------------------------

    @property
    def data(self) -> PreferenceDataModule:
        module = getattr(self.trainer, "datamodule", None)
        if not isinstance(module, PreferenceDataModule):
            raise TypeError("PreferenceModule trains on a PreferenceDataModule")
        return module

    @property
    def trained_policy(self) -> Policy:
        """The model, once :meth:`setup` has run."""
        if self.policy is None:
            raise RuntimeError("the model is built in setup(), from the texts of the data")
        return self.policy

    def setup(self, stage: str) -> None:
        """Build the model, and score what the reference says of the data while it is at its start."""
        if not isinstance(self.trainer.strategy, (SingleDeviceStrategy, DDPStrategy)):
            raise ValueError(
                f"{type(self.trainer.strategy).__name__} is not supported: gradients are averaged here, over "
                "whole models; choose trainer.strategy auto or ddp"
            )
        if self.trainer.precision == "16-mixed":
            raise ValueError("16-mixed scales losses, which planned gradients do not allow: use bf16-mixed")
        self._check_data()
        self.data.make_collator = self.collator
        if self.policy is not None:
            return
        self.policy = build_policy(
            self.language_model_config,
            self.start_from,
            self.data.texts(),
            seed=self.seed,
            on_prompt=bool(self.loss_config.nll_on_prompt),
        )
        self.trainer.precision_plugin.convert_module(self)
        if self.policy.source is not None:
            assert self.data.table is not None
            self.policy.prompts = read_table(self.policy.source, self.data.table)
        if self.loss.needs_reference:
            self.to(self.trainer.strategy.root_device)
            with self.trainer.precision_plugin.forward_context():
                self.reference = build_reference(
                    self.reference_config,
                    self.policy,
                    continued=self.start_from is not None,
                    cache=self._cache_plan() if self.reference_config.cached else None,
                )

    def _check_data(self) -> None:
        """Refuse examples that the loss does not read."""
        method, table = self.loss_config.method, self.data.table
        assert table is not None
        if self.data.targets_only != (method == "sft"):
            raise ValueError("method: sft and data.targets_only go together: give both or neither")
        if method != "sft" and table.is_unpaired != (method == "kto"):
            have = "single completions" if table.is_unpaired else "pairs or lists"
            raise ValueError(
                f"{self.data.folder} holds {have}, and method: {method} reads the other kind: choose another "
                "method (kto is that of single completions), or set data.unpair: true"
            )

    @property
    def reference_file(self) -> Path:
        """Where reference log-probabilities are cached."""
        if self.reference_config.file is not None:
            return Path(self.reference_config.file)
        return Path(self.trainer.default_root_dir) / "reference" / "logps.safetensors"

    def _moved(self, batch: PreferenceBatch) -> PreferenceBatch:
        return batch.to(self.device)

    def _cache_plan(self) -> CachePlan:
        tokenizer = self.trained_policy.language_model.tokenizer
        assert self.data.table is not None
        return CachePlan(
            file=self.reference_file,
            batches=map(self._moved, every_completion(self.data, self.global_rank, self.trainer.world_size)),
            complete=not self.data.table.is_unpaired,
            dtype=f"{self.trained_policy.language_model.dtype}, {self.trainer.precision}",
            template=self.data.chat.describe(tokenizer),
            truncation=self.data.limits.describe(),
        )

    def collator(
        self, table: PreferenceTable, rows: np.ndarray, limits: Limits, chat: ChatFormat
    ) -> PreferenceCollator:
        """The collator that tokenises rows of a table for this model, and packs them."""
        policy = self.trained_policy
        if policy.prompts is None:
            return text_collator(policy.language_model, policy.pack, table, rows, limits, chat)
        if replace(limits, drop_identical=True) != Limits() or chat != ChatFormat():
            raise ValueError(
                f"{self.start_from} writes its own prompts: leave limits and chat template out of data"
            )
        examples = examples_of(policy.prompts, rows, drop_identical=limits.drop_identical)
        return PreferenceCollator(table, examples, policy.pack, policy.language_model.max_positions)

    # -- optimisation --------------------------------------------------------------------------------------

    def trained_parameters(self) -> list[nn.Parameter]:
        return [p for p in self.trained_policy.parameters() if p.requires_grad]

    def configure_optimizers(self) -> Any:
        steps = self.trainer.estimated_stepping_batches
        if math.isinf(steps):
            raise ValueError("the schedule needs an end: give trainer.max_epochs or trainer.max_steps")
        made = optimiser(self.optim, self.trained_policy.named_parameters())
        scheduler = torch.optim.lr_scheduler.LambdaLR(made, schedule(self.optim, int(steps)))
        return {"optimizer": made, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    @property
    def _optimizer(self) -> Any:
        return self.optimizers()

    @property
    def _scheduler(self) -> Any:
        return self.lr_schedulers()

    def on_train_start(self) -> None:
        self._last_step = time.perf_counter()
        if self.dropout:
            self.trained_policy.train()
        else:
            without_noise(self.trained_policy)

    def training_step(self, batch: PreferenceBatch, batch_idx: int) -> None:
        policy, optimizer = self.trained_policy, self._optimizer
        optimizer.zero_grad()
        gradients = Gradients(
            self.loss,
            policy,
            self.reference,
            backward=self.manual_backward,
            noise=self._reseed if self.dropout else None,
        )
        step = Step(ranks=current_ranks(), key=(self.seed, self.global_step))
        with self._unsynchronised():
            parts = list(batch.cut(self.optim.micro_batch, policy.pack))
            output = gradients.accumulate(parts, self.loss_state, step)
        rate = optimizer.param_groups[0]["lr"]
        norm = self._step(optimizer, output, batch)
        self._log_step(batch, output, {"grad_norm": norm, "lr": rate})

    def _step(self, optimizer: Any, output: LossOutput, batch: PreferenceBatch) -> float:
        """Take the step on all processes, or skip it on all; returns the norm of the gradient."""
        parameters = self.trained_parameters()
        average_gradients(parameters)
        norm = clip_grad_norm_(parameters, self.optim.clip or math.inf)
        finite = output.loss.isfinite() & norm.isfinite()
        if int(sum_over_processes((~finite).long())):
            optimizer.zero_grad()
            self._skip(output, batch)
        else:
            optimizer.step()
            self._scheduler.step()
            self.loss_state, self.skipped_in_a_row = output.state, 0
        return float(norm)

    def _skip(self, output: LossOutput, batch: PreferenceBatch) -> None:
        self.skipped_steps += 1
        self.skipped_in_a_row += 1
        if self.skipped_in_a_row > self.max_skipped_steps:
            raise NonFiniteLossError(
                f"loss or gradient were not finite in {self.skipped_in_a_row} steps in a row (loss "
                f"{float(output.loss)}, examples {batch.ids[:4].tolist()}, ...): lower optim.lr, use bf16 or "
                "float32, or look at these examples; max_skipped_steps says how many are let pass"
            )

    def _unsynchronised(self) -> AbstractContextManager[Any]:
        """Keep DDP from averaging gradients: processes back-propagate different numbers of micro-batches."""
        strategy = self.trainer.strategy
        return strategy.block_backward_sync() if isinstance(strategy, DDPStrategy) else nullcontext()

    def _reseed(self, micro_batch: int) -> None:
        place = [self.seed, self.global_step, self.skipped_steps, self.global_rank, micro_batch]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0] >> 1))

    def _log_step(self, batch: PreferenceBatch, output: LossOutput, more: dict[str, float]) -> None:
        now = time.perf_counter()
        seconds, self._last_step = now - self._last_step, now
        self.log("train/loss", output.loss, prog_bar=True)
        trainer: Any = self.trainer
        every = trainer.log_every_n_steps
        if not every or (trainer.fit_loop.epoch_loop.total_batch_idx + 1) % every:
            return  # the loggers take no row of this step
        tokens, pairs = sum(np.array(gathered((int((batch.packed.tree >= 0).sum()), len(batch)))))
        found = values(merged(gathered(preference_metrics(output))))
        found |= {
            **more,
            "skipped_steps": float(self.skipped_steps),
            "pairs_per_second": pairs / seconds,
            "tokens_per_second": tokens / seconds,
        }
        self.log_dict({f"train/{name}": value for name, value in found.items()})

    # -- validation, test, prediction ----------------------------------------------------------------------

    @property
    def score(self) -> tuple[str, str]:
        """What chooses the weights that are kept, and whether "min" or "max" of it is best."""
        return "val/loss", "min"

    def _look(self, batch: PreferenceBatch) -> Preferences:
        ref_logps = None if self.reference is None else self.reference(batch)
        return self.trained_policy.preferences(batch, ref_logps)

    def validation_step(self, batch: PreferenceBatch, batch_idx: int) -> None:
        self._scored.append(self._look(batch).to("cpu"))

    def test_step(self, batch: PreferenceBatch, batch_idx: int) -> None:
        self._scored.append(self._look(batch).to("cpu"))

    def on_validation_epoch_end(self) -> None:
        self._report("val")

    def on_test_epoch_end(self) -> None:
        self._report("test")

    def _report(self, stage: str) -> None:
        """Evaluate the loss on the whole split at once, whatever the batches and processes were."""
        whole = concatenate([part for parts in gathered(self._scored) for part in parts])
        self._scored = []
        assert whole.ids is not None
        whole = whole.rows(whole.ids.argsort())
        self.evaluated = self.loss(whole, self.loss_state, Step(training=False))
        self.log(f"{stage}/loss", self.evaluated.loss, prog_bar=True, rank_zero_only=False)
        found = values(preference_metrics(self.evaluated))
        self.log_dict({f"{stage}/{name}": value for name, value in found.items()})

    def predict_step(self, batch: PreferenceBatch, batch_idx: int) -> Preferences:
        return self._look(batch).to("cpu")

    # -- checkpoints ---------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what was trained, the loss's state and the settings; a cached reference is written too."""
        kept = set(self._stored_names())
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in kept}
        checkpoint["align"] = {
            "loss_state": self.loss_state.state_dict(),
            "skipped": [self.skipped_steps, self.skipped_in_a_row],
            "settings": self._settings(),
        }
        if isinstance(self.reference, CachedReference):
            self.reference.save(self.reference_file)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        stored, state = checkpoint["state_dict"], self.state_dict()
        names = set(self._stored_names())
        odd = sorted(stored.keys() ^ names)
        odd += [name for name in names & stored.keys() if stored[name].shape != state[name].shape]
        if odd or "align" not in checkpoint:
            raise CheckpointError(
                f"the checkpoint does not fit this model ({odd[:3]}): use the configuration that the run was "
                "started with"
            )
        before, now = checkpoint["align"]["settings"], self._settings()
        changed = sorted(key for key in now if now[key] != before.get(key))
        if changed and self.trainer.state.fn == "fit":
            told = "; ".join(f"{key} was {before.get(key)}, is {now[key]}" for key in changed[:5])
            raise CheckpointError(f"a resumed run keeps its settings, these differ: {told}")
        self.loss_state = GapState.from_state_dict(checkpoint["align"]["loss_state"])
        self.skipped_steps, self.skipped_in_a_row = checkpoint["align"]["skipped"]

    def _settings(self) -> dict[str, str]:
        """What a resumed run must have in common with the run it goes on, as text."""
        groups = {
            "language_model": asdict(self.language_model_config),
            "loss": asdict(self.loss_config),
            "optim": asdict(self.optim),
            "data": {name: getattr(self.data, name) for name in DATA_SETTINGS},
        }
        found = {"model.seed": str(self.seed), "model.start_from": str(self.start_from)}
        found |= {"model.dropout": str(self.dropout), "model.reference": self.reference_config.source}
        for group, settings in groups.items():
            found |= {f"{group}.{name}": str(value) for name, value in settings.items()}
        return found

    def _stored_names(self) -> list[str]:
        policy = self.trained_policy
        names = set(own_state(policy, policy.language_model))
        names |= {name for name, p in policy.named_parameters() if p.requires_grad}
        return [f"policy.{name}" for name in sorted(names)]

    def export(self, folder: str | Path) -> None:
        """Save the model, in the format that ``align score`` and ``start_from`` read."""
        self.trained_policy.save_pretrained(folder)
