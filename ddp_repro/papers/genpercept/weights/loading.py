"""Loading and saving: the authors' hub files, a base diffusion model to fine-tune, and folders written here.

Everything downloaded is kept by the hub's client and found there again; ``local_files_only`` (or ``HF_HUB_OFFLINE=1``)
asks for no network.  The hub has no text encoder beside the authors' weights, so the embedding of the empty prompt is
computed once from the base model and cached.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ddp_repro.papers.genpercept.dpt_head import DPTHead, UperNetHead
from ddp_repro.papers.genpercept.model import GenPercept, decoder_parts
from ddp_repro.papers.genpercept.settings import GenPerceptConfig, Space, Task
from ddp_repro.papers.genpercept.weights.hub_files import BASE_MODEL, diffusers_class, embed_prompt, hub_file, reach
from ddp_repro.settings.errors import ConfigError

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, UNet2DConditionModel

COLLECTION = "guangkaixu/genpercept-models"
DPT_FOLDER, UPERNET_FOLDER, WEIGHTS = "dpt_head_identity", "upernet_head", "model.safetensors"
SETTINGS_FILE, TEXT_FILE = "genpercept.json", "text_embedding.safetensors"
OUTPUT_LAYERS = ("conv_norm_out.", "conv_out.")  # that the U-Net files of head models lack


@dataclass(frozen=True)
class Released:
    """The authors' files of one model.

    Attributes:
        task: of the model.
        subfolder: of the U-Net.
        repository: one that holds it; :data:`COLLECTION` holds all.
        space: of an affine-invariant map.
        dpt: read by the DPT head.
    """

    task: Task
    subfolder: str
    repository: str = COLLECTION
    space: Space = "depth"
    dpt: bool = False

    @property
    def config(self) -> GenPerceptConfig:
        """Return the settings of the model."""
        reader: dict[str, Any] = {"decoder": "dpt", "loss": "image"} if self.dpt else {}
        return GenPerceptConfig(self.task, space=self.space, **reader)


RELEASED = {
    "depth": Released("affine_depth", "unet_depth_v2", "guangkaixu/genpercept-depth"),
    "disparity": Released("affine_depth", "unet_disparity_v2", "guangkaixu/genpercept-disparity", space="disparity"),
    "disparity-dpt": Released(
        "affine_depth",
        "unet_disparity_dpt_head_v2",
        "guangkaixu/genpercept-disparity-dpt-head",
        space="disparity",
        dpt=True,
    ),
    "normals": Released("normals", "unet_normal_v2", "guangkaixu/genpercept-normal"),
    "foreground": Released("dichotomous", "unet_dis_v2", "guangkaixu/genpercept-dis"),
    "foreground-v1": Released("dichotomous", "unet_dis_v1"),
    "matte": Released("matting", "unet_matting_v2", "guangkaixu/genpercept-matting"),
    "matte-v1": Released("matting", "unet_matting_v1"),
    "segmentation": Released("segmentation", "unet_seg_v2", "guangkaixu/genpercept-seg"),
}


# --- the three ways to a model ----------------------------------------------------------------------------------------


def load_released(
    name: str,
    *,
    source: str | Path | None = None,
    base_model: str | Path = BASE_MODEL,
    text_embedding: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    tiling: bool = False,
    slicing: bool = False,
    local_files_only: bool = False,
) -> GenPercept:
    """Load one of the authors' models, in evaluation mode, on the CPU.

    Args:
        name: one of :data:`RELEASED`.
        source: a hub id or a folder in the hub's layout; None: the model's repository.
        base_model: hub id or folder, where the text encoder is, if the embedding is not cached yet.
        text_embedding: (1, tokens, width), in place of the base model's.
        dtype: of all weights.
        tiling, slicing: let the VAE work on tiles of large images, and on one image of a batch at a time.
        local_files_only: ask for no network.

    Raises:
        ConfigError: an unknown name, files that cannot be had, or weights that are missing from them.
    """
    if name not in RELEASED:
        raise ConfigError(f"no released model {name!r}; there are: {', '.join(RELEASED)}")
    released = RELEASED[name]
    source = str(source or released.repository)
    if text_embedding is None:
        text_embedding = embed_prompt("", base_model, local_files_only=local_files_only)
    hub = {"dtype": dtype, "local_files_only": local_files_only}
    unet = load_unet(source, released.subfolder, headless=released.dpt, **hub)
    vae = load_vae(source, **hub)
    head = None
    if released.dpt:
        head = DPTHead(_feature_channels(unet), activation=released.config.head_activation)
        _fill(head, hub_file(source, f"{DPT_FOLDER}/{WEIGHTS}", local_files_only))
    return _finish(GenPercept(unet, vae, text_embedding, released.config, head), dtype, tiling, slicing)


def load_base(
    config: GenPerceptConfig,
    base_model: str | Path = BASE_MODEL,
    *,
    text_embedding: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    local_files_only: bool = False,
) -> GenPercept:
    """Load a base diffusion model as the start of training: widened, reset or given a LoRA as the settings ask.

    Args:
        config: pipeline, decoder and what is trained; a head starts from random weights.
        base_model: hub id or folder of Stable Diffusion 2.1, or any model of its kind.
        text_embedding: (1, tokens, width), in place of the base model's.
        dtype: of all weights.
        local_files_only: ask for no network.

    Raises:
        ConfigError: files that cannot be had, or weights that are missing from them.
    """
    hub = {"dtype": dtype, "local_files_only": local_files_only}
    if text_embedding is None:
        text_embedding = embed_prompt("", base_model, local_files_only=local_files_only)
    unet, vae = load_unet(str(base_model), "unet", **hub), load_vae(str(base_model), **hub)
    if config.in_channels == 8 and unet.config["in_channels"] == 4:
        widen_input(unet)
    if config.unet == "scratch":
        reset_parameters(unet)
    if config.decoder_from_scratch and config.decoder == "vae":
        for part in decoder_parts(vae):
            reset_parameters(part)
    return GenPercept(unet, vae, text_embedding, config, _new_head(config, unet)).to(dtype)


def load_pretrained(
    folder: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    tiling: bool = False,
    slicing: bool = False,
    local_files_only: bool = False,
) -> GenPercept:
    """Load a model that :func:`save_pretrained` wrote, from a folder or from the hub, in evaluation mode.

    Raises:
        ConfigError: files that cannot be had, or weights that are missing from them.
    """
    source = str(folder)
    settings = json.loads(hub_file(source, SETTINGS_FILE, local_files_only).read_text(encoding="utf-8"))
    config = GenPerceptConfig(**settings["config"])
    hub = {"dtype": dtype, "local_files_only": local_files_only}
    unet = load_unet(source, "unet", headless=config.decoder != "vae", **hub)
    vae = load_vae(source, **hub)
    head = _new_head(config, unet, settings["head_channels"])
    if head is not None:
        _fill(head, hub_file(source, f"{_head_folder(config)}/{WEIGHTS}", local_files_only))
    text = load_file(hub_file(source, TEXT_FILE, local_files_only))["embedding"]
    return _finish(GenPercept(unet, vae, text, config, head), dtype, tiling, slicing)


def save_pretrained(model: GenPercept, folder: str | Path) -> None:
    """Write a model in the hub's layout: ``unet/``, ``vae/``, the head's folder, the text embedding, the settings.

    ``unet/`` and ``vae/`` are diffusers' own and load there.

    Raises:
        ConfigError: a LoRA that is not merged into the U-Net yet.
    """
    if getattr(model.unet, "peft_config", None):
        raise ConfigError(
            "the U-Net has a LoRA: merge it first (merge_lora), so that stock diffusers can load the file"
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model.unet.save_pretrained(folder / "unet")
    model.vae.save_pretrained(folder / "vae")
    channels = None
    if model.head is not None:
        path = folder / _head_folder(model.config)
        path.mkdir(exist_ok=True)
        save_file({name: value.contiguous() for name, value in model.head.state_dict().items()}, path / WEIGHTS)
        channels = _head_channels(model.head)
    save_file({"embedding": model.text_embedding.contiguous()}, folder / TEXT_FILE)
    config = {field.name: getattr(model.config, field.name) for field in dataclasses.fields(GenPerceptConfig)}
    # What has been trained from other weights is trained: loading must not reset it, nor ask for a LoRA.
    if config["unet"] in ("lora", "scratch"):
        config["unet"] = "full"
    settings = {"config": config, "head_channels": channels}
    (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    index = {
        "_class_name": "GenPerceptPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


# --- parts ------------------------------------------------------------------------------------------------------------


def load_unet(
    source: str,
    subfolder: str,
    *,
    headless: bool = False,
    dtype: torch.dtype = torch.float32,
    local_files_only: bool = False,
) -> UNet2DConditionModel:
    """Load a stock U-Net.

    Args:
        source: hub id or folder.
        subfolder: in it.
        headless: the U-Net feeds a head: its output layers may be missing from the file, and are dropped.
        dtype: of the weights.
        local_files_only: ask for no network.

    Raises:
        ConfigError: files that cannot be had, or weights that are missing from them.
    """
    from_pretrained = diffusers_class("UNet2DConditionModel").from_pretrained
    options = {"subfolder": subfolder, "torch_dtype": dtype, "local_files_only": local_files_only}
    unet = reach(lambda: from_pretrained(source, **options), f"{source}/{subfolder}", local_files_only)
    if headless:
        # A file without them leaves these layers on `meta`, where no .to() can move them from.
        unet.conv_norm_out, unet.conv_out = nn.Identity(), nn.Identity()
    _check_complete(unet, f"{source}/{subfolder}")
    return unet


def load_vae(
    source: str, *, dtype: torch.dtype = torch.float32, local_files_only: bool = False, subfolder: str = "vae"
) -> AutoencoderKL:
    """Load a stock VAE.

    Raises:
        ConfigError: files that cannot be had, or weights that are missing from them.
    """
    from_pretrained = diffusers_class("AutoencoderKL").from_pretrained
    options = {"subfolder": subfolder, "torch_dtype": dtype, "local_files_only": local_files_only}
    vae = reach(lambda: from_pretrained(source, **options), f"{source}/{subfolder}", local_files_only)
    _check_complete(vae, f"{source}/{subfolder}")
    return vae


def widen_input(unet: UNet2DConditionModel) -> None:
    """Turn a U-Net of 4 input channels into one of 8, as Marigold does: the first convolution twice, halved.

    Raises:
        ConfigError: other than 4 channels.
    """
    old = unet.conv_in
    if old.in_channels != 4:
        raise ConfigError(f"widening needs a U-Net of 4 channels, this one has {old.in_channels}")
    new = nn.Conv2d(8, old.out_channels, cast(Any, old.kernel_size), padding=cast(Any, old.padding)).to(old.weight)
    with torch.no_grad():
        new.weight.copy_(torch.cat([old.weight, old.weight], dim=1) / 2)
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
    unet.conv_in = new
    unet.register_to_config(in_channels=8)


def reset_parameters(module: nn.Module) -> None:
    """Draw all of a module's weights anew, by its layers' usual initialisation."""
    for layer in module.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()  # type: ignore[operator]


def _new_head(
    config: GenPerceptConfig, unet: UNet2DConditionModel, channels: int | None = None
) -> DPTHead | UperNetHead | None:
    features = _feature_channels(unet)
    width = {} if channels is None else {"channels": channels}
    if config.decoder == "dpt":
        return DPTHead(features, activation=config.head_activation, **width)
    return UperNetHead(config.num_classes, features, **width) if config.decoder == "upernet" else None


def _head_channels(head: DPTHead | UperNetHead) -> int:
    return cast(nn.Conv2d, head.neck.convs[0]).out_channels if isinstance(head, DPTHead) else head.head.channels


def _head_folder(config: GenPerceptConfig) -> str:
    return DPT_FOLDER if config.decoder == "dpt" else UPERNET_FOLDER


def _feature_channels(unet: UNet2DConditionModel) -> tuple[int, ...]:
    return tuple(unet.config["block_out_channels"])


def _fill(module: nn.Module, path: Path) -> None:
    missing, unexpected = module.load_state_dict(load_file(path), strict=False)
    if missing or unexpected:
        raise ConfigError(f"{path} lacks {missing[:5]} and has {unexpected[:5]} beyond the head's weights")
    _check_complete(module, str(path))


def _finish(model: GenPercept, dtype: torch.dtype, tiling: bool, slicing: bool) -> GenPercept:
    if tiling:
        model.vae.enable_tiling()
    if slicing:
        model.vae.enable_slicing()
    return model.to(dtype).eval()


def _check_complete(module: nn.Module, where: str) -> None:
    damaged = [n for n, v in module.state_dict().items() if not v.is_meta and not v.isfinite().all()]
    if damaged:
        raise ConfigError(f"{where}: {len(damaged)} tensors are not finite, such as {damaged[0]}")
    missing = [name for name, value in module.state_dict().items() if value.is_meta]
    if missing:
        hint = ": it belongs to a head model" if all(name.startswith(OUTPUT_LAYERS) for name in missing) else ""
        raise ConfigError(f"{where} lacks {len(missing)} weights, such as {missing[0]}{hint}")
