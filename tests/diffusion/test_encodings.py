import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddp_repro.diffusion import ENCODINGS, LabelEncoding


def build(name: str, num_classes: int, scale: float = 0.01) -> LabelEncoding:
    torch.manual_seed(0)
    return ENCODINGS[name](num_classes, scale, 16)


@settings(deadline=None, max_examples=40)
@given(name=st.sampled_from(sorted(ENCODINGS)), num_classes=st.integers(2, 40), data=st.data())
def test_decoding_inverts_encoding(name: str, num_classes: int, data: st.DataObject) -> None:
    labels = torch.tensor(data.draw(st.lists(st.integers(0, num_classes - 1), min_size=6, max_size=6))).view(1, 2, 3)
    encoding = build(name, num_classes)
    assert torch.equal(encoding.decode(encoding.encode(labels)), labels)


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("scale", [0.001, 0.1, 1.0])
def test_codes_stay_within_the_scale(name: str, scale: float) -> None:
    encoding = build(name, 19, scale)
    labels = torch.arange(20).view(1, 4, 5)  # the last one is the ignore label
    encoded = encoding.encode(labels)
    assert encoded.shape == (1, encoding.channels, 4, 5)
    assert encoded.abs().max() <= scale
    assert len(encoding.codes().unique(dim=0)) == 20, "every class and the ignore label has a code of its own"


def test_only_the_embedding_learns() -> None:
    assert [n for n, _ in build("embedding", 5).named_parameters()] == ["embedding_table.weight"]
    assert not list(build("onehot", 5).parameters()) and not list(build("analog_bits", 5).parameters())


def test_channels() -> None:
    assert build("embedding", 150).channels == 16
    assert build("onehot", 150).channels == 150
    assert build("analog_bits", 150).channels == 8  # 0..150 fits eight bits
    assert build("analog_bits", 8).channels == 4  # the ignore label is the number 8


def test_analog_bits_are_binary_digits() -> None:
    encoding = build("analog_bits", 6, scale=1.0)
    assert encoding.encode(torch.tensor([[[5]]])).flatten().tolist() == [1, -1, 1]
