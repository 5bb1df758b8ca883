"""Chromophores: wavelengths in nm and lifetimes as logarithms, from the table to the answer."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tiny_pairs import build, collator, data, module, tiny_config, train_batch, trainer

from moltc.answering import answer
from moltc.evaluate import evaluate
from moltc.predictor import PairPredictor

PROPERTIES = ("absorption", "lifetime")
UNITS = {"absorption": "nm", "lifetime": "log10(ns)"}


def printed(name: str, labels: np.ndarray) -> np.ndarray:
    """Labels as they are written: lifetimes by their logarithm."""
    return np.log10(labels) if name == "lifetime" else labels


@pytest.mark.parametrize(
    ("name", "label", "text"),
    [
        ("absorption", 345.2, "The value lies between +340 and +350, so it is +345.2."),
        ("lifetime", 10**-2.74, "The value lies between -2.75 and -2.50, so it is -2.740."),
    ],
    ids=PROPERTIES,
)
def test_targets_are_worded_in_the_printed_unit(pairs, name, label, text):
    """Promise: wavelengths with one decimal in steps of 10 nm, lifetimes as log10 with three."""
    table = pairs(name)
    model = build(tiny_config(), table)
    row = int(np.flatnonzero(np.isclose(table.label, label))[0])
    batch = train_batch(model, table, [row])
    (target,) = batch.trees[0].completions
    decoded = model.language_model.tokenizer.decode(target, skip_special_tokens=True)
    assert decoded.strip() == text
    np.testing.assert_allclose(batch.labels, printed(name, table.label[[row]]), rtol=1e-5)


@pytest.mark.parametrize("name", PROPERTIES)
def test_answers_lie_around_the_training_labels(pairs, name):
    table = pairs(name)
    model = build(tiny_config(), table)
    found = answer(model, collator(model, table)(table.rows("test")))
    known = printed(name, table.label[table.rows("train")])
    assert (model.task.low, model.task.high) == pytest.approx((known.min(), known.max()))
    form = model.task.kind.number_format(name)
    low, high = form.from_ticks(form.whole_bins(*model.task.answer_range))[[0, -1]]
    assert ((low <= found.value) & (found.value <= high)).all()
    assert ((found.interval[:, 0] <= found.value) & (found.value < found.interval[:, 1])).all()
    (one,) = PairPredictor(model).predict([("CCO", "O")])
    assert (one.unit, one.label) == (UNITS[name], None)
    assert low <= one.value <= high


@pytest.mark.parametrize("name", PROPERTIES)
def test_results_are_on_the_printed_scale(pairs_folder, tmp_path, name):
    """Promise: errors, baselines and plots speak of the numbers that are written, not of raw lifetimes."""
    learner = module(tiny_config(), free_answers=0)
    trainer(tmp_path).test(learner, datamodule=data(pairs_folder(name)), verbose=False)
    (found,) = evaluate(learner, tmp_path / "test", fingerprint_baselines=False).values()
    table = learner.data.table
    truth = printed(name, table.label[table.rows("test")])
    frame = pl.read_parquet(tmp_path / "test/predictions.parquet")
    np.testing.assert_allclose(frame["truth"], truth)
    rmse = float(np.sqrt(np.mean((frame["value"].to_numpy() - truth) ** 2)))
    assert found.metrics["rmse"].value == pytest.approx(rmse)
    mean = printed(name, table.label[table.rows("train")]).mean()
    expected = float(np.sqrt(np.mean((truth - mean) ** 2)))
    assert found.rows["mean of train"]["rmse"].value == pytest.approx(expected)
    assert UNITS[name] in (tmp_path / "test/report.html").read_text()
