"""PairPredictor: what a person gets for pairs they type, good and bad ones."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_pairs import build, tiny_config

from moltc.answering import answer
from moltc.calibration import PlattCalibration, SplitConformal
from moltc.chain_of_thought import ChainOfThought, PromptStyle
from moltc.collate import PairCollator
from moltc.predictor import PairAnswer, PairPredictor

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
            model.calibration = {"conformal": conformal.to_dict()}
        else:
            model.calibration = {"platt": PlattCalibration(temperature=2.0, bias=0.5).to_dict()}
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


def test_probability_is_calibrated_and_agrees_with_the_label(predictor, pairs):
    """Promise: the calibration saved with the model is applied, and label and probability agree."""
    asked = predictor("ddi")
    found = asked.predict([(s, "CCO") for s in ("CCN", "c1ccccc1", "O", "CC#N")])
    model, table = asked.model, pairs("ddi")
    for answered in found:
        assert answered.label == ("yes" if answered.probability > 0.5 else "no")
        assert answered.text == f"Interaction: {answered.label}"
        assert answered.value is None
    uncalibrated = PairPredictor(model)
    uncalibrated._platt = None
    raw = uncalibrated.predict([("CCN", "CCO")])[0].probability
    log_odds = np.log(raw / (1 - raw))
    assert found[0].probability == pytest.approx(1 / (1 + np.exp(-(log_odds + 0.5) / 2)))
    assert len(table)


def test_same_answers_as_the_batches_of_a_test_run(predictor, pairs):
    """Promise: what is typed is read by the same code as what was built."""
    asked, table = predictor("solvation"), pairs("solvation")
    rows = table.rows("test")
    model = asked.model
    collate = PairCollator(table, model.writer, model.language_model.sharing, False, True)
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
