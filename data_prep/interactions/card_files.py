"""The files of a card on this machine, each checked against its published checksum when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data_prep.card import Card, CardFile
from data_prep.catalog import check_file, locate
from data_prep.errors import DataError
from data_prep.files import sha256_of
from data_prep.records import SourceFile


@dataclass(frozen=True)
class CardFiles:
    """Finds and checks files.

    Attributes:
        card: of the data set.
        root: folder that holds the files, or a folder of them.
        allow_changed: go on with files that differ from the published ones.
    """

    card: Card
    root: Path
    allow_changed: bool = False

    def path(self, name: str) -> Path:
        """Where a file lies.

        Raises:
            DataError: it is missing, or not the published one.
        """
        return self._checked(name)[0]

    def verified(self, name: str) -> bool | None:
        """True for the published file, False for a changed one that is allowed."""
        return self._checked(name)[1]

    def all_verified(self, *names: str) -> bool:
        """Whether each of several files is the published one."""
        return all(self.verified(name) for name in names)

    def looked_up(self, name: str) -> SourceFile:
        """The report's entry of a file in which only names or numbers are looked up."""
        path, verified = self._checked(name)
        return SourceFile(path.name, sha256_of(path), None, verified=verified)

    def _checked(self, name: str) -> tuple[Path, bool | None]:
        file = self._file(name)
        path = locate(self.card, file, self.root)
        return path, check_file(path, file, allow_changed=self.allow_changed)

    def _file(self, name: str) -> CardFile:
        for file in self.card.files:
            if file.name == name:
                return file
        raise DataError(f"{self.card.name} has no file {name!r}.")
