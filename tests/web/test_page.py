"""The page over HTTP: Gradio's own client as a user, and the command's quick checks."""

import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from ddp_repro import cli
from ddp_repro.web.session import Models
from ddp_repro.workbook.models import list_models
from tests.test_cli import error_of

gradio = pytest.importorskip("gradio")
client = pytest.importorskip("gradio_client")

ADE, BASELINE = "ade20k_mini · trained", "ade20k_mini_baseline · trained"
ALONE = "no other model"
PARTS = ("heading", "picture", "times", "facts", "archive")
UNCHANGED = {"__type__", "props"}  # keys of what stays as it is


@pytest.fixture(scope="module")
def url(clone, tmp_path_factory):
    """The page's address; Gradio asks nobody but itself while it starts."""
    from ddp_repro.web import page

    asked, lookup = [], socket.getaddrinfo
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        patch.setattr(socket, "getaddrinfo", lambda host, *a, **k: asked.append(host) or lookup(host, *a, **k))
        built = page.build(Models(list_models("mini", clone / "results"))).queue(default_concurrency_limit=1)
        _, address, _ = built.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, ssr_mode=False)
        assert {host for host in asked if host} <= {"127.0.0.1", "localhost"}
        yield address
        built.close(verbose=False)


@pytest.fixture
def visit(url, tmp_path):
    """A new user, at each call."""
    return lambda: client.Client(url, verbose=False, download_files=str(tmp_path))


def predict(user, picture, model: str, other: str = ALONE, steps: int = 2) -> dict:
    """What a user sees in the end, by the names of the parts."""
    update = user.submit(client.handle_file(picture), model, other, steps, "Map", api_name="/predict")
    update.result(timeout=300)
    names = ["message", "step", *(f"{part} {n}" for n in (1, 2) for part in PARTS)]
    seen: dict = {}
    for values in update.outputs():
        shown = zip(names, values, strict=True)
        seen |= {name: value for name, value in shown if not (isinstance(value, dict) and value.keys() <= UNCHANGED)}
    return seen


def test_a_prediction_and_a_comparison(visit, clone):
    seen = predict(visit(), clone / "photo.png", ADE, BASELINE)
    assert seen["heading 1"] == f"### {ADE}" and seen["heading 2"] == f"### {BASELINE}"
    assert "step 2 <b>" in seen["times 1"] and "step 2 <b>" not in seen["times 2"]
    assert "together <b>" in seen["times 2"]
    with Image.open(seen["picture 1"]) as picture:
        assert picture.size == (64, 48)


@pytest.mark.parametrize("file", ["broken.png", "letter.jpg"])
def test_a_bad_file_is_a_sentence(visit, clone, file, capfd):
    seen = predict(visit(), clone / file, ADE)
    assert seen["message"].startswith(f"{file}: ") and "expected a complete" in seen["message"]
    assert "Traceback" not in "".join(capfd.readouterr())


def test_two_users_at_once_get_their_pictures(visit, tmp_path):
    """Each of a colour of its own: what they see is what each alone would see."""
    pictures = []
    for shade in (30, 220):
        path = tmp_path / f"{shade}.png"
        Image.fromarray(np.full((48, 64, 3), shade, np.uint8)).save(path)
        pictures.append(path)

    def see(path):
        return np.asarray(Image.open(predict(visit(), path, ADE)["picture 1"]))

    alone = [see(path) for path in pictures]
    assert not np.array_equal(*alone)
    with ThreadPoolExecutor(4) as pool:
        for path, seen in zip(pictures * 2, pool.map(see, pictures * 2), strict=True):
            np.testing.assert_array_equal(seen, alone[pictures.index(path)])


def test_a_port_in_use_is_one_line(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert error_of(capsys, "web", "--port", str(port)).startswith(f"--port {port} cannot be used (Address already")
    assert error_of(capsys, "web", "--port", "99999").endswith("expected a number from 1 to 65535")


def test_unknown_models_are_one_line(capsys):
    error = error_of(capsys, "web", "--models", "ade20k_swin_q", "--port", "7999")
    assert "no weights of 'ade20k_swin_q'; there are " in error and "ade20k_swin_t, " in error


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit):
        cli.main(["web", "--help"])
    assert "example: ddp-repro web" in capsys.readouterr().out
