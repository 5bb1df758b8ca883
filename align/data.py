"""The data module: examples of about one length together, packed without padding, in an order that
resumes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import lightning
import numpy as np

from align.batch import PreferenceBatch
from align.chat import ChatFormat, contents
from align.collate import Draw, Negatives, PreferenceCollator
from align.length_batches import LengthBatches
from align.records import PreferenceTable
from align.tokenise import Limits, Truncate
from data_prep.preferences import PreferencePlan
from data_prep.splits import SplitPlan
from moltc.backbone.loading import ResumableLoader

log = logging.getLogger(__name__)

MakeCollator = Callable[[PreferenceTable, np.ndarray, Limits, ChatFormat], PreferenceCollator]


class PreferenceDataModule(lightning.LightningDataModule):
    """Preferences from a folder that ``data-prep preferences`` wrote, or from a file of records.

    The module that trains sets :attr:`make_collator`: from the table, some of its rows, limits and chat
    format it makes their collator, as :func:`align.collate.text_collator` does for text.

    Parameters
    ----------
    folder : holds preferences.parquet; or a file of records, which is then split by prompt under ``seed``.
    batch_size : examples of a global batch in training.
    eval_batch_size : examples of a batch in validation and test.
    max_tokens, max_prompt_tokens, max_completion_tokens, truncate, drop_identical : see
        :class:`align.tokenise.Limits`.
    chat_template, header_in_response : see :class:`align.chat.ChatFormat`.
    negatives : rejected completions of an example that a batch holds; None: all.
    draw : which ones: the first, a fixed draw of each example, or one that is drawn anew each epoch.
        Validation and test hold those of the first epoch.
    targets_only : give supervised training what it imitates, the chosen completions alone.
    unpair : make each completion an example of its own, desirable if it is the chosen one, as KTO reads them.
    flip_noise : probability that a training example is turned round, by (seed, example id).
    flip_exact : turn round exactly that share, rounded.
    pool : batches whose examples are sorted by length together; 1: the order is random alone.
    num_workers : data processes; 0 makes batches in the training process.
    seed : of order, draws and flips.
    max_train_examples, max_eval_examples : use only so many examples of a split, of a seeded shuffle.
    """

    def __init__(
        self,
        folder: str,
        batch_size: int = 64,
        eval_batch_size: int = 64,
        max_tokens: int | None = None,
        max_prompt_tokens: int | None = None,
        max_completion_tokens: int | None = None,
        truncate: Truncate = "start",
        drop_identical: bool = True,
        chat_template: str | None = None,
        header_in_response: bool = False,
        negatives: int | None = None,
        draw: Draw = "first",
        targets_only: bool = False,
        unpair: bool = False,
        flip_noise: float = 0.0,
        flip_exact: bool = False,
        pool: int = 16,
        num_workers: int = 0,
        seed: int = 0,
        max_train_examples: int | None = None,
        max_eval_examples: int | None = None,
    ) -> None:
        super().__init__()
        for name, value in (
            ("max_train_examples", max_train_examples),
            ("max_eval_examples", max_eval_examples),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}; leave it out for all")
        if not 0 <= flip_noise < 1:
            raise ValueError(f"flip_noise must be at least 0 and below 1, not {flip_noise}")
        if flip_exact and not flip_noise:
            raise ValueError("flip_exact has no effect without flip_noise; leave it out")
        if targets_only and (negatives is not None or draw != "first"):
            raise ValueError("targets_only leaves no rejected completion; leave negatives and draw out")
        if unpair and (targets_only or negatives is not None or draw != "first"):
            raise ValueError("unpair leaves single completions; leave targets_only, negatives and draw out")
        self.folder, self.batch_size, self.eval_batch_size = folder, batch_size, eval_batch_size
        self.limits = Limits(max_tokens, max_prompt_tokens, max_completion_tokens, truncate, drop_identical)
        self.chat = ChatFormat(chat_template, header_in_response)
        self.negatives = Negatives(negatives, draw, seed)
        self.targets_only, self.unpair = targets_only, unpair
        self.flip_noise, self.flip_exact = flip_noise, flip_exact
        self.pool, self.num_workers, self.seed = pool, num_workers, seed
        self.max_train_examples, self.max_eval_examples = max_train_examples, max_eval_examples
        self.table: PreferenceTable | None = None
        self.make_collator: MakeCollator | None = None
        self._collators: dict[str, PreferenceCollator] = {}
        self._train: ResumableLoader[PreferenceBatch] | None = None
        self._resumed: dict[str, Any] = {}

    def setup(self, stage: str | None = None) -> None:
        """Open the table and turn examples round where noise is asked for."""
        if self.table is None:
            self.table = self._load()
        for split in ("train", "valid") if stage == "fit" else ():  # a missing one is noticed before training
            self.rows(split)

    def _load(self) -> PreferenceTable:
        is_built = PreferenceTable.is_built(self.folder)
        plan = None if is_built else PreferencePlan(split=SplitPlan(seed=self.seed))
        table = PreferenceTable.load(self.folder, plan)
        if self.unpair:
            table = table.unpaired()
        if self.flip_noise:
            table = table.with_flips(self.flip_noise, seed=self.seed, exact=self.flip_exact)
            log.info("%d training examples are turned round", table.flipped.sum())
        if not self.targets_only:
            return table
        targets = table.targets()
        log.info("%d targets of %d examples", len(targets), len(table))
        return targets

    def rows(self, split: str) -> np.ndarray:
        """Rows of a split that are used, int64; an empty split is an error that says which are there."""
        assert self.table is not None
        rows = self.table.rows(split)
        if not len(rows):
            there = ", ".join(f"{name}: {count}" for name, count in self.table.sizes().items())
            raise ValueError(f"{self.folder} has no examples in split {split} ({there}); split it otherwise")
        limit = self.max_train_examples if split == "train" else self.max_eval_examples
        return np.sort(np.random.default_rng(self.seed).permutation(rows)[:limit])

    def texts(self, split: str = "train") -> list[str]:
        """Prompts and completions of a split, from which a tokenizer can be trained."""
        assert self.table is not None
        found = (self.table.texts(row) for row in self.rows(split).tolist())
        return [
            text
            for prompt, is_chat, completions in found
            for text in (*(contents(prompt) if is_chat else [prompt]), *completions)
        ]

    def collator(self, split: str) -> PreferenceCollator:
        """The collator of a split; its rows are tokenised on first use."""
        assert self.table is not None
        if self.make_collator is None:
            raise RuntimeError("the module was not set up: its tokenizer makes the batches")
        if split not in self._collators:
            collator = self.make_collator(self.table, self.rows(split), self.limits, self.chat)
            collator.negatives, collator.seed = self.negatives, self.seed
            collator.mismatched = self.table.is_unpaired and not self.targets_only
            if not len(collator.examples.rows):
                raise ValueError(
                    f"no example of split {split} is left: chosen and rejected are the same tokens"
                )
            self._collators[split] = collator
        return self._collators[split]

    def loader(self, split: str, *, train: bool = False) -> ResumableLoader[PreferenceBatch]:
        """Batches of a split: shuffled in training, else by length."""
        assert self.table is not None
        collator = self.collator(split)
        rows, tokens = collator.examples.rows, collator.tokens()
        if not train:
            by_length = np.argsort(tokens, kind="stable")
            rows, tokens = rows[by_length], tokens[by_length]
        batches = LengthBatches(
            rows,
            tokens,
            self.batch_size if train else self.eval_batch_size,
            seed=self.seed,
            shuffle=train,
            pool=self.pool,
            epoch_stride=len(self.table) if train else 0,
        )
        return ResumableLoader(batches, len(self.table), collator, self.num_workers if train else 0)

    def train_dataloader(self) -> ResumableLoader[PreferenceBatch]:
        self._train = self.loader("train", train=True)
        if self._resumed:
            self._go_on(self._train, self._resumed)
            self._resumed = {}
        return self._train

    def val_dataloader(self) -> ResumableLoader[PreferenceBatch]:
        return self.loader("valid")

    def test_dataloader(self) -> ResumableLoader[PreferenceBatch]:
        return self.loader("test")

    def predict_dataloader(self) -> ResumableLoader[PreferenceBatch]:
        return self.loader("test")

    def state_dict(self) -> dict[str, Any]:
        """Where the training epoch stands, and of which examples; kept with every checkpoint."""
        if self._train is None or self.table is None:
            return {}
        return self._train.state_dict() | {"examples": self.table.digest()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there; a trainer may ask for the loader before or after this."""
        if self._train is None:
            self._resumed = state_dict
        else:
            self._go_on(self._train, state_dict)

    def _go_on(self, loader: ResumableLoader[PreferenceBatch], state: dict[str, Any]) -> None:
        assert self.table is not None
        if state["examples"] != self.table.digest():
            raise ValueError(f"{self.folder} holds other examples or splits than the run that is resumed saw")
        loader.load_state_dict(state)

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        return batch.to(device)
