"""Preference optimisation for any language model of :mod:`moltc.backbone`, soft tokens or none.

Losses are pure functions of completion log-probabilities (:mod:`align.losses`); everything else feeds them.
Heavy libraries are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from align import losses

_SUBMODULES = ("losses",)


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        from importlib import import_module

        return import_module(f"align.{name}")
    raise AttributeError(f"module 'align' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES})
