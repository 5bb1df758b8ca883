from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from data_prep.card import Card, CardFile
from data_prep.cards import CARDS
from data_prep.catalog import with_hashes
from data_prep.download import fetch, fetch_file
from data_prep.errors import DataError

DATA = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(DATA).hexdigest()


@dataclass
class Server:
    """What the server answers, and what it was asked."""

    body: bytes = DATA
    cut_after: int | None = None  # break the connection after so many bytes
    ranges: bool = True
    status: int = 200
    asked: list[str | None] = field(default_factory=list)  # Range header of each request
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    def __init__(self, server: Server, *arguments) -> None:
        self.plan = server
        super().__init__(*arguments)

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.plan.asked.append(wanted)
        body, status = self.plan.body, self.plan.status
        if wanted and self.plan.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            body, status = (body[start:], 206) if start < len(body) else (b"", 416)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.plan.cut_after])
        if self.plan.cut_after is not None:
            self.connection.close()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    plan = Server()
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, plan))
    plan.url = f"http://127.0.0.1:{http.server_port}/data.bin"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield plan
    http.shutdown()
    http.server_close()


def get(server: Server, path, **options):
    return fetch_file(server.url, path, sha256=SHA256, size=len(DATA), progress=False, **options)


def test_a_file_arrives_whole_and_is_not_fetched_twice(server, tmp_path):
    path = tmp_path / "folder" / "data.bin"
    assert get(server, path).read_bytes() == DATA
    assert get(server, path) == path
    assert server.asked == [None]
    assert [child.name for child in path.parent.iterdir()] == ["data.bin"]


def test_a_cut_transfer_says_how_to_go_on_and_does(server, tmp_path):
    path = tmp_path / "data.bin"
    server.cut_after = 300_000
    with pytest.raises(DataError, match=r"data\.bin .*stopped after \d+ of 512000 bytes.*same command again"):
        get(server, path)
    assert not path.exists()
    have = (tmp_path / "data.bin.part").stat().st_size
    assert 0 < have <= 300_000
    server.cut_after = None
    assert get(server, path).read_bytes() == DATA
    assert server.asked == [None, f"bytes={have}-"]


def test_a_server_without_ranges_is_read_from_the_start(server, tmp_path):
    server.ranges = False
    (tmp_path / "data.bin.part").write_bytes(b"old bytes")
    assert get(server, tmp_path / "data.bin").read_bytes() == DATA


def test_a_partial_file_longer_than_the_whole_is_thrown_away(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(DATA + b"more")
    assert get(server, tmp_path / "data.bin").read_bytes() == DATA
    assert server.asked[-1] is None


def test_a_whole_partial_file_needs_no_request(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(DATA)
    assert get(server, tmp_path / "data.bin").read_bytes() == DATA
    assert server.asked == []


def test_altered_data_are_refused_and_nothing_is_kept(server, tmp_path):
    server.body = b"\x01" + DATA[1:]
    with pytest.raises(
        DataError, match=f"(?s)data.bin .*{hashlib.sha256(server.body).hexdigest()}.*expected {SHA256}"
    ):
        get(server, tmp_path / "data.bin")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_there_survives_a_failed_update(server, tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(b"an older version")
    server.body = b"\x01" + DATA[1:]
    with pytest.raises(DataError):
        get(server, path)
    assert path.read_bytes() == b"an older version"


@pytest.mark.parametrize(
    "page", [b"<!DOCTYPE html><html>Sign in</html>", b"\n <html>gone</html>"], ids=["doctype", "bare"]
)
def test_a_web_page_in_place_of_data_is_recognised(server, tmp_path, page):
    server.body = page
    with pytest.raises(DataError, match="web page"):
        get(server, tmp_path / "data.bin")
    assert list(tmp_path.iterdir()) == []


def test_more_bytes_than_published_are_refused(server, tmp_path):
    server.body = DATA + b"x"
    with pytest.raises(DataError, match="512001 bytes came, expected 512000"):
        get(server, tmp_path / "data.bin")


def test_fewer_bytes_than_published_can_be_continued(server, tmp_path):
    server.body = DATA[:1000]
    with pytest.raises(DataError, match="1000 of 512000 bytes"):
        get(server, tmp_path / "data.bin")
    assert (tmp_path / "data.bin.part").stat().st_size == 1000


def test_an_error_answer_names_file_and_status(server, tmp_path):
    server.status = 404
    with pytest.raises(DataError, match=r"data\.bin .*404"):
        get(server, tmp_path / "data.bin")


@pytest.mark.parametrize(
    "url", ["http://example.org/x", "ftp://example.org/x", "file:///etc/hosts"], ids=["http", "ftp", "file"]
)
def test_only_https_is_fetched(tmp_path, url):
    with pytest.raises(DataError, match="only https"):
        fetch_file(url, tmp_path / "x", sha256=SHA256)


def test_a_card_is_fetched_into_its_folder(server, tmp_path):
    files = (CardFile(server.url, SHA256, len(DATA)),)
    card = Card("tiny", "Tiny", "ddi", "tiny_folder", files, "none", "nobody", None)
    assert fetch(card, tmp_path, progress=False) == [tmp_path / "tiny_folder" / "data.bin"]


def test_a_file_without_checksum_needs_one(tmp_path):
    card = CARDS["zhangddi"]
    with pytest.raises(DataError, match=r"--sha256 ZhangDDI_train\.csv=HEX"):
        fetch(card, tmp_path, progress=False)
    given = with_hashes(card, {"ZhangDDI_train.csv": "a" * 64})
    assert given.files[0].sha256 == "a" * 64
    with pytest.raises(DataError, match="no file 'other'"):
        with_hashes(card, {"other": "a" * 64})
