"""Batches on their way from a data process to training: one block of bytes each.

By itself torch gives every tensor that changes processes a block of shared memory of its own. A packed batch
holds two dozen small tensors, and opening that many blocks takes longer than copying their few kilobytes.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

Batch = TypeVar("Batch")


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Tensor):
            return torch.from_numpy, (obj.numpy(),)
        return NotImplemented


@dataclass
class Shipped(Generic[Batch]):
    """A collate function whose batches leave the process as bytes; :func:`unpacked` reads them.

    The bytes pass between processes of one program only and are never stored. Tensors must be on the CPU and
    of a type that numpy has.
    """

    collate: Callable[[list[int]], Batch]

    def __call__(self, rows: list[int]) -> bytes:
        block = io.BytesIO()
        _Pickler(block, protocol=5).dump(self.collate(rows))
        return block.getvalue()


def unpacked(block: bytes) -> Any:
    """The batch that :class:`Shipped` packed."""
    return pickle.loads(block)
