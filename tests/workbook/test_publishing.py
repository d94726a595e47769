"""``ddp-repro push`` against a stand-in of the hub, by the real client."""

import dataclasses
import re
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants
from PIL import Image

import ddp_repro
from ddp_repro import cli
from ddp_repro.interop import load_checkpoint
from ddp_repro.networks.identity import weights_hash
from ddp_repro.settings.training_seeds import seeded
from ddp_repro.workbook.models import weights_in
from ddp_repro.workbook.runs.records import Checkpoint
from tests import hub_stand_in
from tests.test_cli import error_of
from tests.web.conftest import write_weights
from tests.workbook.fakes import make_record, write_records

DOWNLOAD = "/{repo_id}/resolve/{revision}/{filename}"
MIOU = {1: [20.0, 21.0], 3: [30.0, 31.0]}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The hub for this process's client, logged in, with an empty cache."""
    with hub_stand_in.running() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)  # what HF_ENDPOINT sets, before the client is imported
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{server.url}{DOWNLOAD}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", hub_stand_in.TOKEN)
        monkeypatch.setattr("time.sleep", lambda _: None)  # the client's pauses between retries
        yield server


@pytest.fixture
def results(tmp_path):
    """A finished training with its record, and the record of the same from another seed."""
    results = tmp_path / "results"
    trained(results, "ade20k_mini")
    record = make_record(settings=seeded(weights_in(weights(results, "ade20k_mini")).recipe, 1),
                         miou={steps: [v + 2 for v in values] for steps, values in MIOU.items()})  # fmt: skip
    write_records(results, record)
    return results


def weights(results: Path, name: str) -> Path:
    return results / "mini" / "runs" / name / "model.safetensors"


def trained(results: Path, name: str, **changes) -> None:
    recipe = weights_in(write_weights(results, name)).recipe
    model = recipe.model.build()
    load_checkpoint(model, weights(results, name))
    checkpoint = Checkpoint(sha256=weights_hash(model.state_dict()), origin="ddp_repro", file="model.safetensors")
    record = make_record(name, settings=recipe, miou=MIOU)
    write_records(results, dataclasses.replace(record, checkpoint=checkpoint, **changes))


def push(results: Path, *words: str) -> int:
    return cli.main(["push", "ade20k_mini", "--repo", "jane/streets", "--output", str(results), *words])


def test_what_was_pushed_is_loaded_as_its_card_says(hub, results, tmp_path, monkeypatch, capsys):
    assert push(results) == 0
    assert capsys.readouterr().out == f"ade20k_mini: {hub.url}/jane/streets\n"
    files = hub.repositories["jane/streets"]
    assert {*files} == {"README.md", "config.json", "model.safetensors", "record.json"}
    assert files["record.json"] == (results / "mini/runs/ade20k_mini/record.json").read_bytes()

    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)).save("photo.jpg")
    card = huggingface_hub.ModelCard(files["README.md"].decode())
    (code,) = re.findall(r"```python\n(.+?)```", card.text, re.DOTALL)
    names: dict = {}
    exec(code, names)  # as a reader would
    model = weights_in(weights(results, "ade20k_mini")).recipe.model.build()
    load_checkpoint(model, weights(results, "ade20k_mini"))
    steps = int(re.findall(r"steps=(\d+)", code)[0])
    assert steps == weights_in(weights(results, "ade20k_mini")).recipe.evaluation.steps[-1]
    expected = ddp_repro.predict(model.eval(), "photo.jpg", steps=steps)
    np.testing.assert_array_equal(names["prediction"].labels, expected.labels)
    Path("model.safetensors").write_bytes(files["model.safetensors"])
    assert cli.main(["predict", "photo.jpg", "--checkpoint", "model.safetensors", "--output", "maps"]) == 0


def test_the_card_has_the_scores_of_both_trainings(hub, results, capsys):
    assert push(results, "--card-only") == 0
    text = capsys.readouterr().out
    assert hub.requests == []
    card = huggingface_hub.ModelCard(text)
    assert card.data.license == "apache-2.0" and {"segmentation", "ddp"} <= {*card.data.tags}
    assert card.data.eval_results[0].metric_value == 21.5
    assert "2 trainings from different seeds, 2 sampling seeds each. ± is over the trainings." in text
    assert "| 3 | 31.50 ± 1.41 |" in text  # means 30.5 and 32.5
    for heading in ("Recipe", "Uncertainty", "Limits", "Licence", "Use"):
        assert f"\n## {heading}\n" in text
    assert "none of these numbers is comparable with the paper's" in text
    assert "Whether the model reads its noisy map: not checked." in text


def test_one_training_says_so_and_another_recipe_does_not_count(hub, results, capsys):
    path = results / "mini/runs/ade20k_mini-seed1/record.json"
    path.write_text(path.read_text().replace('"learning_rate": ', '"learning_rate": 1'))
    assert push(results, "--card-only") == 0
    text = capsys.readouterr().out
    assert (
        "one training, 2 sampling seeds each. ± is over the sampling seeds." in text and "| 3 | 30.50 ± 0.71 |" in text
    )
    assert "One training: how much another one would differ is unknown." in text


def test_a_model_without_the_mixin_is_loaded_as_its_card_says(hub, tmp_path, monkeypatch, capsys):
    pytest.importorskip("diffusers")
    trained(tmp_path, "genpercept_upernet_mini")
    words = ["push", "genpercept_upernet_mini", "--repo", "jane/rooms", "--output", str(tmp_path)]
    assert cli.main(words) == 0
    card = hub.repositories["jane/rooms"]["README.md"].decode()
    assert "hf_hub_download('jane/rooms', 'model.safetensors')" in card


def test_what_cannot_be_pushed_is_one_line(hub, results, capsys, monkeypatch):
    def refused(*words: str) -> str:
        return error_of(capsys, "push", *words, "--output", str(results))

    assert "expected NAME/ID" in refused("ade20k_mini", "--repo", "streets")
    assert "run `ddp-repro train nyu_mini`" in refused("nyu_mini", "--repo", "jane/rooms")
    write_weights(results, "cityscapes_mini")
    assert "run `ddp-repro evaluate cityscapes_mini`" in refused("cityscapes_mini", "--repo", "jane/rooms")
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    message = refused("ade20k_mini", "--repo", "jane/streets")
    assert message.startswith(f"cannot upload to jane/streets at {hub.url}: ") and "401" in message
    assert hub.repositories == {}
    hub.shutdown()
    hub.server_close()
    assert "cannot upload to jane/streets" in refused("ade20k_mini", "--repo", "jane/streets")


def test_weights_that_were_not_scored_are_refused(hub, results, capsys):
    record = results / "mini/runs/ade20k_mini/record.json"
    record.write_text(re.sub(r'("checkpoint": {\s*"sha256": ")[0-9a-f]{2}', r"\1zz", record.read_text()))
    message = error_of(capsys, "push", "ade20k_mini", "--repo", "jane/streets", "--output", str(results))
    assert "are not the weights of record.json" in message and hub.requests == []
