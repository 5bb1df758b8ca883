"""Settings of the offline learner: its objective, its networks, how it is trained and how it ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from graphrec.offline_rl.backbones import BACKBONES, BackboneName
from graphrec.offline_rl.methods import ObjectiveConfig

Targets = Literal["alternating", "average"]
RankBy = Literal["policy", "value", "both"]


@dataclass(frozen=True)
class OfflineRLConfig(ObjectiveConfig):
    """What an :class:`~graphrec.offline_rl.recommender.OfflineRL` is, beside its objective.

    Rewards are told by the data's ``event`` column, "click" or "purchase"; data without it are all clicks.
    """

    backbone: BackboneName = "sasrec"
    """Encoder of sessions: gru4rec, caser, nextitnet or sasrec."""
    width: int = 64
    """Of item vectors."""
    length: int = 10
    """Most events that a state is made from; longer sessions are learnt in overlapping pieces."""
    num_blocks: int = 1
    """Blocks of sasrec."""
    num_heads: int = 1
    """Attention heads of sasrec."""
    dropout: float = 0.1
    """Within the encoder; nextitnet has none."""
    tied: bool = True
    """Whether the heads' rows are the item table; false: a table of its own for each head (SQN)."""
    policy_samples: int = 0
    """Items that the policy's softmax is estimated from in training, for very large catalogues; 0: all."""

    targets: Targets = "alternating"
    """Whose values are the targets: the other of two networks that take turns (alternating), or an
    exponential average (average)."""
    average_rate: float = 0.005
    """Share of the learning network that enters the average in each step."""
    dropout_in_targets: bool = False
    """Whether targets are computed with dropout, as the published code does."""

    batch_size: int = 64
    """Sessions of a step."""
    learning_rate: float = 0.005
    """Of Adam."""
    learning_rate_after_warmup: float | None = None
    """Of steps behind ``warmup_steps``; default: unchanged."""
    weight_decay: float = 0.0
    """L2 penalty in the gradient."""

    rank_by: RankBy = "policy"
    """What items are ranked by: policy logits, action values, or log-probability + value_share Q (both)."""
    value_share: float = 1.0
    """Weight of the action values with ``rank_by: both``."""

    @classmethod
    def reference(cls) -> OfflineRLConfig:
        """SQN as its published code trains it: a table for each head, targets with dropout."""
        return cls(method="sqn", tied=False, dropout_in_targets=True)

    def __post_init__(self) -> None:
        objective = self.resolved()
        if self.backbone not in BACKBONES:
            raise ValueError(f"backbone={self.backbone!r} is not known; choose one of {', '.join(BACKBONES)}")
        for name in ("width", "length", "num_blocks", "num_heads", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.policy_samples < 0:
            raise ValueError(f"policy_samples={self.policy_samples} is no number of items; give 0 or more")
        if not 0 <= self.dropout < 1:
            raise ValueError(
                f"dropout={self.dropout} is a share; give a number from 0 up to, not including, 1"
            )
        if self.targets not in ("alternating", "average"):
            raise ValueError(f"targets={self.targets!r} is not known; choose 'alternating' or 'average'")
        if not 0 < self.average_rate <= 1:
            raise ValueError(f"average_rate={self.average_rate} must lie above 0 and be at most 1")
        if self.rank_by not in ("policy", "value", "both"):
            raise ValueError(f"rank_by={self.rank_by!r} is not known; choose 'policy', 'value' or 'both'")
        if self.rank_by != "policy" and not objective.learns_values:
            raise ValueError(f"rank_by: {self.rank_by} needs action values; set td_weight above 0")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate={self.learning_rate} must be above 0")
        if self.learning_rate_after_warmup is not None and not objective.warmup_steps:
            raise ValueError("learning_rate_after_warmup needs warmup_steps; leave it out without a warm-up")
