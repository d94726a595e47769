"""What a training starts from: from scratch, a backbone's weights, a whole checkpoint, or several sources."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from torch import nn

from ddp_repro.interop.checkpoints import load_checkpoint, load_part
from ddp_repro.interop.partial import WHOLE_MODEL, weights_sha256
from ddp_repro.networks.backbones import Backbone, load_backbone_weights
from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.settings.recipe import TrainConfig
from ddp_repro.settings.sources import weight_sources
from ddp_repro.training.state import TrainingState


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
        load_backbone_weights(cast(Backbone, model.backbone), config.backbone_weights)
    for source in sources:
        load_part(model, source.part, Path(source.place))


def restore_weights(model: nn.Module, state: TrainingState, config: TrainConfig, path: Path) -> None:
    """Fill the model with a state's weights, and with those of the sources what the state leaves out.

    Raises:
        CheckpointError: a source is not what it was, or the state in ``path`` is not of this model.
    """
    if state.sources:
        now = initial_identities(config)
        if changed := [part for part, identity in state.sources.items() if now.get(part) != identity]:
            raise CheckpointError(
                f"{path} leaves out what came from other files; of {', '.join(changed)} they hold other weights now or "
                "are missing: put them back, or train with resume=False to start again"
            )
        load_initial_weights(model, config)
    model.load_state_dict({**model.state_dict(), **state.model} if state.sources else state.model)


def initial_files(config: TrainConfig) -> dict[str, Path]:
    """Return the files that a training starts from by the part that they fill, the backbone's ImageNet weights apart.

    What a recipe's name stands for must have been put in its place.
    """
    whole = {WHOLE_MODEL: Path(config.initialize_from)} if config.initialize_from else {}
    return whole | {source.part: Path(source.place) for source in weight_sources(config.weights)}


def initial_identities(config: TrainConfig) -> dict[str, str]:
    """Return the hash of the tensors in each of the :func:`initial_files`; ``missing`` where there is no such file.

    Raises:
        CheckpointError: a file cannot be read.
    """
    return {part: weights_sha256(path) if path.is_file() else "missing"
            for part, path in initial_files(config).items()}  # fmt: skip
