"""Writing under tries, and titles as tries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_language import listed_data, llara

from graphrec.data import RecommendationData
from graphrec.language.constrained import Forest
from graphrec.llara.answers import TitleTrie, constrained
from graphrec.llara.recommender import Llara
from moltc.backbone.trie import TokenTrie

HISTORIES = [[1, 2, 3], [], [9], [4, 4]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    return listed_data(tmp_path_factory.mktemp("lists"))


@pytest.fixture(scope="module")
def model(data: RecommendationData) -> Llara:
    return llara(data, vocabulary="bpe", vocabulary_size=270)


def plainly(model: Llara, history: list[int], offered: list[int]) -> int:
    """Token by token: the likeliest of those that some offered title goes on with."""
    written: list[int] = []
    left = {item: model.network.title(item).tolist() for item in offered}
    while len(left) > 1:
        tree = model.prompt(history).extended(np.array(written, dtype=np.int64))
        allowed = sorted({title[len(written)] for title in left.values()})
        probes = [np.array([token]) for token in allowed]
        scores = model.network.log_probs([tree.with_completions(probes)]).logps
        written.append(allowed[int(scores.argmax())])
        left = {i: title for i, title in left.items() if title[: len(written)] == written}
    return next(iter(left))


@torch.no_grad()
def test_each_prompt_keeps_to_its_own_trie(model: Llara) -> None:
    offered = [[1, 12, 13, 20], [2, 3], [5, 6, 15, 16, 17], [9]]
    tries = [TitleTrie.of(model.network, items) for items in offered]
    found = constrained(model.network, [model.prompt(h) for h in HISTORIES], tries)
    assert found.tolist() == [plainly(model, h, o) for h, o in zip(HISTORIES, offered, strict=True)]


@torch.no_grad()
def test_one_trie_serves_all(model: Llara) -> None:
    everything = list(range(len(model.catalogue)))
    trie = TitleTrie.of(model.network, everything)
    found = constrained(model.network, [model.prompt(h) for h in HISTORIES], [trie])
    assert found.tolist() == [plainly(model, h, everything) for h in HISTORIES]


def test_a_forest_wants_one_trie_for_each_prompt_or_for_all() -> None:
    trie = TokenTrie([np.array([1, 2])])
    with pytest.raises(ValueError, match="2 tries for 3 prompts"):
        Forest([trie, trie], 3)
