"""Ensembles of the stochastic pipeline's predictions, by Marigold's rules as diffusers has them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ddp_repro.papers.genpercept.settings import Task
from ddp_repro.settings.errors import ConfigError


def ensemble_maps(members: Tensor, task: Task, reduction: Literal["mean", "median"] = "mean") -> Tensor:
    """Return one map for every image from its members, (B, C, H, W).

    Depth and disparity: members are aligned to one another by scale and shift, reduced, and stretched to [0, 1].
    Normals: the mean direction; under ``median``, the member nearest to it at every pixel.

    Args:
        members: (B, E, C, H, W); depth in [0, 1], or unit normals.
        task: affine_depth or normals.
        reduction: over the members.

    Raises:
        ConfigError: a task that has no ensemble, or diffusers is missing.
    """
    try:
        from diffusers import MarigoldDepthPipeline, MarigoldNormalsPipeline
    except ImportError as error:
        raise ConfigError("an ensemble needs diffusers: uv sync --extra genpercept") from error
    if task == "normals":
        how = "mean" if reduction == "mean" else "closest"
        return torch.cat([MarigoldNormalsPipeline.ensemble_normals(image, False, how)[0] for image in members])
    if task == "affine_depth":
        return torch.cat([MarigoldDepthPipeline.ensemble_depth(image, reduction=reduction)[0] for image in members])
    raise ConfigError(f"an ensemble is defined for depth, disparity and normals, not for {task}")
