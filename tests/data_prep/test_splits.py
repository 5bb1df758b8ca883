from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.build import BuildOptions, build_pairs, load_pairs
from data_prep.errors import DataError
from data_prep.readers.captions import read_captions
from data_prep.readers.columns import PairColumnNames
from data_prep.splits import PairColumns, SplitPlan, cold_split, draw_split, group_split, random_split

SIXTY = (0.6, 0.2, 0.2)


def sizes(parts: np.ndarray) -> dict[str, int]:
    return {
        str(part): int(count)
        for part, count in zip(*np.unique(parts.astype(str), return_counts=True), strict=True)
    }


@pytest.mark.parametrize(
    ("rows", "expected"),
    [(642, {"test": 64, "train": 514, "valid": 64}), (8780, {"test": 878, "train": 7024, "valid": 878})],
    ids=["freesolv_size", "combisolv_size"],
)
def test_random_cuts_by_rounded_shares(rows, expected):
    parts = random_split(np.arange(rows), None, fractions=(0.8, 0.1, 0.1), seed=0)
    assert sizes(parts) == expected


def test_random_is_stratified_by_class():
    labels = np.repeat([0, 1, 2], [50, 30, 5])
    parts = random_split(np.arange(85), labels, fractions=SIXTY, seed=0)
    assert sizes(parts[labels == 0]) == {"test": 10, "train": 30, "valid": 10}
    assert sizes(parts[labels == 2]) == {"test": 1, "train": 3, "valid": 1}


@settings(max_examples=40, deadline=None)
@given(
    pairs=st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=60
    ),
    method=st.sampled_from(["random", "cold-1", "cold-2", "scaffold", "solvent"]),
    seed=st.integers(0, 5),
)
def test_no_unordered_pair_straddles_parts_and_seeds_repeat(pairs, method, seed):
    first, second, label = (np.array(column) for column in zip(*pairs, strict=True))
    if method == "solvent":  # a rule for pairs of two roles, where (a, b) and (b, a) differ
        second = second + 10
    columns = PairColumns.of(
        first,
        second,
        np.array([f"s{row % 4}" for row in range(20)]),
        same_roles=method != "solvent",
        classes=label,
    )
    plan = SplitPlan(method, seed, SIXTY)
    parts = draw_split(plan, columns)
    homes: dict[tuple[int, int], set[str]] = {}
    for a, b, part in zip(first, second, parts, strict=True):
        homes.setdefault((min(a, b), max(a, b)), set()).add(part)
    assert all(len(home) == 1 for home in homes.values())
    np.testing.assert_array_equal(parts, draw_split(plan, columns))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 50))
def test_unseen_molecules_are_unseen(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 30, 300), rng.integers(0, 30, 300)
    two = cold_split(first, second, unseen=2, fractions=SIXTY, seed=seed)
    of = {part: set(first[two == part]) | set(second[two == part]) for part in ("train", "valid", "test")}
    assert not of["train"] & of["valid"]
    assert not of["train"] & of["test"]
    assert not of["valid"] & of["test"]
    one = cold_split(first, second, unseen=1, fractions=SIXTY, seed=seed)
    np.testing.assert_array_equal(one == "train", two == "train")
    for part in ("valid", "test"):
        for a, b in zip(first[one == part], second[one == part], strict=True):
            assert (a in of["train"]) + (b in of["train"]) <= 1


def test_cold_partition_sizes_follow_the_shares():
    ring = np.arange(959)
    parts = cold_split(ring, ring, unseen=2, fractions=SIXTY, seed=0)
    assert sizes(parts) == {"test": 192, "train": 575, "valid": 192}


def test_groups_stay_whole_and_large_ones_train():
    grouping = np.repeat(np.arange(50), [60, *[3] * 49])
    parts = group_split(grouping, fractions=(0.8, 0.1, 0.1), seed=1)
    assert set(parts[grouping == 0]) == {"train"}
    assert all(len(set(parts[grouping == group])) == 1 for group in range(50))
    assert sizes(parts) == {"test": 21, "train": 165, "valid": 21}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "shuffled"}, "choose one of"),
        ({"fractions": (0.8, 0.1, 0.2)}, "add up to 1"),
        ({"method": "file"}, "--split-file"),
        ({"method": "column"}, "--split-column"),
    ],
    ids=["method", "fractions", "file", "column"],
)
def test_impossible_plans_are_refused(options, message):
    with pytest.raises(DataError, match=message):
        SplitPlan(**options)


def stored(tmp_path, build, table: str, split_file: str, write, family="ddi") -> dict[tuple[str, str], str]:
    plan = SplitPlan("file", file=write(split_file, "split.csv"), column="part")
    build(table, PairColumnNames(a="a", b="b", label="y"), family, split=plan)
    pairs, molecules = load_pairs(tmp_path / "out")
    first, second = (molecules.smiles[pairs[side].to_numpy()] for side in ("mol_a", "mol_b"))
    return dict(zip(zip(first, second, strict=True), pairs["split"], strict=True))


ROWS = "a,b,y\nO,C,1\nC,N,0\nCC,N,1\n"


def test_a_stored_split_by_row(tmp_path, build, write):
    found = stored(tmp_path, build, ROWS, "row,part\n2,test\n0,train\n", write)
    assert found == {("C", "O"): "train", ("C", "N"): "none", ("CC", "N"): "test"}


def test_a_stored_split_by_pair_ignores_order_and_spelling(tmp_path, build, write):
    found = stored(
        tmp_path, build, ROWS, "smiles_a,smiles_b,part\nN,[CH4],test\nC,O,valid\nCCCC,C,train\n", write
    )
    assert found == {("C", "O"): "valid", ("C", "N"): "test", ("CC", "N"): "none"}


@pytest.mark.parametrize(
    ("split_file", "unused"),
    [
        ("row,part\n0,train\n1,test\n7,test\n8,none\n", 1),
        ("smiles_a,smiles_b,part\nC,O,train\nCCCC,C,test\nCCCCC,C,valid\nCCC,C,none\n", 2),
        ("row,part\n0,train\n1,test\n", 0),
    ],
    ids=["rows", "pairs", "all_used"],
)
def test_entries_of_a_stored_split_without_a_row_are_counted(tmp_path, build, write, split_file, unused):
    stored(tmp_path, build, ROWS, split_file, write)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["split"]["unused_assignments"] == unused
    assert any("name no row that was kept" in note for note in report["notes"]) == bool(unused)


def test_a_stored_split_of_single_molecules_numbers_rows(tmp_path, write):
    raw = read_captions(write("s,t\nC,A gas.\nCC,A gas.\n"), smiles="s", text="t", dataset="tiny")
    pairs_file = write("smiles_a,smiles_b,part\nC,CC,train\n", "pairs.csv")
    options = BuildOptions(split=SplitPlan("file", file=pairs_file, column="part"), progress=False)
    with pytest.raises(DataError, match="one molecule in a row; number rows"):
        build_pairs(raw, tmp_path / "out", options)
    rows_file = write("row,part\n0,train\n1,test\n", "rows.csv")
    options = BuildOptions(split=SplitPlan("file", file=rows_file, column="part"), progress=False)
    sizes = build_pairs(raw, tmp_path / "out", options)["split"]["sizes"]
    assert (sizes["train"], sizes["test"]) == (1, 1)


@pytest.mark.parametrize(
    ("split_file", "message"),
    [
        ("row,part\n0,train\n0,test\n", "once"),
        ("row,part\n0,training\n", "'training'"),
        ("row,part\n7,train\n", "none of these rows"),
        ("number,part\n0,train\n", "needs a column row"),
        ("row,other\n0,train\n", "no column 'part'"),
        ("smiles_a,smiles_b,part\nC,O,train\nO,C,test\n", "more than one part"),
        ("smiles_a,smiles_b,part\nC,C(C,train\n", "extra open parentheses"),
    ],
    ids=["repeated", "unknown_part", "other_data", "no_key", "no_column", "two_parts", "bad_smiles"],
)
def test_a_wrong_stored_split_is_named(tmp_path, build, write, split_file, message):
    with pytest.raises(DataError, match=message):
        stored(tmp_path, build, ROWS, split_file, write)


def test_a_column_of_the_table_gives_the_split(build):
    names = PairColumnNames(a="a", b="b", label="y", split="part")
    plan = SplitPlan("column", column="part")
    report = build("a,b,y,part\nC,O,1,train\nC,N,0,Test\nCC,N,0,\n", names, "ddi", split=plan)
    assert report["split"]["sizes"] == {"train": 1, "valid": 0, "test": 1, "none": 1}
    with pytest.raises(DataError, match="'dev'"):
        build("a,b,y,part\nC,O,1,dev\n", names, "ddi", split=plan)


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 30), valid=st.integers(0, 10))
def test_every_row_gets_a_part_whatever_the_shares(rows, valid):
    fractions = (0.0, valid / 10, 1 - valid / 10)
    parts = random_split(np.arange(rows), None, fractions=fractions, seed=0)
    assert sum(sizes(parts).get(part, 0) for part in ("train", "valid", "test")) == rows
