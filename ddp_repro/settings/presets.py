"""Presets: what a run is allowed to claim."""

from __future__ import annotations

from dataclasses import dataclass

from ddp_repro.settings.errors import ConfigError


@dataclass(frozen=True)
class PresetInfo:
    """What stands for a preset on a page.

    Attributes:
        claim: what its numbers may claim.
        label: its data, in a measured column's heading; None: that of the recipe's dataset.
    """

    claim: str
    label: str | None = None


INFO: dict[str, PresetInfo] = {
    "mini": PresetInfo(
        "Small models trained for minutes on synthetic scenes. They show that the whole path from data to figure "
        "works, and trends; none of these numbers is comparable with the paper's.",
        "synthetic",
    ),
    "camvid": PresetInfo(
        "Small models trained on the real images of CamVid. They show whether the paper's trends hold on other "
        "real data; none of these numbers is comparable with the paper's.",
        "CamVid test",
    ),
    "sevenscenes": PresetInfo(
        "Small models trained on 175 real frames of one room, scored on another stretch of the same camera "
        "path. They show that training works on real depth, not that it generalises.",
        "7-Scenes, one room",
    ),
    "kitti_lidar": PresetInfo(
        "Small models trained on 52 pictures of one real drive with LiDAR depth, scored on 10 later ones. "
        "They show that training works on real sparse depth, not that it generalises.",
        "one KITTI drive, LiDAR",
    ),
    "small": PresetInfo(
        "Small latent diffusion models trained here, for minutes, on rendered rooms and streets and a few hundred "
        "real pictures: diffusion pretraining at small scale, without any text. They show whether fine-tuning gains "
        "from it at this scale; none of these numbers is comparable with the paper's.",
        "small latent diffusion, trained here",
    ),
    "own": PresetInfo(
        "Small models trained on images of your own. Their numbers are about those images, and comparable with no "
        "paper's.",
    ),
    "paper": PresetInfo(
        "The paper's own datasets and settings. A verdict stands beside every printed number that a run covers "
        "completely."
    ),
}
PRESETS = tuple(INFO)


def check_preset(preset: str) -> None:
    """Refuse a preset that does not exist.

    Raises:
        ConfigError: names those that do.
    """
    if preset not in INFO:
        raise ConfigError(f"no preset {preset!r}; presets are {', '.join(PRESETS)}")
