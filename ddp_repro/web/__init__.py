"""The command ``web``: a page on this machine alone that predicts pictures; quick checks first, then what is heavy."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from ddp_repro.settings.errors import ConfigError
from ddp_repro.terminal import say

ADDRESS = "127.0.0.1"


def web(port: int, models: str | None) -> None:
    """Serve the page until Ctrl-C (or SIGTERM); what users have uploaded and predicted is removed then."""
    _check_port(port)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported: it reports home by default
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise ConfigError("the page needs gradio: uv sync --extra web") from error
    from ddp_repro.store.deferred import defer_image_models

    defer_image_models()
    from ddp_repro.web import page
    from ddp_repro.web.session import Models

    offered = Models(_chosen(models))
    with tempfile.TemporaryDirectory(prefix="ddp-repro-web-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        page.serve(offered, ADDRESS, port, lambda url: say(f"open {url} in a browser; Ctrl-C ends it"))


def _chosen(names: str | None) -> list:
    """Return the models that are named, as recipes or as files; None: all that can be had.

    Raises:
        ConfigError: there is none of a name; names those that there are.
    """
    from ddp_repro.workbook.models import list_models, weights_in

    known = list_models()
    if names is None:
        return known
    chosen = []
    for name in names.split(","):
        weights = [weights_in(Path(name))] if Path(name).is_file() else [each for each in known if each.name == name]
        if not weights:
            there = ", ".join(dict.fromkeys(each.name for each in known))
            raise ConfigError(f"--models: no weights of {name!r}; there are {there}, or give a file")
        chosen += weights
    return chosen


def _check_port(port: int) -> None:
    if not 1 <= port <= 65535:
        raise ConfigError(f"--port {port}: expected a number from 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: one that has just ended is no bar
        try:
            probe.bind((ADDRESS, port))
        except OSError as error:
            raise ConfigError(f"--port {port} cannot be used ({error.strerror}); give another one") from None
