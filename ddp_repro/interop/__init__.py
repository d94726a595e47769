"""Interoperability: checkpoints of ours and of the authors, the Hugging Face hub, mmsegmentation, exported graphs.

The names are loaded on first use: what runs exported graphs needs no PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ddp_repro.interop.checkpoints import (
        CheckpointError,
        LoadReport,
        load_checkpoint,
        read_state_dict,
        save_weights,
    )

__all__ = ["CheckpointError", "LoadReport", "load_checkpoint", "read_state_dict", "save_weights"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ddp_repro.interop' has no attribute {name!r}")
    from ddp_repro.interop import checkpoints

    return getattr(checkpoints, name)
