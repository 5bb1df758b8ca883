"""``data-prep interactions``, and ``data-prep build`` of recommendation sets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from pickled_rows import write_frame, write_rows

from data_prep.cli import main
from data_prep.interactions import cards

LOG = "who,what,when\n" + "".join(
    f"u{user},{(user * 3 + place) % 11},{1000 * user + place}\n" for user in range(20) for place in range(5)
)
COLUMNS = ("--user", "who", "--item", "what", "--time", "when")


@pytest.fixture
def run(write, tmp_path: Path, capsys) -> Callable[..., tuple[int, str]]:
    """Build the log with further options; returns exit code and what was printed."""

    def _run(*options: object, text: str = LOG) -> tuple[int, str]:
        path = write(text, "log.csv")
        given = ["interactions", "--input", path, *COLUMNS, "--out", tmp_path / "out", *options]
        code = main([str(one) for one in given])
        return code, " ".join("".join(capsys.readouterr()).split())

    return _run


def built(folder: Path) -> tuple[dict, dict[str, pl.DataFrame]]:
    parts = ("train", "trainval", "valid", "test")
    tables = {part: pl.read_parquet(folder / f"{part}.parquet") for part in parts}
    return json.loads((folder / "manifest.json").read_text()), tables


def test_a_log_becomes_a_folder(run, tmp_path):
    code, printed = run()
    assert code == 0
    manifest, tables = built(tmp_path / "out")
    assert manifest["protocol"] == "leave-one-out"
    assert (manifest["name"], manifest["num_items"], manifest["filter_seen"]) == ("log", 11, True)
    assert {part: len(table) for part, table in tables.items()} == {
        "train": 60,
        "trainval": 80,
        "valid": 20,
        "test": 20,
    }
    assert "report.md" in printed


def test_options_reach_the_task(run, tmp_path, write):
    titles = write("what,title\n1,One\n", "titles.csv")
    split = ("--split", "by-sequence", "--fractions", 0.5, 0.25, 0.25, "--targets", "all", "--order", "time")
    ranked = ("--keep-seen", "--metric", "HR@5", "--ks", 5, "--candidates", 4, "--draws", 2, "--name", "mine")
    assert run("--titles", titles, *split, *ranked)[0] == 0
    manifest, tables = built(tmp_path / "out")
    assert manifest["name"] == "mine"
    assert (manifest["filter_seen"], manifest["metric"], manifest["ks"]) == (False, "HR@5", [5])
    assert manifest["protocol"] == "by-sequence, 0.5:0.25:0.25, all, time, 4 candidates"
    assert len(tables["test"]) == 25
    assert tables["test"]["time"].min() > tables["train"]["time"].max()
    assert pl.read_parquet(tmp_path / "out/items.parquet")["title"].count() == 1


def test_rows_that_are_left_out_are_shown_and_listed(run, tmp_path):
    code, printed = run(text=f"{LOG}u1,3,soon\nu1,3,1003\n")
    assert code == 0
    assert "rows left out: bad time" in printed
    assert "log.csv row 101: 'soon'" in printed
    rejects = pl.read_csv(tmp_path / "out/rejects.csv")
    assert rejects["row"].to_list() == [101]


def test_rare_items_and_users_can_be_left_out(run, tmp_path):
    assert run("--min-user", 3, "--min-item", 2, text=f"{LOG}new,77,5\n")[0] == 0
    manifest, _ = built(tmp_path / "out")
    assert manifest["num_items"] == 11
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["notes"][0].startswith("1 interactions of sequences shorter than 3")


def test_a_log_without_a_header(tmp_path, capsys):
    (tmp_path / "ratings.dat").write_text("".join(f"1::{n}::3::{n}\n" for n in range(5)))
    options = ["--separator", "::", "--columns", "user", "item", "stars", "time", "--rating", "stars"]
    names = ["--user", "user", "--item", "item", "--time", "time", "--out", str(tmp_path / "out")]
    assert main(["interactions", "--input", str(tmp_path / "ratings.dat"), *options, *names]) == 0
    assert built(tmp_path / "out")[1]["train"]["rating"].to_list() == [3, 3, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--user", "nobody"), "has no column 'nobody'"),
        (("--fractions", "0.8", "0.1", "0.1"), "Leave-one-out has neither fractions"),
        (("--min-rating", "3"), "--min-rating needs --rating"),
        (("--min-user", "0"), "counts of one or more"),
        (("--min-user", "3000"), "at least 3000 in a sequence and 1 of an item; ask for fewer"),
        (("--separator", ""), "--separator is empty"),
        (("--titles", "missing.csv"), "--titles: there is no file missing.csv"),
        (("--draws", "3"), "need a number of candidates"),
        (("--candidates", "9"), "too few for 8 negatives"),
        (("--input", "missing.csv"), "missing.csv is not a file"),
    ],
    ids=[
        "column",
        "fractions",
        "rating",
        "count",
        "nothing left",
        "separator",
        "titles",
        "draws",
        "candidates",
        "file",
    ],
)
def test_what_can_be_mended_is_told_in_a_line(run, options, message):
    code, printed = run(*options)
    assert code == 2
    assert message in printed


def test_a_log_without_times_cannot_be_cut_by_time(write, tmp_path, capsys):
    path = write("who,what\n" + "u,1\n" * 5, "log.csv")
    columns = ["--user", "who", "--item", "what", "--split", "global-time", "--out", str(tmp_path / "out")]
    assert main(["interactions", "--input", str(path), *columns]) == 2
    assert "needs times" in capsys.readouterr().err


@pytest.fixture
def zhihu(tmp_path: Path, monkeypatch) -> Path:
    """A small set in the layout of DreamRec's, on the card of Zhihu."""
    folder = tmp_path / "dreamrec/zhihu_renamed_columns"
    folder.mkdir(parents=True)
    write_frame(folder / "data_statis.df", seq_size=[3], item_num=[8])
    sequences = {"train": [[0, 1, 2, 3], [4, 5]], "val": [[1, 2, 6]], "test": [[2, 3, 7], [5]]}
    for part, items in sequences.items():
        write_rows(folder / f"{part}_data.df", items, width=3, pad=8)
    card = cards.RECOMMENDATION_CARDS["zhihu"]
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    files = tuple(replace(file, sha256=hashes[file.name]) for file in card.files)
    monkeypatch.setitem(cards.RECOMMENDATION_CARDS, "zhihu", replace(card, files=files))
    return tmp_path


def build(root: Path, *options: str) -> int:
    return main(["build", "zhihu", "--root", str(root), "--out", str(root / "out"), *options])


def test_a_set_of_the_catalogue_becomes_a_folder(zhihu, capsys):
    assert build(zhihu) == 0
    manifest, tables = built(zhihu / "out")
    assert (manifest["name"], manifest["protocol"], manifest["ties"]) == ("zhihu", "zhihu-rows", "against")
    assert tables["test"]["history"].to_list() == [[], [2], [2, 3], []]
    assert tables["train"]["item"].to_list() == [0, 1, 2, 3, 4, 5]
    assert [source["file"] for source in manifest["sources"]] == [
        "train_data.df",
        "val_data.df",
        "test_data.df",
    ]


def test_a_variant_is_another_task(zhihu):
    hashes = set()
    for variant in ("train", "train+val", "val-window"):
        assert build(zhihu, "--variant", variant) == 0
        hashes.add(built(zhihu / "out")[0]["hash"])
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--variant", "test"), "no variant 'test'; choose from train, train+val, val-window"),
        (("--protocol", "yc-valfit"), "no protocol 'yc-valfit'; choose from zhihu-rows"),
        (("--protocol", "leave-one-out"), "no protocol 'leave-one-out'"),
        (("--seed", "3"), "leave --fractions and --seed out"),
        (("--split", "random"), "--split is for sets of molecules"),
        (("--legacy-split",), "--legacy-split is for sets of molecules"),
    ],
    ids=["variant", "protocol", "rule for a log", "seed", "molecular split", "molecular flag"],
)
def test_options_that_do_not_fit_are_told(zhihu, capsys, options, message):
    assert build(zhihu, *options) == 2
    assert message in capsys.readouterr().err


def test_a_changed_file_is_refused_unless_allowed(zhihu, capsys):
    write_rows(zhihu / "dreamrec/zhihu_renamed_columns/test_data.df", [[1]], width=3, pad=8)
    assert build(zhihu) == 2
    assert "is not the published file" in capsys.readouterr().err
    assert build(zhihu, "--allow-changed") == 0
    assert "test_data.df differs from the published file" in (zhihu / "out/report.md").read_text()


def test_protocols_are_not_for_molecules(tmp_path, capsys):
    code = main(["build", "freesolv", "--root", str(tmp_path), "--out", str(tmp_path), "--protocol", "x"])
    assert code == 2
    assert "are for recommendation sets" in capsys.readouterr().err


def test_the_catalogue_lists_the_sets(capsys):
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in cards.RECOMMENDATION_CARDS)
