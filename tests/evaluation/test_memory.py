"""Memory of ``predict`` over a folder of many picture sizes, and what bounds it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from test_readme import save_untrained

from ddp_repro.evaluation.predict import PicturePredictor
from ddp_repro.networks.primitives import KEPT, VARIABLES
from ddp_repro.settings.overrides import override
from ddp_repro.workbook.catalogue import recipe
from tests.evaluation.conftest import tiny_model

PICTURES, WARM, GROWTH = 500, 100, 40  # MB between the 100th picture and the last: 96 with oneDNN's own bounds
RUN = """
import json, sys
from ddp_repro import cli
from ddp_repro.evaluation.folders.manifest import Manifest

resident, add = [], Manifest.add

def noted(manifest, entry):
    add(manifest, entry)
    with open("/proc/self/statm") as file:
        resident.append(int(file.read().split()[1]) * 4096 / 1e6)

Manifest.add = noted
code = cli.main(["predict", "in", "--checkpoint", "w.safetensors", "--steps", "1"])
json.dump(resident, open("resident.json", "w"))
sys.exit(code)
"""


def test_the_number_of_primitives_is_bounded_unless_the_user_says_so(monkeypatch):
    first, second = VARIABLES
    monkeypatch.setenv(first, "7")
    monkeypatch.setenv(second, "")  # so that it is put back
    monkeypatch.delenv(second)
    PicturePredictor(tiny_model(), 1)
    assert (os.environ[first], os.environ[second]) == ("7", str(KEPT))


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads the resident memory as Linux tells it")
def test_memory_does_not_grow_over_500_pictures_of_different_sizes(tmp_path):
    save_untrained(override(recipe("ade20k_mini"), {"data.image_scale": "200,200"}), tmp_path / "w.safetensors")
    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        size = (*rng.integers(40, 201, 2), 3)
        Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(tmp_path / f"in/{number:03}.png")
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    subprocess.run([sys.executable, "-c", RUN], cwd=tmp_path, env=environment, check=True, capture_output=True)
    resident = json.loads((tmp_path / "resident.json").read_text())
    assert len(resident) == PICTURES
    assert max(resident[WARM:]) - resident[WARM] < GROWTH
