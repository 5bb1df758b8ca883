"""S-DPO on a LLaRA model with adapters: a Llama that is cut down and has random weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tiny_language import NUM_ITEMS, listed_data, random_llama

from graphrec.data import RecommendationData
from graphrec.histories import Histories
from graphrec.llara.config import LlaraConfig
from graphrec.llara.recommender import Llara
from graphrec.recommender import Recommender
from graphrec.sdpo.config import SDPOConfig
from graphrec.sdpo.recommender import SDPO
from graphrec.trainer import TrainerConfig

HISTORIES = Histories.from_lists([[3, 4, 5], [], [7, 7, 1]])
SIZES: dict[str, Any] = {"vector_width": 8, "length": 3, "num_candidates": 3, "batch_size": 32}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    return listed_data(tmp_path_factory.mktemp("lists"))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, data: RecommendationData) -> Path:
    titles = [f"Item {number}" for number in range(NUM_ITEMS)]
    asked = "Which film will be seen next? Answer:"
    llama = random_llama(tmp_path_factory.mktemp("llama"), [*titles, asked])
    model = Llara(
        LlaraConfig.reference(
            pretrained=str(llama), domain="films", dtype="float32", curriculum=None, **SIZES
        )
    )
    model.fit(data, trainer=TrainerConfig(max_steps=2, max_epochs=1, validate_every=0))
    folder = tmp_path_factory.mktemp("llara") / "export"
    model.save_pretrained(folder)
    return folder


def settings(start: Path, **changes: Any) -> SDPOConfig:
    small: dict[str, Any] = {"num_negatives": 2, "pool": 4, "rows": 24, "batch_size": 8, "lr": 1e-3}
    return SDPOConfig(start=str(start), warmup_steps=0, **{**small, **changes})


@pytest.mark.parametrize("reference", ["cached", "online"])
def test_the_loss_starts_at_log_one_plus_k(start: Path, data: RecommendationData, reference: Any) -> None:
    """Promise: with adapters the reference is the start, its adapters included, and not the base model."""
    model = SDPO(settings(start, reference=reference))
    model.start(data.catalogue, seed=1)
    model.prepare(data.train_interactions)
    batch = next(model.batches(data.train, 0, 1))
    assert model.loss(batch, 0)["loss"].item() == pytest.approx(math.log(3), abs=1e-5)


def test_adapters_and_projector_are_trained_and_saved(
    start: Path, data: RecommendationData, tmp_path: Path
) -> None:
    model = SDPO(settings(start))
    before = {name: weight.detach().clone() for name, weight in _started(start).network.named_parameters()}
    trainer = TrainerConfig(max_epochs=-1, max_steps=3, validate_every=0)
    model.fit(data, trainer=trainer, seed=1)
    moved = {
        name for name, weight in model.network.named_parameters() if not torch.equal(weight, before[name])
    }
    assert moved
    assert all("lora_" in name or "projector" in name for name in moved)
    assert any("lora_A" in name for name in moved)
    assert any("projector" in name for name in moved)
    model.save_pretrained(tmp_path / "saved")
    stored, had = load_file(tmp_path / "saved" / "model.safetensors"), load_file(start / "model.safetensors")
    assert stored.keys() == had.keys()
    loaded = Recommender.from_pretrained(tmp_path / "saved")
    assert isinstance(loaded, Llara)
    np.testing.assert_array_equal(loaded.scores(HISTORIES), model.scores(HISTORIES))
    assert not np.array_equal(loaded.scores(HISTORIES), _started(start).scores(HISTORIES))


def _started(start: Path) -> Llara:
    found = Recommender.from_pretrained(start)
    assert isinstance(found, Llara)
    return found
