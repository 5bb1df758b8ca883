"""Naive baselines that every result table shows beside the model.

They ask how far a split can be solved without reasoning: by a constant, by knowing which molecules occur in a
pair (effects, degrees, types), or by fingerprints. A model that does not beat them has learnt little more
than identities. Of single molecules only the constant and the fingerprints can be asked.

Shapes: n pairs, M distinct molecules, C classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.graphs import GraphArrays
from moltc.bootstrap import Bootstrap, Floats, Metric
from moltc.class_metrics import class_metrics, log_softmax
from moltc.family import FamilyKind
from moltc.metrics import binary_metrics, regression_metrics

SPLITS = ("train", "valid", "test", "none")
SCORED_SPLITS = ("valid", "test")


@dataclass(frozen=True)
class PairArrays:
    """Pairs as plain columns.

    Args:
        mol_a, mol_b: [n] row numbers of the molecules in the molecule table; for solutions ``mol_b`` is the
            solvent. ``mol_b`` is None where rows name one molecule.
        label: [n] a number, 0 / 1, or the number of a class.
        split: [n] "train", "valid", "test" or "none".
    """

    mol_a: NDArray[np.integer]
    mol_b: NDArray[np.integer] | None
    label: Floats
    split: NDArray[np.str_]

    def __post_init__(self) -> None:
        n = len(self.label)
        for field in fields(self):
            column = getattr(self, field.name)
            shape = np.shape(column)
            if column is not None and shape != (n,):
                raise ValueError(f"{field.name} has shape {list(shape)}, but there are {n} labels")
        if (bad := np.flatnonzero(~np.isfinite(self.label))).size:
            raise ValueError(f"label of row {bad[0]} is {self.label[bad[0]]}: labels must be finite")
        if (bad := np.flatnonzero((self.molecules < 0).any(axis=0))).size:
            raise ValueError(f"row {bad[0]} names a negative molecule number")
        if (bad := np.flatnonzero(~np.isin(self.split, SPLITS))).size:
            raise ValueError(
                f"split of row {bad[0]} is {str(self.split[bad[0]])!r}, not one of {', '.join(SPLITS)}"
            )
        if not (self.split == "train").any():
            raise ValueError("baselines learn from the train split, which has no rows")

    @property
    def molecules(self) -> NDArray[np.integer]:
        """Row numbers of the molecules, [2, n], or [1, n] where rows name one."""
        return np.stack([self.mol_a] if self.mol_b is None else [self.mol_a, self.mol_b])

    @property
    def partner(self) -> NDArray[np.integer]:
        """``mol_b``; a ValueError where rows name one molecule."""
        if self.mol_b is None:
            raise ValueError("this baseline looks at two molecules, but the rows name one")
        return self.mol_b

    def rows(self, split: str) -> NDArray[np.intp]:
        """Row numbers of a split."""
        return np.flatnonzero(self.split == split)

    @property
    def num_molecules(self) -> int:
        """One more than the largest molecule number."""
        return int(self.molecules.max()) + 1

    @property
    def num_classes(self) -> int:
        """One more than the largest label, where labels are class numbers."""
        return int(self.label.max()) + 1


class Baseline(NamedTuple):
    """What a baseline predicts and how well.

    ``prediction`` [n] is a number, log-odds of yes, a score that only ranks, or the class answered; NaN
    outside the valid and test splits. Yes is answered above ``threshold``. ``metrics`` maps each scored split
    to its metrics.
    """

    title: str
    prediction: Floats
    threshold: float
    metrics: dict[str, dict[str, Metric]]
    seconds: float


# --- predictors without chemistry: pairs -> one prediction per pair [n], of classes [n, C] ------------------


def train_mean(pairs: PairArrays) -> Floats:
    """The mean label of the training pairs."""
    return np.full(len(pairs.label), pairs.label[pairs.rows("train")].mean())


def train_log_odds(pairs: PairArrays) -> Floats:
    """The log-odds of yes in training, half a pair added to each side so that they stay finite."""
    labels = pairs.label[pairs.rows("train")]
    return np.full(len(pairs.label), np.log((labels.sum() + 0.5) / ((1 - labels).sum() + 0.5)))


def solvent_mean(pairs: PairArrays) -> Floats:
    """The mean training label of the solvent; the overall mean for a solvent not seen in training."""
    train = pairs.rows("train")
    solvent, label = pairs.partner[train], pairs.label[train]
    count = np.bincount(solvent, minlength=pairs.num_molecules)
    total = np.bincount(solvent, label, minlength=pairs.num_molecules)
    return np.where(count > 0, total / np.maximum(count, 1), label.mean())[pairs.partner]


def additive_effects(pairs: PairArrays, *, shrinkage: float = 0.3, sweeps: int = 50) -> Floats:
    """Overall mean + effect of ``mol_b`` + effect of ``mol_a``, each 0 for a molecule not seen in its role.

    Effects are fitted in turn to what the other leaves over (backfitting, solvents first), each shrunk by
    ``shrinkage`` rows of residual zero. The number of sweeps is part of the definition: where some effects
    are hardly determined, further sweeps still move them.
    """
    train = pairs.rows("train")
    a, b, label = pairs.mol_a[train], pairs.partner[train], pairs.label[train]
    mean = label.mean()

    def effect(molecules: NDArray[np.integer], residual: Floats) -> Floats:
        count = np.bincount(molecules, minlength=pairs.num_molecules)
        return np.bincount(molecules, residual, minlength=pairs.num_molecules) / (count + shrinkage)

    effect_a = np.zeros(pairs.num_molecules)
    effect_b = np.zeros(pairs.num_molecules)
    for _ in range(sweeps):
        effect_b = effect(b, label - mean - effect_a[a])
        effect_a = effect(a, label - mean - effect_b[b])
    return mean + effect_a[pairs.mol_a] + effect_b[pairs.partner]


def degree_product(pairs: PairArrays) -> Floats:
    """Product of the two molecules' numbers of positive training pairs; it only ranks."""
    positive, _ = _degrees(pairs)
    return positive[pairs.mol_a] * positive[pairs.partner]


def degree_ratio(pairs: PairArrays) -> Floats:
    """Sum over both molecules of log((positive + 1) / (negative + 1)) training pairs; it only ranks."""
    positive, negative = _degrees(pairs)
    ratio = np.log((positive + 1) / (negative + 1))
    return ratio[pairs.mol_a] + ratio[pairs.partner]


def _degrees(pairs: PairArrays) -> tuple[Floats, Floats]:
    """Positive and negative training pairs of each molecule, [M] each."""
    train = pairs.rows("train")
    ends = np.concatenate([pairs.mol_a[train], pairs.partner[train]])
    label = np.tile(pairs.label[train], 2)
    size = pairs.num_molecules
    positive = np.bincount(ends, label, minlength=size).astype(np.float64)
    return positive, np.bincount(ends, minlength=size) - positive


def type_frequencies(pairs: PairArrays) -> Floats:
    """Log share of each class among the training pairs [n, C], half a pair added to each class."""
    train = pairs.label[pairs.rows("train")].astype(np.int64)
    shares = np.log(np.bincount(train, minlength=pairs.num_classes) + 0.5)
    return np.broadcast_to(log_softmax(shares[None]), (len(pairs.label), len(shares)))


def type_frequencies_of_drugs(pairs: PairArrays, *, smoothing: float = 1.0) -> Floats:
    """Naive Bayes over the classes that each molecule has in training in its own slot: [n, C] log p.

    p(class | pair) ~ p(class | mol_a first) p(class | mol_b second) / p(class), each conditional share
    smoothed by ``smoothing`` pairs that are spread like all training pairs, so that a molecule not seen in
    its slot says nothing.
    """
    train, size = pairs.rows("train"), (pairs.num_molecules, pairs.num_classes)
    label = pairs.label[train].astype(np.int64)
    overall = np.exp(type_frequencies(pairs)[0])

    def log_shares(molecules: NDArray[np.integer]) -> Floats:
        cells = np.ravel_multi_index((molecules[train], label), size)
        count = np.bincount(cells, minlength=size[0] * size[1]).reshape(size)
        return np.log((count + smoothing * overall) / (count.sum(axis=1, keepdims=True) + smoothing))

    first, second = log_shares(pairs.mol_a), log_shares(pairs.partner)
    return log_softmax(first[pairs.mol_a] + second[pairs.partner] - np.log(overall))


# --- registry ----------------------------------------------------------------------------------------------


class _Entry(NamedTuple):
    title: str
    predict: Callable[[PairArrays], Floats]
    ranks_only: bool = False
    of_pairs: bool = True  # it looks at both molecules


_WITHOUT_CHEMISTRY: Mapping[FamilyKind, Mapping[str, _Entry]] = {
    "number": {
        "constant": _Entry("mean of train", train_mean, of_pairs=False),
        "solvent_mean": _Entry("per-solvent mean", solvent_mean),
        "additive": _Entry("additive effects", additive_effects),
    },
    "binary": {
        "constant": _Entry("share of yes in train", train_log_odds, of_pairs=False),
        "degree": _Entry("degree", degree_product, ranks_only=True),
        "degree_ratio": _Entry("degree ratio", degree_ratio, ranks_only=True),
    },
    "class": {
        "constant": _Entry("most frequent type", type_frequencies, of_pairs=False),
        "drug_types": _Entry("type frequencies of the two drugs", type_frequencies_of_drugs),
    },
}
_FROM_FINGERPRINTS: Mapping[str, str] = {
    "similar_pairs": "votes of similar pairs",
    "morgan_hgb": "Morgan + HGB",
    "morgan_mlp": "Morgan + MLP",
}


def baseline_names(
    kind: FamilyKind, *, fingerprints: bool = False, slow: bool = False, single: bool = False
) -> tuple[str, ...]:
    """Baselines of a family kind: the instant ones, with ``fingerprints`` also the votes of similar pairs
    (seconds to minutes), with ``slow`` also those that are trained on fingerprints (minutes).

    ``single`` leaves those out that look at two molecules; similar pairs vote on yes/no and classes only.
    Boosted trees are left out for classes: every round would grow one tree for each of them.
    """
    if kind not in _WITHOUT_CHEMISTRY:
        raise ValueError(f"there are baselines for {', '.join(_WITHOUT_CHEMISTRY)}, not for {kind!r}")
    votes = ["similar_pairs"] if kind != "number" and not single else []
    trained = ["morgan_mlp"] if kind == "class" else ["morgan_hgb", "morgan_mlp"]
    instant = [name for name, entry in _WITHOUT_CHEMISTRY[kind].items() if not (single and entry.of_pairs)]
    return (*instant, *(votes if fingerprints or slow else ()), *(trained if slow else ()))


def naive_baselines(
    kind: FamilyKind,
    pairs: PairArrays,
    graphs: GraphArrays | None = None,
    *,
    include: Iterable[str] | None = None,
    seed: int = 0,
    threads: int = 1,
    resamples: int = 1000,
    level: float = 0.95,
    announce: Callable[[str], None] | None = None,
) -> dict[str, Baseline]:
    """Fit the named baselines on the train split and score them on valid and test.

    Args:
        kind: "number", "binary" or "class".
        pairs: the pairs of one data set and split.
        graphs: the M molecules with their Morgan bits (radius 2, 2,048 bits); needed by "similar_pairs",
            "morgan_hgb" and "morgan_mlp" only.
        include: names out of :func:`baseline_names`; when omitted the instant ones, with graphs and
            valid rows also "similar_pairs".
        seed: of training and of the bootstrap.
        threads: CPU threads that the trained baselines may use.
        resamples, level: of the bootstrap intervals.
        announce: told the title of each baseline before it is fitted; those on fingerprints take seconds to
            minutes.

    Raises:
        ValueError: an unknown name, missing graphs, labels other than 0 and 1 of a binary family or
            0, 1, 2, ... of a class family, or no valid rows where a threshold or the number of trees or
            epochs is chosen on them.
    """
    single = pairs.mol_b is None
    known = baseline_names(kind, slow=True, single=single)
    there = graphs is not None and bool(pairs.rows("valid").size)
    names = tuple(baseline_names(kind, fingerprints=there, single=single) if include is None else include)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"unknown baseline {unknown[0]!r} for kind {kind!r}: choose from {', '.join(known)}")
    _check_labels(kind, pairs.label)
    bootstrap = Bootstrap(seed, resamples, level)
    results = {}
    for name in names:
        started = time.perf_counter()
        entry = _WITHOUT_CHEMISTRY[kind].get(name)
        title = entry.title if entry else _FROM_FINGERPRINTS[name]
        if announce:
            announce(title)
        if entry:
            prediction = entry.predict(pairs)
        else:
            prediction = _fingerprint_prediction(name, kind, pairs, graphs, seed=seed, threads=threads)
        ranks_only = entry is not None and entry.ranks_only
        threshold = _valid_threshold(name, pairs, prediction) if ranks_only else 0.0
        seconds = time.perf_counter() - started
        metrics = {
            split: _score(kind, pairs.label[rows], prediction[rows], threshold, ranks_only, bootstrap)
            for split in SCORED_SPLITS
            if (rows := pairs.rows(split)).size
        }
        answer = prediction.argmax(axis=1) if kind == "class" else prediction
        answer = np.where(np.isin(pairs.split, SCORED_SPLITS), answer, np.nan)
        results[name] = Baseline(title, answer, threshold, metrics, seconds)
    return results


def _check_labels(kind: FamilyKind, label: Floats) -> None:
    if kind == "number":
        return
    if kind == "binary":
        fine, wanted = np.isin(label, (0, 1)), "a binary family needs 0 or 1"
    else:
        fine, wanted = (label >= 0) & (label == np.floor(label)), "a class family needs 0, 1, 2, ..."
    if (bad := np.flatnonzero(~fine)).size:
        raise ValueError(f"label of row {bad[0]} is {label[bad[0]]:g}: {wanted}")


def _score(
    kind: FamilyKind,
    truth: Floats,
    prediction: Floats,
    threshold: float,
    ranks_only: bool,
    bootstrap: Bootstrap,
) -> dict[str, Metric]:
    seed, resamples, level = bootstrap.seed, bootstrap.resamples, bootstrap.level
    if kind == "number":
        return regression_metrics(truth, prediction, seed=seed, resamples=resamples, level=level)
    if kind == "class":
        return class_metrics(truth, prediction, seed=seed, resamples=resamples, level=level)
    if ranks_only:
        # arcsinh keeps the order and takes degree products off 0 and 1, the values of hard decisions
        prediction, threshold = np.arcsinh(prediction), float(np.arcsinh(threshold))
    return binary_metrics(
        truth,
        prediction,
        threshold=threshold,
        probabilities=not ranks_only,
        seed=seed,
        resamples=resamples,
        level=level,
    )


def best_threshold(scores: Floats, labels: Floats) -> float:
    """The t that makes "yes where score > t" most accurate, among the 0, 0.5, ..., 100 % score quantiles."""
    grid = np.quantile(scores, np.linspace(0, 1, 201))
    positive, negative = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    right = np.searchsorted(negative, grid, side="right") - np.searchsorted(positive, grid, side="right")
    return float(grid[np.argmax(right)])


def _valid_threshold(name: str, pairs: PairArrays, scores: Floats) -> float:
    rows = pairs.rows("valid")
    if not rows.size:
        raise ValueError(f"baseline {name!r} chooses its threshold on the valid split, which has no rows")
    return best_threshold(scores[rows], pairs.label[rows])


def _fingerprint_prediction(
    name: str,
    kind: FamilyKind,
    pairs: PairArrays,
    graphs: GraphArrays | None,
    *,
    seed: int,
    threads: int,
) -> Floats:
    if graphs is None:
        raise ValueError(f"baseline {name!r} needs molecules: pass their graphs")
    from moltc.fingerprint_baselines import boosted_trees, perceptron, similar_pairs

    if name == "similar_pairs":
        return similar_pairs(kind, pairs, graphs, threads=threads)
    fit = boosted_trees if name == "morgan_hgb" else perceptron
    return fit(kind, pairs, graphs.fingerprint, seed=seed, threads=threads)
