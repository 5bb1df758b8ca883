"""Baselines on substructures: votes of similar training pairs, and histogram gradient boosting and a
multilayer perceptron on Morgan fingerprints.

Fingerprints with a simple learner are hard to beat on many molecular pairs, so a graph-plus-language model is
compared with them. Numbers and classes are predicted from both molecules' bits side by side; yes-or-no
answers from the sum and the absolute difference, which do not depend on the order. Of a single molecule its
bits are the features.

Shapes: n pairs, M distinct molecules, B pairs of a batch, C classes, O outputs of the perceptron.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from data_prep.graphs import GraphArrays
from moltc.backbone.graphs import GraphBatch
from moltc.baselines import SCORED_SPLITS, PairArrays
from moltc.bootstrap import Floats
from moltc.family import FamilyKind
from moltc.metrics import binary_metrics
from moltc.neighbours import NeighbourVotes, Substructures

_PREDICT_BATCH = 2048


def pair_features(
    kind: FamilyKind, bits_a: NDArray[np.uint8], bits_b: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Unpacked bits [B, 2048] of either molecule -> features [B, 4096]; of one molecule its bits alone."""
    if bits_b is None:
        return bits_a
    if kind != "binary":
        return np.concatenate([bits_a, bits_b], axis=1)
    return np.concatenate([bits_a + bits_b, bits_a ^ bits_b], axis=1)  # on bits, |a - b| is exclusive or


SHARPNESS = (5.0, 10.0, 20.0, 40.0)
"""Of the kernel of :func:`similar_pairs`; the best on valid pairs is taken."""


def similar_pairs(kind: FamilyKind, pairs: PairArrays, graphs: GraphArrays, *, threads: int = 1) -> Floats:
    """Votes of the training pairs of similar molecules (:mod:`moltc.neighbours`); nothing is trained.

    Args:
        kind: "binary" (log-odds of yes; pairs vote in both orders) or "class" (log-probabilities).
        pairs: n pairs with train and valid rows; the sharpness of votes is chosen on the latter.
        graphs: the M molecules.
        threads: torch threads.

    Returns:
        [n] predictions, of classes [n, C]; NaN outside valid and test.

    Raises:
        ValueError: numbers; no valid rows; graphs that do not fit.
    """
    if kind not in ("binary", "class"):
        raise ValueError(f"similar pairs vote on yes and no or on classes, not on kind {kind!r}")
    _check_fingerprints(pairs, graphs.fingerprint)
    train, valid = pairs.rows("train"), _valid_rows(pairs, "similar_pairs")
    molecules = Substructures.of(GraphBatch.from_arrays(graphs))
    first, second = (torch.from_numpy(side.astype(np.int64)) for side in (pairs.mol_a, pairs.partner))
    label = torch.from_numpy(pairs.label).long()
    objective = _OBJECTIVES[kind](pairs)

    votes = NeighbourVotes(objective.outputs, kind == "binary", SHARPNESS[0])
    votes.remember(molecules, first[train], second[train], label[train])

    def ask(sharpness: float, rows: NDArray[np.integer]) -> Tensor:
        votes.sharpness = sharpness
        output: Tensor = votes(molecules, first[rows], second[rows])
        return output

    with _torch_threads(threads):
        best = max(SHARPNESS, key=lambda sharpness: objective.gain(ask(sharpness, valid), valid))
        wanted = np.flatnonzero(np.isin(pairs.split, SCORED_SPLITS))
        found = objective.prediction(ask(best, wanted))
    prediction = np.full((len(pairs.label), *found.shape[1:]), np.nan)
    prediction[wanted] = found
    return prediction


def _check_fingerprints(pairs: PairArrays, fingerprints: NDArray[np.uint8]) -> None:
    if fingerprints.dtype != np.uint8 or fingerprints.ndim != 2:
        raise ValueError(
            "fingerprints must be packed bits, uint8 [M, 256],"
            f" got {fingerprints.dtype} {list(fingerprints.shape)}"
        )
    if len(fingerprints) < pairs.num_molecules:
        raise ValueError(
            f"pairs name molecule {pairs.num_molecules - 1},"
            f" but there are only {len(fingerprints)} fingerprints"
        )


class _Table:
    """Features of chosen rows, made when asked for: all pairs at once would be gigabytes."""

    def __init__(self, kind: FamilyKind, pairs: PairArrays, fingerprints: NDArray[np.uint8]) -> None:
        _check_fingerprints(pairs, fingerprints)
        self.kind, self.pairs, self.molecules = kind, pairs, pairs.molecules  # molecules [1 or 2, n]
        self.bits = np.unpackbits(fingerprints, axis=1)  # [M, 2048]

    def __call__(self, rows: NDArray[np.integer]) -> NDArray[np.uint8]:
        return pair_features(self.kind, *(self.bits[side[rows]] for side in self.molecules))

    @property
    def width(self) -> int:
        return len(self.molecules) * self.bits.shape[1]

    def fill(self, predict: Callable[[NDArray[np.uint8]], Floats]) -> Floats:
        """Predictions [n] or [n, C] on the scored splits, batch by batch; NaN elsewhere."""
        wanted = np.flatnonzero(np.isin(self.pairs.split, SCORED_SPLITS))
        starts = range(0, len(wanted), _PREDICT_BATCH)
        found = np.concatenate([predict(self(wanted[s : s + _PREDICT_BATCH])) for s in starts])
        prediction = np.full((len(self.pairs.label), *found.shape[1:]), np.nan)
        prediction[wanted] = found
        return prediction


def boosted_trees(
    kind: FamilyKind,
    pairs: PairArrays,
    fingerprints: NDArray[np.uint8],
    *,
    seed: int = 0,
    threads: int = 1,
    max_trees: int = 500,
) -> Floats:
    """Histogram gradient boosting: learning rate 0.1, 31 leaves, stopped after 30 rounds without gain on
    valid.

    Args:
        kind: "number" predicts the label, "binary" log-odds of yes.
        pairs: n pairs with train and valid rows.
        fingerprints: [M, 256] packed bits.
        seed: of the rows that bins are laid out on, a sample above 200,000 pairs; otherwise without effect.
        threads: OpenMP threads.
        max_trees: upper limit of boosting rounds.

    Returns:
        [n] predictions, NaN outside valid and test. Dense features take 32 kB a training or valid pair.

    Raises:
        ValueError: classes, for which every round would grow one tree each; no valid rows; fingerprints that
            do not fit.
    """
    if kind not in ("number", "binary"):
        raise ValueError(
            f"boosted trees answer a number or yes and no, not kind {kind!r}: take the perceptron"
        )
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    table = _Table(kind, pairs, fingerprints)
    train, valid = pairs.rows("train"), _valid_rows(pairs, "morgan_hgb")
    learner = HistGradientBoostingRegressor if kind == "number" else HistGradientBoostingClassifier
    model = learner(
        learning_rate=0.1,
        max_leaf_nodes=31,
        max_iter=max_trees,
        early_stopping=True,
        n_iter_no_change=30,
        random_state=seed,
    )
    with threadpool_limits(threads):
        model.fit(table(train), pairs.label[train], X_val=table(valid), y_val=pairs.label[valid])
        return table.fill(model.predict if kind == "number" else model.decision_function)


@dataclass(frozen=True)
class PerceptronSettings:
    """Training length of :func:`perceptron`; everything else about it is fixed."""

    epochs: int
    batch_size: int

    @classmethod
    def for_size(cls, train_pairs: int, kind: FamilyKind = "number") -> PerceptronSettings:
        """Fewer passes over more pairs: 40 below 2,000, 30 below 10,000, then 12, and 10 from 100,000.

        Classes take 10 in batches of 1,024 from 10,000 pairs.
        """
        if train_pairs < 2_000:
            return cls(epochs=40, batch_size=64)
        if train_pairs < 10_000:
            return cls(epochs=30, batch_size=256)
        if train_pairs < 100_000 and kind != "class":
            return cls(epochs=12, batch_size=256)
        return cls(epochs=10, batch_size=1024)


def build_perceptron(width: int, outputs: int = 1) -> nn.Sequential:
    """width - 512 - 256 - outputs with ReLU, dropout 0.2 and batch norm on the wide layer."""
    return nn.Sequential(
        nn.Linear(width, 512),
        nn.BatchNorm1d(512),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(512, 256),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(256, outputs),
    )


class _Objective(ABC):
    """What the outputs [B, O] of a perceptron are trained for."""

    outputs = 1

    def __init__(self, pairs: PairArrays) -> None:
        self.label = pairs.label

    @abstractmethod
    def loss(self, output: Tensor, rows: NDArray[np.integer]) -> Tensor:
        """Mean loss of the pairs ``rows`` [B]."""

    @abstractmethod
    def prediction(self, output: Tensor) -> Floats:
        """What the outputs say: [B], of classes [B, C]."""

    @abstractmethod
    def gain(self, output: Tensor, rows: NDArray[np.integer]) -> float:
        """How good the outputs are on valid pairs ``rows``; higher is better."""


class _Numbers(_Objective):
    """Squared error of labels standardised on train."""

    def __init__(self, pairs: PairArrays) -> None:
        super().__init__(pairs)
        train = pairs.label[pairs.rows("train")]
        self.mean, self.scale = float(train.mean()), float(train.std()) or 1.0
        self.targets = torch.from_numpy((pairs.label - self.mean) / self.scale).float()  # [n]

    def loss(self, output: Tensor, rows: NDArray[np.integer]) -> Tensor:
        return nn.functional.mse_loss(output.squeeze(1), self.targets[rows])

    def prediction(self, output: Tensor) -> Floats:
        return output.squeeze(1).double().numpy() * self.scale + self.mean

    def gain(self, output: Tensor, rows: NDArray[np.integer]) -> float:
        return -float(self.loss(output, rows))


class _Decisions(_Objective):
    """Logistic loss; the output is the log-odds of yes, and AUC-ROC the gain."""

    def loss(self, output: Tensor, rows: NDArray[np.integer]) -> Tensor:
        targets = torch.from_numpy(self.label[rows]).float()
        return nn.functional.binary_cross_entropy_with_logits(output.squeeze(1), targets)

    def prediction(self, output: Tensor) -> Floats:
        return output.squeeze(1).double().numpy()

    def gain(self, output: Tensor, rows: NDArray[np.integer]) -> float:
        return binary_metrics(self.label[rows], output.squeeze(1), resamples=0)["auc_roc"].value


class _Classes(_Objective):
    """Cross-entropy; the outputs are the log-probabilities of the classes, and accuracy the gain."""

    def __init__(self, pairs: PairArrays) -> None:
        super().__init__(pairs)
        self.outputs = pairs.num_classes
        self.targets = torch.from_numpy(pairs.label).long()  # [n]

    def loss(self, output: Tensor, rows: NDArray[np.integer]) -> Tensor:
        return nn.functional.cross_entropy(output, self.targets[rows])

    def prediction(self, output: Tensor) -> Floats:
        return output.double().log_softmax(dim=1).numpy()

    def gain(self, output: Tensor, rows: NDArray[np.integer]) -> float:
        return float((output.argmax(dim=1) == self.targets[rows]).double().mean())


_OBJECTIVES: dict[FamilyKind, type[_Objective]] = {
    "number": _Numbers,
    "binary": _Decisions,
    "class": _Classes,
}


def perceptron(
    kind: FamilyKind,
    pairs: PairArrays,
    fingerprints: NDArray[np.uint8],
    *,
    seed: int = 0,
    threads: int = 1,
    settings: PerceptronSettings | None = None,
) -> Floats:
    """A perceptron under AdamW (weight decay 0.01) with a one-cycle schedule to 3e-3; the best valid epoch
    predicts.

    Args:
        kind: "number" (mean squared error on standardised labels), "binary" (logistic loss, log-odds out) or
            "class" (cross-entropy, log-probabilities out).
        pairs: n pairs with train and valid rows.
        fingerprints: [M, 256] packed bits.
        seed: of initialisation, batches and dropout; the global random state is left as it was.
        threads: torch threads; the result is deterministic for a given number.
        settings: epochs and batch size, by the number of training pairs when omitted.

    Returns:
        [n] predictions, of classes [n, C]; NaN outside valid and test.
    """
    table = _Table(kind, pairs, fingerprints)
    train, valid = pairs.rows("train"), _valid_rows(pairs, "morgan_mlp")
    if len(train) < 2:
        raise ValueError(
            "baseline 'morgan_mlp' needs at least two training pairs for its batch norm, got one"
        )
    settings = settings or PerceptronSettings.for_size(len(train), kind)
    objective = _OBJECTIVES[kind](pairs)

    def features(rows: NDArray[np.integer]) -> Tensor:
        return torch.from_numpy(table(rows)).float()

    with _torch_threads(threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_perceptron(table.width, objective.outputs)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
        batches = [len(part) for part in _batches(np.arange(len(train)), settings.batch_size)]
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=3e-3, total_steps=settings.epochs * len(batches)
        )

        @torch.no_grad()
        def predict(bits: NDArray[np.uint8]) -> Floats:
            model.eval()
            return objective.prediction(model(torch.from_numpy(bits).float()))

        @torch.no_grad()
        def valid_gain() -> float:
            model.eval()
            output = torch.cat([model(features(rows)) for rows in _batches(valid, _PREDICT_BATCH)])
            return objective.gain(output, valid)

        best_gain, best_state = -float("inf"), copy.deepcopy(model.state_dict())
        for _ in range(settings.epochs):
            model.train()
            for rows in _batches(train[torch.randperm(len(train)).numpy()], settings.batch_size):
                loss = objective.loss(model(features(rows)), rows)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            if not (gain := valid_gain()) <= best_gain:  # also where one valid class leaves the AUC undefined
                best_gain, best_state = gain, copy.deepcopy(model.state_dict())
        model.load_state_dict(best_state)
        return table.fill(predict)


def _batches(rows: NDArray[np.integer], size: int) -> list[NDArray[np.integer]]:
    """Parts of ``size`` consecutive rows; a last single row, too few for batch norm, joins its neighbour."""
    starts = list(range(0, len(rows), size))
    if len(starts) > 1 and len(rows) - starts[-1] == 1:
        starts.pop()
    return np.split(rows, starts[1:])


def _valid_rows(pairs: PairArrays, name: str) -> NDArray[np.intp]:
    rows = pairs.rows("valid")
    if not rows.size:
        raise ValueError(f"baseline {name!r} chooses its best round on the valid split, which has no rows")
    return rows


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
