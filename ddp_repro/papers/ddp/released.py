"""The authors' checkpoint names and layouts, translated to ours.

Names of the released models (mmsegmentation style) on the left, ours on the right; a checkpoint is
official when it has keys that only the left side knows.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from torch import Tensor, nn

from ddp_repro.settings.errors import CheckpointError

# Integer tables that timm's Swin recomputes.
IGNORED = re.compile(r"backbone\..*\.relative_position_index$")

_SWIN_BLOCK = r"backbone\.stages\.(\d+)\.blocks\.(\d+)\."
_CONVNEXT_BLOCK = r"backbone\.stages\.(\d+)\.(\d+)\."
_LAYER = r"decode_head\.encoder\.layers\.(\d+)\."

RULES: list[tuple[str, str]] = [
    # Swin: official downsampling closes a stage, timm's opens the next one (see _rename)
    (r"backbone\.patch_embed\.projection\.", r"backbone.body.patch_embed.proj."),
    (r"backbone\.patch_embed\.norm\.", r"backbone.body.patch_embed.norm."),
    (_SWIN_BLOCK + r"attn\.w_msa\.", r"backbone.body.layers_\1.blocks.\2.attn."),
    (_SWIN_BLOCK + r"ffn\.layers\.0\.0\.", r"backbone.body.layers_\1.blocks.\2.mlp.fc1."),
    (_SWIN_BLOCK + r"ffn\.layers\.1\.", r"backbone.body.layers_\1.blocks.\2.mlp.fc2."),
    (_SWIN_BLOCK + r"norm([12])\.", r"backbone.body.layers_\1.blocks.\2.norm\3."),
    # ConvNeXt
    (r"backbone\.downsample_layers\.0\.([01])\.", r"backbone.body.stem_\1."),
    (r"backbone\.downsample_layers\.([1-3])\.([01])\.", r"backbone.body.stages_\1.downsample.\2."),
    (_CONVNEXT_BLOCK + r"depthwise_conv\.", r"backbone.body.stages_\1.blocks.\2.conv_dw."),
    (_CONVNEXT_BLOCK + r"pointwise_conv([12])\.", r"backbone.body.stages_\1.blocks.\2.mlp.fc\3."),
    (_CONVNEXT_BLOCK + r"(norm\.|gamma)", r"backbone.body.stages_\1.blocks.\2.\3"),
    (r"backbone\.norm([0-3])\.", r"backbone.norms.\1."),
    # neck
    (r"neck\.0\.lateral_convs\.(\d)\.conv\.", r"neck.lateral.\1.0."),
    (r"neck\.0\.lateral_convs\.(\d)\.gn\.", r"neck.lateral.\1.1."),
    (r"neck\.0\.fpn_convs\.(\d)\.conv\.", r"neck.smooth.\1.0."),
    (r"neck\.0\.fpn_convs\.(\d)\.gn\.", r"neck.smooth.\1.1."),
    (r"neck\.1\.down\.conv\.", r"neck.merge.0."),
    (r"neck\.1\.down\.gn\.", r"neck.merge.1."),
    # map decoder and diffusion
    (_LAYER + r"attentions\.0\.", r"decoder.layers.\1.attention."),
    (_LAYER + r"norms\.", r"decoder.layers.\1.norms."),
    (_LAYER + r"ffns\.0\.layers\.0\.0\.", r"decoder.layers.\1.feedforward.0."),
    (_LAYER + r"ffns\.0\.layers\.1\.", r"decoder.layers.\1.feedforward.2."),
    (_LAYER + r"time_mlp\.1\.", r"decoder.layers.\1.modulation.1."),
    (r"decode_head\.conv_seg\.", r"decoder.classifier."),
    (r"embedding_table\.", r"encoding.embedding_table."),
    (r"transform\.conv\.", r"fusion."),
    (r"time_mlp\.0\.weights$", r"time_embedding.frequencies"),
    (r"time_mlp\.1\.", r"time_embedding.layers.0."),
    (r"time_mlp\.3\.", r"time_embedding.layers.2."),
    # depth
    (r"decode_head\.conv_depth\.", r"decoder.depth_convolution."),
    (r"down\.conv\.", r"fusion."),
    # auxiliary head
    (r"auxiliary_head\.convs\.0\.conv\.", r"auxiliary_head.0."),
    (r"auxiliary_head\.convs\.0\.bn\.", r"auxiliary_head.1."),
    (r"auxiliary_head\.conv_seg\.", r"auxiliary_head.4."),
]
BEV_KEYS = ("heads.map.", "encoders.camera.")  # begin the names of the released BEV code's tensors
_COMPILED = [(re.compile(pattern), replacement) for pattern, replacement in RULES]
_SWIN_DOWNSAMPLE = re.compile(r"backbone\.stages\.(\d+)\.downsample\.(norm|reduction)\.(weight|bias)$")


def is_official(keys: Iterable[str]) -> bool:
    """Whether the keys are those of the released code."""
    return any(key.startswith(("decode_head.", "transform.conv.", "neck.0.", *BEV_KEYS)) for key in keys)


def rename(key: str) -> str | None:
    """Our name of an official tensor; None if we have no such tensor."""
    if match := _SWIN_DOWNSAMPLE.match(key):
        stage, part, leaf = match.groups()
        return f"backbone.body.layers_{int(stage) + 1}.downsample.{part}.{leaf}"
    for pattern, replacement in _COMPILED:
        if pattern.match(key):
            return pattern.sub(replacement, key, count=1)
    return None


def translate(state_dict: Mapping[str, Tensor], model: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """Official tensors under our names and in our layouts.

    A Swin model whose attention window differs from that of the weights is given theirs (the released ADE20K Swin-B
    configuration says 12, the paper's cost says 7).

    The released depth decoder ignores the time: its checkpoints have a time embedding that nothing reads.

    Args:
        state_dict: official tensors.
        model: the model that will load them.

    Returns:
        our tensors (a key without a counterpart keeps its own name, so that strict loading reports it), and the keys
        that are rightly not loaded.

    Raises:
        CheckpointError: it is a BEV model's.
    """
    if any(key.startswith(BEV_KEYS) for key in state_dict):
        raise CheckpointError(f"this is a BEV checkpoint; the model is a {type(model).__name__}")
    timed = cast(Any, model).config.time_conditioned
    ignored = [key for key in state_dict if IGNORED.match(key) or (not timed and key.startswith("time_mlp."))]
    translated = {}
    for key, value in state_dict.items():
        if key not in ignored:
            translated[rename(key) or key] = _layout(key, value)
    _match_window(translated, model)
    return translated, ignored


def _layout(key: str, value: Tensor) -> Tensor:
    if key in ("decode_head.conv_seg.weight", "transform.conv.weight", "down.conv.weight") and value.dim() == 4:
        return value.flatten(1)  # 1x1 convolution -> linear layer
    if _SWIN_DOWNSAMPLE.match(key) and value.shape[-1] % 4 == 0:
        # official: channel, row, column of the 2x2 patch; timm: column, row, channel
        patch = value.unflatten(-1, (-1, 2, 2))
        return patch.movedim((-1, -2, -3), (-3, -2, -1)).flatten(-3)
    return value


def _match_window(state_dict: Mapping[str, Tensor], model: Any) -> None:
    tables = [v for k, v in state_dict.items() if k.endswith("relative_position_bias_table")]
    if not tables or model.backbone.window_size is None:
        return
    window = (round(len(tables[0]) ** 0.5) + 1) // 2  # the table has (2·window - 1)² rows
    if window != model.backbone.window_size and (2 * window - 1) ** 2 == len(tables[0]):
        model.backbone.set_window_size(window)
        model.config = dataclasses.replace(model.config, window_size=window)
