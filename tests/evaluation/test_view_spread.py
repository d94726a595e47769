"""How much a depth changes with the view: against a plain loop, and on models of which the answer is known."""

import numpy as np
import pytest
import torch

from ddp_repro.diffusion import image_generator
from ddp_repro.evaluation.predict import predict
from ddp_repro.evaluation.views import inference_mode, to_image_size
from ddp_repro.tasks.depth.view_spread import other_ways, view_spreads
from tests.evaluation.tiny_depth import tiny_depth_model

PICTURE = np.random.default_rng(0).integers(0, 256, (96, 128, 3)).astype(np.uint8)


class OfColumns:
    """A model that says of every pixel something that the test chooses; its output has the picture's size."""

    has_noise = False

    def __init__(self, depth):
        self.depth, self.shown = depth, []

    def buffers(self):
        return iter([torch.zeros(1)])

    parameters = buffers

    def encode(self, batch):
        self.shown.append(batch["image"])
        return batch["image"]

    def sample(self, *, features):
        return self.depth(features)


def spreads(depth, size=(96, 128)):
    model, image = OfColumns(depth), torch.rand(3, *size)
    return view_spreads(model, image, depth(image[None]), "a", steps=1, seed=0), model, image


def test_a_large_picture_is_shown_in_five_other_ways():
    ways = other_ways((96, 128))
    assert [way.mirrored for way in ways] == [True, False, False, False, False]
    shown = torch.zeros(96, 128)
    for way in ways[1:]:
        shown[way.rows, way.columns] += 1
        assert shown[way.rows, way.columns].shape == (64, 96)  # seven eighths, down to the grid of 32
    assert shown.min() == 1 and shown[48, 64] == 4  # every pixel is in a part, the middle in all


@pytest.mark.parametrize("size", [(64, 128), (128, 70), (8, 8)])
def test_a_small_picture_has_no_parts(size):
    assert [way.mirrored for way in other_ways(size)] == [True]
    found, _, _ = spreads(lambda image: image.mean(1, keepdim=True), size)
    assert found.parts.max() == 0
    assert torch.equal(found.mirrored, found.all)


def test_what_every_pixel_says_for_itself_has_no_spread():
    found, model, image = spreads(lambda image: 1 + image[:, :1])
    for spread in (found.mirrored, found.parts, found.all):
        assert spread.shape == image.shape[1:]
        assert spread.max() < 1e-6
    assert torch.equal(model.shown[0], image.flip(-1)[None])


def test_what_depends_on_the_side_shows_in_the_mirror_alone():
    """Left is 1 m, right is 3 m, in whatever part: mirrored they change places, and differ by 1 m from their mean."""

    def depth(image):
        columns = torch.linspace(0, 1, image.shape[-1]) > 0.5
        return (1 + 2.0 * columns).expand(1, 1, *image.shape[-2:])

    found, _, _ = spreads(depth)
    assert found.mirrored[:, :60].mean() == pytest.approx(1.0)
    assert found.parts[:, :10].max() == 0  # left in all parts that hold it


@torch.no_grad()
def test_equals_a_plain_loop():
    model, image = tiny_depth_model().eval(), torch.rand(3, 96, 128)
    depth = model.sample(image[None], 2, generator=torch.Generator().manual_seed(0))
    with inference_mode(model):
        found = view_spreads(model, image, depth, "a", steps=2, seed=0)
    whole = to_image_size(depth, (96, 128), (96, 128))[0, 0]
    seen_at = [[[(1.0, float(depth))] for depth in row] for row in whole]
    for number, way in enumerate(other_ways((96, 128)), 1):
        part = image[:, way.rows, way.columns]
        part = part.flip(-1) if way.mirrored else part
        seen = model.sample(part[None], 2, generator=image_generator(0, f"a#view{number}"))
        seen = to_image_size(seen, part.shape[1:], part.shape[1:])[0, 0]
        seen = seen.flip(-1) if way.mirrored else seen
        rows, columns = range(*way.rows.indices(96)), range(*way.columns.indices(128))
        for y, row in enumerate(rows):
            for x, column in enumerate(columns):
                weight = weight_at(y, rows, 96) * weight_at(x, columns, 128)
                seen_at[row][column].append((weight, float(seen[y, x])))
    expected = np.zeros((96, 128))
    for row in range(96):
        for column in range(128):
            weights, values = np.array(seen_at[row][column]).T
            mean = np.average(values, weights=weights)
            expected[row, column] = np.sqrt(np.average((values - mean) ** 2, weights=weights))
    np.testing.assert_allclose(found.all.numpy(), expected, atol=1e-4)


def weight_at(place, part, length):
    """Of a pixel in a part: rising over a quarter of its side from every border that is not the picture's."""
    weight = 1.0
    if part.start > 0:
        weight *= min((place + 0.5) / (len(part) / 4), 1)
    if part.stop < length:
        weight *= min((len(part) - place - 0.5) / (len(part) / 4), 1)
    return weight


def test_the_spread_has_no_step_at_the_border_of_a_part():
    """Parts that say 3, 6, 9 and 12 m of a picture of 2 m: counted in full up to their borders, steps are 2.6."""
    said = iter([2.0, 2.0, 3.0, 6.0, 9.0, 12.0])  # the whole, its mirror image, the parts
    found, _, _ = spreads(lambda image: torch.full((1, 1, *image.shape[-2:]), next(said)), (192, 256))
    assert found.parts.max() > 2
    for axis in (0, 1):
        assert found.parts.diff(dim=axis).abs().max() < 1


@pytest.mark.parametrize("settings", [{}, {"diffusion": False}])
def test_a_prediction_shows_its_spread_over_views(settings):
    model = tiny_depth_model(**settings)
    shown = predict(model, PICTURE)
    assert shown.uncertainty_score == "view_spread"
    assert shown.uncertainty is shown.view_spread and shown.uncertainty.shape == (96, 128)
    assert shown.uncertainty.max() > 0
    again = predict(model, PICTURE)
    np.testing.assert_array_equal(again.uncertainty, shown.uncertainty)
    np.testing.assert_array_equal(again.depth, shown.depth)


def test_windows_have_no_spread_over_views():
    shown = predict(tiny_depth_model(), PICTURE, window=(64, 64))
    assert shown.view_spread is None
    assert shown.uncertainty_score == "step_spread"


def test_stages_are_told_of_the_picture_alone():
    stages = []
    shown = predict(tiny_depth_model(), PICTURE, steps=2, on_stage=stages.append)
    assert [stage.name for stage in stages] == ["encoder", "step 1", "step 2"]
    assert stages[-1].prediction.view_spread is None
    assert shown.uncertainty_score == "view_spread"
