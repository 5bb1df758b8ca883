"""Batches on their way from a data process to training: all tensors of a batch in one block of bytes.

By itself torch gives every tensor that changes processes a block of shared memory of its own. A packed batch
holds two dozen small tensors, and opening that many blocks takes longer than copying their few kilobytes.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

Batch = TypeVar("Batch")
ALIGNMENT = 16
"""Bytes at whose multiples tensors begin, enough for every type of torch."""


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in the block: its first byte, type and shape."""

    start: int
    dtype: torch.dtype
    shape: torch.Size


@dataclass(frozen=True)
class Shipment:
    """A batch as it travels: the bytes of its tensors, and itself with a :class:`Place` for each of them."""

    block: bytearray
    content: Any


@dataclass
class Shipped(Generic[Batch]):
    """A collate function whose batches leave the process as one block; :func:`unpacked` reads them.

    Tensors must be on the CPU. They are taken out of dataclasses, dictionaries and tuples, however deep; what
    else a batch holds, lists among it, passes by the loader's own way.
    """

    collate: Callable[[list[int]], Batch]

    def __call__(self, rows: list[int]) -> Shipment:
        block = bytearray()
        return Shipment(block, _mapped(self.collate(rows), Tensor, lambda tensor: _stored(tensor, block)))


def unpacked(shipment: Shipment) -> Any:
    """The batch that :class:`Shipped` packed; its tensors share the memory of the block."""
    return _mapped(shipment.content, Place, lambda place: _read(place, shipment.block))


def _stored(tensor: Tensor, block: bytearray) -> Place:
    block.extend(bytes(-len(block) % ALIGNMENT))
    start = len(block)
    flat = tensor.detach().flatten().clone(memory_format=torch.contiguous_format)  # strides of 1, even of one
    block.extend(flat.view(torch.uint8).numpy().data)
    return Place(start, tensor.dtype, tensor.shape)


def _read(place: Place, block: bytearray) -> Tensor:
    count = math.prod(place.shape)
    if not count:
        return torch.empty(place.shape, dtype=place.dtype)
    flat = torch.frombuffer(block, dtype=place.dtype, count=count, offset=place.start)
    return flat.reshape(place.shape)


def _mapped(value: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """The same structure with every value of a kind changed; what the structure is made of is not altered."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, dict):
        return {key: _mapped(inner, kind, change) for key, inner in value.items()}
    if isinstance(value, tuple):
        inner = [_mapped(element, kind, change) for element in value]
        return type(value)(*inner) if hasattr(value, "_fields") else tuple(inner)
    if is_dataclass(value) and not isinstance(value, type | Place):
        twin = copy.copy(value)
        for field in fields(value):
            object.__setattr__(twin, field.name, _mapped(getattr(value, field.name), kind, change))
        return twin
    return value
