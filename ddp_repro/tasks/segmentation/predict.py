"""Predicting classes: at evaluation, and of a picture of one's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddp_repro.diffusion.trajectory import Trajectory
from ddp_repro.diffusion.uncertainty import change_count, disagreement, predictive_entropy
from ddp_repro.evaluation.views import Predictor, ViewedImage, average_views, best_class, gives_probabilities, resized
from ddp_repro.protocols.method import Method


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What :func:`predict` returns of a segmentation model, as numpy arrays.

    Attributes:
        labels: int64 (H, W), class of every pixel of the picture.
        uncertainty: float32 (H, W) in [0, 1]: normalised entropy of the averaged prediction, which finds errors best.
        uncertainty_score: "entropy".
        change_count: float32 (H, W) in [0, 1], the paper's map (Figure 3c): how often the label changes between steps;
            None where there are none to compare (a single step, the non-diffusion baseline).
        probabilities: float32 (K, h, w), averaged over steps and noise samples, at the decoder's resolution (a quarter
            of the network's input: at the picture's own size, many classes would fill the memory); None of a picture
            that was predicted by windows.
        disagreement: float32 (H, W) in [0, 1), the share of noise samples whose class is not the most frequent; None of
            a single sample.
        base: int64 (H, W), what the model refines: the classes that its segmentor gives by itself; None of a model that
            refines nothing.
    """

    labels: np.ndarray
    uncertainty: np.ndarray
    uncertainty_score: str
    change_count: np.ndarray | None
    probabilities: np.ndarray | None
    disagreement: np.ndarray | None = None
    base: np.ndarray | None = None

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Return the maps by the name of their files; the first is what is shown."""
        labels = self.labels.astype(np.uint8 if self.labels.max() < 256 else np.uint16)
        maps = {"uncertainty": self.uncertainty, "change_count": self.change_count}
        return {"labels": labels} | {name: m.astype(np.float32) for name, m in maps.items() if m is not None}

    def preview(self) -> np.ndarray:
        """Return the classes in colours that tell twenty apart, uint8 (H, W, 3)."""
        import matplotlib

        return matplotlib.colormaps["tab20"](self.labels % 20, bytes=True)[..., :3]

    def facts(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Return what the manifest says of the map: the share of every class that occurs, the largest first."""
        shares = np.bincount(self.labels.ravel(), minlength=len(class_names)) / self.labels.size
        order = [int(index) for index in np.argsort(-shares, kind="stable") if shares[index]]
        return {"classes": {class_names[index]: round(float(shares[index]), 6) for index in order}}


class Segmenter(Predictor):
    """Predicts classes, int64."""

    def finish(self, outputs: list[Tensor], index: int) -> Tensor:
        """Return the label map of an image from its views' averaged probabilities, int64 (H, W)."""
        if len(self.views) == 1:
            size = self.images[index].size
            return best_class(outputs[0][index], self.input_sizes[0], size)[1]  # a softmax would not change the argmax
        scores, probabilities = self.at_original_size(outputs, index), gives_probabilities(self.model)
        mean = average_views(scores, self.views, are_probabilities=probabilities, view_average=self.view_average)
        return mean[0].argmax(0)


def segment(model: Method, image: ViewedImage, runs: Iterable[Trajectory]) -> Prediction:
    """Return the classes of a prepared picture and their uncertainty, from its sampling runs.

    A pixel has one of the data set's classes, also where the model could say "unlabelled".
    """
    input_size, size = image.input_size, image.size
    said = _Runs.of(model, runs)

    def labels(scores: Tensor) -> np.ndarray:
        return best_class(scores[: model.config.num_classes], input_size, size)[1].cpu().numpy()

    return Prediction(
        labels=labels(said.score),
        uncertainty=resized(predictive_entropy(said.average[None, None])[0], input_size, size),
        uncertainty_score="entropy",
        change_count=resized(said.changes, input_size, size) if said.steps > 1 else None,
        probabilities=said.average.cpu().numpy(),
        disagreement=None if said.disagreement is None else resized(said.disagreement, input_size, size),
        base=None if said.base is None else labels(said.base),
    )


@dataclass(frozen=True)
class _Runs:
    """What sampling runs from different noise say together.

    Attributes:
        steps: of each of them.
        changes: mean change count (h, w).
        average: mean softmax over steps and samples (K, h, w).
        score: of the labels (K, h, w).
        disagreement: of the samples' labels (h, w); None of a single one.
        base: logits (C, h, w) of what the model refines, if it does.
    """

    steps: int
    changes: Tensor
    average: Tensor
    score: Tensor
    disagreement: Tensor | None
    base: Tensor | None

    @classmethod
    def of(cls, model: Method, runs: Iterable[Trajectory]) -> _Runs:
        steps, changes, averages, outputs, base = 1, [], [], [], None
        for run in runs:
            steps = len(run.decoded)
            changes.append(change_count(run.predictions)[0])
            averages.append(run.probabilities.mean(0)[0])
            outputs.append(run.output[0])
            base = getattr(run, "base", None)
        several = len(outputs) > 1
        labels = [output.argmax(0) for output in outputs]
        if several and not gives_probabilities(model):
            outputs = [output.softmax(0) for output in outputs]
        changed, average, score = (torch.stack(maps).mean(0) for maps in (changes, averages, outputs))
        spread = disagreement(torch.stack(labels)[:, None])[0] if several else None
        return cls(steps, changed, average, score, spread, None if base is None else base[0])
