"""Titles of films."""

from __future__ import annotations

import polars as pl
import pytest

from data_prep.interactions.titles import movie_title, movie_titles, reference_movie_title

TITLES = {
    "Matrix, The (1999)": "The Matrix",
    "American in Paris, An (1951)": "An American in Paris",
    "Time to Kill, A (1996)": "A Time to Kill",
    "Toy Story (1995)": "Toy Story",
    "Cook, the Thief, His Wife, The (1989)": "The Cook, the Thief, His Wife",
    "Angels and Insects (1995)": "Angels and Insects",
    "Bread, Anyone (1999)": "Bread, Anyone",
    "Blue Angel, The (Blaue Engel, Der) (1930)": "Blue Angel, The (Blaue Engel, Der)",
    "unknown": "unknown",
    "2001: A Space Odyssey (1968)": "2001: A Space Odyssey",
    "Land Before Time III (1995) (V)": "Land Before Time III (1995) (V)",
}


@pytest.mark.parametrize(("raw", "title"), TITLES.items(), ids=TITLES.values())
def test_articles_move_and_years_go(raw, title):
    assert movie_title(raw) == title


def test_the_column_rule_is_the_same():
    assert movie_titles(pl.Series(list(TITLES))).to_list() == list(TITLES.values())


def test_the_reference_rule_moves_the_wrong_article():
    assert reference_movie_title("American in Paris, An (1951)") == "A American in Parisn"
    assert reference_movie_title("Matrix, The (1999)") == "The Matrix"
    assert reference_movie_title("Toy Story (1995)") == "Toy Story"
