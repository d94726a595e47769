from pathlib import Path

import pytest

from ddp_repro.training import TrainResult, train
from tests.training.tiny import tiny_recipe, write_images


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def uninterrupted(images: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """The tiny recipe trained in one go, in one process."""
    return train(tiny_recipe(images), tmp_path_factory.mktemp("uninterrupted"), progress=False)
