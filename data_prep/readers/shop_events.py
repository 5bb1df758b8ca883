"""Shop sessions with clicks and purchases: RetailRocket and YooChoose, prepared as in the SQN line.

Xin et al., "Self-Supervised Reinforcement Learning for Recommender Systems", SIGIR 2020: a view or click is a
click, putting into the cart (RetailRocket) or buying (YooChoose) is a purchase; short sessions go first, rare
items after, in one pass.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from data_prep.errors import DataError
from data_prep.files import existing, sha256_of
from data_prep.interactions.findings import findings, joined
from data_prep.interactions.log import RawLog
from data_prep.readers.pickled_frames import read_pickled_frame
from data_prep.records import SourceFile

CLICK, PURCHASE = "click", "purchase"
REWARDS = {CLICK: 0.2, PURCHASE: 1.0}
_KINDS = {"view": CLICK, "addtocart": PURCHASE}


def long_sessions_then_common_items(frame: pl.DataFrame, *, least: int = 3) -> pl.DataFrame:
    """Interactions of sequences with at least ``least``, and of those the ones with items that then have at
    least as many; in one pass, so some sequences end up shorter."""
    long = frame.filter(pl.len().over("sequence") >= least)
    return long.filter(pl.len().over("item") >= least)


def join_purchases(
    clicks: pl.DataFrame, buys: pl.DataFrame, *, least: int = 3, draw: int = 0, seed: int = 0
) -> pl.DataFrame:
    """YooChoose (RecSys Challenge 2015) clicks and buys as one log, clicks first where times are equal.

    Sessions with fewer than ``least`` clicks go; buys stay where their session and item are among the clicks
    that are left.

    Args:
        clicks, buys: ``sequence``, ``item`` and ``time``.
        draw: so many sessions are drawn by the seed (the papers take 200,000); 0 keeps all.

    Raises:
        DataError: when more sessions are to be drawn than there are.
    """
    long = clicks.filter(pl.len().over("sequence") >= least)
    if draw:
        sessions = long["sequence"].unique().sort()
        if draw > len(sessions):
            raise DataError(f"{draw:,} sessions cannot be drawn from {len(sessions):,}.")
        drawn = sessions.sample(draw, seed=seed).to_frame()
        long = long.join(drawn, on="sequence", how="semi", maintain_order="left")
    bought = buys
    for column in ("sequence", "item"):
        bought = bought.join(long.select(column).unique(), on=column, how="semi", maintain_order="left")
    kinds = ((long, CLICK), (bought, PURCHASE))
    both = [one.select("sequence", "item", "time", event=pl.lit(kind)) for one, kind in kinds]
    return _rewarded(pl.concat(both)).sort("sequence", "time", maintain_order=True)


def read_retailrocket(path: Path, *, verified: bool | None = None) -> RawLog:
    """The released events.csv: ``timestamp`` (ms), ``visitorid``, ``event``, ``itemid``, transactions."""
    existing(path, mend="Get events.csv of the RetailRocket release.")
    cells = pl.read_csv(path, infer_schema=False).with_row_index("row", offset=1)
    events = cells.select(
        "row",
        value=pl.concat_str(pl.exclude("row").fill_null(""), separator=","),
        timestamp=pl.col("timestamp").cast(pl.Float64, strict=False) / 1000,
        visitor=pl.col("visitorid").cast(pl.Int64, strict=False),
        item=pl.col("itemid").cast(pl.Int64, strict=False),
        event="event",
    )
    return _sessions_of(events, path, verified)


def read_dros_retailrocket(path: Path, *, verified: bool | None = None) -> RawLog:
    """Session events of DROS (Yang et al., SIGIR 2023), one file of ``session_id, time, cat, item_id``."""
    frame = read_pickled_frame(path)
    events = pl.DataFrame(
        {
            "visitor": frame.column("session_id"),
            "item": frame.column("item_id"),
            "timestamp": frame.column("time"),
            "event": pl.Series(frame.column("cat").tolist(), dtype=pl.String),
        }
    ).with_row_index("row", offset=1)
    return _sessions_of(
        events.with_columns(value=pl.concat_str("visitor", "item", "event", separator=" ")), path, verified
    )


def read_yoochoose(clicks: Path, buys: Path, *, draw: int = 0, seed: int = 0) -> RawLog:
    """The released yoochoose-clicks.dat and yoochoose-buys.dat: ``session, ISO time, item, ...``, no header.

    See :func:`join_purchases` for ``draw``.
    """
    read = [_yoochoose_file(path) for path in (clicks, buys)]
    log = join_purchases(read[0].frame, read[1].frame, draw=draw, seed=seed)
    return RawLog(
        log,
        sources=tuple(source for one in read for source in one.sources),
        findings=joined(one.findings for one in read),
    )


def _yoochoose_file(path: Path) -> RawLog:
    existing(path, mend="Get the files of the YooChoose release.")
    cells = pl.read_csv(path, has_header=False, infer_schema=False, columns=[0, 1, 2])
    cells.columns = ["sequence", "written", "item"]
    time = pl.col("written").str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)
    events = cells.with_columns(time=time.dt.epoch("us") / 1e6).with_row_index("row", offset=1)
    sound = pl.all_horizontal(pl.col("sequence", "item", "time").is_not_null())
    wrong = events.filter(~sound).select("row", value=pl.concat_str(pl.exclude("row", "time").fill_null("")))
    return RawLog(
        events.filter(sound).select("sequence", "item", "time"),
        sources=(SourceFile(path.name, sha256_of(path), len(events)),),
        findings=findings(wrong, "bad row", "session, time or item is missing", source=path.name),
    )


def _sessions_of(events: pl.DataFrame, path: Path, verified: bool | None) -> RawLog:
    """Events as a log, before sessions and items are filtered; rows that cannot be used are findings."""
    sound = pl.all_horizontal(pl.col("timestamp", "visitor", "item", "event").is_not_null())
    bought = pl.col("event") == "transaction"
    known = pl.col("event").is_in(list(_KINDS))
    found = [
        findings(
            events.filter(~sound), "bad row", "visitor, item, event or time is missing", source=path.name
        ),
        findings(
            events.filter(sound & bought),
            "transaction",
            "finished transactions repeat what was put into the cart",
            source=path.name,
        ),
        findings(
            events.filter(sound & ~bought & ~known),
            "unknown event",
            "the event is none of view, addtocart, transaction",
            source=path.name,
        ),
    ]
    usable = events.filter(sound & known)
    log = usable.select(
        pl.col("visitor").cast(pl.String).alias("sequence"),
        pl.col("item").cast(pl.String),
        pl.col("timestamp").cast(pl.Float64).alias("time"),
        pl.col("event").replace_strict(_KINDS),
    )
    source = SourceFile(path.name, sha256_of(path), len(events), verified=verified)
    return RawLog(_rewarded(log), sources=(source,), findings=joined(found))


def _rewarded(log: pl.DataFrame) -> pl.DataFrame:
    return log.with_columns(reward=pl.col("event").replace_strict(REWARDS, return_dtype=pl.Float32))
