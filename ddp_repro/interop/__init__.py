"""Interoperability: checkpoints of ours and of the authors, the Hugging Face hub, mmsegmentation."""

from ddp_repro.interop.checkpoints import CheckpointError, LoadReport, load_checkpoint, read_state_dict, save_weights

__all__ = ["CheckpointError", "LoadReport", "load_checkpoint", "read_state_dict", "save_weights"]
