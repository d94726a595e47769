"""Split lists: fetched from a server on this machine, copied from a folder, and refused where they are others."""

import hashlib
from pathlib import Path

import pytest

from data_prep import splits
from ddp_repro.data.io import DataError

from .test_download import server  # noqa: F401  (a fixture)

NAME = "nyu_test.txt"
LINES = b"bathroom/rgb_00045.jpg bathroom/sync_depth_00045.png 518.8579\n" * 3


@pytest.fixture(autouse=True)
def short_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "LISTS", {NAME: (3, hashlib.sha256(LINES).hexdigest())})


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_downloaded_list_has_plain_line_ends(tmp_path: Path, server, monkeypatch, end: bytes):  # noqa: F811
    server.content = LINES.replace(b"\n", end)
    monkeypatch.setattr(splits, "URL", server.url.rpartition("/")[0])
    splits.write_lists([NAME], tmp_path / "splits", None)
    assert (tmp_path / "splits" / NAME).read_bytes() == LINES and len(server.requests) == 1


def test_copied_list(tmp_path: Path):
    (tmp_path / NAME).write_bytes(LINES.replace(b"\n", b"\r\n"))
    splits.write_lists([NAME], tmp_path / "splits", tmp_path)
    assert (tmp_path / "splits" / NAME).read_bytes() == LINES
    assert (tmp_path / NAME).read_bytes().count(b"\r") == 3  # the copy is left as it is


def test_another_list_is_refused(tmp_path: Path):
    (tmp_path / NAME).write_bytes(LINES[:-10])
    with pytest.raises(DataError, match=r"nyu_test\.txt: its 3 lines have another SHA-256; expected .* of 3 lines"):
        splits.write_lists([NAME], tmp_path / "splits", tmp_path)
    (tmp_path / NAME).unlink()
    with pytest.raises(DataError, match=r"nyu_test\.txt: no such file; expected a copy of https://raw\.github"):
        splits.write_lists([NAME], tmp_path / "others", tmp_path)


@pytest.mark.data
def test_published_lists(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    splits.write_lists(splits.LISTS, tmp_path / "splits", data / "splits")
    counts = {name: len((tmp_path / "splits" / name).read_text().splitlines()) for name in splits.LISTS}
    assert counts == {name: lines for name, (lines, _) in splits.LISTS.items()} and sum(counts.values()) == 53_790
