"""Prompts, reasoning steps and targets, word by word."""

from __future__ import annotations

import pytest

from data_prep.records import TypedClass
from moltc.backbone.prompt import Soft
from moltc.chain_of_thought import ChainOfThought, PromptStyle, interval_step, phrases, prompt_pieces
from moltc.families import (
    CAPTION,
    CHROMOPHORE,
    DDI,
    FAMILIES,
    SIDE_EFFECT,
    SOLVATION,
    TYPED_DDI,
    Family,
)

BROAD = ChainOfThought(properties=True)
GIVEN = ChainOfThought(properties=True, teacher_force_properties=True)
GRAPHS_ONLY = PromptStyle(smiles=False)
QUESTION = "\nQuestion: What is the solvation free energy of the solute in the solvent, in kcal/mol?\n"
TYPED = TYPED_DDI.with_classes(
    [TypedClass("{a} blocks {b}.", False), TypedClass("{a} and {b} add up.", True)]
)
REASONING = SOLVATION.reasoning("a small alcohol", "water")


def written(pieces: tuple[str | Soft, ...]) -> str:
    return "".join(piece if isinstance(piece, str) else f"<{piece.role} {piece.slot}>" for piece in pieces)


def test_default_prompt() -> None:
    prompt = prompt_pieces(SOLVATION, "CCO", "O")
    assert prompt == (
        "Solute: [START_I_SMILES]CCO[END_I_SMILES]",
        Soft("solute", 1),
        "\nSolvent: [START_I_SMILES]O[END_I_SMILES]",
        Soft("solvent", 2),
        QUESTION + "Answer: ",
    )


def test_a_family_may_ask_about_one_molecule() -> None:
    assert prompt_pieces(CAPTION, "CCO") == (
        "Molecule: [START_I_SMILES]CCO[END_I_SMILES]",
        Soft("drug", 1),
        "\nQuestion: What is this molecule like?\nAnswer: ",
    )
    assert CAPTION.reasoning("a small alcohol") == "Molecule: a small alcohol\n"
    assert "<drug 2>" not in written(prompt_pieces(CAPTION, None, style=GRAPHS_ONLY))
    with pytest.raises(ValueError, match="a second is given: 'O'; leave it out"):
        prompt_pieces(CAPTION, "CCO", "O")


def test_graph_only_prompt_has_no_smiles_block() -> None:
    prompt = prompt_pieces(DDI, None, None, style=GRAPHS_ONLY)
    assert written(prompt) == (
        "Drug 1: <drug 1>\nDrug 2: <drug 2>\nQuestion: Do these two drugs interact?\nAnswer: "
    )


def test_smiles_markers_are_a_choice() -> None:
    prompt = prompt_pieces(DDI, "C", "N", style=PromptStyle(smiles_markers=("<", ">")))
    assert prompt[0] == "Drug 1: <C>"


def test_long_smiles_leave_an_empty_block() -> None:
    fits, too_long = "C" * 512, "C" * 513
    prompt = prompt_pieces(SOLVATION, fits, too_long)
    assert prompt[0] == f"Solute: [START_I_SMILES]{fits}[END_I_SMILES]"
    assert prompt[2] == "\nSolvent: [START_I_SMILES][END_I_SMILES]"
    assert [PromptStyle().blanks(smiles) for smiles in (fits, too_long)] == [False, True]
    assert not GRAPHS_ONLY.blanks(too_long)


@pytest.mark.parametrize("smiles", [None, ""], ids=["none", "empty"])
def test_a_missing_smiles_is_an_error(smiles: str | None) -> None:
    with pytest.raises(ValueError, match="Solvent has no SMILES"):
        prompt_pieces(SOLVATION, "C", smiles)


def test_property_and_query_reach_the_question() -> None:
    assert "emit" in written(prompt_pieces(CHROMOPHORE, "C", "O", property="emission"))
    assert "cause nausea?" in written(prompt_pieces(SIDE_EFFECT, "C", "O", query="nausea"))


def test_broad_step_is_one_line_a_molecule() -> None:
    assert REASONING == "Solute: a small alcohol\nSolvent: water\n"
    assert DDI.reasoning("two\n lines ", "x") == "Drug 1: two lines\nDrug 2: x\n"
    with pytest.raises(ValueError, match="property text of Drug 2 is empty"):
        DDI.reasoning("x", " ")


def test_fine_step() -> None:
    assert interval_step("-5.0", "-4.5") == "The value lies between -5.0 and -4.5, so it is "


@pytest.mark.parametrize(
    ("cot", "in_prompt"),
    [(ChainOfThought(), ""), (BROAD, ""), (GIVEN, REASONING)],
    ids=["off", "written", "given"],
)
def test_the_broad_step_stands_in_the_prompt_only_where_it_is_given(
    cot: ChainOfThought, in_prompt: str
) -> None:
    prompt = prompt_pieces(SOLVATION, "CCO", "O", cot=cot, reasoning=REASONING)
    assert prompt[-1] == f"{QUESTION}{in_prompt}Answer: "
    assert cot.writes_properties == (cot is BROAD)


def test_answers_are_read_behind_the_broad_step() -> None:
    assert SOLVATION.parse(REASONING + SOLVATION.answer(-4.73, BROAD)).value == -4.73


def test_missing_property_text_is_an_error() -> None:
    with pytest.raises(ValueError, match="no property text"):
        prompt_pieces(DDI, "C", "C", cot=GIVEN)


def test_impossible_choices_are_refused() -> None:
    with pytest.raises(ValueError, match="properties: true"):
        ChainOfThought(teacher_force_properties=True)
    with pytest.raises(ValueError, match="smiles: false"):
        PromptStyle(max_smiles_length=0)


@pytest.mark.parametrize("style", [PromptStyle(), GRAPHS_ONLY], ids=["smiles", "graphs-only"])
@pytest.mark.parametrize("cot", [ChainOfThought(), BROAD, GIVEN], ids=["fine", "broad", "given"])
@pytest.mark.parametrize("family", (FAMILIES | {TYPED.name: TYPED}).values(), ids=FAMILIES)
def test_every_phrase_occurs_in_a_prompt_or_an_answer(
    family: Family, cot: ChainOfThought, style: PromptStyle
) -> None:
    name = next(iter(family.questions))
    query = "nausea" if "{query}" in family.questions[name] else None
    space, texts = None, ["any text"]
    if family.kind != "text":
        space = family.answer_space(cot, property=name, label_range=(-2.0, 7.0))
        texts = space.texts
    if family is TYPED:
        texts = [*texts, *TYPED.answer_space(cot, exchanged=True).texts]
    pair = len(family.roles) == 2
    prompt = prompt_pieces(
        family,
        "C",
        "O" if pair else None,
        property=name,
        query=query,
        cot=cot,
        reasoning=family.reasoning("x", "y" if pair else None),
        style=style,
    )
    text = "\n".join([written(prompt), *texts])
    found = phrases(family, space, property=name, cot=cot, style=style)
    assert [phrase for phrase in found if phrase not in text] == []
    assert len(found) == len(set(found))
    rest = written(prompt)
    for phrase in sorted(found, key=len, reverse=True):
        rest = rest.replace(phrase, "|")
    assert "Question" not in rest
    assert "Answer" not in rest
