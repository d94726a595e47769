"""How one notebook is executed: its kernel's sockets, and what is kept of its cells' output."""

import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from ddp_repro.workbook.notebooks.execution import NotebookFailure, _keep_last_states, _socket_folder, execute


def test_progress_bars_keep_their_last_state():
    outputs = [
        new_output("stream", name="stderr", text="\rtrain: 0%"),
        new_output("stream", name="stderr", text="\rtrain: 50%\rtrain: 100%\n"),
        new_output("stream", name="stdout", text="42\n"),
        new_output("stream", name="stderr", text="\reval: 0%\reval: 100%\r\n\n"),
        new_output("display_data", {"text/plain": "figure"}),
    ]
    notebook = new_notebook(cells=[new_code_cell("x", outputs=outputs), new_code_cell("y")])
    _keep_last_states(notebook)
    kept = notebook.cells[0].outputs
    assert [o.output_type for o in kept] == ["stream", "stream", "display_data"]
    assert kept[0].text == "train: 100%\neval: 100%\n"
    assert kept[1].text == "42\n"
    assert notebook.cells[1].outputs == []


def write_notebook(folder, *cells):
    path = folder / "n.ipynb"
    first = new_code_cell("x = 1", metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(cells=[first, *map(new_code_cell, cells)]), path)
    return path


SOCKETS = """
from ipykernel.kernelapp import IPKernelApp
app = IPKernelApp.instance()
print(app.transport, app.ip)
"""


def test_kernels_are_talked_to_over_files_of_their_own(tmp_path):
    """No ports, which two kernels that start at once could be given both."""
    addresses = []
    for name in ("a", "b"):
        execute(write_notebook(tmp_path, SOCKETS), tmp_path / f"{name}.ipynb", {})
        addresses.append(nbformat.read(tmp_path / f"{name}.ipynb", 4).cells[-1].outputs[0].text.split())
    assert [transport for transport, _ in addresses] == ["ipc", "ipc"]
    assert addresses[0] != addresses[1]
    assert not any(Path(folder).parent.exists() for _, folder in addresses)  # nothing is left behind


def test_sockets_where_the_folder_of_temporary_files_has_a_long_path(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with _socket_folder() as folder:
        assert folder.is_dir() and len(str(folder)) < 100
    monkeypatch.setattr("os.access", lambda *question: False)
    with pytest.raises(NotebookFailure, match="set TMPDIR"), _socket_folder():
        pass


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_kernels_start_side_by_side(tmp_path):
    """All start their kernels at once, which is when ports are given twice."""
    script = (
        "import sys; from pathlib import Path; from ddp_repro.workbook.notebooks.execution import execute\n"
        "import papermill, nbconvert; print('ready', flush=True); sys.stdin.readline()\n"
        "execute(Path(sys.argv[1]), Path(sys.argv[2]), {})"
    )
    source = write_notebook(tmp_path, "print('ran')")
    commands = [[sys.executable, "-c", script, str(source), str(tmp_path / f"{i}.ipynb")] for i in range(24)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for command in commands]
    assert all(process.stdout.readline() == "ready\n" for process in processes)
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 24, errors
    outputs = [nbformat.read(tmp_path / f"{i}.ipynb", 4).cells[-1].outputs[0].text for i in range(24)]
    assert outputs == ["ran\n"] * 24
