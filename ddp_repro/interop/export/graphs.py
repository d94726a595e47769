"""Parts of a model as files: ONNX for onnxruntime, PT2 for PyTorch."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from torch.fx.experimental import _config

from ddp_repro.interop.export.parts import Part
from ddp_repro.networks.attention.backend import attention_by
from ddp_repro.settings.errors import ConfigError

Format = Literal["onnx", "pt2"]
shape_config: Any = _config  # PyTorch puts `patch` into it when it is imported
PACKAGES = ("onnx", "onnxruntime", "onnxscript")


def require_packages() -> None:
    """Refuse to begin without what ONNX graphs are written and run by.

    Raises:
        ConfigError: says what to install.
    """
    if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
        raise ConfigError(f"ONNX graphs need {', '.join(missing)}: uv sync --extra export")


def trace(part: Part) -> torch.export.ExportedProgram:
    """Return a part as a graph of PyTorch's own operations for any batch, height and width."""
    sizes = {name: {0: _FREE} | ({2: _FREE, 3: _FREE} if x.dim() == 4 else {}) for name, x in part.example.items()}
    # A size is never taken to differ from one only because the example's does.
    with torch.no_grad(), attention_by("reference"), shape_config.patch(backed_size_oblivious=True):
        program = torch.export.export(
            part.module.eval(), (), dict(part.example), dynamic_shapes=sizes,
            prefer_deferred_runtime_asserts_over_guards=True,
        )  # fmt: skip
    _drop_assertions(program)
    return program


_FREE = torch.export.Dim.DYNAMIC


def _drop_assertions(program: torch.export.ExportedProgram) -> None:
    """Take out what would refuse maps of one window or pixel: none of the operations left depends on it."""
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    program.graph_module.recompile()


def write(part: Part, path: Path, kind: Format) -> None:
    """Write a part's graph.

    Raises:
        OSError: it cannot be written.
    """
    program = trace(part)
    if kind == "pt2":
        torch.export.save(program, path)
        return
    with quiet():
        made: Any = torch.onnx.export(program, dynamo=True, output_names=list(part.outputs), verbose=False)
    made.save(path)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide what libraries print and log of their own optimisations."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
