"""Studies: what a file describes, what a training depends on, and what a study leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_preferences import SIZES, write_records

from align.cli import main
from align.study import Cell, StudyConfig
from align.study_run import RESULTS, StudyRun

STUDIES = sorted((Path(__file__).parents[2] / "configs/align/studies").glob("*.yaml"))


def study(folder: Path, **changes: Any) -> dict[str, Any]:
    """A study of seconds: four methods, one of them under flips, two seeds."""
    return {
        "root": str(folder / "study"),
        "data": {"folder": str(folder / "pairs.jsonl"), "batch_size": 16},
        "language_model": {"name": "tiny", "tiny": vars(SIZES)},
        "seeds": [0, 1],
        "accelerator": "cpu",
        "methods": {
            "dpo": {"loss": {"method": "dpo"}, "lr": 0.003},
            "sdpo": {"loss": {"method": "sdpo", "beta": 0.1}, "lr": 0.003},
            "kto": {"loss": {"method": "kto"}, "lr": 0.003},
            "sft": {"loss": {"method": "sft"}, "lr": 0.003},
        },
        "flips": {"methods": ["dpo"], "rates": [0.4]},
    } | changes


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(study(folder, **changes)))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a study that has run."""
    folder = tmp_path_factory.mktemp("studied")
    write_records(folder / "pairs.jsonl", count=40)
    assert main(["study", str(write(folder))]) == 0
    return folder


class TestConfig:
    def test_every_method_and_every_flip_is_a_cell_of_every_seed(self, tmp_path: Path) -> None:
        cells = StudyConfig.load(write(tmp_path)).cells()
        assert len(cells) == len(set(cells)) == 2 * (4 + 1)
        assert Cell("dpo", 0.4, 1) in cells and str(Cell("dpo", 0.4, 1)) == "dpo-flips40-seed1"

    def test_the_seed_is_filled_into_the_folder(self, tmp_path: Path) -> None:
        made = StudyConfig.load(write(tmp_path, data={"folder": "data/x-{seed}"})).data_module(7)
        assert (made.folder, made.seed) == ("data/x-7", 7)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            pytest.param({"methods": {}}, "at least one method", id="no-method"),
            pytest.param({"baseline": "ipo"}, "none of the methods", id="unknown-baseline"),
            pytest.param({"flips": {"methods": ["ipo"], "rates": [0.2]}}, "'ipo'", id="unknown-flipped"),
            pytest.param({"flips": {"methods": ["dpo"], "rates": [0.0]}}, "between 0 and 1", id="no-flips"),
            pytest.param({"start": {"loss": {"method": "dpo"}}}, "choose sft", id="start-compares"),
            pytest.param({"data": {"folder": "x", "seed": 3}}, "follows from the cell", id="seed-twice"),
            pytest.param({"epochs": 0}, "epochs", id="no-epoch"),
            pytest.param({"epoch": 1}, "epoch", id="unknown-key"),
        ],
    )
    def test_what_cannot_be_a_study_is_one_line(
        self, changes: dict[str, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["study", str(write(tmp_path, **changes))]) == 2
        (said,) = capsys.readouterr().err.strip().splitlines()
        assert words in said

    def test_an_unknown_option_of_the_data_is_named(self, tmp_path: Path) -> None:
        made = StudyConfig.load(write(tmp_path, data={"folder": "x", "bath_size": 3}))
        with pytest.raises(ValueError, match="bath_size"):
            made.data_module(0)

    @pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
    def test_every_shipped_study_can_be_read(self, path: Path) -> None:
        found = StudyConfig.load(path)
        assert "{seed}" in found.data["folder"]
        assert found.data_module(0).batch_size == found.data["batch_size"]


class TestRun:
    def test_each_cell_leaves_a_line_and_its_scores(self, trained: Path) -> None:
        lines = [json.loads(line) for line in (trained / "study" / RESULTS).read_text().splitlines()]
        assert len(lines) == len(list((trained / "study/scores").glob("*.parquet"))) == 10
        clean, turned = (
            next(line for line in lines if (line["method"], line["flips"], line["seed"]) == ("dpo", rate, 0))
            for rate in (0.0, 0.4)
        )
        assert clean["train"]["flipped"] == 0 < turned["train"]["flipped"]
        assert clean["results"] != turned["results"]
        assert clean["steps"] == 2 and clean["skipped_steps"] == 0

    def test_one_rejected_completion_makes_sdpo_dpo(self, trained: Path) -> None:
        run = StudyRun(StudyConfig.load(write(trained)))
        dpo, sdpo = (run.scores(Cell(name, 0.0, 1)) for name in ("dpo", "sdpo"))
        assert sdpo["logp"].to_list() == pytest.approx(dpo["logp"].to_list(), abs=1e-4)
        assert sdpo["reward"].to_list() == pytest.approx(dpo["reward"].to_list(), abs=1e-4)

    def test_every_method_is_scored_on_the_same_pairs(self, trained: Path) -> None:
        """Promise: also those trained on single completions or without a reference."""
        run = StudyRun(StudyConfig.load(write(trained)))
        tables = [run.scores(Cell(name, 0.0, 0)) for name in run.study.methods]
        for table in tables:
            assert table["example_id"].to_list() == tables[0]["example_id"].to_list()
            assert table["completion"].unique().to_list() == [0, 1]
            assert table["ref_logp"].to_list() == tables[0]["ref_logp"].to_list()
            assert table["logp"].to_list() != table["ref_logp"].to_list()

    def test_a_finished_study_trains_nothing(self, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
        before = (trained / "study" / RESULTS).read_text()
        assert main(["study", str(write(trained))]) == 0
        assert (trained / "study" / RESULTS).read_text() == before
        said = capsys.readouterr().out
        assert said == (trained / "study/tiny.md").read_text()
        assert "### Turned preferences" in said and "not trained yet" not in said

    def test_only_what_changed_is_missing(self, trained: Path) -> None:
        methods = study(trained)["methods"]
        changed = methods | {"kto": methods["kto"] | {"lr": 0.002}}
        run = StudyRun(StudyConfig.load(write(trained, methods=changed)))
        assert run.missing() == [Cell("kto", 0.0, 0), Cell("kto", 0.0, 1)]

    def test_other_examples_are_another_study(self, trained: Path, tmp_path: Path) -> None:
        other = write_records(tmp_path / "pairs.jsonl", count=41)
        run = StudyRun(StudyConfig.load(write(trained, data={"folder": str(other), "batch_size": 16})))
        assert len(run.missing()) == 10

    def test_tables_of_an_unfinished_study_say_so(
        self, trained: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = write(trained, seeds=[0, 1, 2])
        assert main(["study", str(path), "--tables"]) == 0
        assert "| dpo | not trained yet |" in capsys.readouterr().out
