"""MovieLens as released."""

from __future__ import annotations

import pytest

from data_prep.errors import DataError
from data_prep.readers.movielens import read_items_100k, read_movies_1m, read_ratings


@pytest.mark.parametrize("separator", ["\t", "::"], ids=["u.data", "ratings.dat"])
def test_ratings(write, separator):
    lines = [("196", "242", "3", "881250949"), ("186", "302", "4", "891717742")]
    log = read_ratings(write("\n".join(separator.join(line) for line in lines) + "\n"), separator=separator)
    assert log.frame.rows() == [("196", "242", 881250949.0, 3.0), ("186", "302", 891717742.0, 4.0)]
    assert log.findings.is_empty()


def test_lines_that_are_no_ratings_are_told(write):
    log = read_ratings(write("1::2::3::4\n1::2::3\n1::x::3::4\n1::2::3::later\n5::6::1::9\n"), separator="::")
    assert log.frame["sequence"].to_list() == ["1", "5"]
    assert log.findings.select("row", "value").rows() == [
        (2, "1::2::3"),
        (3, "1::x::3::4"),
        (4, "1::2::3::later"),
    ]


def test_items_of_100k_have_titles_and_genres(write):
    flags = ["0"] * 19
    flags[1] = flags[18] = "1"
    text = "|".join(["7", "Misérables, The (1995) ", "01-Jan-1995", "", "http://x", *flags]) + "\n"
    items = read_items_100k(write(text.encode("latin-1")))
    assert items.rows() == [("7", "The Misérables", ["Action", "Western"])]


def test_movies_of_1m_have_titles_and_genres(write):
    items = read_movies_1m(write("1::Toy Story (1995)::Animation|Comedy\n2::Matrix, The (1999)::Action\n"))
    assert items["title"].to_list() == ["Toy Story", "The Matrix"]
    assert items["genres"].to_list() == [["Animation", "Comedy"], ["Action"]]


def test_movies_with_ragged_lines_are_an_error(write):
    with pytest.raises(DataError, match="different numbers of fields"):
        read_movies_1m(write("1::Toy Story (1995)::Animation\n2::Matrix\n"))


@pytest.mark.real_data
def test_published_sizes(real_data):
    log = read_ratings(real_data / "movielens_100k/u.data", separator="\t")
    assert len(log.frame) == 100_000
    assert (log.frame["sequence"].n_unique(), log.frame["item"].n_unique()) == (943, 1_682)
    items = read_items_100k(real_data / "movielens_100k/u.item")
    assert len(items) == 1_682
    assert items["title"].is_duplicated().sum() == 45  # 18 films listed twice, and remakes of one name
    sample = read_ratings(real_data / "movielens_1m/sample_movielens_ratings.txt", separator="::")
    assert len(sample.frame) == 1_501
    assert sample.findings.is_empty()


@pytest.mark.real_data
def test_genres_of_1m_have_the_published_sizes(real_data):
    genres = read_movies_1m(real_data / "movielens_1m/movies.dat")["genres"]
    assert len(genres) == 3_883
    assert genres.list.len().mean() == pytest.approx(1.65, abs=0.005)
    sizes = dict(genres.explode().value_counts().iter_rows())
    assert len(sizes) == 18
    assert (sizes["Drama"], sizes["Comedy"], sizes["Film-Noir"]) == (1_603, 1_200, 44)
