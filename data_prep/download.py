"""Verified download: https, checksum, resumable, atomic.

A file appears under its name only when it is whole and its SHA-256 is the expected one. An interrupted
transfer leaves ``NAME.part`` beside it, and the next call goes on from there.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pooch
import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from data_prep.card import Card
from data_prep.errors import DataError
from data_prep.files import sha256_of

_CHUNK = 1 << 16
_LOCAL = ("localhost", "127.0.0.1", "::1")
_HTML = re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE)


def fetch(card: Card, out: Path, *, progress: bool = True, timeout: float = 30.0) -> list[Path]:
    """Download the files of a card that are not in ``out/<folder>/`` yet; returns where all of them lie."""
    if not card.files:
        raise DataError(f"{card.name} has no files to fetch. {card.terms}")
    for file in card.files:
        if file.sha256 is None:
            raise DataError(
                f"{file.name} of {card.name} has no published checksum here. Get it from a source you "
                f"trust and pass it as --sha256 {file.name}=HEX (address: {file.url})."
            )
    folder = out / card.folder
    return [
        fetch_file(
            file.url,
            folder / file.name,
            sha256=str(file.sha256),
            size=file.bytes,
            progress=progress,
            timeout=timeout,
        )
        for file in card.files
    ]


def fetch_file(
    url: str,
    path: Path,
    *,
    sha256: str,
    size: int | None = None,
    progress: bool = True,
    timeout: float = 30.0,
) -> Path:
    """Download one file to ``path``; a file that is there with the right checksum is left alone.

    Raises :class:`DataError`, with what was expected, what came and what to do, for a plain-http address, a
    failed or cut transfer, a web page in place of data, and a checksum that differs.
    """
    _check_address(url)
    if path.exists() and sha256_of(path) == sha256:
        return path
    pooch.get_logger().setLevel("WARNING")
    downloader = ResumingDownloader(path.with_name(f"{path.name}.part"), size, progress, timeout)
    try:
        pooch.retrieve(url, f"sha256:{sha256}", fname=path.name, path=path.parent, downloader=downloader)
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{path.name} from {url} is not the expected file: its sha256 is {downloader.sha256}, "
            f"expected {sha256}. Nothing was kept. Try again; if it stays so, the source has changed."
        ) from error
    return path


def _check_address(url: str) -> None:
    parts = urlparse(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL):
        return
    raise DataError(f"{url}: only https addresses are fetched (http for this machine itself).")


class ResumingDownloader:
    """A pooch downloader that keeps the partial file and asks the server only for what is missing."""

    def __init__(self, part: Path, size: int | None, progress: bool, timeout: float) -> None:
        self.part, self.size, self.progress, self.timeout = part, size, progress, timeout
        self.sha256 = ""

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Complete ``self.part`` from ``url`` and move it to ``output_file``."""
        have = self.part.stat().st_size if self.part.exists() else 0
        if self.size is None or have != self.size:
            self._transfer(url, have)
        self._check_content()
        self.sha256 = sha256_of(self.part)
        shutil.move(self.part, output_file)

    def _transfer(self, url: str, have: int) -> None:
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        try:
            with requests.get(url, headers=headers, stream=True, timeout=self.timeout) as response:
                _check_address(response.url)
                if (
                    response.status_code == 416
                ):  # the partial file is as long as, or longer than, the whole one
                    self.part.unlink()
                    return self._transfer(url, 0)
                response.raise_for_status()
                self._write(response, have if response.status_code == 206 else 0)
        except requests.RequestException as error:
            got = self.part.stat().st_size if self.part.exists() else 0
            of = f" of {self.size}" if self.size else ""
            raise DataError(
                f"{self.part.stem} from {url}: the transfer stopped after {got}{of} bytes ({_brief(error)}). "
                "Run the same command again to go on from there."
            ) from error

    def _write(self, response: requests.Response, start: int) -> None:
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else self.size
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with (
            self._open(start) as stream,
            Progress(*columns, console=Console(stderr=True), disable=not self.progress) as bar,
        ):
            task = bar.add_task(self.part.stem, total=total, completed=start)
            for chunk in response.iter_content(_CHUNK):
                stream.write(chunk)
                bar.advance(task, len(chunk))

    def _open(self, start: int) -> Any:
        self.part.parent.mkdir(parents=True, exist_ok=True)
        return self.part.open("ab" if start else "wb")

    def _check_content(self) -> None:
        """Refuse a web page and a wrong length before the checksum does, because the reason helps."""
        got = self.part.stat().st_size
        with self.part.open("rb") as stream:
            page = bool(_HTML.match(stream.read(256)))
        if page:
            self.part.unlink()
            raise DataError(
                f"{self.part.stem}: the server sent a web page ({got} bytes) in place of the data. "
                "Nothing was kept. Check the address."
            )
        if self.size is not None and got < self.size:
            raise DataError(
                f"{self.part.stem}: {got} of {self.size} bytes came. Run the same command again to go on."
            )
        if self.size is not None and got > self.size:
            self.part.unlink()
            raise DataError(
                f"{self.part.stem}: {got} bytes came, expected {self.size}. "
                "Nothing was kept. The source has changed."
            )


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
