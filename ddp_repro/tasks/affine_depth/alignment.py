"""Scale and shift that bring an affine-invariant map to metric depth: least squares in depth or disparity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_DISPARITY = 1e-3  # an aligned disparity below it is 1000 m, or behind the camera

Space = Literal["depth", "disparity"]


class TooFewPixels(ValueError):
    """An image to which nothing can be aligned."""


@dataclass(frozen=True)
class Alignment:
    """A fitted affine map.

    Attributes:
        scale, shift: of ``scale * prediction + shift``, which is metres in depth space and 1/metres in disparity space.
        space: where the fit was made.
        pixels: how many it was made on.
    """

    scale: float
    shift: float
    space: Space
    pixels: int

    def apply(self, prediction: Tensor) -> Tensor:
        """Return metric depth, metres, shaped as ``prediction`` (float32; float64 stays).

        In disparity space the aligned disparity is raised to :data:`MIN_DISPARITY` before it is inverted.
        """
        prediction = prediction if prediction.dtype == torch.float64 else prediction.float()
        aligned = self.scale * prediction + self.shift
        return aligned if self.space == "depth" else 1 / aligned.clamp(min=MIN_DISPARITY)


def least_squares(prediction: Tensor, truth: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scale and shift of every sample that minimise the squared error on its valid pixels.

    Computed in float64 around the means, so it stays accurate where the normal equations do not; gradients reach
    ``prediction`` through both.  A constant prediction has scale 0 and, as shift, the mean of the truth.

    Args:
        prediction, truth: (B, ...).
        valid: bool, shaped alike; a sample without a valid pixel has scale and shift 0.

    Returns:
        scale, shift: (B,) float64.
    """
    x, y, weight = (tensor.flatten(1).double() for tensor in (prediction, truth, valid))
    x, y = (torch.where(weight > 0, tensor, 0) for tensor in (x, y))  # a masked pixel may hold NaN or infinity
    count = weight.sum(1).clamp(min=1)
    mean_x, mean_y = x.sum(1) / count, y.sum(1) / count
    dx, dy = (x - mean_x[:, None]) * weight, (y - mean_y[:, None]) * weight
    variance = dx.square().sum(1)
    # Float32 rounding leaves a constant map a variance of up to (2^-24 |x|)² a pixel.
    constant = variance <= count * (mean_x.abs() * 2**-23).square()
    scale = torch.where(constant, 0, (dx * dy).sum(1) / torch.where(constant, 1, variance))
    return scale, mean_y - scale * mean_x


def fit_alignment(
    prediction: Tensor,
    truth: Tensor,
    valid: Tensor | None = None,
    *,
    space: Space = "depth",
    max_resolution: int | None = None,
    width_only: bool = False,
) -> Alignment:
    """Return the least-squares alignment of one map with dense or sparse metric depth.

    A constant prediction carries no scale: it is aligned by the shift alone (scale 0), to the mean of the truth.

    Args:
        prediction: (H, W), any affine scale; disparity if ``space`` is ``disparity``.
        truth: metres, (H, W); sparse is as good as dense.
        valid: bool, (H, W); None: where the truth is above 0.  In disparity both maps must be above 0 too.
        space: fit ``prediction`` to depth, or to 1/depth.
        max_resolution: fit on a nearest-neighbour subsample whose longer side is at most this (ETH3D: 1024).
        width_only: subsample the columns alone, as the released evaluation does (its 2D maps enter a 1D resize).

    Raises:
        TooFewPixels: fewer than two valid pixels.
        ValueError: shapes differ, values that are not finite among the valid pixels, or a disparity that is not above
            0 at two of them.
    """
    if not (prediction.shape == truth.shape and prediction.dim() == 2):
        raise ValueError(
            f"prediction has shape {tuple(prediction.shape)}, depth {tuple(truth.shape)}: want (H, W) twice"
        )
    valid = truth > 0 if valid is None else valid.bool()
    if valid.shape != truth.shape:
        raise ValueError(f"the valid mask has shape {tuple(valid.shape)}, depth {tuple(truth.shape)}")
    if space not in ("depth", "disparity"):
        raise ValueError(f"space={space!r} is none of depth, disparity")
    if max_resolution is not None:
        prediction, truth, valid = subsample(prediction, truth, valid, max_resolution, width_only)
    known = valid & (truth > 0) if space == "disparity" else valid
    if int(known.sum()) < 2:
        raise TooFewPixels(f"a scale and a shift need two valid pixels, known are {int(known.sum())}")
    if not (prediction[known].isfinite().all() and truth[known].isfinite().all()):
        raise ValueError("prediction or depth is not finite among the valid pixels")
    if space == "disparity":
        known = known & (prediction > 0)
        if int(known.sum()) < 2:  # no TooFewPixels: a prediction's fault leaves no image out of a mean
            raise ValueError("the predicted disparity is not above 0 at two valid pixels: nothing can be aligned")
        truth = torch.where(known, 1 / truth.double(), 0)
    scale, shift = least_squares(prediction[None], truth[None], known[None])
    return Alignment(float(scale), float(shift), space, int(known.sum()))


def subsample(
    prediction: Tensor, truth: Tensor, valid: Tensor, max_resolution: int, width_only: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the three maps at nearest neighbours, so that the longer side is at most ``max_resolution``.

    Raises:
        ValueError: ``max_resolution`` below 1.
    """
    if max_resolution < 1:
        raise ValueError(f"max_resolution={max_resolution} is below 1")
    factor = max_resolution / max(truth.shape)
    if factor >= 1:
        return prediction, truth, valid

    def shrink(values: Tensor) -> Tensor:
        values = values.double()
        if width_only:
            return F.interpolate(values[None], scale_factor=factor, mode="nearest")[0]
        return F.interpolate(values[None, None], scale_factor=factor, mode="nearest")[0, 0]

    return shrink(prediction), shrink(truth), shrink(valid).bool()
