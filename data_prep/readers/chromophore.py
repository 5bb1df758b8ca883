"""Optical properties of chromophores in solvents (Joung et al., Sci. Data 2020, 7:295).

One table holds several properties; a data set is made of one of them. Films and crystals are listed with the
chromophore as its own solvent, spectra in the gas phase with the word ``gas``.
"""

from __future__ import annotations

from pathlib import Path

from data_prep.errors import DataError, Reject
from data_prep.files import sha256_of
from data_prep.records import (
    FAMILIES,
    UNITS,
    RawPairs,
    SourceFile,
    parse_labels,
    raw_frame,
    without,
)
from data_prep.tables import column_of, read_table

CHROMOPHORE = FAMILIES["chromophore"]
COLUMNS = {
    "absorption": "Absorption max (nm)",
    "emission": "Emission max (nm)",
    "lifetime": "Lifetime (ns)",
}
GAS = "gas"
_NO_VALUE = "empty label"  # parse_numbers' reason for NaN and empty cells
_MENDS = {
    "label is not a number": "label is not a number: mend the cell or remove the row",
    "value not positive": "wavelengths and lifetimes are above 0: mend the cell or remove the row",
    "gas phase": "'gas' is no solvent molecule: remove the row, or give the solvent's SMILES",
    "solid state": "the chromophore is its own solvent (film or crystal): --keep-solid-state keeps such rows",
}


def read_joung(
    path: Path,
    *,
    dataset: str,
    verified: bool | None = None,
    property: str | None = None,
    keep_solid_state: bool = False,
) -> RawPairs:
    """One property of the table: absorption or emission maximum in nm, or lifetime in ns.

    Rows without a value are no rows of the set; they are counted. Rejected are rows in the gas phase, values
    that are not positive and, unless ``keep_solid_state``, rows whose solvent is written as the chromophore.
    """
    if property not in COLUMNS:
        raise DataError(f"{dataset} holds several properties; give --property {' or '.join(COLUMNS)}.")
    table = read_table(path)
    chromophores, solvents = (
        column_of(table.frame, name, path).fill_null("").str.strip_chars().to_list()
        for name in ("Chromophore", "Solvent")
    )
    cells = column_of(table.frame, COLUMNS[property], path).to_list()
    labels = parse_labels(cells, CHROMOPHORE)
    empty = [row for row, problem in enumerate(labels.problem) if problem == _NO_VALUE]
    rejects = []
    for row, (chromophore, solvent) in enumerate(zip(chromophores, solvents, strict=True)):
        solid = chromophore == solvent and not keep_solid_state
        kind = labels.problem[row] or _trouble(float(labels.values[row]), solvent, solid)
        if kind and kind != _NO_VALUE:
            shown = solvent if kind in ("gas phase", "solid state") else str(cells[row])
            rejects.append(Reject(row, shown, kind, _MENDS[kind], path.name))
    frame = raw_frame(
        smiles_a=chromophores,
        smiles_b=solvents,
        label=labels.values,
        property=property,
        unit=UNITS[property],
        source=path.name,
    )
    note = f"{len(empty):,} of {len(frame):,} rows of {path.name} have no value of {property}."
    source = SourceFile(path.name, sha256_of(path), len(frame), table.encoding, verified)
    kept = without(frame, rejects, also=empty)
    notes = [note] if empty else []
    return RawPairs(CHROMOPHORE, dataset, kept, rejects, [source], notes=notes, unlabelled=len(empty))


def _trouble(value: float, solvent: str, solid: bool) -> str:
    """Why a row with a number is left out, or an empty text."""
    if value <= 0:
        return "value not positive"
    if solvent == GAS:
        return "gas phase"
    return "solid state" if solid else ""
