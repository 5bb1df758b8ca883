"""Prompts, free answers, answers among titles, and their log-probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_bigrec import INSTRUCTIONS, fitted

from graphrec.bigrec import answers
from graphrec.bigrec.answers import Writer
from graphrec.bigrec.recommender import BigRec
from graphrec.data import RecommendationData

HISTORIES = [[3, 4, 5], [], [7, 1], [20, 2, 2, 9, 10, 11, 12]]
ITEMS = np.array([2, 5, 6, 13, 21])


@pytest.fixture(params=["windows", "instructions"])
def writer(request: pytest.FixtureRequest, model: BigRec, instructed: BigRec) -> Writer:
    return Writer((model if request.param == "windows" else instructed).prompts, 8)


def written_logps(writer: Writer, histories: list[list[int]]) -> np.ndarray:
    """Log-probability of every title of ``ITEMS``, each in a row of its own."""
    rows = []
    for history in histories:
        trees = [writer.prompts.of(history).with_completions([writer.prompts.answer(item)]) for item in ITEMS]
        with torch.no_grad():
            rows.append([float(writer.network.log_probs([tree]).logps) for tree in trees])
    return np.array(rows)


def test_log_probabilities_equal_those_of_single_rows(writer: Writer) -> None:
    wanted = written_logps(writer, HISTORIES)
    items = np.tile(ITEMS, (len(HISTORIES), 1))
    items[1, 2] = items[3, 0] = -1
    wanted[1, 2] = wanted[3, 0] = -np.inf
    np.testing.assert_allclose(writer.logps(HISTORIES, items), wanted, rtol=1e-4, atol=1e-4)


def test_answers_among_titles_are_such(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    found = writer.among(HISTORIES, ITEMS)
    assert set(found.tolist()) <= set(ITEMS.tolist())
    monkeypatch.setattr(answers, "PROMPTS_AT_ONCE", 1)
    assert writer.among(HISTORIES, ITEMS).tolist() == found.tolist()
    assert writer.among([], ITEMS).tolist() == []


def test_unseen_titles_follow_one_another(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "BEAMS", len(ITEMS))  # then no title is pruned
    seen: list[set[int]] = [set() for _ in HISTORIES]
    for _ in ITEMS:
        found = writer.unseen(HISTORIES, ITEMS, seen).tolist()
        assert all(item in ITEMS and item not in before for item, before in zip(found, seen, strict=True))
        seen = [before | {item} for item, before in zip(found, seen, strict=True)]
    assert writer.unseen(HISTORIES, ITEMS, seen).tolist() == [-1] * len(HISTORIES)


def test_free_answers_do_not_depend_on_company(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    together = writer.free(HISTORIES)
    monkeypatch.setattr(answers, "PROMPTS_AT_ONCE", 1)
    assert writer.free(HISTORIES) == together


@pytest.mark.parametrize("others", [{}, INSTRUCTIONS], ids=["windows", "instructions"])
def test_long_histories_are_read_from_their_end(walked: RecommendationData, others: dict[str, Any]) -> None:
    prompts = fitted(walked, **others).prompts
    assert prompts.of(HISTORIES[3]).prompt_ids.tolist() == prompts.of(HISTORIES[3][-5:]).prompt_ids.tolist()


def test_learning_the_instruction_scores_all_of_it(walked: RecommendationData, instructed: BigRec) -> None:
    whole = fitted(walked, **INSTRUCTIONS, learn_instruction=True).prompts
    plain = instructed.prompts.sample([3, 4], 5)
    learnt = whole.sample([3, 4], 5)
    assert len(learnt.prompt_ids) == 1
    joined = np.concatenate([plain.prompt_ids, *plain.completions])
    assert np.concatenate([learnt.prompt_ids, *learnt.completions]).tolist() == joined.tolist()
    text = instructed.network.language_model.tokenizer.decode(joined)
    assert 'oldest first: "Item 3", "Item 4"' in text
    assert text.rstrip("</s>").endswith('"Item 5"')
