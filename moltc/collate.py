"""From rows of a pair table to a packed batch: prompts, targets, and each distinct molecule once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_prep.build import load_pairs
from data_prep.molecules import MoleculeTable
from moltc.backbone.graphs import GraphBatch
from moltc.backbone.packing import PackedTrees, Sharing, pack
from moltc.backbone.prompt import PromptTree
from moltc.backbone.towers import TowerInputs
from moltc.model import PairText, PromptWriter
from moltc.pair_towers import PAIR, PairInputs

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class PairTable:
    """P pairs over a molecule table, as index columns.

    Attributes
    ----------
    molecules : the distinct molecules.
    mol_a, mol_b : int32 [P], rows of ``molecules`` in the family's order.
    label : float64 [P], as measured; NaN where unknown (prediction).
    split : str [P].
    family, property, dataset : of all rows.
    pair_id : str [P].
    query : str [P] or None, what each row asks.
    """

    molecules: MoleculeTable
    mol_a: np.ndarray
    mol_b: np.ndarray
    label: np.ndarray
    split: np.ndarray
    family: str
    property: str
    dataset: str
    pair_id: np.ndarray
    query: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.mol_a)

    @classmethod
    def load(cls, folder: str | Path) -> PairTable:
        """Read a folder that ``data-prep`` wrote.

        Raises
        ------
        ValueError : the folder is not a build, or mixes families, properties or data sets.
        """
        folder = Path(folder)
        file = folder / "pairs.parquet"
        if not file.is_file():
            raise ValueError(
                f"{folder} holds no pairs.parquet; make it with `data-prep build` or `data-prep pairs`"
            )
        frame, molecules = load_pairs(folder)
        names = {}
        for column in ("family", "property", "dataset"):
            found = frame[column].unique().to_list()
            if len(found) != 1:
                raise ValueError(
                    f"{file} holds {len(found)} values of {column}, {found[:4]}; one model answers one task"
                )
            names[column] = found[0] or ""
        return cls(
            molecules=molecules,
            mol_a=frame["mol_a"].to_numpy(),
            mol_b=frame["mol_b"].to_numpy(),
            label=frame["label"].to_numpy(),
            split=frame["split"].to_numpy(),
            pair_id=frame["pair_id"].to_numpy(),
            query=frame["query"].to_numpy() if "query" in frame.columns else None,
            **names,
        )

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of one split, int64."""
        return np.flatnonzero(self.split == split)

    def text(self, row: int) -> PairText:
        """What the prompt of a row is written from."""
        a, b = self.mol_a[row], self.mol_b[row]
        m = self.molecules
        query = None if self.query is None else self.query[row]
        return PairText(m.smiles[a], m.smiles[b], m.property_text[a], m.property_text[b], query)


@dataclass
class PairBatch:
    """A batch of B prompts for ``num_pairs`` pairs (B is twice that when both orders are asked).

    Attributes
    ----------
    trees : the prompts, with the target as completion in training.
    packed : the same, packed; its entities are what ``inputs`` encodes.
    inputs : molecules and places of the towers.
    labels : float32 [B], on the printed scale.
    rows : int64 [num_pairs], rows of the pair table.
    """

    trees: list[PromptTree]
    packed: PackedTrees
    inputs: PairInputs
    labels: Tensor
    rows: np.ndarray
    num_pairs: int

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
    table, writer : the rows, and how prompts are written.
    sharing : how the language model takes prompt trees.
    targets : give each prompt its target (training and validation loss).
    both_orders : for symmetric families ask every pair a second time with its molecules exchanged
        (answering).
    pad_id : of the tokenizer.
    max_positions : tokens that the language model reads; None: no limit.
    room : tokens of them that are kept free for what is written behind a prompt (answering).
    label_noise, seed : noise on the answers written as targets (see the data module), and its seed.
    """

    table: PairTable
    writer: PromptWriter
    sharing: Sharing
    targets: bool
    both_orders: bool = False
    pad_id: int = 0
    max_positions: int | None = None
    room: int = 0
    label_noise: float = 0.0
    seed: int = 0

    def __call__(self, indices: Sequence[int]) -> PairBatch:
        """Rows of the table; ``row + len(table)`` stands for a row with its molecules exchanged.

        A multiple of ``2 * len(table)`` on top counts epochs: noise depends on (seed, epoch, batch) alone.
        """
        task, table = self.writer.task, self.table
        epoch, index = np.divmod(np.asarray(indices, dtype=np.int64), 2 * len(table))
        row, exchanged = index % len(table), index >= len(table)
        num_pairs = len(row)
        if self.both_orders and task.kind.symmetric:
            row, exchanged = np.tile(row, 2), np.concatenate([exchanged, ~exchanged])
        a = np.where(exchanged, table.mol_b[row], table.mol_a[row])
        b = np.where(exchanged, table.mol_a[row], table.mol_b[row])
        labels = task.printed(table.label[row])
        answers: list[Sequence[str]] = [()] * len(row)
        if self.targets:
            written = self._with_noise(labels, int(epoch[0]), int(row[0])) if self.label_noise else labels
            answers = [(text,) for text in task.answers(written, self.writer.config.cot)]
        trees = []
        for n, (r, flip) in enumerate(zip(row.tolist(), exchanged.tolist(), strict=True)):
            text = table.text(r)
            trees.append(
                self.writer.tree(text.swapped() if flip else text, int(a[n]), int(b[n]), n, answers[n])
            )
        self._check_window(trees, row)
        packed = pack(trees, sharing=self.sharing, pad_id=self.pad_id)
        return PairBatch(
            trees=trees,
            packed=packed,
            inputs=pair_inputs(packed.entities, self.writer.keys, a, b, table.molecules),
            labels=torch.from_numpy(labels).float(),
            rows=row[:num_pairs],
            num_pairs=num_pairs,
        )

    def length(self, tree: PromptTree) -> int:
        """Tokens that the language model reads of a prompt with its target, or with the room for an answer;
        the last one predicts nothing and is not read."""
        return len(tree.prompt_ids) + max(self.room, *(len(c) for c in tree.completions), 1) - 1

    def _check_window(self, trees: Sequence[PromptTree], row: np.ndarray) -> None:
        if self.max_positions is None:
            return
        for tree, r in zip(trees, row.tolist(), strict=True):
            length = self.length(tree)
            if length > self.max_positions:
                raise ValueError(
                    f"pair {self.table.pair_id[r]} needs {length} tokens, the language model reads "
                    f"{self.max_positions}; set prompt.smiles: false, or remove the pair"
                )

    def _with_noise(self, labels: np.ndarray, epoch: int, first: int) -> np.ndarray:
        """Labels as they are written in one epoch's batch; ``first`` is its first row."""
        rng, task = np.random.default_rng([self.seed, epoch, first]), self.writer.task
        if task.is_number:
            noisy = labels + self.label_noise * rng.normal(size=len(labels))
            return np.clip(noisy, task.low, task.high)
        return np.where(rng.random(len(labels)) < self.label_noise, 1 - labels, labels)


def pair_inputs(
    entities: dict[str, list[Hashable]],
    keys: tuple[str, str],
    a: np.ndarray,
    b: np.ndarray,
    molecules: MoleculeTable,
) -> PairInputs:
    """Tower inputs of a packed batch: its molecules once, and where each prompt's molecules stand.

    ``a`` and ``b`` (int [B]) are the molecules of each prompt, ``keys`` the towers of the two slots.
    """
    wanted: dict[str, Any] = {k: np.array(v, dtype=np.int64) for k, v in entities.items() if k != PAIR}
    distinct = np.unique(np.concatenate(list(wanted.values())))
    members = {k: torch.from_numpy(np.searchsorted(distinct, v)) for k, v in wanted.items()}

    def place(key: str, molecule: np.ndarray) -> Tensor:
        order = np.argsort(wanted[key])
        return torch.from_numpy(order[np.searchsorted(wanted[key], molecule, sorter=order)])

    graphs = GraphBatch.from_arrays(molecules.graphs.batch(distinct))
    return PairInputs(
        towers=TowerInputs(graphs, members),
        key_a=keys[0],
        key_b=keys[1],
        row_a=place(keys[0], a),
        row_b=place(keys[1], b),
        pair=torch.tensor(entities.get(PAIR, []), dtype=torch.long),
    )
