"""Labels as GenPercept's VAE takes them: every task's truth in [-1, 1]."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ddp_repro.papers.genpercept.settings import GenPerceptConfig, Task
from ddp_repro.tasks.normals.metrics import LENGTH_TOLERANCE


def normalise_depth(depth: Tensor, valid: Tensor, quantiles: tuple[float, float] = (0.02, 0.98)) -> Tensor:
    """Return depth in [-1, 1]: two quantiles of the valid pixels become -1 and 1, and what is beyond is clipped.

    A constant depth becomes 0.

    Args:
        depth: metres, (H, W) or (1, H, W).
        valid: bool, shaped alike.

    Raises:
        ValueError: no valid pixel, or a depth that is not finite among them.
    """
    near, far = _quantiles(_valid_values(depth, valid), quantiles)
    return torch.where(depth.isfinite(), _to_unit(depth, near, far), -1.0)


def normalise_disparity(depth: Tensor, valid: Tensor, quantiles: tuple[float, float] = (0.0, 1.0)) -> Tensor:
    """Return disparity in [-1, 1], 1 the nearest; invalid pixels are -1.

    As released, the planes come from all pixels with a positive depth, the masked ones included.

    Args:
        depth: metres, (H, W) or (1, H, W).
        valid: bool, shaped alike.
        quantiles: of the depth, where the far and near planes lie.

    Raises:
        ValueError: no valid pixel, or a valid depth that is not finite or not positive.
    """
    values = _valid_values(depth, valid)
    if (values <= 0).any():
        raise ValueError("disparity needs depths above 0 at the valid pixels")
    near, far = _quantiles(depth[depth.isfinite() & (depth > 0)], quantiles)
    disparity = 1 / torch.where(valid, depth, 1)
    return torch.where(valid, _to_unit(disparity, 1 / far, 1 / near), -1.0)


def normalise_range(values: Tensor) -> Tensor:
    """Return a mask, an alpha matte or a colour map in [-1, 1] by its minimum and maximum.

    A constant map has no range: an empty mask (0) becomes -1, any other 1.

    Raises:
        ValueError: empty, or not finite.
    """
    values = values.float()
    if not values.numel() or not values.isfinite().all():
        raise ValueError("a label is empty or not finite")
    low, high = values.min(), values.max()
    if low == high:
        return torch.full_like(values, -1.0 if low == 0 else 1.0)
    return _to_unit(values, low, high)


def _valid_values(depth: Tensor, valid: Tensor) -> Tensor:
    values = depth[valid]
    if not values.numel():
        raise ValueError("no pixel has a valid depth")
    if not values.isfinite().all():
        raise ValueError("depth is not finite among the valid pixels")
    return values


def _quantiles(values: Tensor, fractions: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Return two quantiles by linear interpolation; torch.quantile refuses more than 16 million values."""
    ordered = values.flatten().double().sort().values
    results = []
    for fraction in fractions:
        position = fraction * (len(ordered) - 1)
        low = int(position)
        high = min(low + 1, len(ordered) - 1)
        results.append(ordered[low] + (position - low) * (ordered[high] - ordered[low]))
    return results[0], results[1]


def _to_unit(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    if low == high:
        return torch.zeros_like(values)
    return ((values - low) / (high - low) * 2 - 1).clamp(-1, 1).to(values.dtype)


@dataclass(frozen=True)
class Label:
    """A batch of labels as the pipelines train on them.

    Attributes:
        values: (B, 1 or 3, H, W) in [-1, 1]; for UperNet the classes, (B, 1, H, W).
        valid: bool, (B, 1, H, W).
    """

    values: Tensor
    valid: Tensor


def label_of(batch: Mapping[str, Tensor], config: GenPerceptConfig) -> Label:
    """Return the label of a batch of the settings' task.

    Args:
        batch: "depth" (B, H, W) in metres, 0 or NaN unknown; "normals" (B, 3, H, W), 0 unknown; "mask" or "alpha"
            (B, H, W) in [0, 1], below 0 unknown; "label" (B, H, W) of classes, 255 unknown.

    Raises:
        ValueError: values that are not finite, normals that are no unit vectors, or an opacity above 1.
    """
    return _LABELS[config.task](batch, config)


def label_within(batch: Mapping[str, Tensor], config: GenPerceptConfig) -> Label | None:
    """Return the label that a batch holds for the VAE to carry: of the settings' task, else depth or normals; or None.

    Raises:
        ValueError: as :func:`label_of`.
    """
    wanted: Task = config.task
    if KEYS[wanted] in batch:
        return label_of(batch, config)
    carried: tuple[Task, ...] = ("affine_depth", "normals")
    task: Task | None = next((task for task in carried if KEYS[task] in batch), None)
    return None if task is None else _LABELS[task](batch, config)


def class_colours(count: int) -> Tensor:
    """Return colours that are far apart, (count, 3) in [-1, 1]: bits of the class's number, the highest first.

    The authors' palette is not published; this is the one of PASCAL VOC.
    """
    numbers = torch.arange(count)
    channels = [sum(((numbers >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(3)) for channel in range(3)]
    return torch.stack([torch.as_tensor(channel) for channel in channels], dim=1) / 127.5 - 1


def _depth_label(batch: Mapping[str, Tensor], config: GenPerceptConfig) -> Label:
    depth = batch["depth"]
    valid = depth > 0
    normalise = normalise_depth if config.space == "depth" else normalise_disparity
    # An image without any depth adds nothing to the loss.
    values = [normalise(d, v) if v.any() else torch.full_like(d, -1) for d, v in zip(depth, valid, strict=True)]
    return Label(torch.stack(values)[:, None], valid[:, None])


def _normals_label(batch: Mapping[str, Tensor], config: GenPerceptConfig) -> Label:
    normals = batch["normals"]
    length = normals.norm(dim=1, keepdim=True)
    valid = length != 0
    if not ((length[valid] - 1).abs() <= LENGTH_TOLERANCE).all():  # NaN is not either
        raise ValueError("true normals are not unit vectors")
    return Label(normals, valid)


def _opacity_label(key: str) -> Callable[[Mapping[str, Tensor], GenPerceptConfig], Label]:
    def label(batch: Mapping[str, Tensor], config: GenPerceptConfig) -> Label:
        opacity = batch[key][:, None]
        if not opacity.isfinite().all() or opacity.max() > 1:
            raise ValueError("opacity is not finite or above 1")
        valid = opacity >= 0
        values = [normalise_range(o.clamp(min=0)) for o in opacity]
        return Label(torch.stack(values), valid)

    return label


def _class_label(batch: Mapping[str, Tensor], config: GenPerceptConfig) -> Label:
    classes = batch["label"]
    valid = (classes != 255)[:, None]
    if config.decoder == "upernet":
        return Label(classes[:, None], valid)
    colours = class_colours(config.num_classes).to(classes.device)
    return Label(colours[torch.where(valid[:, 0], classes, 0)].permute(0, 3, 1, 2), valid)


KEYS: dict[Task, str] = {
    "affine_depth": "depth", "normals": "normals", "dichotomous": "mask", "matting": "alpha", "segmentation": "label",
}  # fmt: skip
_LABELS: dict[Task, Callable[[Mapping[str, Tensor], GenPerceptConfig], Label]] = {
    "affine_depth": _depth_label,
    "normals": _normals_label,
    "dichotomous": _opacity_label("mask"),
    "matting": _opacity_label("alpha"),
    "segmentation": _class_label,
}
