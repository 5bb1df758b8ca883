"""The graphrec command on folders of a few rows."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import yaml
from offline_runs import offline_runs
from tiny_recommenders import write_folder, write_walks

from graphrec.cli import main
from graphrec.recommender import Recommender

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "graphrec").glob("*.yaml"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_walks(tmp_path_factory.mktemp("data") / "walks")


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tested run of a counting model."""
    return fit(data, tmp_path_factory.mktemp("runs") / "co", "cooccurrence", "--model.decay", "0.4")


def fit(data: Path, out: Path, model: str, *options: str) -> Path:
    command = ["fit", "--model.name", model, "--data.folder", str(data), "--out", str(out), *options]
    assert main(command) == 0
    return out


def refused(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """The one line that a command ends with."""
    capsys.readouterr()
    assert main(list(command)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_a_run_leaves_all_behind(run: Path) -> None:
    kept = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert kept == {
        "config.yaml",
        "fit.json",
        *(f"{split}/{name}" for split in ("valid", "test") for name in ("ranks.parquet", "results.json")),
        *(f"export/{name}" for name in ("config.json", "items.parquet", "model.safetensors")),
    }
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["decay"] == 0.4
    assert json.loads((run / "fit.json").read_text())["settings"]["decay"] == 0.4


def test_its_config_makes_the_same_run(run: Path, data: Path, tmp_path: Path) -> None:
    assert main(["fit", "--config", str(run / "config.yaml"), "--out", str(tmp_path / "again")]) == 0
    first, second = ((folder / "test" / "results.json").read_text() for folder in (run, tmp_path / "again"))
    assert first == second


def test_settings_are_chosen_on_validation(data: Path, tmp_path: Path) -> None:
    out = fit(data, tmp_path / "tuned", "cooccurrence", "--tune", "{decay: [1.0, 0.0]}", "--test", "false")
    trials = json.loads((out / "tuning.json").read_text())
    best = max(trials, key=lambda trial: trial["score"])
    assert json.loads((out / "fit.json").read_text())["settings"]["decay"] == best["settings"]["decay"]
    assert not (out / "test").exists()


def test_a_trained_model(data: Path, tmp_path: Path) -> None:
    options = ["--model.width", "8", "--trainer.max_epochs", "2", "--seed_everything", "5"]
    out = fit(data, tmp_path / "sas", "sasrec", *options)
    assert (out / "checkpoints" / "last.ckpt").is_file()
    assert json.loads((out / "fit.json").read_text())["epochs"] == 2
    resumed = ["--resume", str(out / "checkpoints" / "last.ckpt")]
    fit(data, out, "sasrec", *options, "--trainer.max_epochs", "3", *resumed)
    assert json.loads((out / "fit.json").read_text())["epochs"] == 3
    log = pl.read_csv(out / "logs" / "version_1" / "metrics.csv", infer_schema_length=None)
    assert log["epoch"].min() == 2


def test_a_tracked_run_tells_of_losses_and_results(data: Path, tmp_path: Path) -> None:
    options = ["--model.width", "8", "--trainer.max_epochs", "1", "--trainer.log_every", "1"]
    out = fit(data, tmp_path / "run", "sasrec", *options, "--tracking", "wandb", "--wandb.mode", "offline")
    (found,) = offline_runs(out)
    assert found.config["model"]["width"] == 8
    assert found.series("train/loss")
    results = json.loads((out / "test" / "results.json").read_text())["metrics"]["all"]
    assert found.summary["test/NDCG@10"] == results["NDCG@10"]["value"]
    assert "model" in found.artifacts


def test_the_reference_preset_changes_the_defaults(data: Path, tmp_path: Path) -> None:
    options = ["--model.preset", "reference", "--model.width", "8", "--trainer.max_epochs", "1"]
    out = fit(data, tmp_path / "reference", "sasrec", *options, "--test", "false")
    config = yaml.safe_load((out / "config.yaml").read_text())["model"]
    assert (config["network"], config["width"]) == ("reference", 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param([], "which model? add --model.name", id="no-model"),
        pytest.param(["--model.name", "sasrek"], "Did you mean 'sasrec'?", id="misspelt"),
        pytest.param(["--model.name", "popularity"], "out", id="no-folder"),
        pytest.param(
            ["--model.name", "popularity", "--trainer.max_epochs", "2"], "trainer.max_epochs", id="no-trainer"
        ),
        pytest.param(["--model.name", "ease", "--model.decai", "1"], "model.decai", id="no-setting"),
        pytest.param(
            ["--model.name", "ease", "--model.decay", "2"], "decay must lie between", id="bad-value"
        ),
        pytest.param(["--model.name", "ease", "--model.preset", "reference"], "no preset", id="no-preset"),
        pytest.param(["--model.name", "popularity", "--tune", "true"], "has no usual grid", id="no-grid"),
        pytest.param(["--model.name", "ease", "--wandb.project", "x"], "--tracking wandb", id="wandb"),
        pytest.param(["--config", "none.yaml"], "cannot be read", id="no-config"),
        pytest.param(
            ["--model.name", "ease", "--data.folder", "nowhere"], "manifest.json is not", id="no-data"
        ),
    ],
)
def test_wrong_options(
    options: list[str], message: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [] if message == "out" else ["--out", str(tmp_path)]
    if "--data.folder" not in options:
        given += ["--data.folder", str(data)]
    assert message in refused(capsys, "fit", *options, *given)


def test_help_and_config_of_each_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--help"]) == 0
    assert "sasrec" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["fit", "--model.name", "ease", "--help"])
    assert "l2" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["fit", "--model.name", "ease", "--print_config"])
    assert yaml.safe_load(capsys.readouterr().out)["model"]["l2"] == 200.0


def test_ranking_again_gives_the_same(run: Path, data: Path, tmp_path: Path) -> None:
    for command, split in (("test", "test"), ("validate", "valid")):
        out = tmp_path / split
        assert main([command, "--model", str(run / "export"), "--data", str(data), "--out", str(out)]) == 0
        again, before = (
            json.loads((folder / "results.json").read_text())["metrics"] for folder in (out, run / split)
        )
        assert again == before


def test_results_of_another_task_are_kept(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    other = write_walks(tmp_path / "other", hash="1" * 64)
    assert main(["test", "--model", str(run / "export"), "--data", str(other)]) == 2
    assert "say where with --out" in capsys.readouterr().err


def test_lists_of_a_split(run: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "lists.parquet"
    command = ["predict", "--model", str(run / "export"), "--data", str(data), "--out", str(out), "-k", "3"]
    assert main(command) == 0
    lists = pl.read_parquet(out)
    assert lists.height == 60
    assert (lists["items"].list.len() == 3).all()
    model = Recommender.from_pretrained(run / "export")
    history = pl.read_parquet(data / "test.parquet")["history"][0]
    expected = model.recommend([[f"i{n}" for n in history]], k=3)[0]
    assert lists["items"][0].to_list() == [entry.item_id for entry in expected]


def test_recommend(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["recommend", "--model", str(run / "export"), "-k", "2"]
    capsys.readouterr()
    assert main([*command, "i3", "i4"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == ["1", "2"]
    assert lines[0][1:3] == ["i5", "Item 5"]
    file, out = tmp_path / "histories.jsonl", tmp_path / "lists.jsonl"
    file.write_text('["i3", "i4"]\n[]\n')
    assert main([*command, "--input", str(file), "--out", str(out)]) == 0
    first, second = (json.loads(line) for line in out.read_text().splitlines())
    assert [entry["item_id"] for entry in first["items"]] == [line[1] for line in lines]
    assert second["history"] == []
    assert main([*command, "--allow", "i9", "--offer-seen", "--", "i9"]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(["i3", "x"], "item 'x' is not among the 24 items", id="unknown"),
        pytest.param(["i3", "--input", "f"], "and not both", id="both"),
        pytest.param([], "and not both", id="neither"),
        pytest.param(["-k", "0", "i3"], "k=0", id="k"),
        pytest.param(["--input", "nowhere.jsonl"], "nowhere.jsonl is not a file", id="no-file"),
    ],
)
def test_recommend_refusals(
    options: list[str], message: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refused(capsys, "recommend", "--model", str(run / "export"), *options)


def test_the_folder_of_a_run_is_no_saved_model(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, "recommend", "--model", str(run), "i3")
    assert f"its saved model is {run / 'export'}" in message


def test_fit_without_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert "which model? add --model.name" in refused(capsys, "fit")


def test_a_file_of_histories_must_hold_lists(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "histories.jsonl"
    file.write_text('["i3"]\ni4 i5\n')
    command = ["recommend", "--model", str(run / "export"), "--input", str(file)]
    assert "row 1: 'i4 i5' is no JSON list" in refused(capsys, *command)


def test_compare(run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = fit(data, tmp_path / "pop", "popularity")
    capsys.readouterr()
    assert main(["compare", str(other), str(run)]) == 0
    shown = capsys.readouterr().out
    assert "cooccurrence" in shown
    assert "NDCG@10" in shown
    assert "unknown" not in shown
    foreign = write_walks(tmp_path / "foreign", hash="1" * 64)
    third = fit(foreign, tmp_path / "third", "popularity")
    message = refused(capsys, "compare", str(run), str(third))
    assert "different ranking tasks are not compared" in message
    assert "has no HR@7" in refused(capsys, "compare", str(run), "--metrics", "HR@7")
    assert "is not a file" in refused(capsys, "compare", str(tmp_path))


def test_simple_models_in_one_table(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["baselines", "--data", str(data), "--only", "popularity", "item_knn", "--out", str(tmp_path)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "popularity, latest sequences" in shown
    assert "item_knn" in shown
    assert (tmp_path / "item_knn" / "test" / "ranks.parquet").is_file()
    assert "nope: no simple model; there are popularity" in refused(capsys, *command[:3], "--only", "nope")
    options = ("--only", "popularity", "--metrics", "FOO")
    assert "popularity has no FOO; it has HR@" in refused(capsys, *command[:3], *options)


def test_candidates_alone(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lists = [[[1, 3], [2, 1]], [[0, 3], [0, 2]]]
    rows = [([0], 1), ([], 0)]
    folder = write_folder(
        tmp_path / "data", 4, [[0, 0, 1, 2]], rows, rows, candidates=lists, metric="HitRatio@1"
    )
    run = fit(folder, tmp_path / "run", "popularity", "--candidates_only", "true")
    kept = pl.read_parquet(run / "test" / "ranks.parquet").columns
    assert "draws" in kept
    assert "rank" not in kept
    shown = capsys.readouterr().out
    assert "mean of 2 draws" in shown
    assert "whole catalogue" not in shown

    command = ["--model", str(run / "export"), "--data", str(folder)]
    assert main(["validate", *command]) == 0
    assert "the others rank the whole catalogue" in " ".join(capsys.readouterr().out.split())
    message = refused(capsys, "validate", *command, "--candidates-only")
    assert "which would be lost: leave --candidates-only out" in message
    assert main(["validate", *command, "--candidates-only", "--out", str(tmp_path / "valid")]) == 0
    whole = str(run / "valid")
    assert main(["compare", whole, str(tmp_path / "valid")]) == 0
    message = refused(capsys, "compare", whole, str(tmp_path / "valid"), "--metrics", "HR@10")
    assert "popularity has no HR@10; it has HitRatio@1" in message


def test_candidates_alone_decide_nothing_of_the_whole_catalogue(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "fit",
        "--model.name",
        "popularity",
        "--data.folder",
        str(data),
        "--out",
        str(tmp_path / "run"),
    ]
    assert "decided by NDCG@10 of the whole" in refused(capsys, *command, "--candidates_only", "true")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("metric", ["NDCG@7", "HR@7"])
def test_the_metric_that_decides_is_shown_though_not_among_those_reported(
    metric: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_walks(tmp_path / "data", metric=metric, ks=(5,))
    assert main(["baselines", "--data", str(folder), "--only", "popularity"]) == 0
    shown = capsys.readouterr().out
    assert (shown.count("HR@7"), shown.count("NDCG@7"), shown.count("HR@5")) == (1, 1, 0)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_understood(path: Path) -> None:
    from graphrec.configuration import chosen_model, fit_parser, model_config

    arguments = ["--config", str(path), "--out", "unused"]
    options = fit_parser(*chosen_model(arguments)).parse_args(arguments)
    assert model_config(options)
