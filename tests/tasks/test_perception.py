"""Affine-invariant depth, normals, masks and mattes as tasks: what they read, measure, return and write."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from data_prep.mini import write_mini
from ddp_repro.data.io import DataError
from ddp_repro.data.maps import read_normals, read_opacity
from ddp_repro.evaluation.pictures import save_arrays
from ddp_repro.evaluation.views import View, view_image
from ddp_repro.protocols.registry import register_task, task_named
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import DataConfig, EvalConfig
from ddp_repro.tasks.affine_depth.predict import AffineDepthPrediction
from ddp_repro.tasks.build import build_dataset
from ddp_repro.tasks.dichotomous.predict import MaskPrediction
from ddp_repro.tasks.matting.predict import MattePrediction
from ddp_repro.tasks.normals.axes import AXES, convert_axes
from ddp_repro.tasks.normals.predict import NormalsPrediction

SETS = {
    "normals": ("nyu_normals", "train", "test"),
    "dichotomous": ("dis5k", "DIS-TR", "DIS-VD"),
    "matting": ("p3m10k", "train", "P3M-500-NP"),
}
SIZE = (48, 64)
MEAN = STD = (127.5,) * 3


@pytest.fixture(scope="module", params=SETS)
def opened(request, tmp_path_factory):
    name, train, test = SETS[request.param]
    root = tmp_path_factory.mktemp("mini") / name
    write_mini(name, root, train=2, val=2, size=SIZE)
    data = DataConfig(
        dataset=name, root=str(root), train_split=train, eval_split=test, image_scale=None, crop_size=(24, 40)
    )
    return task_named(request.param), data


def test_every_task_has_all_parts():
    for name in ("affine_depth", "normals", "dichotomous", "matting"):
        register_task(task_named(name))


def test_a_truth_measured_against_itself_is_perfect(opened):
    task, data = opened
    dataset = build_dataset(data, data.eval_split, train=False, mean=MEAN, std=STD)
    tally = task.tally(None, EvalConfig())
    for index in range(len(dataset)):
        truth = view_image(dataset, index, [View()]).truth
        statistics = tally.image_statistics(truth, truth)
        tally.add({name: values[None] for name, values in statistics.items()})
    score = task.score(1, None, tally)
    assert set(score.measures()) == set(task.measures)
    best = {"normals": 0, "dichotomous": 1, "matting": 0}[task.name]
    assert getattr(score, score.measures()[0]) == pytest.approx(best, abs=0.02)


@pytest.mark.parametrize("name", ["affine_depth", "normals"])
def test_an_image_with_nothing_to_measure_is_left_out(name):
    task, generator = task_named(name), torch.Generator().manual_seed(0)
    tally, alone, empty = (task.tally(SimpleNamespace(space="depth"), EvalConfig(protocol="nyu")) for _ in range(3))
    if name == "normals":
        prediction, truth = torch.nn.functional.normalize(torch.randn(2, 3, 8, 8, generator=generator), dim=1)
    else:
        prediction, truth = torch.rand(2, 480, 640, generator=generator) + 1
    rows = [tally.image_statistics(prediction, each) for each in (truth, torch.zeros_like(truth))]
    tally.add({key: np.stack([row[key] for row in rows]) for key in rows[0]})
    alone.add({key: values[None] for key, values in rows[0].items()})
    empty.add({key: values[None] for key, values in rows[1].items()})
    found, expected, nothing = (task.score(1, 0, each) for each in (tally, alone, empty))
    assert [getattr(found, m) for m in found.measures()] == [getattr(expected, m) for m in found.measures()]
    assert {getattr(nothing, metric) for metric in nothing.measures()} == {None}
    if name == "affine_depth":
        assert (found.measured, expected.measured, nothing.measured) == (1, None, 0)


def test_training_shows_whole_pictures_and_mirrors_them_with_their_truth(opened):
    task, data = opened
    dataset = build_dataset(data, data.train_split, train=True, mean=MEAN, std=STD)
    views = [dataset.sample(0, np.random.default_rng(seed)) for seed in range(8)]
    assert all(view["image"].shape == (3, 24, 40) for view in views)
    shapes = {tuple(view[task.truth].shape) for view in views}
    assert shapes == {(3, 24, 40) if task.name == "normals" else (24, 40)}
    images = torch.stack([view["image"] for view in views])
    mirrored = (images != images[0]).flatten(1).any(1)
    assert mirrored.any() and not mirrored.all()
    other = views[int(mirrored.nonzero()[0])]
    assert torch.equal(other["image"].flip(-1), views[0]["image"])
    sign = torch.tensor([-1, 1, 1]).reshape(3, 1, 1) if task.name == "normals" else 1
    assert torch.equal(other[task.truth].flip(-1) * sign, views[0][task.truth])


def test_values_that_are_not_finite_are_refused(opened):
    task, _ = opened
    truth = torch.zeros(3, 8, 8) if task.name == "normals" else torch.zeros(8, 8)
    if task.name == "normals":
        truth[2] = -1
    with pytest.raises(ValueError, match="not finite"):
        task.tally(None, EvalConfig()).image_statistics(truth * torch.nan, truth)


def test_another_tasks_data_is_refused(opened):
    _, data = opened
    dataset = build_dataset(data, data.eval_split, train=False, mean=MEAN, std=STD)
    with pytest.raises(ConfigError, match="has .* maps"):
        task_named("affine_depth").check(type("Model", (), {"task": "affine_depth"}), dataset)


# --- files ------------------------------------------------------------------------------------------------------------


PIXELS = np.full((6, 8, 3), 128, np.uint8)


def test_depth_files_hold_the_map(tmp_path):
    values = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    prediction = AffineDepthPrediction(values=values, space="disparity")
    paths = task_named("affine_depth").writer(None, None)(prediction, PIXELS, tmp_path, "a")
    assert [path.name for path in paths] == ["a_disparity.png", "a_disparity_colour.png", "a_disparity.npy"]
    with Image.open(paths[0]) as stored:
        np.testing.assert_allclose(np.array(stored) / 65535, values, atol=1e-5)
        assert "affine-invariant disparity" in stored.text["meaning"]
    assert np.array_equal(np.load(paths[2]), values)
    assert save_arrays(prediction, tmp_path, "a") == paths[2:]


def test_normals_files_hold_the_vectors(tmp_path):
    normals = np.random.default_rng(0).normal(size=(6, 8, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    prediction = NormalsPrediction(normals=normals)
    paths = task_named("normals").writer(None, None)(prediction, PIXELS, tmp_path, "a")
    np.testing.assert_allclose(read_normals(paths[0]), normals, atol=1e-4)
    assert np.array_equal(np.load(paths[-1]), normals)


@pytest.mark.parametrize(("kind", "task"), [(MaskPrediction, "dichotomous"), (MattePrediction, "matting")])
def test_opacity_files_and_cut_out(kind, task, tmp_path):
    opacity = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    paths = task_named(task).writer(None, None)(kind(opacity=opacity), PIXELS, tmp_path, "a")
    np.testing.assert_allclose(read_opacity(paths[0]), opacity, atol=1e-5)
    cut_out = np.array(Image.open(tmp_path / "a_cut_out.png"))
    assert cut_out.shape == (6, 8, 4) and np.array_equal(cut_out[..., 3], (opacity * 255).round())
    with pytest.raises(ValueError, match="want uint8"):
        kind(opacity=opacity).cut_out(np.zeros((5, 8, 3), np.uint8))


def test_truths_of_another_kind_are_refused_by_name(tmp_path):
    path = tmp_path / "truth.png"
    with pytest.raises(DataError, match="no such file"):
        read_opacity(path)
    path.write_bytes(b"no picture")
    with pytest.raises(DataError, match="cannot be decoded"):
        read_normals(path)
    Image.fromarray(PIXELS).save(path)
    with pytest.raises(DataError, match="not of unit length"):
        read_normals(path)
    cv2.imwrite(str(path), np.dstack([np.full((6, 8), value, np.uint8) for value in (1, 2, 3)]))
    with pytest.raises(DataError, match="has colours"):
        read_opacity(path)
    cv2.imwrite(str(path), np.zeros((6, 8), np.uint8))
    with pytest.raises(DataError, match="three channels"):
        read_normals(path)


# --- what users do with a prediction ----------------------------------------------------------------------------------


def prediction_of(depth: np.ndarray, space: str) -> AffineDepthPrediction:
    values = depth if space == "depth" else 1 / depth
    values = (values - values.min()) / (values.max() - values.min())
    return AffineDepthPrediction(values=values.astype(np.float32), space=space)


@pytest.mark.parametrize("space", ["depth", "disparity"])
def test_dense_and_sparse_depth_give_metres(space):
    depth = np.random.default_rng(0).uniform(1, 5, (12, 16))
    prediction = prediction_of(depth, space)
    np.testing.assert_allclose(prediction.align_to(depth).depth, depth, rtol=1e-4)
    points = np.array([(row, column, depth[row, column]) for row, column in ((0, 0), (3, 7), (11, 15), (6, 2))])
    aligned = prediction.align_to(points)
    np.testing.assert_allclose(aligned.depth, depth, rtol=1e-4)
    assert aligned.alignment.pixels == 4 and aligned.alignment.space == space


def test_depth_that_cannot_be_aligned_to_is_refused():
    prediction = prediction_of(np.random.default_rng(0).uniform(1, 5, (12, 16)), "depth")
    with pytest.raises(ValueError, match="two valid pixels"):
        prediction.align_to(np.zeros((12, 16)))
    with pytest.raises(ValueError, match="points"):
        prediction.align_to(np.ones((5, 5)))
    with pytest.raises(ValueError, match="outside"):
        prediction.align_to(np.array([[0.0, 16.0, 1.0]]))
    constant = AffineDepthPrediction(values=np.full((4, 4), 0.5, np.float32), space="depth")
    with pytest.raises(ValueError, match="constant"):
        constant.align_to(np.random.default_rng(0).uniform(1, 2, (4, 4)))


def test_axes_turn_into_one_another_and_back():
    normals = np.random.default_rng(0).normal(size=(2, 3, 3)).astype(np.float32)
    for name in AXES:
        assert np.array_equal(convert_axes(convert_axes(normals, name), "right_down_ahead", name), normals)
    floor = np.array([[[0, -1, 0]]], np.float32)  # up, where y points down
    assert convert_axes(floor, "right_up_back").tolist() == [[[0, 1, 0]]]
    wall = np.array([[[0, 0, -1]]], np.float32)  # towards the camera
    assert convert_axes(wall, "right_up_back").tolist() == [[[0, 0, 1]]]
    with pytest.raises(ConfigError, match="right_up_back"):
        NormalsPrediction(normals=wall).to_axes("up")


def test_pooled_histogram_is_the_exact_measure_up_to_its_step():
    from ddp_repro.tasks.normals.metrics import STEP, NormalErrors, PooledHistogram

    generator = torch.Generator().manual_seed(0)
    exact, pooled = NormalErrors(), PooledHistogram()
    for size in (9, 16):
        truth = torch.nn.functional.normalize(torch.randn(3, size, 12, generator=generator), dim=0)
        prediction = truth + 0.3 * torch.randn(3, size, 12, generator=generator)
        exact.update(prediction, truth)
        pooled.add({name: values[None] for name, values in pooled.image_statistics(prediction, truth).items()})
    for metric, value in exact.to_dict().items():
        assert pooled.value(metric) == pytest.approx(value, abs=STEP if metric == "median" else 1e-4), metric
