"""Angular errors of surface normals as DSINE measures them (Bae and Davison 2024), pooled over a set or per image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.tasks.gathering import gathered

THRESHOLDS = {"within_5": 5.0, "within_7_5": 7.5, "within_11_25": 11.25, "within_22_5": 22.5, "within_30": 30.0}
METRICS = ("mean", "median", "rmse", *THRESHOLDS)
LENGTH_TOLERANCE = 0.01  # a truth stored in 8 bits is off by up to 0.7 %


def angular_error(prediction: Tensor, truth: Tensor) -> Tensor:
    """Return the angle between normals, degrees, (B, 1, H, W), in the precision of the arguments, as DSINE does.

    In float32 the arc cosine rounds an angle below 1 degree by up to 0.02 degrees; float64 arguments avoid that.

    Args:
        prediction, truth: (B, 3, H, W) of any length; a vector of length 0 counts as 90 degrees.
    """
    cosine = F.cosine_similarity(prediction, truth, dim=1)
    return cosine.clamp(-1, 1).acos().rad2deg().unsqueeze(1)


def normal_measures(errors: Tensor) -> Tensor:
    """Return the measures of :data:`METRICS`: mean, median and RMSE in degrees, then % of pixels below the thresholds.

    The median of an even number of pixels is the mean of the middle two.

    Args:
        errors: degrees, (N,), N > 0.

    Returns:
        (8,) float64.
    """
    ordered = errors.double().sort().values
    count = len(ordered)
    median = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    below = [100 * (ordered < limit).double().mean() for limit in THRESHOLDS.values()]
    return torch.stack([ordered.mean(), median, ordered.square().mean().sqrt(), *below])


@dataclass(frozen=True)
class ImageErrors:
    """One image's measures (in the order of :data:`METRICS`), its valid pixels, and a name."""

    values: tuple[float, ...]
    pixels: int
    name: str = ""


class NormalErrors:
    """Angular errors of a set's images.

    DSINE pools all valid pixels of the set, so its median needs them all: 4 bytes a pixel stay in memory (NYU's 654
    images: 0.8 GB).  ``pooled=False`` is the variant that averages the images' measures, and keeps no pixel.

    Attributes:
        images: the statistics of every image, in order of arrival, under either variant.
    """

    metrics = METRICS
    higher_is_better = False  # of the first

    def __init__(self, pooled: bool = True) -> None:
        """Start with no image; ``pooled`` says over what :meth:`value` goes."""
        self.pooled = pooled
        self.images: list[ImageErrors] = []
        self._errors: list[Tensor] = []

    def update(self, prediction: Tensor, truth: Tensor, valid: Tensor | None = None, name: str = "") -> ImageErrors:
        """Measure one image, and return its statistics.

        Args:
            prediction: (3, H, W), of any length.
            truth: unit vectors in the same axes, (3, H, W).
            valid: bool, (H, W) or (1, H, W); None: where the truth is not the zero vector.

        Raises:
            ValueError: shapes differ, values not finite, true normals that are not unit vectors, or no valid pixel.
        """
        if prediction.shape != truth.shape or truth.dim() != 3 or len(truth) != 3:
            raise ValueError(f"predicted normals {tuple(prediction.shape)}, true {tuple(truth.shape)}: want (3, H, W)")
        length = truth.norm(dim=0)
        valid = length > 0 if valid is None else valid.bool().reshape(length.shape)
        if not valid.any():
            raise ValueError("no pixel has a valid normal")
        if not prediction[:, valid].isfinite().all():
            raise ValueError("predicted normals are not finite")
        if not ((length[valid] - 1).abs() <= LENGTH_TOLERANCE).all():
            raise ValueError("true normals are not unit vectors")
        errors = angular_error(prediction[None], truth[None])[0, 0][valid].float().cpu()
        measures = tuple(normal_measures(errors).tolist())
        self.images.append(ImageErrors(measures, len(errors), name))
        if self.pooled:
            self._errors.append(errors)
        return self.images[-1]

    def merge(self, tally: NormalErrors) -> NormalErrors:
        """Append the images of ``tally``.

        Raises:
            ValueError: pooled with not pooled.
        """
        if tally.pooled != self.pooled:
            raise ValueError("cannot merge pooled errors and errors per image")
        self.images += tally.images
        self._errors += tally._errors
        return self

    def reduce(self, combine: Callable[[Tensor], Tensor]) -> None:
        """Replace the images, and pooled errors, by those of all processes; names stay where they were measured."""
        rows = torch.tensor([(*image.values, image.pixels) for image in self.images], dtype=torch.float64)
        rows = gathered(rows.reshape(-1, len(METRICS) + 1), combine)
        self.images = [ImageErrors(tuple(values), int(pixels)) for *values, pixels in rows.tolist()]
        if self.pooled:
            self._errors = [gathered(torch.cat([torch.empty(0), *self._errors]), combine)]

    def to_dict(self) -> dict[str, float]:
        """Return all measures.

        Raises:
            ValueError: no image yet.
        """
        if not self.images:
            raise ValueError("no image was measured")
        if self.pooled:
            values = normal_measures(torch.cat(self._errors))
        else:
            values = torch.tensor([image.values for image in self.images], dtype=torch.float64).mean(dim=0)
        return dict(zip(METRICS, values.tolist(), strict=True))

    def value(self, metric: str) -> float:
        """Return one measure: of all pixels, or the mean of the images' (see the class)."""
        return self.to_dict()[metric]
