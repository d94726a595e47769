"""The doctor recognises the known troubles and says what to do."""

import json
import subprocess
import sys

import pytest

from ddp_repro import doctor

FINE = {"numpy": "1.26.4", "nuscenes-devkit": "1.2.0", "mmcv-lite": "2.1.0", "opencv-python": "4.11.0.86"}


@pytest.fixture
def probes(monkeypatch):
    def use(**scripts: str) -> None:
        monkeypatch.setattr(doctor, "PROBES", scripts)

    return use


@pytest.mark.slow
def test_every_part_of_this_environment_works(capsys):
    assert doctor.main(as_json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert {f["part"]: f["state"] for f in report["findings"]} == dict.fromkeys(doctor.PROBES, "ok")
    assert report["machine"]["cores"] >= 1
    assert report["packages"].keys() >= {"torch", "timm", "papermill", "mmsegmentation", "nuscenes-devkit"}


HEAVY = ("torch._dynamo", "torchvision.models.detection", "timm.models.beit", "sklearn", "scipy.stats", "jupyterlab")


@pytest.mark.slow
@pytest.mark.parametrize("part", doctor.PROBES)
def test_probes_do_not_import_what_they_do_not_try(part):
    code = f"{doctor.PROBES[part]}\nimport sys; print([name for name in {HEAVY} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("change", "part", "advice"),
    [
        ({"mmcv-lite": "2.2.0"}, "mmcv-lite", "mmcv-lite==2.1.0"),
        ({"numpy": "2.3.1"}, "numpy", "numpy>=1.26,<2"),
        ({"opencv-python-headless": "4.13.0.90"}, "opencv", "opencv-python==4.13.0.90"),
    ],
)
def test_versions_that_do_not_go_together(change, part, advice):
    assert doctor.conflicts(FINE) == []
    (finding,) = doctor.conflicts(FINE | change)
    assert (finding.part, finding.state) == (part, "broken")
    assert advice in finding.remedy


def test_a_mismatch_of_torch_and_torchvision_breaks_the_core(probes, capsys):
    probes(core="raise RuntimeError('operator torchvision::nms does not exist')", weights="print('fine')")
    assert doctor.main() == 1
    out = capsys.readouterr().out
    assert "core       broken   RuntimeError: operator torchvision::nms does not exist" in out
    assert "torch and torchvision come from different builds" in out


def test_an_extra_that_is_not_installed_is_no_failure(probes, capsys):
    probes(core="print('fine')", bev="import a_package_that_nobody_has")
    assert doctor.main() == 0
    out = capsys.readouterr().out
    assert "bev        missing" in out
    assert "uv sync --extra bev" in out


def test_a_crash_of_a_probe_does_not_take_the_doctor_down(probes):
    probes(core="import os; os.abort()")
    (finding,) = doctor.examine()
    assert finding.state == "broken"
    assert "ended with code -6" in finding.detail


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("AssertionError: MMCV==2.2.0 is used but incompatible. Please install mmcv>=2.0.0rc4.", "mmcv-lite==2.1.0"),
        ("A module that was compiled using NumPy 1.x cannot be run in NumPy 2.0.0", "numpy>=1.26,<2"),
        ("ImportError: libGL.so.1: cannot open shared object file", "apt-get install"),
    ],
)
def test_known_error_messages_have_a_remedy(error, advice):
    assert advice in doctor.remedy("mmseg", error)
