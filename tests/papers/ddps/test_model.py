"""The model against the released head, and what sampling and training promise."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.diffusion.discrete import noise_labels
from ddp_repro.diffusion.label_noise import StreamLabelNoise
from ddp_repro.interop.weight_files import read_state_dict, save_weights
from ddp_repro.papers.ddps.model import DDPS
from ddp_repro.papers.ddps.settings import DDPSConfig
from ddp_repro.settings.errors import ConfigError

from . import golden, tiny

pytestmark = pytest.mark.numerics

SHAPE = (5, 8, 8)


def stream(seed: int) -> StreamLabelNoise:
    return StreamLabelNoise(SHAPE, 2, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("guidance", "sampler", "prefix"),
    [
        (0.4, "free", "free_renoise_g0.4_step"),
        (1.0, "free", "free_renoise_g1_step"),
        (1.0, "strict_released", "posterior_step"),
    ],
)
def test_sampling_is_the_released_one(guidance: float, sampler: str, prefix: str) -> None:
    reference, model = golden.read("head_tiny"), tiny.model()
    with torch.no_grad():
        run = list(model.denoise(tiny.features(), model.steps_of(2), stream(7), sampler, guidance))
    assert [step.step for step in run] == reference["timesteps_T20_inf2"].tolist()
    compared = [step for step in run if f"{prefix}{step.step}" in reference]
    assert compared
    for step in compared:
        golden.assert_close(step.logits, reference[f"{prefix}{step.step}"])


@pytest.mark.parametrize("name", ["T20_inf2", "T20_infNone", "T20_inf3", "T100_inf10"])
def test_steps_are_the_released_ones(name: str) -> None:
    timesteps, count = name[1:].split("_inf")
    model = DDPS(dataclasses.replace(tiny.CONFIG, timesteps=int(timesteps)), tiny.TinySegmentor())
    steps = model.steps_of(None if count == "None" else int(count))
    assert steps == golden.read("head_tiny")[f"timesteps_{name}"].tolist()


def test_the_single_step_is_the_released_one() -> None:
    reference = golden.read("head_tiny")["single_step_seed7"]
    for output in (
        tiny.model(stage="single").sample(features=tiny.features(), noise=stream(7)),
        tiny.model().sample(features=tiny.features(), steps=[0], noise=stream(7)),
    ):
        golden.assert_close(output, reference.roll(-1, 1))  # symbol 0 last


@pytest.mark.parametrize("step", [0, 19])
def test_one_step_from_the_truth_is_the_released_one(step: int) -> None:
    reference, model = golden.read("head_tiny"), tiny.model()
    clean = F.interpolate(reference["gt"].float(), (8, 8), mode="nearest")[:, 0].long()
    kept = model.prior.schedule.cumulative[torch.full((2,), 19 - step)]
    noisy = noise_labels(clean, kept, stream(8).uniform(0))
    with torch.no_grad():
        logits = model.prior(tiny.features(), noisy, torch.full((2,), step))
    golden.assert_close(logits, reference[f"one_step_from_gt_t{step}"])


@pytest.mark.parametrize("mean", ["all_pixels", "labelled"])
def test_training_is_the_released_one(mean: str) -> None:
    reference, model = golden.read("head_tiny"), tiny.model(loss_mean=mean)
    generator = torch.Generator().manual_seed(11)
    t = torch.randint(20, (2,), generator=generator)
    assert torch.equal(t, reference["train_t_seed11"])
    noise = StreamLabelNoise(SHAPE, 2, generator)
    symbols = reference["gt"][:, 0]
    logits = model.training_logits(tiny.features(), symbols, t, noise.start(), noise.uniform(0))
    golden.assert_close(logits, reference["train_logits_seed11"])
    name = {"all_pixels": "loss_ce_mean_over_all_pixels", "labelled": "loss_ce_mean_nonignored"}[mean]
    golden.assert_close(model.cross_entropy(logits, symbols), reference[name])


# -- sampling ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["free", "strict", "strict_released"])
@pytest.mark.parametrize("guidance", [1.0, 0.4])
def test_a_batch_is_its_images(sampler: str, guidance: float) -> None:
    model, features = tiny.model(), tiny.features()

    def run(chosen: list[int]) -> Tensor:
        generators = [torch.Generator().manual_seed(100 + index) for index in chosen]
        options = {"steps": 3, "generator": generators, "sampler": sampler, "guidance": guidance}
        return model.sample(features=features[chosen], **options)

    golden.assert_close(torch.cat([run([0]), run([1])]), run([0, 1]))
    golden.assert_close(run([1, 0]).flip(0), run([0, 1]))


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 20), (5, 9)])
def test_any_image_size(size: tuple[int, int]) -> None:
    model = tiny.model()
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    output = model.sample(images, steps=1, generator=torch.Generator().manual_seed(0))
    assert output.shape == (2, 5, -(-size[0] // 4), -(-size[1] // 4)) and output.isfinite().all()
    alone = model.sample(images[:1], steps=1, generator=torch.Generator().manual_seed(0))
    golden.assert_close(output[:1], alone)


def test_the_segmentor_runs_once() -> None:
    model = tiny.model()
    features = model.encode_image(torch.zeros(1, 3, 32, 32))
    model.sample(features=features, steps=5, guidance=0.4)
    base = model.base_prediction(features)
    assert model.segmentor.runs == 1 and base.shape == (1, 4, 8, 8)
    golden.assert_close(base, model.segmentor(torch.zeros(1, 3, 32, 32)))


def test_the_trajectory_and_the_mean_over_steps() -> None:
    model, features = tiny.model(), tiny.features()
    run = model.sample(features=features, steps=2, noise=stream(3), average_steps=True, return_trajectory=True)
    assert run.maps.shape == (3, 2, 8, 8) and run.decoded.shape == (3, 2, 5, 8, 8)
    golden.assert_close(run.output, run.probabilities.mean(0), 1e-6)
    assert torch.equal(run.predictions, run.decoded.argmax(2))
    golden.assert_close(run.output, model.sample(features=features, steps=2, noise=stream(3), average_steps=True))


def test_predictions_are_in_the_order_of_labels() -> None:
    kept, dropped = tiny.model(), tiny.model(class_zero="dropped")
    assert (kept.config.output_classes, dropped.config.output_classes) == (5, 4)
    outputs = [model.sample(features=tiny.features(), steps=2, noise=stream(3)) for model in (kept, dropped)]
    assert torch.equal(outputs[0][:, :4], outputs[1])
    label = tiny.batch()["label"]
    logits = F.one_hot(kept.symbols_of(label), 5).permute(0, 3, 1, 2)
    assert torch.equal(kept.in_label_order(logits).argmax(1), label.masked_fill(label == 255, 4))


def test_one_level_is_the_single_step() -> None:
    single, multi = tiny.model(stage="single"), tiny.model(timesteps=1)
    multi.prior.load_state_dict(single.prior.state_dict(), strict=False)
    outputs = [
        model.sample(features=tiny.features(), generator=torch.Generator().manual_seed(4)) for model in (single, multi)
    ]
    assert torch.equal(*outputs)


@pytest.mark.parametrize("stage", ["single", "multi"])
def test_a_model_can_be_copied_and_saved(tmp_path: Path, stage: str) -> None:
    model = tiny.model(stage=stage)
    save_weights(model, tmp_path / "model.safetensors")
    other = DDPS(model.config, tiny.TinySegmentor()).eval()
    other.load_state_dict(read_state_dict(tmp_path / "model.safetensors")[0])
    copies = [other, copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    options = {"images": tiny.batch()["image"], "steps": [0]}
    expected = model.sample(generator=torch.Generator().manual_seed(4), **options)
    for copied in copies:
        assert torch.equal(copied.sample(generator=torch.Generator().manual_seed(4), **options), expected)


# -- training ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["single", "multi"])
@pytest.mark.parametrize("noised", ["prediction", "ground_truth"])
def test_only_the_network_and_the_classifier_train(stage: str, noised: str) -> None:
    torch.manual_seed(0)
    model = tiny.model(stage=stage, noised=noised).train()
    model.training_loss(tiny.batch())["loss"].backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    expected = {name for name, _ in model.named_parameters() if name.startswith(("prior.unet.", "prior.conv_seg_new."))}
    assert trained == expected == {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(p.grad.abs().max() > 0 for p in model.parameters() if p.grad is not None)


def test_what_is_noised() -> None:
    """At a late step hardly anything is noised: the network then sees the ground truth, or the first prediction."""
    symbols, features, t = (
        tiny.model().symbols_of(tiny.batch((32, 32))["label"]),
        tiny.features(),
        torch.tensor([19, 0]),
    )
    seen = {}
    for noised in ("prediction", "ground_truth"):
        model = tiny.model(noised=noised)
        calls = []
        model.prior.embed.register_forward_hook(lambda _, inputs, __, calls=calls: calls.append(inputs[0]))
        model.training_logits(features, symbols, t, stream(1).start(), stream(1).uniform(0))
        seen[noised] = calls
    clean = F.interpolate(symbols[:, None].float(), (8, 8), mode="nearest")[:, 0].long()
    assert len(seen["ground_truth"]) == 1 and len(seen["prediction"]) == 2
    assert (seen["ground_truth"][0][0] == clean[0]).float().mean() > 0.95
    first = tiny.model().prior(features[:1], stream(1).start()[:1], torch.tensor([0])).argmax(1)
    assert torch.equal(seen["prediction"][0], stream(1).start()[:1])  # of the late image alone
    assert (seen["prediction"][1][0] == first[0]).float().mean() > 0.95
    assert torch.equal(seen["prediction"][1][1], seen["ground_truth"][0][1])  # step 0: noise of the ground truth


@pytest.mark.parametrize("stage", ["single", "multi"])
def test_training_learns(stage: str) -> None:
    torch.manual_seed(0)
    model, batch = tiny.model(stage=stage).train(), tiny.batch((32, 32))
    batch["label"] = batch["label"][:, ::8, ::8].repeat_interleave(8, 1).repeat_interleave(8, 2)  # blocks of 8×8
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    losses = []
    for _ in range(40):
        loss = model.training_loss(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


@pytest.mark.parametrize("guidance", [1.0, 0.4])
def test_half_precision(guidance: float) -> None:
    model, images = tiny.model(), tiny.batch()["image"]
    full = model.sample(images, steps=[0], guidance=guidance, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        half = model.sample(images, steps=[0], guidance=guidance, generator=torch.Generator().manual_seed(0))
    assert half.dtype == torch.float32
    assert (half - full).abs().max() < 0.05 * full.abs().max()


def test_unlabelled_pixels_add_nothing() -> None:
    model, batch = tiny.model(), tiny.batch()
    symbols = model.symbols_of(batch["label"])
    assert (symbols[:, :3] == 0).all() and symbols[:, 3:].min() == 1 and symbols.max() == 4
    logits = torch.randn(2, 5, 8, 12, requires_grad=True)
    model.cross_entropy(logits, symbols.clone().fill_(0)).backward()
    assert (logits.grad == 0).all()
    assert tiny.model(loss_mean="labelled").cross_entropy(logits, symbols.clone().fill_(0)) == 0


def test_the_condition_can_be_dropped_in_training() -> None:
    model = tiny.model(condition_dropout=1.0)
    symbols, t = model.symbols_of(tiny.batch((32, 32))["label"]), torch.tensor([3, 4])
    noise = stream(1).start(), stream(1).uniform(0)
    outputs = []
    for mode in (True, False):
        model.prior.train(mode)
        model.training = mode
        outputs.append([model.training_logits(f, symbols, t, *noise) for f in (tiny.features(), 0 * tiny.features())])
    golden.assert_close(*outputs[0])
    assert (outputs[1][0] - outputs[1][1]).abs().max() > 1e-3


# -- bad input ---------------------------------------------------------------------------------------------------------


def test_a_segmentor_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="has 7 classes; expected 4"):
        DDPS(tiny.CONFIG, tiny.TinySegmentor(7))
    with pytest.raises(ValueError, match="stride 8; the prior expects 4"):
        DDPS(tiny.CONFIG, tiny.TinySegmentor(stride=8))


@pytest.mark.parametrize("value", [4, 254, -1])
def test_labels_out_of_range(value: int) -> None:
    batch = tiny.batch()
    batch["label"][0, 10, 10] = value
    with pytest.raises(ValueError, match=rf"class {value}; expected 0\.\.3, or 255"):
        tiny.model().training_loss(batch)


@pytest.mark.parametrize(
    ("stage", "steps"), [("multi", 0), ("multi", 21), ("single", 2), ("multi", [1, 2]), ("multi", [0, 20])]
)
def test_steps_that_do_not_fit(stage: str, steps: int | list[int]) -> None:
    with pytest.raises(ValueError, match=r"steps must .*T = "):
        tiny.model(stage=stage).sample(features=tiny.features(), steps=steps)


@pytest.mark.parametrize(
    "changes",
    [
        {"timesteps": 0},
        {"steps": 101},
        {"schedule": "cosine"},
        {"sampler": "ddim"},
        {"stage": "two"},
        {"steps": 2, "stage": "single"},
    ],
)
def test_settings_that_do_not_fit(changes: dict) -> None:
    with pytest.raises(ConfigError):
        DDPSConfig(**changes)


def test_tables_of_another_schedule_are_refused() -> None:
    with pytest.raises(ValueError, match="not that of a linear schedule with T = 20"):
        tiny.model().prior.load_state_dict(
            DDPS(dataclasses.replace(tiny.CONFIG, schedule="cos"), tiny.TinySegmentor()).prior.state_dict()
        )


def test_sample_needs_something() -> None:
    with pytest.raises(ValueError, match="images or features"):
        tiny.model().sample()


@pytest.mark.parametrize("class_zero", ["kept", "dropped"])
def test_without_a_sampler_the_segmentor_speaks(class_zero: str) -> None:
    """Its own prediction, of the images as the prior has them; never "unlabelled"."""
    model = tiny.model(class_zero=class_zero, sampler="none")
    images = tiny.batch()["image"]
    features = model.encode_image(images)
    found = model.sample(images, steps=3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(found[:, :4], model.base_prediction(features)) and found.isfinite().all()
    assert found.shape[1] == model.config.output_classes and found.argmax(1).max() < 4
    run = model.sample(features=features, steps=1, return_trajectory=True)
    assert torch.equal(run.predictions[0], model.base_prediction(features).argmax(1))
    again = model.sample(images, steps=3, sampler="free", generator=torch.Generator().manual_seed(0))
    assert not torch.equal(again, found)
