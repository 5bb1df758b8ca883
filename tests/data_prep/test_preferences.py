"""Records become one table: split by prompt, repeated ones merged; and what published sets give."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from preference_files import pairs, read

from data_prep.errors import DataError
from data_prep.files import sha256_of
from data_prep.preference_cards import PREFERENCE_CARDS
from data_prep.preferences import PreferencePlan, collect, file_source, record_source
from data_prep.splits import SplitPlan


class TestSplit:
    def test_examples_of_a_prompt_stay_together(self) -> None:
        records = [{"prompt": f"p{n % 40}", "chosen": f"a{n}", "rejected": "b"} for n in range(120)]
        frame = read(*records).frame
        assert frame.group_by("prompt_group").agg(pl.col("split").n_unique())["split"].to_list() == [1] * 40
        prompts = frame.unique("prompt_group")["split"].value_counts()
        assert dict(prompts.iter_rows()) == {"train": 32, "valid": 4, "test": 4}

    def test_the_split_is_seeded_and_knows_no_order(self) -> None:
        def parts(records: list[dict], seed: int) -> dict:
            plan = PreferencePlan(split=SplitPlan(seed=seed))
            return dict(read(*records, plan=plan).frame.select("example_id", "split").iter_rows())

        records = pairs(50)
        assert parts(records, 1) == parts(records[::-1], 1)
        assert parts(records, 1) != parts(records, 2)

    def test_parts_may_be_a_field(self) -> None:
        records = [one | {"part": part} for one, part in zip(pairs(3), ["test", "Train", None], strict=True)]
        plan = PreferencePlan(split=SplitPlan(method="column", column="part"))
        assert read(*records, plan=plan).frame["split"].to_list() == ["test", "train", "none"]
        found = read(*records, *pairs(4)[3:], plan=plan)
        assert [(one.line, one.kind) for one in found.rejected] == [(4, "missing field")]
        with pytest.raises(DataError, match="holds 'dev'"):
            read(*records, pairs(1)[0] | {"prompt": "q", "part": "dev"}, plan=plan)

    def test_parts_may_be_files(self) -> None:
        """Promise: only what is left is drawn, in the proportion of the shares that are left."""
        sources = [record_source(pairs(9), "test", part="test"), record_source(pairs(99)[9:])]
        frame = collect(sources, PreferencePlan()).frame
        assert frame["split"].to_list()[:9] == ["test"] * 9
        assert dict(frame[9:]["split"].value_counts().iter_rows()) == {"train": 80, "valid": 10}

    def test_equal_examples_are_merged(self) -> None:
        found = read(*pairs(3), *pairs(2))
        assert (len(found.frame), found.duplicates) == (3, 2)


PUBLISHED = {
    "hh_rlhf": (2303, 0, {"prompts differ": 4, "empty response": 4, "more turns": 1}),
    "llamafactory_dpo": (295, 5, {}),
    "llamafactory_kto": (300, 0, {}),
    "llamafactory_alpaca": (985, 14, {}),
    "autoj": (1017, 0, {"tie": 373, "empty response": 1, "identical pair": 1}),
    "pandalm": (760, 76, {"tie": 105, "empty response": 52, "wrong type": 6}),
    "stack_exchange": (25, 0, {}),
    "movies_recdpo": (2742, 0, {}),
    "lastfm_sdpo": (2766, 1, {}),
}


@pytest.mark.real_data
class TestPublishedSets:
    @pytest.mark.parametrize("name", PUBLISHED)
    def test_counts(self, name: str, real_data: Path) -> None:
        """Promise: every record is an example, a repeated one, or told why not."""
        card = PREFERENCE_CARDS[name]
        path = real_data / card.folder / card.files[0].name
        assert sha256_of(path) == card.files[0].sha256
        found = collect([file_source(path)], PreferencePlan())
        assert found.formats == {path.name: card.reader}
        examples, duplicates, rejected = PUBLISHED[name]
        assert (len(found.frame), found.duplicates) == (examples, duplicates)
        assert Counter(one.kind for one in found.rejected) == rejected
        assert found.sources[0].rows == examples + duplicates + len(found.rejected)

    @pytest.mark.parametrize(
        ("model", "better", "worse"), [("zephyr-7b-beta", 727, 75), ("tulu-2-dpo-7b", 678, 127)]
    )
    def test_judgements_against_a_reference(
        self, model: str, better: int, worse: int, real_data: Path
    ) -> None:
        path = real_data / "alpaca_eval" / f"annotations_{model}.json"
        judged = {row["output_2"] for row in json.loads(path.read_text())}
        frame = collect([file_source(path)], PreferencePlan()).frame
        chosen = [completions[0] in judged for completions in frame["completions"].to_list()]
        assert len(chosen) == better + worse
        assert abs(sum(chosen) - better) <= 1  # outputs of both models may be the same text

    def test_dialogues_of_hh_are_cut_at_the_last_reply(self, real_data: Path) -> None:
        path = real_data / "hh_rlhf" / "harmless-base" / "test.jsonl.gz"
        records = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        frame = collect([file_source(path)], PreferencePlan()).frame
        for row in frame.sample(200, seed=0).iter_rows(named=True):
            record = records[row["source_row"] - 1]
            assert [row["prompt"] + text for text in row["completions"]] == [
                record["chosen"],
                record["rejected"],
            ]
            assert row["prompt"].endswith("\n\nAssistant:")
            assert not any("\n\nAssistant:" in text for text in row["completions"])
