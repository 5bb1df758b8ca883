"""Shop events: clicks and purchases in sessions."""

from __future__ import annotations

import polars as pl
import pytest
from pickled_rows import write_frame

from data_prep.errors import DataError
from data_prep.readers.shop_events import (
    join_purchases,
    long_sessions_then_common_items,
    read_dros_retailrocket,
    read_retailrocket,
    read_yoochoose,
)

EVENTS = """timestamp,visitorid,event,itemid,transactionid
2000,7,view,11,
1000,7,addtocart,12,
3000,7,transaction,12,5
4000,8,view,11,
soon,8,view,11,
5000,8,wish,11,
"""


def interactions(rows: list[tuple]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["sequence", "item", "time"], orient="row")


def test_views_are_clicks_and_carts_are_purchases(write):
    log = read_retailrocket(write(EVENTS, "events.csv"))
    assert log.frame.select("sequence", "item", "time", "event").rows() == [
        ("7", "11", 2.0, "click"),
        ("7", "12", 1.0, "purchase"),
        ("8", "11", 4.0, "click"),
    ]
    assert log.frame["reward"].to_list() == pytest.approx([0.2, 1.0, 0.2])


def test_events_that_do_not_count_are_told(write):
    found = read_retailrocket(write(EVENTS, "events.csv")).findings
    assert found.select("row", "kind").rows() == [(3, "transaction"), (5, "bad row"), (6, "unknown event")]


def test_session_events_of_dros(tmp_path):
    path = write_frame(
        tmp_path / "val_sessions.df",
        session_id=[52, 52],
        time=[100, 90],
        cat=["view", "transaction"],
        item_id=[3, 4],
    )
    log = read_dros_retailrocket(path)
    assert log.frame.select("sequence", "item", "time", "event").rows() == [("52", "3", 100.0, "click")]
    assert log.findings["kind"].to_list() == ["transaction"]


def test_sessions_go_before_items_and_once():
    rows = [("a", "1", 0.0), ("a", "1", 1.0), ("a", "2", 2.0), ("b", "1", 0.0), ("b", "2", 1.0)]
    kept = long_sessions_then_common_items(interactions(rows), least=3)
    assert kept.is_empty()  # session b goes, then items 1 and 2 have too few events
    kept = long_sessions_then_common_items(interactions([*rows, ("b", "1", 2.0)]), least=3)
    assert kept["item"].to_list() == ["1", "1", "1", "1"]  # sessions of two events are left


CLICKS = [("5", "1", 1.0), ("5", "2", 2.0), ("5", "3", 3.0), ("6", "1", 0.0), ("6", "2", 1.0)]
BUYS = [("5", "2", 2.0), ("5", "9", 4.0), ("6", "1", 1.0), ("5", "1", 9.0)]


def test_purchases_follow_the_clicks_of_their_sessions():
    both = join_purchases(interactions(CLICKS), interactions(BUYS))
    assert both.select("item", "event").rows() == [
        ("1", "click"),
        ("2", "click"),
        ("2", "purchase"),
        ("3", "click"),
        ("1", "purchase"),
    ]
    assert both["sequence"].unique().to_list() == ["5"]


def test_sessions_are_drawn_by_the_seed():
    clicks = interactions([(str(n), str(item), 0.0) for n in range(20) for item in range(3)])
    drawn = [join_purchases(clicks, interactions([("0", "0", 1.0)]), draw=5, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0]["sequence"].n_unique() == 5
    assert drawn[0].equals(drawn[1])
    assert not drawn[0].equals(drawn[2])
    with pytest.raises(DataError, match="30 sessions cannot be drawn from 20"):
        join_purchases(clicks, clicks, draw=30)


def test_yoochoose_files(write):
    clicks = write("5,2014-04-01T00:00:01.500Z,1,0\n5,2014-04-01T00:00:02.000Z,2,0\n5,yesterday,2,0\n"
                   "5,2014-04-01T00:00:03.000Z,3,0\n", "clicks.dat")  # fmt: skip
    buys = write("5,2014-04-01T00:00:02.500Z,2,90,1\n", "buys.dat")
    log = read_yoochoose(clicks, buys)
    assert log.frame.select("item", "event").rows() == [
        ("1", "click"), ("2", "click"), ("2", "purchase"), ("3", "click"),
    ]  # fmt: skip
    assert log.frame["time"][0] == 1396310401.5
    assert log.findings.select("row", "kind", "source").rows() == [(3, "bad row", "clicks.dat")]
