"""Packages whose ``__init__`` runs only when something of it is asked for, so that a command can begin at once.

``import timm`` runs all of its model families and, through torchvision's detection models, ``torch._dynamo``: seconds
that one picture does not need.  A deferred package is the real one with the real path, so that its submodules can be
imported alone (``timm.models.swin_transformer``); a name that it does not have yet comes from the submodule that
defines it where :data:`HOMES` says so, and otherwise from the package's ``__init__``, which then runs as an ordinary
import would have run it.  Nothing of the packages is changed, and what was imported before stays as it is.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import types
from typing import Any

# Package -> the names that are taken from a submodule without running the package's __init__.
HOMES: dict[str, dict[str, str]] = {
    "torchvision": {},
    "torchvision.ops": {},
    "torchvision.models": {},
    "timm": {
        "__version__": "timm.version",
        "create_model": "timm.models._factory",
        "is_model": "timm.models._registry",
    },
    "timm.models": {},
    "timm.data": {
        name: "timm.data.constants"
        for name in (
            "IMAGENET_DEFAULT_MEAN", "IMAGENET_DEFAULT_STD", "IMAGENET_INCEPTION_MEAN", "IMAGENET_INCEPTION_STD",
            "OPENAI_CLIP_MEAN", "OPENAI_CLIP_STD",
        )
    },
}  # fmt: skip
FAMILIES = {
    "swin_": "timm.models.swin_transformer",
    "convnext_": "timm.models.convnext",
    "resnet": "timm.models.resnet",
    "efficientnet_": "timm.models.efficientnet",
    "tf_efficientnet_": "timm.models.efficientnet",
}  # a timm name's beginning -> the module of its family
_running = threading.RLock()


class DeferredPackage(types.ModuleType):
    """A package before its ``__init__`` has run."""

    def __getattr__(self, name: str) -> Any:  # called only for names that the module does not have
        home = HOMES.get(self.__name__, {}).get(name)
        if home is not None:
            return getattr(importlib.import_module(home), name)
        run_init(self)
        return getattr(self, name)


def run_init(package: types.ModuleType) -> None:
    """Run the ``__init__`` of a package if it is deferred; of any other, it has run."""
    with _running:
        if type(package) is DeferredPackage:
            spec = package.__spec__
            assert spec and spec.loader  # it was imported by them
            # An ordinary module from here on, also for its circular imports; Python allows it for modules alone.
            package.__class__ = types.ModuleType  # pyright: ignore[reportAttributeAccessIssue]
            spec.loader.exec_module(package)


def defer_image_models() -> bool:
    """Defer timm and torchvision; return whether they are.

    Where it cannot be done (they are loaded already, or arranged otherwise than :data:`HOMES` says) nothing is left
    behind, and ``import timm`` works as ever.
    """
    if not {"timm", "torchvision"}.isdisjoint(sys.modules):
        return False
    try:
        defer(*HOMES)
        for homes in HOMES.values():
            for name, home in homes.items():
                getattr(importlib.import_module(home), name)
        importlib.import_module("timm.layers")
    except (ImportError, AttributeError):
        for module in [module for module in sys.modules if module.partition(".")[0] in ("timm", "torchvision")]:
            del sys.modules[module]
        return False  # the ordinary import will say what is wrong, if anything is
    return True


def import_family(name: str) -> None:
    """Import the module that registers the timm model ``name``, or all of timm's where that one is not known.

    Args:
        name: without the tag of its weights.
    """
    import timm
    import timm.models

    if type(timm.models) is not DeferredPackage:
        return
    family = next((module for start, module in FAMILIES.items() if name.startswith(start)), None)
    if family is not None:
        importlib.import_module(family)
    if not timm.is_model(name):
        run_init(timm.models)


def defer(*packages: str) -> None:
    """Put deferred packages, parents first, where imports look for them; those that are loaded are left alone.

    Raises:
        ModuleNotFoundError: a package that is not installed.
    """
    for name in (name for name in packages if name not in sys.modules):
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        package = DeferredPackage(name)
        vars(package).update(vars(importlib.util.module_from_spec(spec)))
        sys.modules[name] = package
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, package)
