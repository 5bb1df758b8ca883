"""Towers: from molecules to soft tokens, and which towers share which weights.

A tower is a graph encoder and a projector. MolTC (arXiv 2402.03781) announces "dynamic parameter sharing":
molecules that play the same part share weights across slots and data sets. :class:`TowerConfig` says which
weights are shared; :class:`TowerSet` encodes each distinct molecule of a batch once for each set of weights
that reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple, cast

from torch import Tensor, nn

from moltc.backbone.adapters import LowRankAdapters
from moltc.backbone.batch_norm import counted
from moltc.backbone.freezing import Freezable
from moltc.backbone.graph_encoder import GraphEncoder, readout, to_sequence
from moltc.backbone.graphs import GraphBatch
from moltc.backbone.projectors import LinearProjector, PooledProjector
from moltc.backbone.qformer import GraphReader, QueryTokens
from moltc.backbone.tower_config import ADAPTERS, TowerConfig, tower_key

__all__ = ["Encoding", "Tower", "TowerConfig", "TowerInputs", "TowerOutput", "TowerSet", "tower_key"]

SHARED = "shared"
"""Owner's name of a part that all towers share."""


class TowerShares(NamedTuple):
    """How much each molecule counts in batch statistics over several processes: 1 / those that encode it."""

    graphs: Tensor
    """float [M]."""
    members: dict[str, Tensor]
    """Tower key -> float [M_k]."""


class TowerInputs(NamedTuple):
    """The molecules of a batch and who reads them."""

    graphs: GraphBatch
    """The distinct molecules, each once."""
    members: dict[str, Tensor]
    """Tower key -> long [M_k] rows of ``graphs``; the order of keys is the order of the output."""
    shares: TowerShares | None = None
    """Only where batch statistics are taken over several processes; None: each molecule counts once."""

    def by_key(self) -> Iterator[tuple[str, Tensor, Tensor | None]]:
        """Key, rows and shares of each tower's molecules."""
        for key, rows in self.members.items():
            yield key, rows, None if self.shares is None else self.shares.members[key]


class TowerOutput(NamedTuple):
    """What the towers say of their molecules."""

    soft_tokens: dict[str, Tensor]
    """Tower key -> [M_k, Q, H]."""
    pooled: dict[str, Tensor]
    """Tower key -> [M_k, pooled_dim], one vector per molecule, for auxiliary heads."""


class Encoding(NamedTuple):
    """Encoded molecules, ready for a projector."""

    readout: Tensor
    """[M, 2 d]."""
    fingerprint: Tensor
    """uint8 [M, 256]."""
    states: Tensor | None
    """[M, 1 + n_max, d], for the Q-Former."""
    mask: Tensor | None
    """bool [M, 1 + n_max]."""

    def select(self, rows: Tensor) -> Encoding:
        """The molecules ``rows``, long [K]."""
        return Encoding(
            readout=self.readout[rows],
            fingerprint=self.fingerprint[rows],
            states=None if self.states is None else self.states[rows],
            mask=None if self.mask is None else self.mask[rows],
        )


@dataclass(frozen=True)
class Tower:
    """One tower: its parts, its own or shared, and its adapters on the shared ones."""

    parts: Mapping[str, nn.Module]
    adapters: Mapping[str, LowRankAdapters]

    @contextmanager
    def adapted(self) -> Iterator[Mapping[str, nn.Module]]:
        """The parts, with this tower's adapters in force within the block."""
        with ExitStack() as stack:
            for name, adapters in self.adapters.items():
                stack.enter_context(adapters.applied_to(self.parts[name]))
            yield self.parts

    def encode(self, graphs: GraphBatch, shares: Tensor | None = None) -> Encoding:
        """Run the graph encoder over M molecules; ``shares`` [M] weigh them in batch statistics."""
        atoms = None if shares is None else shares[graphs.node_graph]  # [N]
        with self.adapted() as parts, counted(parts["gnn"], atoms):
            h = parts["gnn"](graphs)  # [N, d]
        states, mask = to_sequence(h, graphs) if "qformer" in parts else (None, None)
        return Encoding(readout(h, graphs), graphs.fingerprint, states, mask)

    def project(self, encoding: Encoding, shares: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Soft tokens [M, Q, H] and graph-level vectors [M, pooled_dim]; ``shares`` [M] as in encoding."""
        with self.adapted() as parts, counted(parts["proj"], shares):
            project = parts["proj"]
            if isinstance(project, PooledProjector):
                vector = project.vector(encoding.readout, encoding.fingerprint)
                return project(vector), vector
            queries = parts["qformer"](
                parts["query_tokens"](), encoding.states, encoding.mask
            )  # [M, Q, hidden]
            return project(queries), encoding.readout


class TowerSet(nn.Module):
    """All towers of a model.

    Parameters
    ----------
    config : what a tower is made of and what is shared.
    keys : the towers, as :func:`tower_key` names them.
    out_dim : width H of the language model.

    Only the towers named by a batch run, so the others get no gradient (under DDP:
    ``find_unused_parameters``). All towers start from the same weights.
    """

    def __init__(self, config: TowerConfig, keys: Sequence[str], out_dim: int) -> None:
        super().__init__()
        self.config = config
        self.keys = _checked_keys(config, keys)
        self.num_queries = config.num_queries
        base = _build_parts(config, out_dim)
        self.pooled_dim = getattr(base["proj"], "vector_dim", 2 * config.encoder.hidden)
        shared = [name for name in config.parts if name not in config.duplicated]
        adapters = nn.ModuleDict(
            {
                name: LowRankAdapters(base[name], base[name].adapter_targets(), config.rank)
                for name in shared
                if config.rank and base[name].adapter_targets()
            }
        )
        self.parts = nn.ModuleDict(
            {
                name: nn.ModuleDict(
                    {SHARED: part} if name in shared else {key: deepcopy(part) for key in self.keys}
                )
                for name, part in base.items()
            }
        )
        self.adapters = nn.ModuleDict({key: deepcopy(adapters) for key in self.keys} if len(adapters) else {})
        self._freeze()

    def tower(self, key: str) -> Tower:
        """The tower of a key, as a view of this module's parts.

        Raises
        ------
        KeyError : no such tower.
        """
        if key not in self.keys:
            raise KeyError(f"no tower '{key}': this model has {', '.join(self.keys)}")
        adapters = cast(nn.ModuleDict, self.adapters[key]).items() if len(self.adapters) else ()
        return Tower(
            parts={name: owners[SHARED if SHARED in owners else key] for name, owners in self._owners()},
            adapters={name: cast(LowRankAdapters, adapter) for name, adapter in adapters},
        )

    def forward(self, inputs: TowerInputs) -> TowerOutput:
        """Encode the molecules of a batch, each once for each set of weights that reads it.

        Raises
        ------
        ValueError : a tower has no members. KeyError : a tower is unknown.
        """
        everyone = None
        if not self._encodes_by_key:
            shares = None if inputs.shares is None else inputs.shares.graphs
            everyone = self.tower(self.keys[0]).encode(inputs.graphs, shares)
        output = TowerOutput({}, {})
        for key, rows, shares in inputs.by_key():
            if rows.numel() == 0:
                raise ValueError(f"tower '{key}' has no molecules in this batch: leave the key out")
            tower = self.tower(key)
            if everyone is None:
                encoding = tower.encode(inputs.graphs.select(rows), shares)
            else:
                encoding = everyone.select(rows)
            output.soft_tokens[key], output.pooled[key] = tower.project(encoding, shares)
        return output

    def copy_tower(self, key: str, source: TowerSet, source_key: str) -> None:
        """Take over the weights of a tower of another set, the parts it shares included.

        Raises
        ------
        RuntimeError : the towers are made differently.
        """
        mine, theirs = self.tower(key), source.tower(source_key)
        for name, part in mine.parts.items():
            part.load_state_dict(theirs.parts[name].state_dict())
        for name, adapter in mine.adapters.items():
            adapter.load_state_dict(theirs.adapters[name].state_dict())

    @property
    def _encodes_by_key(self) -> bool:
        adapted = len(self.adapters) > 0 and "gnn" in cast(nn.ModuleDict, self.adapters[self.keys[0]])
        return adapted or "gnn" in self.config.duplicated

    def _owners(self) -> Iterator[tuple[str, nn.ModuleDict]]:
        for name, owners in self.parts.items():
            yield name, cast(nn.ModuleDict, owners)

    def _freeze(self) -> None:
        for name, owners in self._owners():
            if name in self.config.freeze:
                for part in owners.values():
                    cast(Freezable, part).freeze()
        if ADAPTERS in self.config.freeze:
            self.adapters.requires_grad_(False)


def _checked_keys(config: TowerConfig, keys: Sequence[str]) -> tuple[str, ...]:
    distinct = tuple(dict.fromkeys(keys))
    if not distinct:
        raise ValueError("a tower set needs at least one tower key")
    if config.sharing == "tied" and len(distinct) > 1:
        raise ValueError(f"sharing tied has one tower, not {', '.join(distinct)}: choose by_role for several")
    for key in distinct:
        if "." in key or not key:
            raise ValueError(f"tower key '{key}' cannot name a module: use a role or task name without dots")
    return distinct


def _build_parts(config: TowerConfig, out_dim: int) -> dict[str, Freezable]:
    encoder = GraphEncoder(config.encoder)
    if config.projector == "pooled":
        projector = PooledProjector(
            2 * encoder.out_dim,
            config.pooled_hidden,
            config.num_queries,
            out_dim,
            fingerprint=config.fingerprint,
            fingerprint_dim=config.fingerprint_dim,
            fingerprint_dropout=config.fingerprint_dropout,
        )
        return {"gnn": encoder, "proj": projector}
    return {
        "gnn": encoder,
        "query_tokens": QueryTokens(config.num_queries, config.qformer.hidden),
        "qformer": GraphReader(config.qformer, encoder.out_dim),
        "proj": LinearProjector(config.qformer.hidden, out_dim),
    }
