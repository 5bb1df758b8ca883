"""Pickled data frames of history rows, as publications have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd


def write_frame(path: Path, **columns: list[Any]) -> Path:
    """Pickle a data frame; its column names are plain objects, as pandas wrote them before version 3."""
    frame = pd.DataFrame(columns).astype(
        {name: object for name, cells in columns.items() if isinstance(cells[0], str)}
    )
    frame.columns = pd.Index(list(columns), dtype=object)
    frame.to_pickle(path)
    return path


def write_rows(path: Path, sequences: list[list[int]], *, width: int, pad: int) -> Path:
    """One row for each item of each sequence, histories padded on the right."""
    rows = [(items[:place][-width:], items[place]) for items in sequences for place in range(len(items))]
    return write_frame(
        path,
        seq=[history + [pad] * (width - len(history)) for history, _ in rows],
        len_seq=[max(1, len(history)) for history, _ in rows],
        next=[target for _, target in rows],
    )
