"""Families: questions, answers, answer spaces, and the parser as their inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import records
from data_prep.records import TypedClass
from moltc.chain_of_thought import ChainOfThought
from moltc.families import (
    CAPTION,
    CHROMOPHORE,
    DDI,
    FAMILIES,
    MOLECULE_CLASS,
    MOLECULE_PROPERTY,
    SIDE_EFFECT,
    SOLVATION,
    TYPED_DDI,
    BinaryFamily,
    Family,
    NumberFamily,
    get_family,
)

FINE = ChainOfThought()
PLAIN = ChainOfThought(interval=False)
BOTH = pytest.mark.parametrize("cot", [FINE, PLAIN], ids=["interval", "value-only"])
TYPED = TYPED_DDI.with_classes(
    [TypedClass("{a} blocks {b}.", False), TypedClass("{a} and {b} add up.", True)]
)
READY = [TYPED if family is TYPED_DDI else family for family in FAMILIES.values()]
RANGES = [
    pytest.param(SOLVATION, "solvation free energy", (-33.74, 5.92), id="solvation"),
    pytest.param(CHROMOPHORE, "absorption", (127.7, 1055.0), id="absorption"),
    pytest.param(CHROMOPHORE, "emission", (247.0, 1050.0), id="emission"),
    pytest.param(CHROMOPHORE, "lifetime", (-4.0, 3.436), id="lifetime"),
    pytest.param(MOLECULE_PROPERTY, "log solubility", (-11.6, 1.58), id="solubility"),
    pytest.param(MOLECULE_PROPERTY, "lipophilicity", (-1.5, 4.5), id="lipophilicity"),
]


def test_families_are_found_by_name() -> None:
    assert all(get_family(name) is family and family.name == name for name, family in FAMILIES.items())
    with pytest.raises(ValueError, match="choose from solvation, chromophore, molecule-property, ddi"):
        get_family("solvations")


def test_roles_follow_the_fixed_order_and_only_drug_pairs_are_symmetric() -> None:
    assert {name: family.roles for name, family in FAMILIES.items()} == {
        "solvation": ("solute", "solvent"),
        "chromophore": ("chromophore", "solvent"),
        "molecule-property": ("drug",),
        "ddi": ("drug", "drug"),
        "typed-ddi": ("drug", "drug"),
        "side-effect": ("drug", "drug"),
        "molecule-class": ("drug",),
        "caption": ("drug",),
        "description": ("drug", "drug"),
    }
    assert all(len(family.roles) == len(family.role_titles) for family in FAMILIES.values())
    assert [name for name, family in FAMILIES.items() if family.symmetric] == ["ddi", "side-effect"]


def test_what_belongs_to_the_molecules_fills_as_many_slots_as_there_are() -> None:
    assert CAPTION.in_slots("CCO") == CAPTION.in_slots("CCO", "") == ("CCO",)
    assert DDI.in_slots("CCO", "O") == ("CCO", "O")
    assert DDI.in_slots("CCO") == ("CCO", None)
    with pytest.raises(ValueError, match="asks about one molecule, but a second is given: 'O'"):
        CAPTION.in_slots("CCO", "O")


def test_questions() -> None:
    assert DDI.question() == DDI.question("interaction") == DDI.question("") == "Do these two drugs interact?"
    assert "kcal/mol" in SOLVATION.question()
    assert len({CHROMOPHORE.question(name) for name in CHROMOPHORE.questions}) == 3
    question = SIDE_EFFECT.question(query="{odd} nausea")
    assert question == "Does taking both drugs together cause {odd} nausea?"


def test_unclear_questions_are_errors() -> None:
    with pytest.raises(ValueError, match="choose from absorption, emission, lifetime"):
        CHROMOPHORE.question()
    with pytest.raises(ValueError, match="no property 'melting point'; choose from solvation free energy"):
        SOLVATION.question("melting point")
    with pytest.raises(ValueError, match="give the row's query"):
        SIDE_EFFECT.question()
    with pytest.raises(ValueError, match="no place for the query 'nausea'"):
        DDI.question(query="nausea")


def test_answers_with_and_without_the_interval() -> None:
    assert SOLVATION.answer(-4.73, FINE) == "The value lies between -5.0 and -4.5, so it is -4.73."
    assert SOLVATION.answer(-4.73, PLAIN) == "The value is -4.73."
    assert (
        CHROMOPHORE.answer(426, FINE, property="emission")
        == "The value lies between +420 and +430, so it is +426.0."
    )
    assert (
        MOLECULE_PROPERTY.answer(-0.77, FINE, property="log solubility")
        == "The value lies between -1.0 and -0.5, so it is -0.77."
    )
    assert DDI.answers([1, 0.0, True], FINE) == ["Interaction: yes", "Interaction: no", "Interaction: yes"]
    assert MOLECULE_CLASS.answers([1, 0], FINE) == ["Verdict: yes", "Verdict: no"]


@pytest.mark.parametrize("label", [-1, 2, 0.5, float("nan")], ids=["minus-one", "two", "half", "missing"])
def test_labels_that_are_neither_yes_nor_no_are_named(label: float) -> None:
    with pytest.raises(ValueError, match="position 1 holds"):
        DDI.answers([1, label], FINE)


def test_a_missing_number_is_named() -> None:
    with pytest.raises(ValueError, match="nan at position 2"):
        SOLVATION.answers([1.0, 2.0, float("nan")], FINE)


@BOTH
@pytest.mark.parametrize(("family", "name", "label_range"), RANGES)
def test_number_answers_read_back(
    family: NumberFamily, name: str, label_range: tuple[float, float], cot: ChainOfThought
) -> None:
    space = family.answer_space(cot, property=name, label_range=label_range)
    form = family.number_format(name)
    parsed = [family.parse(text, label_range) for text in space.texts]
    assert all(answer.valid and not answer.flags for answer in parsed)
    assert np.array_equal([answer.value for answer in parsed], space.values)
    if space.bins is None:
        assert not cot.interval
        assert all(answer.interval is None for answer in parsed)
    else:
        assert np.array_equal([answer.interval for answer in parsed], space.bins)
        assert ((space.bins[:, 0] <= space.values) & (space.values < space.bins[:, 1])).all()
    assert len(space) == len(set(space.texts)) == len(space.values)
    assert len(space) % form.bin_ticks == 0
    assert space.values[0] <= label_range[0]
    assert label_range[1] <= space.values[-1]
    assert all(text.startswith(tuple(space.openings)) for text in space.texts[:: form.bin_ticks])
    assert len(space.openings) == (len(space) // form.bin_ticks if cot.interval else 1)


def test_the_answer_space_holds_the_answer_of_every_label_in_range() -> None:
    space = SOLVATION.answer_space(FINE, label_range=(-7.1, 2.2))
    labels = np.random.default_rng(0).uniform(-7.1, 2.2, 2_000)
    assert set(SOLVATION.answers(labels, FINE)) <= set(space.texts)
    assert len(space) == 10 * 100  # -7.50 to +2.49


def test_a_number_family_needs_a_label_range() -> None:
    with pytest.raises(ValueError, match="give the label range"):
        SOLVATION.answer_space(FINE)


@pytest.mark.parametrize(
    "family", [DDI, SIDE_EFFECT, MOLECULE_CLASS], ids=["ddi", "side-effect", "molecule-class"]
)
def test_binary_answers_read_back(family: BinaryFamily) -> None:
    space = family.answer_space(FINE)
    assert space.bins is None
    assert space.values.tolist() == [0.0, 1.0]
    assert [family.parse(text).value for text in space.texts] == [0.0, 1.0]
    assert all(space.openings[0] + word in space.texts for word in space.openings[1:])


REASONED = "Solute: benzene of mass 78.1, between 1 and 2, value is 7\nSolvent: water of mass 18.0\n"


@pytest.mark.parametrize(
    ("text", "value", "interval", "flags"),
    [
        ("The value lies between -5.0 and -4.5, so it is -4.73.", -4.73, (-5.0, -4.5), ()),
        ("The value lies between \u22125.0 and \u22124.5, so it is \u22124.73.", -4.73, (-5.0, -4.5), ()),
        (REASONED + "The value lies between -1.0 and -0.5, so it is -0.87.", -0.87, (-1.0, -0.5), ()),
        ("Solute: benzene. The value is -0.87.", -0.87, None, ()),
        ("The value is -3", -3.0, None, ()),
        ("THE VALUE IS -3 kcal/mol at 298 K", -3.0, None, ()),
        ("Answer: -2.5e-1", -0.25, None, ()),
        ("The value is 7; on reflection the value is -1.5", -1.5, None, ()),
        ("-4.73", -4.73, None, ("no_cue",)),
        ("between -5 and -4.5: -4.7", -4.7, (-5.0, -4.5), ("no_cue",)),
        ("The value lies between -5.0 and -4.5, so it is -4.10.", -4.1, (-5.0, -4.5), ("outside_interval",)),
        ("The value lies between -5.0 and -4.5, so it is -4.50.", -4.5, (-5.0, -4.5), ("outside_interval",)),
        ("The value lies between -5.0 and -5.0, so it is -5.00.", -5.0, None, ("empty_interval",)),
        ("The value lies between -5.0 and -4.5, so it is", None, (-5.0, -4.5), ("no_value",)),
        ("The value lies between -5.0 and -4.5", None, (-5.0, -4.5), ("no_cue", "no_value")),
        ("The value is between -5.0 and -4.5", None, (-5.0, -4.5), ("no_value",)),
        (REASONED, None, None, ("no_cue", "no_value")),
        ("-4.7 kcal/mol at 298 K", None, None, ("no_cue", "ambiguous")),
        ("The value is 4,73", None, None, ("no_value",)),
        ("The value is -200.0.", None, None, ("out_of_range",)),
        ("The value is 1e999.", None, None, ("out_of_range",)),
        ("", None, None, ("no_cue", "no_value")),
    ],
    ids=[
        "full-answer",
        "unicode-minus",
        "after-reasoning",
        "reasoning-on-one-line",
        "integer",
        "with-unit",
        "exponent",
        "last-cue-wins",
        "bare-number",
        "interval-without-cue",
        "outside-interval",
        "upper-bound-is-outside",
        "empty-interval",
        "cut-off-before-the-value",
        "cut-off-after-the-interval",
        "interval-instead-of-value",
        "reasoning-only",
        "several-numbers",
        "decimal-comma",
        "far-out-of-range",
        "infinite",
        "nothing",
    ],
)
def test_number_parser(
    text: str, value: float | None, interval: tuple[float, float] | None, flags: tuple[str, ...]
) -> None:
    parsed = SOLVATION.parse(text, train_range=(-33.74, 5.92))
    assert (parsed.value, parsed.interval, parsed.flags) == (value, interval, flags)
    assert parsed.valid == (value is not None)


def test_the_range_of_acceptance_is_five_times_the_training_range() -> None:
    train_range = (-6.0, -4.0)  # middle -5, half-width 1
    assert SOLVATION.parse("The value is -10.00.", train_range).valid
    assert SOLVATION.parse("The value is +0.00.", train_range).valid
    assert SOLVATION.parse("The value is -10.01.", train_range).flags == ("out_of_range",)
    assert SOLVATION.parse("The value is +0.01.", train_range).flags == ("out_of_range",)
    assert SOLVATION.parse("The value is +99.00.").valid
    assert SOLVATION.parse("The value is +99.00.", (-5.0, -5.0)).valid


@pytest.mark.parametrize(
    ("text", "value", "flags"),
    [
        ("Interaction: yes", 1.0, ()),
        ("interaction: NO.", 0.0, ()),
        ("Drug 1: not soluble\nDrug 2: no rings\nInteraction: yes", 1.0, ()),
        ("Drug 1: no rings. Interaction: yes", 1.0, ()),
        ("Interaction: yes, no doubt", 1.0, ()),
        ("Answer: they do not interact", 0.0, ()),
        ("The two drugs do not interact.", 0.0, ("no_cue",)),
        ("Drug A does not interact with drug B", 0.0, ("no_cue",)),
        ("They don't interact", 0.0, ("no_cue",)),
        ("There is no interaction.", 0.0, ("no_cue",)),
        ("The two drugs interact.", 1.0, ("no_cue",)),
        ("Yes", 1.0, ("no_cue",)),
        ("Interaction: ", None, ("no_decision",)),
        ("Interaction: noted", None, ("no_decision",)),
        ("Interaction: yesterday", None, ("no_decision",)),
        ("It is unknown whether they interact", None, ("no_cue", "no_decision")),
        ("They may interact", None, ("no_cue", "no_decision")),
        ("Drug 1: no rings\nDrug 2: not soluble\n", None, ("no_cue", "no_decision")),
        ("", None, ("no_cue", "no_decision")),
    ],
    ids=[
        "yes",
        "no-in-capitals",
        "after-reasoning",
        "reasoning-on-one-line",
        "first-decision-wins",
        "do-not-after-cue",
        "do-not",
        "does-not",
        "contraction",
        "no-interaction",
        "bare-interact",
        "bare-yes",
        "cut-off",
        "noted-is-not-no",
        "yesterday-is-not-yes",
        "unknown-whether",
        "may",
        "reasoning-only",
        "nothing",
    ],
)
def test_binary_parser(text: str, value: float | None, flags: tuple[str, ...]) -> None:
    parsed = DDI.parse(text)
    assert (parsed.value, parsed.flags, parsed.interval) == (value, flags, None)
    assert parsed.valid == (value is not None)


@pytest.mark.parametrize(
    ("text", "value", "flags"),
    [
        ("Verdict: yes", 1.0, ()),
        ("verdict : No", 0.0, ()),
        ("Molecule: no rings, does not dissolve. Verdict: yes", 1.0, ()),
        ("Molecule: no rings\nAnswer: it does not pass", 0.0, ()),
        ("It passes the blood-brain barrier.", 1.0, ("no_cue",)),
        ("The molecule doesn't cross the barrier.", 0.0, ("no_cue",)),
        ("The two drugs interact.", None, ("no_cue", "no_decision")),
        ("It may pass.", None, ("no_cue", "no_decision")),
        ("Verdict: bypassed", None, ("no_decision",)),
    ],
    ids=[
        "yes",
        "no",
        "after-reasoning",
        "answer-cue",
        "passes",
        "does-not-cross",
        "another-family",
        "may",
        "bypassed-is-not-passed",
    ],
)
def test_parser_of_the_barrier(text: str, value: float | None, flags: tuple[str, ...]) -> None:
    """Promise: each yes/no family reads its own opening and its own words for yes."""
    parsed = MOLECULE_CLASS.parse(text)
    assert (parsed.value, parsed.flags) == (value, flags)


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=60), family=st.sampled_from(READY))
def test_any_text_gets_a_verdict(text: str, family: Family) -> None:
    parsed = family.parse(text, (-10.0, 5.0))
    assert parsed.valid == (parsed.value is not None or (family.kind == "text" and bool(text.strip())))
    assert parsed.valid or parsed.flags
    assert parsed.value is None or np.isfinite(parsed.value)


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() & records.FAMILIES.keys()))
def test_families_are_the_same_as_data_and_as_questions(name: str) -> None:
    """Promise: what data-prep writes of a family is what a model of that family reads: roles, symmetry, kind
    of label, properties and their units."""
    shape, family = records.FAMILIES[name], FAMILIES[name]
    assert shape.roles == family.roles
    assert shape.symmetric == family.symmetric
    assert shape.label == family.kind
    if shape.default_property is not None:
        assert family.property_name() == shape.default_property
    if isinstance(family, NumberFamily):
        for property, form in family.formats.items():
            measured = records.UNITS[property]
            assert form.unit == (f"log10({measured})" if form.log10 else measured)
            assert shape.unit in (measured, None)


def test_number_properties_of_the_data_all_have_a_question() -> None:
    formats = [family.formats for family in FAMILIES.values() if isinstance(family, NumberFamily)]
    assert set(records.UNITS) == {property for one in formats for property in one}
