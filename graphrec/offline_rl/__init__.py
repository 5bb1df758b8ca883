"""Recommendation as offline reinforcement learning: the SQN line, and a learner in the style of MCRL.

The state is a session so far, the action the item that comes next, the reward how much the event is worth.
The losses are in :mod:`values`, :mod:`actors` and :mod:`contrast`, their combinations in :mod:`methods`; the
rest makes a recommender of them and judges it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphrec.offline_rl.config import OfflineRLConfig as OfflineRLConfig
    from graphrec.offline_rl.recommender import OfflineRL as OfflineRL

_HOMES = {"OfflineRL": "recommender", "OfflineRLConfig": "config"}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
