"""Sizes of images as they are typed."""

from __future__ import annotations

from ddp_repro.settings.errors import ConfigError


def parse_size(text: str) -> tuple[int, int]:
    """Return ``512`` or ``1024x2048`` as (height, width).

    Raises:
        ConfigError: the text is neither.
    """
    numbers = text.strip().split("x")
    if len(numbers) > 2 or not all(number.isdecimal() for number in numbers):
        raise ConfigError(f"image size {text!r} is neither like 512 nor like 1024x2048")
    return int(numbers[0]), int(numbers[-1])
