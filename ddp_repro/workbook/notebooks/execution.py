"""Execute one notebook with papermill in this interpreter's kernel, and tell what really happened."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from ddp_repro.store.paths import ROOT_VARIABLE, working_root

ResultT = TypeVar("ResultT")

KERNEL = "ddp-repro"
LONGEST_SOCKET_FOLDER = 80  # bytes: the path of a socket holds about 100 on every system
GRACE = 2.0  # seconds in which an interrupted kernel may save its training, before it is killed


class NotebookFailure(RuntimeError):
    """A notebook did not run to its end, or did not write what it declares."""


def execute(source: Path, output: Path, parameters: dict[str, Any], *, show_output: bool = False) -> str:
    """Run the notebook ``source``, saving it to ``output`` as it goes, and return its HTML.

    Args:
        source: The notebook.
        output: Where the executed notebook is written, cell by cell; complete only if this function returns.
        parameters: Checked values for its ``parameters`` cell.
        show_output: Let what cells print to stderr (progress bars) through to this process's stderr.

    Raises:
        NotebookFailure: a cell failed or exited, or the kernel died; names the cell by its ``In [n]``.
        OSError: the output cannot be written.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError

    output.unlink(missing_ok=True)
    # papermill cannot read a parameter whose comment holds an "=" and calls it unknown; ours are checked before this
    logging.getLogger("papermill").setLevel(logging.ERROR)
    managers: list[Any] = []
    with _private_kernel(), _socket_folder() as sockets:
        options = {
            "kernel_name": KERNEL, "language": "python", "start_timeout": 300, "progress_bar": False,
            "stderr_file": sys.stderr if show_output else None, "config": _over_sockets(sockets),
            "kernel_manager_class": _manager_class(managers),
        }  # fmt: skip
        try:
            notebook = _in_thread(
                lambda: papermill.execute_notebook(source, output, parameters, **options),
                lambda thread: _end_kernels(managers, thread),
            )
        except papermill.PapermillExecutionError as error:
            raise NotebookFailure(f"cell In [{error.exec_count}]: {error.ename}: {_line(error.evalue)}") from None
        except DeadKernelError:
            raise NotebookFailure(f"the kernel died in {_running_cell(output)} (killed, or out of memory?)") from None
        except RuntimeError as error:  # the kernel died before its first cell
            raise NotebookFailure(f"the kernel did not start: {_line(str(error))}") from None
    _require_every_cell(notebook)
    notebook.metadata.papermill.update(input_path=source.name, output_path=source.name)  # no local paths
    _keep_last_states(notebook)
    return _save(notebook, output)


def _require_every_cell(notebook: Any) -> None:
    """Papermill returns normally when a cell calls ``sys.exit()``, and marks cells as completed that never ran."""
    for cell in notebook.cells:
        errors = [output for output in cell.get("outputs", ()) if output.output_type == "error"]
        if errors:
            raise NotebookFailure(
                f"cell In [{cell.execution_count}]: {errors[0].ename}: the notebook ended itself early"
            )
        if _did_not_finish(cell):
            raise NotebookFailure(f"the cell that begins {_line(cell.source)!r} did not run to its end")


def _did_not_finish(cell: Mapping[str, Any]) -> bool:
    """Whether the kernel never replied to this cell (one that died in it has an ``In [n]`` all the same)."""
    replied = "shell.execute_reply" in cell["metadata"].get("execution", {})
    return cell["cell_type"] == "code" and bool("".join(cell["source"]).strip()) and not replied


def _keep_last_states(notebook: Any) -> None:
    """Show what a terminal would: of a progress bar its last state, not one line for every update."""
    for cell in notebook.cells:
        streams: dict[str, Any] = {}
        others = [output for output in cell.get("outputs", ()) if output.output_type != "stream"]
        for output in cell.get("outputs", ()):
            if output.output_type == "stream" and output.name in streams:
                streams[output.name].text += output.text
            elif output.output_type == "stream":
                streams[output.name] = output
        for output in streams.values():
            lines = [line.rstrip("\r").rpartition("\r")[2] for line in output.text.split("\n")]
            output.text = "".join(f"{line}\n" for line in lines if line.strip())
        if streams:
            cell.outputs = [*streams.values(), *others]


def _save(notebook: Any, output: Path) -> str:
    import nbformat
    from nbconvert import HTMLExporter

    nbformat.write(notebook, output)
    html, _ = HTMLExporter().from_notebook_node(notebook)
    return html


def _running_cell(output: Path) -> str:
    cells = json.loads(output.read_text(encoding="utf-8"))["cells"] if output.is_file() else []
    sources = ["".join(cell["source"]) for cell in cells if _did_not_finish(cell)]
    return f"the cell that begins {_line(sources[0])!r}" if sources else "its last cell"


def _line(text: str) -> str:
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    return lines[0][:300] if lines else ""


def _in_thread(call: Callable[[], ResultT], interrupt: Callable[[threading.Thread], None]) -> ResultT:
    """Return what ``call`` returns in another thread, where nbclient cannot put its handlers of signals over ours.

    Args:
        interrupt: Called with the thread when an exception (of a signal's handler) arrives here before it is done.
    """
    future: Future[ResultT] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)  # one that hangs does not keep the process from ending
    thread.start()
    try:
        return future.result()
    except BaseException:
        if not future.done():
            interrupt(thread)
        raise


def _end_kernels(managers: list[Any], thread: threading.Thread) -> None:
    """End the kernels that ``thread`` waits for, with all that they started."""
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # that the kernel died is no news
    kernels: dict[int, Any] = {}  # process group -> process
    deadline = time.monotonic() + 2 * GRACE
    while thread.is_alive() and (left := deadline - time.monotonic()) > 0:
        started = {
            manager.provisioner.pgid: manager.provisioner.process for manager in managers if _has_process(manager)
        }
        for kernel in (kernel for group, kernel in started.items() if group not in kernels):
            kernel.send_signal(signal.SIGTERM)  # to it alone: its training may need its workers to the end
        kernels |= started
        if kernels and all(kernel.poll() is not None for kernel in kernels.values()):
            break
        if left < GRACE:
            _kill(kernels)
        thread.join(0.05)  # a kernel that it is about to start is waited for
    _kill(kernels)
    thread.join(0.5)


def _has_process(manager: Any) -> bool:
    return manager.provisioner is not None and manager.provisioner.process is not None


def _kill(groups: Iterable[int]) -> None:
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


def _manager_class(managers: list[Any]) -> type:
    """Return the kernel manager's class that appends what is made of it to ``managers``."""
    from jupyter_client import AsyncKernelManager

    class Manager(AsyncKernelManager):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            managers.append(self)

    return Manager


def _over_sockets(folder: Path) -> Any:
    """Return the configuration of a kernel that is talked to through files in ``folder``.

    Two kernels that start at once can be given one free port, and the later one waits for a kernel that is dead; a
    folder is nobody else's.
    """
    from traitlets.config import Config

    return Config({"KernelManager": {"transport": "ipc", "ip": str(folder / "kernel")}})


@contextmanager
def _socket_folder() -> Iterator[Path]:
    """Make a folder whose path is short enough for a socket, also where that of temporary files is not.

    Raises:
        NotebookFailure: there is none.
    """
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"):
        if len(os.fsencode(parent)) <= LONGEST_SOCKET_FOLDER and os.access(parent, os.W_OK | os.X_OK):
            folder = Path(tempfile.mkdtemp(prefix="ddp-repro-", dir=parent))
            break
    else:
        raise NotebookFailure("no folder for the kernel's sockets: set TMPDIR to one of a short path that is writable")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _private_kernel() -> Iterator[None]:
    """Make ``KERNEL`` mean this interpreter, whatever kernels and start-up files this machine's user has."""
    with tempfile.TemporaryDirectory(prefix="ddp-repro-") as folder:
        spec = Path(folder, "kernels", KERNEL, "kernel.json")
        spec.parent.mkdir(parents=True)
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=50"]
        spec.write_text(json.dumps({"argv": argv, "display_name": KERNEL, "language": "python"}), encoding="utf-8")
        changes = {
            "JUPYTER_PATH": os.pathsep.join(filter(None, [folder, os.environ.get("JUPYTER_PATH")])),
            "JUPYTER_RUNTIME_DIR": folder,  # also works where the home folder is read-only
            "IPYTHONDIR": folder,
            ROOT_VARIABLE: str(working_root()),  # the kernel's relative paths are the runner's
            # tqdm's advice to install widgets, with a local path in it
            "PYTHONWARNINGS": ",".join(filter(None, ["ignore:IProgress", os.environ.get("PYTHONWARNINGS")])),
        }
        before = {name: os.environ.get(name) for name in changes}
        os.environ.update(changes)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
