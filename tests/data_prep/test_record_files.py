"""Files of every kind give the same records, and a bad line spoils no other."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest
from preference_files import pairs, read, write_lines

from data_prep.errors import DataError
from data_prep.preferences import PreferencePlan, Preferences, collect, file_source

DIALOGUE = json.dumps([{"role": "user", "content": "a colour?"}])
REPLIES = [{"role": "assistant", "content": text} for text in ("blue", "seven")]


class TestFiles:
    def collect_file(self, path: Path) -> Preferences:
        return collect([file_source(path)], PreferencePlan())

    @pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "json", "csv", "tsv", "parquet", "arrow"])
    def test_every_kind_of_file_gives_the_same_table(self, kind: str, tmp_path: Path) -> None:
        records, path = pairs(4), tmp_path / f"data.{kind}"
        frame = pl.DataFrame(records)
        match kind:
            case "jsonl":
                write_lines(path, *records)
            case "jsonl.gz":
                path.write_bytes(gzip.compress(write_lines(tmp_path / "plain.jsonl", *records).read_bytes()))
            case "json":
                path.write_text(json.dumps(records, indent=1))
            case "csv" | "tsv":
                frame.write_csv(path, separator="," if kind == "csv" else "\t")
            case "parquet":
                frame.write_parquet(path)
            case "arrow":
                frame.write_ipc_stream(path)
        found = self.collect_file(path)
        assert found.frame.drop("source", "source_row").equals(
            read(*records).frame.drop("source", "source_row")
        )
        first = 2 if kind in ("csv", "tsv") else 1
        assert found.frame["source_row"].to_list() == [first + n for n in range(4)]

    def test_bad_lines_spoil_no_other(self, tmp_path: Path) -> None:
        path = write_lines(tmp_path / "data.jsonl", *pairs(2))
        good = path.read_bytes()
        path.write_bytes(
            good + b'{"prompt": "\xff", "chosen": "a", "rejected": "b"}\n{not json\n\n[1]\n' + good[:1]
        )
        found = self.collect_file(path)
        assert len(found.frame) == 2
        assert [(one.line, one.kind) for one in found.rejected] == [
            (3, "not UTF-8"),
            (4, "not JSON"),
            (6, "wrong type"),
            (7, "not JSON"),
        ]

    def test_rows_of_a_table_are_found_by_their_first_line(self, tmp_path: Path) -> None:
        path = tmp_path / "data.csv"
        path.write_bytes(b'prompt,chosen,rejected\np,"two\nlines",b\nq,a\nr,\xff,b\ns,,b\nt,a,b\n')
        found = self.collect_file(path)
        assert found.frame["source_row"].to_list() == [2, 7]
        assert found.frame["completions"].to_list()[0] == ["two\nlines", "b"]
        assert [(one.line, one.kind) for one in found.rejected] == [
            (4, "ragged row"),
            (5, "not UTF-8"),
            (6, "empty response"),
        ]

    def test_cells_may_hold_lists_and_messages(self, tmp_path: Path) -> None:
        path = tmp_path / "data.csv"
        records = [
            {"prompt": DIALOGUE, "chosen": json.dumps(REPLIES[:1]), "rejected": json.dumps(REPLIES[1:])},
            {"prompt": "[a]", "chosen": "[1, 2]", "rejected": "[]"},
        ]
        pl.DataFrame(records).write_csv(path)
        frame = self.collect_file(path).frame
        assert frame["chat"].to_list() == [True, False]
        assert frame["completions"].to_list() == [["blue", "seven"], ["[1, 2]", "[]"]]

    def test_empty_cells_make_ragged_lists(self, tmp_path: Path) -> None:
        path = tmp_path / "data.csv"
        path.write_text("prompt,chosen,rejected1,rejected2\np,a,b,c\nq,a,b,\n")
        assert self.collect_file(path).frame["kind"].to_list() == ["listwise", "pair"]

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("data.txt", b"x", "of no kind known here"),
            ("data.json", b"[1", "is not JSON"),
            ("data.json", b'[\n"\xff"]', "line 2 is not UTF-8"),
            ("data.csv", b"", "is empty"),
            ("data.parquet", b"x", "is damaged or of another kind"),
        ],
        ids=["other-kind", "half-json", "encoding", "empty-table", "damaged"],
    )
    def test_files_that_cannot_be_read(self, name: str, content: bytes, words: str, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=words):
            self.collect_file(tmp_path / name)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"none\.jsonl is not a file"):
            self.collect_file(tmp_path / "none.jsonl")
