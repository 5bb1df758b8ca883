from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.build import COLUMNS, load_pairs
from data_prep.errors import DataError
from data_prep.pairs import Merged, merge_rows, order_pairs, resample_negatives
from data_prep.readers.columns import PairColumnNames
from data_prep.records import FAMILIES
from data_prep.splits import SplitPlan

DDI = PairColumnNames(a="a", b="b", label="y")
SCHEMA = {
    "pair_id": pl.String,
    "mol_a": pl.Int32,
    "label": pl.Float64,
    "n_merged": pl.Int32,
    "source_row": pl.Int64,
}


def frame(
    rows: list[tuple[int, int, float | None]],
    splits: list[str] | None = None,
    queries: list[str] | None = None,
    texts: list[str] | None = None,
) -> pl.DataFrame:
    first, second, label = zip(*rows, strict=True)
    return pl.DataFrame(
        {
            "mol_a": pl.Series(first, dtype=pl.Int32),
            "mol_b": pl.Series(second, dtype=pl.Int32),
            "label": pl.Series(label, dtype=pl.Float64),
            "property": "p",
            "query": pl.Series(queries or [None] * len(rows), dtype=pl.String),
            "text": pl.Series(texts or [None] * len(rows), dtype=pl.String),
            "unit": pl.Series([None] * len(rows), dtype=pl.String),
            "split": pl.Series(splits or [None] * len(rows), dtype=pl.String),
            "source": "s",
            "source_row": pl.Series(range(len(rows)), dtype=pl.Int64),
        }
    )


def merged(
    rows: list[tuple[int, int, float]], family: str, splits: list[str] | None = None, **options
) -> Merged:
    shape = FAMILIES[family]
    return merge_rows(order_pairs(frame(rows, splits), shape), shape, **options)


def test_numbers_become_their_mean_and_keep_the_spread():
    result = merged([(0, 1, -5.0), (0, 1, -5.2), (1, 0, -1.0)], "solvation")
    assert result.frame.select("mol_a", "mol_b", "label", "n_merged", "source_row").rows() == [
        (0, 1, -5.1, 2, 0),
        (1, 0, -1.0, 1, 2),
    ]
    assert result.frame["label_std"].to_list() == [pytest.approx(np.std([-5.0, -5.2], ddof=1)), None]
    assert result.duplicate_rows == 1


def test_symmetric_pairs_have_no_order_and_conflicts_are_dropped():
    result = merged([(2, 1, 1), (1, 2, 1), (3, 1, 0), (1, 3, 1), (4, 5, 0)], "ddi")
    assert result.frame.select("mol_a", "mol_b", "label").rows() == [(1, 2, 1.0), (4, 5, 0.0)]
    assert (result.duplicate_rows, result.conflict_pairs, result.conflict_rows) == (1, 1, 2)
    assert result.conflict_keys.tolist() == [[1, 3]]


def test_conflicts_across_given_parts_are_dropped_too_but_duplicates_stay():
    rows = [(0, 1, 1), (1, 0, 0), (2, 3, 1), (2, 3, 1)]
    result = merged(rows, "ddi", ["train", "test", "train", "test"])
    assert result.frame.select("mol_a", "split").rows() == [(2, "train"), (2, "test")]


def test_published_rows_can_be_kept_as_they_are():
    result = merged([(0, 1, 1), (1, 0, 0)], "ddi", merge=False)
    assert len(result.frame) == 2
    assert result.conflict_pairs == 1


def test_a_typed_pair_may_have_several_types_and_keeps_its_order():
    result = merged([(0, 1, 3), (0, 1, 5), (0, 1, 3), (1, 0, 3)], "typed-ddi")
    assert result.frame.select("mol_a", "mol_b", "label").rows() == [(0, 1, 3.0), (0, 1, 5.0), (1, 0, 3.0)]
    assert result.conflict_pairs == 0


def test_a_side_effect_contradicts_only_itself():
    shape = FAMILIES["side-effect"]
    rows = frame([(0, 1, 1), (1, 0, 0), (0, 1, 1), (0, 1, 1)], queries=["cough", "nausea", "nausea", "cough"])
    result = merge_rows(order_pairs(rows, shape), shape)
    assert result.frame.select("mol_a", "query", "label", "n_merged").rows() == [(0, "cough", 1.0, 2)]
    assert (result.conflict_pairs, result.conflict_rows, result.duplicate_rows) == (1, 2, 1)


def test_a_molecule_may_have_several_captions():
    shape = FAMILIES["caption"]
    rows = frame([(0, -1, None)] * 3, texts=["An acid.", "A salt.", "An acid."])
    result = merge_rows(order_pairs(rows, shape), shape)
    assert result.frame.select("mol_b", "text", "n_merged").rows() == [
        (-1, "An acid.", 2),
        (-1, "A salt.", 1),
    ]
    assert result.frame["label"].to_list() == [None, None]


@settings(max_examples=40, deadline=None)
@given(
    pairs=st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 1)), min_size=1, max_size=12
    ),
    seed=st.integers(0, 3),
)
def test_sampled_negatives_are_new_unordered_pairs_and_never_known_positives(pairs, seed):
    before = merged([(a, b, float(y)) for a, b, y in pairs], "ddi")
    positives = before.frame.filter(pl.col("label") == 1)
    after = resample_negatives(before, 12, seed=seed).frame
    drawn = after.filter(pl.col("label") == 0)
    keys = set(drawn.select("mol_a", "mol_b").rows())
    assert len(keys) == len(drawn) == len(positives)
    assert all(first < second for first, second in keys)
    ever_positive = {(min(a, b), max(a, b)) for a, b, y in pairs if y}
    assert not keys & ever_positive
    assert after.equals(resample_negatives(before, 12, seed=seed).frame)


def test_too_few_candidates_is_an_error():
    with pytest.raises(DataError, match="only 0 pairs"):
        resample_negatives(merged([(0, 1, 1.0)], "ddi"), 2, seed=0)


def test_a_build_writes_the_tables_it_promises(build, solvation_columns, solvation_rows, tmp_path):
    report = build(solvation_rows, solvation_columns, "solvation")
    pairs, table = load_pairs(tmp_path / "out")
    assert pairs.columns == list(COLUMNS)
    assert {name: pairs.schema[name] for name in SCHEMA} == SCHEMA
    assert list(table.smiles) == sorted(table.smiles)
    found = {
        (table.smiles[a], table.smiles[b], label, merged_rows)
        for a, b, label, merged_rows in pairs.select("mol_a", "mol_b", "label", "n_merged").rows()
    }
    assert found == {("CCO", "O", -5.1, 2), ("c1ccccc1", "O", -0.9, 1), ("CCCC", "CCO", -3.1, 1)}
    assert pairs["pair_id"].to_list() == ["tiny-000000", "tiny-000001", "tiny-000002"]
    assert pairs["unit"].unique().to_list() == ["kcal/mol"]
    assert report == json.loads((tmp_path / "out" / "report.json").read_text())


def test_molecules_that_no_pair_uses_are_left_out(build, tmp_path):
    build("a,b,y\nC,O,1\nC,N,1\nN,C,0\n", DDI, "ddi")
    assert list(load_pairs(tmp_path / "out")[1].smiles) == ["C", "O"]


def test_the_split_does_not_depend_on_row_order(build, solvation_columns, tmp_path):
    lines = [f"{'C' * count},O,{-count}" for count in range(1, 30)]

    def parts(rows: list[str]) -> dict[str, str]:
        build("solute,solvent,dG\n" + "\n".join(rows) + "\n", solvation_columns, "solvation")
        pairs, table = load_pairs(tmp_path / "out")
        return dict(zip(table.smiles[pairs["mol_a"].to_numpy()], pairs["split"], strict=True))

    assert parts(lines) == parts(lines[::-1])


def test_tables_of_two_builds_are_not_mixed(build, solvation_columns, tmp_path):
    build("solute,solvent,dG\nC,O,1\n", solvation_columns, "solvation")
    old = (tmp_path / "out" / "pairs.parquet").read_bytes()
    build("solute,solvent,dG\nCC,O,1\n", solvation_columns, "solvation")
    (tmp_path / "out" / "pairs.parquet").write_bytes(old)
    with pytest.raises(DataError, match="different builds"):
        load_pairs(tmp_path / "out")


def test_nothing_left_says_why(build, solvation_columns):
    with pytest.raises(DataError, match=r"No row is left: 2 were rejected\. table\.csv row 1"):
        build("solute,solvent,dG\nC(C,O,1\nC,O,x\n", solvation_columns, "solvation")


def test_negatives_cannot_be_resampled_for_numbers_or_for_stored_splits(build, solvation_columns):
    with pytest.raises(DataError, match="symmetric yes/no"):
        build("solute,solvent,dG\nC,O,1\n", solvation_columns, "solvation", resample_negatives=True)
    plan = SplitPlan("column", column="part")
    names = PairColumnNames(a="a", b="b", label="y", split="part")
    with pytest.raises(DataError, match="no place in a stored split"):
        build("a,b,y,part\nC,O,1,train\n", names, "ddi", resample_negatives=True, split=plan)


def test_user_property_texts_reach_the_table(build, solvation_columns, write, tmp_path):
    texts = write("smiles,text\nOCC,An alcohol.\n", "texts.csv")
    report = build("solute,solvent,dG\nCCO,O,1\n", solvation_columns, "solvation", properties=texts)
    table = load_pairs(tmp_path / "out")[1]
    assert dict(zip(table.smiles, table.property_text, strict=True))["CCO"] == "An alcohol."
    assert (report["property_text"]["supplied"], report["property_text"]["computed"]) == (1, 1)
