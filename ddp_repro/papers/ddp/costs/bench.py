"""The benchmark: every stage of sampling beside its own floor, and beside the published formulation.

All candidates take turns within a repetition, so that a change of the machine's load meets all of them; ratios are
taken within repetitions.  With one CPU thread, the time is that of the process alone and not of those it shared the
core with; otherwise it is wall time.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ddp_repro.costs.clock import clock_of
from ddp_repro.costs.dtypes import autocast_to, check_dtype
from ddp_repro.costs.floor import floor_of
from ddp_repro.evaluation.views import best_class
from ddp_repro.networks.acceleration import accelerate
from ddp_repro.networks.attention.deformable import attention_backend, attention_by
from ddp_repro.networks.decoder import DecoderLayer
from ddp_repro.networks.precision import full_precision
from ddp_repro.networks.shapes import shape_of, tokens_of
from ddp_repro.papers.ddp import as_published as published
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.costs.training_step import LOADING, training_candidates, training_step
from ddp_repro.papers.ddp.model import DDP
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import CompileMode

STAGES = ("encoder", "neck", "fusion", "step", "upsampling")
Candidates = dict[str, Callable[[], object]]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is measured, and under which conditions.

    Attributes:
        size: (height, width) of the images.
        steps: numbers of sampling steps, timed whole: image to labels.
        dtype: a key of :data:`ddp_repro.costs.dtypes.DTYPES`; of the reduced ones, autocast's.
        backend: of the attention; None: the fastest there is.
        repetitions: at least three, after one that is not counted.
        published: also time the published formulation, in float32 whatever the dtype.
        training: also time what an iteration of training consists of (:mod:`.training_step`).
        compile, channels_last, checkpointing: of ours alone, see :func:`ddp_repro.networks.acceleration.accelerate`.
    """

    size: tuple[int, int] = (512, 512)
    steps: tuple[int, ...] = (1, 3)
    batch: int = 1
    dtype: str = "float32"
    backend: str | None = None
    device: str = "cpu"
    repetitions: int = 5
    published: bool = True
    training: bool = True
    compile: CompileMode = "off"
    channels_last: bool = False
    checkpointing: bool = False

    @property
    def switches(self) -> tuple[str, ...]:
        """The fast paths that are switched on, as words for names and titles."""
        compiled = () if self.compile == "off" else (f"compile_{self.compile}",)
        return compiled + tuple(name for name in ("channels_last", "checkpointing") if getattr(self, name))

    def accelerate(self, model: DDP) -> None:
        """Switch them on."""
        accelerate(
            model, compile=self.compile, channels_last=self.channels_last, gradient_checkpointing=self.checkpointing
        )

    def __post_init__(self) -> None:
        if self.compile not in get_args(CompileMode):
            raise ConfigError(f"no compile mode {self.compile!r}; there are {', '.join(get_args(CompileMode))}")
        if self.switches and self.published:
            raise ConfigError("the published formulation is timed as it is: leave it out beside fast paths")
        if self.repetitions < 3 or self.batch < 1 or min(self.steps, default=0) < 1 or min(self.size) < 32:
            raise ConfigError("a benchmark takes at least 3 repetitions, 1 image, 1 step and images of 32×32")
        check_dtype(self.dtype)


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of one candidate, per batch.

    Attributes:
        seconds: of every repetition.
        median, quartiles: over them.
    """

    name: str
    seconds: tuple[float, ...]
    median: float
    quartiles: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A finished benchmark of one setting.

    Attributes:
        clock: "process" (CPU time of this process) or "wall".
        attention: name of the backend that ran.
        timings: of the stages, their floors, and whole images.
    """

    clock: str
    attention: str
    timings: tuple[Timing, ...]

    def __getitem__(self, name: str) -> Timing:
        return next(timing for timing in self.timings if timing.name == name)

    def has(self, name: str) -> bool:
        """Whether ``name`` was measured."""
        return any(timing.name == name for timing in self.timings)

    def ratio(self, above: Sequence[str], below: Sequence[str]) -> float:
        """Median over repetitions of a ratio; two names stand for the first's seconds without the second's."""
        pairs = zip(self._seconds(above), self._seconds(below), strict=True)
        return statistics.median(numerator / denominator for numerator, denominator in pairs)

    def _seconds(self, names: Sequence[str]) -> list[float]:
        first, *rest = (self[name].seconds for name in names)
        return [value - sum(others) for value, *others in zip(first, *rest, strict=True)]


def measure(
    config: ModelConfig, setting: Setting, progress: bool = True, load: Callable[[], object] | None = None
) -> Measurement:
    """Time a model with initial weights on random images.

    Args:
        load: reads a batch of training images, which is timed as a part of training; None: it is not.

    Raises:
        ConfigError: a baseline, which has no steps; or no such attention backend.
    """
    if not config.diffusion:
        raise ConfigError("the non-diffusion baseline has no sampling steps to time")
    device = torch.device(setting.device)
    with attention_by(setting.backend) if setting.backend else nullcontext():
        model = initial_model(config, device)
        with autocast_to(setting.dtype, setting.device):
            candidates = _candidates(model, setting)
            candidates |= {LOADING: load} if load and setting.training else {}
            setting.accelerate(model)  # only now: the floors were counted in the plain model
            name, clock = clock_of(device)
            seconds = _take_turns(candidates, clock, setting.repetitions, progress)
        backend = attention_backend(device)
    return Measurement(clock=name, attention=backend, timings=tuple(_timing(*item) for item in seconds.items()))


def initial_model(config: ModelConfig, device: torch.device | str) -> DDP:
    """Return a model whose attention reads between pixels, as a trained one's, not where it starts, at whole ones."""
    torch.manual_seed(0)
    model = cast(DDP, build_model(config).eval())
    for layer in model.decoder.layers:
        torch.nn.init.normal_(cast(DecoderLayer, layer).attention.sampling_offsets.weight, std=0.05)
    return model.to(device)


def to_labels(model: DDP, images: Tensor, output: Tensor) -> Tensor:
    """Return a map at the decoder's resolution -> classes, or metres, at the image's."""
    size = shape_of(images)
    if output.shape[1] == 1:
        return F.interpolate(output, size=size, mode="bilinear", align_corners=False)[:, 0]
    return torch.stack([best_class(scores.float(), size, size)[1] for scores in output])


def random_batch(model: DDP, setting: Setting) -> dict[str, Tensor]:
    """Images with the ground truth of either task."""
    generator, size = torch.Generator().manual_seed(0), (setting.batch, *setting.size)
    label = torch.randint(0, model.config.num_classes, size, generator=generator)
    image = torch.randn(setting.batch, 3, *setting.size, generator=generator)
    batch = {"image": image, "label": label, "depth": label % 9 + 1.0}
    return {name: value.to(setting.device) for name, value in batch.items()}


def _candidates(model: DDP, setting: Setting) -> Candidates:
    batch = random_batch(model, setting)
    images = batch["image"]
    with torch.no_grad():
        maps = model.backbone(images)
        features = model.neck(maps)
        image_part, shape = model.project_features(features), shape_of(features)
        noise = torch.randn(len(images), *model.noise_shape(features), device=images.device)
        noisy = model.project_map(tokens_of(noise))
        output = model.denoise(image_part + noisy, shape, torch.ones(len(images), device=images.device))
    now, following = torch.tensor([1.0, 0.5], device=images.device)

    def step() -> None:
        decoded = model.denoise(image_part + noisy, shape, now.expand(len(images)))
        model.sampler(noisy, model.project_clean(decoded), now, following, model.schedule, **_no_noise(model, noisy))

    stages = {
        "encoder": lambda: model.backbone(images), "neck": lambda: model.neck(maps),
        "fusion": lambda: model.project_features(features), "step": step,
        "upsampling": lambda: to_labels(model, images, output),
    }  # fmt: skip
    candidates: Candidates = {name: _without_gradients(stage) for name, stage in stages.items()}
    candidates |= {f"{name} floor": floor_of(stages[name]) for name in STAGES if name != "upsampling"}
    for steps in setting.steps:
        candidates[f"{steps} steps"] = lambda n=steps: to_labels(model, images, model.sample(images, n, noise))
    if setting.published:
        candidates |= _published(model, images, features.float(), noise, setting)
    if setting.training:
        candidates |= training_candidates(model, batch, noise)
    return candidates


def _published(model: DDP, images: Tensor, features: Tensor, noise: Tensor, setting: Setting) -> Candidates:
    now, following = torch.tensor([1.0, 0.5], device=images.device)
    extra = [noise] * max(setting.steps)

    def step() -> None:
        with attention_by("reference"):
            published.step(model, features, noise, torch.stack([now, following]), _no_noise(model, noise))

    whole: Candidates = {
        f"{n} steps, published": lambda n=n: published.to_labels(
            images, published.sample(model, images, n, noise, model.config.average_steps, extra)
        )
        for n in setting.steps
    }
    candidates = {"step, published": _without_gradients(step)} | whole
    if setting.training:
        batch = random_batch(model, setting)
        candidates["training, published"] = lambda: training_step(model, batch, noise, as_published=True)
    return {name: _in_float32(run, images.device) for name, run in candidates.items()}


def _in_float32(function: Callable[[], object], device: torch.device) -> Callable[[], object]:
    def run() -> object:
        with full_precision(device):
            return function()

    return run


def _no_noise(model: DDP, like: Tensor) -> dict[str, Tensor]:
    return {"noise": torch.zeros_like(like)} if model.config.sampler == "ddpm" else {}


def _without_gradients(function: Callable[[], object]) -> Callable[[], object]:
    return torch.no_grad()(function)


def _take_turns(
    candidates: Candidates, clock: Callable[[], float], repetitions: int, progress: bool
) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for repetition in tqdm(range(repetitions + 1), desc="benchmark", disable=None if progress else True):
        for name, run in candidates.items():
            start = clock()
            run()
            elapsed = clock() - start
            if repetition > 0:
                seconds[name].append(elapsed)
    return seconds


def _timing(name: str, seconds: list[float]) -> Timing:
    first, median, third = statistics.quantiles(seconds, n=4, method="inclusive")
    return Timing(name=name, seconds=tuple(seconds), median=median, quartiles=(first, third))
