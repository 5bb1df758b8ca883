"""Prompts of LLaRA: slots, counts, lengths."""

from __future__ import annotations

import pytest

from graphrec.llara.items import ItemForm
from graphrec.llara.templates import DOMAINS, TEMPLATES, LlaraPrompt, Shown, Template, drawn_wording
from moltc.backbone.prompt import PromptBuilder, Soft
from moltc.backbone.tokenizer import train_tokenizer

HISTORY = [Shown(7, "Heat"), Shown(3, "Fargo")]
CANDIDATES = [Shown(5, "Casino"), Shown(7, "Heat"), Shown(1, "Twelve Monkeys")]


def text_of(prompt: LlaraPrompt) -> str:
    return "".join("*" if isinstance(piece, Soft) else piece for piece in prompt.pieces)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("wording", TEMPLATES)
def test_every_item_has_one_slot_in_order(wording: str, domain: str) -> None:
    prompt = Template(wording, domain).prompt(HISTORY, CANDIDATES, "hybrid")
    marks = [piece for piece in prompt.pieces if isinstance(piece, Soft)]
    assert marks == [Soft("item", slot) for slot in range(1, 6)]
    assert prompt.entities == {1: 7, 2: 3, 3: 5, 4: 7, 5: 1}
    text = text_of(prompt)
    assert "Heat *, Fargo *" in text
    assert "Casino *, Heat *, Twelve Monkeys *" in text
    assert text.endswith(":")
    assert "{" not in text


def test_the_true_count_is_stated() -> None:
    assert "From the 3 titles" in text_of(Template("B").prompt(HISTORY, CANDIDATES, "text"))
    literal = Template("B", stated_count=10).prompt(HISTORY, CANDIDATES, "text")
    assert "From the 10 titles" in text_of(literal)


def test_wordings_differ_by_domain() -> None:
    texts = {text_of(Template("A", domain).prompt(HISTORY, CANDIDATES, "text")) for domain in DOMAINS}
    assert len(texts) == len(DOMAINS)


def test_hybrid_and_text_prompts_have_one_length() -> None:
    tokenizer = train_tokenizer(["Heat, Fargo, Casino, Twelve Monkeys: which film?"] * 4, vocab_size=200)
    builder = PromptBuilder(tokenizer, lambda role, slot: role, 1)

    def layout(form: ItemForm) -> list[int]:
        prompt = Template("A", "films").prompt(HISTORY, CANDIDATES, form)
        return builder.build(prompt.pieces, prompt.entities).prompt_ids.tolist()

    assert layout("hybrid") == layout("text")
    assert len(layout("token")) < len(layout("hybrid"))


def test_titles_with_braces_are_shown_as_they_are() -> None:
    prompt = Template("A").prompt([Shown(0, "{history} & {x}")], CANDIDATES, "text")
    assert "{history} & {x} *" in text_of(prompt)


def test_wordings_are_drawn_alike_everywhere() -> None:
    drawn = [drawn_wording(4, step) for step in range(60)]
    assert set(drawn) == set(TEMPLATES)
    assert drawn[::-1] == [drawn_wording(4, step) for step in reversed(range(60))]


def test_an_empty_history_is_said_to_be_so() -> None:
    prompt = Template("A").prompt([], CANDIDATES, "hybrid")
    assert "oldest first: nothing yet. Which" in text_of(prompt)
    assert prompt.entities == {1: 5, 2: 7, 3: 1}


@pytest.mark.parametrize("wording", TEMPLATES)
def test_open_questions_list_nothing(wording: str) -> None:
    prompt = Template(wording, "games").open_prompt(HISTORY, "hybrid")
    assert prompt.entities == {1: 7, 2: 3}
    text = text_of(prompt)
    assert text.endswith(":")
    assert "{" not in text
    assert "game" in text


@pytest.mark.parametrize("wording", TEMPLATES)
def test_texts_hold_every_word_of_a_prompt(wording: str) -> None:
    template = Template(wording, "artists")
    words = {word for text in template.texts() for word in text.split()}
    prompts = [
        template.prompt(HISTORY, CANDIDATES, "hybrid"),
        template.prompt([], CANDIDATES[:2], "token"),
        template.open_prompt(HISTORY, "text"),
    ]
    titles = {word for item in (*HISTORY, *CANDIDATES) for word in item.title.split()}
    for prompt in prompts:
        joined = "".join(piece if isinstance(piece, str) else " " for piece in prompt.pieces)
        assert set(joined.split()) <= words | titles | {"3", "2"}


def test_refusals() -> None:
    with pytest.raises(ValueError, match="ask open_prompt for the whole catalogue"):
        Template().prompt(HISTORY, [], "text")
    with pytest.raises(ValueError, match="domain='books' is not known; choose from films"):
        Template("A", "books")
