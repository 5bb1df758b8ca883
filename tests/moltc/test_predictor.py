"""PairPredictor: what a person gets for pairs they type, good and bad ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_pairs import POOLED, SMILES, build, collator, tiny_config, write_pairs

from data_prep.properties import PropertyTexts
from moltc.answering import answer
from moltc.calibration import PlattCalibration, SplitConformal
from moltc.chain_of_thought import ChainOfThought, PromptStyle
from moltc.collate import PairCollator
from moltc.pair_table import PairTable
from moltc.predictor import PairAnswer, PairPredictor
from moltc.prompt_writer import PairText

BAD = {
    "unparseable": ("C(C", "unparseable SMILES"),
    "not-chemistry": ("water", "unparseable SMILES"),
    "impossible-valence": ("C(C)(C)(C)(C)C", "unparseable SMILES"),
    "empty": ("", "empty SMILES"),
    "blank": ("   ", "empty SMILES"),
    "none": (None, "empty SMILES"),
    "too-large": ("C" * 600, "600 heavy atoms, more than the limit of 512"),
    "two-words": ("CCO ethanol", "white space inside the SMILES"),
}


@pytest.fixture
def predictor(pairs):
    """An untrained predictor of a family, calibrated on made-up validation answers."""

    def make(family: str, **parts) -> PairPredictor:
        model = build(tiny_config(**parts), pairs(family))
        if family == "solvation":
            conformal = SplitConformal.fit(np.zeros(20), np.linspace(0.1, 2.0, 20))
            model.calibration[model.task.name] = {"conformal": conformal.to_dict()}
        else:
            platt = PlattCalibration(temperature=2.0, bias=0.5)
            model.calibration[model.task.name] = {"platt": platt.to_dict()}
        return PairPredictor(model)

    return make


@pytest.mark.parametrize("place", [0, 1], ids=["first", "second"])
@pytest.mark.parametrize("case", BAD)
def test_pair_that_cannot_be_read_gets_the_reason(predictor, case, place):
    """Promise: a bad SMILES is reported with its role and reason; nothing is made up for it."""
    smiles, reason = BAD[case]
    pair = ("CCO", smiles) if place else (smiles, "CCO")
    (found,) = predictor("solvation").predict([pair])
    assert not found.valid
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith(("Solute", "Solvent")[place])
    assert reason in found.warnings[0]
    assert len(found.warnings[0]) < 250
    assert (found.value, found.text, found.interval) == (None, "", None)


def test_both_bad_molecules_are_named(predictor):
    (found,) = predictor("ddi").predict([("C(C", "")])
    assert [warning.split()[:2] for warning in found.warnings] == [["Drug", "1"], ["Drug", "2"]]


def test_good_pairs_are_answered_beside_bad_ones_in_order(predictor):
    """Promise: order is kept, and a bad pair changes no other answer."""
    asked = predictor("solvation")
    good = [("CCO", "O"), ("c1ccccc1", "CO"), ("CC(=O)O", "O")]
    mixed = [good[0], ("C(C", "O"), good[1], ("CCO", ""), ("C" * 600, "O"), good[2]]
    found = asked.predict(mixed)
    assert [answered.valid for answered in found] == [True, False, True, False, False, True]
    assert [(answered.smiles_a, answered.smiles_b) for answered in found] == mixed
    alone = asked.predict(good)
    assert [found[i].value for i in (0, 2, 5)] == pytest.approx([answered.value for answered in alone])


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_batch_size_changes_no_answer(predictor, batch_size):
    asked = predictor("ddi")
    pairs = [("CCO", "O"), ("c1ccccc1", "CO"), ("CC(=O)O", "O"), ("CCN", "CCO"), ("CCO", "O")]
    expected = [asked.predict([pair])[0].probability for pair in pairs]
    found = asked.predict(pairs, batch_size=batch_size)
    assert [answered.probability for answered in found] == pytest.approx(expected, abs=1e-5)


def test_salt_is_answered_with_a_warning(predictor):
    """Promise: salts matter and are not stripped; the reader is told."""
    (found,) = predictor("ddi").predict([("CC(=O)[O-].[Na+]", "CCO")])
    assert found.valid
    assert found.label in ("yes", "no")
    assert found.warnings == ("Drug 1 has 2 fragments (a salt or mixture); it was answered as given",)


def test_single_atom_is_answered_without_remark(predictor):
    (found,) = predictor("solvation").predict([("[Xe]", "O")])
    assert found.valid
    assert found.warnings == ()


def test_long_smiles_is_left_out_and_said_so(predictor):
    """Promise: a SMILES is never cut; where it is too long the graph alone is read, with a warning."""
    asked = predictor("solvation", prompt=PromptStyle(max_smiles_length=5))
    (found,) = asked.predict([("CCCCCCCC", "O")])
    assert found.valid
    assert found.warnings == ("the SMILES of Solute has 8 characters: only its graph was read",)


def test_nothing_asked_nothing_answered(predictor):
    assert predictor("ddi").predict([]) == []


def test_only_bad_pairs(predictor):
    assert [found.valid for found in predictor("ddi").predict([("", ""), ("C(C", "O")])] == [False, False]


@pytest.mark.parametrize("pair", ["CO", ("CCO",), ("C", "C", "C")], ids=["string", "one", "three"])
def test_what_is_no_pair_is_an_error(predictor, pair):
    """Promise: a two-letter string is not taken for two molecules."""
    with pytest.raises(ValueError, match="pair 1 is .*give two SMILES"):
        predictor("ddi").predict([("CCO", "O"), pair])


def test_batch_size_must_be_positive(predictor):
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        predictor("ddi").predict([("CCO", "O")], batch_size=0)


def test_numbers_come_with_interval_margin_and_unit(predictor):
    (found,) = predictor("solvation").predict([("CCO", "O")])
    assert found.unit == "kcal/mol"
    assert found.interval is not None
    assert found.interval[0] <= found.value < found.interval[1]
    assert found.text.endswith(f"so it is {found.value:+.2f}.")
    assert found.margin == pytest.approx(1.9)
    assert (found.label, found.probability) == (None, None)


def test_probability_is_calibrated_and_agrees_with_the_label(predictor):
    """Promise: the calibration saved with the model is applied, and label and probability agree."""
    asked = predictor("ddi")
    found = asked.predict([(s, "CCO") for s in ("CCN", "c1ccccc1", "O", "CC#N")])
    model = asked.model
    for answered in found:
        assert answered.label == ("yes" if answered.probability > 0.5 else "no")
        assert answered.text == f"Interaction: {answered.label}"
        assert answered.value is None
    model.calibration = {}
    raw = PairPredictor(model).predict([("CCN", "CCO")])[0].probability
    log_odds = np.log(raw / (1 - raw))
    assert found[0].probability == pytest.approx(1 / (1 + np.exp(-(log_odds + 0.5) / 2)))


def test_same_answers_as_the_batches_of_a_test_run(predictor, pairs):
    """Promise: what is typed is read by the same code as what was built."""
    asked, table = predictor("solvation"), pairs("solvation")
    rows = table.rows("test")
    model = asked.model
    collate = PairCollator(table, model.writers, model.language_model.sharing, False, True)
    expected = answer(model, collate(rows.tolist()))
    smiles = table.molecules.smiles
    found = asked.predict([(smiles[table.mol_a[r]], smiles[table.mol_b[r]]) for r in rows])
    assert [answered.value for answered in found] == pytest.approx(expected.value.tolist())
    assert [answered.text for answered in found] == expected.text


def test_other_spellings_of_a_molecule_get_the_same_answer(predictor):
    first, second = predictor("solvation").predict([("OCC", "O"), ("C(C)O", "O")])
    assert first.value == second.value
    assert (first.smiles_a, second.smiles_a) == ("OCC", "C(C)O")


def test_unfinished_reasoning_is_a_warning(predictor):
    (found,) = predictor("solvation", cot=ChainOfThought(properties=True)).predict([("CCO", "O")])
    assert found.valid
    assert found.reasoning
    assert any("did not end within its budget" in warning for warning in found.warnings)


def test_roles_and_question_are_told(predictor):
    asked = predictor("solvation")
    assert asked.roles == ("solute", "solvent")
    assert "solvation free energy" in asked.question


def test_round_trip_through_a_folder(predictor, tmp_path):
    asked = predictor("ddi")
    asked.model.save_pretrained(tmp_path / "export")
    pairs = [("CCO", "O"), ("CC#N", "c1ccccc1")]
    assert PairPredictor.from_pretrained(tmp_path / "export").predict(pairs) == asked.predict(pairs)


def test_public_names_lead_here():
    import moltc

    assert moltc.PairPredictor is PairPredictor
    assert moltc.PairAnswer is PairAnswer


# -- one molecule twice --------------------------------------------------------------------------------


@pytest.mark.parametrize("sharing", ["tied", "by_role", "by_slot", "adapter"])
@pytest.mark.parametrize("family", ["solvation", "ddi"])
def test_molecule_with_itself(predictor, family, sharing):
    """Promise: (C, C) is a pair like any other: the same answer alone and beside pairs that share C."""
    asked = predictor(family, towers=replace(POOLED, sharing=sharing))
    (alone,) = asked.predict([("C", "C")])
    assert alone.valid
    assert (alone.smiles_a, alone.smiles_b) == ("C", "C")
    among = asked.predict([("CCO", "C"), ("C", "C"), ("C", "O"), ("C", "C")])
    assert among[1] == among[3]
    assert (among[1].text, among[1].label) == (alone.text, alone.label)
    assert among[1].probability == pytest.approx(alone.probability, abs=1e-6)


# -- texts about molecules -----------------------------------------------------------------------------

GIVEN = ChainOfThought(properties=True, teacher_force_properties=True)


def test_texts_of_the_user_give_the_answer_that_the_table_gives(predictor, pairs, tmp_path):
    """Promise: a model trained on the user's texts is asked with them, not with computed ones."""
    told = [f"molecule number {n} of the list" for n in range(len(SMILES))]
    table = PairTable.load(write_pairs(tmp_path / "pairs", "solvation", property_text=told))
    asked = predictor("solvation", cot=GIVEN)
    model, rows = asked.model, table.rows("test")
    expected = answer(model, collator(model, table)(rows))
    smiles = table.molecules.smiles
    questions = [(smiles[table.mol_a[row]], smiles[table.mol_b[row]]) for row in rows]
    texts = PropertyTexts(dict(zip(smiles, table.molecules.property_text, strict=True)))
    found = asked.predict(questions, properties=texts)
    assert [answered.text for answered in found] == expected.text
    computed = [answered.value for answered in asked.predict(questions)]
    assert [answered.value for answered in found] != computed


@pytest.mark.parametrize(
    "cot", [ChainOfThought(), ChainOfThought(properties=True)], ids=["no-texts", "written-texts"]
)
def test_texts_for_a_model_that_reads_none_are_refused(predictor, cot):
    """Promise: an option is honoured or it is an error."""
    with pytest.raises(ValueError, match="reads no property texts"):
        predictor("solvation", cot=cot).predict([("CCO", "O")], properties=PropertyTexts({"CCO": "alcohol"}))


# -- the language model's window -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "cot", [ChainOfThought(), ChainOfThought(properties=True)], ids=["plain", "reasoned"]
)
@pytest.mark.parametrize("family", ["solvation", "ddi"])
def test_pair_beyond_the_window_gets_the_reason_and_the_others_an_answer(predictor, family, cot):
    """Promise: one long pair does not stop the rest; the limit is exact, and what fits can be answered."""
    asked = predictor(family, cot=cot)
    model = asked.model
    pairs = [("CCO", "O"), ("C" * 120, "O"), ("CCN", "CCO")]
    lengths = [len(model.writers[0].tree(PairText(a, b), 0, 0, 0).prompt_ids) for a, b in pairs]
    enough = max(lengths[0], lengths[2]) + model.room() - 1  # the last token is not read again
    model.language_model.hf_config.max_position_embeddings = enough
    found = asked.predict(pairs)
    assert [answered.valid for answered in found] == [True, False, True]
    (reason,) = found[1].warnings
    assert f"the prompt has {lengths[1]} tokens" in reason
    assert f"the language model reads {enough}" in reason
    assert "smaller molecules" in reason
    model.language_model.hf_config.max_position_embeddings = enough - 1
    assert not all(asked.predict(pairs)[n].valid for n in (0, 2))


def test_no_reason_names_an_option_that_asking_has_not(predictor):
    (found,) = predictor("solvation").predict([("C" * 600, "O")])
    assert found.warnings[0].endswith("600 heavy atoms, more than the limit of 512: give a smaller one")
