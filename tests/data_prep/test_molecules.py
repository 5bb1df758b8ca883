from __future__ import annotations

import numpy as np
import pytest

from data_prep.cache import featurise_cached
from data_prep.errors import DataError, Reject
from data_prep.molecules import MoleculeTable, featurise, parse


def run(smiles: list[str], **options):
    return featurise(smiles, workers=1, progress=False, **options)


def test_spellings_of_a_molecule_share_one_row():
    result = run(["OCC", "c1ccccc1", "CCO", "OCC"])
    assert result.row_of.tolist() == [0, 1, 0, 0]
    assert list(result.table.smiles) == ["CCO", "c1ccccc1"]
    assert result.table.keys[0] == "LFQSCWFLJHTTHZ-UHFFFAOYSA-N"
    assert list(result.table.scaffold) == ["", "c1ccccc1"]


@pytest.mark.parametrize(
    ("smiles", "kind", "reason"),
    [
        ("", "empty SMILES", "empty"),
        ("C(C", "unparseable SMILES", "extra open parentheses"),
        ("C1CC", "unparseable SMILES", "unclosed ring"),
        ("xyz", "unparseable SMILES", "syntax error"),
        ("CN(C)(C)(C)C", "unparseable SMILES", "Explicit valence for atom # 1 N"),
        ("CCO ethanol", "unparseable SMILES", "white space"),
        ("C" * 600, "too many atoms", "600 heavy atoms"),
    ],
    ids=["empty", "parenthesis", "ring", "nonsense", "valence", "name_behind", "too_large"],
)
def test_a_bad_string_is_rejected_with_its_row_and_reason(smiles, kind, reason, capfd):
    result = run(["CCO", smiles, "O"])
    assert result.row_of.tolist() == [0, -1, 1]
    (reject,) = result.rejects
    assert (reject.row, reject.value, reject.kind) == (1, smiles, kind)
    assert reason in reject.reason
    assert capfd.readouterr().err == ""


def test_every_occurrence_of_a_bad_string_is_listed():
    assert [reject.row for reject in run(["C(C", "C", "C(C"]).rejects] == [0, 2]


def test_nothing_but_bad_strings_gives_an_empty_table():
    result = run(["xyz"])
    assert len(result.table) == 0
    assert len(result.table.graphs) == 0


def test_the_atom_limit_is_an_option():
    assert run(["CCCC"], max_atoms=3).row_of.tolist() == [-1]
    assert run(["C" * 600], max_atoms=600).row_of.tolist() == [0]


def test_salts_and_single_atoms_are_kept():
    table = run(["CC(=O)[O-].[Na+]", "[Xe]"]).table
    assert table.num_fragments.tolist() == [2, 1]
    assert table.num_atoms.tolist() == [5, 1]
    assert np.diff(table.graphs.edge_ptr).tolist() == [6, 0]


def test_a_molecule_without_inchi_gets_a_checksum_as_key():
    assert run(["*C"]).table.keys[0].startswith("SMILES:")


def test_graphs_alone_are_the_same_graphs_and_cannot_be_saved(tmp_path):
    smiles = ["C/C=C/C", "c1ccccc1O", "[Na+].[Cl-]"]
    whole, bare = run(smiles).table, run(smiles, graphs_only=True).table
    np.testing.assert_array_equal(whole.graphs.bonds, bare.graphs.bonds)
    np.testing.assert_array_equal(whole.graphs.fingerprint, bare.graphs.fingerprint)
    assert list(bare.smiles) == list(whole.smiles)
    assert {*bare.keys, *bare.scaffold, *bare.property_text} == {""}
    with pytest.raises(DataError, match="graphs only"):
        bare.save(tmp_path)


def test_processes_give_the_same_table_as_one():
    smiles = ["C" * (1 + number % 40) + "O" * (number % 7) for number in range(1200)]
    alone, parallel = run(smiles), featurise(smiles, workers=2, progress=False)
    assert list(alone.table.smiles) == list(parallel.table.smiles)
    np.testing.assert_array_equal(alone.row_of, parallel.row_of)
    np.testing.assert_array_equal(alone.table.graphs.atoms, parallel.table.graphs.atoms)


def test_a_table_survives_saving(tmp_path):
    table = run(["CCO", "c1ccccc1", "[Na+].[Cl-]"]).table
    table.save(tmp_path)
    loaded = MoleculeTable.load(tmp_path)
    assert loaded.sha256 == table.sha256
    assert list(loaded.property_text) == list(table.property_text)
    np.testing.assert_array_equal(loaded.graphs.bonds, table.graphs.bonds)


def test_files_of_two_tables_are_not_mixed(tmp_path):
    run(["CCO"]).table.save(tmp_path / "one")
    run(["CCN"]).table.save(tmp_path / "two")
    (tmp_path / "one" / "graphs.safetensors").replace(tmp_path / "two" / "graphs.safetensors")
    with pytest.raises(DataError, match="another molecules.parquet"):
        MoleculeTable.load(tmp_path / "two")


def test_a_cut_table_is_refused(tmp_path):
    run(["CCO"]).table.save(tmp_path)
    path = tmp_path / "molecules.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="damaged"):
        MoleculeTable.load(tmp_path)


def test_from_smiles_names_what_is_wrong():
    assert len(MoleculeTable.from_smiles(["CCO", "OCC", "O"])) == 2
    with pytest.raises(DataError, match=r"row 1: 'C\(C'"):
        MoleculeTable.from_smiles(["CCO", "C(C"])


def cached(smiles: list[str], folder):
    return featurise_cached(smiles, folder, workers=1, progress=False)


def test_the_cache_parses_only_what_is_new(tmp_path):
    first, reused = cached(["CCO", "C(C", "O"], tmp_path)
    assert reused == 0
    second, reused = cached(["O", "CCN", "CCO", "OCC"], tmp_path)
    assert reused == 2
    fresh = run(["O", "CCN", "CCO", "OCC"])
    assert [second.table.smiles[row] for row in second.row_of] == ["O", "CCN", "CCO", "CCO"]
    assert set(second.table.smiles) == set(fresh.table.smiles)
    assert [reject.row for reject in first.rejects] == [1]


def test_cached_graphs_equal_fresh_ones(tmp_path):
    cached(["c1ccccc1O", "CCO"], tmp_path)
    again, _ = cached(["CCO", "c1ccccc1O"], tmp_path)
    fresh = run(["CCO", "c1ccccc1O"]).table
    rows = again.row_of
    np.testing.assert_array_equal(
        again.table.graphs.batch(rows).atoms, fresh.graphs.batch(np.arange(2)).atoms
    )


def test_a_damaged_cache_is_made_anew(tmp_path):
    cached(["CCO"], tmp_path)
    for path in tmp_path.rglob("*.safetensors"):
        path.write_bytes(b"broken")
    result, reused = cached(["CCO"], tmp_path)
    assert reused == 0
    assert result.row_of.tolist() == [0]
    assert cached(["CCO"], tmp_path)[1] == 1


@pytest.mark.parametrize("text", ["C\u00c9", "C(=O)\u039f", "CC\u2082"], ids=["accent", "greek", "subscript"])
def test_characters_beyond_ascii_are_no_part_of_a_smiles(text):
    """RDKit would stop there and answer for the molecule before."""
    reject = parse(text)
    assert isinstance(reject, Reject)
    assert "no character of a SMILES" in reject.reason


def test_marks_of_text_files_around_a_smiles_are_taken_off():
    assert not isinstance(parse("\ufeffCCO\u200b"), Reject)
