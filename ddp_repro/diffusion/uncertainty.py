"""Uncertainty maps of an iterative model, 0 = certain; those of class maps are in [0, 1], that of depth in metres.

The paper's map (Figure 3c) counts how often a pixel's label changes over the denoising steps; the released code has no
such function.  Beside it stand the measures that one would otherwise use: the entropy of the averaged prediction, and
the spread over several draws of the start noise.
"""

from __future__ import annotations

import math

from torch import Tensor


def change_count(predictions: Tensor) -> Tensor:
    """Label changes between consecutive steps, as a fraction of the S - 1 possible ones (Figure 3c).

    Args:
        predictions: class of every step, integer (S, B, h, w).

    Returns:
        float (B, h, w) in [0, 1]; 0 everywhere for a single step.
    """
    changes = (predictions[1:] != predictions[:-1]).sum(0).float()
    return changes / max(len(predictions) - 1, 1)


def predictive_entropy(probabilities: Tensor) -> Tensor:
    """Entropy of the mean class probabilities over steps (or noise samples), divided by log K.

    Args:
        probabilities: (S, B, K, h, w), sum 1 over K.

    Returns:
        (B, h, w) in [0, 1].

    Raises:
        ValueError: a single class, which leaves nothing to be uncertain of.
    """
    classes = probabilities.shape[2]
    if classes < 2:
        raise ValueError("the entropy needs at least two classes")
    mean = probabilities.mean(0)
    return (-mean.xlogy(mean).sum(1) / math.log(classes)).clamp(0, 1)  # rounding may leave the interval


def sample_variance(probabilities: Tensor) -> Tensor:
    """Variance of the class probabilities over noise samples, summed over classes.

    It is at most 1 - 1/K, reached when the samples are sure of different classes.

    Args:
        probabilities: (N, B, K, h, w), one per noise sample.

    Returns:
        (B, h, w) in [0, 1); 0 for a single sample.
    """
    return probabilities.var(0, correction=0).sum(1)


def disagreement(predictions: Tensor) -> Tensor:
    """Fraction of noise samples whose label is not the most frequent one.

    Args:
        predictions: class of every noise sample, integer (N, B, h, w).

    Returns:
        float (B, h, w) in [0, 1); 0 for a single sample.
    """
    most_frequent = predictions.mode(0).values
    return (predictions != most_frequent).float().mean(0)


def depth_spread(depths: Tensor) -> Tensor:
    """Return the standard deviation of the depth over steps, or over noise samples.

    Args:
        depths: metres, (S, B, 1, h, w).

    Returns:
        (B, h, w) in metres; 0 for a single one.
    """
    return depths.std(0, correction=0)[:, 0]
