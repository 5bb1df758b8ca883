"""Item vectors from co-occurrence, and tables that start from saved ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from graphrec.histories import Histories
from graphrec.sequential.start_vectors import cooccurrence_vectors, positive_information, scaled


def test_information_by_hand() -> None:
    from scipy import sparse

    counts = sparse.csr_array(np.array([[0.0, 3.0], [1.0, 0.0]]))
    found = positive_information(counts).toarray()
    contexts = np.array([1.0, 3.0]) ** 0.75
    contexts /= contexts.sum()
    assert found[0, 1] == pytest.approx(np.log(3 / (3 * contexts[1])))
    assert found[1, 0] == pytest.approx(np.log(1 / (1 * contexts[0])))


def test_pairs_less_frequent_than_chance_count_as_zero() -> None:
    from scipy import sparse

    counts = sparse.csr_array(np.array([[90.0, 1.0], [1.0, 90.0]]))
    assert positive_information(counts).toarray()[0, 1] == 0


def test_items_of_one_group_lie_near_each_other() -> None:
    rng = np.random.default_rng(0)
    groups = [rng.permutation(np.arange(10) + 10 * (n % 2)) for n in range(40)]
    vectors = cooccurrence_vectors(Histories.from_lists(groups), 21, 4, seed=0)
    similar = torch.nn.functional.cosine_similarity(vectors[:20, None], vectors[None, :20], dim=-1)
    same = torch.arange(20) // 10 == torch.arange(20).unsqueeze(1) // 10
    assert similar[same].min() > similar[~same].max()
    assert not vectors[20].any()  # never seen


def test_too_wide_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="lower the width"):
        cooccurrence_vectors(Histories.from_lists([[0, 1, 2]]), 3, 3, seed=0)


def test_scaling_sets_the_spread() -> None:
    assert float(scaled(torch.randn(20, 4), 0.02).std()) == pytest.approx(0.02)
    assert not scaled(torch.zeros(3, 2), 0.02).any()
