"""The house: imports point one way, nobody knows a task or a paper by name, folders stay small."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ddp_repro"
# A layer may import those before it; what stands at the top (api, cli, commands, doctor) comes last.
LAYERS = (
    "settings", "store", "protocols", "diffusion", "networks", "data", "evaluation", "tasks", "interop", "training",
    "costs", "workbook", "papers", "",
)  # fmt: skip
LARGEST_FOLDER = 14
LONGEST_FILE = 400  # lines
DISPATCH = re.compile(r"\.task ?(?:==|!=| in )|\[[a-z_.]*\.task[,\]]|truth ?(?:==|!=) ?\"")


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(path: Path) -> set[str]:
    """Modules of the package that a file imports, also inside functions."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                named = (f"{node.module}.{alias.name}", node.module)
                imported |= {next((module for module in named if module in FILES), "")}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names if alias.name in FILES}
    return imported - {"", "ddp_repro", name_of(path)}


IMPORTS = {module: imports_of(path) for module, path in FILES.items()}


def layer_of(module: str) -> int:
    folder = module.split(".")[1] if module.count(".") else ""
    return LAYERS.index(folder) if folder in LAYERS else LAYERS.index("")


def test_every_import_points_one_way():
    wrong = [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        for other in others
        if layer_of(other) > layer_of(module)
    ]
    assert not wrong


def test_no_two_modules_import_each_other():
    assert not {tuple(sorted((a, b))) for a, others in IMPORTS.items() for b in others if a in IMPORTS[b]}


def test_imports_have_no_cycle():
    state: dict[str, int] = defaultdict(int)

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert state[module] != 1, " -> ".join([*path, module])
        if state[module] == 0:
            state[module] = 1
            for other in sorted(IMPORTS[module]):
                visit(other, (*path, module))
            state[module] = 2

    for module in IMPORTS:
        visit(module, ())


def test_papers_know_each_other_through_shared_modules_only():
    papers = {module: module.split(".")[2] for module in IMPORTS if module.startswith("ddp_repro.papers.")}
    strangers = [
        f"{module} imports {other}" for module in papers for other in IMPORTS[module] & papers.keys()
        if papers[other] != papers[module]
    ]  # fmt: skip
    assert not strangers


@pytest.mark.parametrize("module", [m for m in FILES if m.split(".")[1:2] not in (["tasks"], ["papers"])])
def test_no_task_is_told_by_name_outside_tasks_and_papers(module):
    lines = FILES[module].read_text(encoding="utf-8").splitlines()
    assert not [f"{number}: {line.strip()}" for number, line in enumerate(lines, 1) if DISPATCH.search(line)]


def test_folders_and_files_stay_small():
    folders = Counter(path.parent for path in FILES.values() if path.name != "__init__.py")
    assert not {str(folder): count for folder, count in folders.items() if count > LARGEST_FOLDER}
    lengths = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in FILES.items()}
    assert not {module: length for module, length in lengths.items() if length > LONGEST_FILE}
