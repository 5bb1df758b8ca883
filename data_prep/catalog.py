"""The catalogue: a card per published data set, and how its files are found, checked and read."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl

from data_prep.card import Card, CardFile
from data_prep.cards import CARDS
from data_prep.errors import DataError
from data_prep.files import sha256_of
from data_prep.records import RawPairs, SourceFile

Reader = Callable[..., RawPairs]


def get_card(name: str) -> Card:
    """The card of a data set; the error lists the names there are."""
    if name not in CARDS:
        raise DataError(f"There is no data set {name!r} in the catalogue; it has {', '.join(CARDS)}.")
    return CARDS[name]


def locate(card: Card, file: CardFile, root: Path) -> Path:
    """Where a file lies: in ``root/<folder>/`` or in ``root`` itself."""
    places = [root / card.folder / file.name, root / file.name]
    for place in places:
        if place.is_file():
            return place
    looked = " and ".join(str(place) for place in places)
    raise DataError(
        f"{file.name} is missing: looked for {looked}. Get it with: data-prep fetch {card.name} --out {root}"
    )


def check_file(path: Path, file: CardFile, *, allow_changed: bool) -> bool | None:
    """Compare with the published checksum: True equal, None not published, False different but allowed."""
    if file.sha256 is None:
        return None
    found = sha256_of(path)
    if found == file.sha256:
        return True
    if allow_changed:
        return False
    raise DataError(
        f"{path} is not the published file: {path.stat().st_size} bytes with sha256 {found[:16]}..., "
        f"expected {file.bytes} bytes with {file.sha256[:16]}... "
        "Fetch it again, or pass --allow-changed to use it as it is."
    )


def read_dataset(
    name: str,
    root: Path,
    *,
    published_split: bool = False,
    allow_changed: bool = False,
    options: Mapping[str, str | bool] | None = None,
) -> RawPairs:
    """Read all files of a card into one :class:`RawPairs`.

    With ``published_split`` the files' own parts fill the split column; a card without them refuses.
    ``options`` go to the reader; one that the card does not name is a :class:`DataError`.
    """
    card = get_card(name)
    for option in options or {}:
        if option not in card.options:
            raise DataError(f"--{option.replace('_', '-')} has no effect on {name}; leave it out.")
    files = [file for file in card.files if file.read]
    reader = card.reader
    if published_split:
        files = [file for file in card.files if file.part]
        reader = card.part_reader or card.reader
        if not files:
            raise DataError(f"{name} was not published with a split; leave --legacy-split out.")
    companions, sources = _companions(card, published_split, Path(root), allow_changed)
    extras = {"companions": companions} if companions else {}
    read = _reader(reader)
    parts = []
    for file in files:
        path = locate(card, file, Path(root))
        verified = check_file(path, file, allow_changed=allow_changed)
        raw = read(path, dataset=name, verified=verified, **extras, **(options or {}))
        if published_split:
            raw = replace(raw, frame=raw.frame.with_columns(split=pl.lit(file.part)))
        parts.append(raw)
    whole = concat_raw(parts)
    return replace(whole, sources=[*whole.sources, *sources])


def _companions(
    card: Card, published_split: bool, root: Path, allow_changed: bool
) -> tuple[dict[str, Path], list[SourceFile]]:
    """Files that the reader looks things up in, by name, and their entries for the report."""
    paths, sources = {}, []
    for file in card.files:
        if file.companion == "always" or (file.companion == "published split" and published_split):
            path = paths[file.name] = locate(card, file, root)
            verified = check_file(path, file, allow_changed=allow_changed)
            sources.append(SourceFile(file.name, sha256_of(path), None, verified=verified))
    return paths, sources


def concat_raw(parts: list[RawPairs]) -> RawPairs:
    """Rows of several files of one data set, in order."""
    first = parts[0]
    return replace(
        first,
        frame=pl.concat([part.frame for part in parts]),
        rejects=[reject for part in parts for reject in part.rejects],
        sources=[source for part in parts for source in part.sources],
        notes=list(dict.fromkeys(note for part in parts for note in part.notes)),
        unlabelled=sum(part.unlabelled for part in parts),
    )


def _reader(name: str) -> Reader:
    """A reader by ``module.function`` inside :mod:`data_prep.readers`."""
    module, _, function = name.partition(".")
    return getattr(importlib.import_module(f"data_prep.readers.{module}"), function)


def with_hashes(card: Card, given: Mapping[str, str]) -> Card:
    """A card whose files without a published checksum take the ones the user gives, by file name."""
    unknown = set(given) - {file.name for file in card.files}
    if unknown:
        raise DataError(f"{card.name} has no file {sorted(unknown)[0]!r}.")
    files = tuple(replace(file, sha256=given.get(file.name, file.sha256)) for file in card.files)
    return replace(card, files=files)
