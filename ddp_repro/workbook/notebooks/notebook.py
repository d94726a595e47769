"""A notebook as the runner sees it: typed parameters, declared results, and how values for them are checked.

Papermill only warns about a parameter that the notebook does not have, and takes any value for one that it has; here
both are errors before anything runs.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ddp_repro.settings.errors import ConfigError
from ddp_repro.workbook.catalogue import full_name


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A name of the ``parameters`` cell, its default, and its annotation's source (``int | None``) where it has one."""

    name: str
    default: Any
    annotation: str | None = None

    def check(self, value: Any) -> Any:
        """``value`` as the notebook gets it (tuples become lists, ints become floats where a float is meant).

        Raises:
            ConfigError: the value is not of the default's (or the annotation's) type.
        """
        if isinstance(value, tuple):
            value = list(value)  # papermill would write a tuple as a string
        if type(value) is int and float in self._types() and int not in self._types():
            value = float(value)
        if type(value) not in self._types() or not self._fits_items(value):
            raise ConfigError(f"{self.name} must be {self.description()}; got {value!r} ({type(value).__name__})")
        return value

    def parse(self, text: str) -> Any:
        """Read a value typed on a command line: a Python literal (``1e-4`` is a float), ``true``/``none``, or text.

        Raises:
            ConfigError: the text is not a value of this parameter's type.
        """
        if str in self._types() and type(_literal(text)) is not str:
            return self.check(None if text.lower() == "none" and type(None) in self._types() else text)
        return self.check(_literal(text))

    def description(self) -> str:
        """Return the type in words, e.g. ``a list like [1, 3]``."""
        if isinstance(self.default, (list, dict)) and self.default:
            return f"a {type(self.default).__name__} like {self.default!r}"
        return " or ".join(sorted("None" if t is type(None) else t.__name__ for t in self._types()))

    def _types(self) -> set[type]:
        known = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict, "None": type(None)}
        parts = [part.strip().partition("[")[0] for part in (self.annotation or "").split("|")]
        return {known[part] for part in parts if part in known} or {type(self.default)}

    def _fits_items(self, value: Any) -> bool:
        if not (isinstance(value, list) and isinstance(self.default, list) and self.default):
            return True
        kinds = {type(item) for item in self.default}
        return all(type(item) in kinds or (type(item) is int and float in kinds) for item in value)


@dataclass(frozen=True, kw_only=True)
class Notebook:
    """What a notebook file declares.

    Its metadata holds ``"ddp_repro": {"results": [...], "presets": [...], "datasets": [...], "on_request": [...]}``:
    the files (relative to ``results/<preset>``) that a run must write, the presets it is for (all, unless given), the
    datasets that it reads (all of the preset's, unless given), and the presets under which it is run only when it is
    named or all are asked for (it takes long).
    """

    path: Path
    source_hash: str
    parameters: dict[str, Parameter] = field(default_factory=dict)
    results: tuple[str, ...] = ()
    presets: tuple[str, ...] = ()
    datasets: tuple[str, ...] | None = None
    on_request: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's name without suffix."""
        return self.path.stem

    def parameter(self, name: str) -> Parameter:
        """Return the declared parameter.

        Raises:
            ConfigError: there is none of that name; a close one is suggested.
        """
        if name not in self.parameters:
            close = difflib.get_close_matches(name, self.parameters, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(self.parameters) or 'none'}"
            raise ConfigError(f"{self.path.name} has no parameter {name!r}; {hint}")
        return self.parameters[name]


def read_notebook(path: Path) -> Notebook:
    """Read what the notebook at ``path`` declares.

    Raises:
        ConfigError: it is not a notebook, its ``parameters`` cell holds more than literals, or its metadata is wrong.
        OSError: it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        cells = [
            (cell["cell_type"], "".join(cell["source"]), cell["metadata"].get("tags", ())) for cell in content["cells"]
        ]
        declared = content["metadata"].get("ddp_repro", {})
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is not a Jupyter notebook of format 4 ({type(error).__name__}: {error})") from None
    source = next((text for kind, text, tags in cells if kind == "code" and "parameters" in tags), "")
    identity = json.dumps([declared, *((kind, text) for kind, text, _ in cells)], sort_keys=True)
    return Notebook(
        path=path,
        source_hash=hashlib.sha256(identity.encode()).hexdigest(),
        parameters=_parameters(source, path),
        **_declared(declared, path),
    )


def find_notebooks(folder: Path, preset: str, names: list[str], everything: bool = False) -> list[Notebook]:
    """Return the named notebooks of ``folder``, or, without names, those that are for ``preset``, in order of name.

    Without names, notebooks that run only on request are left out unless ``everything`` is asked for.

    Raises:
        ConfigError: the folder has no notebooks, or none of a given name; or a named one is not for this preset.
    """
    paths = {path.stem: path for path in sorted(folder.glob("*.ipynb"))}
    if not paths:
        raise ConfigError(f"{folder} has no notebooks (*.ipynb); run from a clone of the repository")
    names = [name if name in paths else full_name(name) for name in names]
    for name in names:
        if name not in paths:
            close = difflib.get_close_matches(name, paths, n=3, cutoff=0.4) or list(paths)
            raise ConfigError(f"no notebook {name!r} in {folder}; did you mean {', '.join(close)}?")
    found = [read_notebook(paths[name]) for name in dict.fromkeys(names or paths)]
    for notebook in found if names else ():
        if notebook.presets and preset not in notebook.presets:
            raise ConfigError(f"{notebook.name} is for the presets {', '.join(notebook.presets)}, not {preset}")
    if not names and not everything:
        found = [notebook for notebook in found if preset not in notebook.on_request]
    return [notebook for notebook in found if not notebook.presets or preset in notebook.presets]


def _parameters(source: str, path: Path) -> dict[str, Parameter]:
    found = {}
    try:
        for node in ast.parse(source).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if (
                not isinstance(node, (ast.Assign, ast.AnnAssign))
                or not isinstance(targets[0], ast.Name)
                or node.value is None
            ):
                raise ValueError(f"line {node.lineno} is not of the form name = literal")
            annotation = ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else None
            name = targets[0].id
            found[name] = Parameter(name=name, default=ast.literal_eval(node.value), annotation=annotation)
            if isinstance(found[name].default, (tuple, set, bytes)):
                raise ValueError(f"{name} must be a number, string, None, list or dict")
    except (ValueError, SyntaxError) as error:
        raise ConfigError(f"parameters cell of {path}: {error}") from None
    return found


def _declared(declared: Any, path: Path) -> dict[str, tuple[str, ...]]:
    allowed = {"results", "presets", "datasets", "on_request"}
    if not isinstance(declared, dict) or not set(declared) <= allowed:
        raise ConfigError(
            f"metadata 'ddp_repro' of {path} must be a mapping with the keys {', '.join(sorted(allowed))}"
        )
    for key, value in declared.items():
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError(f"metadata 'ddp_repro.{key}' of {path} must be a list of strings; got {value!r}")
    for name in declared.get("results", ()):
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ConfigError(f"result {name!r} of {path} must be relative to results/<preset>")
    return {key: tuple(value) for key, value in declared.items()}


def _literal(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
