"""Requests that cannot be met are refused before the first image is read."""

from __future__ import annotations

from ddp_repro.settings.errors import ConfigError


def check_positive(**numbers: int | None) -> None:
    """Raise ConfigError for a number below one; None is allowed and means "no limit"."""
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise ConfigError(f"{name} must be at least 1; got {value}")


def check_distinct(**sequences: tuple) -> None:
    """Raise ConfigError for an empty tuple or one with repeated values."""
    for name, values in sequences.items():
        if not values or len(set(values)) != len(values):
            raise ConfigError(f"{name} must be one or more different values; got {values}")
