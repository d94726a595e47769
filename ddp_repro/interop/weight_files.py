"""Weights on disk: written as safetensors, atomically; read from safetensors or PyTorch files without running code."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from ddp_repro.settings.errors import CheckpointError

StateDict = dict[str, Tensor]

HALF_OF = "half_of"  # in a file's metadata: the hash of the weights that it holds in half precision

_ZIP = b"PK\x03\x04"  # torch.save since 1.6
_PICKLE = b"\x80"  # torch.save before 1.6
_LFS_POINTER = b"version https://git-lfs"


def save_weights(
    model: nn.Module,
    path: Path | str,
    metadata: Mapping[str, str] | None = None,
    names: Collection[str] | None = None,
    half: bool = False,
) -> None:
    """Write the model's parameters and buffers to ``path`` as safetensors, with ``metadata`` in the header.

    The file appears complete or not at all: it is written beside ``path``, flushed to disk, then renamed.

    Args:
        names: write these tensors alone.
        half: write parameters in half precision; buffers, such as running statistics, stay as they are.

    Raises:
        CheckpointError: a parameter is beyond the range of half precision.
        OSError: the folder is missing or read-only, or the disk is full.
    """
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
               if names is None or name in names}  # fmt: skip
    if half:
        parameters = {name for name, _ in model.named_parameters()}
        tensors |= {name: _halved(name, tensor) for name, tensor in tensors.items() if name in parameters}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:  # not safetensors' own writer: it makes the file private to its owner
            file.write(safetensors.torch.save(tensors, dict(metadata or {})))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(f"cannot write {path}: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _halved(name: str, tensor: Tensor) -> Tensor:
    halved = tensor.half()
    if not halved.isfinite().all():
        raise CheckpointError(f"{name} holds {tensor.abs().max():g}, which half precision cannot")
    return halved


def read_state_dict(path: Path | str) -> tuple[StateDict, dict[str, Any]]:
    """Read ``(state_dict, metadata)`` from a safetensors or PyTorch file; the format is told from its first bytes.

    A PyTorch file may hold the state dict alone, or under ``state_dict`` with ``meta`` and ``optimizer`` beside it
    (mmcv's layout), with or without ``module.`` before every name.  It is read with ``weights_only=True``, always.

    Raises:
        CheckpointError: the file is missing, empty, truncated, damaged, not a checkpoint, or carries code; or a number
            in it is not finite.
    """
    path = Path(path)
    head = _first_bytes(path)
    if _is_safetensors(head):  # first: the length of its header may look like the first byte of a pickle
        state_dict, metadata = _read_safetensors(path)
    elif head.startswith(_ZIP) or head.startswith(_PICKLE):
        state_dict, metadata = _unwrap(_torch_load(path), path)
    else:
        raise CheckpointError(f"{path}: {_describe_foreign(head)}")
    if not state_dict:
        raise CheckpointError(f"{path}: holds no tensors; expected the weights of a model")
    refuse_not_finite(state_dict, str(path))
    return _without_module_prefix(state_dict), metadata


def read_metadata(path: Path) -> dict[str, str]:
    """Return what the header of a safetensors file says, without reading its tensors.

    Raises:
        CheckpointError: there is no such file, or it is none of the kind.
    """
    if not _is_safetensors(_first_bytes(path)):
        raise CheckpointError(f"{path}: is not a safetensors file; expected weights that train has written")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path}: truncated or damaged safetensors file ({error}); copy it again") from error


def refuse_not_finite(tensors: Mapping[str, Tensor], name: str) -> None:
    """Check that all numbers are finite; tables of logarithms (``log_…``) may hold that of zero.

    Raises:
        CheckpointError: some are not; ``name`` says of what.
    """
    numbers = {key: each for key, each in tensors.items() if each.is_floating_point() and not each.is_meta}
    bad = [key for key, each in numbers.items() if not (each.isfinite() | _is_log_of_zero(key, each)).all()]
    if bad:
        others = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise CheckpointError(
            f"{name}: {bad[0]}{others} has numbers that are not finite: damaged, or training diverged"
        )


def _is_log_of_zero(key: str, values: Tensor) -> Tensor:
    """Where a table of logarithms has minus infinity."""
    return values.isneginf() if "log_" in key.rpartition(".")[2] else values.new_zeros(values.shape, dtype=torch.bool)


def check_archive(path: Path) -> None:
    """Compare a PyTorch file's contents with the checksums in it, which PyTorch itself does not look at.

    Files from before PyTorch 1.6 have none.

    Raises:
        CheckpointError: they differ, or the archive cannot be read.
    """
    with path.open("rb") as file:
        if file.read(len(_ZIP)) != _ZIP:
            return
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        # What zipfile raises depends on where the damage is: an unknown method, a flag of encryption, a name.
        damaged = str(error) or type(error).__name__
    if damaged is not None:
        raise CheckpointError(
            f"{path}: truncated or damaged PyTorch file (checksum of {damaged}); copy or download it again"
        )


def _first_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise CheckpointError(
            f"{path}: is a folder; give the checkpoint file inside it, e.g. {path / 'model.safetensors'}"
        )
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; check the path of the checkpoint") from None
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror}); check the path and its permissions"
        ) from error
    if not head:
        raise CheckpointError(f"{path}: is empty (0 bytes); download or train the checkpoint again")
    return head


def _is_safetensors(head: bytes) -> bool:
    """Return the length of the header (8 bytes, at most 100 MB by the format), then its JSON."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= 100_000_000


def _describe_foreign(head: bytes) -> str:
    if head.startswith(_LFS_POINTER):
        return "is a Git LFS pointer, not the weights; run `git lfs pull` or download the file itself"
    if head.lstrip().startswith(b"<"):
        return "is a web page (HTML), not a checkpoint: fetch the file itself, not the page about it"
    return f"is neither a safetensors nor a PyTorch file (it begins with {head[:8]!r}); download it again"


def _read_safetensors(path: Path) -> tuple[StateDict, dict[str, Any]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"{path}: truncated or damaged safetensors file ({error}); copy or download it again"
        ) from error


def _torch_load(path: Path) -> Any:
    check_archive(path)
    with _numpy_scalars_allowed():
        return _torch_load_tensors(path)


def _torch_load_tensors(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: {_describe_refusal(error)}") from error
    except (RuntimeError, EOFError, OSError, KeyError, IndexError, AttributeError, TypeError, ValueError) as error:
        # What torch raises for a damaged archive or pickle depends on where the damage is.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path}: truncated or damaged PyTorch file ({reason}); copy or download it again"
        ) from error


def _describe_refusal(error: pickle.UnpicklingError) -> str:
    refused = re.search(r"GLOBAL ([\w.]+)", str(error))
    if refused is None:
        return f"truncated or damaged PyTorch file ({str(error).splitlines()[-1]}); copy or download it again"
    return (
        f"refused: besides tensors it holds {refused[1]}, which could run code on loading. If you trust the file, "
        "load it elsewhere and save their state dict alone"
    )


@contextlib.contextmanager
def _numpy_scalars_allowed() -> Iterator[None]:
    """Let ``weights_only`` read the numpy scalars (best score, loss) that mmcv leaves in ``meta``, and nothing else."""
    scalar: Any = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")  # as pickled by numpy 1 and numpy 2
    with torch.serialization.safe_globals([*((scalar, name) for name in names), np.dtype, *dtypes]):
        yield


def _unwrap(content: Any, path: Path) -> tuple[StateDict, dict[str, Any]]:
    metadata: dict[str, Any] = {}
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        meta = content.get("meta")
        metadata = dict(meta) if isinstance(meta, Mapping) else {}
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}; expected a state dict (name → tensor)")
    foreign = next((name for name, value in content.items() if not isinstance(value, Tensor)), None)
    if foreign is not None:
        kind = type(content[foreign]).__name__
        raise CheckpointError(f"{path}: entry {foreign!r} is a {kind}; expected a state dict (name → tensor)")
    return dict(content), metadata


def _without_module_prefix(state_dict: StateDict) -> StateDict:
    """Drop the ``module.`` that DistributedDataParallel puts before every name."""
    if not all(name.startswith("module.") for name in state_dict):
        return state_dict
    return {name.removeprefix("module."): tensor for name, tensor in state_dict.items()}
