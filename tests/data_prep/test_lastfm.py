"""Last.fm: tagged artists with dates, lists of names."""

from __future__ import annotations

import pytest

from data_prep.errors import DataError
from data_prep.readers.lastfm import read_names, read_tagged_artists

TAGGED = """userID\tartistID\ttagID\tday\tmonth\tyear
2\t52\t13\t1\t4\t2009
2\t51\t13\t1\t4\t2008
2\t52\t15\t1\t4\t2007
2\t53\t13\t30\t2\t2009
3\t51\t15\t1\t1\t1956
3\t51\t13\t2\t1\t2010
"""


@pytest.fixture
def files(write):
    return (
        write(TAGGED, "tagged.dat"),
        write('id\tname\turl\r\n51\tDuran Duran\tx\r\n52\t"Weird\tx\r\n', "artists.dat"),
        write("tagID\ttagValue\n13\tpop\n15\trock\n".encode("latin-1"), "tags.dat"),
    )


def test_an_artist_counts_when_first_tagged(files):
    log = read_tagged_artists(*files)
    assert log.frame.select("sequence", "item").rows() == [("2", "51"), ("2", "52"), ("3", "51")]
    assert log.frame["time"].to_list() == [1207008000.0, 1175385600.0, 1262390400.0]
    assert log.notes == ("1 further tags of a user for the same artist are not interactions of their own.",)


def test_dates_that_cannot_be_are_told(files):
    found = read_tagged_artists(*files).findings
    assert found.select("row", "kind").rows() == [(4, "bad date"), (5, "bad date")]


def test_artists_have_names_and_tags(files):
    items = read_tagged_artists(*files).items
    assert items.select("item_id", "title").rows() == [("51", "Duran Duran"), ("52", '"Weird')]
    assert items["tags"].to_list() == [["pop"], ["pop", "rock"]] or items["tags"].to_list() == [
        ["pop"],
        ["rock", "pop"],
    ]


def test_ragged_tables_are_an_error(write, files):
    with pytest.raises(DataError, match="row 1 has not 3 fields"):
        read_tagged_artists(files[0], write("id\tname\turl\n51\tDuran\n", "artists.dat"), files[2])


def test_names_may_hold_the_separator(write):
    names = read_names(write("1::Two::Words\n0::One\n"))
    assert names.rows() == [("0", "One"), ("1", "Two::Words")]


@pytest.mark.parametrize(
    "text", ["0::a\n2::b\n", "0::a\n0::b\n", "x::a\n1::b\n"], ids=["gap", "twice", "text"]
)
def test_names_need_the_numbers_from_zero(write, text):
    with pytest.raises(DataError, match="items 0 to 1 once each"):
        read_names(write(text))


@pytest.mark.real_data
def test_published_sizes(real_data):
    folder = real_data / "lastfm_hetrec2011"
    log = read_tagged_artists(*(folder / f"{name}.dat" for name in ("user_taggedartists", "artists", "tags")))
    assert log.sources[0].rows == 186_479
    assert log.frame["sequence"].n_unique() == 1_892
    assert len(log.items) == 17_632
    assert len(log.findings) == 5  # three of 1956, one each of 1957 and 1979
    assert len(read_names(real_data / "llara/lastfm/id2name.txt", 4_606)) == 4_606
    assert len(read_names(real_data / "llara/steam/id2name.txt", 3_581)) == 3_581
