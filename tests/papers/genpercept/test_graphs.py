"""A one-step pipeline as one ONNX graph: any batch, any multiples of its stride, equal to PyTorch."""

import itertools
import json

import numpy as np
import pytest
import torch

from ddp_repro import cli
from ddp_repro.interop.export import graphs, runtime
from tests.papers.genpercept.test_method import model_of

pytest.importorskip("diffusers")
SIZES = ((8, 16), (9, 13), (18, 5))  # in multiples of the stride
FACTS = {
    "format": "onnx",
    "int8": False,
    "mean": [127.5] * 3,
    "std": [127.5] * 3,
    "classes": {"names": [], "palette": []},
}


def exported(model, folder):
    """What the command writes, opened, without its weights and recipe."""
    from ddp_repro.papers.genpercept.paper import PAPER

    exportable = PAPER.export(model)
    facts = FACTS | exportable.facts | {"graphs": {"model": {"file": "model.onnx", "inputs": ["image"]}}}
    graphs.write(exportable.parts["model"], folder / "model.onnx", "onnx")
    (folder / runtime.FACTS).write_text(json.dumps(facts))
    return runtime.ExportedModel.load(folder, threads=1)


@pytest.mark.slow
@pytest.mark.numerics
@pytest.mark.parametrize("name", ["disparity", "dpt", "normals", "colours"])
def test_one_graph_is_the_model_at_every_size_and_batch(name, tmp_path):
    model = model_of(name).eval()
    graph, generator = exported(model, tmp_path), torch.Generator().manual_seed(0)
    tolerance = 1e-3 if name == "normals" else 1e-4  # rounding of a short vector grows as it is brought to unit length
    for (rows, columns), batch in itertools.product(SIZES, (1, 3)):
        size = rows * model.stride, columns * model.stride
        images = torch.rand(batch, 3, *size, generator=generator) * 2 - 1
        want = model.sample(features=model.encode_image(images))
        difference = np.abs(graph.sample(images.numpy()) - want.numpy())
        assert difference.max() < tolerance and np.quantile(difference, 0.999) < 1e-4, (size, batch)
    picture = np.random.default_rng(0).integers(0, 256, (31, 45, 3), np.uint8)  # padded, and cropped again
    want = model.sample(features=model.encode_image(torch.from_numpy(graph.normalise(picture[None])))).numpy()[0]
    got = graph.predict(picture)
    if name == "colours":
        assert got.shape == (31, 45) and (got == want.argmax(0)).mean() > 0.99  # two classes may be equally near
    else:
        assert got.shape == (want.shape if len(want) > 1 else want.shape[1:]) and np.abs(got - want).max() < tolerance


def test_a_size_that_no_graph_takes_is_refused():
    model = runtime.ExportedModel(FACTS | {"multiple": 8}, {"model": lambda images: [images[:, :1]]})
    assert model.sample(np.zeros((1, 3, 16, 24), np.float32)).shape == (1, 1, 16, 24)
    with pytest.raises(ValueError, match="multiples of 8 pixels; got \\(1, 3, 16, 20\\)"):
        model.sample(np.zeros((1, 3, 16, 20), np.float32))
    with pytest.raises(ValueError, match="got none"):
        model.sample(features=np.zeros((1, 4, 2, 3), np.float32))


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ("genpercept_stochastic_mini", "a pipeline of 10 steps"),
        ("genpercept_vae_mini", "predicts nothing"),
    ],
)
def test_what_is_no_single_graph_is_refused(recipe, reason, capsys):
    assert cli.main(["export", recipe]) == 2
    error = capsys.readouterr().err
    assert reason in error and "GenPercept's one-step models, as one graph" in error
