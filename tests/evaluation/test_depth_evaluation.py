"""Depth evaluation against a plain loop over images, steps and seeds; the constant map; refusals."""

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.multiprocessing as multiprocessing
from torch import distributed

from ddp_repro.data.io import DataError
from ddp_repro.data.transforms import normalize
from ddp_repro.evaluation.evaluate import evaluate_model
from ddp_repro.evaluation.views import to_image_size, view_generator
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import EvalConfig
from ddp_repro.tasks.depth.constant import evaluate_mean_depth, mean_depth_map
from ddp_repro.tasks.depth.metrics import METRICS, DepthErrors
from ddp_repro.tasks.depth.protocols import PROTOCOLS
from ddp_repro.tasks.segmentation.rescore import rescore
from tests.data.depth_files import build, write_depth, write_kitti
from tests.evaluation.conftest import tiny_dataset, tiny_model
from tests.evaluation.tiny_depth import SIZES, tiny_depth_dataset, tiny_depth_model, write_pictures

pytestmark = pytest.mark.numerics

TWO = EvalConfig(steps=(1, 3), seeds=(0, 7), protocol="indoor")


def values(result):
    return {key: tally.to_dict() for key, tally in result.tallies.items()}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("tiefe ß"))


@pytest.fixture(scope="module")
def model():
    return tiny_depth_model()


@pytest.fixture(scope="module")
def dataset(root):
    return tiny_depth_dataset(root)


@pytest.fixture(scope="module")
def reference(model, dataset):
    return evaluate_model(model, dataset, TWO, progress=False)


def expected_depth(model, dataset, index, steps, seed, evaluation):
    """Every view sampled with its own noise, resized to the input and to the picture, turned back, averaged."""
    picture, truth = dataset.load(index)
    views = [(scale, flip) for scale in evaluation.scales for flip in ((False, True) if evaluation.flip else (False,))]
    total = 0
    for number, (scale, flip) in enumerate(views):
        long, short = (int(side * scale) for side in (max(truth.shape), min(truth.shape)))
        factor = min(long / max(truth.shape), short / min(truth.shape))
        size = tuple(int(side * factor + 0.5) for side in truth.shape)
        seen = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_LINEAR)
        seen = seen[:, ::-1] if flip else seen
        pixels = torch.from_numpy(normalize(seen, dataset.mean, dataset.std))[None]
        options = {"steps": steps, "generator": view_generator(seed, dataset.ids[index], number)}
        output = model.sample(pixels, **(options if model.config.diffusion else {}))
        depth = to_image_size(output, size, truth.shape)[0, 0]
        total = total + (depth.flip(-1) if flip else depth)
    return total / len(views), torch.from_numpy(truth)


@pytest.mark.parametrize(
    "changes", [{}, {"flip": True}, {"flip": True, "scales": (0.75, 1.0)}], ids=["one view", "flip", "scales and flip"]
)
@torch.no_grad()
def test_equals_a_plain_loop(model, dataset, changes):
    evaluation = EvalConfig(**{**vars(TWO), **changes})
    result = evaluate_model(model, dataset, evaluation, progress=False)
    model.eval()
    for (steps, seed), tally in result.tallies.items():
        each = []
        for index in range(len(dataset)):
            depth, truth = expected_depth(model, dataset, index, steps, seed, evaluation)
            valid = (truth > 1e-3) & (truth < 10)
            d, t = depth[valid].clamp(1e-3, 10).double(), truth[valid].double()
            each.append([((d - t).abs() / t).mean(), (d - t).square().mean().sqrt()])
        rel, rmse = np.mean(each, axis=0)
        assert (tally.value("rel"), tally.value("rmse")) == pytest.approx((rel, rmse), rel=1e-5), (steps, seed)
        assert tally.images == len(dataset)


def test_result(reference):
    assert reference.images == len(SIZES) and reference.class_names == ()
    assert reference.metrics == METRICS and not reference.higher_is_better
    found = [reference.tallies[3, seed].value("rel") for seed in (0, 7)]
    assert found[0] != found[1] and reference.tallies[1, 0].value("rel") != found[0]  # noise and steps matter
    summary = reference.summary(3)
    assert (summary.mean, summary.seeds) == (pytest.approx(sum(found) / 2), 2)
    assert summary.std == pytest.approx(abs(found[0] - found[1]) / math.sqrt(2))
    record = json.loads(json.dumps(reference.to_dict(), allow_nan=False))
    assert [(run["steps"], run["seed"]) for run in record["runs"]] == [(1, 0), (1, 7), (3, 0), (3, 7)]
    assert record["summary"][1]["delta1"]["mean"] == pytest.approx(reference.summary(3, "delta1").mean)
    assert set(METRICS) <= record["runs"][0].keys()


def test_a_batch_gives_what_its_images_give_one_by_one(model, dataset, reference):
    batched = evaluate_model(model, dataset, EvalConfig(**{**vars(TWO), "batch_size": 3}), progress=False)
    for key, tally in batched.tallies.items():
        assert tally.to_dict() == pytest.approx(reference.tallies[key].to_dict(), rel=1e-4), key


def test_baseline_has_one_run(dataset):
    result = evaluate_model(tiny_depth_model(diffusion=False), dataset, TWO, progress=False)
    assert list(result.tallies) == [(1, None)]
    assert math.isnan(result.summary(1).std)


def test_limit_and_training_mode(model, dataset):
    model.train()
    result = evaluate_model(model, dataset, EvalConfig(**{**vars(TWO), "limit": 2}), progress=False)
    assert model.training and result.images == 2 == result.tallies[1, 0].images
    model.eval()


@torch.no_grad()
def test_kitti_is_scored_inside_its_crops(tmp_path):
    """A picture taller and wider than the benchmark crop; 1 of 3 frames has no depth."""
    dataset = build("kitti", write_kitti(tmp_path, size=(360, 1230)), "test")
    assert (len(dataset), dataset.unannotated) == (2, 1)
    picture, truth = dataset.load(0)
    assert picture.shape == (352, 1216, 3) and truth.shape == (352, 1216)
    model = tiny_depth_model(max_depth=80.0).eval()
    evaluation = EvalConfig(steps=(1,), seeds=(0,), protocol="kitti_garg", limit=1)
    depth, truth = expected_depth(model, dataset, 0, 1, 0, evaluation)
    inside = depth[143:349, 43:1172], truth[143:349, 43:1172]
    expected = DepthErrors(PROTOCOLS["outdoor"]).update(*inside)
    result = evaluate_model(model, dataset, evaluation, progress=False)
    assert values(result)[1, 0] == pytest.approx(expected.to_dict(), rel=1e-5)


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [None, "kitti"])
def test_a_protocol_must_be_named(model, dataset, protocol):
    with pytest.raises(ConfigError, match=r"evaluation.protocol must be one of kitti_garg, .*outdoor; got"):
        evaluate_model(model, dataset, EvalConfig(protocol=protocol), progress=False)


def test_model_and_data_must_be_of_one_task(model, dataset, data_root):
    with pytest.raises(ConfigError, match="model.task is depth, but dataset folder has label maps"):
        evaluate_model(model, tiny_dataset(data_root), TWO, progress=False)
    with pytest.raises(ConfigError, match="model.task is segmentation, but dataset depth_folder has depth maps"):
        evaluate_model(tiny_model(), dataset, TWO, progress=False)


def test_depth_maps_are_neither_saved_nor_rescored(model, dataset, tmp_path):
    with pytest.raises(ConfigError, match="saved for segmentation only"):
        evaluate_model(model, dataset, TWO, progress=False, save_to=tmp_path / "maps")
    assert not (tmp_path / "maps").exists()
    with pytest.raises(ConfigError, match="saved for segmentation only; depth_folder has depth maps"):
        rescore(tmp_path, dataset)


def test_an_image_without_depth_that_counts_is_left_out_of_the_means(model, tmp_path):
    root = write_pictures(tmp_path)
    path = root / "depth/val/bild ü2.png"
    write_depth(path, np.full(SIZES[2], 20_000, np.uint16))  # 20 m: measured, but beyond the cap
    result = evaluate_model(model, tiny_depth_dataset(root), TWO, progress=False)
    run, tally = next(iter(result.tallies.items()))
    assert (tally.images, tally.measured) == (4, 3)
    path.unlink()
    others = evaluate_model(model, tiny_depth_dataset(root), TWO, progress=False)
    assert tally.value("rel") == others.tallies[run].value("rel")
    write_depth(path, np.zeros(SIZES[2], np.uint16))
    with pytest.raises(DataError, match=r"bild ü2.png: holds no measurement"):
        evaluate_model(model, tiny_depth_dataset(root), TWO, progress=False)


def test_a_diverged_model_is_not_scored(dataset):
    broken = tiny_depth_model()
    torch.nn.init.constant_(broken.decoder.depth_convolution.weight, math.nan)
    with pytest.raises(RuntimeError, match=r"not finite.*bild ü0"):
        evaluate_model(broken, dataset, TWO, progress=False)


# -- the constant map --------------------------------------------------------------------------------------------------


class Maps:
    """Depth maps as a dataset."""

    def __init__(self, *maps):
        self.maps, self.ids = [np.array(each, np.float32) for each in maps], [*map(str, range(len(maps)))]

    def __len__(self):
        return len(self.maps)

    def load(self, index):
        return None, self.maps[index]


def test_mean_map_equals_a_loop_over_pixels():
    rng = np.random.default_rng(0)
    maps = [rng.uniform(1, 9, (5, 6)) * (rng.random((5, 6)) < 0.6) for _ in range(3)]
    for depth in maps:
        depth[1, 2:4] = 0  # a hole in all of them
        depth[3] = 0  # a whole row
    expected, everything = np.zeros((5, 6)), [d for depth in maps for d in depth[depth > 0].tolist()]
    for y in range(5):
        row = [depth[y, x] for depth in maps for x in range(6) if depth[y, x] > 0]
        for x in range(6):
            seen = [depth[y, x] for depth in maps if depth[y, x] > 0] or row or everything
            expected[y, x] = sum(seen) / len(seen)
    np.testing.assert_allclose(mean_depth_map(Maps(*maps)), expected, rtol=1e-6)


def test_mean_map_of_other_sizes_is_resized():
    small, large = np.full((2, 3), 2.0), np.full((4, 6), 4.0)
    assert mean_depth_map(Maps(small, large)).tolist() == [[3, 3, 3], [3, 3, 3]]
    scored = evaluate_mean_depth(Maps(small), Maps(large, small, large), EvalConfig(protocol="indoor", limit=2))
    assert (scored.images, scored.value("rel")) == (2, pytest.approx(0.25))  # half of 4 m, and exactly 2 m


# -- several processes -------------------------------------------------------------------------------------------------


def evaluate_in_process(rank: int, world: int, root: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    result = evaluate_model(tiny_depth_model(), tiny_depth_dataset(root), TWO, progress=False)
    (folder / f"{rank}.json").write_text(json.dumps([result.images, *values(result).values()]))
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_agree_with_one(root, reference, tmp_path):
    # forked, as importing everything anew takes ten seconds a process
    multiprocessing.start_processes(evaluate_in_process, args=(2, root, tmp_path), nprocs=2, start_method="fork")
    for rank in range(2):
        images, *found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert images == len(SIZES)
        for tally, expected in zip(found, values(reference).values(), strict=True):
            assert tally == pytest.approx(expected, rel=1e-9)  # sums of floats in another order
