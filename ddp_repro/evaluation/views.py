"""Whole-image inference: from the network's small map to class labels or metres at the picture's own size.

The conventions are those of the released evaluation: the map is resized bilinearly to the network's input size, then to
the original size; with several views (scales, mirror images) the views' probabilities are averaged before the argmax,
or their depths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddp_repro.data import transforms
from ddp_repro.data.dataset import PairDataset
from ddp_repro.diffusion import image_generator
from ddp_repro.networks.kernels import bf16
from ddp_repro.networks.kernels import resize as native_resize
from ddp_repro.networks.shapes import shape_of
from ddp_repro.protocols.method import Method
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import EvalConfig, Precision

WAITING_BATCHES = 4  # bounds the memory of datasets with many image sizes
CLASS_CHUNK = 16
_LOCK = Lock()
_EVALUATED: WeakKeyDictionary[nn.Module, tuple[int, bool]] = WeakKeyDictionary()  # how many use it, and its own mode
PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class View:
    """One way of showing an image to the network."""

    scale: float = 1.0  # factor of the dataset's image_scale
    flip: bool = False


def views_of(evaluation: EvalConfig) -> list[View]:
    """Every scale, plain and (with ``flip``) mirrored, in the released order."""
    flips = (False, True) if evaluation.flip else (False,)
    return [View(scale, flip) for scale in evaluation.scales for flip in flips]


@dataclass(frozen=True)
class ViewedImage:
    """An image prepared for the network.

    Attributes:
        id: its name in the dataset.
        views: one float32 (3, h, w) per view; sizes differ between scales.
        truth: (H, W) at the original size: int64 classes, 255 = ignore; float32 metres, 0 = no measurement; opacity;
            or normals, (3, H, W).
    """

    id: str
    views: list[Tensor]
    truth: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """The original (height, width)."""
        return shape_of(self.truth)

    @property
    def input_size(self) -> tuple[int, int]:
        """The (height, width) of the first view."""
        return shape_of(self.views[0])

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """What images must have in common to go through the network together."""
        return tuple(tuple(view.shape) for view in self.views)


def view_image(dataset: PairDataset, index: int, views: Sequence[View]) -> ViewedImage:
    """Read an image and make its views; each is resized from the original picture, as in the released pipeline."""
    picture, truth = dataset.load(index)
    tensors = []
    for view in views:
        # A dataset without image_scale shows its pictures in their own size, which scales then refer to.
        size = transforms.size_of(picture)
        long, short = dataset.data.image_scale or size
        bounds = int(long * view.scale), int(short * view.scale)
        resized = transforms.resize_image(picture, transforms.rescaled_size(size, bounds))
        resized = np.ascontiguousarray(resized[:, ::-1]) if view.flip else resized
        tensors.append(torch.from_numpy(transforms.normalize(resized, dataset.mean, dataset.std)))
    return ViewedImage(dataset.ids[index], tensors, torch.from_numpy(truth))


def view_generator(seed: int, image_id: str, view: int) -> torch.Generator:
    """Seed the noise of an (image, view); the first view has the image's own noise of a single-view test."""
    return image_generator(seed, image_id if view == 0 else f"{image_id}#view{view}")


def to_image_size(output: Tensor, input_size: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Resize (B, K, h, w) bilinearly to the network's input size, then to ``size``; (B, K, *size)."""
    output = F.interpolate(output.float(), input_size, mode="bilinear", align_corners=False)
    if tuple(size) == tuple(input_size):
        return output
    return F.interpolate(output, size, mode="bilinear", align_corners=False)


def best_class(scores: Tensor, input_size: tuple[int, int], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Highest score and its class after :func:`to_image_size`, a few classes at a time.

    The map of all classes at the original size need not fit into memory: a picture of 12 megapixels has 7 GB of it at
    150 classes.

    Args:
        scores: (K, h, w).

    Returns:
        float32 and int64, both ``size``.
    """
    if native_resize.can_run(scores):
        return native_resize.best_class(scores, input_size, size)
    best, classes = to_image_size(scores[None, :CLASS_CHUNK], input_size, size)[0].max(0)
    for first in range(CLASS_CHUNK, len(scores), CLASS_CHUNK):
        value, index = to_image_size(scores[None, first : first + CLASS_CHUNK], input_size, size)[0].max(0)
        higher = value > best
        best, classes = torch.where(higher, value, best), torch.where(higher, index + first, classes)
    return best, classes


def gives_probabilities(model: Method) -> bool:
    """Whether ``model.sample`` returns the mean softmax over steps rather than logits."""
    return model.config.diffusion and model.config.average_steps


def average_views(
    scores: Iterable[Tensor], views: Sequence[View], *, are_probabilities: bool, view_average: str = "probabilities"
) -> Tensor:
    """Mean class probabilities over views.

    Args:
        scores: per view (B, K, H, W) at the original size, as seen (mirrored views still mirrored).
        are_probabilities: the scores are probabilities already.
        view_average: "probabilities" averages probabilities. "official" applies a softmax in any case, as the released
            code does, which flattens scores that are probabilities to about 1/K each.
    """
    total = torch.zeros(())
    for score, view in zip(scores, views, strict=True):
        softmax = view_average == "official" or not are_probabilities
        probabilities = score.softmax(1) if softmax else score
        total = (probabilities.flip(-1) if view.flip else probabilities) + total
    return total / len(views)


def resized(score: Tensor, input_size: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Return a map (h, w), resized to the picture's size (H, W), as numpy array."""
    return to_image_size(score[None, None], input_size, size)[0, 0].cpu().numpy()


class Predictor:
    """Predicts images of equal input sizes for any number of (steps, seed), encoding each view once.

    Args:
        model: DDP or the non-diffusion baseline.
        images: images whose :attr:`ViewedImage.shapes` agree.
        views: the views that the images were prepared with.
        view_average: as in :func:`average_views`.
    """

    def __init__(self, model: Method, images: Sequence[ViewedImage], views: Sequence[View], view_average: str) -> None:
        self.model, self.images, self.views, self.view_average = model, images, views, view_average
        device = model_device(model)
        inputs = [torch.stack([image.views[v] for image in images]) for v in range(len(views))]
        self.input_sizes = [shape_of(batch) for batch in inputs]
        self.features = [model.encode({"image": _moved(batch, device)}) for batch in inputs]

    def predictions(self, steps: int, seed: int | None) -> list[Tensor]:
        """One map (H, W) per image, on the model's device.  ``seed`` is None for the baseline."""
        outputs = [self._sample(view, steps, seed) for view in range(len(self.views))]
        return [self.finish(outputs, index) for index in range(len(self.images))]

    def finish(self, outputs: list[Tensor], index: int) -> Tensor:
        """Return the prediction of one image from each view's output (B, C, h, w)."""
        raise NotImplementedError

    def at_original_size(self, outputs: list[Tensor], index: int) -> Iterator[Tensor]:
        """Each view's output of one image, (1, C, H, W); one at a time, since a batch of them may not fit in memory."""
        size = self.images[index].size
        for output, input_size in zip(outputs, self.input_sizes, strict=True):
            yield to_image_size(output[index : index + 1], input_size, size)

    def _sample(self, view: int, steps: int, seed: int | None) -> Tensor:
        options: dict[str, Any] = {"steps": steps} if self.model.has_steps else {}
        if self.model.has_noise:
            assert seed is not None  # as run_keys has it
            options["generator"] = [view_generator(seed, image.id, view) for image in self.images]
        output = self.model.sample(features=self.features[view], **options)
        refuse_not_finite(output, self.images)
        return output


def refuse_not_finite(output: Tensor, images: Sequence[ViewedImage]) -> None:
    """Refuse to make predictions of numbers that are none, as where half precision overflows.

    Raises:
        RuntimeError: names the images.
    """
    if not output.isfinite().all():
        names = ", ".join(image.id for image in images)
        raise RuntimeError(
            f"the model's output is not finite for image {names}; check its weights, or where it is fp16 take bf16"
        )


def _moved(batch: Tensor, device: torch.device) -> Tensor:
    """On ``device``; a GPU goes on computing while it is copied there."""
    return batch.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else batch.to(device)


def model_device(model: nn.Module) -> torch.device:
    """Where the model's weights are."""
    return next(chain(model.parameters(), model.buffers())).device


@contextmanager
def inference_mode(model: nn.Module, precision: Precision = "float32") -> Iterator[None]:
    """Hold a model in evaluation mode, without gradients; the model's own mode is restored afterwards.

    Threads may share the model: its mode is restored when the last of them is done.

    Args:
        precision: of the network; sampling and everything after it keep float32.  A CPU without bf16 products gives
            a warning for bf16.

    Raises:
        ConfigError: fp16 on a CPU.
    """
    device = model_device(model).type
    if precision == "fp16" and device == "cpu":
        raise ConfigError("precision fp16 needs a GPU; use float32 or bf16 on the CPU")
    if precision == "bf16" and device == "cpu":
        bf16.warn_where_slow()
    dtype = PRECISIONS[precision]
    with _LOCK:
        users, training = _EVALUATED.get(model, (0, model.training))
        _EVALUATED[model] = users + 1, training
        model.eval()
    try:
        with torch.no_grad(), torch.autocast(device, dtype, enabled=dtype is not torch.float32):
            yield
    finally:
        with _LOCK:
            users, training = _EVALUATED.pop(model)
            if users > 1:
                _EVALUATED[model] = users - 1, training
            else:
                model.train(training)


def bucketed(images: Iterable[ViewedImage], batch_size: int) -> Iterator[list[ViewedImage]]:
    """Group images of equal input sizes into batches of at most ``batch_size``; few images wait at any time."""
    waiting: dict[tuple, list[ViewedImage]] = {}
    for image in images:
        batch = waiting.setdefault(image.shapes, [])
        batch.append(image)
        crowded = sum(map(len, waiting.values())) > WAITING_BATCHES * batch_size
        if len(batch) == batch_size or crowded:
            yield waiting.pop(max(waiting, key=lambda shapes: len(waiting[shapes])))
    yield from waiting.values()
