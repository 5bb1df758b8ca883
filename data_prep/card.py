"""What a card of the catalogue says about a published data set: files, checksums, terms, citation, reader."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from data_prep.splits import Fractions

NOT_STATED = "not stated in the repository"


@dataclass(frozen=True)
class CardFile:
    """One published file.

    ``read`` files make up the default build; ``part`` is the file's own part (train, valid, test) where the
    publication splits by file. A ``companion`` holds no rows: readers look things up in it, for every build
    or for that of the published split. ``saved`` is the name it is kept under, where its own would clash.
    """

    url: str
    sha256: str | None = None
    bytes: int | None = None
    part: str | None = None
    read: bool = True
    companion: Literal["always", "published split"] | None = None
    saved: str | None = None

    @property
    def name(self) -> str:
        """The file's name: as published, or the one it is kept under."""
        return self.saved or self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Card:
    """One data set of the catalogue.

    ``reader`` names ``module.function`` in :mod:`data_prep.readers`; ``part_reader`` takes its place where
    the files of the published split have a layout of their own. ``options`` are the reader's own options.
    """

    name: str
    title: str
    family: str
    folder: str
    files: tuple[CardFile, ...]
    terms: str
    citation: str
    reader: str
    fractions: Fractions = (0.8, 0.1, 0.1)
    resample_negatives: bool = False
    part_reader: str | None = None
    options: tuple[str, ...] = ()


def raw_file(repository: str, path: str) -> str:
    """Address of a file of a GitHub repository; ``repository`` is owner/name/commit."""
    return f"https://raw.githubusercontent.com/{repository}/{path}"
