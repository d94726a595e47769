"""The companion of a record: named by its hash, enough for the scores, and kept through a kill."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from workbook.tiny import OVERRIDES, tiny, write_data

from ddp_repro import read_image_statistics
from ddp_repro.evaluation.resampling import MeanIoU, hierarchical_bootstrap
from ddp_repro.settings.errors import ConfigError
from ddp_repro.workbook.runs.companion import FILE, JOURNAL, scores_of
from ddp_repro.workbook.runs.records import RecordError, load_record
from ddp_repro.workbook.runs.run import evaluate, run
from ddp_repro.workbook.tables.rendering import to_markdown
from ddp_repro.workbook.tables.table import measured_table

NAME = "ade20k_mini"
KILLED = """
import os, signal, sys
from ddp_repro import cli
from ddp_repro.evaluation.per_image.journal import Journal
write = Journal.write
def write_and_die(self, index, rows):
    write(self, index, rows)
    if index == 1:
        os.kill(os.getpid(), signal.SIGKILL)
Journal.write = write_and_die
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run: settings, output, record."""
    root = tmp_path_factory.mktemp("run")
    settings = tiny(NAME, write_data("ade20k", root / "data"))
    return settings, root / "results", run(settings, output=root / "results", progress=False)


def facts(record):
    """Return what does not depend on when and for how long it was measured."""
    return dataclasses.replace(record, wall_seconds=0.0)


def test_scores_follow_from_the_companion(finished):
    settings, output, record = finished
    images = read_image_statistics(record, output)
    assert scores_of(settings, images) == record.scores
    assert len(images.ids) == record.dataset.images == 3 and images.runs == ((1, 0), (1, 1), (3, 0), (3, 1))
    three, one = (MeanIoU(images.of("intersection", n), images.of("union", n)) for n in (3, 1))
    np.testing.assert_allclose(100 * three.resampled(np.ones((1, 3)))[0], record.values(3), rtol=1e-12)
    gain = hierarchical_bootstrap(three, one, "sampling seeds", draws=50)
    assert 100 * gain.value == pytest.approx(np.mean(record.values(3)) - np.mean(record.values(1)))
    folder = output / "mini" / "runs" / NAME
    assert not (folder / JOURNAL).exists() and not list(folder.glob(".images*"))


def test_a_companion_that_is_gone_or_another_is_made_anew(finished):
    settings, output, record = finished
    path = output / "mini" / "runs" / NAME / FILE
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(RecordError, match="not the file that record.json names"):
        read_image_statistics(record, output)
    path.unlink()
    with pytest.raises(ConfigError, match="missing: evaluate ade20k_mini again"):
        read_image_statistics(record, output)
    assert facts(run(settings, output=output, progress=False)) == facts(record)
    assert path.read_bytes() == content


def test_boundaries_are_in_record_companion_and_table(finished, tmp_path):
    settings, output, record = finished
    folder = shutil.copytree(output, tmp_path / "results") / "mini" / "runs" / NAME
    (folder / "record.json").unlink()
    settings = dataclasses.replace(settings, evaluation=dataclasses.replace(settings.evaluation, boundary=True))
    edges = evaluate(settings, output=tmp_path / "results", progress=False)
    assert edges.metrics == [*record.metrics, "mbiou"] and edges.values(3) == record.values(3)
    images = read_image_statistics(load_record(folder / "record.json"), tmp_path / "results")
    assert scores_of(settings, images) == edges.scores
    scores = MeanIoU(images.of("boundary_intersection", 3), images.of("boundary_union", 3))
    np.testing.assert_allclose(100 * scores.resampled(np.ones((1, 3)))[0], edges.values(3, "mbiou"), rtol=1e-12)
    assert "mBIoU (%) ↑" in to_markdown(measured_table("mini", tmp_path / "results"))
    assert "mBIoU" not in to_markdown(measured_table("mini", output))
    assert record.values(3, "mbiou") == []


def test_records_from_before_have_none(finished):
    _, output, record = finished
    with pytest.raises(ConfigError, match=r"written without images\.npz"):
        read_image_statistics(dataclasses.replace(record, images_sha256=None), output)


@pytest.mark.slow
def test_a_killed_evaluation_ends_with_the_same_record(finished, tmp_path):
    settings, output, record = finished
    folder = output / "mini" / "runs" / NAME
    content = (folder / FILE).read_bytes()
    for name in (FILE, "record.json"):
        (folder / name).unlink()
    program = tmp_path / "killed.py"
    program.write_text(KILLED)
    words = ["evaluate", NAME, *OVERRIDES, f"data.root={settings.data.root}", "--output", str(output)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, str(program), *words], env=environment, timeout=300, check=False)
    assert done.returncode == -signal.SIGKILL and not (folder / "record.json").exists()
    lines = (folder / JOURNAL / "journal-0.jsonl").read_text().splitlines()
    assert [json.loads(line)["image"] for line in lines[1:]] == [0, 1]
    again = evaluate(settings, output=output, progress=False)
    assert facts(again) == facts(record) == facts(load_record(folder / "record.json"))
    assert (folder / FILE).read_bytes() == content and not (folder / JOURNAL).exists()
