"""What an evaluation on a task must tell besides its figures: drift, repeats, leaks, and what ids give away.

Everything is a count or a share over rows; nothing here fits a model beyond counting.

Letters: B rows, I items, N interactions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from data_prep.interactions.ragged import Integers, flat
from data_prep.interactions.splits import Parts

TOPS = (20, 100)


def drift(parts: Parts, num_items: int) -> dict:
    """How far the tested period is from the fitted one.

    ``cold targets`` are targets that the part never shows. ``popular targets`` gives the share of test
    targets among the most frequent items of the training part, of the validation targets and of the test
    targets themselves; where the first is far below the last, popularity has moved. ``popularity
    correlation`` is Spearman's between the counts of training and test over items that occur in either.
    """
    trained = np.bincount(parts.train["item"], minlength=num_items)
    both = np.bincount(parts.trainval["item"], minlength=num_items)
    valid = np.bincount(parts.valid["target"], minlength=num_items)
    test = np.bincount(parts.test["target"], minlength=num_items)
    return {
        "items": {
            "catalogue": num_items,
            "in train": int((trained > 0).sum()),
            "in train or valid": int((both > 0).sum()),
        },
        "cold targets": {
            "valid, not in train": _share(valid[trained == 0].sum(), valid.sum()),
            "test, not in train": _share(test[trained == 0].sum(), test.sum()),
            "test, not in train or valid": _share(test[both == 0].sum(), test.sum()),
        },
        "popular targets": {
            f"top {top}": {
                name: _share(_covered(counts, test, top), test.sum())
                for name, counts in (("of train", trained), ("of valid", valid), ("of test", test))
            }
            for top in TOPS
        },
        "popularity correlation": _spearman(trained, test),
    }


def _share(count: float, total: float) -> dict:
    return {"count": int(count), "share": float(count / total) if total else 0.0}


def _covered(counts: Integers, test: Integers, top: int) -> float:
    """Test targets among the ``top`` most frequent items; items tied at the border count by their mean."""
    top = min(top, len(counts))
    border = np.sort(counts)[-top]
    if border == 0:  # fewer items occur than are asked for
        return float(test[counts > 0].sum())
    above, level = counts > border, counts == border
    return float(test[above].sum() + test[level].sum() * (top - above.sum()) / level.sum())


def _spearman(first: Integers, second: Integers) -> float | None:
    used = (first > 0) | (second > 0)
    ranks = pl.DataFrame({"a": first[used], "b": second[used]}).select(pl.all().rank("average"))
    value = ranks.select(pl.corr("a", "b")).item() if len(ranks) > 1 else None
    return None if value is None or np.isnan(value) else float(value)


def repeats(rows: pl.DataFrame) -> dict:
    """How often a row's target is an item of its history, and how often the very last one."""
    items, lengths = flat(rows["history"])
    targets = rows["target"].to_numpy()
    last = _last_items(items, lengths)
    equal = items == np.repeat(targets, lengths)
    owners = np.repeat(np.arange(len(rows)), lengths)
    seen = np.zeros(len(rows), dtype=bool)
    seen[owners[equal]] = True
    return {
        "rows": len(rows),
        "without history": _share((lengths == 0).sum(), len(rows)),
        "target in history": _share(seen.sum(), len(rows)),
        "target is the last item": _share((last == targets).sum(), len(rows)),
    }


def _last_items(items: Integers, lengths: Integers) -> Integers:
    """Last item of each history, ``[B]``; -1 where it is empty."""
    ends = np.cumsum(lengths)
    return np.where(lengths > 0, items[np.maximum(ends - 1, 0)] if len(items) else -1, -1)


def leaks(parts: Parts) -> dict:
    """Where the fitted part knows what it should not.

    ``later interactions`` is the share of fitted interactions that are later than the earliest test target:
    leave-one-out leaks the future across users this way, a split by global time does not.
    """
    found: dict[str, Any] = {
        "rows with a history twice in test": _duplicates(parts.test),
        "rows with a history in valid and test": _shared(parts.valid, parts.test),
        "sequences in train and test": _common(parts.train, parts.test),
        "sequences in valid and test": _common(parts.valid, parts.test),
    }
    if "time" in parts.test.columns and "time" in parts.trainval.columns and len(parts.test):
        first = parts.test["time"].min()
        later = int((parts.trainval["time"] > first).sum())
        found["fitted interactions later than the earliest test target"] = _share(later, len(parts.trainval))
    return found


def _duplicates(rows: pl.DataFrame) -> int:
    keys = _keys(rows)
    return len(keys) - keys.n_unique()


def _shared(first: pl.DataFrame, second: pl.DataFrame) -> int:
    return int(_keys(second).is_in(_keys(first).unique().implode()).sum())


def _keys(rows: pl.DataFrame) -> pl.Series:
    """History and target of each row that has a history, as one value."""
    some = rows.filter(pl.col("history").list.len() > 0)
    return some.select(pl.struct("history", "target").hash())["history"]


def _common(first: pl.DataFrame, second: pl.DataFrame) -> int:
    """Sequence numbers in both; published rows number the sequences of each file on their own."""
    return int(second["sequence"].unique().is_in(first["sequence"].unique().implode()).sum())


def id_rules(rows: pl.DataFrame, num_items: int) -> dict:
    """How far rules get that look at nothing but the item numbers, which tell much when items are numbered in
    order of first appearance.

    ``next numbers`` recommends the ten numbers after the largest of the history, ``nearest to the last`` hits
    where the target is within ten numbers of the last item, for rows with a history; the share by chance
    stands beside it. With candidates, ``nearest candidate`` takes the one nearest to any item of the history.
    """
    items, lengths = flat(rows["history"])
    targets, some = rows["target"].to_numpy(), lengths > 0
    largest = np.full(len(rows), -1)
    np.maximum.at(largest, np.repeat(np.arange(len(rows)), lengths), items)
    step = targets - largest
    last = _last_items(items, lengths)
    near = (np.abs(targets - last) <= 10) & (targets != last) & some
    found: dict[str, Any] = {
        "next numbers, HR@1": float(((step == 1) & some).sum() / max(len(rows), 1)),
        "next numbers, HR@10": float(((step >= 1) & (step <= 10) & some).sum() / max(len(rows), 1)),
        "nearest to the last, share within 10": float(near.sum() / max(some.sum(), 1)),
        "chance of that": min(20 / max(num_items - 1, 1), 1.0),
    }
    if "candidates" in rows.columns and len(rows):
        found["nearest candidate, HitRatio@1"] = _nearest_candidate(rows, items, lengths)
    return found


def _nearest_candidate(rows: pl.DataFrame, items: Integers, lengths: Integers) -> list[float]:
    """Of each draw; ties are shared."""
    candidates = np.array(rows["candidates"].to_list())  # [B, draws, C]
    histories = np.split(items, np.cumsum(lengths)[:-1])
    distance = np.stack(
        [
            np.abs(shown[..., None] - history).min(-1) if len(history) else np.zeros(shown.shape)
            for shown, history in zip(candidates, histories, strict=True)
        ]
    )
    nearest = distance == distance.min(-1, keepdims=True)
    hit = (candidates == rows["target"].to_numpy()[:, None, None]) & nearest
    return (hit / nearest.sum(-1, keepdims=True)).sum(-1).mean(0).tolist()
