"""Two networks and their roles; heads with rows of their own or shared."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from graphrec.offline_rl.config import OfflineRLConfig
from graphrec.offline_rl.heads import Head
from graphrec.offline_rl.network import Networks

NUM_ITEMS = 6


def networks(**options: Any) -> Networks:
    return Networks(OfflineRLConfig(width=4, **options), NUM_ITEMS)


def test_a_fair_coin_of_the_seeded_generator_decides_who_learns() -> None:
    pair = networks(method="sqn")
    torch.manual_seed(0)
    drawn = [pair.roles()[0] is pair.first for _ in range(400)]
    torch.manual_seed(0)
    assert drawn == [pair.roles()[0] is pair.first for _ in range(400)]
    assert 150 < sum(drawn) < 250
    main, target = pair.roles()
    assert {main, target} == {pair.first, pair.second}


def test_an_average_follows_and_never_learns() -> None:
    pair = networks(method="sqn", targets="average", average_rate=0.25)
    assert pair.second is not None
    assert pair.roles() == (pair.first, pair.second)
    assert not any(weight.requires_grad for weight in pair.second.parameters())
    with torch.no_grad():
        pair.first.items.weight += 4.0
    before = pair.second.items.weight.clone()
    pair.follow()
    torch.testing.assert_close(pair.second.items.weight, before + 1.0)


def test_the_copy_reads_its_own_table() -> None:
    pair = networks(method="sqn", targets="average")
    assert pair.second is not None
    states = torch.randn(2, 4)
    before = pair.second.policy(states).all()
    with torch.no_grad():
        pair.first.items.weight.zero_()
    torch.testing.assert_close(pair.second.policy(states).all(), before)


def test_plain_training_has_one_network_without_values() -> None:
    pair = networks(method="supervised")
    assert pair.second is None and pair.first.value is None
    assert pair.roles() == (pair.first, pair.first)
    with pytest.raises(ValueError, match="learns no action values"):
        pair.first.values()


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "separate"])
def test_all_ways_to_read_a_head_agree(tied: bool) -> None:
    table = torch.nn.Embedding(NUM_ITEMS, 4)
    head = Head(5, NUM_ITEMS, table if tied else None)
    torch.nn.init.normal_(head.bias)
    scores = head(torch.randn(3, 5))
    whole, items = scores.all(), torch.tensor([[0, 5], [2, 2], [4, 1]])
    torch.testing.assert_close(scores.of(items), whole.gather(1, items))
    torch.testing.assert_close(scores.logps(items[:, 0]), whole.log_softmax(1).gather(1, items[:, :1])[:, 0])
    assert scores.best().tolist() == whole.argmax(1).tolist()


def test_what_is_found_piece_by_piece_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, items = Head(5, NUM_ITEMS)(torch.randn(7, 5)), torch.arange(7) % NUM_ITEMS
    best, logps = scores.best(), scores.logps(items)
    monkeypatch.setattr("graphrec.offline_rl.heads.MOST_SCORES", 2 * NUM_ITEMS)
    assert scores.best().tolist() == best.tolist()
    torch.testing.assert_close(scores.logps(items), logps)


def test_sampled_logps_come_near_the_exact_ones() -> None:
    scores = Head(5, 300)(torch.randn(4, 5))
    items = torch.tensor([3, 299, 0, 17])
    found = torch.stack([scores.sampled_logps(items, 100) for _ in range(200)])
    torch.testing.assert_close(found.mean(0), scores.logps(items), rtol=0.01, atol=0.0)
    assert found.std(0).min() > 0


def test_shared_rows_are_saved_once() -> None:
    names = networks(method="sqn").first.state_dict()
    assert sum(tuple(weight.shape) == (NUM_ITEMS, 4) for weight in names.values()) == 1
