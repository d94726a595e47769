"""Predicting classes: at evaluation, and of a picture of one's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ddp_repro.diffusion.uncertainty import change_count, predictive_entropy
from ddp_repro.evaluation.sampling import sampling_runs
from ddp_repro.evaluation.views import Predictor, ViewedImage, average_views, best_class, gives_probabilities, resized
from ddp_repro.protocols.method import Method


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What :func:`predict` returns of a segmentation model, as numpy arrays.

    Attributes:
        labels: int64 (H, W), class of every pixel of the picture.
        uncertainty: float32 (H, W) in [0, 1]: the paper's change count (Figure 3c), or the entropy where there are no
            steps to compare (a single step, the non-diffusion baseline).
        uncertainty_score: which of the two it is, "change_count" or "entropy".
        entropy: float32 (H, W) in [0, 1], normalised entropy of the averaged prediction.
        probabilities: float32 (K, h, w), averaged over steps and noise samples, at the decoder's resolution (a quarter
            of the network's input: at the picture's own size, many classes would fill the memory).
    """

    labels: np.ndarray
    uncertainty: np.ndarray
    uncertainty_score: str
    entropy: np.ndarray
    probabilities: np.ndarray


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


def segment(model: Method, image: ViewedImage, steps: int, noise_samples: int, seed: int) -> Prediction:
    """Return the classes of a prepared picture and their uncertainty."""
    input_size, size = image.input_size, image.size
    changes, average, score = _average_runs(model, image, steps, noise_samples, seed)
    counted = model.config.diffusion and steps > 1
    entropy = resized(predictive_entropy(average[None, None])[0], input_size, size)
    return Prediction(
        labels=best_class(score, input_size, size)[1].cpu().numpy(),
        uncertainty=resized(changes, input_size, size) if counted else entropy,
        uncertainty_score="change_count" if counted else "entropy",
        entropy=entropy,
        probabilities=average.cpu().numpy(),
    )


def _average_runs(
    model: Method, image: ViewedImage, steps: int, noise_samples: int, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Means over noise samples: change count (h, w), step-averaged softmax (K, h, w), score of the labels (K, h, w)."""
    changes, averages, outputs = [], [], []
    for run in sampling_runs(model, image, steps, noise_samples, seed):
        changes.append(change_count(run.predictions)[0])
        averages.append(run.probabilities.mean(0)[0])
        outputs.append(run.output[0])
    if len(outputs) > 1 and not gives_probabilities(model):
        outputs = [output.softmax(0) for output in outputs]
    return torch.stack(changes).mean(0), torch.stack(averages).mean(0), torch.stack(outputs).mean(0)
