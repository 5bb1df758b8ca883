"""Data frames that were published as pickles, read without running what a pickle asks for.

A pickle names functions and classes to call. Here every name leads to a stand-in of this module, which only
stores what it is given; names that a plain data frame does not need are refused. Neither pandas nor the
unpickling code of numpy runs, so the file's pandas version does not matter either.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_prep.errors import DataError
from data_prep.files import existing

_PLAIN_DTYPE = re.compile(r"[biuf][1248]|O8?|b1")


@dataclass(frozen=True)
class PickledFrame:
    """Columns by name, each ``[R]``: numbers, or objects (lists, tuples, texts, numbers) as dtype object."""

    columns: dict[str, np.ndarray]
    path: Path

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def column(self, *names: str) -> np.ndarray:
        """The column of the first of ``names`` that is there, ``[R]``."""
        for name in names:
            if name in self.columns:
                return self.columns[name]
        raise DataError(
            f"{self.path} has no column {' or '.join(names)}; its columns are {', '.join(self.columns)}."
        )


def read_pickled_frame(path: Path) -> PickledFrame:
    """Read one pickled data frame.

    Raises:
        DataError: when the file asks for anything that a data frame of numbers, texts and lists does not
            need (which may be an attempt to run code), or is no pickled data frame.
    """
    existing(path, mend="Check the path of the pickled data frame.")
    with path.open("rb") as stream:
        try:
            frame = _FrameUnpickler(stream).load()
            columns = _columns(frame)
        except _RefusedError as error:
            raise DataError(
                f"{path} asks for {error}, which no plain data frame needs: it may have been made to run "
                "code. Nothing was run. Take the file from its publisher, or save it as csv or parquet."
            ) from error
        except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError) as error:
            raise DataError(f"{path} is no pickled data frame, or is cut short: {error}.") from error
        except (AttributeError, OverflowError, UnicodeDecodeError, MemoryError, ImportError) as error:
            raise DataError(f"{path} is no pickled data frame, or is damaged: {error}.") from error
    return PickledFrame(columns, path)


class _RefusedError(pickle.UnpicklingError):
    """A name that is not on the list."""


class _DType:
    """Stands for ``numpy.dtype``: a plain type code and its byte order."""

    def __init__(self, code: str, *_: Any) -> None:
        if not isinstance(code, str) or not _PLAIN_DTYPE.fullmatch(code):
            raise _RefusedError(f"the data type {code!r}")
        self.code, self.order = code, "="

    def __setstate__(self, state: Sequence[Any]) -> None:
        _, self.order, *rest = state
        if self.order not in ("<", ">", "=", "|") or any(part is not None for part in rest[:3]):
            raise _RefusedError("a data type with fields")

    @property
    def objects(self) -> bool:
        return self.code.startswith("O")

    def numpy(self) -> np.dtype:
        return np.dtype(self.order.replace("|", "=") + self.code)


class _Array:
    """Stands for ``numpy.ndarray``: shape, type and content, turned into an array by :func:`_array`."""

    def __setstate__(self, state: Sequence[Any]) -> None:
        _, self.shape, self.dtype, self.by_column, self.content = state


class _Closed:
    """Takes no state from a file: neither its instances nor, through them, the class can be changed."""

    def __setstate__(self, state: Any) -> None:
        raise _RefusedError(f"a change of {type(self).__name__.strip('_')}")


class _Index(_Closed):
    """Stands for the pandas indexes: the labels of an axis."""

    def __init__(self, data: Any = None) -> None:
        self.data = data


class _Blocks:
    """Stands for ``BlockManager``: columns of one type lie together, ``values [columns, R]``."""

    def __init__(self, blocks: Sequence[_Block] = (), axes: Sequence[_Index] = ()) -> None:
        self.blocks, self.axes = blocks, axes

    def __setstate__(self, state: Sequence[Any]) -> None:
        inner = state[3]["0.14.1"]  # the layout that pandas wrote from 0.14 to 1.2
        self.axes = inner["axes"]
        self.blocks = [_Block(one["values"], one["mgr_locs"], 2) for one in inner["blocks"]]


class _Block(_Closed):
    """One block; ``places``, a slice or an array, says which columns it holds."""

    def __init__(self, values: Any, places: Any, ndim: int) -> None:
        self.values, self.places, self.ndim = values, places, ndim


class _Frame:
    """Stands for ``DataFrame``."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.blocks = state["_mgr"] if "_mgr" in state else state["_data"]


def _new_index(_: type, arguments: dict[str, Any]) -> _Index:
    return _Index(arguments.get("data"))


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _from_buffer(content: bytes, dtype: _DType, shape: Sequence[int], order: str) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", bytes(content)))
    return array


def _scalar(dtype: _DType, content: bytes) -> Any:
    if dtype.objects:
        raise _RefusedError("a scalar object")
    return np.frombuffer(content, dtype.numpy(), count=1)[0].item()


class _Call(NamedTuple):
    """A function that a file may call but, unlike a bare function, cannot set attributes of."""

    function: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)


_STAND_INS: dict[tuple[str, str], Any] = {
    ("builtins", "slice"): slice,
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): _Array,
    ("pandas", "DataFrame"): _Frame,
    ("pandas", "Index"): _Index,
    ("pandas", "RangeIndex"): _Index,
    ("pandas.core.frame", "DataFrame"): _Frame,
    ("pandas.core.indexes.base", "Index"): _Index,
    ("pandas.core.indexes.base", "_new_Index"): _Call(_new_index),
    ("pandas.core.indexes.range", "RangeIndex"): _Index,
    ("pandas.core.indexes.numeric", "Int64Index"): _Index,
    ("pandas.core.internals", "BlockManager"): _Blocks,
    ("pandas.core.internals.managers", "BlockManager"): _Blocks,
    ("pandas._libs.internals", "_unpickle_block"): _Block,
} | {
    (f"{package}.{module}", name): _Call(function)
    for package in ("numpy.core", "numpy._core")
    for module, name, function in (
        ("multiarray", "_reconstruct", _reconstruct),
        ("multiarray", "scalar", _scalar),
        ("numeric", "_frombuffer", _from_buffer),
    )
}


class _FrameUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name; nothing is imported."""
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise _RefusedError(f"{module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        raise _RefusedError(f"the outside object {pid!r}")


def _columns(frame: Any) -> dict[str, np.ndarray]:
    """The frame's columns in order, from its blocks."""
    if not isinstance(frame, _Frame):
        raise ValueError(f"its content is a {type(frame).__name__.strip('_')}")
    names = [str(name) for name in _array(frame.blocks.axes[0].data)]
    columns: dict[str, np.ndarray] = {}
    for block in frame.blocks.blocks:
        values = _array(block.values)
        places = block.places
        wanted = range(len(names))[places] if isinstance(places, slice) else _array(places).tolist()
        if values.ndim != 2 or len(values) != len(wanted):
            raise ValueError(f"a block of shape {values.shape} holds {len(wanted)} columns")
        columns |= {names[place]: row for place, row in zip(wanted, values, strict=True)}
    if set(columns) != set(names):
        raise ValueError(f"some of its {len(names)} columns have no values")
    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError("its columns differ in length")
    return {name: columns[name] for name in names}


def _array(stored: Any) -> np.ndarray:
    """A stored array as one of numpy's; objects keep their Python types."""
    if not isinstance(stored, _Array):
        raise ValueError(f"an array was expected, not {type(stored).__name__}")
    shape = tuple(int(size) for size in stored.shape)
    if stored.dtype.objects:
        flat = np.empty(math.prod(shape), dtype=object)
        if not isinstance(stored.content, list) or len(stored.content) != len(flat):
            raise ValueError("an array of objects is not as long as its shape says")
        for place, value in enumerate(stored.content):
            flat[place] = value
    else:
        flat = np.frombuffer(stored.content, dtype=stored.dtype.numpy())
    return flat.reshape(shape, order="F" if stored.by_column else "C")
