"""Parts of a model that training leaves as they are."""

from __future__ import annotations

from torch import nn

from ddp_repro.interop.checkpoints import module_named
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import TrainConfig


def frozen_modules(model: nn.Module, config: TrainConfig) -> list[nn.Module]:
    """Return the modules that ``train.frozen`` names.

    Raises:
        ConfigError: a name is no module of the model.
    """
    return [module_named(model, name) for name in config.frozen or ()]


def check_frozen(model: nn.Module, config: TrainConfig) -> None:
    """Refuse frozen parts that do not exist, and a model with nothing left to train.

    Raises:
        ConfigError: says which part, or that all parameters are frozen.
    """
    frozen = {parameter for module in frozen_modules(model, config) for parameter in module.parameters()}
    if all(parameter in frozen or not parameter.requires_grad for parameter in model.parameters()):
        asked = f" by train.frozen={','.join(config.frozen)}" if config.frozen else ""
        raise ConfigError(f"nothing is left to train: all parameters of the {type(model).__name__} are frozen{asked}")


def freeze(model: nn.Module, config: TrainConfig) -> None:
    """Switch the gradients of the frozen parts off; the optimiser then leaves them out.

    Raises:
        ConfigError: as :func:`check_frozen`.
    """
    check_frozen(model, config)
    for module in frozen_modules(model, config):
        module.requires_grad_(False)


def set_training_mode(model: nn.Module, config: TrainConfig) -> None:
    """Put the model into training mode, but for the frozen parts if they are to be in evaluation mode.

    In evaluation mode there is no dropout, and running statistics stay as they are.
    """
    model.train()
    if config.frozen_mode == "evaluation":
        for module in frozen_modules(model, config):
            module.eval()
