"""Which code a result depends on: the modules that others import, statically, in a form without comments.

The form is the same under all supported versions of Python (``ast.dump`` is not: 3.12 writes fields that 3.11 does
not have, 3.13 leaves empty ones out), and the same for every layout, comment and docstring.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import re
import sys
import types
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

COMPILED = (".cpp", ".h", ".cu")  # files that a module compiles; it names them, with or without this ending
_WITHOUT_MEANING = ("ctx", "kind", "type_comment", "type_ignores")
_COMMENT_OR_TEXT = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.DOTALL)


def code_hash(modules: Iterable[str], homes: Mapping[str, Path] | None = None, *, without: Iterable[str] = ()) -> str:
    """Return the SHA-256 of the code that ``modules`` depend on, see :func:`closure`.

    Args:
        without: modules whose own closure is left out.

    Raises:
        ModuleNotFoundError: there is no such module, or it has no file (it was typed into a notebook).
    """
    digest = hashlib.sha256()
    left_out = closure(without, homes)
    for name, path in sorted((n, p) for n, p in closure(modules, homes).items() if n not in left_out):
        digest.update(f"{name}\0{file_hash(path)}\n".encode())
    return digest.hexdigest()


def closure(modules: Iterable[str], homes: Mapping[str, Path] | None = None) -> dict[str, Path]:
    """Return the files that ``modules`` import, directly or not, by name, those of the modules themselves included.

    Imports inside functions count, since a run may come by them, and those for type checkers alone do not.  The
    ``__init__`` of the packages on the way count, but for the outermost (whose names are looked up when asked for), and
    so do the C++ files that a module names.  Followed are imports of the packages that the modules are in, and of
    ``ddp_repro``.

    Args:
        homes: top-level package -> the folder that it lies in; by default where Python finds it.

    Raises:
        ModuleNotFoundError: as :func:`code_hash`.
    """
    modules = sorted(set(modules))
    homes = homes or _homes(modules)
    waiting, files = list(modules), {}
    while waiting:
        name = waiting.pop()
        if name in files:
            continue
        path = _file_of(name, homes)
        if path is None:
            raise ModuleNotFoundError(f"no file of module {name!r} to read", name=name)
        files[name] = path
        imported, compiled = _dependencies(path, path.stat().st_mtime_ns, name)
        files |= {f"{name}:{file.name}": file for file in compiled}
        parents = name.split(".")[1:-1]
        waiting += [".".join([name.split(".")[0], *parents[: n + 1]]) for n in range(len(parents))]
        waiting += [module for names in imported if (module := _first_module(names, homes))]
    return files


def modules_of(function: object) -> set[str]:
    """Return the modules that a function is from, and that what it names is from, of this project alone."""
    code, namespace = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    if code is None:
        return set()
    named = (namespace.get(name) for name in _names(code))
    homes = {getattr(thing, "__module__", None) or getattr(thing, "__name__", "") for thing in named if thing}
    return {home for home in homes if isinstance(home, str) and home.split(".")[0] == __name__.split(".")[0]}


def text_hash(text: str) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file of code in its :func:`normal_form`."""
    return _hash_of(path, path.stat().st_mtime_ns)


def normal_form(text: str, suffix: str = ".py") -> str:
    """Return code without what does not change what it does: comments, docstrings, layout.

    Raises:
        SyntaxError: it is no Python (where the suffix says so).
    """
    if suffix == ".py":
        return "".join(_written(ast.parse(text)))
    bare = _COMMENT_OR_TEXT.sub(lambda match: " " if match[0].startswith("/") else match[0], text)
    return "\n".join(" ".join(line.split()) for line in bare.splitlines() if line.strip())


@functools.cache
def _hash_of(path: Path, _changed: int) -> str:
    return text_hash(normal_form(path.read_text(encoding="utf-8"), path.suffix))


@functools.cache
def _dependencies(path: Path, _changed: int, name: str) -> tuple[list[tuple[str, ...]], list[Path]]:
    """Return what a module imports, each as (the likelier name, the other), and the files to be compiled."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    imported: list[tuple[str, ...]] = []
    texts = set()
    for node in _running(tree):
        if isinstance(node, ast.Import):
            imported += [(alias.name,) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            base = ".".join(filter(None, (start, node.module)))
            imported += [(f"{base}.{alias.name}", base) for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.add(node.value)
    beside = [file for file in sorted(path.parent.iterdir()) if file.suffix in COMPILED]
    return imported, [file for file in beside if {file.name, file.stem} & texts]


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a module but those for type checkers alone, which never run."""
    waiting: deque[ast.AST] = deque([tree])
    while waiting:
        node = waiting.popleft()
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test).removeprefix("typing.") == "TYPE_CHECKING":
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))


def _first_module(names: tuple[str, ...], homes: Mapping[str, Path]) -> str | None:
    """Return the first of the names that is a module of the packages looked at, and not the outermost of one."""
    return next((name for name in names if "." in name and _file_of(name, homes)), None)


def _file_of(name: str, homes: Mapping[str, Path]) -> Path | None:
    home = homes.get(name.split(".")[0])
    if home is None:
        return None
    path = home.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _homes(modules: list[str]) -> dict[str, Path]:
    homes = {}
    for package in {name.split(".")[0] for name in (*modules, __name__)}:
        file = getattr(sys.modules.get(package), "__file__", None)
        spec = None if file or package == "__main__" else importlib.util.find_spec(package)
        file = spec.origin if spec else file
        if file is not None:
            homes[package] = Path(file).parent.parent if Path(file).name == "__init__.py" else Path(file).parent
    return homes


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _written(node: object) -> Iterator[str]:
    """Yield a syntax tree as text: classes and fields that are not empty, in their order."""
    if isinstance(node, ast.JoinedStr):
        yield from ("(JoinedStr ", *(piece for value in _joined(node.values) for piece in _written(value)), ")")
    elif isinstance(node, ast.Constant):
        yield f"({type(node.value).__name__} {node.value!r})"
    elif isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for field, value in ast.iter_fields(node):
            value = _effective(value) if field in ("body", "orelse", "finalbody") else value
            if isinstance(value, ast.JoinedStr) and field == "format_spec" and not value.values:
                continue  # f"{x:}", which versions of Python write in two ways
            if field not in _WITHOUT_MEANING and value is not None and value != []:
                yield from (f" {field}=", *_written(value))
        yield ")"
    elif isinstance(node, list):
        yield from ("[", *(piece for value in node for piece in _written(value)), "]")
    else:
        yield repr(node)


def _effective(body: object) -> object:
    """Statements without docstrings, other texts that stand alone, and ``pass``."""
    if not isinstance(body, list):
        return body
    return [
        statement for statement in body
        if not isinstance(statement, ast.Pass)
        and not (
            isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Constant)
            and (isinstance(statement.value.value, str) or statement.value.value is ...)
        )
    ]  # fmt: skip


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    """Return the parts of an f-string with neighbouring texts joined, which versions of Python cut differently."""
    parts: list[ast.expr] = []
    for value in values:
        if isinstance(value, ast.Constant) and parts and isinstance(parts[-1], ast.Constant):
            parts[-1] = ast.Constant(str(parts[-1].value) + str(value.value))
        elif not (isinstance(value, ast.Constant) and value.value == ""):
            parts.append(value)
    return parts
