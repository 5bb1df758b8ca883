"""The command: a folder with table, report and rejected rows, or one line that says what to mend."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from preference_files import pairs, write_lines

from data_prep import cli, preference_commands
from data_prep.preference_cards import PREFERENCE_CARDS
from data_prep.readers.preferences import FORMATS


def run(*arguments: object) -> int:
    return cli.main(["preferences", *map(str, arguments)])


class TestCommand:
    def test_words_agree_with_the_modules_behind_them(self) -> None:
        assert tuple(FORMATS) == preference_commands.FORMATS
        assert {card.reader for card in PREFERENCE_CARDS.values()} <= set(FORMATS)

    def test_a_folder_with_table_report_and_rejected_rows(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bad = {"prompt": "p", "chosen": "a", "rejected": "a"}
        path = write_lines(tmp_path / "mine.jsonl", *pairs(30), bad, *pairs(1))
        out = tmp_path / "out"
        assert run("--input", path, "--out", out, "--flip-noise", 0.2, "--flip-exact", "--seed", 3) == 0
        report = json.loads((out / "report.json").read_text())
        assert report["dataset"] == "mine"
        assert report["rows"]["read"] == 32
        assert report["rows"]["rejected"]["by_kind"]["identical pair"]["examples"][0]["line"] == 31
        assert report["duplicates"] == 1
        assert report["split"]["sizes"]["train"]["examples"] == 24
        assert report["flips"]["flipped"] == {"train": 5}
        rejects = pl.read_csv(out / "rejects.csv")
        assert rejects["line"].to_list() == [31]
        assert "<b>" not in (out / "report.html").read_text()
        frame = pl.read_parquet(out / "preferences.parquet")
        assert len(frame) == report["examples"] == 30
        assert "identical pair: mine.jsonl line 31" in capsys.readouterr().out.replace("\n", " ")

    def test_the_page_escapes_what_it_shows(self, tmp_path: Path) -> None:
        record = {"prompt": "p", "chosen": ["<script>"], "rejected": "b"}
        path = write_lines(tmp_path / "x.jsonl", *pairs(9), record)
        assert run("--input", path, "--out", tmp_path / "out", "--name", "<i>x</i>") == 0
        page = (tmp_path / "out" / "report.html").read_text()
        assert "<script>" not in page
        assert "<i>" not in page
        assert "&lt;i&gt;x" in page

    def test_files_of_parts(self, tmp_path: Path) -> None:
        train = write_lines(tmp_path / "train.jsonl", *pairs(20))
        test = write_lines(tmp_path / "test.jsonl", *pairs(22)[18:])
        assert run("--input", train, "--test", test, "--out", tmp_path / "out") == 0
        report = json.loads((tmp_path / "out" / "report.json").read_text())
        assert report["split"]["sizes"]["test"]["examples"] == 4
        assert report["duplicates"] == 2  # the test part keeps what both hold
        assert report["split"]["shared_prompts"] == {"train-valid": 0, "train-test": 0, "valid-test": 0}

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ([], "Name the files with --input"),
            (["--input", "x.jsonl", "--dataset", "hh_rlhf"], "--dataset names files and format"),
            (["--dataset", "none"], "no preference set 'none'"),
            (["--dataset", "hh_rlhf"], "Say where the files of hh_rlhf are"),
            (["--dataset", "hh_rlhf", "--root", "."], "data-prep fetch hh_rlhf"),
            (["--input", "x.jsonl", "--root", "."], "go with --dataset"),
            (["--input", "a/x.jsonl", "b/x.jsonl"], "Several files are called x.jsonl"),
            (["--input", "x.jsonl", "--split-column", "s", "--test", "y.jsonl"], "says the parts already"),
            (["--input", "x.jsonl", "--flip-exact"], "no effect without --flip-noise"),
            (
                ["--input", "x.jsonl", "--split-column", "s", "--fractions", "1", "0", "0"],
                "no effect on a split",
            ),
        ],
        ids=["nothing", "both", "unknown", "root", "files", "stray", "names", "parts", "exact", "fractions"],
    )
    def test_options_that_do_not_go_together(
        self,
        arguments: list[str],
        words: str,
        tmp_path: Path,
        monkeypatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for name in ("x.jsonl", "y.jsonl"):
            write_lines(tmp_path / name, *pairs(2))
        assert run(*arguments, "--out", tmp_path / "out") == 2
        assert words in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_build_names_the_right_command(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["build", "hh_rlhf", "--root", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
        assert "data-prep preferences --dataset hh_rlhf" in capsys.readouterr().err

    @pytest.mark.real_data
    def test_a_published_set_by_its_name(self, real_data: Path, tmp_path: Path) -> None:
        arguments = ("--dataset", "lastfm_sdpo", "--root", real_data, "--out", tmp_path / "out")
        assert run(*arguments) == 0
        report = json.loads((tmp_path / "out" / "report.json").read_text())
        assert report["sources"][0]["verified"] is True
        assert report["completions_of_an_example"] == {"min": 20, "median": 20, "max": 20}
        assert "function of the artist" in report["notes"][0]
