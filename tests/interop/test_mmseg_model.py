"""DDP inside mmsegmentation: trained, validated and tested by mmengine's Runner on synthetic ADE20K."""

import pytest
import torch

pytest.importorskip("mmengine", reason="the extra mmseg is not installed")

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from data_prep.mini import write_mini
from ddp_repro.interop.checkpoints import save_weights
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.errors import ConfigError

SETTINGS = {
    "backbone": "resnet10t", "drop_path_rate": 0.0, "num_classes": 150, "channels": 32, "layers": 1, "heads": 4,
    "feedforward_channels": 32, "average_steps": True,
}  # fmt: skip

CONFIG = """
custom_imports = dict(imports=['ddp_repro.interop.mmseg_model'])
default_scope = 'mmseg'
model = dict(type='DDPSegmentor', settings={settings}, steps=2)
train_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
    dict(type='RandomCrop', crop_size=(64, 64), cat_max_ratio=0.75), dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'), dict(type='Resize', scale=(96, 64), keep_ratio=True),
    dict(type='LoadAnnotations'), dict(type='PackSegInputs'),
]
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(type='ADE20KDataset', data_root={root!r}, pipeline=train_pipeline,
                 data_prefix=dict(img_path='images/training', seg_map_path='annotations/training')))
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='ADE20KDataset', data_root={root!r}, pipeline=test_pipeline,
                 data_prefix=dict(img_path='images/validation', seg_map_path='annotations/validation')))
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=3, val_interval=3)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3),
                     logger=dict(type='LoggerHook', interval=1, log_metric_by_epoch=False))
log_level = 'ERROR'
work_dir = {work!r}
randomness = dict(seed=0)
"""


@pytest.fixture(scope="module")
def ade20k(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "ade20k"
    write_mini("ade20k", root, train=4, val=2, size=(64, 96))
    return root


def make_config(root, work, **settings):
    path = work / "ddp_tiny.py"
    path.write_text(CONFIG.format(settings=SETTINGS | settings, root=str(root), work=str(work)))
    return Config.fromfile(path)


def build(config):
    from mmseg.registry import MODELS

    init_default_scope("mmseg")
    return MODELS.build(config.model).eval()


def test_trains_validates_and_tests_through_the_runner(ade20k, tmp_path):
    config = make_config(ade20k, tmp_path)
    runner = Runner.from_cfg(config)
    before = {name: p.detach().clone() for name, p in runner.model.named_parameters()}
    runner.train()
    changed = [name for name, p in runner.model.named_parameters() if not torch.equal(p, before[name])]
    assert {name.split(".")[1] for name in changed} >= {"backbone", "neck", "decoder", "encoding", "fusion"}
    losses = runner.message_hub.get_scalar("train/loss_ddp").data[0]
    assert len(losses) == 3 and all(loss > 0 for loss in losses)
    metrics = runner.test()
    assert 0 <= metrics["mIoU"] <= 100 and 0 <= metrics["aAcc"] <= 100
    assert (tmp_path / "iter_3.pth").is_file()


def test_prediction_is_our_sampler_on_our_noise(ade20k, tmp_path):
    from ddp_repro.diffusion import image_generator

    model = build(make_config(ade20k, tmp_path))
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)  # BGR, as mmcv loads it
    from mmseg.structures import SegDataSample

    path = "somewhere/ADE_val_00000001.jpg"
    sample = SegDataSample(metainfo={"img_path": path, "ori_shape": (50, 70), "img_shape": (64, 96)})
    [prediction] = model.test_step({"inputs": [image], "data_samples": [sample]})
    assert prediction.pred_sem_seg.data.shape == (1, 50, 70)
    assert prediction.seg_logits.data.shape == (150, 50, 70)

    network = model.network
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (network.mean, network.std))
    normalised = ((image.flip(0).float() - mean) / std)[None]
    scores = network.sample(normalised, 2, generator=[image_generator(0, "ADE_val_00000001")])
    scores = torch.nn.functional.interpolate(scores, size=(64, 96), mode="bilinear")
    scores = torch.nn.functional.interpolate(scores, size=(50, 70), mode="bilinear")
    assert torch.allclose(prediction.seg_logits.data, scores[0], atol=1e-6)


def test_images_without_metadata(ade20k, tmp_path):
    model = build(make_config(ade20k, tmp_path))
    images = torch.zeros(2, 3, 64, 64)
    assert model(images, mode="tensor").shape == (2, 150, 16, 16)
    assert [p.pred_sem_seg.data.shape for p in model(images, mode="predict")] == [(1, 64, 64)] * 2


def test_baseline_predicts_too(ade20k, tmp_path):
    model = build(make_config(ade20k, tmp_path, diffusion=False, average_steps=False))
    assert model(torch.zeros(1, 3, 64, 64), mode="tensor").shape == (1, 150, 16, 16)


def test_starts_from_a_checkpoint(ade20k, tmp_path):
    weights = build_model(ModelConfig(**SETTINGS))
    save_weights(weights, tmp_path / "ddp.safetensors")
    config = make_config(ade20k, tmp_path)
    config.model.checkpoint = str(tmp_path / "ddp.safetensors")
    assert torch.equal(build(config).network.fusion.weight, weights.fusion.weight)


def test_unknown_setting_is_named(ade20k, tmp_path):
    with pytest.raises(ConfigError, match="no field 'colour'"):
        build(make_config(ade20k, tmp_path, colour=1))
