"""DDPS: a frozen segmentor's feature conditions the prior, which samples a class map in a few cheap steps.

The data set's labels are 0..C-1 and 255 for unlabelled pixels.  The prior works on *symbols* 0..K-1 with K = C + 1,
where 0 stands for an unlabelled pixel and is noise like any other.  What :meth:`DDPS.sample` returns is in the order of
labels: channels 0..C-1, then, where the settings keep it, C for "unlabelled".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.diffusion.discrete import (
    LabelStep,
    SamplerName,
    check_steps,
    denoise_labels,
    noise_labels,
    visited_steps,
)
from ddp_repro.diffusion.label_noise import ImageLabelNoise, LabelNoise
from ddp_repro.diffusion.trajectory import Trajectory
from ddp_repro.interop.hub import PretrainedMixin
from ddp_repro.papers.ddps import released
from ddp_repro.papers.ddps.head import PriorHead
from ddp_repro.papers.ddps.layers import Segmentor
from ddp_repro.papers.ddps.settings import DDPSConfig
from ddp_repro.protocols.dialect import Dialect
from ddp_repro.protocols.method import Method
from ddp_repro.settings.errors import ConfigError

IGNORE_INDEX = 255
STRIDE = 4

Batch = dict[str, Tensor]
Generators = torch.Generator | Sequence[torch.Generator]


@dataclass(frozen=True, kw_only=True)
class LabelTrajectory(Trajectory):
    """Everything a sampling run went through, at the prior's resolution; K' is C + 1, or C where symbol 0 is dropped.

    Attributes:
        output: what :meth:`DDPS.sample` returns, (B, K', h, w).
        steps: the visited steps, S of them.
        decoded: logits of every step in the order of labels, (S, B, K', h, w).
        maps: the noisy symbols that the network saw at every step, (S, B, h, w), 0..K-1.
        base: what the segmentor says without the prior, logits (B, C, h, w); None where its classifier is not there.
    """

    steps: list[int]
    base: Tensor | None = None


class DDPS(PretrainedMixin, Method, paper_url="https://arxiv.org/abs/2306.01721"):
    """A mask prior on a frozen segmentor.

    Args:
        segmentor: trained; its parameters get no gradients.  In which mode it is while the prior trains (the released
            code leaves it in training, where batch statistics move) is up to ``train.frozen_mode``.

    Raises:
        ConfigError: the segmentor has another number of classes, or another stride than 4.
    """

    config_type = DDPSConfig
    config: DDPSConfig
    segmentor: Segmentor
    dialects: ClassVar[tuple[Dialect, ...]] = (released,)

    def __init__(self, config: DDPSConfig, segmentor: Segmentor) -> None:
        super().__init__()
        if segmentor.num_classes != config.num_classes:
            raise ConfigError(f"the segmentor has {segmentor.num_classes} classes; expected {config.num_classes}")
        if segmentor.stride != STRIDE:
            raise ConfigError(f"the segmentor's feature has stride {segmentor.stride}; the prior expects {STRIDE}")
        self.config = config
        self.segmentor = segmentor.requires_grad_(False)
        self.prior = PriorHead(config, segmentor.feature_channels)

    @classmethod
    def from_config(cls, config: DDPSConfig) -> DDPS:
        """Build the model that ``config`` describes, segmentor included, with initial weights."""
        return config.build()

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of the image normalisation, RGB on the 0..255 scale."""
        return self.segmentor.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of the image normalisation, RGB on the 0..255 scale."""
        return self.segmentor.std

    @property
    def stride(self) -> int:
        """Input pixels per pixel of the predicted map."""
        return STRIDE

    @property
    def has_noise(self) -> bool:
        """Return True: a prediction starts from a random map, in both stages."""
        return True

    @property
    def has_steps(self) -> bool:
        """Return True: in stage 1, of one step, any other number is refused."""
        return True

    def released_parameters(self) -> int:
        """Count the parameters as the released table does: all but the segmentor's classifier, which its code drops."""
        unused = sum(parameter.numel() for parameter in self.segmentor.classifier.parameters())
        return sum(parameter.numel() for parameter in self.parameters()) - unused

    # -- the frozen segmentor ------------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> Tensor:
        """Run the segmentor, once: normalised images (B, 3, H, W) -> condition (B, F, ⌈H/4⌉, ⌈W/4⌉).

        Images are padded with zeros to a multiple of the U-Net's stride (16), as in the released evaluation.  The part
        of the feature that lies beyond the image is cut off, so that a prediction has the image's shape; the released
        code cuts after the U-Net, which here sees the border repeated.  At multiples of 16 nothing differs.

        Raises:
            ConfigError: the segmentor's feature has another stride or number of channels than it says.
        """
        height, width = images.shape[-2:]
        divisor = STRIDE * self.prior.unet.stride
        padded = F.pad(images, (0, -width % divisor, 0, -height % divisor))
        feature = self.segmentor.feature(padded)  # (B, F, h, w)
        if feature.shape[1:] != (self.segmentor.feature_channels, *(side // STRIDE for side in padded.shape[-2:])):
            raise ConfigError(
                f"the segmentor gave {tuple(feature.shape)} for images of {tuple(padded.shape)}; expected "
                f"{self.segmentor.feature_channels} channels at stride {STRIDE}"
            )
        return feature[..., : -(-height // STRIDE), : -(-width // STRIDE)]

    def encode(self, batch: Batch) -> Tensor:
        """Return the condition (B, F, h, w) of a batch's "image"."""
        return self.encode_image(batch["image"])

    @property
    def has_base(self) -> bool:
        """Whether the weights hold the segmentor's classifier, which the authors' checkpoints lack."""
        return any(bool(parameter.any()) for parameter in self.segmentor.classifier.parameters())

    @torch.no_grad()
    def base_prediction(self, features: Tensor) -> Tensor:
        """Return what the segmentor says without the prior: condition (B, F, h, w) -> logits (B, C, h, w).

        Raises:
            ConfigError: its classifier was not among the weights, as in the authors' checkpoints.
        """
        if not self.has_base:
            raise ConfigError(
                "the weights have no classifier of the segmentor (the authors' checkpoints lack it): load the "
                "segmentor's own checkpoint with ddp_repro.papers.ddps.released.load_segmentor"
            )
        return self.segmentor.classify(features)

    def in_label_order(self, logits: Tensor) -> Tensor:
        """Reorder logits of symbols (B, K, h, w) to those of labels (B, K', h, w): symbol 0 last, or dropped."""
        return logits.roll(-1, dims=1)[:, : self.config.output_classes]

    # -- training ------------------------------------------------------------------------------------------------------

    def symbols_of(self, label: Tensor) -> Tensor:
        """Return the symbols (B, H, W), 1..C or 0, of labels (B, H, W), 0..C-1 or 255.

        Raises:
            ConfigError: a label outside its range.
        """
        label = label.long()
        wrong = (label != IGNORE_INDEX) & ((label < 0) | (label >= self.config.num_classes))
        if bool(wrong.any()):
            raise ConfigError(
                f"labels hold class {int(label[wrong][0])}; expected 0..{self.config.num_classes - 1}, or "
                f"{IGNORE_INDEX} (unlabelled)"
            )
        return (label + 1).masked_fill(label == IGNORE_INDEX, 0)

    def training_loss(
        self, batch: Batch, t: Tensor | None = None, start: Tensor | None = None, uniform: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return "loss", the cross-entropy of one denoising step against the ground truth, and its part detached.

        Args:
            batch: "image" (B, 3, H, W) and "label" (B, H, W), 255 = unlabelled.
            t: steps (B,); drawn from 0..T-1 where None.
            start: random symbols (B, h, w), for step 0 of stage 1 and for first predictions; drawn where None.
            uniform: U(0, 1) numbers (B, K, h, w) for noising; drawn where None.

        Raises:
            ConfigError: a label outside its range.
        """
        symbols, features = self.symbols_of(batch["label"]), self.encode(batch)
        logits = self.training_logits(features, symbols, t, start, uniform)
        loss = self.cross_entropy(logits, symbols)
        return {"loss": loss, "decode": loss.detach()}

    def training_logits(
        self,
        features: Tensor,
        symbols: Tensor,
        t: Tensor | None = None,
        start: Tensor | None = None,
        uniform: Tensor | None = None,
    ) -> Tensor:
        """Return the logits (B, K, h, w) of one denoising step of training; arguments as of :meth:`training_loss`.

        Args:
            features: (B, F, h, w).
            symbols: ground truth (B, H, W), 0..K-1.
        """
        batch, device, size = len(features), features.device, features.shape[-2:]
        t = torch.randint(self.config.levels, (batch,), device=device) if t is None else t
        start = torch.randint(self.config.symbols, (batch, *size), device=device) if start is None else start
        if self.training and self.config.condition_dropout:
            features = features * (torch.rand(batch, 1, 1, 1, device=device) >= self.config.condition_dropout)
        if self.config.stage == "single":
            return self.prior(features, start, t)
        clean = F.interpolate(symbols[:, None].float(), size, mode="nearest")[:, 0].long()  # (B, h, w)
        if self.config.noised == "prediction":
            clean = self._first_predictions(features, clean, t, start)
        if uniform is None:
            uniform = torch.rand(batch, self.config.symbols, *size, device=device)
        kept = self.prior.schedule.cumulative.to(device)[self.config.levels - 1 - t]  # (B,)
        return self.prior(features, noise_labels(clean, kept, uniform), t)

    @torch.no_grad()
    def _first_predictions(self, features: Tensor, clean: Tensor, t: Tensor, start: Tensor) -> Tensor:
        """Return the map to noise (B, h, w): at steps > 0 the prior's prediction from a random map.

        At step 0 it is the ground truth, of which that level leaves nothing.
        """
        later = t > 0
        if not bool(later.any()):
            return clean
        clean = clean.clone()
        clean[later] = self.prior(features[later], start[later], torch.zeros_like(t[later])).argmax(1)
        return clean

    def cross_entropy(self, logits: Tensor, symbols: Tensor) -> Tensor:
        """Return the cross-entropy of logits (B, K, h, w), resized to the symbols' size, against symbols (B, H, W).

        Unlabelled pixels add nothing.  The released mean runs over all pixels, the sound one over the labelled.
        """
        logits = F.interpolate(logits.float(), symbols.shape[-2:], mode="bilinear", align_corners=False)
        total = F.cross_entropy(logits, symbols, ignore_index=0, reduction="sum")
        pixels = symbols.numel() if self.config.loss_mean == "all_pixels" else (symbols > 0).sum().clamp(min=1)
        return total / pixels

    # -- sampling ------------------------------------------------------------------------------------------------------

    def steps_of(self, steps: int | Sequence[int] | None = None) -> list[int]:
        """Return the steps to visit: n as the released code spaces them, chosen ones, or the settings' default.

        Raises:
            ConfigError: they do not fit T.
        """
        steps = self.config.steps if steps is None else steps
        if steps is None or isinstance(steps, int):
            return visited_steps(self.config.levels, steps)
        return check_steps(steps, self.config.levels)

    def denoise(
        self,
        features: Tensor,
        steps: Sequence[int],
        noise: LabelNoise,
        sampler: SamplerName | Literal["none"] | None = None,
        guidance: float | None = None,
    ) -> Iterable[LabelStep]:
        """Run the reverse process on conditions (B, F, h, w), in symbols, a step at a time; None: the settings'."""
        sampler = sampler or self.config.sampler
        if sampler == "none":
            return [self._unrefined(features, noise)]
        guidance = self.config.guidance if guidance is None else guidance
        schedule = self.prior.schedule.to(features.device)

        def predict(noisy: Tensor, step: int) -> Tensor:
            at = torch.full((len(noisy),), step, device=noisy.device)
            return self.prior.guided(features, noisy, at, guidance).float()

        return denoise_labels(predict, schedule, steps, noise, sampler)

    def _unrefined(self, features: Tensor, noise: LabelNoise) -> LabelStep:
        """Return the segmentor's own prediction, which never says "unlabelled", as if the prior had made it."""
        base = self.base_prediction(features).float()  # (B, C, h, w)
        symbol_0 = torch.full_like(base[:, :1], torch.finfo(base.dtype).min)
        return LabelStep(0, noise.start(), torch.cat([symbol_0, base], 1))

    @torch.no_grad()
    def sample(
        self,
        images: Tensor | None = None,
        steps: int | Sequence[int] | None = None,
        noise: LabelNoise | None = None,
        generator: Generators | None = None,
        average_steps: bool | None = None,
        return_trajectory: bool = False,
        *,
        features: Tensor | None = None,
        sampler: SamplerName | Literal["none"] | None = None,
        guidance: float | None = None,
        on_step: Callable[[LabelTrajectory], None] | None = None,
    ) -> Any:
        """Denoise a random map into the prediction.

        Args:
            images: (B, 3, H, W), normalised.
            steps: n, or the steps themselves; see :meth:`steps_of`.
            noise: where the random numbers come from; None: of ``generator``, by image and step.
            generator: one generator, one per image, or None (torch's global one).
            average_steps: return the mean softmax over the visited steps instead of the last step's logits.
            return_trajectory: return a :class:`LabelTrajectory` instead of its output alone.
            features: of :meth:`encode_image`, in place of images.
            sampler: "free", "strict" or "strict_released" (:func:`ddp_repro.diffusion.discrete.re_noise`), or "none":
                the segmentor's own prediction, whatever the steps.
            guidance: 1 is off; any other doubles the cost.
            on_step: is told the trajectory so far after every step; needs ``return_trajectory``.

        Returns:
            (B, K', h, w) in the order of labels, with K' = :attr:`DDPSConfig.output_classes`.

        Raises:
            ValueError: impossible steps, no such sampler, or neither images nor features.
        """
        if features is None:
            if images is None:
                raise ValueError("sample needs images or features")
            features = self.encode_image(images)
        visited = self.steps_of(steps)
        if noise is None:
            shape = (self.config.symbols, features.shape[-2], features.shape[-1])
            noise = ImageLabelNoise(shape, len(features), generator, features.device)
        average = self.config.average_steps if average_steps is None else average_steps
        mean: Tensor | float = 0.0
        logits, passed = features.new_empty(0), []
        base = self.base_prediction(features) if return_trajectory and self.has_base else None

        def trajectory() -> LabelTrajectory:
            decoded, maps = (torch.stack(values) for values in zip(*passed, strict=True))
            output = mean * (len(visited) / len(passed)) if isinstance(mean, Tensor) else logits
            return LabelTrajectory(output=output, steps=visited, decoded=decoded, maps=maps, base=base)

        for step in self.denoise(features, visited, noise, sampler, guidance):
            logits = self.in_label_order(step.logits)
            if average:
                mean = mean + logits.softmax(1) / len(visited)
            if return_trajectory:
                passed.append((logits, step.noisy))
                if on_step:
                    on_step(trajectory())
        if return_trajectory:
            return trajectory()
        return mean if isinstance(mean, Tensor) else logits
