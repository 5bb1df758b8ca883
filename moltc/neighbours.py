"""What similar molecules did: the training pairs vote on the answer to a new one.

A training pair (i, j) of answer c votes for c with weight k(a, i) k(b, j), where k(a, .) is the softmax over
the molecules of training of ``sharpness`` times their similarity: a kernel estimate (Nadaraya, 1964; Watson,
1964) on pairs. For molecules that no training pair holds, this is a baseline that trained models have to
beat.

Two molecules are as similar as the mean of two figures says: the Tanimoto similarity of their Morgan
fingerprints (which substructures they share) and the Ruzicka similarity of their counts of atom environments
(the sum of minima over the sum of maxima: whether they are made of the same in the same amounts).

Letters: n pairs, M molecules of a batch, T molecules of training, C answers, R distinct (molecule, answer),
V votes, F fingerprint bits, E places of environments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from data_prep.graphs import ATOM_DIMS
from moltc.backbone.graphs import GraphBatch, unpack_bits

PRIOR_SHARE = 0.02
"""How much of a vote is the frequency of the answers in training, whatever the molecules."""
CELLS = 2**25
"""Weights of pairs by (molecule, answer) that are in memory at a time."""
ENVIRONMENTS = 1024
"""Places E of kinds of atom environments. Kinds are folded, as fingerprints are: of the places that drugs use
about a tenth are shared by two kinds."""
_ELEMENT_HASH = torch.tensor([pow(7, element + 1, 2**31 - 1) for element in range(ATOM_DIMS[0])])
"""Powers of a generator of all residues, so that sums over a few neighbours do not meet; like
``_FOLDING``, part of what saved counts mean."""
_FOLDING = 1_000_003
"""A prime, by which all digits of a hash have a say in its place."""


class Substructures(NamedTuple):
    """What M molecules are compared by: ``bits``, packed Morgan fingerprints, uint8 [M, F / 8], and
    ``counts``, how often each kind of atom environment occurs, uint8 [M, E]."""

    bits: Tensor
    counts: Tensor

    @classmethod
    def of(cls, graphs: GraphBatch) -> Substructures:
        """Those of molecular graphs. The environment of an atom is its element and the elements bound to it;
        counts end at 255."""
        element = graphs.atoms[:, 0].long()
        source, target = graphs.edge_index
        hashes = _ELEMENT_HASH.to(element.device)[element]
        around = torch.zeros_like(hashes).index_add_(0, target, hashes[source])
        kind = (around * ATOM_DIMS[0] + element) % _FOLDING % ENVIRONMENTS
        place, times = torch.unique(graphs.node_graph * ENVIRONMENTS + kind, return_counts=True)
        counts = torch.zeros(graphs.num_graphs * ENVIRONMENTS, dtype=torch.uint8, device=place.device)
        counts[place] = times.clamp(max=255).to(torch.uint8)
        return cls(graphs.fingerprint, counts.view(-1, ENVIRONMENTS))


class NeighbourVotes(nn.Module):
    """Votes of the training pairs, which it holds as buffers.

    Parameters
    ----------
    outputs : 1 for yes/no (the votes are log-odds of yes), else the number of classes.
    symmetric : a training pair votes in both orders.
    sharpness : of the kernel, in inverse similarity; above 0.
    """

    bits: Tensor
    counts: Tensor
    molecule: Tensor
    answer: Tensor
    row: Tensor
    partner: Tensor
    prior: Tensor

    def __init__(self, outputs: int, symmetric: bool, sharpness: float) -> None:
        super().__init__()
        if sharpness <= 0:
            raise ValueError(f"sharpness must be above 0, not {sharpness}")
        self.outputs, self.symmetric, self.sharpness = outputs, symmetric, sharpness
        self.make_room((0, 0, 0, 0, 0))

    @property
    def answers(self) -> int:
        """Number C of different answers."""
        return max(self.outputs, 2)

    @property
    def sizes(self) -> tuple[int, int, int, int, int]:
        """T, bytes of a fingerprint, E, R and V, from which :meth:`make_room` makes the same buffers."""
        return (*self.bits.shape, self.counts.shape[1], len(self.molecule), len(self.partner))

    def make_room(self, sizes: Sequence[int]) -> None:
        """Empty buffers of these :attr:`sizes`, for weights that are loaded."""
        molecules, width, kinds, rows, votes = sizes
        device = self.prior.device if "prior" in self._buffers else None
        for name, count in (("bits", width), ("counts", kinds)):
            self.register_buffer(name, torch.zeros(molecules, count, dtype=torch.uint8, device=device))
        for name, count in (("molecule", rows), ("answer", rows), ("row", votes), ("partner", votes)):
            self.register_buffer(name, torch.zeros(count, dtype=torch.long, device=device))
        self.register_buffer("prior", torch.full((self.answers,), 1 / self.answers, device=device))

    def make_room_for(self, state: Mapping[str, Tensor], prefix: str) -> None:
        """Room for what a checkpoint holds; where it holds no votes all stays as it is."""
        if f"{prefix}counts" in state:
            rows, votes = len(state[f"{prefix}molecule"]), len(state[f"{prefix}partner"])
            self.make_room((*state[f"{prefix}bits"].shape, state[f"{prefix}counts"].shape[1], rows, votes))

    def remember(self, molecules: Substructures, row_a: Tensor, row_b: Tensor, answer: Tensor) -> None:
        """Hold the training pairs.

        Parameters
        ----------
        molecules : those of the pairs, and others.
        row_a, row_b : molecules of each pair, rows of ``molecules``, long [P].
        answer : 0 or 1, or the number of the class, long [P].

        Raises
        ------
        ValueError : no pairs, or an answer that is none.
        """
        if not len(answer):
            raise ValueError("votes need training pairs, got none")
        if int(answer.min()) < 0 or int(answer.max()) >= self.answers:
            raise ValueError(f"answers run from 0 to {self.answers - 1}, found {int(answer.max())}")
        seen, local = torch.unique(torch.cat([row_a, row_b]), return_inverse=True)
        a, b = local[: len(answer)], local[len(answer) :]
        prior = torch.bincount(answer, minlength=self.answers) / len(answer)
        if self.symmetric:
            a, b, answer = torch.cat([a, b]), torch.cat([b, a]), torch.cat([answer, answer])
        order = torch.argsort((a * self.answers + answer) * len(seen) + b)
        key, row = torch.unique_consecutive((a * self.answers + answer)[order], return_inverse=True)
        width, kinds = molecules.bits.shape[1], molecules.counts.shape[1]
        self.make_room((len(seen), width, kinds, len(key), len(answer)))
        self.bits.copy_(molecules.bits[seen])
        self.counts.copy_(molecules.counts[seen])
        self.molecule.copy_(key // self.answers)
        self.answer.copy_(key % self.answers)
        self.row.copy_(row)
        self.partner.copy_(b[order])
        self.prior.copy_(prior)

    @torch.no_grad()
    def forward(
        self, molecules: Substructures, row_a: Tensor, row_b: Tensor, hidden: Tensor | None = None
    ) -> Tensor:
        """Log-odds of yes [n, 1], or log-probabilities of the classes [n, C].

        Parameters
        ----------
        molecules : the molecules of a batch.
        row_a, row_b : molecules of each pair, rows of ``molecules``, long [n].
        hidden : bool [n, 2]; which molecules of a pair shall count as unseen: no training pair votes that
            holds one of them, or another of the same fingerprint. Training pairs need it, or they vote for
            themselves.
        """
        if not len(self.partner):
            raise RuntimeError("no training pairs are remembered: call remember first")
        with torch.autocast(row_a.device.type, enabled=False):
            return self._said(self._shares(molecules, row_a, row_b, hidden))

    def _shares(
        self, molecules: Substructures, row_a: Tensor, row_b: Tensor, hidden: Tensor | None
    ) -> Tensor:
        """Sums of votes [n, C]."""
        similarity, same = self._similarity(molecules)  # [M, T]
        scores = self.sharpness * similarity
        if hidden is None:
            first = scores.softmax(1)
            used, b = torch.unique(row_b, return_inverse=True)
            second, a = first[used], row_a
        else:
            gone = (same[row_a] & hidden[:, :1]) | (same[row_b] & hidden[:, 1:])
            first, second = (
                scores[rows].masked_fill(gone, -torch.inf).softmax(1).nan_to_num(0.0)
                for rows in (row_a, row_b)
            )
            a = b = torch.arange(len(row_a), device=row_a.device)
        votes = _ones(self.row, self.partner, len(self.molecule), len(self.bits))
        second = torch.sparse.mm(votes, second.T)  # [R, *], weight of b's side
        of_answer = _ones(self.answer, torch.arange(len(self.answer), device=a.device), self.answers)
        some = max(1, CELLS // len(self.molecule))
        found = [
            torch.sparse.mm(of_answer, first[x][:, self.molecule].T * second[:, y]).T
            for x, y in zip(a.split(some), b.split(some), strict=True)
        ]
        return torch.cat(found)

    def _said(self, found: Tensor) -> Tensor:
        """What sums of votes [n, C] say; where nobody votes, what is frequent."""
        total = found.sum(1, keepdim=True)
        share = torch.where(total > torch.finfo(total.dtype).tiny, found / total, self.prior)
        log_share = ((1 - PRIOR_SHARE) * share + PRIOR_SHARE * self.prior).clamp(min=1e-12).log()
        return log_share[:, 1:] - log_share[:, :1] if self.outputs == 1 else log_share

    def _similarity(self, molecules: Substructures) -> tuple[Tensor, Tensor]:
        """Similarities [M, T] to the molecules of training, and which have the same fingerprint."""
        ours, theirs = unpack_bits(molecules.bits), unpack_bits(self.bits)
        both = ours @ theirs.T
        either = ours.sum(1, keepdim=True) + theirs.sum(1) - both
        by_bits = torch.where(either > 0, both / either.clamp(min=1), 1.0)
        found = (self.counts > 0).any(0)  # no minimum with other kinds
        mine, known = molecules.counts[:, found].float(), self.counts[:, found].float()
        apart = torch.cdist(mine, known, p=1)
        minima = (mine.sum(1, keepdim=True) + known.sum(1) - apart) / 2
        maxima = molecules.counts.sum(1, keepdim=True) + known.sum(1) - minima
        return (by_bits + minima / maxima) / 2, both == either


def _ones(row: Tensor, column: Tensor, rows: int, columns: int | None = None) -> Tensor:
    """Sparse matrix [rows, columns] of ones at these places, float32; those of one place add up."""
    size = (rows, len(column) if columns is None else columns)
    values = torch.ones(len(row), device=row.device)
    return torch.sparse_coo_tensor(torch.stack([row, column]), values, size, check_invariants=False)
