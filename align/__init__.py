"""Preference optimisation for any language model of :mod:`moltc.backbone`, soft tokens or none.

Losses are pure functions of completion log-probabilities (:mod:`align.losses`); everything else feeds them.
Heavy libraries are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from align import losses
    from align.data import PreferenceDataModule
    from align.loss_config import PreferenceLossConfig
    from align.module import PreferenceModule

_SUBMODULES = ("losses",)
_EXPORTS = {
    "PreferenceDataModule": "align.data",
    "PreferenceLossConfig": "align.loss_config",
    "PreferenceModule": "align.module",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _SUBMODULES:
        return import_module(f"align.{name}")
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'align' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES, *_EXPORTS})
