"""Times as they are typed and said: ``1h30m``, ``1 h 30 min``."""

from __future__ import annotations

import re

from ddp_repro.settings.errors import ConfigError

DURATION = re.compile(r"(?:(?P<hours>\d+(?:\.\d+)?)h)?(?:(?P<minutes>\d+(?:\.\d+)?)m)?(?:(?P<seconds>\d+(?:\.\d+)?)s)?")


def parse_duration(text: str) -> float:
    """Return the seconds of ``2h``, ``90m``, ``1h30m`` or ``45s``.

    Raises:
        ConfigError: anything else, or nothing at all.
    """
    match = DURATION.fullmatch(text.strip())
    parts = {unit: float(number) for unit, number in match.groupdict().items() if number} if match else {}
    seconds = sum(number * {"hours": 3600, "minutes": 60, "seconds": 1}[unit] for unit, number in parts.items())
    if not seconds:
        raise ConfigError(f"a time such as 2h, 90m, 1h30m or 45s is expected; got {text!r}")
    return seconds


def describe_duration(seconds: float) -> str:
    """Return a time in words, e.g. ``1 h 30 min``."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
