"""Interoperability: the authors' checkpoints, the Hugging Face hub, mmsegmentation."""
