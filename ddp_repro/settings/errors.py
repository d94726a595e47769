"""The error that settings raise: in a file of its own, so that every file of settings can raise it."""

from __future__ import annotations


class ConfigError(ValueError):
    """A recipe, override or parameter that does not exist or has the wrong type."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or that does not fit the model."""
