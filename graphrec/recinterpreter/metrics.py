"""How well a text recovers a history: how many titles, how few others, in the right order.

RecInterpreter (arXiv 2310.20487) counts the history's titles in the text. Precision, order and exactness are
ours: a model that lists popular titles at random recovers some too.

Letters: B rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from graphrec.llara.matching import plain_title
from graphrec.recinterpreter.mentions import Mentions, TitleIndex
from moltc.backbone.bootstrap import Bootstrap, Metric, Statistic

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Recovery:
    """One text against the history it should list.

    Attributes:
        recovered: distinct titles of the history that the text names.
        history: distinct titles of the history.
        named: mentions in the text, of titles or not.
        in_catalogue: those that are titles of the catalogue.
        in_history: those that are titles of the history.
        order: Kendall's tau between text and history over the recovered titles; NaN for fewer than two.
    """

    recovered: int
    history: int
    named: int
    in_catalogue: int
    in_history: int
    order: float


def recovery(found: Mentions, history: Sequence[str]) -> Recovery:
    """Compare what a text names with the titles of a history, oldest first."""
    place = {
        plain_title(title): n for n, title in enumerate(history)
    }  # a repeated title counts as its latest
    said = dict.fromkeys(title for title in found.titles if title in place)
    return Recovery(
        recovered=len(said),
        history=len(place),
        named=len(found.titles) + len(found.others),
        in_catalogue=len(found.titles),
        in_history=sum(title in place for title in found.titles),
        order=kendall_tau([place[title] for title in said]),
    )


def kendall_tau(places: Sequence[int]) -> float:
    """Kendall's tau between a sequence of distinct numbers and rising order; NaN for fewer than two."""
    values = np.asarray(places)
    first, second = np.triu_indices(len(values), k=1)
    return float(np.sign(values[second] - values[first]).mean()) if len(first) else float("nan")


def histogram(rows: Iterable[Recovery], length: int) -> list[int]:
    """How many texts recovered 0, 1, ... ``length`` titles."""
    return np.bincount([row.recovered for row in rows], minlength=length + 1).tolist()


@dataclass(frozen=True)
class RecoveryColumns:
    """B texts, as columns of :class:`Recovery`."""

    recovered: Floats
    history: Floats
    named: Floats
    in_catalogue: Floats
    in_history: Floats
    order: Floats

    @classmethod
    def of(cls, rows: Sequence[Recovery]) -> RecoveryColumns:
        """The columns of some rows."""
        return cls(
            **{
                field.name: np.array([getattr(row, field.name) for row in rows], dtype=np.float64)
                for field in fields(cls)
            }
        )

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """Metrics of resampled rows, see :class:`moltc.backbone.bootstrap.Bootstrap`; weights are ``[R, B]``.

        Precision is a share of all mentions of the resample; it is NaN where nothing is named.
        """
        ordered = np.isfinite(self.order)
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                "recovered": weights @ self.recovered / weights.sum(1),
                "recall": weights @ self.recovered / (weights @ self.history),
                "precision": weights @ self.in_history / (weights @ self.named),
                "in_catalogue": weights @ self.in_catalogue / (weights @ self.named),
                "order": weights[:, ordered] @ self.order[ordered] / weights[:, ordered].sum(1),
            }


def recovery_columns(
    texts: Sequence[str], histories: Sequence[Sequence[str]], index: TitleIndex
) -> tuple[RecoveryColumns, list[int]]:
    """The columns of some texts and the histogram of recovered titles.

    Args:
        texts: bodies of answers.
        histories: titles that each should list, oldest first.
    """
    rows = [recovery(index.mentions(text), titles) for text, titles in zip(texts, histories, strict=True)]
    return RecoveryColumns.of(rows), histogram(rows, max(row.history for row in rows))


def with_gains(arms: Mapping[str, Statistic], base: str) -> Statistic:
    """All arms under the same resamples, and what ``base`` is above each of the others.

    Names are "arm/metric", and "base - arm/metric" of differences.
    """

    def statistic(weights: Floats) -> dict[str, Floats]:
        found = {arm: one(weights) for arm, one in arms.items()}
        named = {f"{arm}/{name}": value for arm, values in found.items() for name, value in values.items()}
        for arm, values in found.items():
            if arm != base:
                named |= {
                    f"{base} - {arm}/{name}": found[base][name] - value
                    for name, value in values.items()
                    if name in found[base]
                }
        return named

    return statistic


def estimates(
    arms: Mapping[str, Statistic], base: str, count: int, bootstrap: Bootstrap
) -> dict[str, dict[str, Metric]]:
    """Metrics of each arm, and paired gains of ``base``, with intervals over rows: arm -> metric."""
    nested: dict[str, dict[str, Metric]] = {}
    for name, metric in bootstrap.estimate(with_gains(arms, base), count).items():
        arm, _, short = name.rpartition("/")
        nested.setdefault(arm, {})[short] = metric
    return nested
