"""Weights released with GraphCL, MoMu, MolCA and MolTC, read into our modules.

Only names differ from ours. What a checkpoint holds beyond a tower is either known to be of no use here (text
branch, language model, training heads) and returned by name, or an error.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from moltc.backbone.graph_encoder import GraphEncoder
from moltc.backbone.towers import TowerSet

StateDict = Mapping[str, Tensor]

_WRAPPER = re.compile(r"^(blip2opt|blip2qformer|blip2)\.")
_NOT_NEEDED = re.compile(
    r"Qformer\.(cls|bert\.pooler|bert\.embeddings\.(word_embeddings|position_embeddings|position_ids))\b"
    r"|Qformer\.bert\.encoder\.layer\.\d+\.(intermediate|output)\."
    r"|(opt_model|llm_model|graph_proj|text_proj|gtm_head)\.|temperature$"
)
_GRAPHCL_RENAMES = (
    (re.compile(r"^gnns\.(\d+)\.mlp\."), r"layers.\1.mlp."),
    (re.compile(r"^batch_norms\.(\d+)\."), r"layers.\1.norm."),
)
_MOLCA_RENAMES = (
    (re.compile(r"^graph_encoder\."), "gnn/"),
    (re.compile(r"^query_tokens$"), "query_tokens/weight"),
    (re.compile(r"^ln_graph\."), "qformer/norm."),
    (re.compile(r"^Qformer\.bert\.embeddings\.LayerNorm\."), "qformer/qformer.model.layernorm."),
    (
        re.compile(r"^Qformer\.bert\.(encoder\.layer\.\d+\.(?:cross)?attention)\.self\."),
        r"qformer/qformer.model.\1.attention.",
    ),
    (re.compile(r"^Qformer\.bert\.encoder\."), "qformer/qformer.model.encoder."),
    (re.compile(r"^opt_proj\."), "proj/linear."),
)
"""First match wins; the part of the tower stands before the slash."""


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Read a ``.safetensors`` file or a torch checkpoint without running code from it.

    Raises
    ------
    FileNotFoundError : no such file.
    ValueError : the file holds no tensors by name.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}: give the path of the downloaded file")
    if path.suffix == ".safetensors":
        return load_file(path)
    with torch.serialization.safe_globals([argparse.Namespace]):  # the released files keep their options so
        content = torch.load(path, map_location="cpu", weights_only=True)
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no tensors by name, at the top or under 'state_dict'")
    return dict(state)


def load_graphcl(encoder: GraphEncoder, state: StateDict) -> None:
    """Load the GIN of a GraphCL, MoMu or MolCA checkpoint.

    Raises
    ------
    ValueError : the encoder is of another kind, or a tensor is missing, left over or of another shape.
        Nothing is loaded then.
    """
    config = encoder.config
    if (config.kind, config.features) != ("gin", "graphcl"):
        raise ValueError(
            f"GraphCL weights fit an encoder of kind gin with features graphcl, not {config.kind} with "
            f"{config.features}: change the encoder's config"
        )
    renamed = _from_graphcl(state)
    _check_fit(encoder, renamed, "encoder")
    encoder.load_state_dict(renamed)


def load_molca(towers: TowerSet, state: StateDict) -> list[str]:
    """Load a MolCA or MolTC checkpoint into every tower: encoder, layer norm, Q-Former, queries, output map.

    Adapters are left as they are.

    Returns
    -------
    The names that were not needed: text branch of the Q-Former, language model, training heads.

    Raises
    ------
    ValueError : the towers have no Q-Former, or a tensor is missing, left over or of another shape.
        Nothing is loaded then.
    """
    if towers.config.projector != "qformer":
        raise ValueError("MolCA weights need projector qformer: change the tower config")
    names = {name: _WRAPPER.sub("", name) for name in state}
    unused = [name for name, bare in names.items() if _NOT_NEEDED.match(bare)]
    parts = _by_part({bare: state[name] for name, bare in names.items() if name not in set(unused)})
    parts["gnn"] = _from_graphcl(parts["gnn"])
    if "weight" in parts["query_tokens"]:
        parts["query_tokens"]["weight"] = parts["query_tokens"]["weight"].squeeze(0)  # [1, Q, d] -> [Q, d]
    owners = {name: list(cast(nn.ModuleDict, part).values()) for name, part in towers.parts.items()}
    for name, copies in owners.items():
        _check_fit(copies[0], parts[name], name)
    for name, copies in owners.items():
        for part in copies:
            part.load_state_dict(parts[name])
    return unused


def _by_part(state: StateDict) -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {"gnn": {}, "query_tokens": {}, "qformer": {}, "proj": {}}
    unknown = []
    for name, tensor in state.items():
        part, slash, own_name = _renamed(name, _MOLCA_RENAMES).partition("/")
        if slash:
            parts[part][own_name] = tensor
        else:
            unknown.append(name)
    if unknown:
        raise ValueError(f"the checkpoint holds tensors of no known part of a tower: {_listed(unknown)}")
    return parts


def _from_graphcl(state: StateDict) -> dict[str, Tensor]:
    """GraphCL names to ours; the two embedding tables of atoms and of each layer's bonds become one."""
    left = dict(state)
    layers = sorted({name.split(".")[1] for name in left if name.startswith("gnns.")})
    tables = {"x_embedding": "atom_embedding.weight"}
    tables |= {f"gnns.{k}.edge_embedding": f"layers.{k}.bond_embedding.weight" for k in layers}
    merged = {}
    for theirs, ours in tables.items():
        first, second = f"{theirs}1.weight", f"{theirs}2.weight"
        if first in left and second in left:
            merged[ours] = torch.cat([left.pop(first), left.pop(second)])
    return merged | {_renamed(name, _GRAPHCL_RENAMES): tensor for name, tensor in left.items()}


def _renamed(name: str, renames: tuple[tuple[re.Pattern[str], str], ...]) -> str:
    for pattern, replacement in renames:
        if pattern.match(name):
            return pattern.sub(replacement, name)
    return name


def _check_fit(module: nn.Module, state: StateDict, what: str) -> None:
    expected = module.state_dict()
    missing = [name for name in expected if name not in state]
    left_over = [name for name in state if name not in expected]
    if missing or left_over:
        raise ValueError(
            f"the checkpoint does not fit the {what}: missing {_listed(missing)}; "
            f"left over {_listed(left_over)}. Compare its sizes with the tower config"
        )
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            raise ValueError(
                f"the checkpoint does not fit the {what}: {name} is {tuple(state[name].shape)}, "
                f"the tower config makes it {tuple(tensor.shape)}"
            )


def _listed(names: list[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "nothing") + more
