"""Benchmarks of affine-invariant depth by name: range, resolution of the alignment, and the window that counts."""

from __future__ import annotations

import torch
from torch import Tensor

from ddp_repro.networks.shapes import shape_of
from ddp_repro.settings.errors import ConfigError
from ddp_repro.tasks.affine_depth.alignment import Space
from ddp_repro.tasks.affine_depth.metrics import PROTOCOLS, AffineDepthErrors, AffineProtocol, ImageErrors
from ddp_repro.tasks.depth.protocols import PROTOCOLS as METRIC_PROTOCOLS

# Of benchmarks that count a window of the picture: the rule of metric depth that has the same one.
WINDOWS = {"nyu": "nyu", "kitti": "kitti_eigen"}


def protocol_named(name: str | None) -> AffineProtocol:
    """Return the protocol that ``EvalConfig.protocol`` names.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"evaluation.protocol must be one of {', '.join(PROTOCOLS)}; got {name!r}")
    return PROTOCOLS[name]


def window(protocol: AffineProtocol, size: tuple[int, int]) -> Tensor:
    """Return which pixels of a picture of (height, width) a benchmark counts at all; bool (H, W).

    NYU: Eigen's window (rows 45 to 471 and columns 41 to 601 of 480 x 640, others in proportion).  KITTI: Eigen's
    after the benchmark crop.
    """
    if protocol.name not in WINDOWS:
        return torch.ones(size, dtype=torch.bool)
    return METRIC_PROTOCOLS[WINDOWS[protocol.name]].valid(torch.ones(size))


class BenchmarkErrors(AffineDepthErrors):
    """The measures under one protocol, within its window."""

    def __init__(self, protocol: AffineProtocol, space: Space = "depth") -> None:
        """Start with no image."""
        super().__init__(protocol, space)

    def measure(self, prediction: Tensor, truth: Tensor, valid: Tensor | None = None, name: str = "") -> ImageErrors:
        """Align and measure one image within the benchmark's window, without counting it."""
        inside = window(self.protocol, shape_of(truth)).to(truth.device)
        return super().measure(prediction, truth, inside if valid is None else inside & valid, name)
