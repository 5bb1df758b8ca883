"""Shop events to sessions against values computed by code of the SQN line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from data_prep.interactions.log import Log, RawLog, number
from data_prep.readers.shop_events import (
    PURCHASE,
    long_sessions_then_common_items,
    read_retailrocket,
    read_yoochoose,
)

Values = dict[str, Any]


def test_retailrocket(fair_rl_rl_preprocess_retailrocket: Values, tmp_path: Path) -> None:
    given, expected = (fair_rl_rl_preprocess_retailrocket[part] for part in ("inputs", "expected"))
    events = pl.DataFrame(given["events"], infer_schema_length=None)
    events.columns = ["timestamp", "visitorid", "event", "itemid", "transactionid"]
    events.write_csv(tmp_path / "events.csv")
    raw = read_retailrocket(tmp_path / "events.csv")
    log = number(RawLog(long_sessions_then_common_items(raw.frame)))
    assert len(log.items) == expected["n_items"]
    assert len(log.sequence_ids) == expected["n_sessions"]
    place = log.sequence_ids.cast(pl.Int64).rank("dense").cast(pl.Int64) - 1
    found = events_of(log, place).with_columns(timestamp=(pl.col("time") * 1000).round().cast(pl.Int64))
    assert_same(found, expected["sorted_events"])


def test_yoochoose(fair_rl_rl_preprocess_rc15: Values, tmp_path: Path) -> None:
    given, expected = (fair_rl_rl_preprocess_rc15[part] for part in ("inputs", "expected"))
    for name in ("clicks", "buys"):
        table = pl.DataFrame(given[name]).select("session", "timestamp", "item")
        table.write_csv(tmp_path / f"{name}.dat", include_header=False)
    log = number(read_yoochoose(tmp_path / "clicks.dat", tmp_path / "buys.dat"))
    assert len(log.items) == expected["n_items"]
    found = events_of(log, log.sequence_ids.cast(pl.Int64))
    written = pl.from_epoch((pl.col("time") * 1000).round().cast(pl.Int64), time_unit="ms")
    assert_same(
        found.with_columns(timestamp=written.dt.strftime("%Y-%m-%dT%H:%M:%S.%3fZ")), expected["sorted_events"]
    )


def events_of(log: Log, session: pl.Series) -> pl.DataFrame:
    """Events by session, where ``session`` numbers the log's sequences as the files do."""
    frame = log.frame.with_columns(
        session=session.gather(log.frame["sequence"]), is_buy=(pl.col("event") == PURCHASE).cast(pl.Int64)
    )
    return frame.sort("session", maintain_order=True)


def assert_same(found: pl.DataFrame, expected: list[Values]) -> None:
    wanted = pl.DataFrame(expected).select("session", "item", "is_buy", "timestamp")
    assert found.select(wanted.columns).rows() == wanted.rows()
