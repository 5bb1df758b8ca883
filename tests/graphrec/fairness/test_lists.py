"""Lists of any recommender, plain and reranked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from graphrec import recommender
from graphrec.data import RecommendationData
from graphrec.fairness.groups import ItemGroups
from graphrec.fairness.lists import listed, pooled_costs, reranked_lists
from graphrec.ranking import rank_rows
from graphrec.recommender import Recommender


@pytest.mark.parametrize("filter_seen", [False, True], ids=["all-offered", "unseen-offered"])
def test_without_punishment_lists_are_the_models_own(
    filter_seen: bool, data: RecommendationData, model: Recommender
) -> None:
    manifest = replace(data.manifest, filter_seen=filter_seen)
    found = reranked_lists(model, data.test, manifest, 5, punishment=np.ones(24), alphas=[0.0])[0]
    ids = [[data.catalogue.item_ids[n] for n in row] for row in data.test.histories.lists()]
    expected = model.recommend(ids, 5, exclude_seen=filter_seen)
    assert [[data.catalogue.item_ids[n] for n in row if n >= 0] for row in found.items.tolist()] == [
        [one.item_id for one in row] for row in expected
    ]
    ranks = rank_rows(model, data.test, filter_seen=filter_seen, ties=manifest.ties)
    assert found.ranks.tolist() == ranks.tolist()
    assert found.accuracy([5])["HR@5"].mean() == (ranks <= 5).mean()


def test_a_strong_punishment_empties_lists_of_a_group(
    data: RecommendationData, model: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    punishment = np.where(np.arange(24) % 2 == 0, 1.0, -1.0)
    whole = reranked_lists(model, data.test, data.manifest, 5, punishment=punishment, alphas=[0.0, 1.0])
    assert (whole[0].items % 2 == 0).any()
    assert (whole[1].items % 2 == 1).all()
    monkeypatch.setattr(recommender, "CHUNK_CELLS", 100)  # four rows at a time
    parts = reranked_lists(model, data.test, data.manifest, 5, punishment=punishment, alphas=[0.0, 1.0])
    for one, other in zip(whole, parts, strict=True):
        assert one.items.tolist() == other.items.tolist()
        assert one.ranks.tolist() == other.ranks.tolist()


def test_ranks_within_lists() -> None:
    found = listed(np.array([[4, 2], [1, 0]]), np.array([2, 5]))
    assert found.ranks.tolist() == [2, np.inf]


def test_pooled_costs(data: RecommendationData, model: Recommender) -> None:
    manifest = replace(data.manifest, filter_seen=True)
    groups = ItemGroups.from_catalogue(data.catalogue, "genres")
    items, costs = pooled_costs(model, data.test, manifest, groups, 3, width=4)
    assert items.shape == costs.shape == (60, 4 + 3 * 4)
    seen = data.test.histories.seen_mask(24)
    offered = np.isfinite(costs)
    assert not np.take_along_axis(seen, items, axis=1)[offered].any()
    assert (costs[offered] >= 0).all()
    assert (costs[offered] <= 1).all()
