"""Does a counted cost agree with the paper's printed one, and in which convention?

The paper rounds some numbers and truncates others, and its FLOPs follow two conventions (see
:class:`ddp_repro.costs.macs.Macs`); the answer says which.
"""

from __future__ import annotations

from ddp_repro.costs.macs import Macs

GIGA, MEGA = 1e9, 1e6
_TOLERANCE = 0.01
_MODULES = "attention products left out, normalisation counted"


def agree_parameters(printed: float, counted: int, decimals: int = 0) -> str:
    """Verdict on #Param; ``printed`` in millions with so many decimals."""
    return _match(printed, counted / MEGA, decimals) or _difference(printed, counted / MEGA)


def agree_macs(printed: float, counted: Macs, decimals: int = 0) -> str:
    """Verdict on FLOPs, ``printed`` in giga: the plain count first, then the other convention."""
    total, modules = counted.total / GIGA, counted.modules / GIGA
    if match := _match(printed, total, decimals):
        return match
    if match := _match(printed, modules, decimals):
        return f"{match}: {modules:.1f} ({_MODULES})"
    nearest = min((total, modules), key=lambda value: abs(value - printed))
    return _difference(printed, nearest) + (f": {modules:.1f} ({_MODULES})" if nearest == modules else "")


def _match(printed: float, value: float, decimals: int) -> str:
    unit = 10**-decimals
    if abs(value - printed) <= unit / 2:
        return "equal"
    return "equal, truncated" if 0 <= value - printed < unit else ""


def _difference(printed: float, value: float) -> str:
    relative = value / printed - 1
    return f"{'within 1 %' if abs(relative) <= _TOLERANCE else 'differs'} ({relative:+.1%})"
