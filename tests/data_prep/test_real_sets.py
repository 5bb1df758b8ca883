"""Published typed interactions, chromophores, side effects, captions, single molecules and CASTER's pairs
(``--real-data``), and joint sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from data_prep.build import load_classes, load_pairs
from data_prep.cards import CARDS
from data_prep.catalog import read_dataset
from data_prep.cli import main
from data_prep.molecules import MoleculeTable

pytestmark = pytest.mark.real_data

Built = tuple[dict, pl.DataFrame, MoleculeTable]


@pytest.fixture(scope="module")
def build(tmp_path_factory) -> Callable[..., Built]:
    """Run a command with a cache that all builds share; returns report, pairs and molecules."""
    cache = tmp_path_factory.mktemp("cache")

    def _build(*arguments: object, out: Path | None = None) -> Built:
        folder = out or tmp_path_factory.mktemp("out")
        options = ["--cache", cache, "--out", folder, "--quiet"]
        assert main([str(one) for one in (*arguments, *options)]) == 0
        return json.loads((folder / "report.json").read_text()), *load_pairs(folder)

    return _build


WITHOUT_ROWS = {"SAMPL.csv", "drug_list_miner.csv", "drug_list_deep.csv"}  # a copy, and lists of drugs


def test_every_file_of_a_molecular_set_is_on_a_card(real_data):
    named: dict[str, set[str]] = {}
    for card in CARDS.values():
        named.setdefault(card.folder, set()).update(file.name for file in card.files)
    there = {folder: set(names) for folder in named if (names := _names(real_data / folder))}
    assert len(there) == 10  # all but the two sets of which no file is at hand
    for folder, names in there.items():
        assert names - WITHOUT_ROWS == named[folder]


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def shared_molecules(report: dict, role: str = "any role") -> set[int]:
    return {shared["molecules"][role] for shared in report["leakage"].values()}


def stored(splits: Path, name: str, column: str = "split") -> tuple[object, ...]:
    return ("--split-file", splits / name, "--split-column", column)


@pytest.fixture(scope="module")
def drugbank(build, real_data, splits, tmp_path_factory) -> tuple[Built, Path]:
    folder = tmp_path_factory.mktemp("drugbank")
    options = stored(splits, "drugbank86_random.csv")
    return build("build", "drugbank86", "--root", real_data, *options, out=folder), folder


def test_drugbank_counts(drugbank):
    (report, pairs, table), folder = drugbank
    assert report["rows"]["read"] == 192_284
    assert report["rows"]["rejected"]["by_reason"]["drug without SMILES"]["count"] == 414
    rejects = pl.read_csv(folder / "rejects.csv")
    missing = {drug for value in rejects["value"] for drug in value.split(" and ")}
    assert missing == {"DB00526", "DB09016", "DB09162", "DB11304", "DB11630", "DB13145"}
    assert (len(pairs), len(table)) == (191_870, 1704)
    unordered = pairs.select(a=pl.min_horizontal("mol_a", "mol_b"), b=pl.max_horizontal("mol_a", "mol_b"))
    assert len(unordered.unique()) == 191_464
    molecules = report["molecules"]
    assert (molecules["several_fragments"], molecules["no_bond"]) == (81, 18)
    assert molecules["atoms"] == {"min": 1, "median": 24, "max": 457}
    counts = dict(pairs["label"].value_counts().iter_rows())
    assert len(counts) == 86
    assert (max(counts, key=lambda label: counts[label]), counts[41.0]) == (48.0, 6)


def test_drugbank_sentences(drugbank):
    (report, *_), folder = drugbank
    classes = load_classes(folder)
    assert report["classes"] == {"sentences": 86, "symmetric": 7}
    assert len({one.text for one in classes}) == 86
    assert classes[48].symmetric  # the most frequent one, on adverse effects of the combination
    assert not any("#Drug" in one.text for one in classes)


def test_drugbank_random(drugbank):
    (report, pairs, _), _ = drugbank
    assert report["split"]["sizes"] == {"train": 115_112, "valid": 38_385, "test": 38_373, "none": 0}
    assert all(shared["pairs"] == 0 for shared in report["leakage"].values())
    assert pairs.group_by("split").agg(pl.col("label").n_unique())["label"].to_list() == [86, 86, 86]


@pytest.mark.parametrize(
    ("column", "sizes", "with_one_known"),
    [
        # in 13 rows the drug of the train part has no pair in train
        ("split_cold1", {"train": 67_855, "valid": 43_836, "test": 48_719, "none": 31_460}, 48_719 - 13),
        ("split_cold2", {"train": 67_855, "valid": 7_106, "test": 8_607, "none": 108_302}, 0),
    ],
    ids=["cold_1", "cold_2"],
)
def test_drugbank_unseen_drugs(build, real_data, splits, column, sizes, with_one_known):
    options = stored(splits, "drugbank86_cold.csv", column)
    report, pairs, _ = build("build", "drugbank86", "--root", real_data, *options)
    assert report["split"]["sizes"] == sizes
    assert pairs.filter(pl.col("split") == "train")["label"].n_unique() == 79
    known = report["leakage"]["train-test"]["rows_with_known"]
    assert known["both"] == 0
    assert known["a"] + known["b"] == with_one_known


def test_drugbank_as_published(build, real_data):
    report, pairs, _ = build("build", "drugbank86", "--root", real_data, "--legacy-split")
    rows = {source["name"]: source["rows"] for source in report["sources"]}
    assert (rows["train.txt"], rows["valid.txt"], rows["test.txt"]) == (134_641, 19_224, 38_419)
    assert (report["rows"]["read"], len(pairs)) == (192_284, 191_870)
    assert report["split"]["sizes"]["none"] == 0


@pytest.mark.parametrize(
    ("property", "empty", "gas", "solid", "mean"),
    [
        ("absorption", 2941, 19, 366, 427.6),
        ("emission", 2094, 1, 897, 500.2),
        ("lifetime", 13_276, 0, 129, 7.23),
    ],
    ids=["absorption", "emission", "lifetime"],
)
def test_chromophore_rows(real_data, property, empty, gas, solid, mean):
    raw = read_dataset("chromophore", real_data, options={"property": property})
    assert (raw.rows_read, raw.unlabelled) == (20_236, empty)
    kinds = [reject.kind for reject in raw.rejects]
    assert (kinds.count("gas phase"), kinds.count("solid state"), len(kinds)) == (gas, solid, gas + solid)
    assert len(raw.frame) == 20_236 - empty - gas - solid
    kept = read_dataset("chromophore", real_data, options={"property": property, "keep_solid_state": True})
    assert len(kept.frame) == len(raw.frame) + solid
    assert kept.frame["label"].mean() == pytest.approx(mean, rel=1e-3)


@pytest.mark.slow
def test_chromophore_absorption(build, real_data, splits):
    options = ("--property", "absorption", *stored(splits, "chromophore_random.csv"))
    report, pairs, _ = build("build", "chromophore", "--root", real_data, *options)
    assert report["split"]["rows"] == {"train": 13_519, "valid": 1_695, "test": 1_696, "none": 0}
    assert report["split"]["sizes"] == {"train": 13_306, "valid": 1_663, "test": 1_664, "none": 0}
    assert report["split"]["unused_assignments"] == 0
    assert (pairs["mol_a"].n_unique(), pairs["mol_b"].n_unique()) == (6402, 359)
    train = pairs.filter(pl.col("split") == "train")["mol_a"].unique()
    test = pairs.filter(pl.col("split") == "test")
    known = test.filter(pl.col("mol_a").is_in(train.implode()))["n_merged"].sum()
    assert known / test["n_merged"].sum() == pytest.approx(0.725, abs=0.001)


def test_twosides(build, real_data):
    report, pairs, table = build("build", "twosides_slice", "--root", real_data)
    assert (report["sources"][0]["rows"], len(table), report["queries"]["queries"]) == (8256, 604, 200)
    assert report["rows"]["read"] == 49_774
    assert report["rows"]["read"] / 8256 == pytest.approx(6.03, abs=0.005)
    merged = report["merged"]
    assert len(pairs) == 49_774 - merged["duplicate_rows"] - merged["conflict_rows"]
    assert pairs["label"].mean() == pytest.approx(0.5, abs=0.001)
    assert all(shared["pairs"] == 0 for shared in report["leakage"].values())


@pytest.mark.slow
def test_chebi_captions(build, real_data):
    report, pairs, table = build("build", "chebi20", "--root", real_data)
    assert [source["rows"] for source in report["sources"]] == [3301, 3300]
    assert report["rows"]["rejected"]["by_reason"]["too many atoms"]["count"] == 2
    assert (len(pairs), len(table)) == (6599, 6599)
    assert report["split"]["sizes"] == {"train": 5279, "valid": 660, "test": 660, "none": 0}
    assert pairs["text"].str.starts_with("The molecule").sum() == 6598  # one lost its first sentence
    assert sum(pairs["text"].str.contains('"')) == 9
    assert shared_molecules(report) == {0}


@pytest.mark.slow
def test_combisolv_qm_without_what_the_measured_sets_test_on(build, real_data, splits, tmp_path):
    options = ("--split", "file", *stored(splits, "combisolv_exp_random.csv", "split_0"))
    build("build", "combisolv_exp", "--root", real_data, *options, out=tmp_path / "exp")
    computed = ("combisolv_qm", "--root", real_data, "--legacy-split", "--exclude-tests", tmp_path / "exp")
    report, pairs, _ = build("build", *computed)
    (entry,) = report["excluded_tests"]
    assert (entry["test_pairs"], entry["train"], entry["valid"]) == (878, 24, 5)
    assert report["split"]["sizes"] == {"train": 79_976, "valid": 9_995, "test": 10_000, "none": 29}
    assert pairs["mol_b"].n_unique() == 284


WHOLE = ("--fractions", "0", "0", "1")  # every pair is a test pair
NOTHING_HELD_OUT = ("--fractions", "1", "0", "0")


def test_freesolv_molecules_in_water_rows_of_combisolv(build, real_data, splits, tmp_path):
    build("build", "freesolv", "--root", real_data, *WHOLE, out=tmp_path / "all")
    options = stored(splits, "freesolv_random.csv", "split_0")
    build("build", "freesolv", "--root", real_data, *options, out=tmp_path / "random")
    folders = (tmp_path / "all", tmp_path / "random")
    report, pairs, table = build(
        "build", "combisolv_exp", "--root", real_data, *NOTHING_HELD_OUT, "--exclude-tests", *folders
    )
    whole, random = report["excluded_tests"]
    assert (whole["test_pairs"], whole["train"]) == (642, 537)
    assert random["test_pairs"] == 64
    assert 0 < random["train"] <= 64
    taken = pairs.filter(pl.col("split") == "none")
    assert set(table.smiles[taken["mol_b"].to_numpy()]) == {"O"}
    assert len(taken) == 537


def test_chchminer_pairs_in_drugbank(build, drugbank, real_data, splits, tmp_path):
    columns = ("--a", "smiles_a", "--b", "smiles_b", "--label", "label", "--family", "ddi")
    build("pairs", "--input", splits / "chchminer_clean.csv", *columns, *WHOLE, out=tmp_path / "all")
    typed = ("drugbank86", "--root", real_data, *NOTHING_HELD_OUT, "--exclude-tests", tmp_path / "all")
    report, pairs, _ = build("build", *typed)
    taken = pairs.filter(pl.col("split") == "none")
    unordered = taken.select(a=pl.min_horizontal("mol_a", "mol_b"), b=pl.max_horizontal("mol_a", "mol_b"))
    assert len(unordered.unique()) == 15_708 + 2_298  # listed, and drawn as negatives though listed here
    assert report["excluded_tests"][0]["train"] == len(taken)


@pytest.mark.parametrize("method", ["cold-1", "cold-2"])
def test_unseen_drugs_drawn_anew(build, real_data, method):
    report, pairs, _ = build("build", "chchminer", "--root", real_data, "--split", method)
    assert all(report["split"]["sizes"].values())
    train = set(pairs.filter(pl.col("split") == "train").select("mol_a", "mol_b").unpivot()["value"])
    test = pairs.filter(pl.col("split") == "test")
    known = test.select(
        (pl.col(side).is_in(list(train))).cast(int) for side in ("mol_a", "mol_b")
    ).sum_horizontal()
    assert set(known) <= ({0} if method == "cold-2" else {0, 1})
    if method == "cold-2":
        assert shared_molecules(report) == {0}
    else:
        assert (known == 1).mean() > 0.99  # a partner of the train part may have lost all its train pairs


@pytest.mark.parametrize(("method", "role"), [("scaffold", "solute"), ("solvent", "solvent")])
def test_groups_drawn_anew(build, real_data, method, role):
    report, *_ = build("build", "combisolv_exp", "--root", real_data, "--split", method)
    assert shared_molecules(report, role) == {0}
    sizes = report["split"]["sizes"]
    assert sizes["none"] == 0
    assert abs(sizes["test"] - 878) <= 30
    if method == "scaffold":
        assert {shared["scaffolds"][role] for shared in report["leakage"].values()} == {0}


def test_caster_counts(real_data):
    raw = read_dataset("biosnap_caster", real_data)
    assert (len(raw.frame), raw.rejects) == (16_608, [])
    assert raw.frame["label"].value_counts().sort("label").rows() == [(0.0, 8331), (1.0, 8277)]
    assert raw.frame.select("smiles_a", "smiles_b").unpivot()["value"].n_unique() == 8189
    assert (raw.frame["smiles_a"] == raw.frame["smiles_b"]).sum() == 1
    assert "only the test part" in raw.notes[0]
    assert raw.notes[1].startswith("In 83 of 8,331 pairs with label 0 in sup_test.csv both drugs also occur")


@pytest.mark.slow
def test_caster_draws_a_split_or_keeps_the_published_part(build, real_data):
    """One pair names a drug of 551 atoms, beyond the limit; all others are pairs."""
    report, pairs, table = build("build", "biosnap_caster", "--root", real_data)
    assert report["rows"]["read"] == 16_608
    assert report["rows"]["rejected"]["count"] == 1
    assert report["rows"]["rejected"]["by_reason"]["too many atoms"]["count"] == 1
    assert (len(pairs), len(table), report["merged"]["self_pairs"]) == (16_607, 8188, 1)
    assert report["split"]["sizes"] == {"train": 13_285, "valid": 1661, "test": 1661, "none": 0}
    assert report["merged"]["sampled_negatives"] == report["merged"]["conflict_pairs"] == 0
    assert all(shared["pairs"] == 0 for shared in report["leakage"].values())
    report, *_ = build("build", "biosnap_caster", "--root", real_data, "--legacy-split")
    assert report["split"]["sizes"] == {"train": 0, "valid": 0, "test": 16_607, "none": 0}


@pytest.mark.parametrize("split", ["random", "scaffold"])
@pytest.mark.parametrize(
    ("name", "rows", "rejected", "merged", "conflicts", "molecules"),
    [
        ("esol", 1128, 0, 11, 0, 1117),
        pytest.param("lipophilicity", 4200, 0, 0, 0, 4200, marks=pytest.mark.slow),
        ("bbbp", 2050, 11, 54, 10, 1965),
    ],
    ids=["esol", "lipophilicity", "bbbp"],
)
def test_single_molecules(build, real_data, name, split, rows, rejected, merged, conflicts, molecules):
    report, pairs, table = build("build", name, "--root", real_data, "--split", split)
    counts = {kind: entry["count"] for kind, entry in report["rows"]["rejected"]["by_reason"].items()}
    assert (report["rows"]["read"], counts) == (rows, {"unparseable SMILES": rejected} if rejected else {})
    assert (report["merged"]["duplicate_rows"], report["merged"]["conflict_pairs"]) == (merged, conflicts)
    assert rows == rejected + merged + report["merged"]["conflict_rows"] + molecules
    assert len(pairs) == len(table) == molecules
    assert pairs["mol_b"].unique().to_list() == [-1]
    assert shared_molecules(report) == {0}
    sizes = report["split"]["sizes"]
    assert sizes["valid"] == sizes["test"] == round(molecules / 10)
    if split == "scaffold":
        assert {shared["scaffolds"]["any role"] for shared in report["leakage"].values()} == {0}


def test_labels_of_single_molecules(real_data):
    solubility, lipophilicity, barrier = (
        read_dataset(name, real_data).frame["label"] for name in ("esol", "lipophilicity", "bbbp")
    )
    assert (solubility.min(), solubility.max()) == (-11.6, 1.58)
    assert (lipophilicity.min(), lipophilicity.max()) == (-1.5, 4.5)
    assert (len(barrier), barrier.sum()) == (2050, 1567)
    assert barrier.mean() == pytest.approx(0.764, abs=5e-4)
