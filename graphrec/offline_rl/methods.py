"""The methods as choices of terms, and the options of each term.

SQN and SAC: arXiv 2006.05779. SNQN and SA2C: arXiv 2111.03474. ``cql`` is SQN with the penalty of CQL
(arXiv 2006.04779). ``mcrl`` is in the style of MCRL (arXiv 2310.16566), reconstructed from the abstract: its
terms, weights and defaults are this project's, and no figure of that paper can be claimed for them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from graphrec.offline_rl.actors import Range
from graphrec.offline_rl.values import check_discount, check_temperature

Method = Literal["supervised", "sqn", "cql", "sac", "snqn", "sa2c", "mcrl"]
Actor = Literal["plain", "value", "advantage"]
Sum = Literal["full", "sampled"]
Bootstrap = Literal["maximum", "logged"]
Negatives = Literal["any", "outside_session"]
Preset = dict[str, Any]

SUPERVISED: Preset = {
    "actor": "plain",
    "td_weight": 0.0,
    "negative_td": False,
    "conservative_weight": 0.0,
    "reward_contrast_weight": 0.0,
    "transition_contrast_weight": 0.0,
    "warmup_steps": 0,
}
SQN = SUPERVISED | {"td_weight": 1.0}
SNQN = SQN | {"negative_td": True}

METHODS: dict[str, Preset] = {
    "supervised": SUPERVISED,
    "sqn": SQN,
    "cql": SQN | {"conservative_weight": 0.1},
    "sac": SQN | {"actor": "value", "warmup_steps": 15_000},
    "snqn": SNQN,
    "sa2c": SNQN | {"actor": "advantage", "warmup_steps": 15_000},
    "mcrl": SQN
    | {"conservative_weight": 0.1, "reward_contrast_weight": 0.1, "transition_contrast_weight": 0.1},
}

NEEDS: dict[str, tuple[str, ...]] = {
    # an option -> the switches of which at least one must be on for it to be read
    "gamma": ("td_weight",),
    "bootstrap": ("td_weight",),
    "negative_reward": ("negative_td",),
    "conservative_sum": ("conservative_weight",),
    "conservative_temperature": ("conservative_weight",),
    "reward_temperature": ("reward_contrast_weight",),
    "reward_weighted": ("reward_contrast_weight",),
    "transition_temperature": ("transition_contrast_weight",),
    "in_batch": ("transition_contrast_weight",),
}
ADVANTAGE_OPTIONS = ("advantage_clip", "propensity_smooth", "propensity_clip")


@dataclass(frozen=True)
class ObjectiveConfig:
    """A method by name; what is left out is the method's own. An option that nothing reads is an error."""

    method: Method = "mcrl"
    """supervised (the policy head alone), sqn, cql, sac, snqn, sa2c or mcrl."""

    actor: Actor | None = None
    """Weight of the cross-entropy of a logged action: plain (one), value (SAC) or advantage (SA2C)."""
    td_weight: float | None = None
    """lambda_q, weight of the temporal-difference loss; 0 switches it off."""
    negative_td: bool | None = None
    """Whether negatives enter the temporal-difference loss (SNQN)."""
    conservative_weight: float | None = None
    """lambda_c, weight of the conservative penalty; 0 switches it off."""
    reward_contrast_weight: float | None = None
    """lambda_r, weight of the contrast of rewards; 0 switches it off."""
    transition_contrast_weight: float | None = None
    """lambda_t, weight of the contrast of transitions; 0 switches it off."""
    warmup_steps: int | None = None
    """Steps with a plain actor, before values or advantages can be trusted as weights."""

    click_reward: float = 0.2
    """Reward of a view."""
    purchase_reward: float = 1.0
    """Reward of a purchase, or of putting an item into the cart."""
    num_negatives: int = 10
    """Negatives drawn for each transition and step."""
    negatives: Negatives = "any"
    """Drawn from all items other than the action (any), or also outside its session (outside_session)."""
    gamma: float | None = None
    """Discount; default 0.5."""
    bootstrap: Bootstrap | None = None
    """Value of the next state: of its best action (maximum) or of the one that was logged (logged, SARSA)."""
    negative_reward: float | None = None
    """What a negative is worth; default 0."""
    conservative_sum: Sum | None = None
    """The penalty's sum is over all items (full), or over the action and its negatives (sampled, default)."""
    conservative_temperature: float | None = None
    """T of the penalty; default 1."""
    reward_temperature: float | None = None
    """tau_r; default 0.1."""
    reward_weighted: bool | None = None
    """Whether a rare, larger reward pulls as much harder as it is worth more; default true."""
    transition_temperature: float | None = None
    """tau_t; default 0.1."""
    in_batch: bool | None = None
    """Whether the next states of the other transitions are further negatives; default false."""
    advantage_clip: Range | None = None
    """Smallest and largest advantage; default 0, 10."""
    propensity_smooth: float | None = None
    """Power of the correction for popularity; default 0, none."""
    propensity_clip: Range | None = None
    """Smallest and largest ratio of the correction; default 0.1, 10."""

    def resolved(self) -> Objective:
        """Every option with its value.

        Raises:
            ValueError: for a value out of range, or an option that nothing reads.
        """
        if self.method not in METHODS:
            raise ValueError(f"method={self.method!r} is not known; choose one of {', '.join(METHODS)}")
        given = {name: value for name, value in asdict(self).items() if value is not None}
        names = {field.name for field in fields(Objective)}
        objective = Objective(
            **{name: value for name, value in (METHODS[self.method] | given).items() if name in names}
        )
        _refuse_unread(given, objective)
        return objective


@dataclass(frozen=True)
class Objective:
    """All options of :class:`ObjectiveConfig` with their values."""

    actor: Actor
    td_weight: float
    negative_td: bool
    conservative_weight: float
    reward_contrast_weight: float
    transition_contrast_weight: float
    warmup_steps: int
    click_reward: float = 0.2
    purchase_reward: float = 1.0
    num_negatives: int = 10
    negatives: Negatives = "any"
    gamma: float = 0.5
    bootstrap: Bootstrap = "maximum"
    negative_reward: float = 0.0
    conservative_sum: Sum = "sampled"
    conservative_temperature: float = 1.0
    reward_temperature: float = 0.1
    reward_weighted: bool = True
    transition_temperature: float = 0.1
    in_batch: bool = False
    advantage_clip: Range = (0.0, 10.0)
    propensity_smooth: float = 0.0
    propensity_clip: Range = (0.1, 10.0)

    def __post_init__(self) -> None:
        for name in _WEIGHTS:
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name}={getattr(self, name)} must be a finite number, at least 0")
        check_discount(self.gamma)
        for name in ("conservative_temperature", "reward_temperature", "transition_temperature"):
            check_temperature(name, getattr(self, name))
        if not 0 < max(self.click_reward, self.purchase_reward) < float("inf"):
            raise ValueError("neither clicks nor purchases are worth anything; set one reward above 0")
        if self.num_negatives < 1:
            raise ValueError(f"num_negatives={self.num_negatives}; give at least 1")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps={self.warmup_steps} is no number of steps; give 0 or more")
        if self.actor != "plain" and not self.td_weight:
            raise ValueError(f"actor: {self.actor} reads the values; set td_weight above 0")
        if self.negative_td and not self.td_weight:
            raise ValueError("negative_td belongs to the temporal-difference loss; set td_weight above 0")

    @property
    def largest_reward(self) -> float:
        """max(r_click, r_buy)."""
        return max(self.click_reward, self.purchase_reward)

    @property
    def learns_values(self) -> bool:
        """Whether anything trains the value head."""
        return self.td_weight > 0 or self.conservative_weight > 0


_WEIGHTS = ("td_weight", "conservative_weight", "reward_contrast_weight", "transition_contrast_weight")


def _refuse_unread(given: Preset, objective: Objective) -> None:
    for name, switches in NEEDS.items():
        if name in given and not any(getattr(objective, switch) for switch in switches):
            raise ValueError(
                f"{name}={given[name]!r} is not read by method {given['method']}; leave it out, or set "
                f"{' or '.join(switches)}"
            )
    for name in ADVANTAGE_OPTIONS:
        if name in given and objective.actor != "advantage":
            raise ValueError(f"{name}={given[name]!r} belongs to actor: advantage; leave it out")
    if "warmup_steps" in given and objective.actor == "plain" and given["warmup_steps"]:
        raise ValueError("warmup_steps is how long actor: plain goes first; leave it out where it is plain")
