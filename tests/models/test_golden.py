"""Parity with the released ADE20K Swin-T model: same weights and inputs, same numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ddp_repro.diffusion import ddim_step, time_pairs
from ddp_repro.networks.decoder import position_lines
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.model import DDP
from ddp_repro.workbook.catalogue import recipe
from tests.golden_recipe import fill, labels, tagged

pytestmark = pytest.mark.numerics

GOLDEN = Path(__file__).parents[1] / "golden"
FORWARD, GRADIENT = 1e-4, 5e-3


def reference(name: str) -> dict[str, np.ndarray]:
    return dict(np.load(GOLDEN / "ddp" / f"{name}.npz"))


def assert_close(ours: Tensor, theirs: np.ndarray, tolerance: float = FORWARD) -> None:
    theirs = torch.from_numpy(np.asarray(theirs)).to(ours.dtype)
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


def assert_same_labels(scores: Tensor, theirs: np.ndarray) -> None:
    """Check the most likely classes, but where the two best are closer than the scores have to agree with the authors'.

    Scores (B, K, ...) within a tolerance of theirs have the same best class wherever it leads by twice that.
    """
    best = scores.topk(2, dim=1).values
    decided = (best[:, 0] - best[:, 1] > 2 * FORWARD * scores.abs().max()).numpy()
    assert decided.mean() > 0.9
    assert (scores.argmax(1).numpy() == theirs)[decided].all()


def stats(value: Tensor) -> np.ndarray:
    v = value.detach().double()
    return np.array([v.mean(), v.std(correction=0), v.abs().sum(), v.square().sum(), v.min(), v.max()])


def assert_stats(ours: Tensor, theirs: np.ndarray) -> None:
    scale = np.abs(theirs)
    scale[0] = scale[1]  # a mean near zero is compared on the scale of the standard deviation
    assert (np.abs(stats(ours) - theirs) <= FORWARD * scale).all()


@pytest.fixture(scope="module")
def official_shapes() -> dict[str, list[int]]:
    return json.loads((GOLDEN / "manifests" / "ade_swin_t.json").read_text())


@pytest.fixture(scope="module")
def model(official_shapes: dict[str, list[int]]) -> DDP:
    model = build_model(recipe("ade20k_swin_t").model).eval()
    fill(model, official_shapes)
    return model


def variant(model: DDP, official_shapes: dict[str, list[int]], **changes: object) -> DDP:
    from ddp_repro.settings.overrides import override

    other = build_model(override(model.config, changes)).eval()
    fill(other, official_shapes)
    return other


@torch.no_grad()
def test_every_stage_of_one_pass(model: DDP) -> None:
    golden = reference("ade_swin_t_64x96_core")
    maps = model.backbone(tagged("img", (1, 3, 64, 96)))
    for level, ours in enumerate(maps):
        assert_close(ours, golden[f"feat{level}"])
    for level, ours in enumerate(model.neck.pyramid(maps)):
        assert_stats(ours, golden[f"fpn{level}_stats"])
    features = model.neck(maps)
    assert_close(features, golden["neck"])
    layers: list[Tensor] = []
    hooks = [layer.register_forward_hook(lambda *a: layers.append(a[2])) for layer in model.decoder.layers]
    logits = model.decode(features, tagged("noise", (1, 256, 16, 24)), 1.0)
    for hook in hooks:
        hook.remove()
    for index, ours in enumerate(layers):
        assert_close(ours[0, :64, :16], golden[f"t1_layer{index}_tok0_63"])
    assert_close(logits, golden["t1_logits"])


@pytest.mark.parametrize("size", [(77, 101), (128, 160)])
@torch.no_grad()
def test_sampling_at_other_sizes(model: DDP, size: tuple[int, int]) -> None:
    """Also where neither the patch nor the window divides the image."""
    golden = reference(f"ade_swin_t_{size[0]}x{size[1]}")
    images = tagged("img", (1, 3, *size))
    maps = model.backbone(images)
    for level, ours in enumerate(maps):
        slice_ = golden[f"feat{level}_slice"]
        assert_close(ours[:, : slice_.shape[1], : slice_.shape[2], : slice_.shape[3]], slice_)
    features = model.neck(maps)
    noise = tagged("noise", (1, *model.noise_shape(features)))
    one = model.sample(features=features, noise=noise, steps=1, average_steps=False)
    assert_close(one[:, ::4], golden["ddim1_noacc_sub"])
    three = model.sample(features=features, noise=noise, steps=3)
    assert_close(three[:, ::4], golden["ddim3_cfg_sub"])
    whole = F.interpolate(three, size=size, mode="bilinear", align_corners=False)
    assert_same_labels(whole, golden["encode_decode_argmax"])


SAMPLING = {
    "ddim3_noacc": ({}, {"steps": 3, "average_steps": False}),
    "ddim3_acc": ({}, {"steps": 3, "average_steps": True}),
    "ddim1_acc": ({}, {"steps": 1, "average_steps": True}),
    "ddim10_acc": ({}, {"steps": 10, "average_steps": True}),
    "ddim3_td2_noacc": ({"time_difference": 2}, {"steps": 3, "average_steps": False}),
    "ddim3_linear_noacc": ({"schedule": "linear"}, {"steps": 3, "average_steps": False}),
    "ddpm3_noacc": ({"sampler": "ddpm"}, {"steps": 3, "average_steps": False}),
    "ddim3_bitscale1_noacc": ({"scale": 1.0}, {"steps": 3, "average_steps": False}),
    "ddpm3_bitscale1_noacc": ({"sampler": "ddpm", "scale": 1.0}, {"steps": 3, "average_steps": False}),
}


@pytest.mark.parametrize("name", SAMPLING)
def test_samplers(model: DDP, official_shapes: dict[str, list[int]], name: str) -> None:
    changes, options = SAMPLING[name]
    golden = reference("ade_swin_t_64x96_sampling")
    chosen = variant(model, official_shapes, **changes) if changes else model
    shape = (1, 256, 16, 24)
    output = chosen.sample(
        tagged("img", (1, 3, 64, 96)),
        noise=tagged("noise", shape),
        step_noise=[tagged(f"ddpm{i}", shape) for i in range(options["steps"])],
        **options,
    )
    assert_close(output[:, ::4], golden[f"{name}_sub"])


def test_trajectory(model: DDP) -> None:
    golden = reference("ade_swin_t_64x96_sampling")
    trajectory = model.sample(
        tagged("img", (1, 3, 64, 96)), noise=tagged("noise", (1, 256, 16, 24)), return_trajectory=True
    )
    assert trajectory.maps.shape == (4, 1, 256, 16, 24)
    for step in range(3):
        assert_same_labels(trajectory.decoded[step], golden[f"ddim3_step{step}_argmax"])


@pytest.mark.parametrize("mode", ["eval", "train", "eval_bs1"])
def test_training_loss_and_gradients(model: DDP, official_shapes: dict[str, list[int]], mode: str) -> None:
    golden = reference("ade_swin_t_train_plain")
    changes = {"drop_path_rate": 0.0} | ({"scale": 1.0} if mode == "eval_bs1" else {})
    chosen = variant(model, official_shapes, **changes)
    chosen.train(mode == "train")
    for module in chosen.modules():
        if isinstance(module, torch.nn.Dropout2d):
            module.p = 0.0
    batch = {"image": tagged("img", (2, 3, 64, 96)), "label": labels("gt:150", (2, 1, 64, 96), 150)[:, 0]}
    losses = chosen.training_loss(batch, t=torch.tensor([0.3, 0.8]), noise=tagged("noise", (2, 256, 16, 24)))
    losses["loss"].backward()
    assert losses["decode"].item() == pytest.approx(golden[f"{mode}.decode.loss_ce"], rel=FORWARD)
    assert losses["auxiliary"].item() == pytest.approx(golden[f"{mode}.aux.loss_ce"], rel=FORWARD)
    check_gradients(chosen, golden, mode)
    if mode == "train":
        table = chosen.encoding.embedding_table.weight.grad[:, :32]
        assert_close(table, golden["train.grad_embedding_table"], GRADIENT)


def check_gradients(model: DDP, golden: dict[str, np.ndarray], mode: str) -> None:
    from ddp_repro.papers.ddp.released import rename

    gradients = {name: p.grad for name, p in model.named_parameters()}
    assert all(g is not None for g in gradients.values()), "every parameter receives a gradient"
    for key, length in zip(golden["grad_keys"], golden[f"{mode}.grad_l2"], strict=True):
        assert gradients[rename(str(key))].norm().item() == pytest.approx(length, rel=GRADIENT), key


@torch.no_grad()
def test_multi_scale_and_flip(model: DDP) -> None:
    """The released test-time augmentation, with its second softmax over averaged probabilities."""
    golden, total = reference("ade_swin_t_tta"), 0
    views = [(size, flip) for size in ((64, 96), (96, 144)) for flip in (False, True)]
    for index, (size, flip) in enumerate(views):
        images = tagged("img", (1, 3, *size))
        noise = tagged(f"noise_aug{index}", (1, 256, size[0] // 4, size[1] // 4))
        output = model.sample(images.flip(-1) if flip else images, noise=noise)
        output = F.interpolate(output, size=size, mode="bilinear", align_corners=False)
        view = F.interpolate(output, size=(70, 110), mode="bilinear", align_corners=False).softmax(1)
        if index == 0:
            assert_same_labels(view, golden["simple_argmax"])
        total = total + (view.flip(-1) if flip else view)
    assert_stats(total / len(views), golden["aug_prob_stats"])
    assert_same_labels(total, golden["aug_argmax"])


@pytest.mark.parametrize("average", [True, False])
@torch.no_grad()
def test_mean_over_noise_samples(model: DDP, average: bool) -> None:
    """The released ``randsteps``: one image, several noises, mean of the outputs."""
    features = model.encode_image(tagged("img", (1, 3, 64, 96))).expand(2, -1, -1, -1)
    output = model.sample(features=features, noise=tagged("noise", (2, 256, 16, 24)), average_steps=average).mean(0)
    name = "ddim3_acc_rand2_sub" if average else "ddim3_noacc_rand2_sub"
    assert_close(output[None, ::4], reference("ade_swin_t_64x96_sampling")[name])


@torch.no_grad()
def test_times_that_stop_early(model: DDP) -> None:
    """The released ``sample_range`` from 0.3, put together from the published parts."""
    features, noisy = model.encode_image(tagged("img", (1, 3, 64, 96))), tagged("noise", (1, 256, 16, 24))
    for now, following in time_pairs(3, 1, t_min=0.3):
        logits = model.decode(features, noisy, now)
        t_now, t_next = torch.tensor([now, following])
        noisy = ddim_step(noisy, model.clean_map(logits), t_now, t_next, model.schedule)
    assert_close(logits[:, ::4], reference("ade_swin_t_64x96_sampling")["ddim3_sr_0.3_noacc_sub"])


@torch.no_grad()
def test_units(model: DDP) -> None:
    golden, shape, device = reference("misc_units"), (5, 7), torch.device("cpu")
    rows, columns = lines = position_lines(shape, 256, device)
    position = torch.cat([rows[:, None].expand(5, 7, 128), columns[None].expand(5, 7, 128)], -1)
    assert_close(position.permute(2, 0, 1)[None], golden["pos_embed_5x7"])
    query, layer = tagged("msda_query", (35, 2, 256)).transpose(0, 1), model.decoder.layers[0]
    attended = query + layer.attention(query, lines, shape)
    assert_close(attended.transpose(0, 1), golden["msda_layer0_out"])
    time = tagged("time_emb", (2, 1024))
    assert_close(layer(query, lines, shape, time).transpose(0, 1), golden["layer0_out"])
    level = model.schedule.log_snr(torch.from_numpy(golden["t"]))
    assert_close(model.time_embedding.features(level), golden["sinusoid_cosine"])
    assert_close(model.time_embedding(level)[:, :64], golden["time_mlp_cosine_first64"])
    label = labels("enc", (1, 1, 8, 8), 150)[:, 0]
    assert_close(model.target_map({"label": label}, (8, 8)), golden["encoded_labels_8x8"])
