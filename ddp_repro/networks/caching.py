"""Values that follow from sizes alone: kept between calls, but part of the computation in compiled graphs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")


def kept(maxsize: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """As ``functools.lru_cache``; a compiled graph computes the value from its sizes, which are symbols there."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        cached = functools.lru_cache(maxsize)(function)

        @functools.wraps(function)
        def call(*arguments: P.args, **keywords: P.kwargs) -> T:
            if torch.compiler.is_compiling():
                return function(*arguments, **keywords)
            return cached(*arguments, **keywords)

        return call

    return decorate
