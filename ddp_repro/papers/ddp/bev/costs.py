"""What every stage of a BEV model costs: parameters, multiply-accumulates and time of one sample at its full size.

The sample is made up (:mod:`ddp_repro.tasks.bev.made_up`).  Nothing here depends on values, except how many voxels
there are; that number is part of the result.  MACs are counted on the forward pass that is timed, so that those of the
sparse convolutions are the pairs of sites in their rulebooks times channels.  Bilinear reads, pooling and activations
have none.
"""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ddp_repro.costs.clock import clock_of
from ddp_repro.costs.dtypes import autocast_to
from ddp_repro.costs.floor import floor_of
from ddp_repro.costs.macs import count_macs, count_parameters
from ddp_repro.costs.memory import peak_so_far, reset_peak
from ddp_repro.networks.attention.deformable import attention_backend
from ddp_repro.networks.shapes import shape_of, tokens_of
from ddp_repro.papers.ddp.bev.grid import crop_to_map
from ddp_repro.papers.ddp.bev.model import BEVDDP
from ddp_repro.papers.ddp.bev.pool import bev_pool, plan_pooling
from ddp_repro.papers.ddp.bev.settings import BEVConfig
from ddp_repro.papers.ddp.bev.view_transform import Calibration
from ddp_repro.tasks.bev.made_up import made_up_sample

STEPS = 3

Stage = tuple[str, int, int, Callable[[], Any]]  # name, parameters, passes, what runs


@dataclass(frozen=True, kw_only=True)
class StageCost:
    """One stage, per pass.

    Attributes:
        passes: how often it runs for a sample: once, from every start noise, or at every step from it.
        macs: of convolutions, linear layers and products of activations.
        seconds: of every repetition, after one that is not counted.
        floor_seconds: of its matrix products and convolutions alone; those of sparse convolutions are among them.
    """

    name: str
    parameters: int
    passes: int
    macs: int
    seconds: tuple[float, ...]
    floor_seconds: tuple[float, ...] = ()  # records of before have none

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median_high(self.seconds)

    @property
    def floor(self) -> float | None:
        """Seconds, or None where they were not measured."""
        return statistics.median_high(self.floor_seconds) if self.floor_seconds else None


@dataclass(frozen=True, kw_only=True)
class BEVCosts:
    """All stages of a model, in the order in which they run.

    Attributes:
        clock: "process" (CPU time) with one thread on a CPU, else "wall".
        attention: backend of the deformable attention.
        voxels: occupied ones of the sample; 0 without LiDAR.
        peak_bytes: above the idle model and its inputs, of a whole sample ("sample") and of the pooling ("pooling").
        dtype: of the network: float32, or autocast's.
    """

    clock: str
    attention: str
    voxels: int
    stages: tuple[StageCost, ...]
    peak_bytes: dict[str, int]
    dtype: str = "float32"

    @property
    def macs(self) -> int:
        """Of a sample."""
        return sum(stage.passes * stage.macs for stage in self.stages)

    @property
    def seconds(self) -> float:
        """Of a sample, as the sum of the stages' medians."""
        return sum(stage.passes * stage.median for stage in self.stages)

    @property
    def floor(self) -> float | None:
        """Seconds of a sample's products alone, or None where they were not measured."""
        floors = [(stage.passes, stage.floor) for stage in self.stages]
        return None if any(floor is None for _, floor in floors) else sum(n * floor for n, floor in floors if floor)


def measure_bev_costs(config: BEVConfig, device: str = "cpu", repetitions: int = 3, dtype: str = "float32") -> BEVCosts:
    """Count and time the stages of a model with initial weights, at batch size 1, in :data:`STEPS` sampling steps.

    Raises:
        ConfigError: no such dtype.
    """
    model, batch = _initial_model(config, device), made_up_sample(config, device)
    name, clock = clock_of(device)
    with torch.no_grad(), autocast_to(dtype, device):
        stages = tuple(_measure(stage, clock, repetitions) for stage in _stages(model, batch))
        voxels = len(model.lidar.voxels(batch["points"])[0]) if config.sensors == "fusion" else 0
    return BEVCosts(
        clock=name, attention=attention_backend(torch.device(device)),
        voxels=voxels, stages=stages, dtype=dtype,
        peak_bytes={name: _peak_in_own_process(name, config, device, dtype) for name in _MEASURED},
    )  # fmt: skip


def _initial_model(config: BEVConfig, device: str) -> BEVDDP:
    torch.manual_seed(0)
    return BEVDDP(config).eval().to(device)


def _stages(model: BEVDDP, batch: dict[str, Any]) -> Iterator[Stage]:
    """Every stage with its real inputs."""
    calibration, camera = Calibration.of(batch), model.camera
    images = camera.image_features(batch["image"])
    parts = camera.backbone, camera.neck
    yield "camera encoder", _size(*parts), 1, lambda: camera.image_features(batch["image"])
    feature = camera.view_transform(images, calibration)
    yield "view transform", _size(camera.view_transform), 1, lambda: camera.view_transform(images, calibration)
    if model.config.sensors == "fusion":
        voxels = model.lidar.voxels(batch["points"])
        yield "LiDAR voxelisation", 0, 1, lambda: model.lidar.voxels(batch["points"])
        lidar = model.lidar.encoder(*voxels)
        yield "sparse encoder", _size(model.lidar), 1, lambda: model.lidar.encoder(*voxels)
        both = [feature, lidar]
        feature = model.fuser(both)
        yield "fuser", _size(model.fuser), 1, lambda: model.fuser(both)
    encoded = model.bev_encoder(feature)
    yield "BEV encoder", _size(model.bev_encoder), 1, lambda: model.bev_encoder(feature)
    yield from _diffusion_stages(model, encoded)


def _diffusion_stages(model: BEVDDP, features: Tensor) -> Iterator[Stage]:
    """Yield what :meth:`DDP.sample` does with a BEV feature."""
    config, starts, shape = model.config, model.config.noise_samples, shape_of(features)
    passes = starts * STEPS
    noise = torch.randn(1, *model.noise_shape(features), device=features.device)

    def project() -> Tensor:
        return model.project_features(features) + model.project_map(tokens_of(noise))

    yield "start: feature and noise projected", _size(model.fusion), starts, project
    fused = project()
    now, following = torch.tensor([1.0, 1 - 1 / STEPS], device=features.device)
    maps = fused.transpose(1, 2).unflatten(-1, shape)

    def crop() -> Tensor:
        return crop_to_map(maps, config.lift_range, config.map_range, config.map_cell)

    yield "step: crop to the map", 0, passes, crop
    cropped = crop()
    tokens, size = tokens_of(cropped), shape_of(cropped)
    time_embedding = model.time_embedding

    def decode() -> Tensor:
        return model.decoder(tokens, size, time_embedding(model.noise_level(now[None])) if time_embedding else None)

    trained = [model.decoder, *([time_embedding] if time_embedding else [])]
    yield "step: decoder and read-out", _size(*trained), passes, decode
    logits = decode()

    def update() -> Tensor:
        return model.sampler(fused, model.project_clean(logits), now, following, model.schedule)

    yield "step: new noisy map", _size(model.encoding), starts * (STEPS - 1), update


def _size(*parts: nn.Module) -> int:
    return sum(count_parameters(part) for part in parts)


def _measure(stage: Stage, clock: Callable[[], float], repetitions: int) -> StageCost:
    name, parameters, passes, run = stage
    _, macs = count_macs(run)
    floor, seconds = floor_of(run), ([], [])
    for _ in range(repetitions):
        for work, measured in zip((run, floor), seconds, strict=True):
            start = clock()
            work()
            measured.append(clock() - start)
    return StageCost(
        name=name, parameters=parameters, passes=passes, macs=macs.total, seconds=tuple(seconds[0]),
        floor_seconds=tuple(seconds[1]),
    )  # fmt: skip


def _peak_in_own_process(name: str, config: BEVConfig, device: str, dtype: str) -> int:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (name, config, device, dtype))


@torch.no_grad()
def _peak(name: str, config: BEVConfig, device: str, dtype: str) -> int:
    run = _MEASURED[name](config, device)
    before = reset_peak(torch.device(device))
    with autocast_to(dtype, device):
        run()
    return peak_so_far(torch.device(device)) - before


def _whole_sample(config: BEVConfig, device: str) -> Callable[[], Any]:
    model, batch = _initial_model(config, device), made_up_sample(config, device)
    return lambda: model.sample(batch, steps=STEPS)


def _pooling(config: BEVConfig, device: str) -> Callable[[], Any]:
    transform, batch = _initial_model(config, device).camera.view_transform, made_up_sample(config, device)
    cells = transform.cells(Calibration.of(batch))
    context = torch.randn(*cells.shape[:2], config.view_channels, *cells.shape[3:], device=device)
    depth = torch.rand(cells.shape, device=device)
    return lambda: bev_pool(context, depth, plan_pooling(cells, (transform.size, transform.size)))


_MEASURED = {"sample": _whole_sample, "pooling": _pooling}
