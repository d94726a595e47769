"""Depth: a one-channel map of the normalised depth, metres as predictions, the scale-invariant log loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.networks.decoder import DepthDecoder
from ddp_repro.papers.ddp.model import DDP, Baseline, Batch, ImageModel
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.tasks.depth.loss import silog_loss


class Depth(ImageModel):
    """What a depth model has with and without diffusion."""

    def undecayed(self, name: str) -> bool:
        """Return whether a parameter has no weight decay: norms anywhere, and relative positions."""
        return "norm" in name or "relative_position_bias_table" in name

    def losses(self, prediction: Tensor, features: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Scale-invariant log loss of depth (B, 1, h, w) in metres ("decode").

        Args:
            batch: "depth" (B, H, W) in metres, 0 = no measurement.
        """
        loss = silog_loss(prediction, batch["depth"])
        return {"loss": loss, "decode": loss.detach()}

    def finish(self, decoded: Sequence[Tensor], average_steps: bool) -> Tensor:
        """Depth of the last step, or the steps' mean, within the model's range; (B, 1, h, w) in metres."""
        depth = torch.stack(list(decoded)).mean(0) if average_steps else decoded[-1]
        return depth.clamp(self.config.min_depth, self.config.max_depth)


class DepthBaseline(Depth, Baseline):
    """The depth network without diffusion."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, DepthDecoder.of(config, time_channels=0))


class DepthDDP(Depth, DDP):
    """DDP for depth.

    The released decoder ignores the time, by an oversight; ``time_conditioned=False`` is that model.  The time
    embedding is told t itself here, not the log-SNR.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config, DepthDecoder.of(config), map_channels=1)

    def normalise(self, depth: Tensor) -> Tensor:
        """Metres -> map values: the model's depth range onto [-scale, scale]."""
        low, high = self.config.min_depth, self.config.max_depth
        return ((depth - low) / (high - low) * 2 - 1) * self.config.scale

    def target_map(self, batch: Batch, shape: tuple[int, int]) -> Tensor:
        """Depth (B, H, W) in metres -> (B, 1, h, w); bilinear, pixels without measurement included as zeros."""
        depth = F.interpolate(batch["depth"][:, None], size=shape, mode="bilinear", align_corners=False)
        return self.normalise(depth)

    def clean_map(self, prediction: Tensor) -> Tensor:
        """Metres -> map values, clamped to the range."""
        return self.normalise(prediction).clamp(-self.config.scale, self.config.scale)

    def noise_level(self, t: Tensor) -> Tensor:
        """t itself."""
        return t
