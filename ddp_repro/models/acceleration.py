"""Fast paths that a user may switch on: compiled graphs, CUDA graphs, channels-last, gradient checkpointing.

None of them changes the weights, their names, or (beyond rounding) what a model computes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from timm.layers import Mlp
from timm.models.swin_transformer import WindowAttention
from torch import Tensor, nn
from torch.fx.experimental import _config as shape_config
from torch.utils._pytree import tree_map

from ddp_repro.config import CompileMode, ConfigError
from ddp_repro.models.ddp import ImageModel

ModelT = TypeVar("ModelT", bound=ImageModel)

GRAPHS_PER_FUNCTION = 64  # PyTorch's limit of 8 is meant for one model of one size


def accelerate(
    model: ModelT,
    *,
    compile: CompileMode = "off",
    channels_last: bool = False,
    gradient_checkpointing: bool = False,
) -> ModelT:
    """Switch the fast paths of a model; what is not asked for is switched off.

    Args:
        model: changed in place; put it where it is to run first.
        compile: "default" compiles encoder and decoder with ``torch.compile``, once for single images and once for
            batches, for all image sizes; "cuda_graphs" also replays the kernels of each size as CUDA graphs
            (inference only).  Compilation happens at the first use.
        channels_last: weights of convolutions in the layout that many devices prefer.
        gradient_checkpointing: keep only the inputs of backbone blocks and decoder layers for the backward pass, and
            compute the rest again.

    Returns:
        The same model.

    Raises:
        ConfigError: CUDA graphs without CUDA, or a backbone that cannot be checkpointed.
    """
    if compile == "cuda_graphs" and next(model.parameters()).device.type != "cuda":
        raise ConfigError("compile=cuda_graphs needs a model on a CUDA device; default runs anywhere")
    model.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    _checkpoint(model, gradient_checkpointing)
    _uncompile(model)
    if compile != "off":
        _prepare_compiler()
        for part in compiled_parts(model):
            part._compiled_call_impl = _compiled(part.forward, compile)
    return model


def compiled_parts(model: ImageModel) -> list[nn.Module]:
    """What is compiled, each into graphs of its own.

    The time embedding is not: log-SNR(1) hangs on the rounding of its arithmetic.  Of a Swin, the attention within
    windows and the perceptrons are: their shapes are simple, while in a graph of whole blocks at any image size, the
    padded and shifted sizes are nested quotients, which take minutes to reason about.  (Without gradients, a CPU runs
    Swin blocks as the compiled code of :mod:`ddp_repro.models.native_swin` in any case.)  Of a BEV model, backbone and
    decoder are.
    """
    backbone = model.backbone
    swin = [m for m in backbone.modules() if isinstance(m, (WindowAttention, Mlp))] if backbone.family == "swin" else []
    neck = [model.neck] if hasattr(model, "neck") else []
    return [*(swin or [backbone]), *neck, model.decoder]


def _prepare_compiler() -> None:
    """Settings of the whole process, since PyTorch has them nowhere else."""
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, GRAPHS_PER_FUNCTION)
    # Otherwise a graph traced for a square picture, or for one as wide as there are channels, holds for these alone.
    shape_config.use_duck_shape = False


def _compiled(forward: Callable[..., object], mode: CompileMode) -> Callable[..., object]:
    if mode == "default":
        return torch.compile(forward, dynamic=True)
    graphed = torch.compile(forward, dynamic=True, mode="reduce-overhead")

    def run(*arguments: object) -> object:
        # The next run of any graph may overwrite this one's output, which the caller keeps.
        torch.compiler.cudagraph_mark_step_begin()
        return tree_map(lambda each: each.clone() if isinstance(each, Tensor) else each, graphed(*arguments))

    return run


def _uncompile(model: nn.Module) -> None:
    """``nn.Module`` keeps a compiled forward pass in this attribute, out of copies and saved files."""
    for module in model.modules():
        module._compiled_call_impl = None


def _checkpoint(model: ImageModel, enabled: bool) -> None:
    model.decoder.checkpointing = enabled
    model.backbone.set_checkpointing(enabled)
