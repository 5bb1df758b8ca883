"""One model for several tasks: what they share, what they keep apart, and how they weigh."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from tiny_pairs import arguments, build, collator, data, module, tiny_config, train_batch, trainer

from moltc.answering import answer
from moltc.cli import main
from moltc.evaluate import evaluate
from moltc.model import MolTC
from moltc.pair_towers import PAIR, PairHeadConfig
from moltc.predictor import PairPredictor
from moltc.shards import read_predictions
from moltc.task import Task

HEAD = PairHeadConfig(weight=0.5, hidden=(8,))
NAMES = ("tiny-solvation.solvation_free_energy", "tiny-ddi.interaction")


def rows_of(table, number: int, count: int = 4) -> list[int]:
    """The first training rows of a task."""
    return table.rows("train", number)[:count].tolist()


# -- training ------------------------------------------------------------------------------------------


def test_batch_of_one_task_leaves_the_towers_and_heads_of_others_alone(pairs):
    """Promise: drug pairs give the towers of solutes and solvents, and their head, no gradient."""
    table = pairs("solvation", "ddi")
    model = build(tiny_config(head=HEAD), table).train()
    model.losses(train_batch(model, table, rows_of(table, 1)))["loss"].backward()
    graded = {name for name, p in model.pair_towers.named_parameters() if p.grad is not None}
    own = {name for name in graded if ".drug." in name}
    assert own
    assert not [name for name in graded if ".solute." in name or ".solvent." in name]
    assert {name.split(".")[1] for name in graded if name.startswith("heads.")} == {"ddi/interaction"}


def test_tasks_in_one_batch_are_scored_as_if_alone(pairs):
    """Promise: a mixed batch changes no pair's likelihood and no head's loss."""
    table = pairs("solvation", "ddi", "caption")
    model = build(tiny_config(head=replace(HEAD, pair_tokens=1)), table)
    parts = [rows_of(table, number) for number in range(3)]
    mixed = model.losses(train_batch(model, table, np.stack(parts, axis=1).ravel()))
    alone = [model.losses(train_batch(model, table, rows)) for rows in parts]
    for name, losses in zip(model.names, alone, strict=True):
        torch.testing.assert_close(mixed[f"nll/{name}"], losses["nll"])
    assert "head" not in alone[2]  # nobody can predict a text as a number
    torch.testing.assert_close(mixed["head"], (alone[0]["head"] + alone[1]["head"]) / 2)


def test_tasks_weigh_by_what_guessing_costs(pairs):
    """Promise: each pair counts by the inverse of the nats that guessing evenly costs; mean weight 1."""
    table = pairs("solvation", "ddi", "caption")
    model = build(tiny_config(), table)
    counts = (5, 3, 2)
    rows = [row for number, count in enumerate(counts) for row in rows_of(table, number, count)]
    losses = model.losses(train_batch(model, table, rows))
    guessing = np.log([len(model.space(0)), len(model.space(1))])
    weights = np.array([*(guessing.mean() / guessing), 1.0])  # texts count as the mean does
    weights /= weights.mean()
    each = [float(losses[f"nll/{name}"].detach()) for name in model.names]
    expected = sum(w * n * nll for w, n, nll in zip(weights, counts, each, strict=True)) / sum(counts)
    assert float(losses["loss"].detach()) == pytest.approx(expected, rel=1e-5)
    assert len(model.space(0)) > 2, "the two tasks cost the same: nothing is tested"


def test_single_task_is_not_weighted(pairs):
    table = pairs("solvation")
    model = build(tiny_config(), table)
    losses = model.losses(train_batch(model, table, range(4)))
    assert losses.keys() == {"loss", "nll"}
    assert torch.equal(losses["loss"], losses["nll"])


def test_tasks_of_the_same_question_share_a_head(pairs):
    """Promise: two data sets of one quantity train one head, on one scale; other questions have their own."""
    table = pairs("solvation", "measured", "absorption")
    model = build(tiny_config(head=HEAD), table)
    assert list(model.pair_towers.heads) == ["solvation/solvation free energy", "chromophore/absorption"]
    rows = rows_of(table, 0) + rows_of(table, 1)
    batch = train_batch(model, table, rows)
    (group,) = batch.inputs.groups
    assert group.prompts.tolist() == list(range(8))
    (predicted,) = model.lm.encode(batch.inputs).predictions
    mean, std = model.tasks[0].mean, model.tasks[0].std
    expected = (predicted.squeeze(1) - (torch.tensor(table.label[rows]).float() - mean) / std) ** 2
    torch.testing.assert_close(model.losses(batch)["head"], expected.mean())


def test_pair_tokens_of_a_mixed_batch_are_those_of_their_pairs(pairs):
    """Promise: each prompt gets the pair tokens of its own molecules, in whatever order tasks stand."""
    table = pairs("solvation", "caption", "ddi")
    model = build(tiny_config(head=replace(HEAD, pair_tokens=2)), table)
    solvation, caption, ddi = (rows_of(table, number, 2) for number in range(3))
    rows = [ddi[0], solvation[0], caption[0], ddi[1], caption[1], solvation[1]]
    batch = train_batch(model, table, rows)
    encoded = model.lm.encode(batch.inputs)
    asked = batch.packed.entities[PAIR]  # numbers of the prompts, in packed order
    assert sorted(asked) == [0, 1, 3, 5], "captions have no head"
    for prompt, made in zip(asked, encoded.soft_tokens[PAIR], strict=True):
        alone = model.lm.encode(train_batch(model, table, [rows[prompt]]).inputs).soft_tokens[PAIR]
        torch.testing.assert_close(made, alone[0])


# -- answers -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tested(pairs_folder, tmp_path_factory):
    """An untrained model of two tasks that has answered both, its evaluation, and where that lies."""
    root = tmp_path_factory.mktemp("joint")
    learner = module(tiny_config(head=HEAD), free_answers=2)
    folders = [pairs_folder("solvation"), pairs_folder("ddi")]
    trainer(root).test(learner, datamodule=data(folders), verbose=False)
    return learner, evaluate(learner, root / "test", fingerprint_baselines=False), root / "test"


def test_each_task_has_a_folder_of_results(tested):
    """Promise: metrics, predictions and page of each task are those of its own pairs."""
    learner, found, root = tested
    assert tuple(found) == learner.moltc.names == NAMES
    table = learner.data.table
    for number, name in enumerate(NAMES):
        frame = pl.read_parquet(root / name / "predictions.parquet")
        assert frame["pair_id"].to_list() == table.pair_id[table.rows("test", number)].tolist()
        assert (root / name / "report.html").is_file()
    for name, metric in zip(NAMES, ("rmse", "auc_roc"), strict=True):
        figures = json.loads((root / name / "metrics.json").read_text())["metrics"]
        assert figures[metric]["value"] == found[name].metrics[metric].value
    assert [path.name for path in root.iterdir() if path.is_file()] == []


def test_calibration_is_kept_by_task(tested):
    learner, _, _ = tested
    assert {name: set(kept) for name, kept in learner.moltc.calibration.items()} == {
        NAMES[0]: {"conformal"},
        NAMES[1]: {"platt"},
    }


def test_round_trip_of_several_tasks(tested, tmp_path):
    """Promise: a model of several tasks is saved and loaded whole: tasks, heads, calibration, answers."""
    model = tested[0].moltc
    model.save_pretrained(tmp_path / "export")
    loaded = MolTC.from_pretrained(tmp_path / "export")
    assert (loaded.tasks, loaded.calibration) == (model.tasks, model.calibration)
    assert all(torch.equal(t, loaded.state_dict()[name]) for name, t in model.state_dict().items())
    first, second = PairPredictor(model), PairPredictor(loaded)
    for name in NAMES:
        asked = [("CCO", "O"), ("c1ccccc1", "CO")]
        assert first.predict(asked, task=name) == second.predict(asked, task=name)
    card = (tmp_path / "export/README.md").read_text()
    for task in model.tasks:
        assert task.kind.question_template(task.property) in card


def test_predictor_wants_to_know_the_task(tested):
    """Promise: what could be meant twice is asked back, and the choices are named."""
    predictor = PairPredictor(tested[0].moltc)
    assert predictor.tasks == NAMES
    with pytest.raises(ValueError, match=f"answers 2 tasks, name one: {', '.join(NAMES)}"):
        predictor.predict([("CCO", "O")])
    with pytest.raises(ValueError, match=f"no task 'solubility'; it answers {', '.join(NAMES)}"):
        predictor.predict([("CCO", "O")], task="solubility")
    with pytest.raises(ValueError, match="name one"):
        _ = predictor.question
    (number,), (label,) = (predictor.predict([("CCO", "O")], task=name) for name in NAMES)
    assert (number.unit, number.label) == ("kcal/mol", None)
    assert (label.value, label.label) == (None, label.text.removeprefix("Interaction: "))


def test_answers_are_those_of_a_batch_of_one_task(pairs):
    table = pairs("solvation", "ddi")
    model = build(tiny_config(), table)
    with pytest.raises(ValueError, match="answered task by task"):
        collator(model, table)([rows_of(table, 0)[0], rows_of(table, 1)[0]])
    found = answer(model, collator(model, table)(rows_of(table, 0)))
    assert set(found.text) <= set(model.space(0).texts)


def test_tasks_of_one_name_are_refused(pairs):
    model = build(tiny_config(), pairs("ddi"))
    task = Task.from_dict(model.task.to_dict())
    with pytest.raises(ValueError, match=r"tasks of different names, not tiny-ddi\.interaction, tiny-ddi"):
        MolTC(model.config, [task, task], model.language_model)


# -- the command ---------------------------------------------------------------------------------------


def test_joint_run_on_the_command_line(pairs_folder, tmp_path, capsys):
    """Promise: one command trains on several folders, tests and exports; `moltc answer` takes the task."""
    folders = [str(pairs_folder(name)) for name in ("solvation", "ddi")]
    options = {"data__temperature": 0.5, "data__max_valid_pairs": 4, "trainer__max_epochs": 1}
    assert main(arguments("fit", json.dumps(folders), tmp_path, **options)) == 0
    for name in NAMES:
        assert (tmp_path / "test" / name / "predictions.parquet").is_file()
    log = pl.read_csv(next(tmp_path.glob("logs/version_*/metrics.csv")), infer_schema_length=None)
    logged = {"val/loss", *(f"train/nll/{name}" for name in NAMES), *(f"val/nll/{name}" for name in NAMES)}
    assert logged | {f"val/rmse/{NAMES[0]}", f"val/auc/{NAMES[1]}"} <= set(log.columns)
    best = log["val/loss"].drop_nulls().to_list()
    assert np.isfinite(best).all()
    ask = ("answer", "--model", str(tmp_path / "export"), "CCO", "O")
    capsys.readouterr()
    assert main([*ask, "--task", NAMES[1]]) == 0
    assert "probability of yes" in capsys.readouterr().out
    assert main(list(ask)) == 2
    assert "name one" in capsys.readouterr().err
    best_weights = tmp_path / "checkpoints/best.ckpt"
    assert main(arguments("predict", json.dumps(folders), tmp_path, ckpt_path=best_weights)) == 0
    for name in NAMES:
        assert len(read_predictions(tmp_path / "predictions", name).collect()) == 8
