"""Notebooks are made of the public API alone, and of names that exist."""

import ast
import json
from pathlib import Path

import pytest

import ddp_repro

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
OTHERS = {"torch", "IPython.display"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_imports_are_public_and_exist(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    tree = ast.parse("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    modules = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports}
    assert modules - OTHERS == {"ddp_repro"}
    names = [a.name for node in imports if getattr(node, "module", "") == "ddp_repro" for a in node.names]
    assert names and all(hasattr(ddp_repro, name) for name in names)


@pytest.mark.parametrize("name", [name for name in dir(ddp_repro) if not name.startswith("_")])
def test_public_names_are_there(name):
    assert getattr(ddp_repro, name) is not None
