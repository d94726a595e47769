"""Rendering what is committed changes nothing, also where another Matplotlib would draw other bytes."""

import dataclasses
import os
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from ddp_repro.store.paths import repository_root
from ddp_repro.workbook.catalogue import paper_named, paper_names
from ddp_repro.workbook.figures import style
from ddp_repro.workbook.figures.style import Figure, save_figure
from ddp_repro.workbook.index import write_index


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["camvid", "sevenscenes", "kitti_lidar", "small"])
def test_rendering_what_is_committed_changes_nothing(preset, tmp_path, monkeypatch):
    """Bytes that another version of Matplotlib would draw must not count."""
    for name in (preset, "bench"):
        shutil.copytree(repository_root() / "results" / name, tmp_path / name)
    shutil.copy(repository_root() / "results" / "papers.html", tmp_path)  # the index links to it
    monkeypatch.setattr(style, "_rendered", lambda *figure, **options: b"of another version")
    before = files(tmp_path)
    for paper in map(paper_named, paper_names()):
        paper.render(preset, tmp_path)
    write_index(preset, tmp_path)
    after = files(tmp_path)
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] != before[name]] == []


def figure(values=(1.0, 2.0), colour="red") -> Figure:
    drawing, axes = plt.subplots()
    axes.plot([0, 1], values, color=colour, label="line")
    axes.imshow([[0.25, 0.5], [0.75, 1.0]])
    axes.scatter([0, 1], values)
    axes.bar([0, 1], values)
    axes.fill_between([0, 1], values)
    axes.annotate("here", (0, 0), (1, 1), arrowprops={"arrowstyle": "->"})
    axes.legend()
    plt.close(drawing)
    return Figure("f", "A title", "A caption.", ("run",), drawing)


def test_the_same_content_is_drawn_once(tmp_path, monkeypatch):
    save_figure(figure(), tmp_path)
    before = files(tmp_path)
    os.utime(tmp_path / "f.png", (1, 1))
    monkeypatch.setattr(style, "_rendered", lambda *figure, **options: b"of another version")
    save_figure(figure(), tmp_path)
    assert files(tmp_path) == before
    assert (tmp_path / "f.png").stat().st_mtime > 1  # it counts as written by this run
    (tmp_path / "f.pdf").unlink()
    save_figure(figure(), tmp_path)
    assert (tmp_path / "f.png").read_bytes() == b"of another version"


@pytest.mark.parametrize("other", [figure(values=(1.0, 2.001)), figure(colour="blue")], ids=["data", "colour"])
def test_other_content_is_drawn_anew(other, tmp_path):
    save_figure(figure(), tmp_path)
    before = files(tmp_path)
    save_figure(other, tmp_path)
    after = files(tmp_path)
    assert all(after[f"f.{suffix}"] != before[f"f.{suffix}"] for suffix in ("png", "pdf", "html"))


def test_other_words_change_the_page_alone(tmp_path):
    save_figure(figure(), tmp_path)
    before = files(tmp_path)
    save_figure(dataclasses.replace(figure(), caption="Another."), tmp_path)
    assert [name for name, content in files(tmp_path).items() if content != before[name]] == ["f.html"]
