"""What an executed notebook keeps of its cells' output."""

from nbformat.v4 import new_code_cell, new_notebook, new_output

from ddp_repro.workbook.notebooks.execution import _keep_last_states


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
