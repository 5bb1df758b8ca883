"""Small language-model recommenders, data with candidate lists, and a random Llama in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny_recommenders import walks, write_folder
from transformers import AutoModelForCausalLM, LlamaConfig

from graphrec.data import RecommendationData
from graphrec.llara.config import LlaraConfig
from graphrec.llara.recommender import Llara
from graphrec.trainer import TrainerConfig
from moltc.backbone.tokenizer import train_tokenizer

NUM_ITEMS = 24
SMALL: dict[str, Any] = {"width": 16, "vector_width": 8, "length": 4, "batch_size": 8, "planned_epochs": 2}


def listed_data(
    folder: Path, *, rows: int = 20, draws: int = 2, shown: int = 5, empty: int = 3, **others: Any
) -> RecommendationData:
    """Walks over a ring, with candidate lists; the last ``empty`` rows have no history."""
    rng = np.random.default_rng(0)
    sequences = walks(NUM_ITEMS, 40, 9)
    asked = [(sequence[:-1], sequence[-1]) for sequence in sequences[:rows]]
    asked[rows - empty :] = [([], target) for _, target in asked[rows - empty :]]
    candidates = []
    for history, target in asked:
        free = np.setdiff1d(np.arange(NUM_ITEMS), [*history, target])
        lists = [[target, *rng.choice(free, shown - 1, replace=False).tolist()] for _ in range(draws)]
        candidates.append([rng.permutation(one).tolist() for one in lists])
    train = [sequence[:-1] for sequence in sequences]
    manifest = {"metric": "HitRatio@1", **others}
    write_folder(folder, NUM_ITEMS, train, asked, asked, candidates=candidates, **manifest)
    return RecommendationData.load(folder)


def llara(data: RecommendationData, *, seed: int = 0, **settings: Any) -> Llara:
    """A model as training would begin with it."""
    model = Llara(LlaraConfig(**{**SMALL, **settings}))
    model.start(data.catalogue, seed)
    model.prepare(data.train_interactions)
    model.network.eval()
    return model


def fitted(data: RecommendationData, *, epochs: int = 1, seed: int = 0, **settings: Any) -> Llara:
    """A model after an epoch or a few."""
    model = Llara(LlaraConfig(**{**SMALL, **settings}))
    model.fit(data, trainer=TrainerConfig(max_epochs=epochs, validate_every=0), seed=seed)
    return model


def random_llama(folder: Path, texts: list[str]) -> Path:
    """A Llama with random weights and a tokenizer of its own, as Hugging Face folders are."""
    tokenizer = train_tokenizer([*texts, "\n"], vocab_size=400)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
