"""Weights of grounding."""

from __future__ import annotations

import numpy as np
import pytest

from graphrec.bigrec.weights import min_max, popularity_weights, weighted_distances


def test_min_max_leaves_what_is_out_of_reach() -> None:
    values = np.array([[2.0, 4.0, np.inf], [5.0, 5.0, 5.0], [np.inf, np.inf, 1.0]], dtype=np.float32)
    found = min_max(values)
    assert found.tolist() == [[0, 1, np.inf], [0, 0, 0], [np.inf, np.inf, 0]]
    assert found.dtype == np.float32


def test_gamma() -> None:
    scaled, weights = np.array([[0.0, 0.5, 1.0]]), popularity_weights(np.array([1, 1, 3]))
    assert weights.tolist() == [0, 0, 1]
    assert weighted_distances(scaled, weights, 0).tolist() == scaled.tolist()
    assert weighted_distances(scaled, weights, 2).tolist() == [[0, 0.5, 0.25]]
    with pytest.raises(ValueError, match="give 0 or more"):
        weighted_distances(scaled, weights, -1)
