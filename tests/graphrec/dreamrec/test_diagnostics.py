from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from graphrec.dreamrec.diagnostics import collapse, write_collapse


def test_even_table() -> None:
    """The corners of a cross: two directions alike, half of the ordered pairs of rows at right angles."""
    found = collapse(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]))
    np.testing.assert_allclose(found.item_spread, [0.5**0.5] * 2)
    assert found.effective_rank == pytest.approx(2)
    assert found.mean_cosine == pytest.approx(-1 / 3)
    assert found.norms == (1, 1, 1)
    assert found.sampling_share is None


def test_one_direction() -> None:
    found = collapse(np.array([[1.0, 1], [2, 2], [3, 3]]), covariance=np.diag([0.02, 0.0]))
    assert found.effective_rank == pytest.approx(1)
    assert found.mean_cosine == pytest.approx(1)
    assert found.sample_spread == pytest.approx((0.02**0.5, 0.0))
    assert found.sampling_share == pytest.approx(0.02 / (4 / 3))


def test_one_point() -> None:
    found = collapse(np.ones((5, 3)), covariance=np.eye(3))
    assert found.effective_rank == 1
    assert found.mean_cosine == pytest.approx(1)
    assert found.sampling_share is None or found.sampling_share > 1e20


def test_items_without_a_vector_do_not_count_as_directions() -> None:
    assert collapse(np.array([[0.0, 0], [2, 0], [0, 0], [4, 0]])).mean_cosine == pytest.approx(1)


def test_one_item_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two"):
        collapse(np.ones((1, 3)))


def test_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write_collapse(tmp_path / "run", collapse(rng.normal(size=(30, 4)), np.eye(4) * 1e-6))
    content = json.loads((tmp_path / "run" / "collapse.json").read_text(encoding="utf-8"))
    assert len(content["item_spread"]) == 4
    assert 0 < content["sampling_share"] < 1e-4
    assert (tmp_path / "run" / "collapse.png").read_bytes().startswith(b"\x89PNG")
