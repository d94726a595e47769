"""What a result depends on: code in a normal form, its closure, and the rule of what is current."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ddp_repro
from ddp_repro.store.source import closure, code_hash, modules_of, normal_form
from ddp_repro.store.work import Changed, Current, LazyProbe, Work, first_moved
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.runs import works

PACKAGE = Path(ddp_repro.__file__).parent
CAMVID = works._modules(recipe("camvid_small"), works.EVALUATION)
BEV = works._modules(recipe("nuscenes_camera"), works.EVALUATION)
PROBE = {"sample mean": 1.0, "gradient norm": 10.0, "counted miou": 0.5, "tally miou": 0.25, "tally rel": None}

# Whatever versions of Python write in different ways: f-strings above all, empty lists, type parameters.
SOURCE = '''
"""A module."""
from __future__ import annotations
import os, sys as s

X: int = 1_000  # a thousand
"""What X is."""

class A(B, metaclass=M):
    """A class."""
    def f(self, /, a, *b, c=3, **d) -> f"{s}":
        """A method."""
        def inner(): pass
        return f"{{{a!r:>{c}}}} and {b=}" f"{d:}" "tail" + f"plain" + u"u" if a else ...

async def g(*, x=None):
    async with a as b, c:
        async for i in j: await k
    try: pass
    except* E as e: raise
    finally: x = yield

match x:
    case {"a": [1, *_], **rest} if (y := 2): lambda: 0
    case A(b=1) | None: ...

@decorator
def h():
    global z
    z = {**a, 1: 2j, b"x": -0.0, "\u00e9": 1e300}
    del z[0:1, ...]
'''
GOLDEN = "1002ca05e8800bb55f5ffa96b7d73af26412dabae7d4a94436c61e9a1ee2acc0"


def digest(text: str) -> str:
    from ddp_repro.store.source import text_hash

    return text_hash(normal_form(text))


def test_normal_form_is_that_of_every_python():
    assert digest(SOURCE) == GOLDEN


def runs(command: str) -> bool:
    return subprocess.run([command, "--version"], capture_output=True).returncode == 0


@pytest.mark.parametrize("python", ["python3.11", "python3.12", "python3.13"])
def test_another_python_gives_the_same(python, tmp_path):
    beside = Path(sys.base_prefix).parent.glob(f"*/bin/{python}")  # where version managers keep them
    command = next((c for c in (shutil.which(python), *map(str, beside)) if c and runs(c)), None)
    if command is None:
        pytest.skip(f"no {python} here")
    (tmp_path / "source.py").write_text(SOURCE)
    code = (
        "import importlib.util as u, sys; s = u.spec_from_file_location('source', sys.argv[1]); "
        "m = u.module_from_spec(s); s.loader.exec_module(m); "
        "print(m.text_hash(m.normal_form(open(sys.argv[2]).read())))"
    )
    files = [str(PACKAGE / "store/source.py"), str(tmp_path / "source.py")]
    assert subprocess.check_output([command, "-c", code, *files], text=True).strip() == GOLDEN


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1", "# one\n\n\nx = (1)  # here"), ("def f(): pass", 'def f():\n    """Do nothing."""'),
        ("class A:\n    x = 1", 'class A:\n    "Doc."\n    x = 1\n    "What x is."'), ("f'{a}' 'b'", "f'{a}b'"),
        ("if a:\n  b()", "if a: b(  )\nelse: pass"),
    ],
)  # fmt: skip
def test_what_changes_nothing_has_the_same_form(before, after):
    assert normal_form(before) == normal_form(after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = 1", "x = 1.0"), ("x = 1", "x = True"), ("x = '1'", "x = b'1'"), ("f(a)", "f(*a)"), ("a + b", "a - b"),
        ("x: int = 1", "x = 1"), ("def f(a): b", "def f(*a): b"), ("f'{a}'", "f'{a!r}'"), ("f'{a}'", "'{a}'"),
        ("x = 'doc'", "x = 'docs'"), ("{**a}", "{a: a}"), ("def f(a, b=None): b", "def f(a, *, b=None): b"),
        ("if a: b\nc", "if a:\n  b\n  c"), ("x = None", "x = 'None'"), ("return_ = 0", "return_ = -0.0"),
    ],
)  # fmt: skip
def test_what_changes_something_has_another_form(before, after):
    assert normal_form(before) != normal_form(after)


def test_comments_in_cpp_do_not_count():
    plain = 'int f() { return 1; }\nconst char* url = "http://x /* y */";\n#define A 1\n'
    commented = (
        '// why\nint f() { /* one\n */ return 1; }\n\nconst char* url = "http://x /* y */";  // z\n#define A   1\n'
    )
    assert normal_form(commented, ".cpp").split() == normal_form(plain, ".cpp").split()
    assert normal_form(plain.replace("1;", "2;"), ".cpp") != normal_form(plain, ".cpp")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    home = tmp_path_factory.mktemp("tree")
    shutil.copytree(PACKAGE, home / "ddp_repro", ignore=shutil.ignore_patterns("__pycache__", "*.json"))
    return home


def edited(tree: Path, file: str, edit) -> tuple[bool, bool]:
    """Whether an edit of a copy of the package changes the code of CamVid's and of BEV's records."""
    path, homes = tree / "ddp_repro" / file, {"ddp_repro": tree}
    before = [code_hash(modules, homes) for modules in (CAMVID, BEV)]
    text = path.read_text() if path.is_file() else None
    try:
        path.write_text(edit(text))
        return tuple(code_hash(m, homes) != old for m, old in zip((CAMVID, BEV), before, strict=True))
    finally:
        path.unlink() if text is None else path.write_text(text)


def statement(text):
    return f"{text or ''}\nEDITED = 1\n"


@pytest.mark.parametrize(
    ("file", "camvid", "bev"),
    [
        ("tasks/bev/metrics.py", False, True), ("tasks/bev/settings.py", False, True),
        ("papers/ddp/bev/model.py", False, True), ("papers/genpercept/model.py", False, False),
        ("papers/ddps/model.py", False, False), ("workbook/tables/table.py", False, False), ("cli.py", False, False),
        ("papers/ddp/claims.py", False, False), ("tasks/segmentation/metrics.py", True, False),
        ("papers/ddp/segmentation.py", True, False), ("networks/decoder.py", True, True),
        ("networks/kernels/attention.py", True, True), ("networks/attention/triton.py", True, True),
        ("evaluation/views.py", True, True), ("data/transforms.py", True, True), ("a_new_file.py", False, False),
        ("networks/kernels/attention.cpp", True, True), ("networks/kernels/new.cpp", False, False),
    ],
)  # fmt: skip
def test_an_edit_counts_where_it_runs(tree, file, camvid, bev):
    edit = (lambda text: f"{text or ''}\nint edited;\n") if file.endswith("cpp") else statement
    assert edited(tree, file, edit) == (camvid, bev)


@pytest.mark.parametrize("file", ["networks/decoder.py", "evaluation/views.py", "networks/kernels/attention.cpp"])
def test_a_comment_does_not_count(tree, file):
    comment = "// a comment\n" if file.endswith("cpp") else "# a comment\n"
    assert edited(tree, file, lambda text: comment + text.replace("\n\n", "\n\n\n")) == (False, False)


def test_a_docstring_does_not_count(tree):
    def edit(text):
        return text.replace('"""', '"""New words: ', 1)

    assert edited(tree, "networks/decoder.py", edit) == (False, False)


def test_imports_inside_functions_and_packages_on_the_way_are_in_the_closure():
    files = closure(CAMVID)
    assert {
        "ddp_repro.networks.attention.mmcv",
        "ddp_repro.diffusion",
        "ddp_repro.networks.kernels.library",
    } <= files.keys()
    assert not [name for name in files if name.split(".")[1] in ("workbook", "cli", "training", "costs")]
    assert "ddp_repro" not in files
    assert "ddp_repro.training.trainer" in closure(works._modules(recipe("camvid_small"), works.TRAINING))


def test_a_module_without_a_file_is_named():
    with pytest.raises(ModuleNotFoundError, match=r"no file of module 'ddp_repro\.networks\.nothing'"):
        code_hash(["ddp_repro.networks.nothing"])


def measure_with(model):
    return normal_form(model), Work


def test_modules_that_a_function_uses():
    assert {"ddp_repro.store.source", "ddp_repro.store.work"} <= modules_of(measure_with)


def work(**changes):
    whole = {"settings": {"a": 1}, "inputs": {"images": "x"}, "code": {"ddp_repro": "c", "torch": "2"}, "probe": PROBE}
    return Work(**whole | changes)


def test_equal_code_is_current_without_looking_at_the_probe():
    def fail():
        raise AssertionError("taken")

    assert work().same(work(probe=LazyProbe("never", fail))) == Current()


@pytest.mark.parametrize("code", [{"ddp_repro": "d", "torch": "2"}, {"ddp_repro": "c", "torch": "3"}, {}])
def test_other_code_with_an_equal_probe_is_current_by_it(code):
    assert work().same(work(code=code)) == Current(by_probe=True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"settings": {"a": 2}}, "a was 1, is 2"), ({"inputs": {"images": "y"}}, "other images"),
        ({"inputs": {}}, "other images"),
        ({"code": {"ddp_repro": "d"}, "probe": PROBE | {"tally miou": 0.3}}, "tally miou was 0.25, is 0.3"),
        ({"code": {"ddp_repro": "d"}, "probe": PROBE | {"tally rel": 0.3}}, "tally rel was None, is 0.3"),
        ({"code": {"ddp_repro": "d"}, "probe": {}}, "sample mean is gone"),
    ],
)  # fmt: skip
def test_what_changed_is_said(change, words):
    verdict = work().same(work(**change))
    assert isinstance(verdict, Changed) and words in verdict.words


def test_without_a_probe_other_code_counts():
    assert "other code (ddp_repro)" in work(probe={}).same(work(code={"ddp_repro": "d", "torch": "2"})).words


@given(st.dictionaries(st.sampled_from(list(PROBE)), st.floats(-1e6, 1e6)))
def test_a_probe_equals_itself_and_itself_with_rounding(values):
    assert first_moved(values, values) is None
    assert first_moved(values, {name: value * (1 + 1e-6) for name, value in values.items()}) is None


@given(st.sampled_from(["sample mean", "loss", "tally miou"]), st.floats(0.01, 1e6), st.floats(0.01, 1.0))
def test_a_number_that_moves_by_a_percent_is_noticed(name, value, part):
    assert first_moved({name: value}, {name: value * (1 + part)})


def test_a_probe_is_taken_once(tmp_path, monkeypatch):
    from ddp_repro.store import work as module

    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path)
    taken = []

    def take():
        taken.append(1)
        return {"a": 1.0, "b": None}

    assert dict(LazyProbe("about", take)) == dict(LazyProbe("about", take)) == {"a": 1.0, "b": None}
    module._remembered.clear()
    assert LazyProbe("about", take)["a"] == 1.0 and len(taken) == 1
    next((tmp_path / "probes").iterdir()).write_text("{")
    module._remembered.clear()
    assert LazyProbe("about", take)["a"] == 1.0 and len(taken) == 2


def test_probes_need_no_cache(tmp_path, monkeypatch):
    from ddp_repro.store import work as module

    (tmp_path / "file").write_text("")
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "file")
    assert dict(LazyProbe("nowhere", lambda: {"a": 1.0})) == {"a": 1.0}
