"""Which loss: a method by name, and whatever of it is to be different.

A method is a choice of parts (:data:`METHODS`); every part and every option can be overridden by itself, so
that S-DPO with the Dr. reduction is ``{method: sdpo, reduction: dr}`` and SimPO under the selection of
beta-DPO is ``{method: simpo, selector: gaussian}``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeVar, get_args

from align.gap_statistics import Ema, GapStatistics, Stats
from align.kto import KtoLoss
from align.losses import SftReduction
from align.margins import AdaptiveMargin, AlphaScale, ConstantMargin, NoMargin
from align.methods import AUTHORS, AUTHORS_OF, METHODS, Preset
from align.objective import PreferenceLoss
from align.pair_losses import Hinge, Logistic, PairedKto, RobustLogistic, ScaledLogistic, Softmax, Square
from align.pairwise import PairwiseLoss
from align.policies import BatchBeta, Discrepancy, FixedBeta
from align.reductions import MeanReduction, Scope, SoftMinimum
from align.scores import Score
from align.selectors import Draw, GaussianSelector, SelectAll
from align.supervised import SftLoss

Method = Literal[
    "sft",
    "dpo",
    "cdpo",
    "robust_dpo",
    "ipo",
    "kto",
    "kto_pair",
    "simpo",
    "cpo",
    "orpo",
    "alpha_dpo",
    "beta_dpo",
    "dr_dpo",
    "sdpo",
]
Mode = Literal["default", "authors"]
PairLossName = Literal["logistic", "robust", "scaled", "hinge", "square", "softmax", "kto_pair"]
MarginName = Literal["none", "constant", "adaptive"]
SelectorName = Literal["all", "gaussian"]
BetaPolicyName = Literal["fixed", "batch_dynamic"]
ReductionName = Literal["mean", "dr"]

T = TypeVar("T")

PARTS: dict[str, dict[str, type]] = {
    "pair_loss": {
        "logistic": Logistic,
        "robust": RobustLogistic,
        "scaled": ScaledLogistic,
        "hinge": Hinge,
        "square": Square,
        "softmax": Softmax,
        "kto_pair": PairedKto,
    },
    "margin": {"none": NoMargin, "constant": ConstantMargin, "adaptive": AdaptiveMargin},
    "selector": {"all": SelectAll, "gaussian": GaussianSelector},
    "beta_policy": {"fixed": FixedBeta, "batch_dynamic": BatchBeta},
    "reduction": {"mean": MeanReduction, "dr": SoftMinimum},
}


@dataclass(frozen=True)
class PreferenceLossConfig:
    """A loss by name; whatever is left out is the method's own."""

    method: Method = "dpo"
    """Where the parts and options come from that are not given here."""
    mode: Mode = "default"
    """``authors``: statistics, draws and scopes as in the published code of the method."""

    score: Score | None = None
    """What is compared: log_ratio (to the reference), log_prob (reference-free) or log_odds."""
    pair_loss: PairLossName | None = None
    """Loss of a margin: logistic, robust, scaled, hinge, square, softmax (over all rejected), kto_pair."""
    margin: MarginName | None = None
    """Target margin: none, constant or adaptive."""
    selector: SelectorName | None = None
    """Examples trained on: all, or a gaussian draw around the mean gap."""
    beta_policy: BetaPolicyName | None = None
    """Beta: fixed, or batch_dynamic."""
    reduction: ReductionName | None = None
    """From examples to one number: mean, or dr (soft minimum)."""

    beta: float | None = None
    """Strength of the pull towards the reference, or reward scale."""
    length_normalize: bool | None = None
    """Averages per token in place of sums."""
    label_smoothing: float | None = None
    """Probability that a preference is flipped."""
    gamma_beta_ratio: float | None = None
    """Target margin, in units of the score."""
    gamma: float | None = None
    """Target margin times beta; give this or gamma_beta_ratio."""
    alpha: float | None = None
    """Weight of the z-score in an adaptive margin."""
    alpha_scale: AlphaScale | None = None
    """Alpha inside beta (code) or outside (paper)."""
    keep_ratio: float | None = None
    """Share of the examples that the selector keeps."""
    draw: Draw | None = None
    """How it draws: gumbel or multinomial."""
    beta_slope: float | None = None
    """How much a batch-dynamic beta follows the mean gap."""
    beta_min: float | None = None
    """Lower bound of a batch-dynamic beta."""
    discrepancy: Discrepancy | None = None
    """Mean gap in nats (log_ratio) or times beta (reward)."""
    beta_prime: float | None = None
    """Softness of the dr reduction: large is the mean."""
    scope: Scope | None = None
    """Reduce over the whole batch (global) or over each process's part (local)."""
    stats: Stats | None = None
    """Statistics of the gaps: running, or of this batch alone."""
    ema: Ema | None = None
    """Running statistics: debiased, or authors."""
    momentum: float | None = None
    """Their weight of the past."""
    sft_weight: float | None = None
    """Weight of an added token-mean likelihood of the chosen completions."""
    nll_on_prompt: bool | None = None
    """Count the prompt's tokens in that term."""
    sft_reduction: SftReduction | None = None
    """Of method sft: token_mean or sequence_sum."""
    desirable_weight: float | None = None
    """Of method kto: weight of good completions."""
    undesirable_weight: float | None = None
    """Of method kto: weight of bad completions."""

    def __post_init__(self) -> None:
        build_loss(self)  # a combination that cannot be built is refused where it is written


def build_loss(config: PreferenceLossConfig) -> PreferenceLoss:
    """The loss that a config describes.

    Raises:
        ValueError: when a name is unknown, parts do not go together, or an option is set that nothing reads;
            the message says what to change.
    """
    given = {name: value for name, value in asdict(config).items() if value is not None}
    method, mode = given.pop("method"), given.pop("mode")
    if method not in METHODS:
        raise ValueError(f"method={method!r} is not known; choose one of {', '.join(METHODS)}")
    if mode not in ("default", "authors"):
        raise ValueError(f"mode={mode!r} is not known; choose 'default' or 'authors'")
    preset = METHODS[method] | (AUTHORS | AUTHORS_OF.get(method, {}) if mode == "authors" else {})
    if "gamma" in given:  # said either way, the margin replaces the method's
        preset = {name: value for name, value in preset.items() if name != "gamma_beta_ratio"}
    options = _Options(given, preset)
    loss: PreferenceLoss
    if method == "sft":
        loss = options.make(SftLoss)
    elif method == "kto":
        loss = options.make(KtoLoss, reduction=options.part("reduction"))
    else:
        loss = _pairwise(options)
    options.refuse_unread(method)
    return loss


def _pairwise(options: _Options) -> PairwiseLoss:
    pair_loss, margin = options.part("pair_loss"), options.part("margin")
    selector, beta_policy = options.part("selector"), options.part("beta_policy")
    statistics = GapStatistics()
    if margin.adaptive or selector.selective or beta_policy.dynamic:
        statistics = options.make(GapStatistics)
        for name in ("ema", "momentum"):
            if statistics.stats == "batch" and name in options.given:
                raise ValueError(f"{name} belongs to stats: running; leave it out with stats: batch")
    loss = options.make(
        PairwiseLoss,
        pair_loss=pair_loss,
        margin=margin,
        selector=selector,
        beta_policy=beta_policy,
        reduction=options.part("reduction"),
        statistics=statistics,
    )
    _check(loss)
    return loss


def _check(loss: PairwiseLoss) -> None:
    if loss.score not in get_args(Score):
        raise ValueError(f"score={loss.score!r} is not known; choose one of {', '.join(get_args(Score))}")
    if loss.score == "log_odds" and not loss.length_normalize:
        raise ValueError("score: log_odds are odds of averages; set length_normalize: true")
    if isinstance(loss.pair_loss, PairedKto) and (
        loss.score != "log_ratio" or not isinstance(loss.margin, NoMargin)
    ):
        raise ValueError(
            "pair_loss: kto_pair has a reference point of its own; set score: log_ratio, margin: none"
        )
    if not 0 <= loss.sft_weight < float("inf"):
        raise ValueError(f"sft_weight={loss.sft_weight} must be a finite number, at least zero")
    if loss.nll_on_prompt and not loss.sft_weight:
        raise ValueError("nll_on_prompt belongs to a likelihood term; set sft_weight above zero")


class _Options:
    """Options by name, and which of those that were given some part has read."""

    def __init__(self, given: Preset, preset: Preset) -> None:
        self.given = given
        self._values = preset | given
        self._read: set[str] = set()

    def part(self, slot: str) -> Any:
        """The part that fills a slot, made of the options it knows."""
        self._read.add(slot)
        name, choices = self._values[slot], PARTS[slot]
        if name not in choices:
            raise ValueError(f"{slot}={name!r} is not known; choose one of {', '.join(choices)}")
        return self.make(choices[name])

    def make(self, kind: type[T], **parts: Any) -> T:
        """An object of a dataclass, from parts made before and the options named like its other fields."""
        names = _field_names(kind) - parts.keys()
        self._read |= names
        return kind(**parts, **{name: value for name, value in self._values.items() if name in names})

    def refuse_unread(self, method: str) -> None:
        """Raise a ValueError for an option that was given and changes nothing."""
        for name in self.given.keys() - self._read:
            raise ValueError(
                f"{name}={self.given[name]!r} is not read by this loss (method {method}): leave it out, or "
                f"choose what reads it: {_readers(name)}"
            )


def _readers(option: str) -> str:
    """The choices that an option belongs to, as they stand in a config."""
    readers = [
        f"{slot}: {name}"
        for slot, choices in PARTS.items()
        for name, kind in choices.items()
        if option in _field_names(kind)
    ]
    methods = {"sft": SftLoss, "kto": KtoLoss}
    readers += [f"method: {name}" for name, kind in methods.items() if option in _field_names(kind)]
    if option in _field_names(GapStatistics):
        readers += ["margin: adaptive", "selector: gaussian", "beta_policy: batch_dynamic"]
    return " or ".join(readers) or "a method that compares chosen with rejected"


def _field_names(kind: type) -> set[str]:
    return {field.name for field in fields(kind)}
