"""Reference values in JSON files: finding, decoding and comparing them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def read_files(folder: Path, fits: Callable[[Any], bool]) -> dict[str, Any]:
    """The JSON files of a folder whose content fits a schema, decoded, by file name."""
    contents = {path.name: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    return {name: decoded(content) for name, content in contents.items() if fits(content)}


def decoded(value: Any) -> Any:
    """JSON content with the words nan, inf and -inf turned into numbers."""
    if isinstance(value, dict):
        return {name: decoded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [decoded(inner) for inner in value]
    return NON_FINITE.get(value, value) if isinstance(value, str) else value


def tensor(value: Any, dtype: torch.dtype, *, through: torch.dtype | None = None) -> Tensor:
    """Nested lists as a tensor: numbers as ``dtype``, rounded to ``through`` first; truth values as bool."""
    array = torch.tensor(value, dtype=None if _holds_truth(value) else torch.float64)
    if array.dtype == torch.bool:
        return array
    return array.to(through or dtype).to(dtype)


def _holds_truth(value: Any) -> bool:
    while isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, bool)


def assert_close(
    name: str, got: Any, expected: Any, *, rtol: float, atol: float = 0.0, rounded: Any = None
) -> None:
    """Compare by relative error; NaN equals NaN, infinity equals infinity of the same sign.

    ``rounded`` is the exact result of inputs rounded as those of ``got`` were: what this rounding alone
    changes is allowed twice.
    """
    if isinstance(expected, dict):
        assert got.keys() == expected.keys(), f"{name} has other entries: {sorted(got)}"
        for key, value in expected.items():
            inner = None if rounded is None else rounded[key]
            assert_close(f"{name}.{key}", got[key], value, rtol=rtol, atol=atol, rounded=inner)
        return
    found, wanted = _double(got), _double(expected)
    if rounded is not None:
        moved = 2 * (_double(rounded) - wanted).nan_to_num(0.0, 0.0, 0.0)
        near = (found - wanted).abs() <= moved.abs()
        found = torch.where(near, wanted, found)
    torch.testing.assert_close(
        found, wanted, rtol=rtol, atol=atol, equal_nan=True, msg=lambda text: f"{name}: {text}"
    )


def _double(values: Any) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64).detach()
