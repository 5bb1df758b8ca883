"""What a test run reports: answers that agree with themselves, free answers, coverage, fair baselines."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tiny_pairs import data, module, tiny_config, trainer

from moltc.answering import Answers, calibrated
from moltc.calibration import PlattCalibration, SplitConformal
from moltc.evaluate import ROW, Evaluation, evaluate
from moltc.metrics import sigmoid
from moltc.module import PairModule
from moltc.predictor import PairPredictor
from moltc.task_results import calibrate


@pytest.fixture
def tested(pairs_folder, tmp_path):
    """An untrained model that has answered its valid and test split."""

    def make(family: str, *, free_answers: int = 0, **settings) -> PairModule:
        learner = module(tiny_config(), free_answers=free_answers)
        trainer(tmp_path).test(learner, datamodule=data(pairs_folder(family), **settings), verbose=False)
        return learner

    return make


def written(learner: PairModule, folder) -> tuple[Evaluation, pl.DataFrame, dict]:
    """The evaluation, its predictions and its figures."""
    (found,) = evaluate(learner, folder, fingerprint_baselines=False).values()
    return (
        found,
        pl.read_parquet(folder / "predictions.parquet"),
        json.loads((folder / "metrics.json").read_text()),
    )


def biased(found: Answers, labels: np.ndarray, shift: float) -> Answers:
    """Answers whose log-odds rank well and lie ``shift`` too high."""
    spread = np.linspace(-0.5, 0.5, len(labels))
    log_odds = np.where(labels > 0, 1.0, -1.0) + spread + shift
    orders = np.stack([log_odds - 0.1, log_odds + 0.1], axis=1)
    return replace(found, log_odds=log_odds, log_odds_orders=orders, value=sigmoid(log_odds))


def test_calibrated_text_label_and_probability_agree(tested, tmp_path):
    """Promise: where calibration turns yes into no, the sentence turns with the probability, in the file
    and in what the exported model says."""
    learner = tested("ddi")
    (answered,) = learner.test_answers
    for split, (rows, found) in answered.items():
        answered[split] = rows, biased(found, learner.labels(rows), shift=6.0)
    raw = answered["test"][1]
    assert set(raw.value > 0.5) == {True}, "nothing is turned: the test says nothing"
    _, frame, _ = written(learner, tmp_path / "test")
    assert set(frame["text"]) == {"Interaction: yes", "Interaction: no"}
    for text, probability, log_odds in frame.select("text", "probability", "log_odds").iter_rows():
        assert (text == "Interaction: yes") == (probability > 0.5) == (log_odds > 0)
    platt = PlattCalibration.from_dict(learner.moltc.calibration[learner.moltc.task.name]["platt"])
    np.testing.assert_allclose(frame["probability"], platt.apply(raw.log_odds))


@pytest.mark.parametrize("bias", [-50.0, 50.0], ids=["towards-no", "towards-yes"])
def test_answer_of_a_biased_calibration_agrees_with_itself(tested, bias):
    """Promise: PairAnswer's text, label and probability say the same, however strong the calibration."""
    model = tested("ddi").moltc
    model.calibration[model.task.name] = {"platt": PlattCalibration(temperature=1.0, bias=bias).to_dict()}
    expected = "yes" if bias > 0 else "no"
    for found in PairPredictor(model).predict([("CCO", "O"), ("c1ccccc1", "CC#N")]):
        assert (found.label, found.text) == (expected, f"Interaction: {expected}")
        assert (found.probability > 0.5) == (bias > 0)


def test_both_orders_are_calibrated(tested):
    learner = tested("ddi")
    platt = PlattCalibration(temperature=2.0, bias=0.5)
    learner.moltc.calibration[learner.moltc.task.name] = {"platt": platt.to_dict()}
    _, raw = learner.test_answers[0]["test"]
    found = calibrated(learner.moltc, 0, raw)
    np.testing.assert_allclose(found.log_odds_orders, (raw.log_odds_orders + 0.5) / 2.0)
    np.testing.assert_allclose(found.log_odds, found.log_odds_orders.mean(axis=1))


# -- free answers --------------------------------------------------------------------------------------


def test_free_numbers_have_a_row_and_an_invalid_rate_of_their_own(tested, tmp_path):
    """Promise: the parser counts the invalid answers of a model that writes freely; under the automaton
    there are none."""
    learner = tested("solvation", free_answers=6)
    found, frame, plain = written(learner, tmp_path / "test")
    free = found.rows["MolTC, written freely (6 pairs)"]
    invalid = [not learner.moltc.task.kind.parse(text).valid for _, text in learner.free_texts[0]]
    assert free["invalid_rate"].value == np.mean(invalid) > 0
    assert {"interval_hit", "self_consistency"} <= free.keys()
    assert found.metrics["invalid_rate"].value == 0.0
    assert "self_consistency" not in found.metrics  # it cannot be anything but 1
    assert plain["baselines"]["MolTC, written freely (6 pairs)"]["invalid_rate"]["value"] > 0
    assert plain["model"] == ROW
    assert frame["text"].str.starts_with("The value lies between").all()


def test_free_yes_and_no_are_counted_in_a_note(tested, tmp_path):
    learner = tested("ddi", free_answers=5)
    rows = [row for row, _ in learner.free_texts[0]]
    texts = ["Interaction: yes"] * 2 + ["perhaps"] * 3
    learner.free_texts = [list(zip(rows, texts, strict=True))]
    right = learner.labels(np.array(rows[:2])).sum() / 5
    found, _, _ = written(learner, tmp_path / "test")
    (note,) = [note for note in found.notes if note.startswith("Written freely")]
    assert f"5 test pairs): accuracy {right:.3f}, 60.0% invalid answers" in note


@pytest.mark.parametrize("family", ["solvation", "ddi"])
def test_without_free_answers_nothing_is_said_of_them(tested, tmp_path, family):
    found, _, _ = written(tested(family), tmp_path / "test")
    assert not [text for text in [*found.rows, *found.notes] if "freely" in text]


# -- intervals -----------------------------------------------------------------------------------------


def test_coverage_is_measured_on_the_test_split(tested, tmp_path):
    """Promise: the page says which share of the test labels the 90 % intervals hold."""
    learner = tested("solvation")
    rows, answers = learner.test_answers[0]["valid"]  # ten validation answers instead of eight
    more = np.array([*range(8), 0, 1])
    learner.test_answers[0]["valid"] = rows[more], answers.take(more)
    found, _, _ = written(learner, tmp_path / "test")
    half = SplitConformal.from_dict(
        learner.moltc.calibration[learner.moltc.task.name]["conformal"]
    ).half_width(0.9)
    rows, answers = learner.test_answers[0]["test"]
    covered = np.mean(np.abs(learner.labels(rows) - answers.value) <= half)
    assert f"The 90% intervals hold {covered:.1%} of the test labels." in found.notes


def test_too_few_validation_pairs_give_no_interval_and_say_so(tested, tmp_path):
    """Promise: an infinite half-width is no interval; the note tells why, the answer has no margin."""
    learner = tested("solvation")
    found, _, _ = written(learner, tmp_path / "test")
    assert found.notes[0] == "No 90% prediction intervals: 8 validation pairs are too few."
    assert not [note for note in found.notes if "intervals hold" in note]
    assert PairPredictor(learner.moltc).predict([("CCO", "O")])[0].margin is None


@pytest.mark.parametrize(("count", "enough"), [(8, False), (9, True)], ids=["eight", "nine"])
def test_nine_validation_pairs_are_enough(tested, count, enough):
    learner = tested("solvation")
    _, answers = learner.test_answers[0]["valid"]
    picked = answers.take(np.arange(count) % 8)
    (note,) = calibrate(learner.moltc, 0, np.zeros_like, (np.arange(count), picked))
    assert note.startswith("90% prediction intervals" if enough else "No 90% prediction intervals")
    margin = PairPredictor(learner.moltc).predict([("CCO", "O")])[0].margin
    assert (margin == pytest.approx(np.abs(picked.value).max())) if enough else (margin is None)


# -- baselines -----------------------------------------------------------------------------------------


def test_baselines_learn_from_the_same_training_pairs(tested, tmp_path):
    """Promise: max_train_pairs limits the baselines as it limits the model."""
    learner = tested("solvation", max_train_pairs=5)
    found, _, _ = written(learner, tmp_path / "test")
    table = learner.data.table
    labels = table.label[table.rows("test")]
    expected = np.sqrt(np.mean((labels - table.label[learner.data.rows("train")].mean()) ** 2))
    everything = np.sqrt(np.mean((labels - table.label[table.rows("train")].mean()) ** 2))
    assert found.rows["mean of train"]["rmse"].value == pytest.approx(expected)
    assert expected != pytest.approx(everything)
