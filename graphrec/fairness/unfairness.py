"""How far recommended lists are from what users have met before: GU, MGU and DGU of IFairLRS.

For each group of items, GU(G)@K is its share of the lists of length K minus its share of the target, which
is the users' own histories unless another is chosen; MGU@K is the mean of its absolute values over groups,
DGU@K its range (Jiang et al., WWW 2024, arXiv 2402.15215). Zero is perfect calibration.

Letters: B rows, G groups, K length of a list, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from graphrec.fairness.groups import ItemGroups
from graphrec.histories import Histories, Integers
from moltc.backbone.bootstrap import Statistic

Floats = NDArray[np.float64]
TargetKind = Literal["history", "history-once", "train", "catalogue", "uniform"]
TARGETS: tuple[str, ...] = get_args(TargetKind)


def shares(counts: Floats) -> Floats:
    """Counts as proportions over groups, the last axis; NaN where nothing was counted."""
    total = counts.sum(axis=-1, keepdims=True)
    return np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)


def mean_gap(gaps: Floats) -> Floats:
    """MGU of gaps ``[..., G]``: the mean of their absolute values, ``[...]``."""
    return np.asarray(np.abs(gaps).mean(axis=-1))


def gap_range(gaps: Floats) -> Floats:
    """DGU of gaps ``[..., G]``: largest minus smallest, ``[...]``."""
    return np.asarray(gaps.max(axis=-1) - gaps.min(axis=-1))


@dataclass(frozen=True)
class Target:
    """Shares that groups should have.

    Attributes:
        counts: of each row, ``[B, G]``, whose sum decides (and which resampling rows changes), or fixed ones,
            ``[1, G]``.
    """

    counts: Floats

    @property
    def shares(self) -> Floats:
        """``[G]``."""
        return shares(self.counts.sum(axis=0))

    @property
    def by_row(self) -> bool:
        """Whether it is counted row by row."""
        return len(self.counts) > 1


def history_target(groups: ItemGroups, histories: Histories) -> Target:
    """The groups' shares of the histories of the rows that are ranked, every interaction counted."""
    return _counted(groups.history_counts(histories), "the histories")


def chosen_target(
    kind: TargetKind | Mapping[str, float], groups: ItemGroups, histories: Histories, train: Histories
) -> Target:
    """The target of a name, or given shares.

    Args:
        kind: "history": shares of the ranked rows' histories, as the paper's code counts them;
            "history-once": each item once in a history; "train": of all training interactions; "catalogue":
            of the items; "uniform": alike for each group; or a share for each group by name, which sum to 1.

    Raises:
        ValueError: the name is not known, or given shares are not those of the groups.
    """
    if isinstance(kind, Mapping):
        return given_target(kind, groups)
    if kind == "history":
        return history_target(groups, histories)
    if kind == "history-once":
        once = histories.latest_of_each()
        lengths = np.bincount(histories.rows[once], minlength=len(histories))
        return history_target(groups, Histories.from_lengths(histories.items[once], lengths))
    if kind == "train":
        return _counted(groups.counts(train.items)[None], "the training part")
    if kind == "catalogue":
        return _counted(groups.counts(np.arange(groups.num_items))[None], "the catalogue")
    if kind == "uniform":
        return Target(np.ones((1, len(groups))))
    raise ValueError(f"target {kind!r} is not known; choose from {', '.join(TARGETS)}, or give shares")


def given_target(given: Mapping[str, float], groups: ItemGroups) -> Target:
    """A target from a share for each group by name.

    Raises:
        ValueError: a group has no share, a share no group, one is negative, or they do not sum to 1.
    """
    different = set(given).symmetric_difference(groups.names)
    if different:
        raise ValueError(
            f"shares must name each group once; {sorted(different)[0]!r} is not on both sides. "
            f"The groups are {', '.join(groups.names)}"
        )
    values = np.array([[given[name] for name in groups.names]], dtype=np.float64)
    if (values < 0).any() or abs(values.sum() - 1) > 1e-6:
        raise ValueError(f"shares must be at least 0 and sum to 1; they sum to {values.sum():g}")
    return Target(values)


def _counted(counts: Floats, what: str) -> Target:
    if not counts.sum():
        raise ValueError(f"no item of {what} is in a group: there is no share to compare with")
    return Target(counts)


@dataclass(frozen=True)
class Unfairness:
    """Shares of groups in lists, against a target.

    Attributes:
        ks: list lengths.
        target: share of each group that is aimed at, ``[G]``.
        shares: share of each group in the lists of each length, GP, ``[len(ks), G]``.
    """

    ks: tuple[int, ...]
    target: Floats
    shares: Floats

    @property
    def gaps(self) -> Floats:
        """GU: above zero is recommended too often, ``[len(ks), G]``."""
        return self.shares - self.target

    @property
    def mgu(self) -> Floats:
        """``[len(ks)]``."""
        return mean_gap(self.gaps)

    @property
    def dgu(self) -> Floats:
        """``[len(ks)]``."""
        return gap_range(self.gaps)

    def mgu_at(self, k: int) -> float:
        """MGU of one list length."""
        return float(self.mgu[self.ks.index(k)])


def unfairness(groups: ItemGroups, target: Target, lists: Integers, ks: Sequence[int]) -> Unfairness:
    """Unfairness of lists, all lengths from one pass.

    Args:
        groups: of items.
        target: shares that are aimed at.
        lists: item numbers, best first, ``[B, K]``; negative ones are blanks.
        ks: rising list lengths, none above K.
    """
    counts = groups.list_counts(lists, ks).sum(axis=0)
    return Unfairness(tuple(ks), target.shares, shares(counts))


def unfairness_statistic(groups: ItemGroups, target: Target, lists: Integers, ks: Sequence[int]) -> Statistic:
    """``MGU@k``, ``DGU@k`` and ``GU@k GROUP`` for :meth:`~moltc.backbone.bootstrap.Bootstrap.estimate`.

    Rows are resampled with their lists and, where the target is counted row by row, their histories.
    """
    listed = groups.list_counts(lists, ks).reshape(len(lists), -1)

    def statistic(weights: Floats) -> dict[str, Floats]:
        """Row weights ``[R, B]`` to one value for each resample ``[R]``."""
        aimed = weights @ target.counts if target.by_row else target.counts
        gaps = shares((weights @ listed).reshape(-1, len(ks), len(groups))) - shares(aimed)[:, None]
        found: dict[str, Floats] = {}
        for place, k in enumerate(ks):
            at_k = gaps[:, place]
            found |= {f"MGU@{k}": mean_gap(at_k), f"DGU@{k}": gap_range(at_k)}
            found |= {f"GU@{k} {name}": at_k[:, group] for group, name in enumerate(groups.names)}
        return found

    return statistic
