"""The data module: batches whose order depends on seed and epoch only, and that go on exactly where they
stopped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import lightning
import numpy as np

from moltc.backbone.loading import ResumableBatches, ResumableLoader
from moltc.collate import PairBatch, PairCollator
from moltc.families import get_family
from moltc.pair_table import SPLITS, PairTable
from moltc.task import SCORES, Task


class EpochBatches(ResumableBatches):
    """Batches of row numbers, a function of (seed, epoch) alone.

    Batches differ in size by at most one row, so none is too small for batch statistics and no row is left
    out. With several processes each takes every n-th row of the global batch.

    Parameters
    ----------
    rows : int64, the rows of the split.
    batch_size : rows of the global batch.
    shuffle : new order each epoch.
    exchange : number of rows of the whole table when rows are to be exchanged (``row + exchange``) with
        probability 0.5 in each epoch, else 0.
    exchangeable : bool, which of ``rows`` may be exchanged; None: all.
    groups : int, the task of each of ``rows``, for temperature sampling.
    temperature : a task of n rows gives a share of an epoch's rows that goes with n ** temperature: 1 takes
        every row once, less gives small tasks more.
    classes : int, the class of each of ``rows``; the classes of a task share its rows likewise.
    class_temperature : the exponent of that share.
    classes_from : first epoch in which classes count; before it tasks alone do.
    epoch_stride : added to every row once for each epoch before this one, so that a collator can tell
        epochs apart; 0: not.
    """

    def __init__(
        self,
        rows: np.ndarray,
        batch_size: int,
        *,
        seed: int,
        shuffle: bool,
        exchange: int = 0,
        exchangeable: np.ndarray | None = None,
        groups: np.ndarray | None = None,
        temperature: float = 1.0,
        classes: np.ndarray | None = None,
        class_temperature: float = 1.0,
        classes_from: int = 0,
        epoch_stride: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self.rows, self.batch_size, self.seed = rows, batch_size, seed
        self.shuffle, self.exchange, self.epoch_stride = shuffle, exchange, epoch_stride
        self.exchangeable = np.ones(len(rows), dtype=bool) if exchangeable is None else exchangeable
        none = np.zeros(len(rows), dtype=np.int64)
        self.groups = none if groups is None else groups
        self.classes = none if classes is None else classes
        self.temperature, self.class_temperature = temperature, class_temperature
        self.classes_from = classes_from

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def epoch_batches(self) -> list[np.ndarray]:
        """The global batches of the epoch, exchanged rows and the epoch itself in their numbers."""
        rows = self.rows
        if self.shuffle:
            rng = np.random.default_rng([self.seed, self.epoch])
            order = self._sampled(rng) if self._exponents != (1.0, 1.0) else rng.permutation(len(rows))
            rows = rows[order]
            if self.exchange:
                turned = rng.integers(0, 2, size=len(rows)) * self.exchangeable[order]
                rows = rows + self.exchange * turned
        rows = rows + self.epoch_stride * self.epoch
        return np.array_split(rows, len(self))

    @property
    def _exponents(self) -> tuple[float, float]:
        """Of the shares of tasks and of classes, in this epoch."""
        return self.temperature, self.class_temperature if self.epoch >= self.classes_from else 1.0

    def _sampled(self, rng: np.random.Generator) -> np.ndarray:
        """Positions of an epoch's rows with tasks and classes in their shares: a class gives all of its rows
        as often as its share holds them, and a random part of them once more."""
        of_tasks, of_classes = self._exponents
        kinds, members = _members(np.stack([self.groups, self.classes]))
        sizes = np.array([len(rows) for rows in members], dtype=np.float64)
        task = np.unique(kinds[0], return_inverse=True)[1]
        shares = sizes**of_classes
        shares *= (np.bincount(task, sizes) ** of_tasks / np.bincount(task, shares))[task]
        ends = np.rint(np.cumsum(shares / shares.sum()) * len(self.rows)).astype(np.int64)
        wanted = np.diff(np.concatenate([[0], ends]))
        drawn = [
            np.concatenate([np.tile(m, count // len(m)), rng.permutation(m)[: count % len(m)]])
            for m, count in zip(members, wanted.tolist(), strict=True)
        ]
        return rng.permutation(np.concatenate(drawn))


def _members(columns: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Distinct columns of ``columns`` [2, N], [2, K], and the positions of each, ascending."""
    kinds, kind = np.unique(columns, axis=1, return_inverse=True)
    order = np.argsort(kind, kind="stable")
    return kinds, np.split(order, np.cumsum(np.bincount(kind))[:-1])


class PairDataModule(lightning.LightningDataModule):
    """Pairs from a folder that ``data-prep`` wrote, or from several for joint training.

    Parameters
    ----------
    folder : holds pairs.parquet, molecules.parquet and graphs.safetensors; or a list of such folders.
    batch_size : pairs of a global batch in training.
    eval_batch_size : pairs of a batch when answering.
    num_workers : data processes; 0 makes batches in the training process.
    seed : of the order of rows.
    label_noise : noise on the answers that are written as training targets, drawn anew each epoch: it keeps a
        small model from learning them by heart. For numbers its standard deviation on the printed scale, for
        yes/no the probability of the other answer. The auxiliary head sees the labels as they are.
    shift : where pair tokens see the head's output: share of the training pairs whose written answer is drawn
        anew from all that there are, with that output moved by as much: a number by the difference, the
        scores of classes by as many places round the end, log-odds to their opposite. The model then learns
        to read the output instead of recognising the pair; what it writes is the head's answer.
    max_train_pairs : use only the first pairs of a seeded shuffle of the training split (learning curves,
        dry runs).
    max_valid_pairs : validate, and fit the calibration, on only so many pairs of each task (seeded).
    max_test_pairs : test on only so many pairs of each task (seeded), where answers take long; the report
        counts them.
    temperature : share of a task of n pairs in joint training, n ** temperature; 1: every pair once an epoch.
    class_temperature : share of a class of n pairs in the epochs that train the language model, n **
        class_temperature; 1: every pair once. Less shows it the rare sentences of typed interactions more
        often, while the epochs before, which train encoders and heads alone, keep the natural shares.
    exchange_typed : typed interactions are asked in both orders too, each with probability 0.5: the sentence
        of a directed class is then turned round. It goes without an auxiliary head, whose classes know no
        direction.
    predict_split : which pairs ``moltc predict`` answers; "all" are those of no split too.
    """

    def __init__(
        self,
        folder: str | list[str],
        batch_size: int = 128,
        eval_batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
        label_noise: float = 0.0,
        shift: float = 0.0,
        max_train_pairs: int | None = None,
        max_valid_pairs: int | None = None,
        max_test_pairs: int | None = None,
        temperature: float = 1.0,
        class_temperature: float = 1.0,
        exchange_typed: bool = False,
        predict_split: Literal["train", "valid", "test", "all"] = "test",
    ) -> None:
        super().__init__()
        most = {"train": max_train_pairs, "valid": max_valid_pairs, "test": max_test_pairs}
        for name, value in {f"max_{split}_pairs": count for split, count in most.items()}.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}; leave it out for all")
        if not 0.0 <= temperature <= 1.0:
            raise ValueError(
                f"temperature lies between 0 (tasks alike) and 1 (pairs alike), not {temperature}"
            )
        if not 0.0 <= class_temperature <= 1.0:
            raise ValueError(
                "class_temperature lies between 0 (classes alike) and 1 (pairs alike), "
                f"not {class_temperature}"
            )
        if label_noise < 0:
            raise ValueError(f"label_noise must not be negative, got {label_noise}")
        if not 0.0 <= shift <= 1.0:
            raise ValueError(f"shift is a share between 0 and 1, not {shift}")
        self.folder, self.label_noise, self.shift = folder, label_noise, shift
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.num_workers, self.seed, self.max_train_pairs = num_workers, seed, max_train_pairs
        self.max_valid_pairs, self.max_test_pairs, self.temperature = (
            max_valid_pairs,
            max_test_pairs,
            temperature,
        )
        self.class_temperature, self.first_text_epoch = class_temperature, 0
        self.exchange_typed, self.predict_split = exchange_typed, predict_split
        self.table: PairTable | None = None
        self.make_collator: Callable[..., PairCollator] | None = None
        self._train: ResumableLoader[PairBatch] | None = None
        self._resumed: dict[str, int] = {}

    def setup(self, stage: str | None = None) -> None:
        """Open the tables (memory-mapped; nothing is copied per process)."""
        if self.table is None:
            self.table = PairTable.load(self.folder)
        for split in SPLITS if stage == "fit" else ():  # a missing one would be noticed after training
            for task in range(len(self.table.asked)):
                self.rows(split, task)

    def rows(self, split: str, task: int | None = None) -> np.ndarray:
        """Row numbers of a split or of "all", of all tasks or one; an empty split is an error that says which
        are there.

        Where pairs are left out (``max_train_pairs`` and its like) these are the rows that are used.
        """
        assert self.table is not None
        if split == "all":
            return np.flatnonzero(self.table.task >= 0 if task is None else self.table.task == task)
        rows = self.table.rows(split, task)
        if not len(rows):
            there = ", ".join(f"{s}: {len(self.table.rows(s, task))}" for s in SPLITS)
            name = self.folder if task is None else self.table.asked[task].dataset
            raise ValueError(f"{name} has no pairs in split {split} ({there}); build it with another split")
        if split == "train" and self.max_train_pairs is not None:
            kept = self._some(self.table.rows("train"), self.max_train_pairs)
            rows = rows[np.isin(rows, kept)]
        if (most := {"valid": self.max_valid_pairs, "test": self.max_test_pairs}.get(split)) is not None:
            numbers = range(len(self.table.asked)) if task is None else (task,)
            rows = np.sort(np.concatenate([self._some(self.table.rows(split, n), most) for n in numbers]))
        return rows

    def _some(self, rows: np.ndarray, count: int) -> np.ndarray:
        return np.sort(np.random.default_rng(self.seed).permutation(rows)[:count])

    @property
    def score(self) -> tuple[str, str]:
        """Name of what validation watches, and whether "min" or "max" of it is best; with several tasks their
        loss."""
        assert self.table is not None
        if len(self.table.asked) > 1:
            return "val/loss", "min"
        asked = self.table.asked[0]
        name, mode = SCORES[get_family(asked.family).kind]
        return f"val/{name}", mode

    def loader(
        self, split: str, *, train: bool, targets: bool, task: int | None = None
    ) -> ResumableLoader[PairBatch]:
        """Batches of a split: shuffled and exchanged in training, one task in both orders when answering."""
        assert self.table is not None
        if self.make_collator is None:
            raise RuntimeError("the module was not set up: its prompt writer makes the batches")
        collate = self.make_collator(self.table, targets=targets, both_orders=not train)
        rows = self.rows(split, task)
        options: dict[str, Any] = {}
        if train:
            self._check_noise([writer.task for writer in collate.writers])
            if self.shift and not collate.writers[0].config.head.pair_tokens_see_output:
                raise ValueError("shift goes with model.head.pair_tokens_see_output: true; leave it out")
            collate.label_noise, collate.shift, collate.seed = self.label_noise, self.shift, self.seed
            collate.hide = collate.writers[0].config.head.neighbours > 0
            exchangeable = self._exchangeable(collate, rows)
            options = {
                "exchange": len(self.table) if exchangeable.any() else 0,
                "exchangeable": exchangeable,
                "groups": self.table.task[rows],
                "temperature": self.temperature,
                "classes": self._classes(collate, rows),
                "class_temperature": self.class_temperature,
                "classes_from": self.first_text_epoch,
                "epoch_stride": 2 * len(self.table),
            }
        batches = EpochBatches(
            rows,
            self.batch_size if train else self.eval_batch_size,
            seed=self.seed,
            shuffle=train,
            **options,
        )
        return ResumableLoader(batches, 2 * len(self.table), collate, self.num_workers if train else 0)

    def _classes(self, collate: PairCollator, rows: np.ndarray) -> np.ndarray | None:
        """Class of each row, 0 in tasks without classes; None where they do not count."""
        assert self.table is not None
        if self.class_temperature == 1.0:
            return None
        typed = np.array([writer.task.kind.kind == "class" for writer in collate.writers])
        if not typed.any():
            raise ValueError("class_temperature is for typed interactions: leave it out")
        labels = np.where(typed[self.table.task[rows]], self.table.label[rows], 0)
        return labels.astype(np.int64)

    def _check_noise(self, tasks: list[Task]) -> None:
        if self.label_noise >= 0.5 and any(task.kind.kind == "binary" for task in tasks):
            raise ValueError(f"label_noise {self.label_noise} turns yes into no: stay below 0.5")

    def _exchangeable(self, collate: PairCollator, rows: np.ndarray) -> np.ndarray:
        """Which rows may be asked in the other order, bool."""
        assert self.table is not None
        if self.exchange_typed and collate.writers[0].config.head.weight:
            raise ValueError("exchange_typed goes without an auxiliary head: set model.head.weight to 0")
        if self.exchange_typed and all(w.task.kind.kind != "class" for w in collate.writers):
            raise ValueError("exchange_typed is for typed interactions: leave it out")
        may = [
            w.task.kind.symmetric or (self.exchange_typed and w.task.kind.kind == "class")
            for w in collate.writers
        ]
        return np.array(may)[self.table.task[rows]]

    @property
    def tasks(self) -> range:
        """Numbers of the tasks."""
        assert self.table is not None
        return range(len(self.table.asked))

    def train_dataloader(self) -> ResumableLoader[PairBatch]:
        self._train = self.loader("train", train=True, targets=True)
        if self._resumed:
            self._train.load_state_dict(self._resumed)
            self._resumed = {}
        return self._train

    def val_dataloader(self) -> list[ResumableLoader[PairBatch]]:
        """The valid split, task by task."""
        return [self.loader("valid", train=False, targets=True, task=n) for n in self.tasks]

    def test_dataloader(self) -> list[ResumableLoader[PairBatch]]:
        """For each task the valid split, on which calibration is fitted, then the test split."""
        splits = [(n, split) for n in self.tasks for split in ("valid", "test")]
        return [self.loader(split, train=False, targets=True, task=n) for n, split in splits]

    def predict_dataloader(self) -> list[ResumableLoader[PairBatch]]:
        return [self.loader(self.predict_split, train=False, targets=False, task=n) for n in self.tasks]

    def settings(self) -> dict[str, str]:
        """What a resumed run must have in common with the run it goes on, as text."""
        order = ("batch_size", "seed", "max_train_pairs", "max_valid_pairs", "temperature")
        noise = ("label_noise", "shift", "exchange_typed", "class_temperature")
        return {name: str(getattr(self, name)) for name in (*order, *noise)}

    def state_dict(self) -> dict[str, int]:
        """Where the training epoch stands; kept with every checkpoint."""
        return {} if self._train is None else self._train.state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from there; a trainer may ask for the loader before or after this."""
        if self._train is None:
            self._resumed = state_dict
        else:
            self._train.load_state_dict(state_dict)

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        return batch.to(device)
