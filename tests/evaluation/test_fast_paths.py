"""Evaluation and prediction with reduced precision, other layouts, batches and compiled models."""

import dataclasses

import numpy as np
import pytest
import torch

from ddp_repro.data.io import DataError
from ddp_repro.evaluation.evaluate import evaluate_model
from ddp_repro.evaluation.predict import predict
from ddp_repro.evaluation.views import inference_mode
from ddp_repro.networks.acceleration import accelerate
from ddp_repro.papers.ddp.build import build_model
from ddp_repro.papers.ddp.costs.bench import Setting
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.errors import ConfigError
from ddp_repro.settings.recipe import EvalConfig
from tests.evaluation.conftest import TINY, tiny_model

pytestmark = pytest.mark.numerics

PLAIN = EvalConfig(steps=(3,), seeds=(0,))


def labels_and_scores(model, **options):
    picture = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    return predict(model, picture, **options)


def labels(model, **options) -> np.ndarray:
    return labels_and_scores(model, **options).labels


def depth_model():
    torch.manual_seed(0)
    return build_model(ModelConfig(**{**TINY, "task": "depth", "schedule": "gamma"}))


def matrix(model, dataset, **settings):
    result = evaluate_model(model, dataset, dataclasses.replace(PLAIN, **settings), progress=False)
    return result.tallies[3, 0].counts.tolist()


def test_bf16_gives_nearly_all_pixels_the_same_label(model):
    found, expected = labels(model, precision="bf16"), labels(model)
    assert 0 < (found != expected).mean() < 0.05  # other digits, same picture


def test_outputs_are_float32_with_and_without_diffusion():
    for diffusion in (True, False):
        found = labels_and_scores(tiny_model(diffusion=diffusion), precision="bf16")
        assert found.probabilities.dtype == found.uncertainty.dtype == np.float32


def test_depth_keeps_its_digits():
    model = depth_model()
    with inference_mode(model, "bf16"):
        depth = model.sample(torch.randn(1, 3, 64, 64), steps=2, generator=torch.Generator().manual_seed(0))
    assert depth.dtype == torch.float32 and (depth != depth.bfloat16().float()).any()


def test_sampling_stays_in_float32_under_autocast(model):
    seen = {}
    hooks = [
        model.time_embedding.register_forward_hook(lambda _, inputs, output: seen.update(time=(inputs[0], output))),
        model.decoder.layers[0].feedforward[0].register_forward_hook(lambda _, __, output: seen.update(hidden=output)),
    ]
    picture, options = torch.randn(1, 3, 64, 64), {"steps": 3, "return_trajectory": True}
    with inference_mode(model, "bf16"):
        run = model.sample(picture, generator=torch.Generator().manual_seed(0), **options)
    times = seen["time"]
    with inference_mode(model):
        plain = model.sample(picture, generator=torch.Generator().manual_seed(0), **options)
    for hook in hooks:
        hook.remove()
    assert run.maps.dtype == run.decoded.dtype == times[0].dtype == times[1].dtype == torch.float32
    torch.testing.assert_close(run.maps[0], plain.maps[0], rtol=0, atol=0)  # the noise, all its digits
    torch.testing.assert_close(times[1], seen["time"][1], rtol=0, atol=0)


def test_the_network_itself_runs_in_bf16(model):
    kinds = []
    hook = model.decoder.layers[0].feedforward[0].register_forward_hook(lambda _, __, out: kinds.append(out.dtype))
    labels(model, precision="bf16", steps=1)
    hook.remove()
    assert kinds and set(kinds) == {torch.bfloat16}


def test_fp16_needs_a_gpu(model, dataset):
    with pytest.raises(ConfigError, match="fp16"):
        labels(model, precision="fp16")
    with pytest.raises(ConfigError, match="fp16"):
        matrix(model, dataset, precision="fp16")


def test_evaluation_obeys_its_settings(model, dataset, monkeypatch):
    calls = []
    monkeypatch.setattr(torch, "compile", lambda function, **_: calls.append(function) or function)
    expected = matrix(model, dataset)
    assert not calls
    other, layouts = tiny_model(), []
    convolution = other.neck.smooth[0][0]
    convolution.register_forward_hook(lambda part, *_: layouts.append(layout_of(part)))
    found = matrix(other, dataset, channels_last=True, batch_size=4)
    assert set(layouts) == {torch.channels_last} and layout_of(convolution) == torch.contiguous_format
    assert np.abs(np.subtract(found, expected)).sum() <= 0.002 * np.sum(expected)
    assert not calls
    assert matrix(other, dataset, compile="default") == expected
    assert len(calls) == 2 and other.decoder._compiled_call_impl is None


def layout_of(convolution):
    last = convolution.weight.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def test_evaluation_leaves_a_users_fast_paths_on(model, dataset, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: lambda *inputs: used.append(1) or function(*inputs))
    used, other = [], accelerate(tiny_model(), compile="default", channels_last=True, gradient_checkpointing=True)
    switched = other.decoder._compiled_call_impl
    for settings in ({}, {"channels_last": True}, {"compile": "default"}):
        used.clear()
        matrix(other, dataset, **settings)
        assert used and other.decoder._compiled_call_impl is switched and other.decoder.checkpointing
        assert layout_of(other.neck.smooth[0][0]) == torch.channels_last
    with pytest.raises(ConfigError, match="cuda_graphs"):
        matrix(other, dataset, compile="cuda_graphs")
    assert other.decoder._compiled_call_impl is switched


def test_predictions_of_another_precision_are_not_continued(model, dataset, tmp_path):
    evaluate_model(model, dataset, PLAIN, progress=False, save_to=tmp_path / "maps")
    with pytest.raises(DataError, match="precision"):
        evaluate_model(
            model, dataset, dataclasses.replace(PLAIN, precision="bf16"), progress=False, save_to=tmp_path / "maps"
        )


def test_a_benchmark_of_fast_paths_leaves_the_published_one_out():
    setting = Setting(compile="default", channels_last=True, published=False)
    assert setting.switches == ("compile_default", "channels_last")
    with pytest.raises(ConfigError, match="published"):
        Setting(channels_last=True)
    with pytest.raises(ConfigError, match="compile mode"):
        Setting(compile="on", published=False)
