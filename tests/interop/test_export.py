"""Exported graphs: any size and batch, equal to PyTorch; the loop around them needs NumPy and onnxruntime alone."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ddp_repro import cli
from ddp_repro.diffusion import SCHEDULES, samplers
from ddp_repro.interop.export import graphs, runtime
from ddp_repro.papers.ddp.paper import PAPER
from ddp_repro.papers.ddp.settings import ModelConfig

SIZES = ((64, 96), (97, 163), (180, 240))
BACKBONES = ("resnet10t", "tf_efficientnet_lite0.in1k", "convnext_atto", "swin_tiny_patch4_window7_224")
FACTS = {"format": "onnx", "int8": False, "mean": [0, 0, 0], "std": [1, 1, 1], "classes": {"names": [], "palette": []}}


def small(backbone, **settings):
    """A narrow model whose norms and biases are no longer those of the beginning."""
    torch.manual_seed(0)
    config = ModelConfig(
        backbone=backbone, drop_path_rate=0.0, channels=32, layers=2, heads=4, feedforward_channels=64, scale=0.3,
        **({"num_classes": 7} | settings),
    )  # fmt: skip
    model = config.build().eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 1:
                weight += 0.1 * torch.randn_like(weight)
    return model


def test_the_loop_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['timm'] = None\n"
        "from ddp_repro.interop.export.runtime import ExportedModel\n"
        "import onnxruntime\n"
        "assert not {name for name in sys.modules if name.startswith('torch') and name != 'torch'}"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("schedule", ["cosine", "linear", "gamma"])
@pytest.mark.parametrize("difference", [0, 1])
def test_the_loops_steps_are_those_of_the_sampler(schedule, difference):
    generator = np.random.default_rng(0)
    noisy, clean = generator.standard_normal((2, 1, 3, 4, 5), dtype=np.float32)
    for steps in (1, 3, 10):
        pairs = samplers.time_pairs(steps, difference)
        np.testing.assert_allclose(runtime.time_pairs(steps, difference), pairs)
        for now, following in pairs:
            times = torch.tensor([now, following])
            want = samplers.ddim_step(torch.tensor(noisy), torch.tensor(clean), *times, SCHEDULES[schedule])
            ours = runtime.ddim_step(noisy, clean, now, following, schedule)
            np.testing.assert_allclose(ours, want.numpy(), atol=2e-5)


@pytest.mark.parametrize("size", [(9, 14), (40, 31), (5, 7)])
def test_maps_are_resized_as_pytorch_does(size):
    maps = np.random.default_rng(0).standard_normal((2, 3, 5, 7), dtype=np.float32)
    want = F.interpolate(torch.tensor(maps), size, mode="bilinear", align_corners=False)
    np.testing.assert_allclose(runtime.resize(maps, size), want.numpy(), atol=1e-5)


@pytest.mark.parametrize("size", [(7, 14), (9, 16), (2, 3)])
@pytest.mark.parametrize("shift", [0, 3])
def test_indexed_swin_blocks_are_the_padded_ones(size, shift):
    from timm.models.swin_transformer import PatchMerging, SwinTransformerBlock

    from ddp_repro.interop.export.indexed import index_padding
    from ddp_repro.networks.swin import partition_like_official

    torch.manual_seed(0)
    block = SwinTransformerBlock(32, (14, 14), num_heads=1, window_size=7, shift_size=shift, always_partition=True)
    parts = torch.nn.Sequential(block, PatchMerging(32)).eval()
    partition_like_official(parts)
    maps = torch.randn(2, *size, 32)
    with torch.no_grad():
        want = parts(maps)
        index_padding(parts)
        assert type(parts[0]).__name__ == "IndexedSwinBlock"
        assert (parts(maps) - want).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(8, 9), (5, 12)])
@pytest.mark.parametrize("kernel", [3, 5])
def test_indexed_convolutions_pad_as_tensorflow_does(size, kernel):
    from timm.layers import Conv2dSame

    from ddp_repro.interop.export.indexed import index_padding

    torch.manual_seed(0)
    layers = torch.nn.Sequential(Conv2dSame(3, 4, kernel, stride=2))
    maps = torch.randn(2, 3, *size)
    with torch.no_grad():
        want = layers(maps)
        index_padding(layers)
        assert type(layers[0]).__name__ == "IndexedConvolution"
        torch.testing.assert_close(layers(maps), want)


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ("nuscenes_mini_camera", "not one picture"),
        ("ddps_cityscapes_mini", "the paper ddps has no graphs"),
        ("ade20k_mini_baseline", "no sampling steps"),
    ],
)
def test_what_has_no_graphs_is_refused_with_what_has(recipe, reason, capsys):
    assert cli.main(["export", recipe]) == 2
    error = capsys.readouterr().err
    assert reason in error and "DDP's diffusion models for segmentation and depth" in error
    assert error.count("\n") == 1


def test_missing_packages_are_named_with_their_extra(monkeypatch, capsys):
    monkeypatch.setattr(graphs, "PACKAGES", ("onnx", "no_such_package"))
    assert cli.main(["export", "ade20k_mini"]) == 2
    assert "no_such_package: uv sync --extra export" in capsys.readouterr().err


def test_a_graph_of_pytorchs_own_is_not_measured(capsys):
    assert cli.main(["export", "ade20k_mini", "--format", "pt2", "--int8"]) == 2
    assert "ONNX graphs" in capsys.readouterr().err


def write_all(model, folder, kind="onnx"):
    """What the command writes, without its weights and recipe."""
    exportable = PAPER.export(model)
    facts = FACTS | exportable.facts | {"format": kind, "graphs": {}}
    for name, part in exportable.parts.items():
        graphs.write(part, folder / f"{name}.{kind}", kind)
        facts["graphs"][name] = {"file": f"{name}.{kind}", "inputs": list(part.example)}
    (folder / runtime.FACTS).write_text(json.dumps(facts))
    return facts


def inputs(model, size, batch):
    """Images and start noise, the same whoever asks."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, *size, generator=generator)
    with torch.no_grad():
        return images, torch.randn(batch, *model.noise_shape(model.encode_image(images)), generator=generator)


def largest_difference(model, exported, size, batch, steps=3):
    images, noise = inputs(model, size, batch)
    want = model.sample(images, steps, noise)
    return np.abs(exported.sample(images.numpy(), steps, noise.numpy()) - want.numpy()).max()


def smallest_margin(model, size, batch, steps=3) -> float:
    """By how much the likeliest class of any pixel and step is ahead of the next."""
    images, noise = inputs(model, size, batch)
    first, second = model.sample(images, steps, noise, return_trajectory=True).decoded.topk(2, dim=2).values.unbind(2)
    return (first - second).min().item()


@pytest.mark.slow
@pytest.mark.numerics
@pytest.mark.parametrize("backbone", BACKBONES)
def test_onnx_graphs_are_the_model_at_every_size_and_batch(backbone, tmp_path):
    model = small(backbone)
    write_all(model, tmp_path)
    exported, looped = runtime.ExportedModel.load(tmp_path, threads=1), 0
    for size, batch in itertools.product(SIZES, (1, 3)):
        assert largest_difference(model, exported, size, batch, steps=1) < 1e-4, (size, batch)
        if smallest_margin(model, size, batch) > 1e-4:  # else rounding turns a label, which the next step reads
            looped += 1
            assert largest_difference(model, exported, size, batch) < 1e-4, (size, batch)
    assert looped


@pytest.mark.slow
@pytest.mark.numerics
def test_depth_is_exported_in_metres_and_read_at_the_pictures_size(tmp_path):
    model = small("resnet10t", task="depth", num_classes=None, schedule="gamma", max_depth=10.0)
    write_all(model, tmp_path)
    exported = runtime.ExportedModel.load(tmp_path, threads=1)
    assert largest_difference(model, exported, (97, 163), 2) < 1e-4
    depth = exported.predict(np.zeros((50, 70, 3), np.uint8), steps=2)
    assert depth.shape == (50, 70) and 0 < depth.min() <= depth.max() <= 10


@pytest.mark.slow
@pytest.mark.numerics
def test_pt2_graphs_run_in_the_same_loop(tmp_path):
    model = small("resnet10t")
    facts = write_all(model, tmp_path, "pt2")

    def opened(name):
        graph = torch.export.load(tmp_path / f"{name}.pt2").module()
        names = facts["graphs"][name]["inputs"]

        def run(*arrays):
            output = graph(**{key: torch.from_numpy(array) for key, array in zip(names, arrays, strict=True)})
            return [each.numpy() for each in (output if isinstance(output, tuple) else (output,))]

        return run

    exported = runtime.ExportedModel(facts, {name: opened(name) for name in facts["graphs"]})
    for size in SIZES:
        for batch in (1, 3):
            assert largest_difference(model, exported, size, batch) < 1e-4, (size, batch)


@pytest.mark.slow
def test_the_command_writes_resumes_and_refuses(tmp_path, monkeypatch, capsys):
    from ddp_repro.workbook.catalogue import recipe
    from tests.test_readme import save_untrained

    monkeypatch.chdir(tmp_path)
    save_untrained(recipe("ade20k_mini"), tmp_path / "w.safetensors")
    command = ["export", "ade20k_mini", "--checkpoint", "w.safetensors", "--output", "graphs", "--int8"]
    assert cli.main(command) == 0
    written = {path.name for path in (tmp_path / "graphs").iterdir()}
    assert written == {
        "encoder.onnx", "encoder_int8.onnx", "step.onnx", "step_int8.onnx", "model.json", "runtime.py",
    }  # fmt: skip
    labels = runtime.ExportedModel.load("graphs", int8=True).predict(np.zeros((2, 48, 64, 3), np.uint8))
    assert labels.shape == (2, 48, 64)
    assert cli.main(command) == 0 and "already" in capsys.readouterr().out
    assert cli.main(command[:-1]) == 2
    assert "different int8" in capsys.readouterr().err
