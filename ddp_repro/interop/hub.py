"""Hugging Face hub: the authors' published checkpoints; ``save_pretrained`` and ``from_pretrained`` for our models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import huggingface_hub
from huggingface_hub import PyTorchModelHubMixin, constants

from ddp_repro.interop.checkpoints import CheckpointError, load_checkpoint, save_weights
from ddp_repro.settings.recipe import ModelConfig, from_dict

OFFICIAL_REPOSITORY = "yfji/DDP-Weight"


@dataclass(frozen=True)
class OfficialFile:
    """A released checkpoint: its name in :data:`OFFICIAL_REPOSITORY`, and the content that is expected under it.

    Attributes:
        sha256: None where nobody here has seen the file: what shows that it is the right one is then that each of its
            tensors is one of the model's, and the other way round.
        megabytes: None where it is unknown.
    """

    name: str
    sha256: str | None = None
    megabytes: int | None = None


# The hashes are the hub's own (Git LFS object ids).  They do not change; a file that has others is not this checkpoint.
OFFICIAL_FILES = {
    "ade20k_swin_t": OfficialFile(
        "ddp_swin_t_2x8_512x512_160k_ade20k.pth",
        "e8b1874b23c408e99dc70db1f2e2bea41320fc67dc4c63eebc8f8c821aa87c43", 159,
    ),
    "ade20k_swin_s": OfficialFile(
        "ddp_swin_s_2x8_512x512_160k_ade20k.pth",
        "c1c42d7241a117289f3c4e809cfab4ccd2b8a4250d5ee5aeec3ef1b4cfd11b1e", 245,
    ),
    "ade20k_swin_b": OfficialFile(
        "ddp_swin_b_2x8_512x512_160k_ade20k.pth",
        "ab81466eb1b6802950697b8bc1510c4dea868d7b1f76b8fa391f9fedbdd49607", 401,
    ),
    "ade20k_swin_l": OfficialFile(
        "ddp_swin_l_2x8_512x512_160k_ade20k.pth",
        "9185e7080c3018e4b1d77330172fa4fe76edec94b223bef5ff16f11f4395a455", 835,
    ),
    "cityscapes_convnext_t": OfficialFile(
        "ddp_convnext_t_4x4_512x1024_160k_cityscapes.pth",
        "e6421f7cbdcbb7effb6efd0550b6e16122e70764debd00d156285f6f37d5436c", 160,
    ),
    "cityscapes_convnext_s": OfficialFile(
        "ddp_convnext_s_4x4_512x1024_160k_cityscapes.pth",
        "511a2f861888991280cfe50f7770a5ed1488071e3460d4792c7ef65a35804741", 246,
    ),
    "cityscapes_convnext_b": OfficialFile(
        "ddp_convnext_b_4x4_512x1024_160k_cityscapes.pth",
        "d0750670c411b5a883b0c65faf631a74ccc8efcbb9268278b5d0e3ae44d7e79e", 399,
    ),
    "cityscapes_convnext_l": OfficialFile(
        "ddp_convnext_l_4x4_512x1024_160k_cityscapes.pth",
        "87ace7f6e5d74dce9bb6e122c1f0a41df8c6ae40d7256685f24861a12b14267f", 835,
    ),
    "cityscapes_convnext_t_aligned": OfficialFile(
        "ddp_convnext_t_4x4_512x1024_5k_cityscapes_aligned.pth",
        "9111de7d48a7c347ac7841ecfac8f7472d40291a7ae20aea958be856da6a5824", 160,
    ),
    "cityscapes_convnext_l_aligned": OfficialFile(
        "ddp_convnext_l_4x4_512x1024_5k_cityscapes_aligned.pth",
        "7d89adf33bf702d56808790397eb46731c70659f6557a312c60a7b48d0744f4e", 835,
    ),
    "nuscenes_camera": OfficialFile("ddp-camera-bev256d2-lss-scale001-d5-lr5e-5.pth"),
    "nuscenes_fusion": OfficialFile("ddp-fusion-bev256d2-lss-scale001-d5-lr5e-5.pth"),
}  # fmt: skip


def official_checkpoint(recipe_name: str) -> Path:
    """The authors' checkpoint of a recipe, from the local hub cache, or downloaded into it once.

    The size is checked while downloading (by the hub client) and the SHA-256, where it is known, on every call.

    Raises:
        CheckpointError: the authors released none for this recipe, there is no network, or the content is another.
    """
    if recipe_name not in OFFICIAL_FILES:
        raise CheckpointError(
            f"the authors released no checkpoint for {recipe_name!r}; released: {', '.join(OFFICIAL_FILES)}. "
            "Train the recipe, or give the path of a checkpoint"
        )
    file = OFFICIAL_FILES[recipe_name]
    cached = huggingface_hub.try_to_load_from_cache(OFFICIAL_REPOSITORY, file.name)
    path = Path(cached) if isinstance(cached, str) else _download(file)
    found = file.sha256 and _sha256(path)
    if found != file.sha256:
        _remove_from_cache(path)
        raise CheckpointError(
            f"{path}: SHA-256 is {found}, the authors' file has {file.sha256}: damaged or replaced. It was removed "
            "from the cache; run again to download it"
        )
    return path


class PretrainedMixin(PyTorchModelHubMixin, paper_url="https://arxiv.org/abs/2303.17559", license="apache-2.0"):
    """``save_pretrained(folder)`` and ``from_pretrained(folder or hub repository)``: config.json and model.safetensors.

    For modules built as ``cls(config: config_type)``.  Unlike the plain mixin it is strict in both files.
    """

    config_type: ClassVar[type] = ModelConfig

    @classmethod
    def from_config(cls, config: ModelConfig) -> Self:
        """The module that ``config`` describes, with initial weights."""
        return cls(config)

    def _save_pretrained(self, save_directory: Path) -> None:
        save_weights(self, save_directory / constants.SAFETENSORS_SINGLE_FILE)

    @classmethod
    def from_pretrained(
        cls,
        source: Path | str,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
    ) -> Self:
        """Build the model of config.json and load its weights, in evaluation mode.

        ``source`` is a folder or a hub repository ``owner/name``; the other arguments are the hub client's.

        Raises:
            CheckpointError: a file is missing or damaged, the network fails, or the weights do not fit.
            ConfigError: config.json has a field that the model does not know.
        """

        def file(name: str) -> Path:
            if Path(source).is_dir():
                return Path(source) / name
            return _from_hub(
                lambda: huggingface_hub.hf_hub_download(
                    str(source), name, revision=revision, cache_dir=cache_dir, force_download=force_download,
                    local_files_only=local_files_only, token=token,
                ),
                f"{source}/{name}",
            )  # fmt: skip

        model = cls.from_config(from_dict(cls.config_type, _read_json(file(constants.CONFIG_NAME))))
        load_checkpoint(model, file(constants.SAFETENSORS_SINGLE_FILE))
        return model.eval()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; expected a folder written by save_pretrained") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: not a JSON file ({error}); save the model again") from error


def _download(file: OfficialFile) -> Path:
    size = f" ({file.megabytes} MB)" if file.megabytes else ""
    return _from_hub(
        lambda: huggingface_hub.hf_hub_download(OFFICIAL_REPOSITORY, file.name),
        f"{OFFICIAL_REPOSITORY}/{file.name}{size}",
    )


def _from_hub(fetch: Callable[[], str], what: str) -> Path:
    try:
        return Path(fetch())
    except Exception as error:  # the client lets its HTTP library's errors through, and that library has changed twice
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"cannot download {what} from {constants.ENDPOINT}: {reason} Check the network, or fetch the file on "
            "another machine and give its path instead (--checkpoint PATH)"
        ) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove_from_cache(path: Path) -> None:
    """Remove a cached file: the content and, where the cache uses them, the link that leads to it."""
    content = path.resolve()
    path.unlink()
    content.unlink(missing_ok=True)
