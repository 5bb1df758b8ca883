"""Simple models on published data, against figures measured with other code.

The figures are HR and NDCG at 10 (beauty, ml-1m), at 20 (zhihu, yc), or HitRatio@1 of draw 0, of all draws
and of the validation rows (lastfm). Where many items tie, "share" lets popularity answer empty histories
alone, as that code did; "count", the default, also orders the ties and ranks a little better.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_prep.interactions.card_files import CardFiles
from data_prep.interactions.cards import RECOMMENDATION_CARDS
from data_prep.interactions.protocols import build_task
from data_prep.interactions.write import write_task
from graphrec.data import RecommendationData
from graphrec.neighbours import EASE, Cooccurrence, ItemKNN
from graphrec.ranking import candidate_ranks, metric_value, rank_rows
from graphrec.recommender import Recommender
from graphrec.simple import LastItem, Popularity, RepeatHistory

CARDS = {
    "beauty": "amazon_beauty",
    "ml-1m": "movielens_1m",
    "zhihu": "zhihu",
    "yc": "yoochoose",
    "lastfm": "lastfm_llara",
}
Cases = list[tuple[str, type[Recommender], dict[str, Any], tuple[float, ...]]]
QUICK: Cases = [
    ("beauty", Popularity, {}, (0.0110, 0.0053)),
    ("beauty", Popularity, {"last_items": 1}, (0.0167, 0.0075)),
    ("beauty", ItemKNN, {"decay": 0.7, "popularity": "share"}, (0.0643, 0.0391)),
    ("beauty", Cooccurrence, {"decay": 0.7, "popularity": "share"}, (0.0834, 0.0516)),
    ("beauty", Cooccurrence, {"decay": 0.7}, (0.0847, 0.0522)),
    ("zhihu", Popularity, {}, (0.0143, 0.0054)),
    ("zhihu", Popularity, {"latest_share": 0.5}, (0.0119, 0.0047)),
    ("zhihu", ItemKNN, {"decay": 0.9, "popularity": "share"}, (0.0173, 0.0067)),
    ("zhihu", Cooccurrence, {"decay": 0.7, "popularity": "share"}, (0.0188, 0.0069)),
    ("zhihu", EASE, {"decay": 0.9, "l2": 200.0, "popularity": "share"}, (0.0238, 0.0086)),
    ("zhihu, refit", Popularity, {}, (0.0129, 0.0051)),
    ("zhihu, refit", Popularity, {"latest_share": 0.5}, (0.0219, 0.0081)),
    ("zhihu, refit", Cooccurrence, {"decay": 0.7, "popularity": "share"}, (0.0209, 0.0077)),
    ("yc, refit", Cooccurrence, {"decay": 0.9, "popularity": "share"}, (0.3039, 0.1609)),
    ("lastfm", Popularity, {}, (0.0574, 0.0598, 0.0672)),
    ("lastfm", Popularity, {"last_items": 1}, (0.0738, 0.0820, 0.0877)),
    ("lastfm", ItemKNN, {"decay": 0.7}, (0.2541, 0.2730, 0.3303)),
    ("lastfm", Cooccurrence, {"decay": 0.7}, (0.2623, 0.2820, 0.2820)),
]
SLOW: Cases = [
    ("zhihu, refit", ItemKNN, {"decay": 0.9, "popularity": "share"}, (0.0219, 0.0084)),
    ("zhihu, refit", EASE, {"decay": 0.9, "l2": 200.0, "popularity": "share"}, (0.0273, 0.0108)),
    ("yc, refit", Popularity, {}, (0.0683, 0.0235)),
    ("yc, refit", Popularity, {"latest_share": 0.1}, (0.1093, 0.0476)),
    ("yc, refit", ItemKNN, {"decay": 0.9, "popularity": "share"}, (0.3244, 0.1699)),
    ("lastfm", EASE, {"decay": 0.7, "l2": 50.0}, (0.2213, 0.2180, 0.2787)),
    ("ml-1m", Popularity, {}, (0.0369, 0.0180)),
    ("ml-1m", Popularity, {"last_items": 5}, (0.0545, 0.0274)),
    ("ml-1m", ItemKNN, {"decay": 0.4}, (0.1763, 0.0984)),
    ("ml-1m", Cooccurrence, {"decay": 0.7}, (0.2656, 0.1549)),
    ("ml-1m", EASE, {"decay": 0.7, "l2": 1000.0}, (0.2300, 0.1276)),
    ("beauty", EASE, {"decay": 0.7, "l2": 200.0, "popularity": "share"}, (0.0762, 0.0438)),
    ("yc, refit", EASE, {"decay": 0.7, "l2": 50.0, "popularity": "share"}, (0.3191, 0.1711)),
]


def named(cases: Cases, **marks: Any) -> list[Any]:
    return [
        pytest.param(*case, id="-".join([case[0], case[1].name, *map(str, case[2].values())]), **marks)
        for case in cases
    ]


@pytest.fixture(scope="module")
def opened(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], RecommendationData]:
    """A published protocol, built once."""
    done: dict[str, RecommendationData] = {}

    def find(name: str) -> RecommendationData:
        if name not in done:
            task = build_task(CardFiles(RECOMMENDATION_CARDS[CARDS[name]], real_data), None, None)
            folder = tmp_path_factory.mktemp("built") / name
            write_task(task, folder)
            done[name] = RecommendationData.load(folder)
        return done[name]

    return find


def figures(model: Recommender, data: RecommendationData) -> tuple[float, ...]:
    """What the table of the protocol reports."""
    if data.manifest.metric == "HitRatio@1":
        test, valid = (candidate_ranks(model, rows) for rows in (data.test, data.valid))
        return (
            metric_value("HitRatio@1", test[:, 0]),
            *(metric_value("HitRatio@1", r) for r in (test, valid)),
        )
    k = data.manifest.metric.partition("@")[2]
    ranks = rank_rows(model, data.test, filter_seen=data.manifest.filter_seen)
    return metric_value(f"HR@{k}", ranks), metric_value(f"NDCG@{k}", ranks)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("place", "cls", "settings", "expected"), [*named(QUICK), *named(SLOW, marks=pytest.mark.slow)]
)
def test_figures_measured_elsewhere(
    opened: Callable[[str], RecommendationData],
    place: str,
    cls: type[Recommender],
    settings: dict[str, Any],
    expected: tuple[float, ...],
) -> None:
    name, _, refit = place.partition(", ")
    data = opened(name)
    model = cls(cls.config_class(**settings))
    model.fit(data, refit_on_trainval=bool(refit))
    assert figures(model, data) == pytest.approx(expected, abs=1.5e-4)


@pytest.mark.real_data
@pytest.mark.parametrize("cls", [LastItem, RepeatHistory], ids=["last-item", "repeat-history"])
def test_histories_are_never_repeated_on_zhihu(
    opened: Callable[[str], RecommendationData], cls: type[Recommender]
) -> None:
    """The first places go to items that cannot be the target."""
    data = opened("zhihu")
    model = cls()
    model.fit(data)
    shown = data.test.select(data.test.histories.lengths > 0)
    assert metric_value("HR@1", rank_rows(model, shown, filter_seen=False)) == 0
