"""Losses of GenPercept (Section 3.4): on the latent, and on the decoded image.

Masks are bool, (B, 1, H, W).  A loss averages over the valid pixels of the whole batch, as released, so an image
without one adds nothing; where the batch has none at all the loss is 0, with gradients of 0.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.papers.genpercept.settings import GradientAxes, SSIKind
from ddp_repro.tasks.affine_depth.alignment import least_squares
from ddp_repro.tasks.normals.metrics import LENGTH_TOLERANCE

# Depth and disparity in [-1, 1] are moved to [1, 3], so that a ratio of medians has a sign and no zero.
OFFSET = 2.0
SSI_WEIGHT, GRADIENT_WEIGHT = 0.5, 2.0
COSINE_MARGIN = 1e-4  # keeps the arc cosine's slope finite; equal normals still cost acos(1 - 1e-4) = 0.81 degrees


def latent_mask(valid: Tensor, factor: int = 8) -> Tensor:
    """Return which latent positions have a fully valid block of pixels, bool, (B, 1, H / factor, W / factor)."""
    return ~F.max_pool2d((~valid).float(), factor).bool()


def latent_mse(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the mean squared error of v over all channels of the valid positions.

    Args:
        prediction, target: (B, 4, h, w).
        valid: of the latent (:func:`latent_mask`), (B, 1, h, w); None: all.
    """
    return _masked_mean((prediction - target).square(), valid)


def image_mse(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the mean squared error over all channels of the valid pixels; (B, C, H, W) in [-1, 1]."""
    return _masked_mean((prediction - target).square(), valid)


def ssi_loss(prediction: Tensor, target: Tensor, valid: Tensor, kind: SSIKind = "least_squares") -> Tensor:
    """Return the scale-and-shift-invariant absolute error.

    ``least_squares`` aligns every image by its least-squares scale and shift, with gradients through both; where the
    scale is not positive, the ratio of medians scales it and nothing shifts it.  ``median`` brings prediction and
    target to median 0 and mean absolute deviation 1; as released, the median and the deviation's sum run over all
    pixels and the count over the valid ones.

    Args:
        prediction, target: (B, 1, H, W), on the positive side (:data:`OFFSET`) for ``least_squares``.

    Raises:
        ValueError: an unknown kind.
    """
    if kind == "least_squares":
        scale, shift = _positive_alignment(prediction, target, valid)
        return _masked_mean((scale * prediction + shift - target).abs(), valid)
    if kind == "median":
        return _masked_mean((_standardised(prediction, valid) - _standardised(target, valid)).abs(), valid)
    raise ValueError(f"kind={kind!r} is none of least_squares, median")


def gradient_loss(
    prediction: Tensor, target: Tensor, valid: Tensor, scales: int = 1, axes: GradientAxes = "both"
) -> Tensor:
    """Return the summed difference of the error between neighbours, over the number of valid pixels; scales add up.

    The released trainer hands (B, 1, H, W) to a function written for (B, H, W), whose "horizontal" axis then is the
    image's vertical and whose "vertical" one has a single entry: ``axes="vertical"`` computes that.

    Args:
        prediction, target: (B, 1, H, W).
        scales: scale s keeps every 2^s-th row and column.

    Raises:
        ValueError: unknown axes, or no scale.
    """
    if axes not in ("both", "vertical"):
        raise ValueError(f"axes={axes!r} is none of both, vertical")
    if scales < 1:
        raise ValueError(f"scales={scales} is below 1")
    total = prediction.new_zeros(())
    for stride in (2**scale for scale in range(scales)):
        error = torch.where(valid, prediction - target, 0)[..., ::stride, ::stride]
        inside = valid[..., ::stride, ::stride]
        change = (error.diff(dim=-2).abs() * (inside[..., 1:, :] & inside[..., :-1, :])).sum()
        if axes == "both":
            change = change + (error.diff(dim=-1).abs() * (inside[..., 1:] & inside[..., :-1])).sum()
        total = total + change / inside.sum().clamp(min=1)
    return total


def angular_loss(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the mean angle between predicted and true normals, radians.

    Args:
        prediction: (B, 3, H, W), of any length.
        target: unit vectors, (B, 3, H, W).
        valid: (B, 1, H, W); None: all.

    Raises:
        ValueError: true normals among the valid pixels that are not unit vectors (by more than 1 %).
    """
    length = target.detach().norm(dim=1, keepdim=True)
    off = ~((length - 1).abs() <= LENGTH_TOLERANCE)  # NaN too
    if (off if valid is None else off & valid).any():
        raise ValueError("true normals are not unit vectors")
    cosine = F.cosine_similarity(prediction, target, dim=1).unsqueeze(1)
    return _masked_mean(cosine.clamp(-1 + COSINE_MARGIN, 1 - COSINE_MARGIN).acos(), valid)


def depth_loss(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor,
    *,
    ssi: SSIKind = "least_squares",
    axes: GradientAxes = "both",
    scales: int = 1,
) -> Tensor:
    """Return the customised loss of Table 2: MSE + 0.5 SSI + 2 gradient, for depth and disparity in [-1, 1].

    The released models of depth were trained with ``axes="vertical"``.

    Args:
        prediction, target: (B, 1, H, W).
    """
    prediction, target = prediction + OFFSET, target + OFFSET
    return (
        image_mse(prediction, target, valid)
        + SSI_WEIGHT * ssi_loss(prediction, target, valid, ssi)
        + GRADIENT_WEIGHT * gradient_loss(prediction, target, valid, scales, axes)
    )


def _masked_mean(values: Tensor, valid: Tensor | None) -> Tensor:
    if valid is None:
        return values.mean()
    valid = valid.expand_as(values)
    # where, not a product: a masked pixel may hold NaN; its gradient is cut as well
    return torch.where(valid, values, 0).sum() / valid.sum().clamp(min=1)


def _positive_alignment(prediction: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    scale, shift = (value.to(prediction) for value in least_squares(prediction, target, valid))
    ratio = torch.stack([_median_ratio(*sample) for sample in zip(prediction, target, valid, strict=True)])
    positive = scale > 0
    scale, shift = torch.where(positive, scale, ratio), torch.where(positive, shift, 0)
    return scale.reshape(-1, 1, 1, 1), shift.reshape(-1, 1, 1, 1)


def _median_ratio(prediction: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    if not valid.any():
        return prediction.new_ones(())
    below = prediction[valid].median()
    tiny = torch.finfo(prediction.dtype).eps
    return target[valid].median() / torch.where(below.abs() < tiny, tiny, below)


def _standardised(values: Tensor, valid: Tensor) -> Tensor:
    median = values.flatten(1).median(dim=1).values.reshape(-1, 1, 1, 1)
    deviation = (values - median).abs().flatten(1).sum(1) / valid.flatten(1).sum(1).clamp(min=1)
    # A constant map has deviation 0: it is left at 0.
    return (values - median) / deviation.clamp(min=torch.finfo(values.dtype).eps).reshape(-1, 1, 1, 1)
