"""DDP: Diffusion Model for Dense Visual Prediction, as a reproducibility workbook with a package behind it.

The names below are all that notebooks, the command line and other projects need::

    model = ddp_repro.create_model("ade20k_swin_t", checkpoint="official")
    prediction = ddp_repro.predict(model, "photo.jpg", steps=3)
    prediction.labels, prediction.uncertainty
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.2.0"

# Loaded on first use: importing the package costs nothing.
_HOMES = {
    "create_model": "ddp_repro.api",
    "list_models": "ddp_repro.api",
    "load_checkpoint": "ddp_repro.interop",
    "predict": "ddp_repro.evaluation.predict",
    "train": "ddp_repro.workbook.runs.run",
    "evaluate": "ddp_repro.workbook.runs.run",
    "recipe": "ddp_repro.workbook.catalogue",
    "recipe_names": "ddp_repro.workbook.catalogue",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ddp_repro' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
