"""Side effects of drug pairs in the layout of SumGNN (Yu et al., Bioinformatics 2021): TWOSIDES as vectors.

A line names two drugs by number, sets some of the effects, and says by its last cell whether the pair is
listed with these effects (1) or was drawn as the counterexample of a listed pair (0).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from data_prep.errors import DataError, Reject
from data_prep.files import existing, sha256_of
from data_prep.records import FAMILIES, RawPairs, SourceFile, raw_frame
from data_prep.tables import read_text

SIDE_EFFECT = FAMILIES["side-effect"]
_NOTES = (
    "Each line became a row for each effect it sets: label 1 where the line lists the pair, label 0 where it "
    "is a drawn counterexample, which carries the effects of a listed pair. A 0 means not listed.",
    "Effects are asked about by their UMLS codes: the source gives no names.",
)


def read_twosides(
    path: Path, *, dataset: str, companions: Mapping[str, Path], verified: bool | None = None
) -> RawPairs:
    """Lines of two node numbers, a 0 or 1 for each effect, and 1 or 0, between tabs; a row for each effect.

    ``companions`` hold id2drug.json (SMILES of the nodes) and id2relation.json (codes of the effects). Lines
    of another shape, or with a node that id2drug.json does not know, are rejected whole.
    """
    smiles = {node: drug["smiles"] for node, drug in _lookup(companions["id2drug.json"]).items()}
    codes = _lookup(companions["id2relation.json"])
    effects = np.array([codes[str(number)] for number in range(len(codes))], dtype=object)
    text, encoding = read_text(existing(path, mend="It is a part of TWOSIDES as published with SumGNN."))
    lines = [line.split("\t") for line in text.splitlines() if line.strip()]
    vector = re.compile(rf"[01](?:,[01]){{{len(effects) - 1}}}")
    rejects = []
    for row, cells in enumerate(lines):
        if trouble := _trouble(cells, smiles, vector):
            shown = " ".join(cells[:2])
            rejects.append(Reject(row, shown, trouble, f"{trouble}: mend the line or remove it", path.name))
    bad = {reject.row for reject in rejects}
    good = np.array([row for row in range(len(lines)) if row not in bad], dtype=np.int64)
    line, effect = np.nonzero(_vectors([lines[row][2] for row in good], len(effects)))
    rows = good[line]
    frame = raw_frame(
        smiles_a=[smiles[lines[row][0]] for row in rows],
        smiles_b=[smiles[lines[row][1]] for row in rows],
        label=np.array([float(lines[row][3]) for row in rows]),
        property=str(SIDE_EFFECT.default_property),
        unit=None,
        query=effects[effect].tolist(),
        source=path.name,
        source_row=rows,
    )
    source = SourceFile(path.name, sha256_of(path), len(lines), encoding, verified)
    empty = len(good) - len(np.unique(line))
    notes = [*_NOTES, *([f"Lines of {path.name} that set no effect: {empty:,}."] if empty else [])]
    return RawPairs(SIDE_EFFECT, dataset, frame, rejects, [source], notes=notes)


def _lookup(path: Path) -> dict:
    try:
        return json.loads(read_text(path)[0])
    except ValueError as error:
        raise DataError(f"{path} is no JSON file ({error}): fetch it again.") from error


def _trouble(cells: list[str], smiles: Mapping[str, str], vector: re.Pattern[str]) -> str:
    """Why a line cannot be used, or an empty text."""
    if len(cells) != 4:
        return "line without four cells"
    if not all(smiles.get(node) for node in cells[:2]):
        return "drug without SMILES"
    if not vector.fullmatch(cells[2]):
        return "effects are not one 0 or 1 each"
    return "" if cells[3] in ("0", "1") else "flag is not 0 or 1"


def _vectors(cells: list[str], width: int) -> np.ndarray:
    """Checked cells ``0,1,...`` as bool [lines, width]."""
    letters = np.frombuffer("".join(cells).encode(), dtype=np.uint8).reshape(len(cells), 2 * width - 1)
    return letters[:, ::2] == ord("1")
