"""Three stages through the project's trainer: what each takes over, what stays frozen, resuming, several processes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from data_prep.mini import write_mini
from ddp_repro.interop.checkpoints import load_checkpoint
from ddp_repro.interop.weight_files import read_state_dict
from ddp_repro.settings.errors import CheckpointError, ConfigError
from ddp_repro.settings.recipe import Recipe
from ddp_repro.training.step import Step
from ddp_repro.workbook.catalogue import recipe
from ddp_repro.workbook.runs import run

from .trainings import in_processes, tiny

BASE, SINGLE, MULTI = "ddps_cityscapes_mini_segmentor", "ddps_cityscapes_mini_single", "ddps_cityscapes_mini"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures") / "cityscapes"
    write_mini("cityscapes", root, train=6, val=3, size=(64, 128))
    return root


@pytest.fixture(scope="module")
def stages(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of results with all three stages trained, the last by the workbook's ``train``."""
    output = tmp_path_factory.mktemp("results")
    for name in (BASE, SINGLE, MULTI):
        run.train(tiny(name, pictures), output=output, progress=False)
    return output


def weights(output: Path, name: str) -> dict[str, Tensor]:
    return load_file(output / "mini" / "runs" / name / "model.safetensors")


def resolved(settings: Recipe, output: Path) -> Recipe:
    """The recipe with the files of the first stages, as the workbook hands it to the trainer."""
    from ddp_repro.workbook.runs.training import _resolved

    return _resolved(settings, output)


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def test_each_stage_takes_over_what_the_last_one_left(stages: Path) -> None:
    base, single, multi = (weights(stages, name) for name in (BASE, SINGLE, MULTI))
    for tensors in (single, multi):  # running statistics included
        frozen = part(tensors, "segmentor.model.")
        assert frozen.keys() == base.keys() and all(torch.equal(frozen[key], base[key]) for key in base)
    assert torch.equal(single["prior.embed.weight"], multi["prior.embed.weight"])
    changed = [
        key
        for key in part(single, "prior.unet.")
        if not torch.equal(*(t[f"prior.unet.{key}"] for t in (single, multi)))
    ]
    assert len(changed) == len(part(single, "prior.unet."))
    assert multi.keys() - single.keys() == {
        f"prior.{name}" for name in ("log_at", "log_bt", "log_cumprod_at", "log_cumprod_bt")
    }


def test_stage_two_finds_its_first_stages_by_itself(pictures: Path, tmp_path: Path) -> None:
    """What the workbook checks, and trains, before a stage 2 in an empty place."""
    from ddp_repro.workbook.runs.training import check_training

    check_training(tiny(MULTI, pictures), tmp_path, overwrite=False)
    assert not list(tmp_path.iterdir())


def test_weights_that_are_evaluated_are_the_averages(pictures: Path, stages: Path, tmp_path: Path) -> None:
    from ddp_repro.training import train

    settings = resolved(tiny(MULTI, pictures), stages)
    plain = dataclasses.replace(settings, train=dataclasses.replace(settings.train, ema_momentum=None))
    train(plain, tmp_path, progress=False)
    averaged, raw, start = weights(stages, MULTI), load_file(tmp_path / "model.safetensors"), weights(stages, SINGLE)
    name = "prior.conv_seg_new.weight"
    distance = [(tensors[name] - start[name]).norm() for tensors in (averaged, raw)]
    assert 0 < distance[0] < 0.5 * distance[1]
    assert all(torch.equal(averaged[f"prior.{n}"], raw[f"prior.{n}"]) for n in ("log_cumprod_bt", "embed.weight"))


@pytest.mark.parametrize("name", [SINGLE, MULTI])
def test_an_interrupted_training_goes_on_bit_for_bit(
    name: str, pictures: Path, stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ddp_repro.training import train

    settings, call = resolved(tiny(name, pictures), stages), Step.__call__

    def interrupted(self: Step, iteration: int, *arguments: object) -> dict[str, float]:
        if iteration == 3:
            raise KeyboardInterrupt
        return call(self, iteration, *arguments)

    monkeypatch.setattr(Step, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path, progress=False)
    monkeypatch.setattr(Step, "__call__", call)
    assert list((tmp_path / "state").glob("*.pt"))
    train(settings, tmp_path, progress=False)
    resumed, whole = load_file(tmp_path / "model.safetensors"), weights(stages, name)
    assert resumed.keys() == whole.keys() and all(torch.equal(resumed[key], whole[key]) for key in whole)


@pytest.mark.slow
@pytest.mark.numerics
def test_two_processes_train_the_same_model(pictures: Path, stages: Path, tmp_path: Path) -> None:
    in_processes(2, resolved(tiny(MULTI, pictures), stages), tmp_path)
    shared, alone = load_file(tmp_path / "model.safetensors"), weights(stages, MULTI)
    assert shared.keys() == alone.keys()
    for key, value in alone.items():
        torch.testing.assert_close(shared[key], value, rtol=1e-3, atol=1e-5, equal_nan=True, msg=key)


def test_stages_are_not_confused(stages: Path) -> None:
    folder = stages / "mini" / "runs"
    for model, file, message in (
        (MULTI, SINGLE, "model.stage is 'single' in the checkpoint, 'multi' in the model"),
        (SINGLE, MULTI, "model.stage is 'multi' in the checkpoint, 'single' in the model"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint(recipe(model).model.build(), folder / file / "model.safetensors")


def test_a_stage_one_that_does_not_fit_is_refused_before_training(pictures: Path, stages: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"prior.unet.*of another shape"):
        run.train(tiny(MULTI, pictures, model__dim=16), output=stages, overwrite=True, progress=False)
    missing = tiny(MULTI, pictures, train__weights=("segmentor=nowhere.safetensors",))
    with pytest.raises((CheckpointError, FileNotFoundError), match=r"nowhere.safetensors"):
        run.train(missing, output=tmp_path, progress=False)


def test_numbers_of_steps_beyond_t_are_refused_by_the_recipe() -> None:
    with pytest.raises(ConfigError, match=r"evaluation.steps is \(1, 3\), .* 'single' has T = 1"):
        tiny(SINGLE, Path(), evaluation__steps=(1, 3))
    with pytest.raises(ConfigError, match=r"T = 20"):
        tiny(MULTI, Path(), evaluation__steps=(1, 21))


def test_the_record_and_the_samples_of_a_finished_training(pictures: Path, stages: Path) -> None:
    from ddp_repro.papers.ddps.results.samples import FILE, load_refinement

    record = run.run(tiny(MULTI, pictures, evaluation__steps=(1, 3)), output=stages, progress=False)
    assert record.steps == [1, 3] and record.name == MULTI
    saved = load_refinement(stages / "mini" / "runs" / MULTI / FILE)
    assert saved.timesteps == 20 and saved.steps == (*tuple(range(0, 20, 2)), 19)
    assert saved.predictions.shape == (11, *saved.base.shape) == (11, 8, 16)
    assert saved.maps.shape == saved.predictions.shape and len(saved.samples) == 4
    assert (saved.samples[0] == saved.predictions[-1]).all()
    _, metadata = read_state_dict(stages / "mini" / "runs" / MULTI / "model.safetensors")
    assert '"kind": "papers.ddps"' in metadata["recipe"]
