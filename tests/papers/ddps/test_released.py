"""Released checkpoints: names and shapes by the manifests, T, averages, stages, and files that do not fit."""

from __future__ import annotations

import hashlib
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from torch import Tensor

from ddp_repro.interop.checkpoints import CheckpointError
from ddp_repro.papers.ddps import released
from ddp_repro.papers.ddps.model import DDPS
from ddp_repro.papers.ddps.segmentors import build_segmentor
from ddp_repro.papers.ddps.settings import DDPSConfig
from ddp_repro.settings.errors import ConfigError

from . import golden, tiny

MANIFESTS = {
    "ade_segformer_b2_multistep(T100)": DDPSConfig(segmentor="segformer_b2"),
    "ade_segformer_b2_singlestep": DDPSConfig(segmentor="segformer_b2", stage="single", dim=128),
    "city_segformer_b0_multistep": DDPSConfig(segmentor="segformer_b0", num_classes=19, timesteps=20, dim=128),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_names_and_shapes_are_those_of_the_manifest(name: str) -> None:
    config, manifest = MANIFESTS[name], golden.manifests()[name]
    with torch.device("meta"):
        model = DDPS(config, build_segmentor(config.segmentor, config.num_classes))
        theirs = {f"decode_head.{key}": torch.empty(shape) for key, shape in manifest.items()}
    ours = {key: tuple(value.shape) for key, value in model.state_dict().items() if ".backbone." not in key}
    translated = {key: tuple(value.shape) for key, value in released.renamed(theirs).items()}
    classifier = {f"segmentor.decode_head.conv_seg.{leaf}" for leaf in ("weight", "bias")}
    assert translated.keys() == ours.keys() - classifier
    assert all(ours[key] == shape for key, shape in translated.items())


def release(model: DDPS, averaged: bool = False) -> dict[str, Tensor]:
    """The model's weights as its authors' code would save them."""
    theirs = {}
    for key, value in model.state_dict().items():
        if not key.startswith("segmentor.decode_head.conv_seg."):
            theirs[key.replace("prior.", "decode_head.").replace("segmentor.", "")] = value.clone()
    raw = {f"ema_{key.replace('.', '_')}": value + 1 for key, value in theirs.items()} if averaged else {}
    return theirs | raw


@pytest.mark.parametrize("changes", [{}, {"stage": "single"}, {"timesteps": 7, "schedule": "cos"}])
def test_settings_are_told_by_the_shapes(changes: dict) -> None:
    model = tiny.model(**changes)
    head = released.inspect_released(release(model))
    config = head.config("segformer_b0")
    for field in ("num_classes", "stage", "levels", "dim", "multipliers", "out_channels", "embedding_channels"):
        assert getattr(config, field) == getattr(model.config, field)
    assert config.stage == "single" or config.schedule == model.config.schedule
    assert head.feature_channels == 16 and not head.averaged


def test_wide_levels_are_told_by_the_shapes() -> None:
    model = tiny.model(multipliers=(1, 2, 4))
    assert released.inspect_released(release(model)).multipliers == (1, 2, 4)


@pytest.mark.parametrize("weights", ["average", "raw"])
def test_average_and_raw_weights_are_told_apart(tmp_path: Path, weights: str) -> None:
    source, target = tiny.model(), tiny.model()
    classifier = target.segmentor.classifier.weight.clone()
    for parameter in target.parameters():
        parameter.data.zero_()
    target.segmentor.classifier.weight.data.copy_(classifier)
    theirs = release(source, averaged=True)
    for table in released.TABLES:  # which an average leaves as they are
        theirs[f"ema_decode_head_{table}"] = theirs[f"decode_head.{table}"]
    path = tmp_path / "iter_160000.pth"
    torch.save({"state_dict": theirs, "meta": {"best": np.float64(49.65), "iter": 160000}}, path)
    report = released.load_released(target, path, weights)
    shift = 1 if weights == "raw" else 0
    golden.assert_close(target.prior.unet.final_conv.weight, source.prior.unet.final_conv.weight + shift, 0)
    assert torch.equal(target.segmentor.classifier.weight, classifier)
    assert len(report.used) == len(report.ignored) == len(release(source))


def test_a_checkpoint_without_average() -> None:
    model = tiny.model()
    released.load_released(model, release(model))
    with pytest.raises(CheckpointError, match="no moving average"):
        released.load_released(model, release(model), "raw")


def test_an_average_that_does_not_pair() -> None:
    model = tiny.model()
    theirs = release(model, averaged=True)
    del theirs["ema_decode_head_embed_weight"]
    theirs["ema_decode_head_else"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"1 without a partner \(decode_head.embed.weight\), 1 of no weight"):
        released.load_released(model, theirs)


def test_stages_are_not_confused() -> None:
    single, multi = tiny.model(stage="single"), tiny.model()
    with pytest.raises(CheckpointError, match=r"is a stage-1 checkpoint .* expects a stage-2 .*start_second_stage"):
        released.load_released(multi, release(single))
    with pytest.raises(CheckpointError, match=r"is a stage-2 checkpoint .* expects a stage-1 .*stage='multi'"):
        released.load_released(single, release(multi))
    with pytest.raises(CheckpointError, match="is a stage-2 checkpoint; stage 2 begins"):
        released.start_second_stage(multi, release(multi))
    with pytest.raises(CheckpointError, match="is a stage-2 checkpoint; stage 2 begins"):
        released.start_second_stage(multi, multi.state_dict())
    with pytest.raises(CheckpointError, match="this one has stage='single'"):
        released.start_second_stage(single, release(single))


@pytest.mark.parametrize("ours", [True, False])
def test_stage_two_begins_from_stage_one(ours: bool) -> None:
    single, multi = tiny.model(stage="single"), tiny.model()
    for parameter in multi.prior.parameters():
        parameter.data.zero_()
    report = released.start_second_stage(multi, single.state_dict() if ours else release(single))
    assert report.origin == ("ddp_repro" if ours else "official")
    for key, value in single.prior.state_dict().items():
        assert torch.equal(multi.prior.state_dict()[key], value)
    multi.prior.check_tables()
    first = multi.sample(features=tiny.features(), steps=[0], generator=torch.Generator().manual_seed(0))
    golden.assert_close(first, single.sample(features=tiny.features(), generator=torch.Generator().manual_seed(0)), 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"timesteps": 7}, "trained with T = 7; the model has timesteps = 20"),
        ({"schedule": "cos"}, "trained on a cos schedule; the model's is linear"),
        ({"dim": 8}, "of another shape: prior.unet"),
    ],
)
def test_settings_that_differ(changes: dict, message: str) -> None:
    model = tiny.model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        released.load_released(model, release(tiny.model(**changes)))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_another_number_of_classes() -> None:
    theirs = release(tiny.model())
    theirs["decode_head.conv_seg_new.weight"] = torch.zeros(20, 12, 1, 1)
    with pytest.raises(CheckpointError, match=r"has 20 symbols \(19 classes\); the model has 5 \(4 classes\)"):
        released.load_released(tiny.model(), theirs)


def test_tensors_that_are_missing_or_too_many() -> None:
    theirs = release(tiny.model())
    del theirs["decode_head.unet.mid_attn.fn.norm.g"]
    theirs["decode_head.unet.more"] = torch.zeros(1)
    message = r"1 tensor\(s\) missing: prior.unet.mid_attn.fn.norm.g; 1 tensor\(s\) unexpected: prior.unet.more"
    with pytest.raises(CheckpointError, match=message):
        released.load_released(tiny.model(), theirs)
    with pytest.raises(CheckpointError, match="'decode_head.embed.weight' is missing"):
        released.inspect_released({k: v for k, v in theirs.items() if k != "decode_head.embed.weight"})
    with pytest.raises(CheckpointError, match="not a checkpoint of the DDPS authors"):
        released.load_released(tiny.model(), {"backbone.weight": torch.zeros(1)})
    theirs = release(tiny.model())
    theirs["decode_head.log_cumprod_at"] = -torch.arange(21.0)
    with pytest.raises(CheckpointError, match=r"\(T = 20\) is that of none of: linear, cos"):
        released.load_released(tiny.model(), theirs)


def test_a_base_segmentor_loads_without_its_auxiliary_head() -> None:
    source, target = build_segmentor("deeplabv3plus_mobilenet_v2", 4), build_segmentor("deeplabv3plus_mobilenet_v2", 4)
    theirs = source.state_dict() | {"auxiliary_head.conv_seg.weight": torch.zeros(4, 8, 1, 1)}
    report = released.load_segmentor(target, theirs)
    assert report.ignored == ("auxiliary_head.conv_seg.weight",)
    assert all(
        torch.equal(a, b) for a, b in zip(source.state_dict().values(), target.state_dict().values(), strict=True)
    )
    with pytest.raises(CheckpointError, match=r"of another shape: decode_head.conv_seg.weight \(checkpoint \(4, "):
        released.load_segmentor(build_segmentor("deeplabv3plus_mobilenet_v2", 6), theirs)


def test_a_file_that_carries_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.pth"
    torch.save({"state_dict": release(tiny.model()), "meta": {"path": Path("x")}}, path)
    with pytest.raises(CheckpointError, match="could run code"):
        released.load_released(tiny.model(), path)


# -- the hub -----------------------------------------------------------------------------------------------------------


RECIPE = "ddps_ade20k_segformer_b2"


def snapshot(folder: Path, *contents: bytes) -> Path:
    """What the hub's cache holds of a repository: links to files that are named by their content."""
    for number, content in enumerate(contents):
        blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
        link = folder / "snapshots" / "main" / "segformer_b2_multistep" / f"iter_{number}.pth"
        for path in (blob, link):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link.symlink_to(blob)
    return folder / "snapshots" / "main"


def test_a_hub_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> str:
        raise OSError("network is unreachable")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(
        CheckpointError, match=r"cannot download aaronb/DDPS-all/segformer_b2.*unreachable.*--checkpoint"
    ):
        released.official_checkpoint(RECIPE)


def test_a_cached_file_of_another_content_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = snapshot(tmp_path, b"right")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(root))
    path = released.official_checkpoint(RECIPE)
    assert path.read_bytes() == b"right"
    path.resolve().write_bytes(b"wrong")
    with pytest.raises(CheckpointError, match=f"expected {hashlib.sha256(b'right').hexdigest()}"):
        released.official_checkpoint(RECIPE)
    assert not path.exists()


def test_a_folder_with_several_checkpoints_is_not_guessed_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = snapshot(tmp_path, b"one", b"two")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(root))
    with pytest.raises(CheckpointError, match=r"one checkpoint segformer_b2_multistep.*iter_0.pth, .*iter_1.pth"):
        released.official_checkpoint(RECIPE)


def test_a_recipe_without_a_released_checkpoint() -> None:
    with pytest.raises(CheckpointError, match="no released checkpoint is known for 'ddps_cityscapes_segformer_b0'"):
        released.official_checkpoint("ddps_cityscapes_segformer_b0")


# -- through the project's own loader ----------------------------------------------------------------------------------


def test_load_checkpoint_takes_a_released_one() -> None:
    from ddp_repro.interop.checkpoints import load_checkpoint

    source, target = tiny.model(), tiny.model(loss_mean="labelled")
    for parameter in target.parameters():
        parameter.data.add_(1)
    report = load_checkpoint(target, release(source, averaged=True))
    assert report.origin == "official" and len(report.ignored) == len(release(source))
    features = tiny.features()
    generators = [torch.Generator().manual_seed(0) for _ in range(2)]
    results = [
        m.sample(features=features, steps=3, generator=g) for m, g in zip((source, target), generators, strict=True)
    ]
    assert torch.equal(*results)
    assert target.sample(features=features, steps=2, return_trajectory=True).base is None
    with pytest.raises(ConfigError, match="no classifier of the segmentor"):
        target.base_prediction(features)


def test_load_checkpoint_names_both_stages() -> None:
    from ddp_repro.interop.checkpoints import load_checkpoint

    with pytest.raises(CheckpointError, match=r"stage-2 checkpoint .* expects a stage-1 checkpoint"):
        load_checkpoint(tiny.model(stage="single"), release(tiny.model()))
