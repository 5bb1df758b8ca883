"""Typed interactions: sentences as answers in both directions, and the parser that reads them back."""

from __future__ import annotations

import numpy as np
import pytest

from data_prep.records import TypedClass
from moltc.chain_of_thought import ChainOfThought
from moltc.families import get_family
from moltc.typed import TYPED_DDI

COT = ChainOfThought()
CLASSES = (
    TypedClass("{a} speeds up the removal of {b}.", symmetric=False),
    TypedClass("The level of {b} can rise well above its usual range when it is taken with {a}.", False),
    TypedClass("{a} and {b} together make the patient sleepy.", symmetric=True),
)
FAMILY = TYPED_DDI.with_classes(CLASSES)


def test_answers_name_the_molecules_by_their_titles() -> None:
    assert FAMILY.answers([2, 0, 1.0], COT) == [
        "Interaction: Drug 1 and Drug 2 together make the patient sleepy.",
        "Interaction: Drug 1 speeds up the removal of Drug 2.",
        "Interaction: The level of Drug 2 can rise well above its usual range when it is taken with Drug 1.",
    ]


def test_exchanged_molecules_exchange_the_slots_of_directed_sentences_only() -> None:
    """Promise: a prompt with its molecules exchanged is answered by what is true of it; a symmetric type has
    one wording, so that nothing has to be guessed."""
    assert FAMILY.answers([0, 0, 2], COT, exchanged=[False, True, True]) == [
        "Interaction: Drug 1 speeds up the removal of Drug 2.",
        "Interaction: Drug 2 speeds up the removal of Drug 1.",
        "Interaction: Drug 1 and Drug 2 together make the patient sleepy.",
    ]


@pytest.mark.parametrize("exchanged", [False, True], ids=["in order", "exchanged"])
def test_the_answer_space_is_one_answer_a_class(exchanged: bool) -> None:
    space = FAMILY.answer_space(COT, exchanged=exchanged)
    assert space.values.tolist() == [0.0, 1.0, 2.0]
    assert space.texts == FAMILY.answers([0, 1, 2], COT, exchanged=[exchanged] * 3)
    assert space.bins is None
    assert len(space.openings) == len(set(space.openings)) == 1 + 3 + 2  # the cue, both directions
    assert all(text.removeprefix("Interaction: ") in space.openings for text in space.texts)


def test_braces_and_titles_inside_a_sentence_stay_as_they_are() -> None:
    odd = TypedClass("{a} {c} acts on {b} like no {drug} 1", symmetric=False)
    assert (
        TYPED_DDI.with_classes([odd, CLASSES[0]]).sentences()[0]
        == "Drug 1 {c} acts on Drug 2 like no {drug} 1"
    )


@pytest.mark.parametrize(
    "label", [-1, 3, 0.5, float("nan")], ids=["minus one", "too large", "half", "missing"]
)
def test_labels_that_are_no_class_are_named(label: float) -> None:
    with pytest.raises(ValueError, match="class numbers 0 to 2, but position 1 holds"):
        FAMILY.answers([1, label], COT)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match=r"2 labels, but exchanged has shape \[1\]"):
        FAMILY.answers([0, 1], COT, exchanged=[True])


def test_without_the_classes_of_a_data_set_there_are_no_answers() -> None:
    family = get_family("typed-ddi")
    assert family.question() == "Which interaction do these two drugs have?"
    for use in (
        lambda: family.answers([0], COT),
        lambda: family.answer_space(COT),
        lambda: family.parse("Interaction: Drug 1 speeds up the removal of Drug 2."),
    ):
        with pytest.raises(ValueError, match="needs the classes of a data set"):
            use()


def test_the_same_sentence_twice_is_refused() -> None:
    again = TypedClass("{a}  speeds up the REMOVAL of {b}", symmetric=False)
    with pytest.raises(ValueError, match="classes 0 and 3 .* the same sentence"):
        TYPED_DDI.with_classes([*CLASSES, again])
    with pytest.raises(ValueError, match="between classes, but got 1"):
        TYPED_DDI.with_classes(CLASSES[:1])


LONG = "The level of Drug 2 can rise well above its usual range when it is taken with Drug 1"
REVERSED = LONG.translate(str.maketrans("12", "21"))


@pytest.mark.parametrize(
    ("text", "value", "flags"),
    [
        ("Interaction: Drug 1 speeds up the removal of Drug 2.", 0.0, ()),
        ("interaction:  DRUG 1 speeds\nup the removal of Drug 2", 0.0, ()),
        ("Drug 1: small\nDrug 2: large\nInteraction: Drug 1 speeds up the removal of Drug 2.", 0.0, ()),
        ("Drug 1 speeds up the removal of Drug 2.", 0.0, ("no_cue",)),
        ("Answer: Drug 2 and Drug 1 together make the patient sleepy", 2.0, ()),
        (f"Interaction: {LONG} today.", 1.0, ("fuzzy",)),
        (f"Interaction: {LONG.replace('can rise', 'can not rise')}", None, ("no_class",)),
        ("Interaction: Drug 2 speeds up the removal of Drug 1.", None, ("wrong_direction",)),
        (f"Interaction: today {REVERSED}", None, ("fuzzy", "wrong_direction")),
        ("Interaction: Drug 1 slows down the removal of Drug 2.", None, ("no_class",)),
        ("Interaction: Drug 1 speeds up", None, ("no_class",)),
        ("Interaction: yes", None, ("no_class",)),
        ("", None, ("no_cue", "no_class")),
    ],
    ids=[
        "sentence",
        "case and white space",
        "after reasoning",
        "without cue",
        "symmetric reversed",
        "a word more",
        "negated",
        "directed reversed",
        "nearly, reversed",
        "too far",
        "cut off",
        "another family",
        "nothing",
    ],
)
def test_parser(text: str, value: float | None, flags: tuple[str, ...]) -> None:
    parsed = FAMILY.parse(text)
    assert (parsed.value, parsed.flags, parsed.interval) == (value, flags, None)
    assert parsed.valid == (value is not None)


def test_a_text_between_two_classes_is_read_as_neither() -> None:
    words = "{a} raises the risk of falls and faints and cramps and headaches in people treated with {b}"
    near = [TypedClass(f"{words} {word}", symmetric=False) for word in ("often", "rarely")]
    text = words.replace("{a}", "Drug 1").replace("{b}", "Drug 2")
    assert TYPED_DDI.with_classes(near).parse(f"Interaction: {text}").flags == ("ambiguous",)


def test_a_class_that_reads_like_another_one_reversed_wins_its_own_sentence() -> None:
    family = TYPED_DDI.with_classes([CLASSES[0], TypedClass("{b} speeds up the removal of {a}.", False)])
    space = family.answer_space(COT)
    assert np.array_equal([family.parse(text).value for text in space.texts], space.values)
    assert family.answers([0], COT, exchanged=[True]) == [space.texts[1]]
