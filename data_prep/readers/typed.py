"""DrugBank interactions in 86 types (Ryu et al., PNAS 2018) with the SMILES and sentences of SSI-DDI (2021).

Three files belong together: pairs of drug ids with a label of 1 to 86, the SMILES of the drugs, and one
sentence per label. Two numberings of the types are in use; the sentences are found by the one of the pairs,
which the sentence file calls ``Interaction type``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_prep.errors import DataError, Reject
from data_prep.files import existing, sha256_of
from data_prep.readers.sentences import read_published, without_sentence, zero_based
from data_prep.records import (
    FAMILIES,
    RawPairs,
    SourceFile,
    label_rejects,
    parse_labels,
    raw_frame,
    without,
)
from data_prep.tables import column_of, read_table, read_text

TYPED = FAMILIES["typed-ddi"]


def read_drugbank(
    path: Path, *, dataset: str, companions: Mapping[str, Path], verified: bool | None = None
) -> RawPairs:
    """``Drugbank.txt``: columns drug1, drug2 and Label (1 to 86, here class 0 to 85); the order is kept.

    ``companions`` hold drug_smiles.csv and Interaction_information.csv. Rows with a drug that has no SMILES
    are rejected.
    """
    frame = read_table(path).frame
    first, second = (column_of(frame, name, path).fill_null("").to_list() for name in ("drug1", "drug2"))
    published = column_of(frame, "Label", path)
    return _typed_pairs(path, (first, second), zero_based(published), companions, dataset, verified)


def read_drugbank_part(
    path: Path, *, dataset: str, companions: Mapping[str, Path], verified: bool | None = None
) -> RawPairs:
    """One part of the published split: node number 1, node number 2 and class (0 to 85), between blanks.

    ``companions`` also hold node2id.json, which says whose number is which.
    """
    text, _ = read_text(existing(path, mend="It is a part of the published split of DrugBank's types."))
    rows = [line.split() for line in text.splitlines() if line.strip()]
    if wrong := [number for number, cells in enumerate(rows) if len(cells) != 3]:
        raise DataError(
            f"{path} row {wrong[0]} has {len(rows[wrong[0]])} cells, not 3: node, node and class. "
            "Fetch the file again."
        )
    numbers = json.loads(read_text(companions["node2id.json"])[0])
    drug_of = {str(number): drug for drug, number in numbers.items()}
    first, second = ([drug_of.get(cells[side], f"node {cells[side]}") for cells in rows] for side in (0, 1))
    classes = [cells[2] for cells in rows]
    return _typed_pairs(path, (first, second), classes, companions, dataset, verified)


def _typed_pairs(
    path: Path,
    drugs: tuple[list[str], list[str]],
    cells: Sequence[str | None],
    companions: Mapping[str, Path],
    dataset: str,
    verified: bool | None,
) -> RawPairs:
    classes = read_published(companions["Interaction_information.csv"])
    smiles_path = companions["drug_smiles.csv"]
    listed = read_table(smiles_path).frame
    ids, strings = (column_of(listed, name, smiles_path).to_list() for name in ("drug_id", "smiles"))
    smiles = dict(zip(ids, strings, strict=True))
    labels = parse_labels(cells, TYPED)
    rejects = label_rejects(cells, labels.problem, range(len(cells)), path.name)
    rejects += without_sentence(labels.values.tolist(), classes, path.name)
    rejects += _without_smiles(drugs, smiles, path.name, smiles_path.name)
    frame = raw_frame(
        smiles_a=[smiles.get(drug) or "" for drug in drugs[0]],
        smiles_b=[smiles.get(drug) or "" for drug in drugs[1]],
        label=labels.values,
        property=str(TYPED.default_property),
        unit=None,
        source=path.name,
    )
    first_reason = list({reject.row: reject for reject in reversed(rejects)}.values())[::-1]
    source = SourceFile(path.name, sha256_of(path), len(frame), verified=verified)
    return RawPairs(TYPED, dataset, without(frame, rejects), first_reason, [source], classes=classes)


def _without_smiles(
    drugs: tuple[list[str], list[str]], smiles: Mapping[str, str | None], source: str, listed_in: str
) -> list[Reject]:
    reason = f"has no SMILES in {listed_in}: add its structure there or leave the row out"
    rejects = []
    for row, pair in enumerate(zip(*drugs, strict=True)):
        missing = [drug for drug in pair if not smiles.get(drug)]
        if missing:
            value = " and ".join(dict.fromkeys(missing))
            rejects.append(Reject(row, value, "drug without SMILES", f"{value} {reason}", source))
    return rejects
