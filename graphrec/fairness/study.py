"""How unfair any recommender is on built data, and what reranking and exact calibration make of it.

The punishment and its coefficient are found on the validation rows; the test rows are ranked with them.
Calibration needs the histories of the rows it serves and nothing that comes after them.

Letters: B rows, G groups, K length of a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from graphrec.data import RecommendationData, Rows
from graphrec.fairness.calibration import Calibration, calibrate
from graphrec.fairness.decoding import WritesAnswers, choose_answers
from graphrec.fairness.groups import Counting, ItemGroups, check_cutoffs, groups_by_name
from graphrec.fairness.lists import Lists, answer_lists, listed, pooled_costs, reranked_lists
from graphrec.fairness.punishment import group_punishment, item_punishment
from graphrec.fairness.reranking import ALPHAS, Form, TradeOff, choose_alpha
from graphrec.fairness.unfairness import (
    Target,
    TargetKind,
    Unfairness,
    chosen_target,
    unfairness,
    unfairness_statistic,
)
from graphrec.histories import Integers
from graphrec.recommender import Recommender
from graphrec.results import check_catalogue
from moltc.backbone.bootstrap import Bootstrap, Floats, Metric, Statistic, joint_statistic, mean_statistic


@dataclass(frozen=True)
class FairnessOptions:
    """What is studied.

    Attributes:
        ks: rising list lengths; they also weigh the punishment.
        counting: "full": an item adds 1 to each of its groups; "fractional": it shares 1 among them.
        target: see :func:`~graphrec.fairness.unfairness.chosen_target`.
        alphas: coefficients of the punishment that are tried on validation; 0 is among them.
        form: how the punishment is added.
        fairness_ks: list lengths whose mean MGU chooses alpha.
        accuracy_k: list length whose NDCG must be kept.
        keep: share of the NDCG that must be left.
        calibrated_k: length of the calibrated lists; None leaves calibration out.
        tolerance: largest gap of a calibrated share.
        width: cheapest items of each row that calibration chooses from, beside those of each group.
        decoding: of models that write titles: also hold the answers to groups while they are written.
        bootstrap: how intervals are drawn.
    """

    ks: tuple[int, ...] = (1, 5, 10, 20)
    counting: Counting = "full"
    target: TargetKind | Mapping[str, float] = "history"
    alphas: tuple[float, ...] = ALPHAS
    form: Form = "convex_minmax"
    fairness_ks: tuple[int, ...] = (5, 10, 20)
    accuracy_k: int = 5
    keep: float = 0.97
    calibrated_k: int | None = 10
    tolerance: float = 0.005
    width: int = 200
    decoding: bool = True
    bootstrap: Bootstrap = field(default_factory=Bootstrap)

    def __post_init__(self) -> None:
        if 0 not in self.alphas:
            raise ValueError(f"alphas {list(self.alphas)} lack 0, which accuracy is compared with; add it")
        if not 0 < self.keep <= 1:
            raise ValueError(
                f"keep={self.keep} is no share of an accuracy; give a number above 0 and up to 1"
            )
        missing = {*self.fairness_ks, self.accuracy_k}.difference(self.ks)
        if missing or not self.fairness_ks:
            raise ValueError(
                f"alpha is chosen by list lengths {sorted(missing)} that are not among {list(self.ks)}: "
                "add them, or choose by others"
            )
        if self.calibrated_k is not None and self.calibrated_k not in self.ks:
            raise ValueError(
                f"calibrated_k={self.calibrated_k} is not among {list(self.ks)}: add it, or choose another"
            )


@dataclass(frozen=True)
class Arm:
    """One way of making lists, on the test rows.

    Attributes:
        unfairness: shares and gaps; of a calibrated arm up to its own list length.
        metrics: MGU, DGU, GU of each group, HR and NDCG, with intervals.
        changes: the same minus those of the model's own lists, resampled together.
    """

    unfairness: Unfairness
    metrics: dict[str, Metric]
    changes: dict[str, Metric]


@dataclass(frozen=True)
class GroupStudy:
    """One system of groups.

    Attributes:
        groups: of items.
        arms: by name: ``model``, ``reranked``, perhaps ``calibrated`` and ``decoded``.
        curve: of every alpha, on validation.
        chosen: the alpha that the test rows are reranked with, and its point of the curve.
        punishment: of each group, ``[G]``.
        calibration: how close it came, None where it was left out.
        decoding: the same of the answers that decoding was held to.
    """

    groups: ItemGroups
    arms: dict[str, Arm]
    curve: list[TradeOff]
    chosen: TradeOff
    punishment: NDArray[np.float64]
    calibration: Calibration | None
    decoding: Calibration | None = None


def study(
    model: Recommender,
    data: RecommendationData,
    group_names: tuple[str, ...] = ("popularity",),
    options: FairnessOptions | None = None,
) -> dict[str, GroupStudy]:
    """Study each system of groups by itself.

    Args:
        model: any recommender that was fitted on these data.
        data: with validation and test rows.
        group_names: ``popularity``, ``popularity:10``, or columns of the catalogue such as ``genres``.
        options: default: those of the paper, with groups' shares of the rows' histories as target.

    Raises:
        ValueError: the data have no such groups or no rows, or the model knows another catalogue.
    """
    options = options or FairnessOptions()
    check_catalogue(model, data)
    check_cutoffs(options.ks, len(data.catalogue))
    for split in ("valid", "test"):
        if not len(data.rows(split)):
            raise ValueError(f"{data.folder} has no {split} rows: fairness is studied on both splits")
    return {
        name: _Study(
            model, data, groups_by_name(name, data.catalogue, data.train, options.counting), options
        ).result()
        for name in group_names
    }


class _Study:
    """One model, one system of groups."""

    def __init__(
        self, model: Recommender, data: RecommendationData, groups: ItemGroups, options: FairnessOptions
    ) -> None:
        self.model, self.data, self.groups, self.options = model, data, groups, options

    def result(self) -> GroupStudy:
        punishment = self._punishment()
        of_items = item_punishment(self.groups, punishment)
        valid, test = self.data.valid, self.data.test
        swept = self._lists(valid, of_items, self.options.alphas)
        aimed = self._target(valid)
        curve = [
            self._point(alpha, lists, aimed) for alpha, lists in zip(self.options.alphas, swept, strict=True)
        ]
        chosen = choose_alpha(
            curve,
            fairness=self.options.fairness_ks,
            accuracy=self.options.accuracy_k,
            keep=self.options.keep,
        )
        own, reranked = self._lists(test, of_items, (0.0, chosen.alpha))
        aimed = self._target(test)
        arms = {
            name: self._arm(lists, own, aimed) for name, lists in (("model", own), ("reranked", reranked))
        }
        calibration = self._calibrated(test, aimed)
        if calibration is not None:
            arms["calibrated"] = self._arm(listed(calibration.lists, test.targets), own, aimed)
        decoding = self._answers(test, aimed)
        if decoding is not None:
            arms["decoded"] = self._arm(self._lists_of(test, decoding.lists[:, 0]), own, aimed)
        return GroupStudy(self.groups, arms, curve, chosen, punishment, calibration, decoding)

    def _punishment(self) -> NDArray[np.float64]:
        """Of each group, from the model's own lists on validation."""
        plain = self._lists(self.data.valid, np.zeros(len(self.data.catalogue)), (0.0,))[0]
        found = unfairness(self.groups, self._target(self.data.valid), plain.items, self.options.ks)
        return group_punishment(found.gaps, self.options.ks)

    def _target(self, rows: Rows) -> Target:
        return chosen_target(self.options.target, self.groups, rows.histories, self.data.train)

    def _lists(self, rows: Rows, punishment: NDArray[np.float64], alphas: tuple[float, ...]) -> list[Lists]:
        return reranked_lists(
            self.model,
            rows,
            self.data.manifest,
            self.options.ks[-1],
            punishment=punishment,
            alphas=alphas,
            form=self.options.form,
        )

    def _point(self, alpha: float, lists: Lists, target: Target) -> TradeOff:
        ks = self.options.ks
        found = unfairness(self.groups, target, lists.items, ks)
        means = {name: float(column.mean()) for name, column in lists.accuracy(ks).items()}
        return TradeOff(
            alpha=alpha,
            mgu=dict(zip(ks, found.mgu.tolist(), strict=True)),
            dgu=dict(zip(ks, found.dgu.tolist(), strict=True)),
            ndcg={k: means[f"NDCG@{k}"] for k in ks},
            hr={k: means[f"HR@{k}"] for k in ks},
        )

    def _calibrated(self, rows: Rows, target: Target) -> Calibration | None:
        k = self.options.calibrated_k
        if k is None:
            return None
        items, costs = pooled_costs(
            self.model, rows, self.data.manifest, self.groups, k, width=self.options.width
        )
        return calibrate(costs, self.groups, target.shares, k, items=items, tolerance=self.options.tolerance)

    def _answers(self, rows: Rows, target: Target) -> Calibration | None:
        """The answer that each row is held to, of a model that writes answers."""
        if not self.options.decoding or not isinstance(self.model, WritesAnswers):
            return None
        items, logps = self.model.group_answers(
            rows.histories, self.groups, exclude_seen=self.data.manifest.filter_seen
        )
        return choose_answers(items, logps, self.groups, target.shares, self.options.tolerance)

    def _lists_of(self, rows: Rows, answers: Integers) -> Lists:
        assert isinstance(self.model, WritesAnswers)
        return answer_lists(self.model, rows, self.data.manifest, answers, self.options.ks[-1])

    def _arm(self, lists: Lists, own: Lists, target: Target) -> Arm:
        ks = [k for k in self.options.ks if k <= lists.items.shape[1]]
        statistic, base = (self._statistic(one, target, ks) for one in (lists, own))
        estimate, rows = self.options.bootstrap.estimate, len(lists.ranks)
        return Arm(
            unfairness(self.groups, target, lists.items, ks),
            estimate(statistic, rows),
            {} if lists is own else estimate(_difference(statistic, base), rows),
        )

    def _statistic(self, lists: Lists, target: Target, ks: list[int]) -> Statistic:
        fair = unfairness_statistic(self.groups, target, lists.items, ks)
        return joint_statistic([fair, mean_statistic(lists.accuracy(ks))])


def _difference(ours: Statistic, theirs: Statistic) -> Statistic:
    """One statistic minus another under the same weights."""

    def statistic(weights: Floats) -> dict[str, Floats]:
        base = theirs(weights)
        return {name: value - base[name] for name, value in ours(weights).items()}

    return statistic
