"""Whole-image inference and views, against the released code's numbers and against plain loops."""

import json
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
import torch

from ddp_repro.data.transforms import normalize, rescaled_size, resize_image
from ddp_repro.evaluation.evaluate import evaluate_model
from ddp_repro.evaluation.views import (
    View,
    ViewedImage,
    average_views,
    best_class,
    bucketed,
    inference_mode,
    to_image_size,
    view_generator,
    view_image,
    views_of,
)
from ddp_repro.networks.attention.deformable import attention_by
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.settings.recipe import EvalConfig
from ddp_repro.workbook.catalogue import recipe
from tests.evaluation.conftest import tiny_model
from tests.golden_recipe import fill, tagged

pytestmark = pytest.mark.numerics

GOLDEN = Path(__file__).parents[1] / "golden"
SIZE = (70, 110)


@torch.no_grad()
def test_released_multi_scale_and_flip_test():
    """Two scales and mirror images with the regenerated ADE20K Swin-T weights: a second softmax over probabilities."""
    golden = dict(np.load(GOLDEN / "ddp" / "ade_swin_t_tta.npz"))
    model = build_model(recipe("ade20k_swin_t").model).eval()
    fill(model, json.loads((GOLDEN / "manifests" / "ade_swin_t.json").read_text()))
    views, scores = [], []
    for index, ((height, width), flip) in enumerate([(s, f) for s in ((64, 96), (96, 144)) for f in (False, True)]):
        image = tagged("img", (1, 3, height, width))
        noise = tagged(f"noise_aug{index}", (1, 256, height // 4, width // 4))
        output = model.sample(image.flip(-1) if flip else image, steps=3, noise=noise)
        views.append(View(flip=flip))
        scores.append(to_image_size(output, (height, width), SIZE))
    official = average_views(scores, views, are_probabilities=True, view_average="official")
    close(official, golden["aug_prob_sub"], golden["aug_argmax"])
    sound = average_views(scores, views, are_probabilities=True)
    assert sound.sum(1).allclose(torch.ones(1, *SIZE))
    assert sound.std() > 10 * official.std()  # what the second softmax flattens


def close(ours, theirs, classes):
    sub = ours[:, ::10, ::4, ::4].numpy()
    assert np.abs(sub - theirs).max() <= 1e-4 * np.abs(theirs).max()
    assert (ours.argmax(1).numpy() == classes).mean() > 0.999


def test_average_of_logits_and_probabilities_is_the_same():
    torch.manual_seed(0)
    logits, views = [torch.randn(1, 4, 5, 6) for _ in range(4)], views_of(EvalConfig(scales=(1.0, 2.0), flip=True))
    assert views == [View(1.0, False), View(1.0, True), View(2.0, False), View(2.0, True)]
    mean = average_views(logits, views, are_probabilities=False)
    assert mean.allclose(average_views([s.softmax(1) for s in logits], views, are_probabilities=True))
    assert mean.allclose(average_views(logits, views, are_probabilities=False, view_average="official"))
    by_hand = sum(s.softmax(1).flip(-1) if v.flip else s.softmax(1) for s, v in zip(logits, views, strict=True)) / 4
    assert mean.allclose(by_hand)


def views_of_are_made_from_the_original_picture(dataset):
    picture, label = dataset.load(2)
    image = view_image(dataset, 2, [View(), View(0.5), View(1.5, flip=True)])
    assert torch.equal(image.views[0], dataset[2]["image"]) and torch.equal(image.truth, dataset[2]["label"])
    assert image.views[1].shape == (3, *rescaled_size(label.shape, (32, 24)))
    large = resize_image(picture, rescaled_size(label.shape, (96, 72)))[:, ::-1]
    np.testing.assert_array_equal(image.views[2], normalize(large, dataset.mean, dataset.std))


@pytest.mark.parametrize("average_steps", [True, False])
@torch.no_grad()
def test_multi_scale_evaluation_equals_a_plain_loop(dataset, average_steps):
    model = tiny_model(average_steps=average_steps).eval()
    evaluation = EvalConfig(steps=(2,), seeds=(3,), scales=(0.75, 1.0), flip=True, batch_size=2, limit=3)
    result = evaluate_model(model, dataset, evaluation, progress=False)
    agreeing = total = 0
    for index in range(3):
        image = view_image(dataset, index, views_of(evaluation))
        mean = 0
        for number, (view, pixels) in enumerate(zip(views_of(evaluation), image.views, strict=True)):
            output = model.sample(pixels[None], steps=2, generator=[view_generator(3, image.id, number)])
            scores = to_image_size(output, pixels.shape[-2:], image.truth.shape)[0]
            probabilities = scores if average_steps else scores.softmax(0)
            mean = mean + (probabilities.flip(-1) if view.flip else probabilities)
        valid = image.truth != 255
        agreeing += int((mean.argmax(0) == image.truth)[valid].sum())
        total += int(valid.sum())
    tally = result.tallies[2, 3]
    pixels = dict(zip(tally.rows, tally.counts.sum(1).tolist(), strict=True))
    assert pixels["label"] == total and abs(pixels["intersection"] - agreeing) <= 4  # rounding within a batch


def test_noise_differs_between_seeds_images_and_views():
    drawn = [
        torch.randn(3, generator=view_generator(seed, name, view)).tolist()
        for seed in (0, 1)
        for name in ("a", "b")
        for view in (0, 1)
    ]
    assert len(set(map(tuple, drawn))) == 8


def test_resizing_is_bilinear_in_two_steps():
    output = torch.arange(6.0).reshape(1, 1, 2, 3)
    assert torch.equal(to_image_size(output, (2, 3), (2, 3)), output)
    resize = torch.nn.functional.interpolate
    expected = resize(resize(output, (8, 12), mode="bilinear"), (9, 11), mode="bilinear")
    assert torch.equal(to_image_size(output, (8, 12), (9, 11)), expected)


@pytest.mark.parametrize("size", [(20, 24), (33, 31), (11, 7)])
@pytest.mark.parametrize("classes", [1, 16, 40])
def test_best_class_equals_the_whole_argmax(classes: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    scores = torch.randn(classes, 5, 6).round()  # with ties
    whole = to_image_size(scores[None], (20, 24), size)[0]
    value, index = whole.max(0)
    with attention_by("cpu"):
        best = best_class(scores, (20, 24), size)
    assert torch.equal(best[0], value) and torch.equal(best[1], index)
    best = best_class(scores, (20, 24), size)  # compiled: ties may fall otherwise
    torch.testing.assert_close(best[0], value)
    torch.testing.assert_close(whole.gather(0, best[1][None])[0], value)


def test_batches_hold_equal_sizes_and_every_image():
    images = [ViewedImage(str(i), [torch.zeros(3, 4, 4 + i % 7)], torch.zeros(4, 4)) for i in range(50)]
    batches = list(bucketed(images, 4))
    assert all(len({image.shapes for image in batch}) == 1 and len(batch) <= 4 for batch in batches)
    assert sorted(int(image.id) for batch in batches for image in batch) == list(range(50))
    assert [len(batch) for batch in bucketed(images, 1)] == [1] * 50


def test_threads_that_share_a_model_leave_each_other_its_mode():
    """One that was done put the model back into training while another's picture went through it."""
    model, entered, modes = torch.nn.Linear(1, 1).train(), Event(), []

    def first() -> None:
        with inference_mode(model):
            entered.set()
            done.wait(10)
            modes.append((model.training, torch.is_grad_enabled()))

    done, thread = Event(), Thread(target=first)
    with inference_mode(model):
        thread.start()
        assert entered.wait(10)
    done.set()
    thread.join()
    assert modes == [(False, False)] and model.training and torch.is_grad_enabled()
