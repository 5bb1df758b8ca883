"""Tower configuration: defaults by sharing mode, keys, refusals, JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from moltc.backbone.graph_encoder import GraphEncoderConfig
from moltc.backbone.tower_config import SHARINGS, Sharing, TowerConfig, tower_key


@pytest.mark.parametrize(
    ("options", "duplicated", "rank"),
    [
        ({"sharing": "tied"}, (), 0),
        ({"sharing": "by_role"}, ("query_tokens", "proj"), 8),
        ({"sharing": "by_slot", "projector": "pooled"}, ("proj",), 8),
        ({"sharing": "by_task", "adapter_rank": 0, "duplicate": ()}, (), 0),
        ({"sharing": "adapter"}, (), 8),
    ],
    ids=["tied", "by role", "pooled", "given", "adapter"],
)
def test_defaults_follow_the_sharing(options: dict, duplicated: tuple[str, ...], rank: int) -> None:
    config = TowerConfig(**options)
    assert (config.duplicated, config.rank) == (duplicated, rank)


@pytest.mark.parametrize(
    ("sharing", "expected"),
    list(zip(SHARINGS, ("molecule", "solvent", "slot2", "freesolv:solvent", "solvent"), strict=True)),
    ids=SHARINGS,
)
def test_tower_keys(sharing: Sharing, expected: str) -> None:
    assert tower_key(sharing, "solvent", 2, "freesolv") == expected


def test_unknown_sharing_has_no_key() -> None:
    with pytest.raises(ValueError, match="choose one of tied"):
        tower_key("by_colour", "solvent", 2, "freesolv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"projector": "mlp"}, "choose one of qformer, pooled"),
        ({"sharing": "none"}, "choose one of tied"),
        ({"fingerprint": True}, "fingerprint needs projector pooled"),
        ({"projector": "pooled", "duplicate": ("qformer",)}, "choose among gnn, proj"),
        ({"freeze": ("encoder",)}, "choose among gnn, query_tokens"),
        ({"sharing": "tied", "duplicate": ("proj",)}, "leave duplicate empty"),
        ({"sharing": "adapter", "duplicate": ("proj",)}, "leave duplicate empty"),
        ({"sharing": "tied", "adapter_rank": 8}, "set adapter_rank to 0"),
        ({"sharing": "adapter", "adapter_rank": 0}, "choose sharing tied"),
        ({"adapter_rank": -1}, "choose a rank"),
        ({"adapter_rank": 0, "freeze": ("adapters",)}, "take it out"),
        ({"num_queries": 0}, "at least 1"),
    ],
    ids=[
        "projector",
        "sharing",
        "fingerprint",
        "part of another projector",
        "unknown part",
        "copies when tied",
        "copies with adapters only",
        "adapters when tied",
        "adapter without rank",
        "negative rank",
        "no adapters to freeze",
        "queries",
    ],
)
def test_impossible_configs_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TowerConfig(**options)


def test_config_survives_json() -> None:
    config = TowerConfig(GraphEncoderConfig(hidden=64), duplicate=("gnn",), freeze=("proj",))
    assert TowerConfig.from_dict(json.loads(json.dumps(asdict(config)))) == config
    assert TowerConfig.from_dict(json.loads(json.dumps(asdict(TowerConfig())))) == TowerConfig()
