"""The page: what is where on it, and what happens when something is pressed."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from ddp_repro.web.session import VIEWS, Models, Outcome, drawn, sentence

MOST_STEPS = 10
ALONE = "no other model"
HOUR = 3600  # seconds that results wait for a user who has left
CSS = """
.square { display: inline-block; width: 0.8em; height: 0.8em; margin-right: 0.4em; border-radius: 2px; }
.fact { display: inline-block; margin-right: 1.2em; }
.prediction img { max-height: 75vh; object-fit: contain; }
#message { border-left: 4px solid #c2410c; padding-left: 0.8em; }
"""
Update = dict[Any, Any]  # what becomes of components


class Panel:
    """Where the outcome of one model is shown."""

    def __init__(self, name: str, *, visible: bool) -> None:
        self.name = name
        with gr.Column(visible=visible, min_width=300) as self.column:
            self.heading = gr.Markdown(elem_id=f"{name}-heading")
            self.picture = gr.Image(show_label=False, interactive=False, type="filepath", elem_id=f"{name}-picture",
                                    elem_classes="prediction", buttons=["download", "fullscreen"])  # fmt: skip
            self.times = gr.HTML(elem_id=f"{name}-times")
            self.facts = gr.HTML(elem_id=f"{name}-facts")
            self.archive = gr.DownloadButton("Download the maps", visible=False, elem_id=f"{name}-archive")

    @property
    def parts(self) -> list[Any]:
        """Return what changes."""
        return [self.column, self.heading, self.picture, self.times, self.facts, self.archive]

    def update(self, model: str, outcome: Outcome, picture: str | None) -> Update:
        """Return what shows an outcome, or that there is none yet."""
        together = {"together": sum(outcome.stages.values())} if outcome.stages else {}
        times = [f"{name} <b>{seconds:.2f} s</b>" for name, seconds in (outcome.stages | together).items()]
        return {
            self.heading: f"### {model}",
            self.picture: picture,
            self.times: " ".join(f'<span class="fact">{text}</span>' for text in times),
            self.facts: outcome.facts,
            self.archive: gr.update(value=outcome.archive, visible=outcome.archive is not None),
        }


def build(models: Models) -> gr.Blocks:
    """Return the page."""
    names = models.names(models.tasks[0])
    with gr.Blocks(title="ddp_repro", analytics_enabled=False, delete_cache=(HOUR, HOUR)) as page:
        gr.Markdown("# Dense prediction, step by step\nYour pictures stay on this machine.")
        folder = gr.State("", time_to_live=HOUR, delete_callback=_remove)  # of one user's latest prediction
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                picture = gr.Image(label="Picture", type="filepath", sources=["upload", "webcam", "clipboard"],
                                   height=240, buttons=[], elem_id="picture")  # fmt: skip
                task = gr.Dropdown(models.tasks, value=models.tasks[0], label="Task", elem_id="task")
                first = gr.Dropdown(names, value=names[0], label="Model", elem_id="first")
                second = gr.Dropdown([ALONE, *names], value=ALONE, label="Compare with", elem_id="second")
                steps = gr.Slider(1, MOST_STEPS, value=3, step=1, label="Steps", elem_id="steps")
                predict = gr.Button("Predict", variant="primary", elem_id="predict")
                message = gr.Markdown(elem_id="message")  # empty, not hidden: what is shown again is built anew, late
            with gr.Column(scale=3, min_width=320):
                with gr.Row():
                    view = gr.Radio([*VIEWS], value=next(iter(VIEWS)), label="Show", elem_id="view")
                    step = gr.Slider(1, 2, value=1, step=1, label="After step", visible=False, elem_id="step")
                with gr.Row():
                    panels = [Panel("one", visible=True), Panel("two", visible=False)]

        def of_task(task: str) -> Update:
            names = models.names(task)
            return {first: gr.update(choices=names, value=names[0]),
                    second: gr.update(choices=[ALONE, *names], value=ALONE)}  # fmt: skip

        def run(picture: str | None, one: str, other: str, steps: int, view: str, before: str) -> Iterator[Update]:
            _remove(before)
            now, last, chosen = tempfile.mkdtemp(dir=page.GRADIO_CACHE), 0, [one] + [other] * (other != ALONE)
            yield {folder: now, message: "", panels[1].column: gr.update(visible=len(chosen) > 1),
                   step: gr.update(visible=False)}  # fmt: skip
            for name, panel in zip(chosen, panels, strict=False):
                yield panel.update(name, Outcome(), None)
                place = Path(now, panel.name)
                try:
                    for outcome in models.predict(name, picture, int(steps), place):
                        last = max(last, len(outcome.stages) - 1)
                        yield panel.update(name, outcome, drawn(place, view, MOST_STEPS))
                except (OSError, ValueError, RuntimeError) as error:  # the user's, or e.g. too large for the memory
                    yield {message: sentence(error, picture)}
            yield {step: gr.update(visible=last > 1, maximum=max(last, 2), value=max(last, 1))}

        def show(view: str, step: int, folder: str) -> list[str | None]:
            return [drawn(Path(folder, panel.name), view, int(step)) if folder else None for panel in panels]

        # Gradio would open what was uploaded by itself, and answer a damaged file with a traceback.
        picture.preprocess = lambda payload: payload and payload.path
        task.change(of_task, task, [first, second], api_visibility="private")
        outputs = [folder, message, step, *(part for panel in panels for part in panel.parts)]
        inputs = [picture, first, second, steps, view, folder]
        predict.click(run, inputs, outputs, show_progress="minimal", api_name="predict")
        for control in (view, step):
            control.input(show, [view, step, folder], [panel.picture for panel in panels], show_progress="hidden",
                          api_visibility="private")  # fmt: skip
    return page


def serve(models: Models, address: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve the page until the process is asked to end; ``ready`` is told its address once it answers.

    Predictions go one after the other, in the order in which users ask.
    """
    page = build(models).queue(default_concurrency_limit=1)
    _, url, _ = page.launch(
        server_name=address, server_port=port, share=False, quiet=True, prevent_thread_lock=True, ssr_mode=False,
        footer_links=[], css=CSS, enable_monitoring=False,
        theme=gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["monospace"]),  # none that is downloaded
    )  # fmt: skip
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        ready(url)
        signal.pause()
    except KeyboardInterrupt:
        page.close(verbose=False)


def _remove(folder: str) -> None:
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
