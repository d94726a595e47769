import pytest
import torch

from ddp_repro.costs.floor import floor_of
from ddp_repro.costs.macs import count_macs
from ddp_repro.papers.ddp.costs.bench import STAGES, Measurement, Setting, Timing, measure
from ddp_repro.papers.ddp.costs.memory import peak_memory
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.errors import ConfigError

TINY = ModelConfig(
    backbone="resnet10t", drop_path_rate=0.0, channels=16, layers=1, heads=2, feedforward_channels=32, num_classes=5
)
FAST = Setting(size=(32, 64), steps=(1, 2), repetitions=3)


def timing(name: str, *seconds: float) -> Timing:
    return Timing(name=name, seconds=seconds, median=seconds[1], quartiles=(seconds[0], seconds[2]))


@pytest.mark.slow
def test_everything_is_timed_in_every_repetition() -> None:
    found = measure(TINY, FAST, progress=False)
    wanted = {*STAGES, *(f"{stage} floor" for stage in STAGES[:-1]), "step, published", "training"}
    wanted |= {"1 steps", "2 steps", "1 steps, published", "2 steps, published", "training, published"}
    assert {t.name for t in found.timings} == wanted
    assert all(len(t.seconds) == 3 and t.quartiles[0] <= t.median <= t.quartiles[1] for t in found.timings)
    assert found["step"].median > 0 and not found.has("upsampling floor")


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"task": "depth"}, {"sampler": "ddpm", "encoding": "onehot"}])
def test_other_models(changes: dict) -> None:
    import dataclasses

    setting = dataclasses.replace(FAST, dtype="bf16", backend="cpu", training=False)
    found = measure(dataclasses.replace(TINY, **changes), setting, progress=False)
    assert found.attention == "cpu" and found.has("2 steps, published") and not found.has("training")


def test_ratios_are_taken_within_repetitions() -> None:
    found = Measurement(clock="wall", attention="cpu", timings=(timing("a", 2, 8, 6), timing("b", 1, 2, 3)))
    assert found.ratio(["a"], ["b"]) == 2
    assert found.ratio(["a", "b"], ["b"]) == 1


def test_the_floor_has_all_the_products_and_nothing_else() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(2), torch.nn.Linear(36, 5))
    images = torch.randn(2, 3, 8, 8)
    _, whole = count_macs(layer, images)
    _, floor = count_macs(floor_of(lambda: layer(images)))
    assert floor == whole and floor.convolution > 0 and floor.linear > 0


@pytest.mark.slow
def test_memory_is_that_of_the_work() -> None:
    import dataclasses

    found = peak_memory(TINY, dataclasses.replace(FAST, size=(512, 512), training=False, published=False))
    assert found.keys() == {"2 steps"} and 2**20 < found["2 steps"] < 2**30


@pytest.mark.parametrize("wrong", [{"repetitions": 2}, {"steps": ()}, {"batch": 0}, {"dtype": "int8"}])
def test_impossible_settings(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        Setting(**wrong)


def test_a_baseline_has_no_steps() -> None:
    with pytest.raises(ConfigError, match="no sampling steps"):
        measure(ModelConfig(diffusion=False), FAST)
