"""A tiny Stable Diffusion: the structure of the real one, with 1.65 M and 81 k parameters."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ddp_repro.papers.genpercept.dpt_head import DPTHead, UperNetHead
from ddp_repro.papers.genpercept.model import GenPercept
from ddp_repro.papers.genpercept.settings import GenPerceptConfig

CHANNELS = (32, 32, 64, 64)  # of the up-blocks' features, finest first


def tiny_unet(in_channels: int = 4) -> torch.nn.Module:
    diffusers = pytest.importorskip("diffusers")
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=CHANNELS,
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=(2, 2, 4, 4),
        use_linear_projection=True,
        norm_num_groups=8,
    ).eval()


def tiny_vae(scaling_factor: float = 0.18215) -> torch.nn.Module:
    diffusers = pytest.importorskip("diffusers")
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 16, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        scaling_factor=scaling_factor,
    ).eval()


def tiny_head(config: GenPerceptConfig) -> DPTHead | UperNetHead | None:
    if config.decoder == "dpt":
        return DPTHead(CHANNELS, 16, config.head_activation)
    return UperNetHead(config.num_classes, CHANNELS, 16).eval() if config.decoder == "upernet" else None


@pytest.fixture
def build() -> Callable[..., GenPercept]:
    """Build a seeded tiny model from fields of its settings."""

    def build(**fields: object) -> GenPercept:
        torch.manual_seed(0)
        config = GenPerceptConfig(**fields)  # type: ignore[arg-type]
        head = tiny_head(config)
        text = torch.randn(1, 2, 32)
        return GenPercept(tiny_unet(config.in_channels), tiny_vae(), text, config, head)  # type: ignore[arg-type]

    return build


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="session")
def siblings() -> Path:
    return Path(__file__).parents[2] / "golden" / "siblings"


@pytest.fixture
def pipeline(data: Path) -> Callable[..., tuple[GenPercept, dict[str, np.ndarray]]]:
    """Load the released pipeline's tiny weights into our model; returns the model and the reference arrays."""

    def load(file: str, **fields: object) -> tuple[GenPercept, dict[str, np.ndarray]]:
        path = data.parent / "golden" / "siblings" / file
        if not path.is_file():
            pytest.skip(f"{path} is not there")
        arrays = dict(np.load(path))
        config = GenPerceptConfig(**fields)  # type: ignore[arg-type]
        unet, vae = tiny_unet(config.in_channels), tiny_vae()
        for prefix, module in (("sd/unet/", unet), ("sd/vae/", vae)):
            state = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
            module.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
        text = arrays["text_embed"] if "text_embed" in arrays else _encode_empty(arrays)
        head = tiny_head(config)
        return GenPercept(unet, vae, torch.from_numpy(text), config, head), arrays  # type: ignore[arg-type]

    return load


def _encode_empty(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Embed the empty prompt, its first and last token, by the file's own tiny text encoder."""
    transformers = pytest.importorskip("transformers")
    config = transformers.CLIPTextConfig(
        vocab_size=1000, hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4
    )
    encoder = transformers.CLIPTextModel(config).eval()
    expected = list(encoder.state_dict())
    prefix = "text_model." if expected[0].startswith("text_model.") else ""
    state = {name.removeprefix("sd/te/"): value for name, value in arrays.items() if name.startswith("sd/te/")}
    encoder.load_state_dict({prefix + name: torch.from_numpy(value) for name, value in state.items()}, strict=False)
    with torch.no_grad():
        return encoder(torch.tensor([[0, 2]])).last_hidden_state.numpy()
