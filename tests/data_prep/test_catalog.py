from __future__ import annotations

import re
from dataclasses import replace

import pytest

from data_prep import catalog
from data_prep.cards import CARDS
from data_prep.errors import DataError
from data_prep.files import sha256_of
from data_prep.records import FAMILIES

HEADER = "smiles_1,smiles_2,label\n"


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS.keys())
def test_every_card_is_complete(card):
    assert card.title
    assert card.terms
    assert card.citation
    assert all(file.url.startswith("https://") for file in card.files)
    assert all(file.sha256 is None or re.fullmatch("[0-9a-f]{64}", file.sha256) for file in card.files)
    assert len({file.name for file in card.files}) == len(card.files)
    assert card.family in FAMILIES
    assert callable(catalog._reader(card.reader))
    assert any(file.read for file in card.files)
    assert not any(file.companion and (file.read or file.part) for file in card.files)


def write_parts(folder, **texts: str):
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "valid", "test"):
        (folder / f"ZhangDDI_{part}.csv").write_text(HEADER + texts.get(part, ""))


@pytest.mark.parametrize("inside", ["zhangddi", "."], ids=["folder_of_data_sets", "data_set_itself"])
def test_files_are_found_in_root_or_in_the_set_s_folder(tmp_path, inside):
    write_parts(tmp_path / inside, train="C,O,1\n", test="C,N,0\n")
    raw = catalog.read_dataset("zhangddi", tmp_path)
    assert raw.frame["source"].to_list() == ["ZhangDDI_train.csv", "ZhangDDI_test.csv"]
    assert raw.frame["split"].to_list() == [None, None]
    assert [source.verified for source in raw.sources] == [None] * 3


def test_published_parts_fill_the_split(tmp_path):
    write_parts(tmp_path, train="C,O,1\n", valid="C,N,0\n", test="C,N,0\n")
    raw = catalog.read_dataset("zhangddi", tmp_path, published_split=True)
    assert raw.frame["split"].to_list() == ["train", "valid", "test"]


def test_a_missing_file_names_where_it_was_looked_for(tmp_path):
    with pytest.raises(
        DataError, match=r"database\.txt is missing: looked for .*freesolv.* data-prep fetch freesolv"
    ):
        catalog.read_dataset("freesolv", tmp_path)


def test_a_changed_file_is_refused_unless_allowed(tmp_path):
    (tmp_path / "database.txt").write_text("a; C; methane; 2.0\n")
    with pytest.raises(DataError, match="not the published file"):
        catalog.read_dataset("freesolv", tmp_path)
    raw = catalog.read_dataset("freesolv", tmp_path, allow_changed=True)
    assert raw.sources[0].verified is False


def test_an_unchanged_file_is_verified(tmp_path):
    path = tmp_path / "x"
    path.write_text("data")
    file = replace(CARDS["freesolv"].files[0], sha256=sha256_of(path))
    assert catalog.check_file(path, file, allow_changed=False) is True


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("freesolve", {}, "no data set 'freesolve'"),
        ("freesolv", {"options": {"keep_solid_state": True}}, "--keep-solid-state has no effect on freesolv"),
        ("freesolv", {"published_split": True}, "not published with a split"),
    ],
    ids=["unknown", "foreign_option", "no_parts"],
)
def test_what_cannot_be_read_is_said(tmp_path, name, options, message):
    with pytest.raises(DataError, match=message):
        catalog.read_dataset(name, tmp_path, **options)
