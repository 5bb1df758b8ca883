"""Token tries: automata that say which token may follow, so that each answer is admissible.

A trie over the texts of all printable numbers of a range is the number automaton: sign, digits, point and the
interval before them follow from the texts, whatever the tokenizer makes of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class TokenTrie:
    """Prefix tree over token sequences, stored as flat arrays.

    Parameters
    ----------
    sequences : distinct token sequences, the end token included, none a prefix of another.

    Attributes
    ----------
    first_child, num_children : int64 [nodes]; the children of a node are consecutive edges.
    edge_token, edge_node : int64 [edges]; token and child of each edge; child numbers grow with depth.
    leaf : int64 [nodes]; the sequence that ends at a node, or -1.
    forced_leaf : int64 [nodes]; the only sequence that can follow a node, or -1 where several can.
    depth : longest sequence.
    """

    ROOT = 0

    def __init__(self, sequences: Sequence[np.ndarray]) -> None:
        if not len(sequences):
            raise ValueError("a trie needs at least one sequence")
        lengths = np.array([len(s) for s in sequences], dtype=np.int64)
        if lengths.min() == 0:
            raise ValueError("an empty sequence cannot be decoded: give it at least its end token")
        self.depth = int(lengths.max())
        table = np.full((len(sequences), self.depth), -1, dtype=np.int64)
        for row, sequence in enumerate(sequences):
            table[row, : len(sequence)] = sequence
        order = np.lexsort(table.T[::-1])
        table, lengths = table[order], lengths[order]

        node = np.zeros(len(table), dtype=np.int64)  # node of each sequence at the current depth
        firsts, counts, tokens, children = [], [], [], []
        leaf_of: list[tuple[np.ndarray, np.ndarray]] = []
        next_node, edges = 1, 0
        level_nodes = 1
        for depth in range(self.depth):
            alive = lengths > depth
            rows = np.flatnonzero(alive)
            pairs = np.stack([node[rows], table[rows, depth]], axis=1)
            new = np.ones(len(rows), dtype=bool)
            new[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
            child = next_node + np.cumsum(new) - 1
            parents, token = pairs[new, 0], pairs[new, 1]
            level_first = next_node - level_nodes
            count = np.bincount(parents - level_first, minlength=level_nodes)
            firsts.append(edges + np.cumsum(count) - count)
            counts.append(count)
            tokens.append(token)
            children.append(child[new])
            node[rows] = child
            ends = rows[lengths[rows] == depth + 1]
            leaf_of.append((node[ends], order[ends]))
            edges += len(token)
            level_nodes = int(new.sum())
            next_node += level_nodes
        firsts.append(np.full(level_nodes, edges))
        counts.append(np.zeros(level_nodes, dtype=np.int64))

        self.first_child = np.concatenate(firsts).astype(np.int64)
        self.num_children = np.concatenate(counts).astype(np.int64)
        self.edge_token = np.concatenate(tokens)
        self.edge_node = np.concatenate(children)
        self.leaf = np.full(next_node, -1, dtype=np.int64)
        for nodes, sequence in leaf_of:
            if (self.leaf[nodes] >= 0).any() or len(np.unique(nodes)) < len(nodes):
                raise ValueError("two sequences are equal: each answer may be listed once")
            self.leaf[nodes] = sequence
        inner = self.num_children > 0
        if (self.leaf[inner] >= 0).any():
            raise ValueError("one sequence is a prefix of another: end every sequence with the end token")
        self.forced_leaf = self.leaf.copy()
        for at in np.flatnonzero(self.num_children == 1)[::-1]:  # children have larger numbers than parents
            self.forced_leaf[at] = self.forced_leaf[self.edge_node[self.first_child[at]]]

    def __len__(self) -> int:
        return int((self.leaf >= 0).sum())

    def __repr__(self) -> str:
        return f"TokenTrie(sequences={len(self)}, nodes={len(self.leaf)}, depth={self.depth})"

    def edges_of(self, nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All edges that leave some nodes: (index into ``nodes``, edge), both [total children]."""
        count = self.num_children[nodes]
        source = np.repeat(np.arange(len(nodes)), count)
        within = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        return source, self.first_child[nodes][source] + within

    def accepts(self, tokens: Sequence[int]) -> int:
        """The sequence that these tokens spell, or -1."""
        node = self.ROOT
        for token in tokens:
            first, count = int(self.first_child[node]), int(self.num_children[node])
            found = np.flatnonzero(self.edge_token[first : first + count] == token)
            if not len(found):
                return -1
            node = int(self.edge_node[first + found[0]])
        return int(self.leaf[node])
