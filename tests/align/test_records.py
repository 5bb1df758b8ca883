"""The table of preferences: what is read, flipped and imitated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from preference_files import pairs, read, write_lines

from align.records import PreferenceTable
from data_prep.errors import DataError
from data_prep.preference_report import write_preferences
from data_prep.preferences import PreferencePlan
from data_prep.splits import SplitPlan

LISTS = [{"prompt": f"p{n}", "chosen": "a", "rejected": ["b", "c", "d"]} for n in range(40)]
SINGLE = [{"prompt": f"p{n}", "completion": "a", "label": n % 2 == 0} for n in range(40)]


def table(*records: dict, **options: object) -> PreferenceTable:
    return PreferenceTable.from_records(records, PreferencePlan(**options) if options else None)


def test_a_folder_a_table_and_a_file_of_records_give_the_same(tmp_path: Path) -> None:
    plan = PreferencePlan(split=SplitPlan(seed=3))
    path = write_lines(tmp_path / "mine.jsonl", *pairs(20))
    write_preferences(read(*pairs(20), plan=plan), plan, tmp_path / "built", "mine")
    built = tmp_path / "built"
    tables = [
        PreferenceTable.load(path, plan),
        PreferenceTable.load(built),
        PreferenceTable.load(built / "preferences.parquet"),
    ]
    assert [one.digest() for one in tables] == [tables[0].digest()] * 3
    assert tables[0].sizes() == {"train": 16, "valid": 2, "test": 2}
    assert tables[1].texts(0) == ("p0", False, ["a0", "b0"])
    assert tables[1].rows("valid").tolist() == np.flatnonzero(tables[1].frame["split"] == "valid").tolist()
    with pytest.raises(DataError, match="a plan has no effect"):
        PreferenceTable.load(built, plan)


def test_bad_rows_of_a_file_are_named_with_the_mend(tmp_path: Path) -> None:
    bad = {"prompt": "p", "chosen": "a", "rejected": " "}
    path = write_lines(tmp_path / "mine.jsonl", *pairs(2), bad)
    with pytest.raises(DataError, match=r"1 rows of .*line 3: response 1 is empty.*data-prep preferences"):
        PreferenceTable.load(path)
    with pytest.raises(DataError, match="record 1 cannot be used: response 1 is empty"):
        table(bad, *pairs(1))


def test_singles_and_pairs_do_not_mix() -> None:
    frame = pl.concat([read(*pairs(2)).frame, read(*SINGLE[:2]).frame])
    with pytest.raises(DataError, match="mixes single completions with pairs"):
        PreferenceTable.of(frame, "mixed")


def test_other_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no column 'kind'"):
        PreferenceTable.of(read(*pairs(2)).frame.drop("kind"), "mine")
    with pytest.raises(DataError, match=r"parquet is not a file\. Build it with data-prep preferences"):
        PreferenceTable.load(tmp_path)


class TestFlips:
    @pytest.mark.parametrize("records", [pairs(40), LISTS], ids=["pairs", "lists"])
    def test_the_chosen_one_changes_place_with_a_rejected_one(self, records: list[dict]) -> None:
        clean = table(*records)
        noisy = clean.with_flips(0.5, seed=1, splits=("train", "test"))
        assert noisy.flipped.any()
        assert not noisy.flipped[noisy.rows("valid")].any()
        for row in range(len(noisy)):
            order = noisy.order(row)
            assert sorted(order) == list(range(noisy.counts[row]))
            assert (order[0] != 0) == noisy.flipped[row]
            assert (order != clean.order(row)).sum() == (2 if noisy.flipped[row] else 0)

    def test_labels_are_turned_over(self) -> None:
        clean = table(*SINGLE)
        noisy = clean.with_flips(0.5, seed=1)
        assert clean.desirable is not None
        assert noisy.desirable is not None
        np.testing.assert_array_equal(noisy.desirable != clean.desirable, noisy.flipped)
        assert noisy.flipped.any()
        assert [noisy.order(row).tolist() for row in range(40)] == [[0]] * 40

    def test_they_are_those_of_a_build_with_the_same_seed(self) -> None:
        """Promise: noise in the files and noise of the run are one draw."""
        built = read(*LISTS, plan=PreferencePlan(flip_noise=0.4, split=SplitPlan(seed=5)))
        here = table(*LISTS, split=SplitPlan(seed=5)).with_flips(0.4, seed=5)
        np.testing.assert_array_equal(built.frame["flipped"].to_numpy(), here.flipped)
        for row, completions in enumerate(built.frame["completions"].to_list()):
            assert [here.texts(row)[2][column] for column in here.order(row)] == completions

    def test_noise_is_not_laid_on_noise(self) -> None:
        with pytest.raises(ValueError, match="flips already: set flip_noise to 0"):
            table(*pairs(40), flip_noise=0.5).with_flips(0.1, seed=0)

    def test_the_digest_tells_flips_apart(self) -> None:
        clean = table(*pairs(40))
        assert len({clean.digest(), *(clean.with_flips(0.3, seed=n).digest() for n in range(3))}) == 4


class TestTargets:
    def test_the_chosen_ones_alone(self) -> None:
        targets = table(*LISTS).targets()
        assert [targets.texts(row)[2] for row in range(len(targets))] == [["a"]] * 40
        assert targets.sizes() == table(*LISTS).sizes()

    def test_undesirable_completions_are_left_out(self) -> None:
        targets = table(*SINGLE).targets()
        assert sorted(targets.frame["prompt"]) == sorted(f"p{n}" for n in range(0, 40, 2))

    def test_a_flip_gives_what_is_chosen_now(self) -> None:
        noisy = table(*pairs(40)).with_flips(0.5, seed=0)
        for row, flipped in enumerate(noisy.flipped):
            assert noisy.targets().texts(row)[2] == [f"{'b' if flipped else 'a'}{row}"]

    def test_a_target_of_its_own_stands_once(self) -> None:
        record = {"prompt": "p", "responses": ["x", "y", "z"], "pairs": [[0, 1], [1, 2]], "sft_target": "z"}
        other = {"prompt": "p", "responses": ["q", "r"], "pairs": [[0, 1]]}
        targets = table(record, other).targets()
        assert targets.frame["completions"].to_list() == [["z"], ["q"]]


class TestUnpaired:
    @pytest.mark.parametrize("records", [pairs(40), LISTS], ids=["pairs", "lists"])
    def test_the_examples_are_those_of_an_unpaired_build(self, records: list[dict]) -> None:
        """Promise: here or on disk it is the same examples; here each keeps the split of its prompt."""
        whole = table(*records)
        single, built = whole.unpaired(), read(*records, plan=PreferencePlan(unpair=True)).frame
        columns = ["example_id", "prompt", "completions", "kind", "desirable", "sft_target"]
        assert single.frame.select(columns).equals(built.select(columns))
        assert single.desirable is not None and single.desirable.sum() == len(whole)
        of_prompt = dict(zip(whole.frame["prompt"], whole.frame["split"], strict=True))
        assert single.frame["split"].to_list() == [of_prompt[prompt] for prompt in single.frame["prompt"]]

    def test_equal_completions_stand_once(self) -> None:
        records = [{"prompt": "p", "chosen": "a", "rejected": other} for other in ("b", "c")]
        assert table(*records).unpaired().frame["completions"].to_list() == [["a"], ["b"], ["c"]]

    def test_single_completions_stay(self) -> None:
        single = table(*SINGLE)
        assert single.unpaired() is single

    def test_flips_come_afterwards(self) -> None:
        with pytest.raises(ValueError, match="take it apart first"):
            table(*pairs(40)).with_flips(0.5, seed=0).unpaired()
        assert table(*pairs(40)).unpaired().with_flips(0.5, seed=0).flipped.any()
