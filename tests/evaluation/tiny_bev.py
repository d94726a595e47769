"""Three made-up samples of nuScenes' kind, for models of tests/models/bev: no files."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from ddp_repro.papers.ddp.bev.model import BEVDDP
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.tasks.bev.dataset import NuScenesBEV
from ddp_repro.tasks.bev.settings import MAP_CLASSES, BEVDataConfig
from tests.golden_recipe_bev import calibration, lidar_points, masks, normal
from tests.models.bev.test_model import CONFIGS, RANGE

DATA = BEVDataConfig(version="made up", image_size=(32, 64), map_range=6.0, map_cell=0.5)


class TinyBEV:
    """What the evaluation, the trainer and the figures use of :class:`NuScenesBEV`."""

    name, truth, class_names, data = "nuscenes", "masks", MAP_CLASSES, DATA
    collate = staticmethod(NuScenesBEV.collate)

    def __init__(self, count: int = 3) -> None:
        self.ids = [f"token {number}" for number in range(count)]
        rig = calibration("calib", torch.diag(torch.tensor([0.04, 0.04, 1.0, 1.0])).expand(6, 4, 4))
        self.rig = {name: getattr(rig, name)[0] for name in vars(rig)}
        view = [
            SimpleNamespace(intrinsics=k.numpy().astype(float), camera_to_lidar=c.numpy().astype(float))
            for k, c in zip(self.rig["intrinsics"], self.rig["camera_to_lidar"], strict=True)
        ]
        raised = np.eye(4)
        raised[2, 3] = 1.8
        self.records = [SimpleNamespace(lidar_to_ego=raised, views=view) for _ in self.ids]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        points = lidar_points("points", 200 + 100 * index, RANGE)
        truth = torch.from_numpy(self.masks(index))
        return {"image": normal(f"image {index}", (6, 3, 32, 64)), "points": points, "masks": truth,
                "id": self.ids[index], **self.rig}  # fmt: skip

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        return self[index]

    def masks(self, index: int) -> np.ndarray:
        return masks(f"truth {index}", (1, 6, 24, 24))[0].numpy() > 0

    def pictures(self, index: int) -> list[np.ndarray]:
        rng = np.random.default_rng(index)
        return [rng.integers(0, 256, (90, 160, 3), dtype=np.uint8) for _ in range(6)]

    def fingerprint(self) -> str:
        return "d" * 64


def tiny_bev_model(sensors: str) -> BEVDDP:
    """Untrained, but with probabilities on both sides of the thresholds."""
    torch.manual_seed(0)
    model = build_model(CONFIGS[sensors]).eval()
    with torch.no_grad():
        model.decoder.classifier.weight *= 3
    return model
