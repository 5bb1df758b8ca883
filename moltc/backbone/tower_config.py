"""What a tower is made of and what towers share: the configuration, and which tower reads which molecule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from moltc.backbone.graph_encoder import GraphEncoderConfig
from moltc.backbone.qformer import QFormerConfig

Sharing = Literal["tied", "by_role", "by_slot", "by_task", "adapter"]

PARTS = {"qformer": ("gnn", "query_tokens", "qformer", "proj"), "pooled": ("gnn", "proj")}
"""Parts of a tower by projector. The layer norm before the Q-Former belongs to "qformer"."""
SHARINGS = ("tied", "by_role", "by_slot", "by_task", "adapter")
ADAPTERS = "adapters"
DEFAULT_RANK = 8


@dataclass(frozen=True)
class TowerConfig:
    """What a tower is made of, and what towers share."""

    encoder: GraphEncoderConfig = field(default_factory=GraphEncoderConfig)
    """The graph encoder, part "gnn"."""
    projector: Literal["qformer", "pooled"] = "qformer"
    """"qformer": queries read the atoms (MolTC); "pooled": an MLP on their mean and sum (small models)."""
    num_queries: int = 8
    """Soft tokens of a molecule, Q."""
    qformer: QFormerConfig = field(default_factory=QFormerConfig)
    """Sizes of the Q-Former; read by projector "qformer" only."""
    pooled_hidden: int = 256
    """Width of the MLP of projector "pooled"; read by it only."""
    fingerprint: bool = False
    """Join Morgan fingerprint bits to the pooled vector; projector "pooled" only."""
    fingerprint_dim: int = 256
    """Width of the embedding of the bits; read with ``fingerprint`` only."""
    fingerprint_dropout: float = 0.2
    """Dropout on that embedding; read with ``fingerprint`` only."""
    sharing: Sharing = "by_role"
    """One tower for all ("tied"), one per role, slot or (task, role), or one with adapters per role."""
    duplicate: tuple[str, ...] | None = None
    """Parts that each tower has for itself. None: query_tokens and proj under by_role, by_slot and by_task,
    no part under tied and adapter."""
    adapter_rank: int | None = None
    """Rank of each tower's adapters on the shared parts, 0 for none. None: 8, and none under tied."""
    freeze: tuple[str, ...] = ()
    """Parts that are not trained; "adapters" names the adapters, which stay trainable on a frozen part."""

    def __post_init__(self) -> None:
        if self.projector not in PARTS:
            raise ValueError(f"projector '{self.projector}' is unknown: choose one of {', '.join(PARTS)}")
        if self.sharing not in SHARINGS:
            raise ValueError(f"sharing '{self.sharing}' is unknown: choose one of {', '.join(SHARINGS)}")
        if min(self.num_queries, self.pooled_hidden, self.fingerprint_dim) < 1:
            raise ValueError("num_queries, pooled_hidden and fingerprint_dim must be at least 1")
        if not 0.0 <= self.fingerprint_dropout < 1.0:
            raise ValueError(f"fingerprint_dropout lies between 0 and 1, not {self.fingerprint_dropout}")
        if self.fingerprint and self.projector != "pooled":
            raise ValueError(
                "fingerprint needs projector pooled: the Q-Former reads atoms only; change one of them"
            )
        _check_parts("duplicate", self.duplicate or (), self.parts)
        _check_parts("freeze", self.freeze, (*self.parts, ADAPTERS))
        self._check_sharing()

    def _check_sharing(self) -> None:
        if self.sharing in ("tied", "adapter") and self.duplicate:
            raise ValueError(
                f"sharing {self.sharing} shares every part: leave duplicate empty or choose by_role"
            )
        if self.rank < 0:
            raise ValueError(
                f"adapter_rank is {self.rank}: choose a rank of at least 1, or 0 for no adapters"
            )
        if self.sharing == "tied" and self.rank > 0:
            raise ValueError(
                "sharing tied has one tower and no adapters: set adapter_rank to 0 or sharing to adapter"
            )
        if self.sharing == "adapter" and self.rank == 0:
            raise ValueError("sharing adapter needs adapter_rank of at least 1: with 0 choose sharing tied")
        if ADAPTERS in self.freeze and self.rank == 0:
            raise ValueError("freeze names adapters, but there are none: take it out or set adapter_rank")

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts of a tower."""
        return PARTS[self.projector]

    @property
    def duplicated(self) -> tuple[str, ...]:
        """Parts that each tower has for itself, the default filled in."""
        if self.duplicate is not None:
            return self.duplicate
        if self.sharing in ("tied", "adapter"):
            return ()
        return tuple(part for part in ("query_tokens", "proj") if part in self.parts)

    @property
    def rank(self) -> int:
        """Adapter rank, the default filled in."""
        if self.adapter_rank is not None:
            return self.adapter_rank
        return 0 if self.sharing == "tied" else DEFAULT_RANK

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TowerConfig:
        """The mirror of ``dataclasses.asdict``, also after a trip through JSON."""
        values = dict(values)
        if "encoder" in values:
            values["encoder"] = GraphEncoderConfig(**values["encoder"])
        if "qformer" in values:
            values["qformer"] = QFormerConfig(**values["qformer"])
        for name in ("duplicate", "freeze"):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        return cls(**values)


def _check_parts(option: str, names: Sequence[str], allowed: Sequence[str]) -> None:
    unknown = [name for name in names if name not in allowed]
    if unknown:
        raise ValueError(f"{option} names {', '.join(unknown)}: choose among {', '.join(allowed)}")


def tower_key(sharing: Sharing, role: str, slot: int, task: str) -> str:
    """Which tower reads the molecule of ``role`` in ``slot`` (from 1) of a prompt of ``task``."""
    match sharing:
        case "tied":
            return "molecule"
        case "by_role" | "adapter":
            return role
        case "by_slot":
            return f"slot{slot}"
        case "by_task":
            return f"{task}:{role}"
    raise ValueError(f"sharing '{sharing}' is unknown: choose one of {', '.join(SHARINGS)}")
