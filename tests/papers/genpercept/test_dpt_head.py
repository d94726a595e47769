import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ddp_repro.papers.genpercept.dpt_head import DPTHead, UperNetHead, min_max

pytestmark = pytest.mark.numerics

CHANNELS = (32, 32, 64, 64)


def test_head_is_the_released_one(siblings: Path) -> None:
    arrays = np.load(siblings / "genpercept_dpt_head_tiny.npz")
    features = [torch.from_numpy(arrays[f"feat{i}"]) for i in range(4)]
    for activation in ("identity", "relu"):
        head = DPTHead(CHANNELS, 16, activation)  # type: ignore[arg-type]
        prefix = f"sd/{activation}/"
        names = [name for name in arrays.files if name.startswith(prefix)]
        head.load_state_dict({name.removeprefix(prefix): torch.from_numpy(arrays[name]) for name in names})
        with torch.no_grad():
            raw = head(features)
        assert raw.shape == (1, 1, 64, 96)
        if activation == "identity":
            np.testing.assert_allclose(raw[:, 0], arrays["identity_pred"], atol=1e-5, rtol=0)
            np.testing.assert_allclose(min_max(raw)[:, 0], arrays["identity_minmax"], atol=1e-5, rtol=0)
        else:
            assert raw.min() >= 0


def test_full_size_has_the_released_names_and_shapes(siblings: Path) -> None:
    with torch.device("meta"):
        head = DPTHead()
    manifest = json.loads((siblings / "genpercept_dpt_head_manifest.json").read_text())
    assert {name: list(value.shape) for name, value in head.state_dict().items()} == manifest
    assert round(sum(p.numel() for p in head.parameters()) / 1e6, 3) == 18.475


def test_constant_maps_become_zero() -> None:
    assert not min_max(torch.full((2, 1, 3, 3), 5.0)).any()


def test_upernet_gives_logits_at_the_images_size() -> None:
    pytest.importorskip("transformers")
    sizes = ((8, 12), (8, 12), (4, 6), (2, 3))
    features = [torch.randn(2, channels, *size) for channels, size in zip(CHANNELS, sizes, strict=True)]
    assert UperNetHead(7, CHANNELS, 16).eval()(features).shape == (2, 7, 64, 96)
