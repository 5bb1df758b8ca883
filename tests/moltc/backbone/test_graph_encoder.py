"""Graph encoders against the written formulas, and what must not matter to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from graph_samples import joined, random_batch, random_molecules, with_atoms_in_other_order
from torch import Tensor

from moltc.backbone.graph_encoder import (
    BatchNorm,
    GraphEncoder,
    GraphEncoderConfig,
    SummedEmbedding,
    combination,
    readout,
    split_combination,
    to_sequence,
)
from moltc.backbone.graphs import GraphBatch

GIN = GraphEncoderConfig(hidden=8, num_layers=3)
CONFIGS = {
    "gin-graphcl": GIN,
    "gin-ogb": GraphEncoderConfig(features="ogb", hidden=8, num_layers=3),
    "gin-own-loop": GraphEncoderConfig(hidden=8, num_layers=3, dedicated_self_loop=True),
    "gine-graphcl": GraphEncoderConfig(kind="gine", hidden=8, num_layers=3),
    "gine-ogb": GraphEncoderConfig(kind="gine", features="ogb", hidden=8, num_layers=3),
}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def encoder(request: pytest.FixtureRequest) -> GraphEncoder:
    """A float64 encoder in evaluation mode whose batch norms do something."""
    encoder = GraphEncoder(request.param).double().eval()
    for layer in encoder.layers:
        torch.nn.init.normal_(layer.norm.running_mean)
        torch.nn.init.uniform_(layer.norm.running_var, 0.5, 2.0)
        torch.nn.init.normal_(layer.norm.weight)
    return encoder


def embed_one(embedding: SummedEmbedding, codes: list[int]) -> Tensor:
    tables = embedding.weight.split(embedding.sizes)
    return sum(table[code] for table, code in zip(tables, codes, strict=True))


def written_out(encoder: GraphEncoder, graphs: GraphBatch) -> Tensor:
    """The encoder's formula, one atom and one bond at a time."""
    config = encoder.config
    atoms, bonds = encoder.scheme.atoms(graphs.atoms).tolist(), encoder.scheme.bonds(graphs.bonds).tolist()
    h = torch.stack([embed_one(encoder.atom_embedding, atom) for atom in atoms])
    for k, layer in enumerate(encoder.layers):
        a = []
        for v in range(len(atoms)):
            incoming = [
                (h[u], embed_one(layer.bond_embedding, bonds[e]))
                for e, (u, target) in enumerate(graphs.edge_index.T.tolist())
                if target == v
            ]
            if config.kind == "gine":
                a.append(h[v] + sum(F.relu(state + bond) for state, bond in incoming))
            else:
                loop = [4 if config.dedicated_self_loop else 0] + [0] * (len(encoder.scheme.bond_sizes) - 1)
                incoming.append((h[v], embed_one(layer.bond_embedding, loop)))
                a.append(sum(state + bond for state, bond in incoming))
        new = layer.norm(layer.mlp(torch.stack(a)))
        new = F.relu(new) if k < len(encoder.layers) - 1 else new
        h = h + new if config.kind == "gine" else new
    return h


def test_states_and_gradients_equal_the_formula(encoder: GraphEncoder) -> None:
    graphs = random_batch(5, 1, 8, 11)
    results = []
    for forward in (encoder, lambda batch: written_out(encoder, batch)):
        encoder.zero_grad()
        h = forward(graphs)
        h.square().sum().backward()
        results.append((h.detach(), [parameter.grad.clone() for parameter in encoder.parameters()]))
    (fast, fast_grads), (plain, plain_grads) = results
    torch.testing.assert_close(fast, plain)
    torch.testing.assert_close(fast_grads, plain_grads)


def test_parameters_of_the_released_encoder() -> None:
    assert sum(parameter.numel() for parameter in GraphEncoder().parameters()) == 1_857_900


def test_atom_order_does_not_matter(encoder: GraphEncoder) -> None:
    rng = np.random.default_rng(1)
    molecules = random_molecules(9, 4, 1)
    others = [with_atoms_in_other_order(molecule, rng) for molecule in molecules]
    vectors = []
    for batch in (molecules, others):
        graphs = GraphBatch.from_arrays(joined(batch))
        vectors.append(readout(encoder(graphs), graphs))
    torch.testing.assert_close(vectors[0], vectors[1])


def test_a_molecule_without_bonds(encoder: GraphEncoder) -> None:
    alone = encoder(random_batch(1))
    assert alone.shape == (1, 8)
    assert torch.isfinite(alone).all()


def test_two_runs_are_equal_bit_for_bit() -> None:
    graphs = random_batch(9, 5, 14)

    def run() -> list[Tensor]:
        torch.manual_seed(3)
        encoder = GraphEncoder(
            GraphEncoderConfig(kind="gine", features="ogb", hidden=8, num_layers=2, dropout=0.1)
        )
        readout(encoder(graphs), graphs).square().sum().backward()
        return [parameter.grad for parameter in encoder.parameters()]

    assert all(torch.equal(first, second) for first, second in zip(run(), run(), strict=True))


def test_sequence_is_the_mean_then_the_atoms() -> None:
    graphs = random_batch(3, 1, 4)
    h = torch.randn(8, 5)
    states, mask = to_sequence(h, graphs)
    assert states.shape == (3, 5, 5)
    assert mask.sum(1).tolist() == [4, 2, 5]
    for molecule, atoms in enumerate(h.split([3, 1, 4])):
        expected = torch.cat([atoms.mean(0, keepdim=True), atoms])
        torch.testing.assert_close(states[molecule][mask[molecule]], expected)
        assert not states[molecule][~mask[molecule]].any()


def test_readout_is_mean_and_scaled_sum() -> None:
    h = torch.randn(8, 5)
    vectors = readout(h, random_batch(3, 1, 4), sum_scale=0.5)
    expected = [torch.cat([atoms.mean(0), 0.5 * atoms.sum(0)]) for atoms in h.split([3, 1, 4])]
    torch.testing.assert_close(vectors, torch.stack(expected))


def test_frozen_encoder_keeps_its_statistics_while_its_parent_trains() -> None:
    encoder = GraphEncoder(GIN).freeze()
    parent = torch.nn.Sequential(encoder).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    assert not parent[0](random_batch(6, 7)).requires_grad
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


def test_trained_encoder_moves_its_statistics() -> None:
    encoder = GraphEncoder(GIN).train()
    encoder(random_batch(6, 7))
    assert encoder.layers[0].norm.running_mean.any()


def test_batch_norm_of_a_single_row_uses_the_running_statistics() -> None:
    norm = BatchNorm(4).train()
    norm(torch.randn(8, 4))
    row = torch.randn(1, 4)
    mean = norm.running_mean.clone()
    trained = norm(row)
    assert torch.equal(norm.running_mean, mean)
    assert torch.equal(trained, norm.eval()(row))


def test_combinations_number_and_split() -> None:
    sizes = (5, 6, 2)
    codes = torch.cartesian_prod(*(torch.arange(size) for size in sizes))
    numbers = combination(codes, sizes)
    assert numbers.tolist() == list(range(60))
    assert torch.equal(split_combination(numbers, sizes), codes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "gcn"}, "choose gin or gine"),
        ({"features": "rdkit"}, "choose one of graphcl, ogb"),
        ({"num_layers": 0}, "num_layers >= 1"),
        ({"kind": "gine", "dedicated_self_loop": True}, "switch it off"),
        ({"features": "ogb", "dedicated_self_loop": True}, "switch it off"),
    ],
    ids=["kind", "features", "layers", "loop of gine", "loop of ogb"],
)
def test_impossible_configs_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GraphEncoderConfig(**options)
