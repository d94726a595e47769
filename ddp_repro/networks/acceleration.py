"""Fast paths that a user may switch on: compiled graphs, CUDA graphs, channels-last, gradient checkpointing.

None of them changes the weights, their names, or (beyond rounding) what a model computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from timm.layers import Mlp
from timm.models.convnext import ConvNeXtBlock
from timm.models.swin_transformer import WindowAttention
from torch import Tensor, nn
from torch.fx.experimental import _config as shape_config
from torch.utils._pytree import tree_map

from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import CompileMode

ModelT = TypeVar("ModelT", bound=nn.Module)

BACKBONE_PARTS: dict[str, tuple[type[nn.Module], ...]] = {"swin": (WindowAttention, Mlp), "convnext": (ConvNeXtBlock,)}
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
        compile: "default" compiles the parts that do the work (:func:`compiled_parts`) with ``torch.compile``, once
            for single images and once for batches, for all image sizes; "cuda_graphs" also replays the kernels of
            each size as CUDA graphs (inference only).  Compilation happens at the first use.
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
    set_checkpointing(model, gradient_checkpointing)
    _uncompile(model)
    if compile != "off":
        _prepare_compiler()
        for part in compiled_parts(model):
            part._compiled_call_impl = _compiled(part.forward, compile)
    return model


@contextmanager
def accelerated(model: nn.Module, *, compile: CompileMode = "off", channels_last: bool = False) -> Iterator[None]:
    """Add fast paths to those that a model has for the body of a ``with`` statement, and leave it as it was.

    Args:
        compile, channels_last: as in :func:`accelerate`; what is not asked for stays as the user has switched it.

    Raises:
        ConfigError: CUDA graphs without CUDA.
    """
    compiled = {module: module._compiled_call_impl for module in model.modules()}
    decoder = getattr(model, "decoder", None)
    layout, checkpointing = _memory_format(model), getattr(decoder, "checkpointing", False)
    if compile == "off" and (not channels_last or layout == torch.channels_last):
        yield  # nothing to change
        return
    wanted = torch.channels_last if channels_last else layout
    try:
        if compile != "off":
            accelerate(model, compile=compile, gradient_checkpointing=checkpointing)
        model.to(memory_format=wanted)
        yield
    finally:
        model.to(memory_format=layout)
        for module, call in compiled.items():
            module._compiled_call_impl = call


def _memory_format(model: nn.Module) -> torch.memory_format:
    """Return the layout of a model's convolutions; weights of 1×1 kernels alone are in both at once."""
    weights = [weight for weight in model.parameters() if weight.dim() == 4]
    return torch.contiguous_format if all(weight.is_contiguous() for weight in weights) else torch.channels_last


def compiled_parts(model: nn.Module) -> list[nn.Module]:
    """Return what is compiled, each into graphs of its own.

    Of the backbone, that is what does the work in blocks and has simple shapes: Swin's attention within windows and
    its perceptrons, ConvNeXt's blocks.  In a graph of a whole backbone for any image size, padded sizes become nested
    quotients, which take PyTorch minutes to reason about; so backbones of other families are left as they are, and so
    is a BEV model's neck.  The time embedding is too: log-SNR(1) hangs on the rounding of its arithmetic.  Without
    gradients, a CPU runs Swin's blocks as the compiled code of :mod:`ddp_repro.networks.kernels.swin` in any case.
    """
    backbone, decoder = getattr(model, "backbone", None), getattr(model, "decoder", None)
    if backbone is None or decoder is None:
        raise ConfigError(f"a {type(model).__name__} has no backbone and decoder to compile")
    kinds = BACKBONE_PARTS.get(backbone.family, ())
    neck = [model.get_submodule("neck")] if hasattr(model, "neck") else []
    return [*(module for module in backbone.modules() if isinstance(module, kinds)), *neck, decoder]


def _prepare_compiler() -> None:
    """Change settings of the whole process, since PyTorch has them nowhere else."""
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


def set_checkpointing(model: nn.Module, enabled: bool) -> None:
    """Switch gradient checkpointing of a model's backbone and decoder.

    Raises:
        ConfigError: the model, or its backbone, cannot be checkpointed.
    """
    backbone, decoder = getattr(model, "backbone", None), getattr(model, "decoder", None)
    if backbone is None or decoder is None:
        if enabled:
            raise ConfigError(f"a {type(model).__name__} has no backbone and decoder to checkpoint")
        return
    decoder.checkpointing = enabled
    backbone.set_checkpointing(enabled)
