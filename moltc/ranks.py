"""What several processes answered, put together."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch.distributed as dist

from moltc.answering import Answers


def all_ranks(items: list[Any]) -> list[Any]:
    """The items of all processes, in order of rank."""
    if not (dist.is_available() and dist.is_initialized()):
        return items
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, items)
    return [item for part in parts for item in part]


def gathered(parts: list[tuple[np.ndarray, Answers]]) -> tuple[np.ndarray, Answers]:
    """Answers of all batches and all processes, in order of rows.

    Raises
    ------
    RuntimeError : a row was answered twice, which would count it twice.
    """
    parts = all_ranks(parts)
    rows = np.concatenate([rows for rows, _ in parts])
    order = np.argsort(rows, kind="stable")
    if (np.diff(rows[order]) == 0).any():
        raise RuntimeError("a pair was answered twice: processes must share the rows out")
    return rows[order], Answers.concat([found for _, found in parts]).take(order)
