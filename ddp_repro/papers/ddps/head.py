"""The prior's head: noisy class map and frozen image feature in, class logits out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddp_repro.diffusion.discrete import LabelSchedule, guide, label_schedule
from ddp_repro.papers.ddps.settings import DDPSConfig
from ddp_repro.papers.ddps.unet import PriorUNet

TABLE_TOLERANCE = 1e-3  # of the logarithms: a moving average rounds them a little


class PriorHead(nn.Module):
    """Embedding, U-Net and classifier, under the released names.

    The embedding table is random and stays so (the released code freezes it).

    Args:
        feature_channels: F, of the condition.

    Attributes:
        schedule: of the noise, T levels in float32.
    """

    def __init__(self, config: DDPSConfig, feature_channels: int) -> None:
        super().__init__()
        self.config = config
        channels = feature_channels + config.embedding_channels
        self.unet = PriorUNet(channels, config.dim, config.out_channels, config.multipliers)
        self.dropout = nn.Dropout2d(config.dropout)
        self.conv_seg_new = nn.Conv2d(config.out_channels, config.symbols, 1)
        nn.init.normal_(self.conv_seg_new.weight, std=0.01)
        assert self.conv_seg_new.bias is not None
        nn.init.zeros_(self.conv_seg_new.bias)
        self.embed = nn.Embedding(config.symbols, config.embedding_channels)
        self.embed.requires_grad_(False)
        self.schedule = label_schedule(config.schedule, config.levels).float()
        if config.stage == "multi":
            for name, table in released_tables(self.schedule, config.symbols).items():
                self.register_buffer(name, table)
            self.register_load_state_dict_post_hook(_check_loaded)

    def check_tables(self) -> None:
        """Check that the loaded noise tables are those of the settings.

        Raises:
            ValueError: they are another schedule's.
        """
        for name, table in released_tables(self.schedule, self.config.symbols).items():
            loaded = self.get_buffer(name).cpu()
            if not torch.allclose(loaded, table, rtol=TABLE_TOLERANCE, atol=TABLE_TOLERANCE):
                raise ValueError(
                    f"the checkpoint's {name} is not that of a {self.config.schedule} schedule with "
                    f"T = {self.config.timesteps}; set schedule to the one it was trained with"
                )

    def forward(self, feature: Tensor, noisy: Tensor, step: Tensor) -> Tensor:
        """Denoise.

        Args:
            feature: the condition (B, F, h, w), of any size: it is padded to the U-Net's stride.
            noisy: class map (B, h, w), 0..K-1.
            step: (B,), 0 for the random map.

        Returns:
            logits (B, K, h, w)
        """
        x = torch.cat([feature, self.embed(noisy).permute(0, 3, 1, 2)], dim=1)  # (B, F + E, h, w)
        height, width = x.shape[-2:]
        rows, columns = -height % self.unet.stride, -width % self.unet.stride
        if rows or columns:
            x = F.pad(x, (0, columns, 0, rows), mode="replicate")
        x = self.unet(x, step)[..., :height, :width]  # (B, C', h, w)
        return self.conv_seg_new(self.dropout(x))

    def guided(self, feature: Tensor, noisy: Tensor, step: Tensor, guidance: float) -> Tensor:
        """Denoise, and move away from what the U-Net says with the condition zeroed; ``guidance`` = 1 is off."""
        logits = self(feature, noisy, step)
        if guidance == 1:
            return logits
        return guide(logits, self(torch.zeros_like(feature), noisy, step), guidance)


def _check_loaded(head: PriorHead, _: object) -> None:
    """Check the tables that were loaded; a function, not a lambda, so that a model can be pickled."""
    head.check_tables()


def released_tables(schedule: LabelSchedule, num_classes: int) -> dict[str, Tensor]:
    """Return the noise tables that released checkpoints hold: logarithms of abar, its rest over K, and of one step."""
    cumulative, one_step = schedule.cumulative, schedule.one_step
    return {
        "log_cumprod_at": cumulative.log(),  # (T + 1,)
        "log_cumprod_bt": ((1 - cumulative) / num_classes).log(),  # (T + 1,), the last -inf
        "log_at": one_step.log(),  # (T,)
        "log_bt": ((1 - one_step) / num_classes).log(),  # (T,)
    }
