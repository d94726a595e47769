"""What every method must pass; a method's test class inherits the suites that apply and gives a small model.

Where a test cannot apply, the class says why in place of it.
"""

from __future__ import annotations

import copy
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ddp_repro.interop.checkpoints import load_checkpoint
from ddp_repro.interop.weight_files import save_weights
from ddp_repro.protocols.method import check_method
from ddp_repro.settings.overrides import override
from ddp_repro.settings.recipe import Recipe
from tests.training.processes import exit_codes, start_recipe

Batch = dict[str, Any]


class InferenceSuite:
    """Predictions.

    Attributes:
        sizes: heights and widths of pictures.
        tolerance: of a prediction computed in another batch, relative to its largest value.
    """

    sizes: ClassVar[Sequence[tuple[int, int]]] = ((32, 48), (33, 47), (64, 40))
    tolerance: ClassVar[float] = 1e-4

    def model(self) -> nn.Module:
        """Return a small model in evaluation mode, always of the same weights, in which noise matters."""
        raise NotImplementedError

    def batch(self, count: int, size: tuple[int, int]) -> Batch:
        """Return made-up inputs and truth; the first of many are those of few."""
        raise NotImplementedError

    def part(self, batch: Batch, index: int) -> Batch:
        """Return one sample of a batch."""
        return {name: value[index : index + 1] for name, value in batch.items()}

    def encode(self, model: nn.Module, batch: Batch) -> Any:
        return model.encode(batch)

    def map_size(self, model: nn.Module, size: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of the prediction for a picture."""
        return -(-size[0] // model.stride), -(-size[1] // model.stride)

    def predict(self, model: nn.Module, batch: Batch, seeds: Sequence[int], steps: int = 2) -> Tensor:
        options: dict[str, Any] = {"steps": steps} if model.has_steps else {}
        if model.has_noise:
            options["generator"] = [torch.Generator().manual_seed(seed) for seed in seeds]
        with torch.no_grad():
            return model.sample(features=self.encode(model, batch), **options)

    def assert_close(self, one: Tensor, two: Tensor) -> None:
        assert one.shape == two.shape
        assert (one - two).abs().max() <= self.tolerance * two.abs().max()

    def test_it_has_all_parts(self) -> None:
        check_method(self.model(), "evaluation")

    def test_a_batch_gives_what_its_images_give(self) -> None:
        model, batch = self.model(), self.batch(3, self.sizes[0])
        together = self.predict(model, batch, seeds=(5, 6, 7))
        assert together.isfinite().all()
        for index in range(3):
            alone = self.predict(model, self.part(batch, index), seeds=(5 + index,))
            self.assert_close(together[index : index + 1], alone)

    def test_images_and_seeds_matter(self) -> None:
        model, batch = self.model(), self.batch(2, self.sizes[0])
        one, two = (self.predict(model, batch, seeds=(seed, seed)) for seed in (1, 2))
        assert torch.equal(one, self.predict(model, batch, seeds=(1, 1)))
        assert torch.equal(one, two) != model.has_noise
        assert not torch.equal(one[0], one[1])

    def test_any_size(self) -> None:
        model = self.model()
        for size in self.sizes:
            prediction = self.predict(model, self.batch(1, size), seeds=(1,))
            assert prediction.isfinite().all()
            assert tuple(prediction.shape[-2:]) == self.map_size(model, size)

    def test_saved_and_loaded_it_predicts_the_same(self, tmp_path: Path) -> None:
        model, batch = self.model(), self.batch(1, self.sizes[0])
        expected = self.predict(model, batch, seeds=(1,))
        save_weights(model, tmp_path / "model.safetensors")
        other = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.add_(0.1)
        assert not torch.equal(self.predict(other, batch, seeds=(1,)), expected)
        report = load_checkpoint(other, tmp_path / "model.safetensors")
        assert set(report.used) == model.state_dict().keys()
        assert torch.equal(self.predict(other, batch, seeds=(1,)), expected)

    def test_without_computing_it_has_the_same_shapes(self) -> None:
        model, batch = self.model(), self.batch(2, self.sizes[1])
        expected = self.predict(model, batch, seeds=(1, 2)).shape
        there = {name: value.to("meta") if isinstance(value, Tensor) else value for name, value in batch.items()}
        assert self.predict(model.to("meta"), there, seeds=(1, 2)).shape == expected


class TrainingSuite(InferenceSuite):
    """Losses and gradients."""

    def test_it_can_be_trained(self) -> None:
        check_method(self.model(), "training")

    def test_gradients_reach_all_trainable_parameters(self) -> None:
        torch.manual_seed(0)
        model = self.model().train()
        loss = model.training_loss(self.batch(2, self.sizes[0]))
        assert loss["loss"].dim() == 0 and loss["loss"].isfinite()
        assert not any(value.requires_grad for name, value in loss.items() if name != "loss")
        loss["loss"].backward()
        without = [name for name, each in model.named_parameters() if each.requires_grad and each.grad is None]
        assert without == []  # DistributedDataParallel would wait for them
        assert all(each.grad.isfinite().all() for each in model.parameters() if each.grad is not None)
        assert all(each.grad is None for each in model.parameters() if not each.requires_grad)

    @pytest.mark.slow
    def test_the_loss_falls_on_one_batch(self) -> None:
        torch.manual_seed(0)
        model, batch = self.model().train(), self.batch(2, self.sizes[0])
        trained = [each for each in model.parameters() if each.requires_grad]
        optimizer, losses = torch.optim.AdamW(trained, lr=1e-3), []
        for _ in range(20):
            optimizer.zero_grad()
            loss = model.training_loss(batch)["loss"]
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


class RecipeSuite(TrainingSuite):
    """Trainings from beginning to end, in processes of their own."""

    prepare: ClassVar[Callable[[], None] | None] = None
    """What such a process does first."""

    def recipe(self, folder: Path) -> Recipe:
        """Return a recipe of 6 iterations of 2 micro-batches, saved every 2, with data in ``folder``."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    def trained(self, tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path]:
        """The recipe, and the weights of one process that was not disturbed."""
        folder = tmp_path_factory.mktemp("method")
        recipe = self.recipe(folder)
        assert exit_codes(start_recipe(recipe, folder / "run", prepare=type(self).prepare)) == [0]
        return recipe, folder / "run" / "model.safetensors"

    @pytest.mark.slow
    def test_killed_and_resumed_it_gives_the_same_weights(self, trained: tuple[Recipe, Path], tmp_path: Path) -> None:
        recipe, expected = trained
        options = {"prepare": type(self).prepare}
        killed = start_recipe(recipe, tmp_path, kill_at="iteration-000000004.pt", **options)
        assert exit_codes(killed) == [-signal.SIGKILL]
        assert exit_codes(start_recipe(recipe, tmp_path, **options)) == [0]
        one, two = load_file(expected), load_file(tmp_path / "model.safetensors")
        assert one.keys() == two.keys() and all(torch.equal(one[name], value) for name, value in two.items())

    @pytest.mark.slow
    def test_two_processes_train_like_one(self, trained: tuple[Recipe, Path], tmp_path: Path) -> None:
        """As alike as a training whose learning rate differs by one part in a thousand, or more."""
        recipe, expected = trained
        assert exit_codes(start_recipe(recipe, tmp_path / "two", count=2, prepare=type(self).prepare)) == [0, 0]
        other = override(recipe, {"train.learning_rate": recipe.train.learning_rate * 1.001})
        assert exit_codes(start_recipe(other, tmp_path / "other", prepare=type(self).prepare)) == [0]
        one = load_file(expected)
        two, tolerated = (_distance(one, tmp_path / name / "model.safetensors") for name in ("two", "other"))
        assert two <= tolerated, (two, tolerated)

    @pytest.mark.slow
    def test_it_starts_from_its_own_checkpoint(self, trained: tuple[Recipe, Path], tmp_path: Path) -> None:
        """A rate of almost nothing leaves the weights where they were."""
        recipe, expected = trained
        second = override(recipe, {
            "train.initialize_from": str(expected), "train.backbone_weights": None, "train.iterations": 1,
            "train.learning_rate": 1e-12, "train.weight_decay": 0.0, "train.warmup_iterations": 0,
        })  # fmt: skip
        assert exit_codes(start_recipe(second, tmp_path, prepare=type(self).prepare)) == [0]
        one, two = load_file(expected), load_file(tmp_path / "model.safetensors")
        names = dict(recipe.model.build().named_parameters())
        assert all(torch.allclose(one[name], two[name], rtol=0, atol=1e-9) for name in names)


def _distance(weights: dict[str, Tensor], path: Path) -> float:
    """Norm of the difference of all floating tensors."""
    other = load_file(path)
    differences = [(other[name] - value).double() for name, value in weights.items() if value.is_floating_point()]
    return float(torch.stack([each.square().sum() for each in differences]).sum().sqrt())
