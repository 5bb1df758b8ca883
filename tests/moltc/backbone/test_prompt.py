"""Prompt trees from pieces: joined texts, blanks, soft runs, caching, first and end tokens, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from moltc.backbone.prompt import PromptBuilder, PromptTree, SlotRun, Soft

QUERIES = {"drug": 3, "solvent": 2}


@pytest.fixture
def builder(tokenizer: Any) -> PromptBuilder:
    """Writes prompts whose towers are named after the roles."""
    return PromptBuilder(tokenizer, lambda role, slot: role, QUERIES, placeholder=7)


def text_of(builder: PromptBuilder, ids: np.ndarray) -> str:
    return builder.tokenizer.decode(ids)


def test_texts_and_soft_runs_stand_in_order(builder: PromptBuilder) -> None:
    pieces = ["Drug: ", Soft("drug", 1), "\nSolvent: ", Soft("solvent", 2), "\nAnswer:"]
    tree = builder.build(pieces, {1: "CCO", 2: "O"}, ["yes"])
    assert tree.prompt_ids[0] == builder.tokenizer.bos_token_id
    drug, solvent = tree.slots
    assert drug == SlotRun(1 + len(builder.ids("Drug: ")), 3, "drug", "CCO")
    assert solvent == SlotRun(drug.start + 3 + len(builder.ids("\nSolvent: ")), 2, "solvent", "O")
    for run in tree.slots:
        assert tree.prompt_ids[run.start : run.start + run.length].tolist() == [7] * run.length
    texts = np.split(
        tree.prompt_ids[1:], [drug.start - 1, drug.start + 2, solvent.start - 1, solvent.start + 1]
    )
    assert [text_of(builder, part) for part in texts[::2]] == ["Drug: ", "\nSolvent: ", "\nAnswer:"]
    assert tree.prompt_ids.dtype == tree.completions[0].dtype == np.int64


def test_neighbouring_texts_are_one_text(builder: PromptBuilder) -> None:
    apart = builder.build(["an ans", "wer", ": yes", " or no"], {})
    assert apart.prompt_ids.tolist() == builder.build(["an answer: yes or no"], {}).prompt_ids.tolist()


@pytest.mark.parametrize(
    "pieces",
    [["answer:  "], ["answer: ", " "], ["answer:", "", "  "], ["answer: ", ""]],
    ids=["in-one-text", "over-two-texts", "in-texts-of-blanks", "before-an-empty-text"],
)
def test_blanks_at_the_end_belong_to_the_completion(builder: PromptBuilder, pieces: list[str]) -> None:
    tree = builder.build(pieces, {}, ["yes"])
    assert text_of(builder, tree.prompt_ids[1:]) == "answer:"
    assert text_of(builder, tree.completions[0][:-1]) == " yes"


def test_blanks_before_a_soft_run_stay(builder: PromptBuilder) -> None:
    tree = builder.build(["answer: ", Soft("drug", 1)], {1: 0})
    assert text_of(builder, tree.prompt_ids[1 : tree.slots[0].start]) == "answer: "


def test_every_completion_ends_in_the_end_token(builder: PromptBuilder) -> None:
    tree = builder.build(["answer:"], {}, ["yes", "no", ""])
    assert [ids[-1] for ids in tree.completions] == [builder.tokenizer.eos_token_id] * 3
    assert [text_of(builder, ids[:-1]) for ids in tree.completions] == [" yes", " no", " "]


def test_a_tokenizer_without_first_token_writes_none(tokenizer: Any) -> None:
    plain = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="</s>")
    tree = PromptBuilder(plain, lambda role, slot: role, 3).build(["answer:"], {})
    assert tree.prompt_ids.tolist() == plain.encode("answer:", add_special_tokens=False)
    with pytest.raises(ValueError, match="at least one token"):
        PromptBuilder(plain, lambda role, slot: role, 3).build([" "], {})


def test_a_tokenizer_without_end_token_is_refused(tokenizer: Any) -> None:
    plain = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, bos_token="<s>")
    with pytest.raises(ValueError, match="never learn to stop"):
        PromptBuilder(plain, lambda role, slot: role, 3)


def test_prompts_that_differ_in_their_entities_share_a_layout(builder: PromptBuilder) -> None:
    pieces = ["Drug: ", Soft("drug", 1), "\nSolvent: ", Soft("solvent", 2), "\nAnswer:"]
    layout = builder.layout(pieces)
    for entities in ({1: "CCO", 2: "O"}, {1: "N", 2: "CCO"}):
        once, anew = (
            layout.tree(entities, [builder.completion("yes")]),
            builder.build(pieces, entities, ["yes"]),
        )
        assert once.slots == anew.slots
        assert [run.entity for run in once.slots] == list(entities.values())
        np.testing.assert_array_equal(once.prompt_ids, anew.prompt_ids)
        np.testing.assert_array_equal(once.completions[0], anew.completions[0])


def test_each_distinct_text_is_tokenised_once(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    encode: Callable[..., list[int]] = tokenizer.encode

    def counting(text: str, **settings: Any) -> list[int]:
        asked.append(text)
        return encode(text, **settings)

    monkeypatch.setattr(tokenizer, "encode", counting)
    builder = PromptBuilder(tokenizer, lambda role, slot: role, 3, cache_size=3)
    assert builder.ids("one") is builder.ids("one")
    first = builder.ids("one").tolist()
    for text in ("two", "three", "four", "one"):  # the fourth text empties the cache
        builder.ids(text)
    assert asked == ["one", "two", "three", "four", "one"]
    assert builder.ids("one").tolist() == first


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """Like Llama 2's: every text begins with a blank, written as a low line."""
    pieces = ["<s>", "</s>", "<unk>", "▁", "▁a", "▁yes", "▁answer:", "a", "yes"]
    inner = Tokenizer(models.WordLevel({piece: n for n, piece in enumerate(pieces)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    inner.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")


def test_an_implied_blank_is_not_doubled() -> None:
    tokenizer = sentencepiece_like()
    builder = PromptBuilder(tokenizer, lambda role, slot: role, 3)
    tree = builder.build(["answer:"], {}, ["yes"])
    assert tokenizer.convert_ids_to_tokens(tree.prompt_ids) == ["<s>", "▁answer:"]
    assert tokenizer.convert_ids_to_tokens(tree.completions[0]) == ["▁yes", "</s>"]
    joined = tokenizer.encode("answer: yes", add_special_tokens=False)
    assert [*tree.prompt_ids[1:], *tree.completions[0][:-1]] == joined


def test_missing_parts_are_named(builder: PromptBuilder) -> None:
    with pytest.raises(ValueError, match=r"slot 2 \(drug\).*given for slots \[1\]"):
        builder.build(["a", Soft("drug", 2)], {1: "CCO"})
    with pytest.raises(ValueError, match="no number of soft tokens is known for tower 'item'.*drug.*solvent"):
        builder.build(["a", Soft("item", 1)], {1: "CCO"})


def test_one_number_of_queries_serves_all_towers(tokenizer: Any) -> None:
    tree = PromptBuilder(tokenizer, lambda role, slot: f"{role}-{slot}", 4).build([Soft("drug", 1)], {1: 0})
    assert tree.slots == (SlotRun(1, 4, "drug-1", 0),)


@pytest.mark.parametrize(
    "run", [SlotRun(-1, 2, "drug", 0), SlotRun(3, 2, "drug", 0), SlotRun(0, 0, "drug", 0)]
)
def test_a_soft_run_lies_inside_the_prompt(run: SlotRun) -> None:
    with pytest.raises(ValueError, match="does not lie inside a prompt of 4 tokens"):
        PromptTree(np.arange(4), (), (run,))


def test_an_extended_prompt_keeps_its_slots_and_drops_its_completions(builder: PromptBuilder) -> None:
    tree = builder.build(["a", Soft("drug", 1)], {1: 0}, ["yes"])
    longer = tree.extended(builder.ids(" more"))
    assert longer.prompt_ids.tolist() == [*tree.prompt_ids, *builder.ids(" more")]
    assert longer.slots == tree.slots
    assert longer.completions == ()


@given(st.integers(0, 30), st.integers(0, 6), st.integers(1, 40), st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_limited_prompt_fits_or_says_so(text: int, keep: int, limit: int, soft: bool) -> None:
    slots = (SlotRun(text, 2, "drug", 0),) if soft else ()
    length, longest = text + 4, 5
    slots = (SlotRun(text, 2, "drug", 0),) if soft else ()
    tree = PromptTree(np.arange(length), (np.arange(3), np.arange(longest)), slots)
    excess = max(0, length + longest - limit)
    spare = (text if soft else length - 1) - keep
    if excess > max(spare, 0) or (excess and spare < 0):
        with pytest.raises(ValueError, match="exceed the window"):
            tree.limited(limit, keep=keep)
        return
    shorter, cut = tree.limited(limit, keep=keep)
    assert cut == excess
    assert shorter.prompt_ids.tolist() == np.delete(np.arange(length), slice(keep, keep + cut)).tolist()
    assert [run.start for run in shorter.slots] == [run.start - cut for run in slots]
