"""Downloads from a server on this machine, and archives that are not what they should be."""

import functools
import hashlib
import http.server
import threading
import zipfile
from pathlib import Path

import pytest

from data_prep import ade20k
from data_prep.__main__ import main
from data_prep.archives import extract
from data_prep.download import download
from ddp_repro.data.io import DataError

from .test_prepare import pack, write_ade20k

CONTENT = bytes(range(256)) * 500


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the server's ``content``; with ``ranges`` it resumes, and it breaks off after ``limit`` bytes."""

    def do_GET(self):
        server = self.server
        wanted = self.headers.get("Range")
        server.requests.append(wanted)
        if self.path.endswith("missing"):
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
        if start >= len(server.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        self.wfile.write(server.content[start : start + server.limit])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.content, server.ranges, server.limit, server.requests = CONTENT, True, 1 << 40, []
        server.url = f"http://127.0.0.1:{server.server_port}/data.zip"
        threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01), daemon=True).start()
        yield server
        server.shutdown()


def test_download(server, tmp_path: Path):
    target = tmp_path / "new folder" / "data.zip"
    assert download(server.url, target, hashlib.sha1(CONTENT).hexdigest()) == target
    assert target.read_bytes() == CONTENT and len(list(target.parent.iterdir())) == 1
    download(server.url, target, None)
    assert len(server.requests) == 1  # what is there is not fetched again


def test_interrupted_download_goes_on(server, tmp_path: Path):
    server.limit = 50_000
    target = tmp_path / "data.zip"
    for _ in range(2):
        with pytest.raises(DataError, match="run the command again"):
            download(server.url, target, None)
        assert not target.exists()
    assert download(server.url, target, None).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=50000-", "bytes=100000-"]


def test_server_that_cannot_resume_starts_again(server, tmp_path: Path):
    server.ranges = False
    (tmp_path / "data.zip.part").write_bytes(b"old")
    assert download(server.url, tmp_path / "data.zip", None).read_bytes() == CONTENT


def test_download_that_was_complete_but_not_renamed(server, tmp_path: Path):
    (tmp_path / "data.zip.part").write_bytes(CONTENT)
    assert download(server.url, tmp_path / "data.zip", None).read_bytes() == CONTENT


def test_rest_of_something_larger_is_thrown_away(server, tmp_path: Path):
    (tmp_path / "data.zip.part").write_bytes(CONTENT + b"more")
    assert download(server.url, tmp_path / "data.zip", None).read_bytes() == CONTENT


def test_wrong_content_is_deleted(server, tmp_path: Path):
    with pytest.raises(DataError, match="its SHA-1 is not the published"):
        download(server.url, tmp_path / "data.zip", "0" * 40)
    assert list(tmp_path.iterdir()) == []


def test_missing_file_and_unreachable_server(server, tmp_path: Path):
    with pytest.raises(DataError, match="/missing: the server answered 404"):
        download(server.url.replace("data.zip", "missing"), tmp_path / "a", None)
    with pytest.raises(DataError, match="download failed"):
        download("http://127.0.0.1:1/a", tmp_path / "a", None, timeout=2)


def test_ade20k_from_its_address(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    archive = pack(write_ade20k(tmp_path / "in"), tmp_path / "in.zip")
    server.content = archive.read_bytes()
    monkeypatch.setattr(ade20k, "COUNTS", {"training": 3, "validation": 2})
    monkeypatch.setattr(ade20k, "URL", server.url)
    monkeypatch.setattr(ade20k, "SHA1", hashlib.sha1(server.content).hexdigest())
    assert main(["ade20k", "--output", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out/images/training").iterdir())) == 3


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/evil", "a/../../../etc/evil"])
def test_archive_that_would_write_elsewhere(tmp_path: Path, name: str):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(name, "evil")
    with pytest.raises(DataError, match="would be written outside"):
        extract(tmp_path / "a.zip", tmp_path / "out", lambda member: member)
    assert [path.name for path in tmp_path.rglob("*")] == ["a.zip"]


def test_archive_that_is_damaged_or_another(tmp_path: Path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("images/a.jpg", CONTENT)
    whole = path.read_bytes()
    with pytest.raises(DataError, match="holds none of the expected files"):
        extract(path, tmp_path / "out", lambda _: None)
    flipped = whole[:500] + bytes([whole[500] ^ 1]) + whole[501:]
    for content in (b"", b"no archive", whole[:-100], flipped):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.zip: is not a complete ZIP archive .*download it again"):
            extract(path, tmp_path / "out", lambda member: member)
