"""Molecules with a text about each: ChEBI-20 (Edwards et al., EMNLP 2021 and 2022), or tables of users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_prep.errors import DataError, Reject
from data_prep.files import existing, sha256_of
from data_prep.properties import filter_texts
from data_prep.records import FAMILIES, RawPairs, SourceFile, raw_frame, without
from data_prep.tables import column_of, read_table, read_text

CAPTION = FAMILIES["caption"]
_CHEBI_HEADER = ["CID", "SMILES", "description"]
_CHEBI_NOTE = (
    "The published training part is not read: this build draws its split over the validation and test rows, "
    "by molecule. Figures are not comparable with those on the published test part."
)


def read_chebi(path: Path, *, dataset: str, verified: bool | None = None) -> RawPairs:
    """One part of ChEBI-20: CID, SMILES and description between tabs; a quotation mark is a letter."""
    text, encoding = read_text(existing(path, mend="It is a part of ChEBI-20."))
    lines = [line.split("\t") for line in text.splitlines() if line.strip()]
    if not lines or lines[0] != _CHEBI_HEADER:
        raise DataError(f"{path} does not begin with the columns {', '.join(_CHEBI_HEADER)} between tabs.")
    short = [
        Reject(row, " ".join(cells), "short line", "expected three cells between tabs", path.name)
        for row, cells in enumerate(lines[1:])
        if len(cells) != len(_CHEBI_HEADER)
    ]
    rows = [cells if len(cells) == len(_CHEBI_HEADER) else ["", "", ""] for cells in lines[1:]]
    source = SourceFile(path.name, sha256_of(path), len(rows), encoding, verified)
    raw = _captioned([cells[1] for cells in rows], [cells[2] for cells in rows], source, dataset, short)
    return replace(raw, notes=[_CHEBI_NOTE, *raw.notes])


def read_captions(path: Path, *, smiles: str, text: str, dataset: str, split: str | None = None) -> RawPairs:
    """A csv, tsv or parquet file with columns of SMILES and captions; rows without a caption are rejected."""
    table = read_table(path)
    molecules, captions = (
        column_of(table.frame, name, path).fill_null("").to_list() for name in (smiles, text)
    )
    source = SourceFile(path.name, sha256_of(path), len(molecules), table.encoding)
    raw = _captioned(molecules, captions, source, dataset, [])
    if split is None:
        return raw
    parts = column_of(table.frame, split, path)[raw.frame["source_row"]]
    return replace(raw, frame=raw.frame.with_columns(split=parts))


def _captioned(
    smiles: Sequence[str], captions: Sequence[str], source: SourceFile, dataset: str, rejects: list[Reject]
) -> RawPairs:
    """Rows with a caption after the filter that cuts sentences on interactions."""
    kept, cut = filter_texts(captions, [None] * len(captions))
    lost = {reject.row for reject in rejects}
    for row, (before, after) in enumerate(zip(captions, kept, strict=True)):
        if row in lost or after:
            continue
        kind = "caption on interactions only" if before.strip() else "empty caption"
        reason = f"{kind}: give a text about the molecule or remove the row"
        rejects = [*rejects, Reject(row, before, kind, reason, source.name)]
    frame = raw_frame(
        smiles_a=smiles,
        smiles_b=None,
        label=None,
        property=str(CAPTION.default_property),
        unit=None,
        source=source.name,
        text=kept,
    )
    notes = [f"Sentences on interactions cut from the captions of {source.name}: {cut:,}."] if cut else []
    return RawPairs(CAPTION, dataset, without(frame, rejects), rejects, [source], notes=notes)
