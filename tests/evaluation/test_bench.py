import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from data_prep.mini import write_mini
from ddp_repro.costs.floor import floor_of
from ddp_repro.costs.macs import count_macs
from ddp_repro.papers.ddp.costs.bench import (
    STAGES,
    Measurement,
    Setting,
    Timing,
    initial_model,
    measure,
    random_batch,
)
from ddp_repro.papers.ddp.costs.memory import peak_memory
from ddp_repro.papers.ddp.costs.training_step import loading, training_candidates
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.overrides import override
from ddp_repro.workbook.catalogue import recipe

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
    wanted |= {"training, forward", "training floor", "training, forward floor", "optimiser"}
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


@pytest.mark.parametrize("shape", [(2, 3, 300, 8), (1, 1, 7, 16)])
def test_the_floor_has_the_products_of_fused_attention(shape: tuple[int, ...]) -> None:
    query, key, value = torch.randn(3, *shape)
    other = torch.randn(*shape[:2], 5, shape[-1])
    batch, heads, count, width = shape
    for keys, values, length in ((key, value, count), (other, other, 5)):

        def attend(keys: Tensor = keys, values: Tensor = values) -> Tensor:
            return F.scaled_dot_product_attention(query, keys, values)

        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            floor_of(attend)()
        once = 2 * 2 * batch * heads * count * length * width
        assert counter.get_total_flops() == 2 * once  # when the floor was made, and its own run


def test_the_floor_of_training_has_the_products_of_both_passes() -> None:
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3, groups=2, bias=False)]
    network = torch.nn.Sequential(*layers, torch.nn.Flatten(2), torch.nn.Linear(16, 5))
    images = torch.randn(2, 3, 8, 8, requires_grad=True)
    passes = {"both": lambda: network(images).sum().backward(), "forward": lambda: network(images).sum()}
    counted = {}
    for name, run in passes.items():
        floor = floor_of(run, gradients=True)
        for part, work in ((name, run), (f"{name} floor", floor)):
            with FlopCounterMode(display=False) as counter:
                work()
            counted[part] = counter.get_total_flops()
    assert counted["both"] == counted["both floor"] > 2 * counted["forward"]
    assert counted["forward"] == counted["forward floor"] > 0


def test_an_iteration_leaves_the_weights_as_they_are() -> None:
    model = initial_model(TINY, "cpu")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batch = random_batch(model, FAST)
    noise = torch.randn(1, model.map_channels, 8, 16)
    for run in training_candidates(model, batch, noise).values():
        run()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items() if "running" not in name
               and "num_batches" not in name)  # fmt: skip
    assert all(parameter.grad is None for parameter in model.parameters()) and not model.training


def test_loading_reads_the_recipes_own_crops(tmp_path) -> None:
    write_mini("ade20k", tmp_path / "mini", train=2, val=1)
    settings = override(recipe("ade20k_mini"), {"data.root": str(tmp_path / "mini")})
    size = tuple(settings.data.crop_size)
    load = loading(settings, size, 3)
    assert load is not None
    load()  # three of two images
    assert loading(settings, (32, 32), 3) is None  # another size
    assert loading(override(settings, {"data.root": str(tmp_path / "none")}), size, 3) is None


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
