"""One prediction and one training step at full size, measured: time beside its floor, memory, lower precision.

Networks have the recipe's shapes and random weights, so neither weights nor data are needed.  A stage's floor is the
time of its matrix products and convolutions alone; stages and floors take turns.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.costs.dtypes import DTYPES, check_dtype
from ddp_repro.costs.memory import apart, peak_so_far, reset_peak
from ddp_repro.costs.stages import FLOOR, time_stages
from ddp_repro.papers.genpercept.dpt_head import up_block_features
from ddp_repro.papers.genpercept.method import GenPerceptMethod, build_model
from ddp_repro.papers.genpercept.model import pad_to
from ddp_repro.papers.genpercept.settings import ModelConfig
from ddp_repro.settings.errors import ConfigError

SMALL = (64, 96)  # pixels


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is measured, and under which conditions.

    Attributes:
        size: (height, width) of the image.
        dtype: of all weights in the prediction, and of autocast in training; a key of :data:`DTYPES`.
        repetitions: of every stage, after one that is not counted.
        training: also measure the memory of a training step, forwards and backwards, of one image.
        checkpointing: of gradients, in the training step.
    """

    size: tuple[int, int] = (480, 640)
    dtype: str = "float32"
    device: str = "cpu"
    repetitions: int = 3
    training: bool = True
    checkpointing: bool = True

    def __post_init__(self) -> None:
        check_dtype(self.dtype)
        if self.repetitions < 1 or min(self.size) < 32:
            raise ConfigError("a benchmark takes at least 1 repetition and images of 32x32")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far a prediction in a lower precision is from float32's, as shares of the output's range.

    Attributes:
        largest, mean: over all pixels.
    """

    dtype: str
    largest: float
    mean: float


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was measured.

    Attributes:
        clock: "process" (time of this process) or "wall".
        seconds: of every repetition, by stage, and by stage with :data:`FLOOR` behind.
        weight_bytes: of all parameters, in the prediction.
        trained_bytes: of the parameters that are trained, in float32; Adam's two moments take twice as much.
        peak_bytes: of a whole process that does a prediction, or a training step without the optimiser: weights,
            gradients, interpreter and libraries are in it (on a GPU: what PyTorch allocated).
        differences: of lower precisions, of small networks of the same kind at :data:`SMALL`: on a CPU without products
            of these types, Stable Diffusion's would take hours.
    """

    clock: str
    seconds: dict[str, list[float]]
    weight_bytes: int
    trained_bytes: int
    peak_bytes: dict[str, int]
    differences: tuple[Difference, ...]

    @property
    def stages(self) -> list[str]:
        """Return the stages' names."""
        return [name for name in self.seconds if not name.endswith(FLOOR)]

    def median(self, name: str) -> float:
        """Return the median of a stage's seconds."""
        return statistics.median(self.seconds[name])

    @property
    def total(self) -> float:
        """Return the seconds of one prediction, the sum of its stages' medians."""
        return sum(map(self.median, self.stages))

    @property
    def floor(self) -> float:
        """Return the seconds of its matrix products and convolutions."""
        return sum(self.median(name + FLOOR) for name in self.stages)


def measure(config: ModelConfig, setting: Setting, progress: bool = True) -> Measurement:
    """Measure a one-step pipeline with random weights on a random image.

    Raises:
        ConfigError: a pipeline of several steps, or the stage that trains the VAE.
    """
    if not config.one_step or not config.predicts:
        raise ConfigError("full size is measured of one-step pipelines that predict")
    peaks = {"prediction": apart(setting.device, _peak_of_prediction, config, setting)}
    trained = 0
    if setting.training:
        peaks["training"], trained = apart(setting.device, _peak_of_training, config, setting)
    clock, seconds, weights = _seconds(config, setting, progress)
    return Measurement(
        clock=clock, seconds=seconds, weight_bytes=weights, trained_bytes=trained, peak_bytes=peaks,
        differences=_differences(config, setting.device),
    )  # fmt: skip


@torch.no_grad()
def _seconds(config: ModelConfig, setting: Setting, progress: bool) -> tuple[str, dict[str, list[float]], int]:
    """Return the clock's name, the seconds of stages and floors, and the bytes of the weights."""
    model = _model(config, setting.device).to(DTYPES[setting.dtype])
    stages = _stages(model, _image(setting))
    return *time_stages(stages, setting.device, setting.repetitions, progress), _bytes(model)


def _stages(model: GenPerceptMethod, image: Tensor) -> dict[str, Callable[[], Any]]:
    """Return the stages of a prediction with their real inputs; each runs once when its floor is made."""
    t = model.timesteps()[0]
    padded = pad_to(image, model.stride)
    latent = model.latent(padded)
    stages: dict[str, Callable[[], Any]] = {
        "encode": lambda: model.latent(padded),
        "one U-Net pass": lambda: model.velocity(latent, latent, t),
    }
    head = model.head
    if head is None:
        return {**stages, "decode": lambda: model.decode(latent)}
    with up_block_features(model.unet) as features:
        model.velocity(latent, latent, t)
    return {**stages, "head": lambda: head(features)}


def _peak_of_prediction(config: ModelConfig, setting: Setting) -> int:
    model, device = _model(config, setting.device).to(DTYPES[setting.dtype]), torch.device(setting.device)
    reset_peak(device)
    model.predict((_image(setting) + 1) / 2)
    return peak_so_far(device)


def _peak_of_training(config: ModelConfig, setting: Setting) -> tuple[int, int]:
    """Return the peak of a training step, and the bytes of what is trained."""
    model, device = _model(config, setting.device).train(), torch.device(setting.device)
    if setting.checkpointing:
        model.enable_gradient_checkpointing()
    dtype = DTYPES[setting.dtype]
    reset_peak(device)
    with torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
        image = pad_to(_image(setting), model.stride)
        loss = model.loss(image, _label(config, image))
    loss.backward()
    return peak_so_far(device), _bytes(model, trained=True)


def _differences(config: ModelConfig, device: str) -> tuple[Difference, ...]:
    """Compare the predictions of small networks in lower precisions with float32's."""
    image = (_image(Setting(size=SMALL, device=device)) + 1) / 2
    exact, *lower = (_model(config.small(), device).to(dtype).predict(image) for dtype in DTYPES.values())
    span = exact.max() - exact.min()
    errors = [(output - exact).abs() / span for output in lower]
    return tuple(
        Difference(dtype=name, largest=error.max().item(), mean=error.mean().item())
        for name, error in zip(list(DTYPES)[1:], errors, strict=True)
    )


def _model(config: ModelConfig, device: str) -> GenPerceptMethod:
    torch.manual_seed(0)
    return build_model(config).eval().to(device)


def _image(setting: Setting) -> Tensor:
    """Return a random image in [-1, 1], (1, 3, H, W)."""
    generator = torch.Generator().manual_seed(0)
    return (2 * torch.rand(1, 3, *setting.size, generator=generator) - 1).to(setting.device)


def _label(config: ModelConfig, image: Tensor) -> Tensor:
    """Return a random truth as the loss takes it."""
    generator = torch.Generator().manual_seed(1)
    size = image.shape[-2:]
    if config.decoder == "upernet":
        return torch.randint(0, config.num_classes, (1, *size), generator=generator).to(image.device)
    label = 2 * torch.rand(1, config.output_channels, *size, generator=generator) - 1
    return (F.normalize(label, dim=1) if config.task == "normals" else label).to(image.device)


def _bytes(model: GenPerceptMethod, trained: bool = False) -> int:
    return sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad or not trained)
