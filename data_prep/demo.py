"""A small solvation-like data set computed from a formula: its labels are not measurements.

The molecules are real; the label is a smooth function of RDKit descriptors with the terms of a linear
solvation energy relationship (cavity and dispersion, polarity, hydrogen bonds), so that a model has something
regular to learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.Chem import Crippen, rdMolDescriptors

from data_prep.build import BuildOptions, build_pairs
from data_prep.errors import DataError
from data_prep.files import digest_of_lines
from data_prep.records import FAMILIES, RawPairs, SourceFile, raw_frame
from data_prep.splits import SplitPlan

DATASET = "demo-computed"
NOTE = "The labels of this data set are computed from a formula over descriptors. They are not measurements."

_SOLVENT_LIST = (
    "O CO CCO CC(C)=O CC#N CS(C)=O ClCCl c1ccccc1 Cc1ccccc1 CCCCCC C1CCCCC1 CCOC(C)=O C1CCOC1 CCCCCCCCO "
    "CN(C)C=O "
)
_SOLUTE_LIST = (
    "C CC CCC CCCC CCCCC CCCCCC CCCCCCC CC(C)C CC(C)(C)C C1CCCC1 C1CCCCC1 CC1CCCCC1 C=C CC=C CCC=C "
    "C=CC=C C1=CCCCC1 C#C CC#C c1ccccc1 Cc1ccccc1 CCc1ccccc1 Cc1ccccc1C Cc1ccc(C)cc1 CC(C)c1ccccc1 "
    "c1ccc2ccccc2c1 c1ccc(-c2ccccc2)cc1 C=Cc1ccccc1 CO CCO CCCO CC(C)O CCCCO CC(C)CO CCCCCO CCCCCCO "
    "OC1CCCCC1 OCCO OCC(O)CO OCc1ccccc1 Oc1ccccc1 Cc1ccc(O)cc1 Oc1ccccc1O COC CCOCC C1CCOC1 C1COCCO1 "
    "COc1ccccc1 COCCOC CC=O CCC=O CCCC=O O=Cc1ccccc1 CC(C)=O CCC(C)=O CCC(=O)CC O=C1CCCCC1 "
    "CC(=O)c1ccccc1 CC(=O)O CCC(=O)O O=C(O)c1ccccc1 COC=O COC(C)=O CCOC(C)=O CCCC(=O)OC COC(=O)c1ccccc1 "
    "CC(N)=O CN(C)C=O NC(=O)c1ccccc1 CNC(C)=O CN CCN CCCN CCCCN CNC CCNCC CCN(CC)CC NC1CCCCC1 Nc1ccccc1 "
    "CNc1ccccc1 C1CCNCC1 C1COCCN1 c1ccncc1 Cc1ccccn1 c1cc[nH]c1 c1c[nH]cn1 CC#N CCC#N N#Cc1ccccc1 "
    "C[N+](=O)[O-] O=[N+]([O-])c1ccccc1 CCl CCCl ClCCl ClC(Cl)Cl CCCCl Clc1ccccc1 Clc1ccc(Cl)cc1 CBr "
    "CCBr Brc1ccccc1 CCI Fc1ccccc1 FC(F)(F)c1ccccc1 CS CCS CSC CCSCC c1ccsc1 CS(C)=O Sc1ccccc1 OCCN "
    "NCCN CC(O)C(=O)O COCCO Nc1ccc(O)cc1 Oc1ccc(Cl)cc1 Nc1ccc([N+](=O)[O-])cc1 CC(=O)Nc1ccccc1 NC(N)=O "
)
SOLVENTS = tuple(_SOLVENT_LIST.split())
SOLUTES = tuple(_SOLUTE_LIST.split())


class _Descriptors(NamedTuple):
    refractivity: float  # Crippen molar refractivity
    surface: float  # topological polar surface area, square angstrom
    donors: int  # N-H and O-H bonds
    acceptors: int  # N and O atoms


def _descriptors(smiles: str) -> _Descriptors:
    mol = Chem.MolFromSmiles(smiles)
    return _Descriptors(
        Crippen.MolMR(mol),
        rdMolDescriptors.CalcTPSA(mol),
        rdMolDescriptors.CalcNumLipinskiHBD(mol),
        rdMolDescriptors.CalcNumLipinskiHBA(mol),
    )


def computed_label(solute: str, solvent: str) -> float:
    """The formula's "free energy" of a solute in a solvent, kcal/mol, two decimals.

    ``2 - 0.26 MR (1 - 1.2 p) - 0.07 PSA (0.3 + p) - 3 D h_a - 1.5 A h_d``, where MR, PSA, D and A are the
    solute's molar refractivity, polar surface, and counts of donors and acceptors; the solvent enters by its
    polarity ``p = PSA / (PSA + 20)`` and its hydrogen-bond strengths ``h_a = A / (A + 1)`` and
    ``h_d = D / (D + 1)``.
    """
    a, b = _descriptors(solute), _descriptors(solvent)
    polarity = b.surface / (b.surface + 20)
    cavity_and_dispersion = 2 - 0.26 * a.refractivity * (1 - 1.2 * polarity)
    polar = 0.07 * a.surface * (0.3 + polarity)
    donated = 3 * a.donors * b.acceptors / (b.acceptors + 1)
    accepted = 1.5 * a.acceptors * b.donors / (b.donors + 1)
    return round(cavity_and_dispersion - polar - donated - accepted, 2) + 0.0


def demo_rows(pairs: int, seed: int) -> list[tuple[str, str]]:
    """``pairs`` different (solute, solvent) combinations, drawn without replacement."""
    combinations = [(solute, solvent) for solute in SOLUTES for solvent in SOLVENTS]
    if not 0 < pairs <= len(combinations):
        raise DataError(
            f"The demo has {len(combinations)} combinations; ask for 1 to that many pairs, not {pairs}."
        )
    chosen = np.random.default_rng(seed).choice(len(combinations), pairs, replace=False)
    return [combinations[one] for one in chosen]


def build_demo(out: Path, *, seed: int = 0, pairs: int = 900, options: BuildOptions | None = None) -> dict:
    """Write the demo set in the layout of every build; the tables and the report name it as computed."""
    rows = demo_rows(pairs, seed)
    raw = _raw(rows)
    options = options or BuildOptions(progress=False)
    return build_pairs(raw, Path(out), replace(options, split=SplitPlan("random", seed)))


def _raw(rows: Sequence[tuple[str, str]]) -> RawPairs:
    family = FAMILIES["solvation"]
    solutes, solvents = (list(side) for side in zip(*rows, strict=True))
    labels = [computed_label(solute, solvent) for solute, solvent in rows]
    frame = raw_frame(
        smiles_a=solutes,
        smiles_b=solvents,
        label=labels,
        property=str(family.default_property),
        unit=family.unit,
        source="computed by data_prep.demo",
    )
    digest = digest_of_lines(solutes, solvents, [f"{label:.2f}" for label in labels])
    source = SourceFile("computed by data_prep.demo", digest, len(rows))
    return RawPairs(family, DATASET, frame, [], [source], computed=True, notes=[NOTE])
