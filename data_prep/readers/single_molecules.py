"""One labelled molecule in a row: MoleculeNet (Wu et al., Chem. Sci. 2018, 9:513), or tables of users."""

from __future__ import annotations

from pathlib import Path

from data_prep.files import sha256_of
from data_prep.records import (
    FAMILIES,
    UNITS,
    FamilyShape,
    RawPairs,
    SourceFile,
    label_rejects,
    parse_labels,
    raw_frame,
    without,
)
from data_prep.tables import column_of, read_table

PROPERTY = FAMILIES["molecule-property"]
CLASS = FAMILIES["molecule-class"]


def read_esol(path: Path, *, dataset: str, verified: bool | None = None) -> RawPairs:
    """Measured solubility in water (Delaney, J. Chem. Inf. Comput. Sci. 2004), log10 of mol/L.

    The column of Delaney's own prediction is not read.
    """
    return read_labelled(
        path,
        PROPERTY,
        smiles="smiles",
        label="measured log solubility in mols per litre",
        property="log solubility",
        dataset=dataset,
        verified=verified,
    )


def read_lipophilicity(path: Path, *, dataset: str, verified: bool | None = None) -> RawPairs:
    """Octanol-water distribution coefficients at pH 7.4 out of ChEMBL, log D."""
    return read_labelled(
        path,
        PROPERTY,
        smiles="smiles",
        label="exp",
        property="lipophilicity",
        dataset=dataset,
        verified=verified,
    )


def read_bbbp(path: Path, *, dataset: str, verified: bool | None = None) -> RawPairs:
    """Whether a molecule passes the blood-brain barrier (Martins et al., J. Chem. Inf. Model. 2012)."""
    return read_labelled(path, CLASS, smiles="smiles", label="p_np", dataset=dataset, verified=verified)


def read_labelled(
    path: Path,
    family: FamilyShape,
    *,
    smiles: str,
    label: str,
    dataset: str,
    property: str | None = None,
    split: str | None = None,
    verified: bool | None = None,
) -> RawPairs:
    """A csv, tsv or parquet file with a column of SMILES and one of labels; rows with a bad label become
    rejects.

    ``property`` is what the labels are of, where the family knows several.
    """
    table = read_table(path)
    frame, name = table.frame, family.property_name(property)
    cells = column_of(frame, label, path).to_list()
    labels = parse_labels(cells, family)
    rejects = label_rejects(cells, labels.problem, range(len(frame)), path.name)
    raw = raw_frame(
        smiles_a=column_of(frame, smiles, path).to_list(),
        smiles_b=None,
        label=labels.values,
        property=name,
        unit=UNITS.get(name),
        source=path.name,
        split=column_of(frame, split, path).to_list() if split else None,
    )
    source = SourceFile(path.name, sha256_of(path), len(frame), table.encoding, verified)
    return RawPairs(family, dataset, without(raw, rejects), rejects, [source])
