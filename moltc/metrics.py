"""Figures of merit for answered pairs, each with a bootstrap interval over pairs.

Invalid answers are never lost: a policy says what stands in for them, and their rate is always among the
results.

Shapes: n pairs, R resamples handled at once, G groups of tied scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moltc.bootstrap import Bootstrap, Floats, Statistic, joint_statistic, mean_statistic
from moltc.bootstrap import Metric as Metric

Bools = NDArray[np.bool_]
OnInvalid = Literal["penalise", "mean", "drop"]

ECE_BINS = 10


class MetricInfo(NamedTuple):
    """How a metric is shown: title, whether higher is better, whether it has the unit of the label."""

    title: str
    higher_is_better: bool
    has_unit: bool = False


METRICS: Mapping[str, MetricInfo] = {
    "mae": MetricInfo("MAE", False, True),
    "rmse": MetricInfo("RMSE", False, True),
    "r2": MetricInfo("R²", True),
    "pearson": MetricInfo("Pearson r", True),
    "interval_hit": MetricInfo("interval hit rate", True),
    "self_consistency": MetricInfo("self-consistency", True),
    "auc_roc": MetricInfo("AUC-ROC", True),
    "average_precision": MetricInfo("average precision", True),
    "accuracy": MetricInfo("accuracy", True),
    "macro_f1": MetricInfo("macro-F1", True),
    "kappa": MetricInfo("Cohen's κ", True),
    "top5_accuracy": MetricInfo("top-5 accuracy", True),
    "nll": MetricInfo("NLL", False),
    "brier": MetricInfo("Brier score", False),
    "ece": MetricInfo("ECE", False),
    "bleu2": MetricInfo("BLEU-2", True),
    "bleu4": MetricInfo("BLEU-4", True),
    "token_f1": MetricInfo("token F1", True),
    "exact": MetricInfo("exact texts", True),
    "order_disagreement": MetricInfo("order disagreement", False),
    "invalid_rate": MetricInfo("invalid answers", False),
    "dropped": MetricInfo("dropped pairs", False),
}


# --- numbers ----------------------------------------------------------------------------------------------


def regression_metrics(
    truth: ArrayLike,
    prediction: ArrayLike,
    *,
    valid: ArrayLike | None = None,
    intervals: ArrayLike | None = None,
    on_invalid: OnInvalid = "mean",
    train_mean: float | None = None,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> dict[str, Metric]:
    """MAE, RMSE, R², Pearson r, invalid rate; with ``intervals`` their hit rate and the self-consistency.

    Args:
        truth: [n] measured values.
        prediction: [n] answered values; ignored where not ``valid``.
        valid: [n] which answers could be read as a number; all when omitted.
        intervals: [n, 2] answered half-open intervals [low, high), NaN where none was answered. The hit
            rate asks whether the truth lies inside, self-consistency whether the answered value does; an
            invalid answer does neither.
        on_invalid: "mean" puts the training mean in place of an invalid answer; "penalise" charges it the
            largest error of any valid answer, or that of the training mean where it is larger; "drop" leaves
            it out and adds ``dropped``, the number left out.
        train_mean: mean label in training, needed for "mean" and "penalise" when any answer is invalid.
        seed, resamples, level: of the bootstrap, see :class:`~moltc.bootstrap.Bootstrap`.

    Raises:
        ValueError: lengths differ, or a value that must be finite is not; the message names the row.
    """
    y = _finite_vector("truth", truth)
    p, is_valid = _answers("prediction", prediction, valid, len(y))
    bounds = None if intervals is None else _bounds(intervals, len(y))
    kept = _kept(is_valid, on_invalid)
    p = _substitute_numbers(y, p, is_valid, on_invalid, train_mean)
    parts = [_regression_statistic(y[kept], p[kept])]
    if bounds is not None:
        inside = {"interval_hit": _inside(y, bounds), "self_consistency": _inside(p, bounds)}
        parts.append(mean_statistic({k: (v & is_valid)[kept].astype(np.float64) for k, v in inside.items()}))
    bootstrap = Bootstrap(seed, resamples, level)
    result = bootstrap.estimate(joint_statistic(parts), int(kept.sum()))
    return result | _invalid_metrics(is_valid, on_invalid, bootstrap)


def _regression_statistic(y: Floats, p: Floats) -> Statistic:
    error = p - y
    yc, pc = _centred(y), _centred(p)
    names = ["abs", "square", "y", "yy", "p", "pp", "yp"]
    table = np.stack([np.abs(error), error**2, yc, yc**2, pc, pc**2, yc * pc], axis=1)  # [n, 7]
    tiny_y, tiny_p = 1e-12 * float(yc @ yc), 1e-12 * float(pc @ pc)

    def statistic(weights: Floats) -> dict[str, Floats]:
        total = weights.sum(axis=1)
        s = dict(zip(names, (weights @ table).T, strict=True))
        spread_y = s["yy"] - s["y"] ** 2 / total
        spread_p = s["pp"] - s["p"] ** 2 / total
        spread_y = np.where(spread_y > tiny_y, spread_y, np.nan)  # one distinct value: R² and r are undefined
        spread_p = np.where(spread_p > tiny_p, spread_p, np.nan)
        return {
            "mae": s["abs"] / total,
            "rmse": np.sqrt(s["square"] / total),
            "r2": 1 - s["square"] / spread_y,
            "pearson": (s["yp"] - s["y"] * s["p"] / total) / np.sqrt(spread_y * spread_p),
        }

    return statistic


def _centred(values: Floats) -> Floats:
    """Values minus their mean, exactly zero for a constant column."""
    return values - values.mean() if np.ptp(values) > 0 else np.zeros_like(values)


def _inside(values: Floats, bounds: Floats) -> Bools:
    return (bounds[:, 0] <= values) & (values < bounds[:, 1])


def _bounds(intervals: ArrayLike, n: int) -> Floats:
    bounds = np.asarray(intervals, dtype=np.float64)
    if bounds.shape != (n, 2):
        raise ValueError(f"intervals must have shape [{n}, 2], got {list(bounds.shape)}")
    return bounds


def _substitute_numbers(
    y: Floats, p: Floats, valid: Bools, on_invalid: OnInvalid, train_mean: float | None
) -> Floats:
    if valid.all() or on_invalid == "drop":
        return p
    if train_mean is None or not np.isfinite(train_mean):
        raise ValueError(
            f"{int((~valid).sum())} invalid answers: on_invalid={on_invalid!r} needs the training mean;"
            f" pass train_mean (got {train_mean}) or choose on_invalid='drop'"
        )
    if on_invalid == "mean":
        return np.where(valid, p, train_mean)
    gap = train_mean - y
    worst = float(np.abs(p - y)[valid].max(initial=0.0))
    charged = y + np.where(gap < 0, -1.0, 1.0) * np.maximum(np.abs(gap), worst)
    return np.where(valid, p, charged)


# --- yes or no --------------------------------------------------------------------------------------------


def binary_metrics(
    labels: ArrayLike,
    log_odds: ArrayLike,
    *,
    valid: ArrayLike | None = None,
    threshold: float = 0.0,
    probabilities: bool = True,
    on_invalid: OnInvalid = "penalise",
    train_rate: float | None = None,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> dict[str, Metric]:
    """AUC-ROC, average precision, accuracy, Brier score, ECE and invalid rate of yes-or-no answers.

    Args:
        labels: [n] 0 or 1.
        log_odds: [n] log p(yes) - log p(no), calibrated or not; ignored where not ``valid``.
        valid: [n] which answers could be read; all when omitted.
        threshold: yes is answered where the log-odds exceed it.
        probabilities: False for scores that only rank (a degree product): Brier score and ECE are left out.
        on_invalid: "penalise" counts an invalid answer as a certain wrong one; "mean" gives it the log-odds
            of the training rate of yes; "drop" leaves it out and adds ``dropped``, the number left out.
        train_rate: share of yes among the training pairs, needed for "mean" when any answer is invalid.
        seed, resamples, level: of the bootstrap, see :class:`~moltc.bootstrap.Bootstrap`.

    AUC counts ties half. The ECE has ten bins of equal width over p(yes); resampling adds noise to each bin,
    so its interval may lie above its value.

    Raises:
        ValueError: labels other than 0 and 1, hard decisions in place of log-odds, differing lengths,
            values that are not finite.
    """
    y = _finite_vector("labels", labels)
    if (bad := np.flatnonzero((y != 0) & (y != 1))).size:
        raise ValueError(f"labels must be 0 or 1: row {bad[0]} is {y[bad[0]]:g}")
    score, is_valid = _answers("log_odds", log_odds, valid, len(y))
    _refuse_hard_decisions(score[is_valid])
    kept = _kept(is_valid, on_invalid)
    score = _substitute_log_odds(y, score, is_valid, on_invalid, train_rate, threshold)[kept]
    y = y[kept]
    columns = {"accuracy": ((score > threshold) == (y == 1)).astype(np.float64)}
    parts = [_ranking_statistic(y, score), mean_statistic(columns)]
    if probabilities:
        p = sigmoid(score)
        parts += [mean_statistic({"brier": (y - p) ** 2}), ece_statistic(p, y)]

    bootstrap = Bootstrap(seed, resamples, level)
    return bootstrap.estimate(joint_statistic(parts), len(y)) | _invalid_metrics(
        is_valid, on_invalid, bootstrap
    )


def order_disagreement(
    log_odds_ab: ArrayLike,
    log_odds_ba: ArrayLike,
    *,
    threshold: float = 0.0,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> Metric:
    """Share of pairs whose decision changes when the two molecules change places.

    Args:
        log_odds_ab, log_odds_ba: [n] log-odds of yes in either order.
        threshold: yes where the log-odds exceed it.
    """
    ab, ba = _finite_vector("log_odds_ab", log_odds_ab), _finite_vector("log_odds_ba", log_odds_ba)
    if len(ab) != len(ba):
        raise ValueError(f"both orders must score the same pairs: {len(ab)} and {len(ba)} log-odds")
    changed = ((ab > threshold) != (ba > threshold)).astype(np.float64)
    statistic = mean_statistic({"rate": changed})
    return Bootstrap(seed, resamples, level).estimate(statistic, len(ab))["rate"]


def sigmoid(values: Floats) -> Floats:
    """1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * values))


def _ranking_statistic(y: Floats, score: Floats) -> Statistic:
    """AUC-ROC and average precision from one sort; G groups of equal scores, best first."""
    order = np.argsort(-score, kind="stable")
    ranked, positive = score[order], y[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))  # [G]

    def statistic(weights: Floats) -> dict[str, Floats]:
        drawn = weights[:, order]
        hits = np.add.reduceat(drawn * positive, starts, axis=1)  # [R, G]
        misses = np.add.reduceat(drawn * (1 - positive), starts, axis=1)  # [R, G]
        seen_hits, seen_misses = hits.cumsum(axis=1), misses.cumsum(axis=1)
        all_hits, all_misses = seen_hits[:, -1], seen_misses[:, -1]
        above = seen_hits - 0.5 * hits  # positives ranked above each group, ties half
        precision = seen_hits / np.maximum(seen_hits + seen_misses, 1e-300)
        with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 = NaN: one class only
            auc = (misses * above).sum(axis=1) / (all_hits * all_misses)
            average_precision = (hits * precision).sum(axis=1) / all_hits
        return {"auc_roc": auc, "average_precision": average_precision}

    return statistic


def ece_statistic(p: Floats, outcome: Floats) -> Statistic:
    """ECE = sum over ten bins of p of |sum of (outcome - p)| / n (Guo et al., 2017, eq. 3).

    ``p`` [n] is the probability that ``outcome`` [n] is 1 and not 0.
    """
    bins = np.minimum((p * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    gaps = np.zeros((len(p), ECE_BINS))
    gaps[np.arange(len(p)), bins] = outcome - p

    def statistic(weights: Floats) -> dict[str, Floats]:
        return {"ece": np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)}

    return statistic


def _refuse_hard_decisions(score: Floats) -> None:
    distinct = np.unique(score)
    if len(distinct) == 2 and distinct.tolist() in ([0.0, 1.0], [-1.0, 1.0]):
        raise ValueError(
            f"log_odds holds hard decisions ({distinct[0]:g} or {distinct[1]:g}): the AUC of hard labels is"
            " only their balanced accuracy; pass the log-odds of yes over no"
        )


def _substitute_log_odds(
    y: Floats, score: Floats, valid: Bools, on_invalid: OnInvalid, train_rate: float | None, threshold: float
) -> Floats:
    if valid.all() or on_invalid == "drop":
        return score
    if on_invalid == "mean":
        if train_rate is None or not 0 < train_rate < 1:
            raise ValueError(
                f"{int((~valid).sum())} invalid answers: on_invalid='mean' needs the training share of yes;"
                f" pass train_rate strictly between 0 and 1 (got {train_rate})"
            )
        return np.where(valid, score, np.log(train_rate / (1 - train_rate)))
    certain = 1e3 + abs(threshold) + float(np.abs(score[valid]).max(initial=0.0))
    return np.where(valid, score, np.where(y == 1, -certain, certain))


# --- shared -----------------------------------------------------------------------------------------------


def over_seeds(runs: Sequence[Mapping[str, Metric]]) -> dict[str, tuple[float, float]]:
    """Mean and sample standard deviation of each metric's value over runs that differ in their seed."""
    if len(runs) < 2:
        raise ValueError(f"a spread over seeds needs at least two runs, got {len(runs)}")
    names = [name for name in runs[0] if all(name in run for run in runs)]
    values = {name: np.array([run[name].value for run in runs]) for name in names}
    return {name: (float(v.mean()), float(v.std(ddof=1))) for name, v in values.items()}


def _invalid_metrics(valid: Bools, on_invalid: OnInvalid, bootstrap: Bootstrap) -> dict[str, Metric]:
    statistic = mean_statistic({"invalid_rate": (~valid).astype(np.float64)})
    result = bootstrap.estimate(statistic, len(valid))
    if on_invalid == "drop":
        dropped = float((~valid).sum())
        result["dropped"] = Metric(dropped, dropped, dropped)
    return result


def _kept(valid: Bools, on_invalid: OnInvalid) -> Bools:
    """Which pairs are scored [n]; all unless invalid ones are dropped."""
    if on_invalid not in get_args(OnInvalid):
        raise ValueError(f"on_invalid must be one of {', '.join(get_args(OnInvalid))}, got {on_invalid!r}")
    if on_invalid != "drop":
        return np.ones_like(valid)
    if not valid.any():
        raise ValueError(
            f"all {len(valid)} answers are invalid: nothing is left to score after dropping them"
        )
    return valid


def _answers(name: str, values: ArrayLike, valid: ArrayLike | None, n: int) -> tuple[Floats, Bools]:
    """Answers [n] and which are valid [n]; refuses a valid answer that is not finite."""
    answers = np.asarray(values, dtype=np.float64)
    mask = np.ones(n, dtype=np.bool_) if valid is None else np.asarray(valid, dtype=np.bool_)
    if answers.shape != (n,) or mask.shape != (n,):
        raise ValueError(
            f"{n} pairs, but {name} has shape {list(answers.shape)} and valid {list(mask.shape)}"
        )
    if (bad := np.flatnonzero(mask & ~np.isfinite(answers))).size:
        raise ValueError(
            f"{name} of row {bad[0]} is {answers[bad[0]]} ({bad.size} such rows):"
            " mark unreadable answers as not valid"
        )
    return answers, mask


def _finite_vector(name: str, values: ArrayLike) -> Floats:
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {list(vector.shape)}")
    if not vector.size:
        raise ValueError(f"metrics need at least one pair, but {name} is empty")
    if (bad := np.flatnonzero(~np.isfinite(vector))).size:
        raise ValueError(f"{name} must be finite: row {bad[0]} is {vector[bad[0]]} ({bad.size} such rows)")
    return vector
