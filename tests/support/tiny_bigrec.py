"""A BIGRec of a few thousand weights."""

from __future__ import annotations

from typing import Any

from graphrec.bigrec.config import BigRecConfig
from graphrec.bigrec.recommender import BigRec
from graphrec.data import RecommendationData
from graphrec.trainer import TrainerConfig

SIZES: dict[str, Any] = {"width": 16, "layers": 1, "vector_width": 8, "length": 5}
INSTRUCTIONS: dict[str, Any] = {"layout": "instructions", "vocabulary": "bpe", "vocabulary_size": 400}


def settings(**others: Any) -> BigRecConfig:
    """Settings of a small model."""
    return BigRecConfig(**{**SIZES, "planned_epochs": 1, **others})


def fitted(data: RecommendationData, epochs: int = 1, seed: int = 0, **others: Any) -> BigRec:
    """A small model after a few steps."""
    model = BigRec(settings(planned_epochs=epochs, **others))
    model.fit(data, trainer=TrainerConfig(max_epochs=epochs, validate_every=0), seed=seed)
    return model
