import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ddp_repro.networks.attention.deformable import (
    BACKENDS,
    DeformableAttention,
    attend_reference,
    attention_backend,
    attention_by,
)
from ddp_repro.networks.kernels import library as native_library
from ddp_repro.settings.errors import ConfigError

pytestmark = pytest.mark.numerics

CPU = torch.device("cpu")


@pytest.fixture(params=["reference", "cpu", "native"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "native" and native_library.library() is None:
        pytest.skip("no C++ compiler")
    return request.param


def problem(batch: int, shape: tuple[int, int], heads: int, points: int, dtype: torch.dtype = torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tokens = shape[0] * shape[1]
    value = torch.randn(batch, tokens, heads, 3, generator=generator, dtype=dtype)
    # some locations lie far outside the map
    spread = torch.tensor([shape[1], shape[0]], dtype=dtype)[:, None, None, None]
    locations = (torch.rand(batch, 2, heads, points, 5, generator=generator, dtype=dtype) * 2 - 0.5) * spread
    weights = torch.rand(batch, heads, points, 5, generator=generator, dtype=dtype).softmax(2)
    return value, locations, weights, shape


def plain_loop(value: Tensor, locations: Tensor, weights: Tensor, shape: tuple[int, int]) -> Tensor:
    """The definition, one sample at a time."""
    (height, width), (batch, heads, points, queries) = shape, weights.shape
    output = torch.zeros(batch, queries, heads, value.shape[-1], dtype=value.dtype)
    for b, q, h, p in torch.cartesian_prod(*map(torch.arange, (batch, queries, heads, points))).tolist():
        x, y = locations[b, :, h, p, q].tolist()
        for row in range(int(y // 1), int(y // 1) + 2):
            for column in range(int(x // 1), int(x // 1) + 2):
                if 0 <= row < height and 0 <= column < width:
                    share = (1 - abs(y - row)) * (1 - abs(x - column))
                    output[b, q, h] += weights[b, h, p, q] * share * value[b, row * width + column, h]
    return output.flatten(2)


def test_matches_the_definition(backend: str) -> None:
    arguments = problem(2, (3, 5), 2, 4)
    torch.testing.assert_close(BACKENDS[backend](*arguments), plain_loop(*arguments))


@settings(deadline=None, max_examples=30)
@given(
    batch=st.integers(1, 3), height=st.integers(1, 6), width=st.integers(1, 6), heads=st.integers(1, 3),
    points=st.integers(1, 4), seed=st.integers(0, 99),
)  # fmt: skip
def test_backends_agree(batch: int, height: int, width: int, heads: int, points: int, seed: int) -> None:
    arguments = problem(batch, (height, width), heads, points, seed=seed)
    for backend in ("cpu", "native") if native_library.library() else ("cpu",):
        torch.testing.assert_close(BACKENDS[backend](*arguments), attend_reference(*arguments))


def test_gradients(backend: str) -> None:
    value, locations, weights, shape = problem(1, (3, 4), 2, 2)
    locations = locations.round(decimals=1) + 0.05  # away from the kinks at whole pixels
    inputs = [t.requires_grad_() for t in (value, locations, weights)]
    assert torch.autograd.gradcheck(lambda *a: BACKENDS[backend](*a, shape), inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_the_dtype(backend: str, dtype: torch.dtype) -> None:
    assert BACKENDS[backend](*problem(1, (3, 4), 2, 2, dtype)).dtype == dtype


def test_starts_by_looking_in_all_directions() -> None:
    attention = DeformableAttention(16, heads=4, points=2)
    attention.reset_parameters()
    offsets = attention.sampling_offsets(torch.randn(1, 16)).view(4, 2, 2)
    expected = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    torch.testing.assert_close(offsets, torch.stack([expected, 2 * expected], 1), atol=1e-6, rtol=0)


def test_heads_must_divide_channels() -> None:
    with pytest.raises(ValueError, match="multiple of heads"):
        DeformableAttention(10, heads=4, points=2)


@pytest.mark.parametrize("channels", [3, 32])
def test_more_queries_than_fit_a_group(channels: int, backend: str) -> None:
    """The compiled code takes 64 queries at a time, and knows 32 channels beforehand."""
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(2, 5 * 7, 2, channels, generator=generator, dtype=torch.float64, requires_grad=True)
    locations = torch.rand(2, 2, 2, 4, 150, generator=generator, dtype=torch.float64) * 9 - 1.5
    weights = torch.rand(2, 2, 4, 150, generator=generator, dtype=torch.float64).softmax(2)
    inputs = [value, locations.requires_grad_(), weights.requires_grad_()]
    results = []
    for name in (backend, "reference"):
        read = BACKENDS[name](*inputs, (5, 7))
        results.append([read, *torch.autograd.grad(read.sin().sum(), inputs)])
    torch.testing.assert_close(*results)


def test_locations_that_are_not_numbers_read_nothing_elsewhere(backend: str) -> None:
    value, locations, weights, shape = problem(1, (3, 4), 2, 2)
    expected = BACKENDS[backend](value, locations, weights, shape)
    locations[..., 0], locations[..., 1] = torch.inf, -torch.inf
    read = BACKENDS[backend](value, locations, weights, shape)
    torch.testing.assert_close(read[:, 2:], expected[:, 2:])


def test_a_backend_can_be_chosen() -> None:
    attention = DeformableAttention(16, heads=4, points=2)
    attention.reset_parameters()
    tokens, lines = torch.randn(1, 12, 16), (torch.randn(3, 8), torch.randn(4, 8))
    usual = attention_backend(CPU)
    expected = attention(tokens, lines, (3, 4))
    with attention_by("reference"):
        assert attention_backend(CPU) == "reference"
        torch.testing.assert_close(attention(tokens, lines, (3, 4)), expected)
    assert attention_backend(CPU) == usual
    with (
        pytest.raises(ConfigError, match="no attention backend 'cuda'; there are reference, cpu"),
        attention_by("cuda"),
    ):
        pass


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_without_a_compiler_attention_runs_as_operations(
    compiler: str, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setenv("DDP_REPRO_KERNELS", "on")
    monkeypatch.setenv("CXX", compiler)
    native_library.library.cache_clear()
    try:
        assert attention_backend(CPU) == "cpu"
    finally:
        native_library.library.cache_clear()
    assert ["not built" in str(each.message) for each in recwarn] == [True] * (compiler == "false")


@pytest.mark.parametrize("switch", ["off", "OFF", "0"])
def test_compiled_code_can_be_switched_off(switch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDP_REPRO_KERNELS", switch)
    native_library.library.cache_clear()
    try:
        if switch == "off":
            assert native_library.library() is None
        else:
            with pytest.raises(ConfigError, match="must be on or off"):
                native_library.library()
    finally:
        native_library.library.cache_clear()
