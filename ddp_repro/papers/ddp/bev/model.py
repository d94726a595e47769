"""DDP for BEV map segmentation: overlapping classes on the ground around the car (Section 4.3, Table 3).

The diffusion is that of :class:`ddp_repro.papers.ddp.model.DDP`. What differs: the image feature is a BEV feature, a
pixel has a *set* of classes, and the fused map is cropped from the features' cells to the predicted map's before it is
decoded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.diffusion import MultiLabelEmbedding, draw_noise
from ddp_repro.diffusion.trajectory import Trajectory
from ddp_repro.networks.backbones import Backbone
from ddp_repro.networks.decoder import LabelDecoder
from ddp_repro.networks.shapes import shape_of, tokens_of
from ddp_repro.networks.time_embedding import TimeEmbedding
from ddp_repro.papers.ddp import released
from ddp_repro.papers.ddp.bev import released as released_bev
from ddp_repro.papers.ddp.bev.camera import CameraEncoder
from ddp_repro.papers.ddp.bev.encoder import CameraBEVEncoder, ConvFuser, FusionBEVEncoder
from ddp_repro.papers.ddp.bev.grid import crop_to_map
from ddp_repro.papers.ddp.bev.layers import set_norm_momentum
from ddp_repro.papers.ddp.bev.lidar import LidarEncoder
from ddp_repro.papers.ddp.bev.settings import BEVConfig
from ddp_repro.papers.ddp.bev.view_transform import Calibration
from ddp_repro.papers.ddp.model import DDP, Generators
from ddp_repro.tasks.bev.loss import focal_loss

PRESENT = 0.5  # probability above which a class counts as present when a prediction is fed back
BEVBatch = Mapping[str, Any]


class BEVTrajectory(Trajectory):
    """As :class:`Trajectory`, for classes that overlap and N start noises.

    Attributes:
        output: (B, K, X, Y) probabilities.
        decoded: class logits of every step, (S, N, B, K, X, Y).
        maps: the noisy map before each step and after the last, projected, (S + 1, N, B, D, x, y).
    """

    @property
    def probabilities(self) -> Tensor:
        """Probability of every class at every step, (S, N, B, K, X, Y)."""
        return self.decoded.sigmoid()

    @property
    def predictions(self) -> Tensor:
        """Presence of every class at every step, boolean (S, N, B, K, X, Y)."""
        return self.probabilities > PRESENT


class BEVDDP(DDP):
    """DDP on nuScenes cameras, or cameras and LiDAR.

    A batch has the keys

    - "image": (B, N, 3, H, W), normalised pictures of N cameras;
    - "camera_to_lidar": (B, N, 4, 4), and "intrinsics": (B, N, 3, 3) or (B, N, 4, 4);
    - "image_augmentation": (B, N, 4, 4), pixels of the camera to pixels of the picture;
    - "lidar_augmentation": (B, 4, 4), applied to the LiDAR frame;
    - "points", fusion only: B clouds (P_i, 5) of x, y, z, intensity and time lag, already augmented.  None in place of
      the whole list says that there is no LiDAR: its feature is then zero;
    - "masks", training only: (B, K, X, Y), the true map, boolean or 0 and 1.
    """

    config: BEVConfig
    config_type = BEVConfig
    dialects = (released_bev, released)

    def __init__(self, config: BEVConfig) -> None:
        super().__init__(config, LabelDecoder.of(config), map_channels=config.channels)
        self.encoding = MultiLabelEmbedding(config.num_classes, config.scale, config.channels)

    @classmethod
    def from_config(cls, config: BEVConfig) -> BEVDDP:
        """Return the model that ``config`` describes, with initial weights."""
        return cls(config)

    def undecayed(self, name: str) -> bool:
        """Return whether a parameter has no weight decay: positions alone; norms and biases are decayed."""
        return "relative_position_bias_table" in name or "absolute_pos_embed" in name

    # -- the encoder ---------------------------------------------------------------------------------------------------

    def build_encoder(self) -> None:
        """Add the sensors' encoders, their fusion, and the BEV encoder."""
        self.camera = CameraEncoder(self.config)
        if self.config.sensors == "fusion":
            self.lidar = LidarEncoder(self.config)
            self.fuser = ConvFuser([self.config.view_channels, self.lidar.out_channels], self.config.channels)
            self.bev_encoder = FusionBEVEncoder(self.config.channels, self.config.bev_widths, self.config.channels)
            for part in (self.lidar, self.bev_encoder):
                set_norm_momentum(part, self.config.norm_momentum)
        else:
            self.bev_encoder = CameraBEVEncoder(self.config.view_channels, self.config.bev_widths, self.config.channels)

    @property
    def backbone(self) -> Backbone:
        """The cameras' encoder, where the other models have theirs."""
        return self.camera.backbone

    @property
    def feature_channels(self) -> int:
        """Channels of the BEV feature."""
        return self.config.feature_channels

    def encode_image(self, images: Tensor) -> Tensor:
        """Normalised pictures (B, N, 3, H, W) -> camera features (B, N, D, h, w) at stride 8."""
        return self.camera.image_features(images)

    def encode(self, batch: BEVBatch) -> Tensor:
        """Sensors of a batch -> BEV feature (B, F, x, y).

        Raises:
            ValueError: a calibration that cannot be inverted, no lifted point inside the grid, or an unusable cloud.
        """
        feature = self.camera(batch["image"], Calibration.of(batch))
        if self.config.sensors == "fusion":
            feature = self.fuser([feature, self._lidar_feature(batch["points"], feature)])
        return self.bev_encoder(feature)

    def _lidar_feature(self, points: Sequence[Tensor] | None, camera: Tensor) -> Tensor:
        if points is None:
            return self.lidar.nothing_like(camera)
        if len(points) != len(camera):
            raise ValueError(f"{len(points)} LiDAR clouds for {len(camera)} samples; expected one each")
        return self.lidar(points)

    # -- the task ------------------------------------------------------------------------------------------------------

    def target_map(self, batch: BEVBatch, shape: tuple[int, int]) -> Tensor:
        """Masks (B, K, X, Y) -> encoded (B, M, x, y).

        The masks are resized (nearest) to the features' cells as if both covered the same ground, as released; they do
        not quite (±50 m against ±51.2 m).
        """
        return self.encoding.encode(_resize(batch["masks"], shape))

    def clean_map(self, prediction: Tensor) -> Tensor:
        """Logits (B, K, X, Y) -> code words of the present classes, at the noisy map's size."""
        return self.encoding.encode(self._present(prediction))

    def project_clean(self, prediction: Tensor) -> Tensor:
        """As the general one, by projecting the 2^K code words instead of every cell."""
        return self.project_map(self.encoding.codes())[self.encoding.set_number(self._present(prediction)).flatten(1)]

    def _present(self, prediction: Tensor) -> Tensor:
        return _resize(prediction.float().sigmoid() > PRESENT, (self.config.grid_size, self.config.grid_size))

    def denoise(self, fused: Tensor, shape: tuple[int, int], t: Tensor) -> Tensor:
        """Fused tokens (B, x·y, D) at times t (B,) -> logits (B, K, X, Y)."""
        config = self.config
        maps = fused.transpose(1, 2).unflatten(-1, shape)
        cropped = crop_to_map(maps, config.lift_range, config.map_range, config.map_cell)
        return super().denoise(tokens_of(cropped), shape_of(cropped), t)

    def losses(self, prediction: Tensor, features: Tensor, batch: BEVBatch) -> dict[str, Tensor]:
        """Sum over the classes of the focal loss of logits (B, K, X, Y), and each class's own part."""
        parts = focal_loss(prediction, batch["masks"])
        return {"loss": parts.sum(), **dict(zip(self.config.classes, parts.detach(), strict=True))}

    def finish(self, decoded: Sequence[Tensor], average_steps: bool) -> Tensor:
        """Probabilities of the last step, or their mean over the steps."""
        steps = [each.float().sigmoid() for each in decoded]
        return torch.stack(steps).mean(0) if average_steps else steps[-1]

    # -- Algorithm 2 ---------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self,
        batch: BEVBatch | None = None,
        steps: int = 3,
        noise: Tensor | None = None,
        generator: Generators | None = None,
        average_steps: bool | None = None,
        return_trajectory: bool = False,
        *,
        noise_samples: int | None = None,
        features: Tensor | None = None,
    ) -> Tensor | BEVTrajectory:
        """Algorithm 2 from several start noises, whose predictions are averaged.

        Args:
            batch: the sensors; see the class.
            steps: decoder passes per start noise.
            noise: start noises (B, N, M, x, y); drawn where None.
            generator: where the noise comes from: one generator, one per sample, or None (torch's global one).
            average_steps: average the steps' probabilities instead of taking the last's; None: the model's default.
            return_trajectory: return a :class:`BEVTrajectory` instead of its output alone.
            noise_samples: N; None: the model's default.
            features: of :meth:`encode`, in place of the batch.

        Returns:
            Probabilities (B, K, X, Y).
        """
        if features is None:
            if batch is None:
                raise ValueError("sample needs a batch, or the features of one")
            features = self.encode(batch)
        if noise is None:
            count = self.config.noise_samples if noise_samples is None else noise_samples
            noise = draw_noise((count, *self.noise_shape(features)), len(features), generator)
        elif noise_samples not in (None, noise.shape[1]):
            raise ValueError(f"noise holds {noise.shape[1]} samples, noise_samples says {noise_samples}")
        # One after the other: at full size, a pass over 200×200 cells takes a few hundred megabytes.
        runs = [
            super(BEVDDP, self).sample(
                features=features, noise=start, steps=steps, generator=generator, average_steps=average_steps,
                return_trajectory=return_trajectory,
            )
            for start in noise.to(features.device).unbind(1)
        ]  # fmt: skip
        if not return_trajectory:
            return torch.stack(runs).mean(0)
        return BEVTrajectory(
            torch.stack([run.output for run in runs]).mean(0),
            torch.stack([run.decoded for run in runs], 1),
            torch.stack([run.maps for run in runs], 1),
        )

    # -- variants ------------------------------------------------------------------------------------------------------

    def set_time_conditioned(self, time_conditioned: bool) -> None:
        """Give the decoder layers a time modulation (with initial weights), or take it away."""
        if time_conditioned == self.config.time_conditioned:
            return
        self.config = dataclasses.replace(self.config, time_conditioned=time_conditioned)
        with self.fusion.weight.device:
            self.time_embedding = TimeEmbedding(self.config.channels) if time_conditioned else None
            fresh = LabelDecoder.of(self.config)
        for layer, new in zip(self.decoder.layers, fresh.layers, strict=True):
            layer.modulation = new.modulation


def _resize(masks: Tensor, shape: tuple[int, int]) -> Tensor:
    return F.interpolate(masks.float(), size=shape, mode="nearest") > 0
