"""What a run refuses before it costs time: changed settings on resume, missing splits, broken checkpoints."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tiny_pairs import arguments

from moltc.answer_cli import answer_command
from moltc.cli import _parser
from moltc.lightning_cli import run
from moltc.optim import OptimConfig


@pytest.fixture(scope="module")
def finished(pairs_folder, tmp_path_factory) -> Path:
    """The folder of a small finished run on solvation pairs."""
    root = tmp_path_factory.mktemp("finished")
    assert run("fit", arguments("fit", pairs_folder("solvation"), root, trainer__max_epochs=1)) == 0
    return root


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"data__batch_size": 5}, "data.batch_size was"),
        ({"model__optim__lr_towers": 0.5}, "model.optim.lr_towers was"),
        ({"seed_everything": 7}, "model.seed was 0, is 7"),
        ({"data__label_noise": 0.3}, "data.label_noise was"),
    ],
    ids=["batch", "rate", "seed", "noise"],
)
def test_a_resumed_run_keeps_its_settings(finished, pairs_folder, tmp_path, capsys, option, told):
    last = finished / "checkpoints/last.ckpt"
    options = {"trainer__max_epochs": 2, "ckpt_path": last, **option}
    assert run("fit", arguments("fit", pairs_folder("solvation"), tmp_path, **options)) == 2
    assert told in capsys.readouterr().err


def test_another_width_is_named_in_one_sentence(finished, pairs_folder, tmp_path, capsys):
    options = {"ckpt_path": finished / "checkpoints/last.ckpt", "model__language_model__tiny__hidden": 16}
    assert run("fit", arguments("fit", pairs_folder("solvation"), tmp_path, **options)) == 2
    said = capsys.readouterr().err
    assert "has shape" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"], ids=["empty", "text"])
def test_a_broken_checkpoint_is_one_sentence(pairs_folder, tmp_path, capsys, content):
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(content)
    assert run("fit", arguments("fit", pairs_folder("solvation"), tmp_path / "run", ckpt_path=broken)) == 2
    assert "is not a whole checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["valid", "test"])
def test_a_missing_split_is_noticed_before_training(pairs_folder, tmp_path, capsys, missing):
    from data_prep.tables import read_parquet, write_parquet

    source, folder = pairs_folder("solvation"), tmp_path / "data"
    folder.mkdir()
    for file in source.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    frame, metadata = read_parquet(folder / "pairs.parquet")
    split = pl.when(pl.col("split") == missing).then(pl.lit("none")).otherwise(pl.col("split"))
    write_parquet(frame.with_columns(split.alias("split")), folder / "pairs.parquet", metadata=metadata)
    assert run("fit", arguments("fit", folder, tmp_path / "run")) == 2
    assert f"no pairs in split {missing}" in capsys.readouterr().err
    assert not (tmp_path / "run/checkpoints/last.ckpt").exists()


def test_results_over_a_part_of_the_test_split_are_refused(pairs_folder, tmp_path, capsys):
    options = {"trainer__limit_test_batches": 0.5}
    assert run("fit", arguments("fit", pairs_folder("solvation"), tmp_path, **options)) == 2
    assert "limit_test_batches" in capsys.readouterr().err


def test_validate_after_pretraining_gives_a_score(pairs_folder, tmp_path):
    """Promise: the phase belongs to training; a checkpoint is validated in full whatever its epoch."""
    folder = pairs_folder("solvation")
    head = {"model__head__weight": 1.0, "model__optim__pretrain_epochs": 1}
    assert run("fit", arguments("fit", folder, tmp_path, trainer__max_epochs=2, **head)) == 0
    best = tmp_path / "checkpoints/best.ckpt"
    assert run("validate", arguments("validate", folder, tmp_path, ckpt_path=best, **head)) == 0
    log = sorted(tmp_path.glob("logs/version_*/metrics.csv"))[-1]
    scores = pl.read_csv(log, infer_schema_length=None)["val/rmse"].drop_nulls().drop_nans()
    assert len(scores) > 0


@pytest.mark.parametrize(
    "settings",
    [{"lr_towers": -0.1}, {"lr_language_model": 0.0}, {"warmup": 2.0}, {"pretrain_epochs": -1}],
    ids=["negative-rate", "no-rate", "long-warm-up", "negative-epochs"],
)
def test_impossible_optimisers_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        OptimConfig(**settings)


@pytest.mark.parametrize("where", ["pairs.csv", "nowhere/out.csv", "."], ids=["input", "no-folder", "folder"])
def test_answers_have_a_place_before_they_are_computed(finished, tmp_path, capsys, where):
    table = tmp_path / "pairs.csv"
    table.write_text("a,b\nCCO,O\n")
    asked = [
        "answer",
        "--model",
        str(finished / "export"),
        "--csv",
        str(table),
        "--out",
        str(tmp_path / where),
    ]
    assert answer_command(_parser().parse_args(asked)) == 2
    assert "--out" in capsys.readouterr().err
    assert table.read_text() == "a,b\nCCO,O\n"
