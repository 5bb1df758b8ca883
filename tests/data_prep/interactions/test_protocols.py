"""The catalogue's recommendation sets, their protocols, and their published figures (``--real-data``)."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from data_prep.errors import DataError
from data_prep.interactions.card_files import CardFiles
from data_prep.interactions.cards import RECOMMENDATION_CARDS
from data_prep.interactions.plan import SplitPlan
from data_prep.interactions.protocols import PROTOCOLS, build_task
from data_prep.interactions.report import task_report
from data_prep.interactions.task import RankingTask, task_hash

Build = Callable[..., tuple[RankingTask, dict]]


@pytest.fixture(scope="module")
def build(real_data: Path) -> Build:
    """A set's task and its report; each is made once."""

    @cache
    def _build(
        name: str, protocol: str | None = None, variant: str | None = None
    ) -> tuple[RankingTask, dict]:
        task = build_task(CardFiles(RECOMMENDATION_CARDS[name], real_data), protocol, variant)
        return task, task_report(task)

    return _build


def test_every_card_has_protocols():
    assert {card.reader for card in RECOMMENDATION_CARDS.values()} == set(PROTOCOLS)
    assert all(known.fixed or known.log for known in PROTOCOLS.values())
    assert all(file.sha256 and file.bytes for card in RECOMMENDATION_CARDS.values() for file in card.files)


def test_fixed_protocols_take_no_plan_and_rules_no_variant(tmp_path):
    files = CardFiles(RECOMMENDATION_CARDS["movielens_100k"], tmp_path)
    with pytest.raises(DataError, match="fixes its split"):
        build_task(files, "movielens-20", plan=SplitPlan())
    with pytest.raises(DataError, match="has no variants"):
        build_task(files, "leave-one-out", variant="llara")


def test_a_missing_file_says_how_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"u\.data is missing.*data-prep fetch movielens_100k"):
        build_task(CardFiles(RECOMMENDATION_CARDS["movielens_100k"], tmp_path), "leave-one-out")


COUNTS = {
    # name: (items, fitted sequences, fitted interactions, with validation, validation rows, test rows)
    "amazon_beauty": (12_101, 22_363, 153_776, 176_139, 22_363, 22_363),
    "movielens_1m": (3_416, 6_040, 987_531, 993_571, 6_040, 6_040),
    "zhihu": (4_838, 9_371, 61_641, 69_801, 8_160, 7_911),
    "yoochoose": (9_514, 11_562, 51_219, 57_062, 5_843, 55_245),
    "lastfm_llara": (4_606, 976, 50_800, 51_839, 122, 122),
    "amazon_beauty_preferdiff": (12_101, 17_890, 129_728, 145_993, 2_236, 2_237),
    "amazon_video_games": (23_715, 31_013, 225_305, 256_206, 30_901, 30_901),
    "movielens_100k": (1_682, 754, 83_108, 90_500, 94, 95),
    "steam_llara": (3_581, 1_000, 10_948, 22_232, 1_184, 1_186),
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", COUNTS)
def test_sizes(build: Build, name: str):
    counts = build(name)[1]["counts"]
    assert COUNTS[name] == (
        counts["items"],
        counts["train"]["sequences"],
        counts["train"]["interactions"],
        counts["trainval"]["interactions"],
        counts["valid"]["rows"],
        counts["test"]["rows"],
    )
    assert counts["rejected"] == 0


@pytest.mark.real_data
def test_lengths_of_beauty_and_movielens(build: Build):
    beauty, films = build("amazon_beauty")[0].parts, build("movielens_1m")[0].parts
    whole = pl.concat([beauty.trainval["sequence"], beauty.test["sequence"]]).value_counts()["count"]
    assert (whole.min(), whole.median(), whole.max(), len(whole)) == (5, 6, 204, 22_363)
    longest = pl.concat([films.trainval["sequence"], films.test["sequence"]]).value_counts()["count"]
    assert (longest.median(), longest.max(), longest.sum()) == (96, 2_277, 999_611)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "valid", "test"),
    [("amazon_beauty", 51, 138), ("zhihu", 231, 569)],
)
def test_targets_that_the_training_part_never_shows(build: Build, name: str, valid: int, test: int):
    cold = build(name)[1]["drift"]["cold targets"]
    assert cold["valid, not in train"]["count"] == valid
    assert cold["test, not in train"]["count"] == test


@pytest.mark.real_data
def test_the_yoochoose_window_lacks_targets(build: Build):
    report = build("yoochoose")[1]
    cold = report["drift"]["cold targets"]["test, not in train or valid"]
    assert cold["count"] == 9_491
    assert 1 - cold["share"] == pytest.approx(0.828, abs=5e-4)
    assert report["drift"]["items"]["in train or valid"] == 3_442


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "rows", "share"), [("zhihu", 1_172, 0.148), ("yoochoose", 12_847, 0.233)])
def test_rows_without_history(build: Build, name: str, rows: int, share: float):
    found = build(name)[1]["repeats"]["test"]
    assert found["without history"] == {"count": rows, "share": pytest.approx(share, abs=1e-3)}
    assert found["target in history"]["count"] == 0


@pytest.mark.real_data
def test_popularity_moves_on_yoochoose(build: Build):
    """The twenty items most frequent in a window make 29.1 % of its targets, and 6.83 % a window later."""
    task = build("yoochoose")[0]
    window, test = task.parts.trainval["item"], task.parts.test["target"]
    top = window.value_counts(sort=True).head(20)["item"].implode()
    assert window.is_in(top).mean() == pytest.approx(0.291, abs=1e-3)
    assert test.is_in(top).mean() == pytest.approx(0.0683, abs=5e-4)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "rule", "value"),
    [
        ("amazon_beauty", "next numbers, HR@1", 0.0441),
        ("amazon_beauty", "next numbers, HR@10", 0.0463),
        ("movielens_1m", "next numbers, HR@1", 0.0045),
        ("movielens_1m", "next numbers, HR@10", 0.0051),
        ("zhihu", "nearest to the last, share within 10", 0.0071),
        ("yoochoose", "nearest to the last, share within 10", 0.149),
    ],
)
def test_item_numbers_give_away_what_was_measured(build: Build, name: str, rule: str, value: float):
    assert build(name)[1]["ids"]["test"][rule] == pytest.approx(value, abs=6e-5 if value < 0.1 else 5e-4)


@pytest.mark.real_data
def test_the_nearest_candidate_of_lastfm(build: Build):
    draws = build("lastfm_llara")[1]["ids"]["test"]["nearest candidate, HitRatio@1"]
    assert draws[0] == pytest.approx(0.213, abs=0.005)  # ties are shared here
    assert sum(draws) / 10 == pytest.approx(0.225, abs=0.005)


@pytest.mark.real_data
def test_the_lists_of_lastfm_are_those_stored(build: Build, splits: Path):
    parts = build("lastfm_llara")[0].parts
    stored: dict[str, dict[int, list[list[int]]]] = {"val": {}, "test": {}}
    targets: dict[str, dict[int, int]] = {"val": {}, "test": {}}
    for line in (splits / "llara_lastfm_candidates.jsonl").read_text().splitlines():
        entry = json.loads(line)
        stored[entry["split"]].setdefault(entry["row"], []).append(entry["candidates"])
        targets[entry["split"]][entry["row"]] = entry["target"]
    for split, rows in (("val", parts.valid), ("test", parts.test)):
        assert dict(rows.select("row", "candidates").iter_rows()) == stored[split]
        assert dict(rows.select("row", "target").iter_rows()) == targets[split]


@pytest.mark.real_data
def test_llara_holds_out_users_of_movielens(build: Build):
    parts = build("movielens_100k")[0].parts
    held = set(parts.valid["sequence"]) | set(parts.test["sequence"])
    assert len(held) == 94 + 95
    assert not held & set(parts.train["sequence"])
    assert set(parts.trainval["sequence"]) - set(parts.train["sequence"]) == set(parts.valid["sequence"])
    assert parts.test["history"].list.len().max() == 10


@pytest.mark.real_data
def test_movielens_can_be_drawn_instead(build: Build):
    task, report = build("movielens_100k", None, "drawn")
    assert [report["counts"][part]["rows"] for part in ("valid", "test")] == [94, 94]
    assert task.parts.test["candidates"].list.len().unique().to_list() == [10]
    assert task_hash(task) != task_hash(build("movielens_100k")[0])


@pytest.mark.real_data
def test_sdpo_lists_validate_on_the_sequences_of_llara(build: Build):
    task, report = build("lastfm_llara", None, "sdpo-lists")
    assert report["counts"]["valid"] == {"rows": 2_767, "sequences": 122}
    shown = task.parts.valid.explode("candidates")["candidates"]
    assert shown.list.len().unique().to_list() == [20]
    assert shown.list.n_unique().unique().to_list() == [20]
    assert task.parts.test.equals(build("lastfm_llara")[0].parts.test)


@pytest.mark.real_data
@pytest.mark.parametrize("variant", ["random", "chronological"])
def test_retailrocket_sessions(build: Build, variant: str):
    task, report = build("retailrocket", None, variant)
    counts = report["counts"]
    assert counts["items"] == 10_983
    assert counts["trainval"]["sequences"] + counts["test"]["sequences"] == 17_429
    assert counts["trainval"]["interactions"] + counts["test"]["rows"] == 70_834
    assert counts["rejected"] == 74 + 52  # transactions
    events = pl.concat([task.parts.trainval["event"], task.parts.test["event"]]).value_counts()
    assert dict(events.iter_rows()) == {"click": 69_237, "purchase": 1_597}
    assert report["repeats"]["test"]["without history"]["count"] == counts["test"]["sequences"]


@pytest.mark.real_data
def test_later_sessions_are_tested_in_the_chronological_variant(build: Build):
    parts = build("retailrocket", None, "chronological")[0].parts
    begun = [
        part.group_by("sequence").agg(pl.col("time").min())["time"] for part in (parts.train, parts.test)
    ]
    assert begun[0].max() <= begun[1].min()


@pytest.mark.real_data
def test_logs_can_be_divided_by_any_rule(build: Build):
    films = build("movielens_100k", "global-time")[0].parts
    assert films.trainval["time"].max() < films.test["time"].min()
    artists, report = build("lastfm_hetrec", "leave-one-out")
    assert report["counts"]["rejected"] == 5
    assert report["ties"]["test targets"] > 600  # tags have dates, not times
    assert artists.items["title"].null_count() == 390
    assert "390 items have no title." in report["notes"]


@pytest.mark.real_data
def test_titles_and_groups_come_with_the_items(build: Build):
    films = build("movielens_1m")[1]["items_with"]
    assert (films["title"], films["genres"]) == (3_416, 3_416)
    assert build("amazon_beauty")[1]["items_with"]["attributes"] == 12_101
    assert build("lastfm_llara")[1]["items_with"]["title"] == 4_606


WITHOUT_ROWS = {"README", "readme.txt", "users.dat", "u.user", "user_friends.dat"}
SIZES = {"dataset_stats.json", "data_statis.df"}
OTHERS = {"user_artists.dat", "sample_movielens_ratings.txt"}  # without times, and an example of the format


@pytest.mark.real_data
def test_every_file_of_a_set_is_on_its_card(real_data: Path):
    named: dict[str, set[str]] = {}
    for card in RECOMMENDATION_CARDS.values():
        named.setdefault(card.folder, set()).update(Path(file.name).name for file in card.files)
    for folder, names in named.items():
        there = {path.name for path in (real_data / folder).rglob("*") if path.is_file()}
        assert there - WITHOUT_ROWS - SIZES - OTHERS <= names
