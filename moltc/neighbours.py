"""What similar molecules did: the training pairs vote on the answer to a new one.

A training pair (i, j) of answer c votes for c with weight k(a, i) k(b, j), where k(a, .) is the softmax over
the molecules of training of ``sharpness`` times the Tanimoto similarity of Morgan fingerprints: a kernel
estimate (Nadaraya, 1964; Watson, 1964) on pairs. For molecules that no training pair holds, this is a
baseline that trained models have to beat.

Letters: n pairs, M molecules of a batch, T molecules of training, C answers, R distinct (molecule, answer),
V votes, F fingerprint bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from moltc.backbone.graphs import unpack_bits

PRIOR_SHARE = 0.02
"""How much of a vote is the frequency of the answers in training, whatever the molecules."""
CELLS = 2**25
"""Weights of pairs by (molecule, answer) that are in memory at a time."""


class NeighbourVotes(nn.Module):
    """Votes of the training pairs, which it holds as buffers.

    Parameters
    ----------
    outputs : 1 for yes/no (the votes are log-odds of yes), else the number of classes.
    symmetric : a training pair votes in both orders.
    sharpness : of the kernel, in inverse similarity; above 0.
    """

    bits: Tensor
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
        self.make_room((0, 0, 0, 0))

    @property
    def answers(self) -> int:
        """Number C of different answers."""
        return max(self.outputs, 2)

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """T, bytes of a fingerprint, R and V, from which :meth:`make_room` makes the same buffers."""
        return (*self.bits.shape, len(self.molecule), len(self.partner))

    def make_room(self, sizes: Sequence[int]) -> None:
        """Empty buffers of these :attr:`sizes`, for weights that are loaded."""
        molecules, width, rows, votes = sizes
        device = self.prior.device if "prior" in self._buffers else None
        self.register_buffer("bits", torch.zeros(molecules, width, dtype=torch.uint8, device=device))
        for name, count in (("molecule", rows), ("answer", rows), ("row", votes), ("partner", votes)):
            self.register_buffer(name, torch.zeros(count, dtype=torch.long, device=device))
        self.register_buffer("prior", torch.full((self.answers,), 1 / self.answers, device=device))

    def make_room_for(self, state: Mapping[str, Tensor], prefix: str) -> None:
        """Room for what a checkpoint holds; where it holds no votes all stays as it is."""
        if f"{prefix}bits" in state:
            rows, votes = len(state[f"{prefix}molecule"]), len(state[f"{prefix}partner"])
            self.make_room((*state[f"{prefix}bits"].shape, rows, votes))

    def remember(self, bits: Tensor, row_a: Tensor, row_b: Tensor, answer: Tensor) -> None:
        """Hold the training pairs.

        Parameters
        ----------
        bits : packed fingerprints, uint8 [*, F / 8].
        row_a, row_b : molecules of each pair, rows of ``bits``, long [P].
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
        self.make_room((len(seen), bits.shape[1], len(key), len(answer)))
        self.bits.copy_(bits[seen])
        self.molecule.copy_(key // self.answers)
        self.answer.copy_(key % self.answers)
        self.row.copy_(row)
        self.partner.copy_(b[order])
        self.prior.copy_(prior)

    @torch.no_grad()
    def forward(self, bits: Tensor, row_a: Tensor, row_b: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Log-odds of yes [n, 1], or log-probabilities of the classes [n, C].

        Parameters
        ----------
        bits : packed fingerprints of a batch's molecules, uint8 [M, F / 8].
        row_a, row_b : molecules of each pair, rows of ``bits``, long [n].
        hidden : bool [n, 2]; which molecules of a pair shall count as unseen: no training pair votes that
            holds one of them, or another of the same fingerprint. Training pairs need it, or they vote for
            themselves.
        """
        if not len(self.partner):
            raise RuntimeError("no training pairs are remembered: call remember first")
        with torch.autocast(bits.device.type, enabled=False):
            return self._said(self._shares(bits, row_a, row_b, hidden))

    def _shares(self, bits: Tensor, row_a: Tensor, row_b: Tensor, hidden: Tensor | None) -> Tensor:
        """Sums of votes [n, C]."""
        scores, same = self._similarity(bits)  # [M, T]
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

    def _similarity(self, bits: Tensor) -> tuple[Tensor, Tensor]:
        """Sharpened similarities [M, T] to the molecules of training, and which have the same fingerprint."""
        ours, theirs = unpack_bits(bits), unpack_bits(self.bits)
        both = ours @ theirs.T
        either = ours.sum(1, keepdim=True) + theirs.sum(1) - both
        similarity = torch.where(either > 0, both / either.clamp(min=1), 1.0)
        return self.sharpness * similarity, both == either


def _ones(row: Tensor, column: Tensor, rows: int, columns: int | None = None) -> Tensor:
    """Sparse matrix [rows, columns] of ones at these places, float32; those of one place add up."""
    size = (rows, len(column) if columns is None else columns)
    values = torch.ones(len(row), device=row.device)
    return torch.sparse_coo_tensor(torch.stack([row, column]), values, size, check_invariants=False)
