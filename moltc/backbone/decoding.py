"""Writing answers: greedy text, or the distribution over the sequences of a trie.

The prompts are computed once. Beams are branches of their prompt's row: each new token sees the prompt and
its own ancestors through the mask, so the key-value cache is neither copied nor moved when beams are dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from moltc.backbone.packing import pack
from moltc.backbone.prompt import PromptTree
from moltc.backbone.soft_prompt_lm import SoftPromptLM
from moltc.backbone.trie import TokenTrie


class Session(Protocol):
    """Prompts that have been read, and branches that grow from them."""

    def first(self) -> Tensor:
        """Hidden state of the last prompt token, [B, H]."""

    def step(self, tokens: Tensor, parent: Tensor) -> Tensor:
        """Add W tokens to each row, each after branch ``parent`` of the last step.

        Parameters
        ----------
        tokens, parent : long [B, W].

        Returns
        -------
        hidden states [B, W, H].
        """


class CachedSession:
    """One row per prompt in the key-value cache; branches share it through the mask."""

    def __init__(self, model: SoftPromptLM, trees: Sequence[PromptTree], encoded: Any = None) -> None:
        lm = self.lm = model.language_model
        prompts = [tree.with_completions(()) for tree in trees]
        packed = pack(prompts, sharing="expanded", pad_id=lm.tokenizer.pad_token_id or 0).to(model.device)
        self.cache = DynamicCache()
        hidden = lm.hidden(model.embed(packed, encoded), packed.position_ids, None, self.cache)
        self._first = hidden.flatten(0, 1)[packed.prompt_end]
        stored = packed.tree >= 0  # [B, T]
        self.visible = stored[:, None, :]  # [B, W, L] what each branch of the last step sees
        self.position = torch.where(stored, packed.position_ids, -1)  # [B, L]
        self.next_position = stored.sum(1)  # [B]

    def first(self) -> Tensor:
        return self._first

    def step(self, tokens: Tensor, parent: Tensor) -> Tensor:
        lm, width = self.lm, tokens.shape[1]
        rows = torch.arange(len(tokens), device=tokens.device)[:, None]
        own = torch.eye(width, dtype=torch.bool, device=tokens.device).expand(len(tokens), -1, -1)
        self.visible = torch.cat([self.visible[rows, parent], own], dim=2)  # [B, W, L + W]
        here = self.next_position[:, None].expand(-1, width)
        self.position = torch.cat([self.position, here], dim=1)
        self.next_position = self.next_position + 1

        def mask(window: int | None) -> Tensor:
            allowed = self.visible
            if window is not None:
                allowed = allowed & (here[:, :, None] - self.position[:, None, :] < window)
            return lm.additive(allowed)

        return lm.hidden(lm.embed(tokens), here, lm.by_layer(mask), self.cache)


class RecomputeSession:
    """The same for architectures that take no mask: each step runs whole branches again. Slow and right."""

    def __init__(self, model: SoftPromptLM, trees: Sequence[PromptTree], encoded: Any = None) -> None:
        self.model, self.encoded = model, encoded
        self.trees = [tree.with_completions(()) for tree in trees]
        self.history = [[np.empty(0, dtype=np.int64)] for _ in trees]

    def _run(self) -> Tensor:
        rows = [
            tree.extended(h)
            for tree, branches in zip(self.trees, self.history, strict=True)
            for h in branches
        ]
        packed = pack(rows, sharing="expanded").to(self.model.device)
        hidden = self.model.hidden(packed, self.encoded).flatten(0, 1)[packed.prompt_end]
        return hidden.view(len(self.trees), -1, hidden.shape[-1])

    def first(self) -> Tensor:
        return self._run()[:, 0]

    def step(self, tokens: Tensor, parent: Tensor) -> Tensor:
        self.history = [
            [np.append(branches[p], t) for p, t in zip(parents, row, strict=True)]
            for branches, parents, row in zip(self.history, parent.tolist(), tokens.tolist(), strict=True)
        ]
        return self._run()


def _check_room(model: SoftPromptLM, trees: Sequence[PromptTree], new_tokens: int) -> None:
    """The prompts and ``new_tokens`` more must fit what the model reads; the last one is not read again."""
    limit = model.language_model.max_positions
    longest = max(range(len(trees)), key=lambda b: len(trees[b].prompt_ids), default=None)
    if limit is None or longest is None:
        return
    prompt = len(trees[longest].prompt_ids)
    if prompt + new_tokens - 1 > limit:
        raise ValueError(
            f"prompt {longest} has {prompt} tokens, and with {new_tokens} more it exceeds the {limit} that "
            "the model reads; shorten the prompt or write fewer tokens"
        )


def open_session(model: SoftPromptLM, trees: Sequence[PromptTree], encoded: Any = None) -> Session:
    """The session that this model's architecture allows."""
    kind = CachedSession if model.language_model.sharing == "shared" else RecomputeSession
    return kind(model, trees, encoded)


@torch.no_grad()
def generate(
    model: SoftPromptLM,
    trees: Sequence[PromptTree],
    encoded: Any = None,
    *,
    max_new_tokens: int = 64,
    stop: Sequence[int] | None = None,
    stop_count: int = 1,
) -> list[np.ndarray]:
    """Greedy continuation of each prompt.

    Parameters
    ----------
    encoded : the towers' output for ``pack(trees).entities``.
    max_new_tokens : most tokens written per prompt.
    stop : ids after which a prompt is finished; default the end token, which always ends a prompt.
    stop_count : how many of them must have been written.

    Returns
    -------
    per prompt the new ids, the stop token included when one was reached.
    """
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be at least 1, not {max_new_tokens}")
    _check_room(model, trees, max_new_tokens)
    lm = model.language_model
    end = lm.tokenizer.eos_token_id
    stops = torch.tensor([end] if stop is None else list(stop), dtype=torch.long, device=model.device)
    count = torch.zeros(len(trees), dtype=torch.long, device=model.device)
    session = open_session(model, trees, encoded)
    hidden = session.first()
    parent = torch.zeros(len(trees), 1, dtype=torch.long, device=model.device)
    written: list[Tensor] = []
    done = torch.zeros(len(trees), dtype=torch.bool, device=model.device)
    length = torch.zeros(len(trees), dtype=torch.long, device=model.device)
    for step in range(max_new_tokens):
        token = lm.logits(hidden).argmax(-1)
        written.append(token)
        length += ~done
        count += torch.isin(token, stops)
        done |= (count >= stop_count) | (token == end)
        if bool(done.all()) or step + 1 == max_new_tokens:
            break
        hidden = session.step(token[:, None], parent)[:, 0]
    table = torch.stack(written, dim=1).cpu().numpy()
    return [row[:n] for row, n in zip(table, length.tolist(), strict=True)]


@dataclass
class TrieDistribution:
    """What beam search found of the distribution over a trie's sequences, best first within each prompt.

    Attributes
    ----------
    prompt, leaf : int64 [n]; prompt number and sequence number of each finished sequence.
    probability : float64 [n]; renormalised, sums to 1 within each prompt.
    coverage : float64 [B]; probability under the trie of what was kept before renormalising.
    """

    prompt: np.ndarray
    leaf: np.ndarray
    probability: np.ndarray
    coverage: np.ndarray

    def best(self) -> np.ndarray:
        """Most probable sequence of each prompt, int64 [B]."""
        return self.leaf[np.searchsorted(self.prompt, np.arange(len(self.coverage)))]

    def expectation(self, values: np.ndarray) -> np.ndarray:
        """Mean of ``values[leaf]`` under the distribution, float64 [B]."""
        return np.bincount(
            self.prompt, weights=self.probability * values[self.leaf], minlength=len(self.coverage)
        )

    def quantile(self, values: np.ndarray, level: float) -> np.ndarray:
        """Smallest value whose cumulative probability reaches ``level`` (0 to 1), float64 [B]."""
        if not 0.0 <= level <= 1.0:
            raise ValueError(f"a quantile's level lies between 0 and 1, not at {level}")
        order = np.lexsort((values[self.leaf], self.prompt))
        prompt = self.prompt[order]
        total = np.cumsum(self.probability[order]) - prompt  # each prompt's mass is 1
        last = np.append(prompt[1:] != prompt[:-1], True)  # reaches 1, whatever the rounding
        reached = np.flatnonzero((total >= level - 1e-9) | last)
        first = reached[np.searchsorted(prompt[reached], np.arange(len(self.coverage)))]
        return values[self.leaf[order][first]]


@torch.no_grad()
def decode_trie(
    model: SoftPromptLM, trees: Sequence[PromptTree], trie: TokenTrie, encoded: Any = None, *, width: int = 24
) -> TrieDistribution:
    """Beam search inside a trie, with log-probabilities renormalised over the tokens that the trie allows.

    Up to ``width`` branches per prompt are carried on. A branch that can end in one sequence only is closed
    at once, and branches that close are never pruned: after the last choice all children of the kept count.
    """
    if width < 1:
        raise ValueError(f"width must be at least 1 branch, not {width}")
    _check_room(model, trees, trie.depth)
    lm, device, count = model.language_model, model.device, len(trees)
    session = open_session(model, trees, encoded)
    hidden = session.first()[:, None]  # [B, W, H]
    node = np.zeros((count, 1), dtype=np.int64)
    logp = np.zeros((count, 1))  # -inf marks a branch that only fills the rectangle
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    while True:
        alive = np.flatnonzero(np.isfinite(logp).ravel())
        source, edge = trie.edges_of(node.ravel()[alive])
        tokens = trie.edge_token[edge]
        score = _edge_logps(lm, hidden.flatten(0, 1)[torch.from_numpy(alive).to(device)], source, tokens)
        score = logp.ravel()[alive][source] + score
        prompt, beam = np.divmod(alive[source], node.shape[1])
        child = trie.edge_node[edge]
        closed = trie.forced_leaf[child] >= 0
        found.append((prompt[closed], trie.forced_leaf[child[closed]], score[closed]))
        open_ = np.flatnonzero(~closed)
        if not len(open_):
            break
        order = open_[np.lexsort((-score[open_], prompt[open_]))]
        rank = np.arange(len(order)) - np.searchsorted(prompt[order], prompt[order])
        order, rank = order[rank < width], rank[rank < width]
        beams = int(rank.max()) + 1
        node = np.zeros((count, beams), dtype=np.int64)
        logp = np.full((count, beams), -np.inf)
        token = np.zeros((count, beams), dtype=np.int64)
        parent = np.zeros((count, beams), dtype=np.int64)
        at = (prompt[order], rank)
        node[at], logp[at], token[at], parent[at] = child[order], score[order], tokens[order], beam[order]
        hidden = session.step(torch.from_numpy(token).to(device), torch.from_numpy(parent).to(device))
    prompt, leaf, score = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((-score, prompt))
    prompt, leaf, mass = prompt[order], leaf[order], np.exp(score[order])
    coverage = np.bincount(prompt, weights=mass, minlength=count)
    return TrieDistribution(prompt, leaf, mass / coverage[prompt], coverage)


def _edge_logps(lm: Any, hidden: Tensor, source: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """log p(token | branch, token allowed) of each edge; hidden [N, H], edges sorted by source."""
    parts = []
    chunk = lm.config.logit_chunk
    for start in range(0, len(hidden), chunk):
        low, high = np.searchsorted(source, [start, start + chunk])
        rows = torch.from_numpy(source[low:high] - start).to(hidden.device)
        logits = lm.logits(hidden[start : start + chunk])
        parts.append(
            logits[rows, torch.from_numpy(tokens[low:high]).to(hidden.device)].double().cpu().numpy()
        )
    logit = np.concatenate(parts)
    top = np.full(len(hidden), -np.inf)
    np.maximum.at(top, source, logit)
    total = np.bincount(source, weights=np.exp(logit - top[source]), minlength=len(hidden))
    return logit - top[source] - np.log(total)[source]
