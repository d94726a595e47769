"""mmsegmentation without compiled mmcv: :func:`prepare` makes it work with the package mmcv-lite.

mmcv-lite ships the Python files of ``mmcv.ops`` but not the extension module that they import, so that importing any op
fails, and mmsegmentation with it.  Most of what mmsegmentation needs is pure PyTorch in those very files; the rest
(focal loss) is written here.  An op that has no stand-in says so when it is called.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable
from typing import NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor

_EXTENSION = "mmcv._ext"


def prepare() -> None:
    """Make ``mmcv.ops`` importable; call before the first import of mmseg.  A compiled mmcv is left as it is.

    Raises:
        ModuleNotFoundError: the extra ``mmseg`` is not installed.
    """
    if importlib.util.find_spec("mmcv") is None or importlib.util.find_spec("mmseg") is None:
        raise ModuleNotFoundError("mmsegmentation is not installed; run: uv sync --extra mmseg (or make install)")
    if "mmcv.ops" in sys.modules or importlib.util.find_spec(_EXTENSION) is not None:
        return
    sys.modules[_EXTENSION] = _MissingExtension(_EXTENSION)
    try:
        import mmcv.ops
    finally:
        del sys.modules[_EXTENSION]  # mmengine must go on seeing that nothing is compiled
    mmcv.ops.sigmoid_focal_loss = sigmoid_focal_loss


class _MissingExtension(types.ModuleType):
    """In place of mmcv's compiled module: any op can be imported, and none can be called."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_: object, **__: object) -> NoReturn:
            raise RuntimeError(
                f"{name} is a compiled op of mmcv; mmcv-lite is installed. Install mmcv itself to use it"
            )

        return missing


def sigmoid_focal_loss(
    logits: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    alpha: float = 0.25,
    weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Focal loss (Lin et al. 2017) of mmcv's op, in PyTorch.

    Args:
        logits: (N, C).
        target: class indices (N,); an index of C or above is background in every class.
        gamma, alpha: focusing and balance.
        weight: (C,), factor per target class.
        reduction: "none" gives (N, C); "sum"; "mean" divides the sum by N.
    """
    classes = logits.shape[1]
    positive = F.one_hot(target.clamp(max=classes), classes + 1)[:, :classes].to(logits)
    probability = logits.sigmoid()
    wrong = positive * (1 - probability) + (1 - positive) * probability
    balance = positive * alpha + (1 - positive) * (1 - alpha)
    loss = balance * wrong**gamma * F.binary_cross_entropy_with_logits(logits, positive, reduction="none")
    if weight is not None:
        loss = loss * torch.cat([weight, weight.new_ones(1)])[target.clamp(max=classes)].unsqueeze(1)
    if reduction == "none":
        return loss
    return loss.sum() / len(logits) if reduction == "mean" else loss.sum()
