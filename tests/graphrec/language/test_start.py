"""Starts from item vectors: embeddings, projectors, and what they make of a new model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_language import NUM_ITEMS, SMALL, listed_data

from graphrec.catalogue import Catalogue
from graphrec.histories import Histories
from graphrec.language.start import spreading_map, start_projector, token_vectors
from graphrec.language.towers import Projector
from graphrec.llara.config import LlaraConfig
from graphrec.llara.recommender import Llara


def test_a_token_is_the_sum_of_its_items_over_the_root_of_their_number() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.0, 2.0], [4.0, 4.0]])
    titles = Histories.from_lists([[5, 5, 0], [5, 3, 0], [3, 0]])  # 0 ends every title
    found = token_vectors(vectors, titles, 7)
    expected = torch.zeros(7, 2)
    expected[5] = torch.tensor([1.0, 2.0]) / 2**0.5
    expected[3] = torch.tensor([4.0, 6.0]) / 2**0.5
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_projectors_begin_as_the_map(kind: str) -> None:
    torch.manual_seed(0)
    linear_map = spreading_map(6, 16)
    projector = Projector(6, 16, kind)
    start_projector(projector, linear_map, 0.25)
    vectors = torch.randn(200, 6)
    wanted = 0.25 * vectors @ linear_map.T
    torch.testing.assert_close(projector(vectors), wanted, rtol=0, atol=2e-2 if kind == "mlp" else 1e-6)


def test_maps_keep_mean_squares() -> None:
    assert torch.equal(spreading_map(8, 8), torch.eye(8))
    torch.manual_seed(0)
    vectors = torch.randn(1000, 8)
    spread = vectors @ spreading_map(8, 32).T
    assert spread.square().mean().item() == pytest.approx(vectors.square().mean().item(), rel=1e-4)


def test_a_new_model_ranks_by_its_vectors(tmp_path: Path) -> None:
    """Titles of one word are scored nearly by the product of their vector with that of the last item."""
    data = listed_data(tmp_path)
    names = [f"word{number}" for number in range(NUM_ITEMS)]
    catalogue = Catalogue(data.catalogue.item_ids, names)
    agreement = {}
    for token_start in ("vectors", "random"):
        settings = {**SMALL, "width": 32, "vector_width": 12, "dropout": 0.0, "token_start": token_start}
        model = Llara(LlaraConfig(**settings))
        model.start(catalogue, seed=0)
        model.prepare(data.train_interactions)
        vectors = model.item_vectors()
        scores = model.scores(Histories.from_lists([[item] for item in range(NUM_ITEMS)]))
        pairs = zip(scores, vectors @ vectors.T, strict=True)
        agreement[token_start] = np.mean([np.corrcoef(one, other)[0, 1] for one, other in pairs])
    assert agreement["vectors"] > 0.9
    assert abs(agreement["random"]) < 0.4
