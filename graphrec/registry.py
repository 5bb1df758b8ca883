"""Recommenders by name; a model's module is imported when it is asked for."""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphrec.recommender import Recommender

MODELS = {
    "popularity": "graphrec.simple:Popularity",
    "last_item": "graphrec.simple:LastItem",
    "repeat_history": "graphrec.simple:RepeatHistory",
    "item_knn": "graphrec.neighbours:ItemKNN",
    "cooccurrence": "graphrec.neighbours:Cooccurrence",
    "ease": "graphrec.neighbours:EASE",
    "vsknn": "graphrec.vsknn:VSKNN",
    "gru4rec": "graphrec.sequential:GRU4Rec",
    "caser": "graphrec.sequential:Caser",
    "sasrec": "graphrec.sequential:SASRec",
    "cl4srec": "graphrec.sequential:CL4SRec",
    "lightgcn": "graphrec.graph:LightGCN",
    "dreamrec": "graphrec.dreamrec:DreamRec",
    "offline_rl": "graphrec.offline_rl:OfflineRL",
    "llara": "graphrec.llara.recommender:Llara",
    "bigrec": "graphrec.bigrec.recommender:BigRec",
    "recinterpreter": "graphrec.recinterpreter.recommender:RecInterpreter",
    "sdpo": "graphrec.sdpo.recommender:SDPO",
}
"""Name -> ``module:class``."""


def model_class(name: str) -> type[Recommender]:
    """The class of a recommender.

    Raises:
        ValueError: no recommender has this name; the message lists those there are.
    """
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{name!r} is no recommender; there are {', '.join(MODELS)}.{hint}")
    module, _, attribute = MODELS[name].partition(":")
    found: type[Recommender] = getattr(import_module(module), attribute)
    return found
