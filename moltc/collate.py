"""From rows of a pair table to a packed batch: prompts, targets, and each distinct molecule once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_prep.molecules import MoleculeTable
from moltc.backbone.graphs import GraphBatch
from moltc.backbone.packing import PackedTrees, Sharing, pack
from moltc.backbone.prompt import PromptTree
from moltc.backbone.towers import TowerInputs
from moltc.pair_table import PairTable
from moltc.pair_towers import PAIR, PairGroup, PairInputs
from moltc.prompt_writer import PromptWriter
from moltc.task import Task


@dataclass
class PairBatch:
    """A batch of B prompts for ``num_pairs`` pairs (B is twice that when both orders are asked).

    Attributes
    ----------
    trees : the prompts, with the target as completion in training.
    packed : the same, packed; its entities are what ``inputs`` encodes.
    inputs : molecules and places of the towers.
    labels : float32 [B], on the printed scale.
    tasks : int16 [B], number of each prompt's task.
    rows : int64 [num_pairs], rows of the pair table.
    """

    trees: list[PromptTree]
    packed: PackedTrees
    inputs: PairInputs
    labels: Tensor
    tasks: np.ndarray
    rows: np.ndarray
    num_pairs: int

    @property
    def task(self) -> int:
        """The task of all prompts; batches that are answered hold one task."""
        found = np.unique(self.tasks)
        if len(found) != 1:
            raise ValueError(f"the pairs of this batch ask {len(found)} tasks: answer them one by one")
        return int(found[0])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PairBatch:
        """The same batch on another device."""
        return replace(
            self,
            packed=self.packed.to(device, non_blocking=non_blocking),
            inputs=self.inputs.to(device, non_blocking=non_blocking),
            labels=self.labels.to(device, non_blocking=non_blocking),
        )


@dataclass
class PairCollator:
    """Makes batches; an object of its own so that data workers can take it along.

    Parameters
    ----------
    table, writers : the rows, and how the prompts of each task are written.
    sharing : how the language model takes prompt trees.
    targets : give each prompt its target (training and validation loss).
    both_orders : for symmetric families ask every pair a second time with its molecules exchanged
        (answering).
    pad_id : of the tokenizer.
    max_positions : tokens that the language model reads; None: no limit.
    rooms : tokens of them that are kept free for what is written behind a prompt, by task (answering).
    shift : share of the pairs whose written answer is drawn anew, and shown so by the pair tokens (see the
        data module).
    hide : one molecule of each pair, or both, count as unseen when training pairs vote (see
        :mod:`moltc.neighbours`).
    label_noise, seed : noise on the answers written as targets (see the data module), and its seed.
    """

    table: PairTable
    writers: Sequence[PromptWriter]
    sharing: Sharing
    targets: bool
    both_orders: bool = False
    pad_id: int = 0
    max_positions: int | None = None
    rooms: Sequence[int] = ()
    shift: float = 0.0
    hide: bool = False
    label_noise: float = 0.0
    seed: int = 0

    def __call__(self, indices: Sequence[int]) -> PairBatch:
        """Rows of the table; ``row + len(table)`` stands for a row with its molecules exchanged.

        A multiple of ``2 * len(table)`` on top counts epochs: noise depends on (seed, epoch, batch) alone.
        """
        table = self.table
        epoch, index = np.divmod(np.asarray(indices, dtype=np.int64), 2 * len(table))
        row, exchanged = index % len(table), index >= len(table)
        num_pairs = len(row)
        if self.both_orders and self._one_task(row).kind.symmetric:
            row, exchanged = np.tile(row, 2), np.concatenate([exchanged, ~exchanged])
        a = np.where(exchanged, table.mol_b[row], table.mol_a[row])
        b = np.where(exchanged, table.mol_a[row], table.mol_b[row])
        numbers = table.task[row]
        labels, answers, shifts = self._labels_and_answers(row, numbers, exchanged, int(epoch[0]))
        hidden = self._hidden(len(row), int(epoch[0]), int(row[0])) if self.hide else None
        trees = []
        for n, (r, number, flip) in enumerate(
            zip(row.tolist(), numbers.tolist(), exchanged.tolist(), strict=True)
        ):
            text = table.text(r)
            trees.append(
                self.writers[number].tree(
                    text.swapped() if flip else text, int(a[n]), int(b[n]), n, answers[n]
                )
            )
        self._check_window(trees, row, numbers)
        packed = pack(trees, sharing=self.sharing, pad_id=self.pad_id)
        return PairBatch(
            trees=trees,
            packed=packed,
            inputs=pair_inputs(packed.entities, self.writers, numbers, a, b, table.molecules, shifts, hidden),
            labels=torch.from_numpy(labels).float(),
            tasks=numbers,
            rows=row[:num_pairs],
            num_pairs=num_pairs,
        )

    def length(self, tree: PromptTree, task: int) -> int:
        """Tokens that the language model reads of a prompt with its target, or with the room for an answer;
        the last one predicts nothing and is not read."""
        room = self.rooms[task] if self.rooms else 0
        return len(tree.prompt_ids) + max(room, *(len(c) for c in tree.completions), 1) - 1

    def _one_task(self, row: np.ndarray) -> Task:
        numbers = np.unique(self.table.task[row])
        if len(numbers) != 1:
            raise ValueError("pairs are answered task by task: give rows of one")
        return self.writers[int(numbers[0])].task

    def _labels_and_answers(
        self, row: np.ndarray, numbers: np.ndarray, exchanged: np.ndarray, epoch: int
    ) -> tuple[np.ndarray, list[Sequence[str]], np.ndarray]:
        """Labels [B] on the printed scale, with targets the answer of each prompt, and the shifts [B] of what
        is written; task by task."""
        labels, shifts = np.full(len(row), np.nan), np.zeros(len(row), dtype=np.float32)
        answers: list[Sequence[str]] = [()] * len(row)
        for number in np.unique(numbers).tolist():
            writer, places = self.writers[number], np.flatnonzero(numbers == number)
            task, rows = writer.task, row[places]
            labels[places] = task.printed(self.table.label[rows])
            if not self.targets:
                continue
            if task.kind.kind == "text":
                texts = [
                    self.written_text(writer, r, flip)
                    for r, flip in zip(rows, exchanged[places], strict=True)
                ]
            else:
                written = labels[places]
                if self.shift and task.outputs:  # shown by the head's pair tokens
                    written, shifts[places] = self._shifted(task, written, epoch, int(rows[0]))
                if self.label_noise:
                    written = self._with_noise(task, written, epoch, int(rows[0]))
                texts = task.answers(written, writer.cot, exchanged[places])
            for place, text in zip(places.tolist(), texts, strict=True):
                answers[place] = (text,)
        return labels, answers, shifts

    def written_text(self, writer: PromptWriter, row: int, exchanged: bool = False) -> str:
        """The answer of a free-text task: the row's own, or what is known of both molecules."""
        if self.table.answer is not None and self.table.answer[row]:
            return str(self.table.answer[row])
        text = self.table.text(int(row))
        text = text.swapped() if exchanged else text
        return writer.task.kind.reasoning(text.properties_a, text.properties_b).strip()

    def _check_window(self, trees: Sequence[PromptTree], row: np.ndarray, numbers: np.ndarray) -> None:
        if self.max_positions is None:
            return
        for tree, r, number in zip(trees, row.tolist(), numbers.tolist(), strict=True):
            length = self.length(tree, number)
            if length > self.max_positions:
                raise ValueError(
                    f"pair {self.table.pair_id[r]} needs {length} tokens, the language model reads "
                    f"{self.max_positions}; set prompt.smiles: false, or remove the pair"
                )

    def _shifted(
        self, task: Task, labels: np.ndarray, epoch: int, first: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Labels of which a share is drawn anew from the range of answers, and how far each was moved: in
        standard deviations, or in classes (of yes and no there are two), upwards and round the end."""
        rng = np.random.default_rng([self.seed, epoch, first, 1])
        if task.is_number:
            drawn = rng.uniform(*task.answer_range, size=len(labels))
        else:
            drawn = rng.integers(0, max(task.outputs, 2), size=len(labels)).astype(np.float64)
        moved = np.where(rng.random(len(labels)) < self.shift, drawn, labels)
        if task.is_number:
            return moved, (moved - labels) / task.std
        return moved, (moved - labels) % max(task.outputs, 2)

    def _hidden(self, count: int, epoch: int, first: int) -> np.ndarray:
        """Which molecules of each pair count as unseen, bool [B, 2]: a, b or both."""
        drawn = np.random.default_rng([self.seed, epoch, first, 2]).integers(1, 4, size=count)
        return np.stack([drawn % 2 == 1, drawn >= 2], axis=1)

    def _with_noise(self, task: Task, labels: np.ndarray, epoch: int, first: int) -> np.ndarray:
        """Labels as they are written in one epoch's batch; ``first`` is its first row."""
        rng = np.random.default_rng([self.seed, epoch, first])
        if task.is_number:
            noisy = labels + self.label_noise * rng.normal(size=len(labels))
            return np.clip(noisy, *task.answer_range)
        flipped = rng.random(len(labels)) < self.label_noise
        if task.kind.kind == "binary":
            return np.where(flipped, 1 - labels, labels)
        return np.where(flipped, rng.integers(0, task.outputs, size=len(labels)), labels)


def pair_inputs(
    entities: dict[str, list[Hashable]],
    writers: Sequence[PromptWriter],
    tasks: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    molecules: MoleculeTable,
    shifts: np.ndarray,
    hidden: np.ndarray | None = None,
) -> PairInputs:
    """Tower inputs of a packed batch: its molecules once, and where each prompt's molecules stand.

    ``tasks``, ``a`` and ``b`` (int [B]) are the task and the molecules of each prompt, ``shifts`` (float32
    [B]) how far the output of its head is moved before it is shown, ``hidden`` (bool [B, 2]) which molecules
    count as unseen when training pairs vote.
    """
    wanted: dict[str, Any] = {k: np.array(v, dtype=np.int64) for k, v in entities.items() if k != PAIR}
    distinct = np.unique(np.concatenate(list(wanted.values())))
    members = {k: torch.from_numpy(np.searchsorted(distinct, v)) for k, v in wanted.items()}

    def place(key: str, molecule: np.ndarray) -> Tensor:
        order = np.argsort(wanted[key])
        return torch.from_numpy(order[np.searchsorted(wanted[key], molecule, sorter=order)])

    groups: dict[tuple[str, str, str], list[int]] = {}
    for number in np.unique(tasks).tolist():
        writer = writers[number]
        if writer.task.outputs:  # heads see pairs that have a label
            groups.setdefault((writer.task.head, *writer.keys), []).append(number)
    made = []
    for (head, key_a, key_b), numbers in groups.items():
        prompts = np.flatnonzero(np.isin(tasks, numbers))
        rows = (place(key_a, a[prompts]), place(key_b, b[prompts]))
        shift = torch.from_numpy(shifts[prompts])
        unseen = None if hidden is None else torch.from_numpy(hidden[prompts])
        made.append(PairGroup(head, key_a, key_b, torch.from_numpy(prompts), *rows, shift, unseen))
    return PairInputs(
        towers=TowerInputs(GraphBatch.from_arrays(molecules.graphs.batch(distinct)), members),
        groups=tuple(made),
        pair=torch.tensor(entities.get(PAIR, []), dtype=torch.long),
        molecules=torch.from_numpy(distinct),
    )
