"""What masks and mattes share: a grey truth in [0, 1] beside every picture, a map in [0, 1], cut-outs with alpha."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddp_repro.data.dataset import require_equal_sizes
from ddp_repro.data.io import read_image
from ddp_repro.data.maps import ResizedPairs, read_opacity
from ddp_repro.data.spec import Sample
from ddp_repro.diffusion.trajectory import Trajectory
from ddp_repro.evaluation.pictures import save_pictures, sixteen_bit
from ddp_repro.evaluation.views import Predictor, ViewedImage, resized
from ddp_repro.protocols.method import Method


class OpacityDataset(ResizedPairs):
    """Pictures with an opacity in [0, 1]; -1 where there is no picture."""

    truth = "opacity"  # float32 in items
    padding = -1

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return read_pair(self.samples[index])


def read_pair(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Read a picture and its mask or matte, float32 (H, W).

    Raises:
        DataError: a missing or damaged file, a truth with colours, or sizes that differ.
    """
    assert sample.label is not None
    image, opacity = read_image(sample.image), read_opacity(sample.label)
    require_equal_sizes(image, opacity, sample)
    return image, opacity


@dataclass(frozen=True, kw_only=True)
class OpacityPrediction:
    """What :func:`predict` returns of a model of masks or mattes, as numpy arrays of the picture's size.

    Attributes:
        opacity: float32 (H, W) in [0, 1]: how much of the pixel is foreground.
        uncertainty, uncertainty_score: None: the models of these tasks draw no noise.
    """

    kind: ClassVar[str] = "opacity"
    opacity: np.ndarray
    uncertainty: np.ndarray | None = None
    uncertainty_score: str | None = None

    def __post_init__(self) -> None:
        """Check the opacity, which is written as unsigned integers.

        Raises:
            ValueError: values that are not finite or outside [0, 1].
        """
        if not ((self.opacity >= 0) & (self.opacity <= 1)).all():
            raise ValueError("an opacity is not finite or outside [0, 1]")

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Return the map by the name of its file."""
        return {self.kind: self.opacity}

    def facts(self, class_names: Any = ()) -> dict[str, Any]:
        """Return what the manifest says of the map: the foreground's share."""
        return {"values": {"foreground_share": round(float(self.opacity.mean()), 4)}}

    def preview(self) -> np.ndarray:
        """Return the map in colours, uint8 (H, W, 3); the foreground is bright."""
        import matplotlib

        return matplotlib.colormaps["cividis"](self.opacity, bytes=True)[..., :3]

    def cut_out(self, picture: np.ndarray) -> np.ndarray:
        """Return the foreground of a picture, uint8 (H, W, 3), with the opacity as alpha: uint8 (H, W, 4).

        Raises:
            ValueError: a picture of another size or type.
        """
        if picture.shape != (*self.opacity.shape, 3) or picture.dtype != np.uint8:
            raise ValueError(f"a {picture.dtype} picture of shape {picture.shape}: want uint8 {self.opacity.shape} RGB")
        alpha = (self.opacity * 255).round().astype(np.uint8)
        return np.dstack([picture, alpha])


class OpacityEstimator(Predictor):
    """Predicts opacity, float32 in [0, 1]: the mean over the views."""

    def finish(self, outputs: list[Tensor], index: int) -> Tensor:
        """Return the map of one picture at its own size."""
        maps = zip(self.at_original_size(outputs, index), self.views, strict=True)
        return torch.stack([(each.flip(-1) if view.flip else each)[0, 0] for each, view in maps]).mean(0).clamp(0, 1)


def estimate_opacity(model: Method, image: ViewedImage, runs: Iterable[Trajectory]) -> np.ndarray:
    """Return the opacity of a prepared picture, float32 (H, W), the mean over its sampling runs."""
    input_size, size = image.input_size, image.size
    outputs = torch.stack([run.output.float() for run in runs])
    return resized(outputs.mean(0)[0, 0], input_size, size).clip(0, 1)


def save_opacity(prediction: OpacityPrediction, pixels: np.ndarray, folder: Path, name: str) -> list[Path]:
    """Write the map as 16-bit PNG and float ``.npy``, a coloured preview, and the foreground cut out, with alpha.

    Raises:
        OSError: the folder cannot be written.
    """
    kind = prediction.kind
    pictures = {
        kind: sixteen_bit(prediction.opacity),
        f"{kind}_colour": Image.fromarray(prediction.preview()),
        "cut_out": Image.fromarray(prediction.cut_out(pixels), "RGBA"),
    }
    paths = save_pictures(pictures, name, folder, meaning="opacity of the foreground", range="0..1")
    array = folder / f"{name}_{kind}.npy"
    np.save(array, prediction.opacity.astype(np.float32))
    return [*paths, array]
