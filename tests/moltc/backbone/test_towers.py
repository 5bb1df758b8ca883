"""Towers: who shares what, where gradients go, and that batching changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from graph_samples import joined, random_batch, random_molecules, with_atoms_in_other_order
from torch import Tensor

from moltc.backbone.graph_encoder import GraphEncoderConfig
from moltc.backbone.graphs import GraphBatch
from moltc.backbone.qformer import QFormerConfig
from moltc.backbone.tower_config import Sharing
from moltc.backbone.towers import Tower, TowerConfig, TowerInputs, TowerOutput, TowerSet, tower_key

QFORMER = TowerConfig(
    encoder=GraphEncoderConfig(hidden=12, num_layers=2),
    num_queries=3,
    qformer=QFormerConfig(hidden=16, layers=3, heads=2, ffn=24),
    adapter_rank=2,
)
POOLED = TowerConfig(
    encoder=GraphEncoderConfig(kind="gine", features="ogb", hidden=12, num_layers=2),
    projector="pooled",
    num_queries=3,
    pooled_hidden=10,
    adapter_rank=2,
)
CONFIGS = {"qformer": QFORMER, "pooled": POOLED, "fingerprint": replace(POOLED, fingerprint=True)}
SHARINGS = ("tied", "by_role", "by_slot", "by_task", "adapter")
WIDTH = 7
MOLECULES = [("drug", 1, "ddi"), ("drug", 2, "ddi"), ("solute", 1, "freesolv"), ("solvent", 2, "freesolv")]
MOLECULES += [("solute", 1, "combisolv"), ("solvent", 2, "combisolv")]


def shared_as(config: TowerConfig, sharing: Sharing, **changes) -> TowerConfig:
    return replace(config, sharing=sharing, adapter_rank=0 if sharing == "tied" else 2, **changes)


def build(config: TowerConfig) -> TowerSet:
    """All towers of the molecules above, after their adapters have learnt something."""
    torch.manual_seed(0)
    towers = TowerSet(config, [tower_key(config.sharing, *molecule) for molecule in MOLECULES], WIDTH)
    for name, parameter in towers.adapters.named_parameters():
        if name.endswith("up"):
            torch.nn.init.normal_(parameter, std=0.3)
    return towers.eval()


def tower_of(towers: TowerSet, molecule: tuple[str, int, str]) -> Tower:
    return towers.tower(tower_key(towers.config.sharing, *molecule))


def storages(tower: Tower) -> set[int]:
    modules = [*tower.parts.values(), *tower.adapters.values()]
    return {parameter.data_ptr() for module in modules for parameter in module.parameters()}


def flat(output: TowerOutput) -> Iterator[Tensor]:
    yield from output.soft_tokens.values()
    yield from output.pooled.values()


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def config(request: pytest.FixtureRequest) -> TowerConfig:
    return request.param


# --- who shares what ---


def test_tied_is_one_tower_for_all(config: TowerConfig) -> None:
    towers = build(shared_as(config, "tied"))
    first, *others = [tower_of(towers, molecule) for molecule in MOLECULES]
    assert all(other.parts == first.parts for other in others)  # modules compare by identity
    assert not first.adapters


def test_by_role_shares_between_slots_and_tasks_only(config: TowerConfig) -> None:
    towers = build(shared_as(config, "by_role"))
    drug_1, drug_2, solute, solvent, other_solute, other_solvent = (tower_of(towers, m) for m in MOLECULES)
    assert storages(drug_1) == storages(drug_2)
    assert storages(solvent) == storages(other_solvent)
    assert storages(solute) == storages(other_solute)
    assert solute.parts["gnn"] is solvent.parts["gnn"] is drug_1.parts["gnn"]
    assert solute.parts["proj"] is not solvent.parts["proj"]
    assert solute.adapters["gnn"] is not solvent.adapters["gnn"]


def test_by_slot_shares_between_roles(config: TowerConfig) -> None:
    towers = build(shared_as(config, "by_slot"))
    drug_1, drug_2, solute, solvent, *_ = (tower_of(towers, molecule) for molecule in MOLECULES)
    assert storages(drug_1) == storages(solute)
    assert storages(drug_2) == storages(solvent)
    assert drug_1.parts["proj"] is not drug_2.parts["proj"]


def test_by_task_shares_between_slots_of_a_task(config: TowerConfig) -> None:
    towers = build(shared_as(config, "by_task"))
    drug_1, drug_2, solute, _, other_solute, _ = (tower_of(towers, molecule) for molecule in MOLECULES)
    assert storages(drug_1) == storages(drug_2)
    assert solute.parts["proj"] is not other_solute.parts["proj"]
    assert solute.parts["gnn"] is other_solute.parts["gnn"]


def test_adapter_shares_every_part_and_no_adapter(config: TowerConfig) -> None:
    towers = build(shared_as(config, "adapter"))
    drug, _, solute, solvent, _, other_solvent = (tower_of(towers, molecule) for molecule in MOLECULES)
    assert drug.parts == solute.parts == solvent.parts
    assert set(solvent.adapters) == {part for part in config.parts if part != "query_tokens"}
    assert storages(solvent) == storages(other_solvent)
    assert solute.adapters["proj"] is not solvent.adapters["proj"]


def test_adapters_tell_roles_apart(config: TowerConfig) -> None:
    towers = build(shared_as(config, "adapter"))
    rows = torch.arange(2)
    soft = towers(TowerInputs(random_batch(5, 3), {"solute": rows, "solvent": rows})).soft_tokens
    assert not torch.allclose(soft["solute"], soft["solvent"], atol=1e-3)


@pytest.mark.parametrize("part", ["gnn", "query_tokens", "qformer", "proj"])
def test_each_part_can_be_duplicated_alone(part: str) -> None:
    towers = build(replace(QFORMER, duplicate=(part,)))
    solute, solvent = towers.tower("solute"), towers.tower("solvent")
    assert {name for name in QFORMER.parts if solute.parts[name] is not solvent.parts[name]} == {part}
    assert set(solute.adapters) == {"gnn", "qformer", "proj"} - {part}


@pytest.mark.parametrize("sharing", SHARINGS)
def test_all_towers_start_alike(config: TowerConfig, sharing: Sharing) -> None:
    config = shared_as(
        config, sharing, duplicate=None if sharing in ("tied", "adapter") else config.parts[:2]
    )
    keys = dict.fromkeys(tower_key(sharing, *molecule) for molecule in MOLECULES)
    towers = TowerSet(config, list(keys), WIDTH).eval()
    rows = torch.arange(3)
    output = towers(TowerInputs(random_batch(5, 3, 8), dict.fromkeys(keys, rows)))
    first, *others = output.soft_tokens.values()
    assert all(torch.equal(first, other) for other in others)


# --- where gradients go ---


@pytest.mark.parametrize("sharing", SHARINGS)
def test_a_batch_of_drugs_leaves_other_towers_alone(config: TowerConfig, sharing: Sharing) -> None:
    towers = build(shared_as(config, sharing))
    drug_keys = [tower_key(sharing, *molecule) for molecule in MOLECULES[:2]]
    output = towers.train()(TowerInputs(random_batch(5, 6, 4), dict.fromkeys(drug_keys, torch.arange(3))))
    sum(soft.square().sum() for soft in output.soft_tokens.values()).backward()
    touched = {parameter.data_ptr() for parameter in towers.parameters() if parameter.grad is not None}
    drugs = set().union(*(storages(towers.tower(key)) for key in drug_keys))
    everyone = set().union(*(storages(towers.tower(key)) for key in towers.keys))
    assert touched == drugs
    owned_by_others = everyone - drugs
    assert bool(owned_by_others) == (sharing not in ("tied", "by_slot"))


# --- batching changes nothing ---


@pytest.mark.parametrize("sharing", ["tied", "by_role", "adapter"])
def test_distinct_molecules_equal_one_by_one(config: TowerConfig, sharing: Sharing) -> None:
    """Values and gradients of pairs with repeated molecules; batch norm uses its running statistics."""
    towers = build(shared_as(config, sharing)).double()
    molecules = random_molecules(6, 3, 9, 1)
    pairs = [(0, 3), (1, 3), (2, 3), (0, 1)]
    solutes, solvents = (list(side) for side in zip(*pairs, strict=True))
    keys = [tower_key(sharing, "solute", 1, "freesolv"), tower_key(sharing, "solvent", 2, "freesolv")]
    weights = torch.randn(len(pairs), 2, 3, WIDTH, dtype=torch.float64)

    def batched() -> Tensor:
        graphs = GraphBatch.from_arrays(joined(molecules))
        members = dict.fromkeys(keys, torch.arange(4))
        soft = towers(TowerInputs(graphs, members)).soft_tokens
        return torch.stack([soft[keys[0]][solutes], soft[keys[1]][solvents]], dim=1)

    def alone(key: str, molecule: int) -> Tensor:
        graphs = GraphBatch.from_arrays(molecules[molecule])
        return towers(TowerInputs(graphs, {key: torch.tensor([0])})).soft_tokens[key][0]

    def one_by_one() -> Tensor:
        return torch.stack([torch.stack([alone(keys[0], a), alone(keys[1], b)]) for a, b in pairs])

    results = []
    for compute in (batched, one_by_one):
        towers.zero_grad()
        soft = compute()
        (weights * soft).sum().backward()
        grads = {name: p.grad.clone() for name, p in towers.named_parameters() if p.grad is not None}
        results.append((soft.detach(), grads))
    torch.testing.assert_close(results[0], results[1], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("sharing", ["tied", "by_role"])
def test_atom_order_and_padding_do_not_matter(config: TowerConfig, sharing: Sharing) -> None:
    towers = build(shared_as(config, sharing))
    key = tower_key(sharing, *MOLECULES[0])
    molecules = random_molecules(7, 1, 4)
    rng = np.random.default_rng(5)
    shuffled = [with_atoms_in_other_order(molecule, rng) for molecule in molecules]
    beside_a_large_one = [*molecules, *random_molecules(30, seed=9)]
    outputs = [
        towers(TowerInputs(GraphBatch.from_arrays(joined(batch)), {key: torch.arange(3)})).soft_tokens[key]
        for batch in (molecules, shuffled, beside_a_large_one)
    ]
    for other in outputs[1:]:
        torch.testing.assert_close(other, outputs[0], rtol=1e-4, atol=1e-5)


def test_output_follows_the_order_of_members(config: TowerConfig) -> None:
    towers = build(config)
    graphs = random_batch(5, 2, 8)
    members = {"solvent": torch.tensor([2, 0]), "drug": torch.tensor([1])}
    output = towers(TowerInputs(graphs, members))
    assert list(output.soft_tokens) == list(output.pooled) == ["solvent", "drug"]
    assert output.soft_tokens["solvent"].shape == (2, 3, WIDTH)
    assert output.pooled["solvent"].shape == (2, towers.pooled_dim)
    swapped = towers(TowerInputs(graphs, {"solvent": torch.tensor([0, 2])}))
    torch.testing.assert_close(swapped.soft_tokens["solvent"].flip(0), output.soft_tokens["solvent"])


def test_two_runs_are_equal_bit_for_bit(config: TowerConfig) -> None:
    def run() -> list[Tensor]:
        towers = build(config).train()
        torch.manual_seed(1)
        output = towers(
            TowerInputs(random_batch(5, 2, 8), {"solute": torch.tensor([0, 1]), "solvent": torch.tensor([2])})
        )
        sum(value.square().sum() for value in flat(output)).backward()
        return [*flat(output), *(p.grad for p in towers.parameters() if p.grad is not None)]

    assert all(torch.equal(first, second) for first, second in zip(run(), run(), strict=True))


@pytest.mark.parametrize("mixed", [True, False], ids=["autocast", "all weights"])
def test_bfloat16_stays_near_float32(config: TowerConfig, mixed: bool) -> None:
    towers, inputs = build(config), TowerInputs(random_batch(5, 2, 8), {"drug": torch.arange(3)})
    exact = towers(inputs).soft_tokens["drug"]
    if not mixed:
        towers = towers.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        rough = towers(inputs).soft_tokens["drug"]
    assert rough.dtype == torch.bfloat16
    torch.testing.assert_close(rough.float(), exact, rtol=0.1, atol=0.1 * exact.abs().max().item())


def test_towers_can_be_copied(config: TowerConfig) -> None:
    towers, inputs = build(config), TowerInputs(random_batch(5, 2, 8), {"drug": torch.arange(3)})
    again = deepcopy(towers)
    assert torch.equal(again(inputs).soft_tokens["drug"], towers(inputs).soft_tokens["drug"])


# --- freezing ---


@pytest.mark.parametrize(
    "freeze",
    [(), ("gnn",), ("gnn", "proj"), ("adapters",), ("proj", "adapters"), "everything"],
    ids=["nothing", "encoder", "encoder and map", "adapters", "map and adapters", "everything"],
)
@pytest.mark.parametrize("sharing", ["by_role", "by_slot", "adapter"])
def test_swapping_the_second_molecule_changes_its_soft_tokens(
    config: TowerConfig, sharing: Sharing, freeze: tuple[str, ...] | str
) -> None:
    names = (*config.parts, "adapters") if isinstance(freeze, str) else freeze
    towers = build(shared_as(config, sharing, freeze=names))
    graphs = random_batch(6, 7, 8)
    keys = [tower_key(sharing, *molecule) for molecule in MOLECULES[2:4]]

    def soft(second: int) -> list[Tensor]:
        members = dict(zip(keys, (torch.tensor([0]), torch.tensor([second])), strict=True))
        return list(towers(TowerInputs(graphs, members)).soft_tokens.values())

    (first, second), (same, swapped) = soft(1), soft(2)
    torch.testing.assert_close(first, same)
    assert not torch.allclose(second, swapped, atol=1e-4)
    assert not torch.allclose(first, second, atol=1e-4)


def test_frozen_parts_get_no_gradient_and_stay_in_evaluation(config: TowerConfig) -> None:
    towers = build(replace(config, freeze=("gnn", "proj"))).train()
    for part in ("gnn", "proj"):
        for copy in towers.parts[part].values():
            assert not any(parameter.requires_grad for parameter in copy.parameters())
            assert not any(module.training for module in copy.modules())
    assert all(parameter.requires_grad for parameter in towers.adapters.parameters())
    assert towers.training


def test_adapters_can_be_frozen(config: TowerConfig) -> None:
    towers = build(replace(config, freeze=("adapters",)))
    assert not any(parameter.requires_grad for parameter in towers.adapters.parameters())
    assert all(parameter.requires_grad for parameter in towers.parts.parameters())


def test_a_training_batch_with_one_molecule_for_a_tower(config: TowerConfig) -> None:
    towers = build(config).train()
    members = {"solute": torch.tensor([0, 1]), "solvent": torch.tensor([2])}
    output = towers(TowerInputs(random_batch(5, 2, 1), members))
    assert all(torch.isfinite(value).all() for value in flat(output))


# --- sizes and errors ---


def test_parameters_of_the_default_granularity() -> None:
    """A further role costs its queries and output map, 1.6 million, and rank-8 adapters on what is shared."""
    with torch.device("meta"):
        one, two = (TowerSet(TowerConfig(), roles, 2048) for roles in (["drug"], ["drug", "solvent"]))
    count = [sum(parameter.numel() for parameter in towers.parameters()) for towers in (one, two)]
    own = 8 * 768 + 1_574_912
    adapters = 5 * 2 * 8 * (300 + 600) + 6 * 2 * 8 * (300 + 768)
    assert count[0] == 1_857_900 + 600 + 94_926_336 + own + adapters
    assert count[1] - count[0] == own + adapters


@pytest.mark.parametrize(
    ("config", "keys", "message"),
    [
        (POOLED, [], "at least one"),
        (shared_as(POOLED, "tied"), ["a", "b"], "choose by_role"),
        (POOLED, ["v1.2"], "without dots"),
        (replace(POOLED, adapter_rank=100), ["drug"], "adapter_rank 100"),
    ],
    ids=["none", "two when tied", "dot", "rank"],
)
def test_impossible_tower_sets_are_refused(config: TowerConfig, keys: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TowerSet(config, keys, WIDTH)


def test_unknown_and_empty_members_are_refused() -> None:
    towers, graphs = build(POOLED), random_batch(3)
    with pytest.raises(KeyError, match="no tower 'item'"):
        towers(TowerInputs(graphs, {"item": torch.tensor([0])}))
    with pytest.raises(ValueError, match="leave the key out"):
        towers(TowerInputs(graphs, {"drug": torch.tensor([], dtype=torch.long)}))
