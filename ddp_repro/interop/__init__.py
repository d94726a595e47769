"""Interoperability: the authors' checkpoints, the Hugging Face hub, mmsegmentation."""

from ddp_repro.interop.checkpoints import CheckpointError, LoadReport, load_checkpoint, read_state_dict, save_weights
from ddp_repro.interop.hub import official_checkpoint

__all__ = [
    "CheckpointError",
    "LoadReport",
    "load_checkpoint",
    "official_checkpoint",
    "read_state_dict",
    "save_weights",
]
