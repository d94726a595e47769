"""The model of a recipe's settings: the prior on the segmentor that they name."""

from ddp_repro.papers.ddps.model import DDPS
from ddp_repro.papers.ddps.segmentors import build_segmentor
from ddp_repro.papers.ddps.settings import DDPSConfig


def build_model(config: DDPSConfig) -> DDPS:
    """Build the model that ``config`` describes, with initial weights.

    Raises:
        ConfigError: no such segmentor, or one of another number of classes or stride.
    """
    return DDPS(config, build_segmentor(config.segmentor, config.num_classes))
