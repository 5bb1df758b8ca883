"""Greedy writing inside tries, another one for each prompt: every answer is a title on offer.

Letters: B prompts, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from moltc.backbone.decoding import open_session
from moltc.backbone.prompt import PromptTree
from moltc.backbone.soft_prompt_lm import SoftPromptLM
from moltc.backbone.trie import TokenTrie


class Forest:
    """Several tries as one set of arrays.

    Args:
        tries: one for each prompt, or one that serves ``count`` of them.
        count: B.

    Attributes:
        root: node that each prompt begins at, ``[B]``.
        first_child, num_children, edge_token, edge_node, forced_leaf: as in
            :class:`moltc.backbone.trie.TokenTrie`, with all nodes and edges numbered on.
    """

    def __init__(self, tries: Sequence[TokenTrie], count: int) -> None:
        if len(tries) not in (1, count):
            raise ValueError(f"{len(tries)} tries for {count} prompts: give one for each, or one for all")
        nodes = np.cumsum([0, *(len(trie.leaf) for trie in tries)])
        edges = np.cumsum([0, *(len(trie.edge_token) for trie in tries)])
        pairs = list(zip(tries, nodes.tolist(), edges.tolist(), strict=False))
        self.root = np.resize(nodes[:-1], count)
        self.first_child = np.concatenate([trie.first_child + edge for trie, _, edge in pairs])
        self.num_children = np.concatenate([trie.num_children for trie in tries])
        self.edge_token = np.concatenate([trie.edge_token for trie in tries])
        self.edge_node = np.concatenate([trie.edge_node + node for trie, node, _ in pairs])
        self.forced_leaf = np.concatenate([trie.forced_leaf for trie in tries])
        self.depth = max(trie.depth for trie in tries)

    def edges(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All edges that leave some nodes: where each node's begin, ``[n]``, and the edges."""
        count = self.num_children[nodes]
        begins = np.cumsum(count) - count
        within = np.arange(int(count.sum())) - np.repeat(begins, count)
        return begins, np.repeat(self.first_child[nodes], count) + within


@torch.no_grad()
def decode_tries(
    model: SoftPromptLM, trees: Sequence[PromptTree], tries: Sequence[TokenTrie], encoded: Any = None
) -> np.ndarray:
    """The sequence that each prompt is followed by, if every token must lie in its trie, int64 ``[B]``.

    At each node the likeliest child is taken; what can only end in one sequence is not written out.

    Args:
        tries: one for each prompt, or one for all.
        encoded: the towers' output for the trees' entities.
    """
    lm, forest = model.language_model, Forest(tries, len(trees))
    node = forest.root.copy()
    session = open_session(model, trees, encoded)
    hidden = session.first()
    parent = torch.zeros(len(trees), 1, dtype=torch.long, device=model.device)
    token = np.full(len(trees), lm.tokenizer.eos_token_id, dtype=np.int64)
    while len(open_ := np.flatnonzero(forest.forced_leaf[node] < 0)):
        edges = _likeliest(forest, lm.logits(hidden), open_, node[open_])
        node[open_], token[open_] = forest.edge_node[edges], forest.edge_token[edges]
        if (forest.forced_leaf[node] >= 0).all():
            break
        hidden = session.step(torch.from_numpy(token).to(model.device)[:, None], parent)[:, 0]
    return forest.forced_leaf[node]


def _likeliest(forest: Forest, logits: Tensor, rows: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """The likeliest edge out of each node, the first of equals, ``[n]``.

    Args:
        logits: ``[B, V]``.
        rows: whose logits each node goes by, ``[n]``.
        nodes: with children, ``[n]``.
    """
    if (nodes == nodes[0]).all():  # as at the root of a trie that serves all: one block of columns
        first = int(forest.first_child[nodes[0]])
        own = torch.from_numpy(forest.edge_token[first : first + int(forest.num_children[nodes[0]])])
        asked = logits if len(rows) == len(logits) else logits[torch.from_numpy(rows).to(logits.device)]
        chosen: np.ndarray = asked.index_select(1, own.to(logits.device)).argmax(1).cpu().numpy()
        return first + chosen
    begins, edges = forest.edges(nodes)
    tokens = forest.edge_token[edges]
    counts = np.diff(np.append(begins, len(tokens)))
    place = torch.from_numpy(np.stack([np.repeat(rows, counts), tokens])).to(logits.device)
    values = logits[place[0], place[1]].cpu().numpy()
    best = np.flatnonzero(values == np.repeat(np.maximum.reduceat(values, begins), counts))
    owner = np.repeat(np.arange(len(rows)), counts)[best]
    return edges[best[np.searchsorted(owner, np.arange(len(rows)))]]
