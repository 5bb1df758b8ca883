"""Recommenders: classical sequence models and language models that read item vectors, under one protocol.

Heavy libraries are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphrec import evaluation
    from graphrec.data import RecommendationData as RecommendationData
    from graphrec.recommender import Recommender as Recommender

_SUBMODULES = ("evaluation",)
_CLASSES = {"Recommender": "graphrec.recommender", "RecommendationData": "graphrec.data"}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _SUBMODULES:
        return import_module(f"graphrec.{name}")
    if name in _CLASSES:
        return getattr(import_module(_CLASSES[name]), name)
    raise AttributeError(f"module 'graphrec' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES, *_CLASSES})
