"""How much the depth of a picture changes when the network is shown it otherwise: mirrored, and in parts.

A model whose prediction hardly depends on its noise has next to no spread over noise, however wrong it is.  What it
says of a place should not depend on which way round it sees the picture, nor on what else is in it; where it does, it
is often wrong.  Parts keep the picture's scale: a resized picture would mean another depth.  Near a border that is not
the picture's, a part counts less and less, so that the spread has no step there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.evaluation.views import model_device, view_generator
from ddp_repro.networks.shapes import shape_of
from ddp_repro.protocols.method import Method

GRID = 32  # pixels; the strides of all encoders divide it
PART = 7 / 8  # of a side, down to the grid
SMALLEST = 2 * GRID  # no part is smaller
RAMP = 1 / 4  # of a part's side, over which it comes to count in full


@dataclass(frozen=True)
class Shown:
    """A picture, shown otherwise.

    Attributes:
        rows, columns: the part that is shown, pixels.
        mirrored: left and right are exchanged.
    """

    rows: slice
    columns: slice
    mirrored: bool = False


@dataclass(frozen=True)
class ViewSpreads:
    """Standard deviations of the depth of the whole picture and of others, (h, w) of the network's input, metres.

    Attributes:
        mirrored: of two: the picture, and its mirror image; parts: of the picture and every part that holds the pixel,
            with weights that fall towards the part's inner borders; all: of all these.
    """

    mirrored: Tensor
    parts: Tensor
    all: Tensor


def other_ways(size: tuple[int, int]) -> list[Shown]:
    """Return the mirror image, and the four parts in the corners of a picture, if it is large enough for parts."""
    sides = [int(side * PART) // GRID * GRID for side in size]
    ways = [Shown(slice(None), slice(None), mirrored=True)]
    if min(sides) < SMALLEST:
        return ways
    spans = [(slice(0, part), slice(side - part, side)) for side, part in zip(size, sides, strict=True)]
    return [*ways, *(Shown(rows, columns) for rows in spans[0] for columns in spans[1])]


def view_spreads(model: Method, image: Tensor, depth: Tensor, image_id: str, *, steps: int, seed: int) -> ViewSpreads:
    """Predict a picture in other ways, and compare.

    Every way has start noise of its own.  The model need not be one of diffusion.

    Args:
        image: what the network is shown, (3, h, w), normalised.
        depth: what it predicts for the whole of it, (1, 1, h', w') in metres.
    """
    whole = _at_size(depth, shape_of(image)).cpu()
    ways = other_ways(shape_of(image))
    others = list(_predictions(model, image, ways, image_id, steps, seed))
    return ViewSpreads(
        mirrored=_spread(whole, zip(ways[:1], others[:1], strict=True)),
        parts=_spread(whole, zip(ways[1:], others[1:], strict=True)),
        all=_spread(whole, zip(ways, others, strict=True)),
    )


def _predictions(
    model: Method, image: Tensor, ways: list[Shown], image_id: str, steps: int, seed: int
) -> Iterator[Tensor]:
    """Yield the depth of every way, upright, of the size that is shown."""
    device = model_device(model)
    for number, way in enumerate(ways, 1):
        part = image[:, way.rows, way.columns]
        features = model.encode({"image": (part.flip(-1) if way.mirrored else part)[None].to(device)})
        options = {"steps": steps, "generator": [view_generator(seed, image_id, number)]} if model.has_noise else {}
        depth = _at_size(model.sample(features=features, **options), shape_of(part)).cpu()
        yield depth.flip(-1) if way.mirrored else depth


def _at_size(depth: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(depth.float(), size, mode="bilinear", align_corners=False)[0, 0]


def _spread(whole: Tensor, others: Iterator[tuple[Shown, Tensor]]) -> Tensor:
    """Return the weighted standard deviation at every pixel over the predictions that there are of it."""
    count, total, squares = torch.ones_like(whole), torch.zeros_like(whole), torch.zeros_like(whole)
    height, width = shape_of(whole)
    for way, depth in others:  # as differences to the whole's, which are small: squares of depths would lose digits
        difference = depth - whole[way.rows, way.columns]
        weight = _weights(way.rows, height)[:, None] * _weights(way.columns, width)
        count[way.rows, way.columns] += weight
        total[way.rows, way.columns] += weight * difference
        squares[way.rows, way.columns] += weight * difference**2
    return (squares / count - (total / count) ** 2).clamp(min=0).sqrt()


def _weights(part: slice, length: int) -> Tensor:
    """Return the weights of a part along a side of the picture: 1, but for ramps at ends that are not the side's."""
    start, stop, _ = part.indices(length)
    ramp = ((torch.arange(stop - start) + 0.5) / (RAMP * (stop - start))).clamp(max=1)
    weights = torch.ones(stop - start)
    if start > 0:
        weights = weights * ramp
    return weights * ramp.flip(0) if stop < length else weights
