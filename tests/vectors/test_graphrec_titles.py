"""Titles of films against those of LLaRA's own code, and against the corrected rule."""

from __future__ import annotations

from typing import Any

from data_prep.interactions.titles import movie_title, reference_movie_title


def test_titles(graphrec_movielens_titles: dict[str, Any]) -> None:
    case = graphrec_movielens_titles
    assert reference_movie_title(case["raw"]) == case["reference_output"]
    assert movie_title(case["raw"]) == case["correct_output"]
