"""What a training starts from: from scratch, a backbone's weights, a whole checkpoint, or several sources."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ddp_repro.interop.checkpoints import load_checkpoint, load_part, read_state_dict
from ddp_repro.networks.backbones import load_backbone_weights
from ddp_repro.networks.identity import weights_hash
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import TrainConfig
from ddp_repro.settings.sources import weight_sources

WHOLE_MODEL = "model"  # what ``train.initialize_from`` is a source of


def load_initial_weights(model: nn.Module, config: TrainConfig) -> None:
    """Fill the model with the weights that its training starts from, if it does not start from scratch.

    ``train.initialize_from`` fills all of it; otherwise ``train.weights`` fills the parts that it names, and
    ``train.backbone_weights`` the backbone, unless that has a source of its own.

    Raises:
        ConfigError: there are no such weights for this backbone, or the model lacks a part.
        CheckpointError: unreadable weights, or such as do not fit.
        FileNotFoundError: there is no such file.
    """
    if config.initialize_from is not None:
        load_checkpoint(model, Path(config.initialize_from))
        return
    sources = weight_sources(config.weights)
    if config.backbone_weights is not None and not any(source.part == "backbone" for source in sources):
        if not hasattr(model, "backbone"):
            kind, weights = type(model).__name__, config.backbone_weights
            raise ConfigError(f"train.backbone_weights={weights}: a {kind} has no backbone; set it to none")
        load_backbone_weights(model.backbone, config.backbone_weights)
    for source in sources:
        load_part(model, source.part, Path(source.place))


def initial_files(config: TrainConfig) -> dict[str, str]:
    """Return the files that a training starts from by the part that they fill, the backbone's ImageNet weights apart.

    What a recipe's name stands for must have been put in its place.
    """
    whole = {WHOLE_MODEL: config.initialize_from} if config.initialize_from else {}
    return whole | {source.part: source.place for source in weight_sources(config.weights)}


def initial_identities(config: TrainConfig) -> dict[str, str]:
    """Return the hash of the tensors in each of the :func:`initial_files`; ``missing`` where there is no such file.

    Raises:
        CheckpointError: a file cannot be read.
    """
    files = {part: Path(place) for part, place in initial_files(config).items()}
    return {part: weights_hash(read_state_dict(path)[0]) if path.is_file() else "missing"
            for part, path in files.items()}  # fmt: skip
