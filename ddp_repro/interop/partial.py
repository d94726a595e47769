"""Checkpoints that hold what was trained alone, and say where the rest lies: for frozen encoders and LoRA.

Metadata of such a file: ``sources``, for each part that came from elsewhere its file (seen from the checkpoint's
folder) and the hash of the tensors in it; ``weights``, the hash of all of the model's tensors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ddp_repro.interop.weight_files import StateDict, read_state_dict
from ddp_repro.networks.identity import weights_hash
from ddp_repro.settings.errors import CheckpointError

WHOLE_MODEL = "model"  # the part of a source that fills everything


def trained_names(model: nn.Module, parts: Mapping[str, Path]) -> set[str]:
    """Return the names in the state dict of what training changes, or what came from none of ``parts``' files.

    Trained are parameters with a gradient, and buffers of modules in training mode.
    """
    trained = set()
    for prefix, module in model.named_modules():
        here = f"{prefix}." if prefix else ""
        trained |= {here + name for name, each in module.named_parameters(recurse=False) if each.requires_grad}
        trained |= {here + name for name, _ in module.named_buffers(recurse=False) if module.training}
    given = tuple("" if part == WHOLE_MODEL else f"{part}." for part in parts)
    return {name for name in model.state_dict() if name in trained or not name.startswith(given)}


def describe_sources(model: nn.Module, parts: Mapping[str, Path], folder: Path) -> dict[str, str]:
    """Return the metadata of a partial checkpoint in ``folder``."""
    sources = {
        part: {"file": Path(os.path.relpath(path, folder)).as_posix(), "weights": weights_sha256(path)}
        for part, path in parts.items()
    }
    return {"sources": json.dumps(sources), "weights": weights_hash(model.state_dict())}


def is_partial(metadata: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint with this metadata holds the trained tensors alone."""
    return "sources" in metadata


def weights_sha256(path: Path) -> str:
    """Return the hash of the weights in a file: equal for equal tensors; of a partial one, those it stands for.

    Raises:
        CheckpointError: the file cannot be read.
    """
    tensors, metadata = read_state_dict(path)
    return str(metadata["weights"]) if is_partial(metadata) else weights_hash(tensors)


def complete(
    tensors: StateDict,
    metadata: Mapping[str, Any],
    path: Path,
    model: nn.Module,
    read: Callable[[nn.Module, str, Path], StateDict],
) -> StateDict:
    """Return all tensors of the model whose trained ones lie in ``path``.

    Args:
        read: (model, part, file) -> the part's tensors, under the model's names.

    Raises:
        CheckpointError: a source is missing or holds other weights than then, which is named; or the whole is not what
            was saved.
    """
    try:
        sources = {part: (path.parent / each["file"], each["weights"])
                   for part, each in json.loads(metadata["sources"]).items()}  # fmt: skip
        expected = metadata["weights"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{path}: what it says about its sources is damaged ({error!r})") from error
    whole: dict[str, Tensor] = {}
    for part, (file, identity) in sources.items():
        whole |= read(model, part, _source(path, part, file, identity))
    whole |= tensors
    if whole.keys() == model.state_dict().keys() and weights_hash(whole) != expected:
        raise CheckpointError(f"{path}: with its sources it does not give the weights that were saved; train it again")
    return whole


def _source(path: Path, part: str, file: Path, identity: str) -> Path:
    """Return the file of a part, where it was or beside the checkpoint."""
    present = [each for each in (file, path.parent / file.name) if each.is_file() and each != path]
    if not present:
        raise CheckpointError(
            f"{path} holds the trained tensors alone; the weights of its {part} are missing: {file} is not there. Put "
            "it back, or beside the checkpoint"
        )
    if weights_sha256(present[0]) != identity:
        raise CheckpointError(
            f"{path} was trained on other weights of its {part} than {present[0]} holds now; put those back, or train "
            "it again"
        )
    return present[0]
