"""Sentences of the classes of typed interactions: read from a file, never part of the package."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from data_prep.errors import DataError, Reject
from data_prep.records import FAMILIES, TypedClass, parse_labels
from data_prep.tables import column_of, read_table

_PUBLISHED_SYMMETRIC = "3"  # column Subject: 1 and 2 say which drug acts, 3 that neither does
_PUBLISHED_SLOTS = {"#Drug1": "{a}", "#Drug2": "{b}"}
_PUBLISHED_SLOT = re.compile("|".join(_PUBLISHED_SLOTS))


def read_published(path: Path) -> tuple[TypedClass, ...]:
    """The sentences of SSI-DDI (Nyamabo et al. 2021): label ``Interaction type`` (from 1), ``Description``.

    Entry i is the sentence of label i + 1. Raises :class:`DataError` if labels are missing or repeated, or a
    sentence lacks a drug.
    """
    frame = read_table(path).frame
    texts = [
        _PUBLISHED_SLOT.sub(lambda slot: _PUBLISHED_SLOTS[slot[0]], text).strip()
        for text in column_of(frame, "Description", path).fill_null("")
    ]
    symmetric = (column_of(frame, "Subject", path) == _PUBLISHED_SYMMETRIC).fill_null(False).to_list()
    return _in_order(zero_based(column_of(frame, "Interaction type", path)), texts, symmetric, path)


def read_classes(path: Path) -> tuple[TypedClass, ...]:
    """A user's sentences: columns ``class`` (0, 1, ...), ``text`` with {a} and {b}, ``symmetric`` (0 or 1).

    Without a column ``symmetric`` no sentence is.
    """
    frame = read_table(path).frame
    texts = column_of(frame, "text", path).fill_null("").str.strip_chars().to_list()
    turned = frame["symmetric"].to_list() if "symmetric" in frame.columns else ["0"] * len(frame)
    if wrong := [cell for cell in turned if cell not in ("0", "1")]:
        raise DataError(f"{path}: column symmetric holds {wrong[0]!r}; use 0 or 1.")
    return _in_order(column_of(frame, "class", path).to_list(), texts, [cell == "1" for cell in turned], path)


def zero_based(labels: pl.Series) -> list[str | None]:
    """Labels that count from 1 as classes from 0; cells that are no whole number stay as they are."""
    return (labels.cast(pl.Int64, strict=False) - 1).cast(pl.String).fill_null(labels).to_list()


def _in_order(
    cells: Sequence[str | None], texts: Sequence[str], symmetric: Sequence[bool], path: Path
) -> tuple[TypedClass, ...]:
    numbers = parse_labels(cells, FAMILIES["typed-ddi"]).values.tolist()
    if sorted(numbers) != list(range(len(numbers))):
        raise DataError(
            f"{path} must hold a sentence for each of its {len(numbers)} classes once, without gaps."
        )
    entries = sorted(zip(numbers, texts, symmetric, strict=True))
    return tuple(TypedClass(text, exchangeable) for _, text, exchangeable in entries)


def without_sentence(labels: Sequence[float], classes: Sequence[TypedClass], source: str) -> list[Reject]:
    """Rows whose class has no sentence; none where there are no sentences at all."""
    if not classes:
        return []
    reason = f"there are sentences for classes 0 to {len(classes) - 1}: add one or remove the row"
    return [
        Reject(row, f"class {label:g}", "class without a sentence", reason, source)
        for row, label in enumerate(labels)
        if label >= len(classes)
    ]
