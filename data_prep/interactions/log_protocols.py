"""Fixed protocols of sets that are published as logs or whole sequences: Amazon, MovieLens, RetailRocket."""

from __future__ import annotations

import json
from dataclasses import replace

import polars as pl

from data_prep.errors import DataError
from data_prep.interactions.card_files import CardFiles
from data_prep.interactions.findings import joined
from data_prep.interactions.log import RawLog, join_logs, number
from data_prep.interactions.plan import SplitPlan, log_task
from data_prep.interactions.row_tasks import with_candidates
from data_prep.interactions.splits import Order, Parts, by_sequence
from data_prep.interactions.task import Protocol, RankingTask
from data_prep.readers.gsasrec import read_gsasrec, read_item_mapping
from data_prep.readers.history_rows import HistoryRows, read_history_rows
from data_prep.readers.item_sequences import numbered_catalogue, read_sequences
from data_prep.readers.lastfm import read_tagged_artists
from data_prep.readers.movielens import read_items_100k, read_movies_1m, read_ratings
from data_prep.readers.shop_events import long_sessions_then_common_items, read_dros_retailrocket

_LOO = SplitPlan(ks=(1, 10, 20), ties="against")
GSASREC_FILES = (
    "gsasrec/train_input.txt",
    "gsasrec/test_output.txt",
    "gsasrec/val_input.txt",
    "gsasrec/val_output.txt",
    "gsasrec/sas_to_original_items.txt",
    "gsasrec/sas_to_original_users.txt",
)
DRAWS = 10  # candidate lists of each held-out row; the first is the main figure's


def beauty_log(files: CardFiles) -> RawLog:
    """S3-Rec's sequences of Amazon Beauty, with the numbers of the items' attributes."""
    log = read_sequences(files.path("Beauty.txt"), "user then items", verified=files.verified("Beauty.txt"))
    attributes = json.loads(files.path("Beauty_item2attributes.json").read_text(encoding="utf-8"))
    known = pl.DataFrame(
        {
            "item_id": list(attributes),
            "attributes": [[str(one) for one in ids] for ids in attributes.values()],
        }
    )
    items = numbered_catalogue(12_101).join(known, on="item_id", how="left", maintain_order="left")
    sources = (*log.sources, files.looked_up("Beauty_item2attributes.json"))
    return replace(log, items=items, whole_catalogue=True, sources=sources)


def beauty_loo(files: CardFiles, _: str) -> RankingTask:
    """Amazon Beauty, leave-one-out, seen items filtered."""
    return log_task(beauty_log(files), _LOO, files.card.name, protocol="beauty-loo")


def video_log(files: CardFiles) -> RawLog:
    """SASRec's pairs of Amazon Video Games."""
    log = read_sequences(files.path("Video.txt"), "user item", verified=files.verified("Video.txt"))
    return replace(log, items=numbered_catalogue(23_715), whole_catalogue=True)


def video_games_loo(files: CardFiles, _: str) -> RankingTask:
    """Amazon Video Games, leave-one-out, seen items filtered."""
    return log_task(video_log(files), _LOO, files.card.name, protocol="video-games-loo")


def beauty_by_user(files: CardFiles, _: str) -> RankingTask:
    """PreferDiff's split: the last item of each held-out user is ranked after all before it."""
    names = ("train_data.txt", "valid_data.txt", "test_data.txt")
    logs = [read_sequences(files.path(name), "items", verified=files.verified(name)) for name in names]
    marked = [
        replace(log, frame=log.frame.with_columns(pl.col("sequence") + f" of {part}"))
        for log, part in zip(logs, ("train", "valid", "test"), strict=True)
    ]
    raw = replace(join_logs(marked), items=numbered_catalogue(12_101), whole_catalogue=True)
    log = number(raw)
    part = log.sequence_ids.str.split(" of ").list.last().replace_strict({"train": 0, "valid": 1, "test": 2})
    protocol = Protocol(
        "beauty-by-user",
        ks=(5, 10, 20),
        variants={"train": "the training users", "trainval": "the training and validation users"},
    )
    parts = by_sequence(log, part.to_numpy(), targets="last")
    return RankingTask(
        files.card.name, protocol, log.items, parts, log.sequence_ids, raw.sources, raw.findings, raw.notes
    )


def movielens_1m_log(files: CardFiles) -> RawLog:
    """gSASRec's sequences of MovieLens-1M, with the titles and genres of the films."""
    pairs, folder = files.path("ratings_pairs_only.parquet"), files.path(GSASREC_FILES[0]).parent
    log = read_gsasrec(folder, pairs, verified=files.all_verified(*GSASREC_FILES, pairs.name))
    movies = read_movies_1m(files.path("movies.dat")).rename({"item_id": "movie"})
    named = read_item_mapping(folder).rename({"item": "item_id"}).join(movies, on="movie", how="left")
    items = numbered_catalogue(3_416).join(named, on="item_id", how="left", maintain_order="left")
    sources = (*log.sources, files.looked_up("movies.dat"))
    return replace(log, items=items.drop("movie"), whole_catalogue=True, sources=sources)


def ml1m_loo(files: CardFiles, _: str) -> RankingTask:
    """MovieLens-1M, leave-one-out, seen items filtered; the test rows are gSASRec's."""
    return log_task(movielens_1m_log(files), _LOO, files.card.name, protocol="ml1m-loo")


def movielens_100k_log(files: CardFiles) -> RawLog:
    """All ratings of MovieLens-100k as interactions, whatever their stars."""
    log = read_ratings(files.path("u.data"), separator="\t", verified=files.verified("u.data"))
    items = read_items_100k(files.path("u.item"))
    return replace(log, items=items, whole_catalogue=True, sources=(*log.sources, files.looked_up("u.item")))


def movielens_20(files: CardFiles, variant: str) -> RankingTask:
    """Twenty candidates after whole sequences were held out: LLaRA's own users and rows, or drawn ones.

    LLaRA's rows name no user, but each fits the ratings of exactly one; all other users are fitted.
    """
    raw, name = movielens_100k_log(files), f"movielens-20/{variant}"
    plan = SplitPlan(
        "by-sequence",
        seed=2024,
        metric="HitRatio@1",
        ks=(1, 10, 20),
        candidates=20,
        draws=DRAWS,
        ties="against",
    )
    if variant == "drawn":
        return log_task(raw, plan, files.card.name, protocol=name)
    log = number(raw)
    paths = [f"llara/movielens/{part}_data.df" for part in ("Val", "Test")]
    held = [read_history_rows(files.path(one), len(log.items), verified=files.verified(one)) for one in paths]
    owners = [_owners(rows, log.frame, name) for rows in held]
    valid, test = (
        rows.ranked().with_columns(sequence=pl.Series(users))
        for rows, users in zip(held, owners, strict=True)
    )
    trainval = log.frame.filter(~pl.col("sequence").is_in(test["sequence"].implode()))
    train = trainval.filter(~pl.col("sequence").is_in(valid["sequence"].implode()))
    parts = with_candidates(Parts(train, trainval, valid, test), len(log.items), draws=DRAWS)
    sources = (*raw.sources, *(rows.source for rows in held))
    found = joined([raw.findings, *(rows.findings for rows in held)])
    return RankingTask(
        files.card.name, plan.protocol(name), log.items, parts, log.sequence_ids, sources, found
    )


def _owners(rows: HistoryRows, log: pl.DataFrame, name: str) -> list[int]:
    """The one sequence of a log with all items and ratings of a row, for each row."""
    wanted = rows.rated_items()
    met = wanted.join(log.select("sequence", "item", "rating"), on=["item", "rating"])
    whole = met.group_by("row", "sequence").len().join(wanted.group_by("row").len(), on=["row", "len"])
    if len(whole) != len(rows) or whole["row"].n_unique() != len(rows):
        raise DataError(f"{name}: {rows.source.name} has rows that fit no sequence, or several.")
    return whole.sort("row")["sequence"].to_list()


def tagged_artists_log(files: CardFiles) -> RawLog:
    """Last.fm's artists in the order in which users first tagged them."""
    names = ("user_taggedartists.dat", "artists.dat", "tags.dat")
    log, artists, tags = (files.path(name) for name in names)
    return read_tagged_artists(log, artists, tags, verified=files.all_verified(*names))


def retailrocket_log(files: CardFiles) -> RawLog:
    """DROS's two windows of RetailRocket, with sessions and items filtered as in the SQN line."""
    names = ("val_sessions.df", "test_sessions.df")
    log = join_logs([read_dros_retailrocket(files.path(one), verified=files.verified(one)) for one in names])
    kept = long_sessions_then_common_items(log.frame)
    note = (
        f"{len(log.frame) - len(kept):,} events of sessions with fewer than three events, or then of items "
        "with fewer than three, are left out, in one pass."
    )
    return replace(log, frame=kept, notes=(*log.notes, note))


def retailrocket_sessions(files: CardFiles, variant: str) -> RankingTask:
    """Whole sessions are held out, every event of them is ranked, the first from an empty history."""
    order: Order = "time" if variant == "chronological" else "shuffled"
    plan = SplitPlan(
        "by-sequence",
        targets="all",
        order=order,
        filter_seen=False,
        metric="NDCG@20",
        ks=(5, 10, 20),
        ties="against",
    )
    name = f"retailrocket-sessions/{variant}"
    return log_task(retailrocket_log(files), plan, files.card.name, protocol=name)
