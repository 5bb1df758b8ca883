"""Tries and decoding: equal to brute force, whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import ARCHITECTURES, build, random_trees, tower_inputs

from moltc.backbone.decoding import CachedSession, RecomputeSession, TrieDistribution, decode_trie, generate
from moltc.backbone.packing import pack
from moltc.backbone.prompt import PromptTree
from moltc.backbone.soft_prompt_lm import SoftPromptLM
from moltc.backbone.trie import TokenTrie

END = 2


def sequences(*texts: str) -> list[np.ndarray]:
    return [np.array([*text.encode(), END]) for text in texts]


@given(st.sets(st.text("abc", min_size=0, max_size=5), min_size=1, max_size=25))
@settings(max_examples=60, deadline=None)
def test_a_trie_accepts_its_sequences_and_nothing_else(texts):
    texts = sorted(texts)
    trie = TokenTrie(sequences(*texts))
    assert len(trie) == len(texts)
    for i, sequence in enumerate(sequences(*texts)):
        assert trie.accepts(sequence) == i
        assert trie.accepts(sequence[:-1]) == -1
    assert trie.accepts([*b"abcabc", END]) == -1
    open_nodes = np.flatnonzero(trie.forced_leaf < 0)
    assert (trie.num_children[open_nodes] > 0).all()


def test_a_trie_refuses_what_cannot_be_decoded():
    with pytest.raises(ValueError, match="prefix"):
        TokenTrie([np.array([1, 2]), np.array([1])])
    with pytest.raises(ValueError, match="equal"):
        TokenTrie([np.array([1, 2]), np.array([1, 2])])
    with pytest.raises(ValueError, match="at least one"):
        TokenTrie([])


def prompts(seed: int = 0):
    return random_trees(seed, counts=(0, 0, 0))


def plain_greedy(model, tree, steps: int) -> list[int]:
    """Greedy text by full forward passes over one growing row."""
    written: list[int] = []
    for _ in range(steps):
        grown = tree.extended(np.array(written, dtype=np.int64))
        packed = pack([grown])
        hidden = model.hidden(packed, model.encode(tower_inputs(packed)))[0, -1]
        written.append(int(model.language_model.logits(hidden).argmax()))
        if written[-1] == END:
            break
    return written


@pytest.mark.parametrize("soft_model", sorted(ARCHITECTURES), indirect=True)
@torch.no_grad()
def test_greedy_text_equals_recomputed_greedy_text(soft_model):
    trees = prompts()
    encoded = soft_model.encode(tower_inputs(pack(trees)))
    written = generate(soft_model, trees, encoded, max_new_tokens=9, stop=[END])
    for tree, ids in zip(trees, written, strict=True):
        assert ids.tolist() == plain_greedy(soft_model, tree, 9)


@pytest.mark.parametrize("soft_model", ["llama"], indirect=True)
def test_greedy_text_stops_at_the_stop_token(soft_model):
    tree = prompts()[1]
    encoded = soft_model.encode(tower_inputs(pack([tree])))
    free = generate(soft_model, [tree], encoded, max_new_tokens=8, stop=[-5])[0]
    assert len(free) == 8
    stop = int(free[3])
    cut = generate(soft_model, [tree], encoded, max_new_tokens=8, stop=[stop])[0]
    assert cut.tolist() == free[: free.tolist().index(stop) + 1].tolist()


@pytest.mark.parametrize("soft_model", sorted(ARCHITECTURES), indirect=True)
@torch.no_grad()
def test_both_sessions_give_the_same_hidden_states(soft_model):
    trees = prompts(1)
    encoded = soft_model.encode(tower_inputs(pack(trees)))
    cached, plain = CachedSession(soft_model, trees, encoded), RecomputeSession(soft_model, trees, encoded)
    torch.testing.assert_close(cached.first(), plain.first(), atol=1e-4, rtol=1e-4)
    generator = torch.Generator().manual_seed(0)
    width = 1
    for beams in (3, 2, 4, 4, 4, 4, 3):
        tokens = torch.randint(300, (3, beams), generator=generator)
        parent = torch.randint(width, (3, beams), generator=generator)
        torch.testing.assert_close(
            cached.step(tokens, parent), plain.step(tokens, parent), atol=1e-4, rtol=1e-4
        )
        width = beams


def brute_force(model, tree, trie_sequences) -> np.ndarray:
    """Probability of each sequence, each step renormalised over what the set allows, by plain forwards."""
    logp = np.zeros(len(trie_sequences))
    for i, sequence in enumerate(trie_sequences):
        for t in range(len(sequence)):
            allowed = sorted(
                {int(s[t]) for s in trie_sequences if len(s) > t and (s[:t] == sequence[:t]).all()}
            )
            packed = pack([tree.extended(sequence[:t])])
            hidden = model.hidden(packed, model.encode(tower_inputs(packed)))[0, -1]
            logits = model.language_model.logits(hidden)[allowed].double().log_softmax(0)
            logp[i] += float(logits[allowed.index(int(sequence[t]))])
    return np.exp(logp)


@pytest.mark.parametrize("soft_model", ["llama", "gemma3", "opt"], indirect=True)
@torch.no_grad()
def test_a_wide_trie_search_is_the_exact_distribution(soft_model):
    texts = sequences("-1.2", "-1.3", "-2.0", "+1.2", "+0.45", "+0.46", "no")
    trees = prompts(2)
    encoded = soft_model.encode(tower_inputs(pack(trees)))
    found = decode_trie(soft_model, trees, TokenTrie(texts), encoded, width=10)
    np.testing.assert_allclose(found.coverage, 1.0, atol=1e-9)
    values = np.array([-1.2, -1.3, -2.0, 1.2, 0.45, 0.46, 9.0])
    for b, tree in enumerate(trees):
        exact = brute_force(soft_model, tree, texts)
        mine = found.prompt == b
        np.testing.assert_allclose(found.probability[mine], exact[found.leaf[mine]], rtol=1e-4)
        assert found.best()[b] == exact.argmax()
        np.testing.assert_allclose(found.expectation(values)[b], exact @ values, rtol=1e-4)
        order = np.argsort(values)
        expected = values[order][np.searchsorted(np.cumsum(exact[order]), 0.5)]
        assert found.quantile(values, 0.5)[b] == expected


@pytest.mark.parametrize("soft_model", ["llama"], indirect=True)
def test_a_narrow_search_says_what_it_covers(soft_model):
    rng = np.random.default_rng(0)
    texts = sequences(*sorted({f"{v:.2f}" for v in rng.uniform(0, 99, size=200)}))
    trees = prompts(3)
    encoded = soft_model.encode(tower_inputs(pack(trees)))
    found = decode_trie(soft_model, trees, TokenTrie(texts), encoded, width=2)
    assert (found.coverage < 1).all()
    np.testing.assert_allclose(np.bincount(found.prompt, weights=found.probability), 1.0)
    alone = decode_trie(
        soft_model, trees[1:2], TokenTrie(texts), soft_model.encode(tower_inputs(pack(trees[1:2]))), width=2
    )
    assert alone.best()[0] == found.best()[1]


@pytest.mark.parametrize("soft_model", ["llama"], indirect=True)
def test_one_sequence_needs_no_choice(soft_model):
    trees = prompts()
    found = decode_trie(
        soft_model, trees, TokenTrie(sequences("yes")), soft_model.encode(tower_inputs(pack(trees)))
    )
    assert found.best().tolist() == [0, 0, 0]
    assert found.probability.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("soft_model", ["opt"], indirect=True)
def test_texts_beyond_the_window_are_refused(soft_model):
    tree = PromptTree(np.arange(120))
    assert len(generate(soft_model, [tree], max_new_tokens=9, stop=[-5])[0]) == 9
    with pytest.raises(ValueError, match="prompt 1 has 120 tokens, and with 10 more it exceeds the 128"):
        generate(soft_model, [PromptTree(np.arange(9)), tree], max_new_tokens=10)
    with pytest.raises(ValueError, match="exceeds the 128"):
        decode_trie(soft_model, [tree], TokenTrie([np.arange(10)]))


def test_quantiles_of_a_known_distribution():
    found = TrieDistribution(
        prompt=np.array([0, 0, 0, 1]),
        leaf=np.array([2, 0, 1, 1]),
        probability=np.array([0.5 - 1e-6, 0.3, 0.2, 1.0]),
        coverage=np.ones(2),
    )
    values = np.array([10.0, 20.0, 30.0])
    expected = {0.0: 10.0, 0.3: 10.0, 0.31: 20.0, 0.5: 20.0, 0.51: 30.0, 1.0: 30.0}
    for level, value in expected.items():
        assert found.quantile(values, level).tolist() == [value, 20.0]
    with pytest.raises(ValueError, match="between 0 and 1"):
        found.quantile(values, 50)


def test_budgets_below_one_are_refused(tokenizer):
    model = SoftPromptLM(build("llama", tokenizer)).eval()
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1"):
        generate(model, [PromptTree(np.arange(3))], max_new_tokens=0)
    with pytest.raises(ValueError, match="width must be at least 1"):
        decode_trie(model, [PromptTree(np.arange(3))], TokenTrie(sequences("yes")), width=0)
