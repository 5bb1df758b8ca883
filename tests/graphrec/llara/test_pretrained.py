"""The published setting on a Llama that is cut down and has random weights: adapters, projector, export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tiny_language import NUM_ITEMS, listed_data, random_llama

from graphrec.data import RecommendationData
from graphrec.histories import Histories
from graphrec.llara.answers import answers
from graphrec.llara.config import LlaraConfig
from graphrec.llara.recommender import Llara
from graphrec.recommender import Recommender
from graphrec.trainer import TrainerConfig
from moltc.backbone.checkpoint import CheckpointError

HISTORIES = Histories.from_lists([[3, 4, 5], [], [7, 7, 1]])
SIZES: dict[str, Any] = {"vector_width": 8, "length": 3, "num_candidates": 3, "batch_size": 32}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> RecommendationData:
    return listed_data(tmp_path_factory.mktemp("lists"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    titles = [f"Item {number}" for number in range(NUM_ITEMS)]
    return random_llama(tmp_path_factory.mktemp("llama"), [*titles, "Which film will be seen next? Answer:"])


def published(llama: Path, data: RecommendationData, folder: Path | None = None, **settings: Any) -> Llara:
    """The published setting after two steps."""
    model = Llara(LlaraConfig.reference(pretrained=str(llama), domain="films", **{**SIZES, **settings}))
    model.fit(data, trainer=TrainerConfig(max_steps=2, max_epochs=1, validate_every=0), folder=folder)
    return model


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_an_export_holds_adapters_and_projector_alone(
    data: RecommendationData, llama: Path, tmp_path: Path, dtype: str
) -> None:
    model = published(llama, data, tmp_path / "run", dtype=dtype, curriculum=None)
    trained = {name for name, weight in model.network.named_parameters() if weight.requires_grad}
    assert len([name for name in trained if "lora_" in name]) == 3 * 7 * 2
    assert all("lora_" in name or "projector" in name for name in trained)
    model.save_pretrained(tmp_path / "saved")
    stored = load_file(tmp_path / "saved" / "model.safetensors")
    assert stored.keys() == trained | {"towers.vectors", "towers.placeholder"}
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert {name.removeprefix("network.") for name in checkpoint["state_dict"]} == stored.keys()
    loaded = Recommender.from_pretrained(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.scores(HISTORIES), model.scores(HISTORIES))


def test_a_cut_down_architecture_comes_with_its_weights(
    data: RecommendationData, llama: Path, tmp_path: Path
) -> None:
    model = published(llama, data, random_init=True, num_layers=1, dtype="float32")
    assert model.network.language_model.hf_config.num_hidden_layers == 1
    model.save_pretrained(tmp_path / "saved")
    hidden = llama.rename(llama.parent / "elsewhere")
    try:
        loaded = Recommender.from_pretrained(tmp_path / "saved")
    finally:
        hidden.rename(llama)
    np.testing.assert_array_equal(loaded.scores(HISTORIES), model.scores(HISTORIES))


def test_a_base_model_that_is_gone_is_named(data: RecommendationData, llama: Path, tmp_path: Path) -> None:
    published(llama, data).save_pretrained(tmp_path / "saved")
    hidden = llama.rename(llama.parent / "elsewhere")
    try:
        with pytest.raises(CheckpointError, match="cannot be loaded"):
            Recommender.from_pretrained(tmp_path / "saved")
    finally:
        hidden.rename(llama)


def test_answers_end_with_the_line(data: RecommendationData, llama: Path) -> None:
    model = published(llama, data, dtype="float32")
    rows = data.test.select(np.arange(4))
    assert all("\n" not in text for text in answers(model, rows, "greedy", max_new_tokens=8))
    titles = set(model.catalogue.titles)
    assert set(answers(model, rows, "constrained")) <= titles
    assert model.network.text(model.network.title(5)) == "Item 5"


def test_the_base_model_reads_without_its_adapter(data: RecommendationData, llama: Path) -> None:
    model = published(llama, data, dtype="float32")
    with torch.no_grad():
        for name, weight in model.network.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.05)
    fresh = Llara(LlaraConfig.reference(pretrained=str(llama), domain="films", dtype="float32", **SIZES))
    fresh.start(data.catalogue, seed=9)
    with model.inference(), fresh.inference():
        base = model.network.hidden_of(["Item 3"], adapter=False)
        assert not torch.allclose(model.network.hidden_of(["Item 3"]), base)
        torch.testing.assert_close(base, fresh.network.hidden_of(["Item 3"]))


def test_windows_of_a_pretrained_model(data: RecommendationData, llama: Path) -> None:
    changes: dict[str, Any] = {"layout": "windows", "dtype": "float32", "training": "full", "lr": 1e-3}
    model = published(llama, data, **changes)
    titles = model.scores(HISTORIES)
    assert titles.shape == (3, NUM_ITEMS)
    assert np.isfinite(titles).all()
