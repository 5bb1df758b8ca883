"""Tasks: what the training labels say, on the scale that is printed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from moltc.chain_of_thought import ChainOfThought
from moltc.task import Task

SOLVATION = ("solvation", "solvation free energy", "tiny")
LIFETIME = ("chromophore", "lifetime", "tiny")


def test_statistics_are_those_of_the_training_labels():
    task = Task.from_labels(*SOLVATION, [-4.0, -2.0, -3.0])
    assert (task.mean, task.low, task.high) == (-3.0, -4.0, -2.0)
    assert task.std == pytest.approx(np.std([-4.0, -2.0, -3.0]))
    assert task.is_number
    assert task.unit == "kcal/mol"


def test_logarithmic_properties_are_described_on_the_printed_scale():
    task = Task.from_labels(*LIFETIME, [0.1, 10.0, 1000.0])
    assert (task.low, task.mean, task.high) == (-1.0, 1.0, 3.0)
    assert task.unit == "log10(ns)"


def test_equal_labels_have_a_standard_deviation_to_divide_by():
    assert Task.from_labels(*SOLVATION, [-3.0, -3.0]).std == 1.0


def test_unknown_labels_stay_unknown():
    """Promise: pairs without a label can be answered, whatever the scale."""
    printed = Task.from_labels(*LIFETIME, [1.0, 10.0]).printed([100.0, np.nan])
    np.testing.assert_array_equal(printed, [2.0, np.nan])


def test_printing_leaves_the_labels_alone():
    labels = np.array([10.0, 100.0])
    Task.from_labels(*LIFETIME, labels).printed(labels)
    np.testing.assert_array_equal(labels, [10.0, 100.0])


def test_empty_training_split_is_an_error():
    with pytest.raises(ValueError, match="tiny: the training split has no pairs"):
        Task.from_labels(*SOLVATION, [])


@pytest.mark.parametrize(
    "labels", [[1.0, 1.0], [0.0], [0.0, 1.0, 2.0]], ids=["only-yes", "only-no", "classes"]
)
def test_yes_no_task_needs_both_answers(labels):
    with pytest.raises(ValueError, match="labels 0 and 1, found"):
        Task.from_labels("ddi", "interaction", "tiny", labels)


@pytest.mark.parametrize(
    ("family", "property", "labels", "outputs"),
    [
        ("molecule-property", "lipophilicity", [-1.5, 4.5], 0),
        ("molecule-class", "blood-brain barrier", [0.0, 1.0], 0),
        ("solvation", "solvation free energy", [-4.0, -2.0], 1),
        ("ddi", "interaction", [0.0, 1.0], 1),
    ],
    ids=["number-of-a-molecule", "class-of-a-molecule", "number-of-a-pair", "yes-no-of-a-pair"],
)
def test_only_pairs_have_an_auxiliary_head(family, property, labels, outputs):
    """Promise: a head reads what two molecules make together; of one there is none."""
    assert Task.from_labels(family, property, "tiny", labels).outputs == outputs


def test_survives_json():
    """Promise: a saved model knows its task exactly."""
    task = Task.from_labels(*SOLVATION, [-4.73, 2.21], computed=True)
    assert Task.from_dict(json.loads(json.dumps(task.to_dict()))) == task


@pytest.mark.parametrize(
    ("label", "interval", "text"),
    [
        (-4.73, True, "The value lies between -5.0 and -4.5, so it is -4.73."),
        (2.21, True, "The value lies between +2.0 and +2.5, so it is +2.21."),
        (-0.2, True, "The value lies between -0.5 and +0.0, so it is -0.20."),
        (-5.0, True, "The value lies between -5.0 and -4.5, so it is -5.00."),
        (-4.501, True, "The value lies between -4.5 and -4.0, so it is -4.50."),
        (-0.001, False, "The value is +0.00."),
    ],
    ids=["negative", "positive", "below-zero", "on-a-bound", "rounds-onto-a-bound", "no-negative-zero"],
)
def test_answers_are_worded_exactly(label, interval, text):
    """Promise: the worked interval examples; the printed value always lies in its interval."""
    task = Task.from_labels(*SOLVATION, [-6.0, 3.0])
    assert task.answers([label], ChainOfThought(interval=interval)) == [text]


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        ([-1.2, 0.4], (-1.6, 0.8)),
        ([-4.0, -0.2], (-4.95, 0.0)),
        ([0.2, 4.0], (0.0, 4.95)),
        ([-2.0, -2.0], (-2.0, -2.0)),
    ],
    ids=["both-signs", "negative", "positive", "equal"],
)
def test_answers_may_lie_a_quarter_beyond_the_labels(labels, wanted):
    """Promise: other molecules may lie outside the training labels; a quantity of one sign keeps it."""
    assert Task.from_labels(*SOLVATION, labels).answer_range == pytest.approx(wanted)


def test_answer_space_covers_whole_intervals_around_the_range():
    space = Task.from_labels(*SOLVATION, [-1.2, 0.3]).answer_space(ChainOfThought())  # -1.575 to 0.675
    assert (space.values[0], space.values[-1]) == (-2.0, 0.99)
    assert space.bins is not None
    assert ((space.bins[:, 0] <= space.values) & (space.values < space.bins[:, 1])).all()


def test_yes_no_task_has_two_answers():
    task = Task.from_labels("ddi", "interaction", "tiny", [0.0, 1.0])
    assert task.answer_space(ChainOfThought()).texts == ["Interaction: no", "Interaction: yes"]
    assert task.unit == ""
