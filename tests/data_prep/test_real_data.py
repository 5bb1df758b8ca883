"""Facts of the published files, where they are at hand (``--real-data``)."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rdkit import Chem, RDLogger

from data_prep.build import load_pairs
from data_prep.catalog import read_dataset
from data_prep.cli import main
from data_prep.features import GraphCollector
from data_prep.molecules import MoleculeTable

pytestmark = pytest.mark.real_data


def build(out: Path, *arguments: object) -> tuple[dict, pl.DataFrame, MoleculeTable]:
    assert main([*map(str, arguments), "--out", str(out), "--quiet"]) == 0
    return json.loads((out / "report.json").read_text()), *load_pairs(out)


def test_freesolv(real_data, splits, tmp_path):
    stored = ("--split", "file", "--split-file", splits / "freesolv_random.csv", "--split-column", "split_0")
    report, pairs, table = build(tmp_path, "build", "freesolv", "--root", real_data, *stored)
    assert (report["rows"]["read"], report["pairs"], len(table)) == (642, 642, 643)
    assert report["split"]["sizes"] == {"train": 514, "valid": 64, "test": 64, "none": 0}
    assert report["sources"][0]["verified"] is True
    assert (pairs["label"].min(), pairs["label"].max()) == (-25.47, 3.43)
    assert pairs.filter(pl.col("split") == "test")["label"].std(ddof=0) == pytest.approx(4.68, abs=0.02)


@pytest.fixture(scope="module")
def combisolv(real_data, tmp_path_factory):
    return build(tmp_path_factory.mktemp("combisolv"), "build", "combisolv_exp", "--root", real_data)


def test_combisolv_counts(combisolv):
    report, pairs, table = combisolv
    assert report["pairs"] == 8780
    assert pairs["mol_b"].n_unique() == 275
    assert pairs["mol_a"].n_unique() == 1308
    water = int(np.flatnonzero(table.smiles == "O")[0])
    assert (pairs["mol_b"] == water).sum() == 1153
    assert (pairs["label"].min(), pairs["label"].max()) == (
        pytest.approx(-33.74, abs=0.01),
        pytest.approx(5.92, abs=0.01),
    )


@pytest.mark.parametrize(
    ("name", "column", "free"),
    [
        ("random", "split_0", None),
        ("solute_scaffold", "split", "solute"),
        ("solvent_holdout", "split", "solvent"),
    ],
    ids=["random", "solute_scaffold", "solvent_holdout"],
)
def test_combisolv_stored_splits(real_data, splits, tmp_path, name, column, free):
    stored = (
        "--split",
        "file",
        "--split-file",
        splits / f"combisolv_exp_{name}.csv",
        "--split-column",
        column,
    )
    report, *_ = build(tmp_path, "build", "combisolv_exp", "--root", real_data, *stored)
    assert report["split"]["sizes"] == {"train": 7024, "valid": 878, "test": 878, "none": 0}
    assert all(shared["pairs"] == 0 for shared in report["leakage"].values())
    if free:
        assert all(shared["molecules"][free] == 0 for shared in report["leakage"].values())
    if name == "solute_scaffold":
        assert all(shared["scaffolds"]["solute"] == 0 for shared in report["leakage"].values())


def test_both_layouts_of_combisolv_hold_the_same_pairs(real_data, combisolv, tmp_path):
    _, pairs, table = combisolv
    _, other, other_table = build(tmp_path, "build", "combisolv_exp_joined", "--root", real_data)
    assert list(table.smiles) == list(other_table.smiles)
    assert set(pairs.select("mol_a", "mol_b").rows()) == set(other.select("mol_a", "mol_b").rows())


@pytest.mark.parametrize(
    ("name", "rows", "solutes", "solvents"),
    [("abraham", 6091, 955, 100), ("freesolv_560", 560, 560, 1), ("combisolv_qm_1k", 800, 774, 257)],
    ids=["abraham", "freesolv_560", "combisolv_qm_1k"],
)
def test_the_other_solvation_sets(real_data, tmp_path, name, rows, solutes, solvents):
    report, pairs, _ = build(tmp_path, "build", name, "--root", real_data)
    assert (report["rows"]["read"], report["rows"]["rejected"]["count"], len(pairs)) == (rows, 0, rows)
    assert (pairs["mol_a"].n_unique(), pairs["mol_b"].n_unique()) == (solutes, solvents)


def test_combisolv_qm_has_284_solvents(real_data):
    raw = read_dataset("combisolv_qm", real_data)
    assert (len(raw.frame), raw.rejects) == (100_000, [])
    frame = raw.frame
    solvents = {Chem.CanonSmiles(smiles) for smiles in frame["smiles_b"].unique()}
    assert len(solvents) == 284
    assert frame["label"].min() == pytest.approx(-52.9, abs=0.1)


def test_chchminer_is_cleaned_by_the_protocol(real_data, tmp_path):
    report, pairs, table = build(tmp_path, "build", "chchminer", "--root", real_data)
    assert len(table) == 959
    assert report["merged"]["conflict_pairs"] == 541
    assert pairs["label"].value_counts().sort("label").rows() == [(0.0, 20_541), (1.0, 20_541)]
    assert report["split"]["sizes"] == {"train": 24_650, "valid": 8_216, "test": 8_216, "none": 0}
    assert all(shared["pairs"] == 0 for shared in report["leakage"].values())


def test_chchminer_as_published_leaks(real_data, tmp_path):
    report, *_ = build(tmp_path, "build", "chchminer", "--root", real_data, "--legacy-split")
    shared = {parts: entry["pairs"] for parts, entry in report["leakage"].items()}
    assert shared == {"train-valid": 95, "train-test": 106, "valid-test": 339}
    assert report["split"]["sizes"] == {"train": 23_435, "valid": 5_121, "test": 5_113, "none": 0}


@pytest.mark.parametrize(
    ("column", "sizes"),
    [
        ("split_random", {"train": 24_650, "valid": 8_216, "test": 8_216, "none": 0}),
        ("split_cold2", {"train": 15_373, "valid": 1_564, "test": 1_440, "none": 22_705}),
    ],
    ids=["random", "cold_2"],
)
def test_a_listed_pair_file_goes_through_pairs(splits, tmp_path, column, sizes):
    names = ("--a", "smiles_a", "--b", "smiles_b", "--label", "label", "--family", "ddi", "--split", column)
    report, *_ = build(tmp_path, "pairs", "--input", splits / "chchminer_clean.csv", *names)
    assert report["split"]["sizes"] == sizes
    assert report["rows"]["rejected"]["count"] == 0
    if column == "split_cold2":
        assert all(shared["molecules"]["any role"] == 0 for shared in report["leakage"].values())


@pytest.mark.slow
def test_features_cost_little_beside_the_parse(real_data):
    frame = pl.read_csv(real_data / "chchminer" / "drug_list_miner.csv")
    RDLogger.DisableLog("rdApp.*")
    start = time.perf_counter()
    molecules = [Chem.MolFromSmiles(smiles) for smiles in frame["smiles"]]
    parsed = time.perf_counter()
    collector = GraphCollector()
    for molecule in molecules:
        collector.add(molecule)
    collector.pack()
    assert time.perf_counter() - parsed < 4 * (parsed - start)
