"""Weights under the released names: a round trip through those names, and refusals."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest
import torch
from graph_samples import random_batch
from safetensors.torch import save_file
from torch import Tensor

from moltc.backbone.graph_encoder import GraphEncoder, GraphEncoderConfig
from moltc.backbone.qformer import QFormerConfig
from moltc.backbone.released_weights import load_graphcl, load_molca, read_checkpoint
from moltc.backbone.towers import TowerConfig, TowerInputs, TowerSet

ENCODER = GraphEncoderConfig(hidden=12, num_layers=2)
CONFIG = TowerConfig(
    encoder=ENCODER,
    num_queries=3,
    qformer=QFormerConfig(hidden=16, layers=3, heads=2, ffn=24),
    adapter_rank=2,
)


def graphcl_names(encoder: GraphEncoder, prefix: str = "") -> dict[str, Tensor]:
    """The weights of an encoder as GraphCL names them."""
    state = {}
    for name, tensor in encoder.state_dict().items():
        if name == "atom_embedding.weight":
            state |= {"x_embedding1.weight": tensor[:120], "x_embedding2.weight": tensor[120:]}
        elif match := re.fullmatch(r"layers\.(\d+)\.bond_embedding\.weight", name):
            theirs = f"gnns.{match[1]}.edge_embedding"
            state |= {f"{theirs}1.weight": tensor[:6], f"{theirs}2.weight": tensor[6:]}
        else:
            _, layer, rest = name.split(".", 2)
            theirs = f"batch_norms.{layer}.{rest[5:]}" if rest.startswith("norm.") else f"gnns.{layer}.{rest}"
            state[theirs] = tensor
    return {prefix + name: tensor for name, tensor in state.items()}


def molca_names(towers: TowerSet, prefix: str = "") -> dict[str, Tensor]:
    """The weights of the drug tower as MolCA and MolTC name them, with some that a tower does not need."""
    tower = towers.tower("drug")
    state = graphcl_names(tower.parts["gnn"], "graph_encoder.")
    state["query_tokens"] = tower.parts["query_tokens"].weight.detach()[None]
    for name, tensor in tower.parts["qformer"].state_dict().items():
        theirs = name.replace("qformer.model.", "Qformer.bert.").replace(
            "attention.attention.", "attention.self."
        )
        theirs = theirs.replace("bert.layernorm.", "bert.embeddings.LayerNorm.")
        state[re.sub(r"^norm\.", "ln_graph.", theirs)] = tensor
    state |= {f"opt_proj.{name}": t for name, t in tower.parts["proj"].linear.state_dict().items()}
    state |= {name: torch.zeros(1) for name in NOT_NEEDED}
    return {prefix + name: tensor for name, tensor in state.items()}


NOT_NEEDED = [
    "Qformer.bert.embeddings.word_embeddings.weight",
    "Qformer.bert.embeddings.position_ids",
    "Qformer.bert.encoder.layer.0.intermediate.dense.weight",
    "Qformer.bert.encoder.layer.0.output.LayerNorm.bias",
    "Qformer.cls.predictions.bias",
    "opt_model.lm_head.weight",
    "temperature",
]


def build(seed: int) -> TowerSet:
    torch.manual_seed(seed)
    return TowerSet(CONFIG, ["drug", "solvent"], out_dim=7).eval()


def test_released_names_are_the_ones_written_in_the_papers_code() -> None:
    names = molca_names(build(0))
    for name in (
        "graph_encoder.x_embedding1.weight",
        "graph_encoder.gnns.1.edge_embedding2.weight",
        "graph_encoder.gnns.0.mlp.2.bias",
        "graph_encoder.batch_norms.1.running_var",
        "ln_graph.weight",
        "Qformer.bert.embeddings.LayerNorm.weight",
        "Qformer.bert.encoder.layer.1.attention.self.query.weight",
        "Qformer.bert.encoder.layer.0.attention.output.LayerNorm.weight",
        "Qformer.bert.encoder.layer.2.crossattention.self.key.weight",
        "Qformer.bert.encoder.layer.2.crossattention.output.dense.bias",
        "Qformer.bert.encoder.layer.0.intermediate_query.dense.weight",
        "Qformer.bert.encoder.layer.0.output_query.LayerNorm.bias",
        "opt_proj.weight",
    ):
        assert name in names


def test_graphcl_weights_load() -> None:
    source, target, graphs = GraphEncoder(ENCODER).eval(), GraphEncoder(ENCODER).eval(), random_batch(5, 1, 7)
    torch.nn.init.uniform_(source.layers[0].norm.running_var, 0.5, 2)
    state = graphcl_names(source)
    assert state["x_embedding1.weight"].shape == (120, 12)
    assert state["gnns.0.edge_embedding1.weight"].shape == (6, 12)
    load_graphcl(target, state)
    assert torch.equal(source(graphs), target(graphs))


@pytest.mark.parametrize("prefix", ["", "blip2opt."], ids=["bare", "as saved in training"])
def test_molca_weights_load_into_every_tower(prefix: str) -> None:
    source, target, graphs = build(0), build(1), random_batch(5, 1, 7)
    unused = load_molca(target, molca_names(source, prefix))
    assert unused == [prefix + name for name in NOT_NEEDED]
    rows = torch.arange(3)
    expected = source(TowerInputs(graphs, {"drug": rows})).soft_tokens["drug"]
    soft = target(TowerInputs(graphs, {"drug": rows, "solvent": rows})).soft_tokens
    assert torch.equal(soft["drug"], expected)
    assert torch.equal(soft["solvent"], expected)


def _without(name: str):
    return lambda state: {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without("gnns.0.mlp.0.weight"), "missing layers.0.mlp.0.weight; left over nothing"),
        (_without("x_embedding2.weight"), "left over x_embedding1.weight"),
        (lambda state: state | {"pool.weight": torch.zeros(1)}, "left over pool.weight"),
        (lambda state: state | {"gnns.1.mlp.2.bias": torch.zeros(3)}, r"layers.1.mlp.2.bias is \(3,\)"),
    ],
    ids=["missing", "half of a table", "left over", "shape"],
)
def test_graphcl_weights_that_do_not_fit_are_refused_whole(spoil, message: str) -> None:
    encoder = GraphEncoder(ENCODER)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_graphcl(encoder, spoil(graphcl_names(GraphEncoder(ENCODER))))
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without("query_tokens"), "fit the query_tokens: missing weight"),
        (lambda state: state | {"opt_proj.weight": torch.zeros(9, 16)}, r"proj: linear.weight is \(9, 16\)"),
        (lambda state: state | {"vision.weight": torch.zeros(1)}, "no known part of a tower: vision.weight"),
    ],
    ids=["missing", "width of the language model", "unknown"],
)
def test_molca_weights_that_do_not_fit_are_refused_whole(spoil, message: str) -> None:
    towers = build(1)
    before = {name: tensor.clone() for name, tensor in towers.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load_molca(towers, spoil(molca_names(build(0))))
    assert all(torch.equal(before[name], tensor) for name, tensor in towers.state_dict().items())


def test_other_architectures_are_refused() -> None:
    with pytest.raises(ValueError, match="kind gin with features graphcl"):
        load_graphcl(GraphEncoder(GraphEncoderConfig(features="ogb", hidden=12, num_layers=2)), {})
    with pytest.raises(ValueError, match="projector qformer"):
        load_molca(TowerSet(TowerConfig(projector="pooled"), ["drug"], 7), {})


@pytest.mark.parametrize("form", ["safetensors", "plain", "training checkpoint"])
def test_checkpoints_are_read(tmp_path: Path, form: str) -> None:
    state = {"x": torch.randn(3)}
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        save_file(state, path)
    elif form == "plain":
        torch.save(state, path)
    else:
        torch.save({"state_dict": state, "hyper_parameters": argparse.Namespace(lr=1.0)}, path)
    assert torch.equal(read_checkpoint(path)["x"], state["x"])


def test_files_without_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="no tensors by name"):
        read_checkpoint(tmp_path / "w.pth")
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        read_checkpoint(tmp_path / "absent.pth")


def test_reading_runs_no_code(tmp_path: Path) -> None:
    class Mischief:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"state_dict": Mischief()}, tmp_path / "w.pth")
    with pytest.raises(Exception, match="Weights only load failed"):
        read_checkpoint(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()
