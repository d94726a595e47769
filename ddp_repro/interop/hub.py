"""Hugging Face hub: the authors' published checkpoints; ``save_pretrained`` and ``from_pretrained`` for our models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import huggingface_hub
from huggingface_hub import PyTorchModelHubMixin, constants
from torch import nn

from ddp_repro.interop.checkpoints import load_checkpoint, save_weights
from ddp_repro.settings.errors import CheckpointError
from ddp_repro.settings.overrides import from_dict


@dataclass(frozen=True)
class OfficialFile:
    """A released checkpoint: its name in the authors' repository, and the content that is expected under it.

    Attributes:
        sha256: None where nobody here has seen the file: what shows that it is the right one is then that each of its
            tensors is one of the model's, and the other way round.
        megabytes: None where it is unknown.
    """

    name: str
    sha256: str | None = None
    megabytes: int | None = None


@dataclass(frozen=True)
class Release:
    """What a paper's authors released: ``files`` of a hub ``repository``, by the name of our recipe."""

    repository: str
    files: Mapping[str, OfficialFile]

    def checkpoint(self, recipe_name: str) -> Path:
        """Return the authors' checkpoint of a recipe, from the local hub cache, or downloaded into it once.

        The size is checked while downloading (by the hub client) and the SHA-256, where it is known, on every call.

        Raises:
            CheckpointError: none was released for this recipe, there is no network, or the content is another.
        """
        if recipe_name not in self.files:
            raise CheckpointError(
                f"the authors released no checkpoint for {recipe_name!r}; released: {', '.join(self.files)}. "
                "Train the recipe, or give the path of a checkpoint"
            )
        file = self.files[recipe_name]
        path = self._cached(file) or _download(self.repository, file)
        digest = file.sha256 and _sha256(path)
        if digest != file.sha256:
            _remove_from_cache(path)
            raise CheckpointError(
                f"{path}: SHA-256 is {digest}, the authors' file has {file.sha256}: damaged or replaced. It was "
                "removed from the cache; run again to download it"
            )
        return path

    def place(self, recipe_name: str) -> tuple[str, bool]:
        """Return where in the hub the checkpoint of a released recipe is, and whether it has been downloaded."""
        file = self.files[recipe_name]
        return f"{self.repository}/{file.name}", self._cached(file) is not None

    def _cached(self, file: OfficialFile) -> Path | None:
        cached = huggingface_hub.try_to_load_from_cache(self.repository, file.name)
        return Path(cached) if isinstance(cached, str) else None


class PretrainedMixin(PyTorchModelHubMixin, paper_url="https://arxiv.org/abs/2303.17559", license="apache-2.0"):
    """``save_pretrained(folder)`` and ``from_pretrained(folder or hub repository)``: config.json and model.safetensors.

    For modules built as ``cls(config: config_type)``.  Unlike the plain mixin it is strict in both files.
    """

    config_type: ClassVar[type]

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """Return the module that ``config`` describes, with initial weights."""
        return cls(config)

    def _save_pretrained(self, save_directory: Path) -> None:
        save_weights(cast(nn.Module, self), save_directory / constants.SAFETENSORS_SINGLE_FILE)

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

        model: Any = cls.from_config(from_dict(cls.config_type, _read_json(file(constants.CONFIG_NAME))))
        load_checkpoint(model, file(constants.SAFETENSORS_SINGLE_FILE))
        return model.eval()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; expected a folder written by save_pretrained") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: not a JSON file ({error}); save the model again") from error


def _download(repository: str, file: OfficialFile) -> Path:
    size = f" ({file.megabytes} MB)" if file.megabytes else ""
    return _from_hub(
        lambda: huggingface_hub.hf_hub_download(repository, file.name),
        f"{repository}/{file.name}{size}",
    )


def upload_folder(folder: Path, repository: str) -> str:
    """Upload the files of a folder in one commit, into a repository that is made where there is none.

    Returns:
        Its address.

    Raises:
        CheckpointError: no network, no right to write there, or no such name.
    """
    api = huggingface_hub.HfApi()
    try:
        api.create_repo(repository, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Weights, settings, scores and card")
    except Exception as error:  # as below
        raise CheckpointError(
            f"cannot upload to {repository} at {api.endpoint}: {_reason(error)} Check the network, the name, and "
            "`hf auth whoami` (a token with the right to write)"
        ) from error
    return f"{api.endpoint}/{repository}"


def _from_hub(fetch: Callable[[], str], what: str) -> Path:
    try:
        return Path(fetch())
    except Exception as error:  # the client lets its HTTP library's errors through, and that library has changed twice
        raise CheckpointError(
            f"cannot download {what} from {constants.ENDPOINT}: {_reason(error)} Check the network, or fetch the file "
            "on another machine and give its path instead (--checkpoint PATH)"
        ) from error


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove_from_cache(path: Path) -> None:
    """Remove a cached file: the content and, where the cache uses them, the link that leads to it."""
    content = path.resolve()
    path.unlink()
    content.unlink(missing_ok=True)
