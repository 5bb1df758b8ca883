"""Baselines on the fixed splits of published data sets: the figures that were measured there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from data_prep.graphs import GraphArrays
from data_prep.molecules import featurise
from moltc.baselines import (
    Baseline,
    PairArrays,
    baseline_names,
    naive_baselines,
)


def number_of(names: list[str]) -> tuple[np.ndarray, list[str]]:
    """Row number of each name among the distinct names, and those."""
    distinct = list(dict.fromkeys(names))
    position = {name: row for row, name in enumerate(distinct)}
    return np.array([position[name] for name in names]), distinct


def graphs_of(smiles: list[str]) -> GraphArrays:
    """The molecules of distinct SMILES, in their order."""
    found = featurise(smiles, workers=1, progress=False, graphs_only=True)
    return found.table.graphs.batch(found.row_of)


def pairs_of(
    first: list[str], second: list[str], label: Any, split: pl.Series
) -> tuple[PairArrays, list[str]]:
    numbers, smiles = number_of([*first, *second])
    n = len(first)
    columns = np.asarray(label, dtype=float), split.to_numpy().astype(str)
    return PairArrays(numbers[:n], numbers[n:], *columns), smiles


def freesolv(real_data: Path, splits: Path, seed: int) -> tuple[PairArrays, list[str]]:
    lines = (real_data / "freesolv" / "database.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split(";") for line in lines if not line.startswith("#")]
    split = pl.read_csv(splits / "freesolv_random.csv")[f"split_{seed}"]
    solutes = [row[1].strip() for row in rows]
    return pairs_of(solutes, ["O"] * len(rows), [float(row[3]) for row in rows], split)


def combisolv(real_data: Path, splits: Path, name: str, column: str) -> tuple[PairArrays, list[str]]:
    from rdkit.Chem import CanonSmiles

    table = pl.read_csv(real_data / "combisolv_exp" / "exp_data.csv", infer_schema_length=None)
    solute, solvent = table["smiles_solute"].to_list(), table["smiles_solvent"].to_list()
    canonical = {text: CanonSmiles(text) for text in {*solute, *solvent}}
    return pairs_of(
        [canonical[text] for text in solute],
        [canonical[text] for text in solvent],
        table["dGsolv_avg"].to_numpy(),
        pl.read_csv(splits / f"combisolv_exp_{name}.csv")[column],
    )


def chchminer(splits: Path, column: str) -> tuple[PairArrays, list[str]]:
    table = pl.read_csv(splits / "chchminer_clean.csv")
    first, second = table["smiles_a"].to_list(), table["smiles_b"].to_list()
    return pairs_of(first, second, table["label"].to_numpy(), table[column])


def drugbank86(real_data: Path, splits: Path, name: str, column: str) -> tuple[PairArrays, list[str]]:
    folder = real_data / "drugbank_ddi86"
    smiles = dict(pl.read_csv(folder / "drug_smiles.csv")["drug_id", "smiles"].iter_rows())
    parts = pl.read_csv(splits / f"drugbank86_{name}.csv")
    rows = pl.read_csv(folder / "Drugbank.txt", separator="\t")[parts["row"].to_numpy()]
    first, second = ([smiles[drug] for drug in rows[side]] for side in ("drug1", "drug2"))
    return pairs_of(first, second, parts["label"].to_numpy(), parts[column])


def assert_figures(
    baseline: Baseline, names: tuple[str, ...], expected: tuple[float, ...], unit: float
) -> None:
    """Test metrics agree with figures printed to a last digit of size ``unit``."""
    found = [baseline.metrics["test"][name].value for name in names]
    np.testing.assert_allclose(found, expected, atol=0.51 * unit, rtol=0)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("seed", "expected"),
    [(0, (2.960, 4.711, -0.013)), (1, (2.453, 3.049, -0.027)), (2, (2.524, 3.124, -0.005))],
    ids=["seed zero", "seed one", "seed two"],
)
def test_mean_of_train_on_freesolv(
    real_data: Path, splits: Path, seed: int, expected: tuple[float, ...]
) -> None:
    pairs, _ = freesolv(real_data, splits, seed)
    result = naive_baselines("number", pairs, include=["constant"], resamples=0)["constant"]
    assert_figures(result, ("mae", "rmse", "r2"), expected, 0.001)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "column", "constant", "solvent", "additive"),
    [
        ("random", "split_0", (3.336, 4.451, 0.0), (2.896, 3.988, 0.197), (0.925, 1.774, 0.841)),
        ("random", "split_1", (3.374, 4.590, -0.001), (2.973, 4.181, 0.170), (0.931, 1.912, 0.826)),
        ("random", "split_2", (3.394, 4.655, 0.0), (2.972, 4.297, 0.148), (0.926, 1.978, 0.819)),
        ("solvent_holdout", "split", (3.329, 4.411, 0.0), (3.329, 4.411, 0.0), (1.688, 2.031, 0.788)),
        ("solute_holdout", "split", (2.836, 3.808, -0.036), (2.587, 3.679, 0.033), (3.510, 4.124, -0.215)),
        ("solute_scaffold", "split", (6.806, 8.289, -1.176), (5.804, 7.497, -0.780), (5.858, 7.471, -0.767)),
    ],
    ids=["random zero", "random one", "random two", "solvent", "solute", "scaffold"],
)
def test_effects_on_combisolv(
    real_data: Path,
    splits: Path,
    name: str,
    column: str,
    constant: tuple[float, ...],
    solvent: tuple[float, ...],
    additive: tuple[float, ...],
) -> None:
    pairs, _ = combisolv(real_data, splits, name, column)
    results = naive_baselines("number", pairs, resamples=0)
    for key, expected in (("constant", constant), ("solvent_mean", solvent), ("additive", additive)):
        assert_figures(results[key], ("mae", "rmse", "r2"), expected, 0.001)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("column", "degree", "ratio"),
    [
        ("split_random", (0.8682, 0.8560, 0.7914), (0.8643, 0.8505, 0.7821)),
        ("split_cold1", (0.5, 0.4789, 0.5211), (0.7964, 0.7529, 0.7190)),
        ("split_cold2", (0.5, 0.4257, 0.5743), (0.5, 0.4257, 0.5743)),
    ],
    ids=["random", "one unseen", "both unseen"],
)
def test_degrees_on_chchminer(
    splits: Path, column: str, degree: tuple[float, ...], ratio: tuple[float, ...]
) -> None:
    pairs, _ = chchminer(splits, column)
    results = naive_baselines("binary", pairs, resamples=0)
    for key, expected in (("degree", degree), ("degree_ratio", ratio)):
        assert_figures(results[key], ("auc_roc", "average_precision", "accuracy"), expected, 0.0001)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "column", "constant", "drug_types"),
    [
        ("random", "split", (0.3167, 0.0056, 0.0), (0.8780, 0.6438, 0.8551)),
        ("cold", "split_cold1", (0.3374, 0.0061, 0.0), (0.6120, 0.3251, 0.5128)),
        ("cold", "split_cold2", (0.3598, 0.0095, 0.0), (0.3598, 0.0095, 0.0)),
    ],
    ids=["random", "one unseen", "both unseen"],
)
def test_types_on_drugbank(
    real_data: Path,
    splits: Path,
    name: str,
    column: str,
    constant: tuple[float, ...],
    drug_types: tuple[float, ...],
) -> None:
    pairs, _ = drugbank86(real_data, splits, name, column)
    results = naive_baselines("class", pairs, resamples=0)
    for key, expected in (("constant", constant), ("drug_types", drug_types)):
        assert_figures(results[key], ("accuracy", "macro_f1", "kappa"), expected, 0.0002)


@pytest.mark.slow
@pytest.mark.real_data
def test_fingerprint_models_on_freesolv(real_data: Path, splits: Path) -> None:
    pairs, smiles = freesolv(real_data, splits, 0)
    names = [name for name in baseline_names("number", slow=True) if name.startswith("morgan")]
    results = naive_baselines("number", pairs, graphs_of(smiles), include=names, resamples=0)
    assert_figures(results["morgan_hgb"], ("mae", "rmse", "r2"), (1.630, 3.096, 0.563), 0.01)
    assert_figures(results["morgan_mlp"], ("mae", "rmse"), (1.494, 2.937), 0.4)


@pytest.mark.slow
@pytest.mark.real_data
def test_perceptron_on_combisolv(real_data: Path, splits: Path) -> None:
    pairs, smiles = combisolv(real_data, splits, "random", "split_0")
    results = naive_baselines("number", pairs, graphs_of(smiles), include=["morgan_mlp"], resamples=0)
    assert_figures(results["morgan_mlp"], ("mae", "rmse"), (0.520, 1.127), 0.1)


@pytest.mark.slow
@pytest.mark.real_data
def test_perceptron_on_chchminer(splits: Path) -> None:
    pairs, smiles = chchminer(splits, "split_random")
    results = naive_baselines("binary", pairs, graphs_of(smiles), include=["morgan_mlp"], resamples=0)
    assert_figures(results["morgan_mlp"], ("auc_roc", "average_precision"), (0.9596, 0.9549), 0.015)


@pytest.mark.slow
@pytest.mark.real_data
def test_perceptron_on_drugbank(real_data: Path, splits: Path) -> None:
    pairs, smiles = drugbank86(real_data, splits, "cold", "split_cold1")
    results = naive_baselines("class", pairs, graphs_of(smiles), include=["morgan_mlp"], resamples=0)
    assert_figures(results["morgan_mlp"], ("accuracy", "macro_f1"), (0.7173, 0.6038), 0.04)
