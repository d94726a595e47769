"""Every encoding a picture or a label map may come in, and every way it may be damaged."""

import contextlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ddp_repro.data.io import DataError, read_image, read_label

GREY = np.arange(0, 240, dtype=np.uint8).reshape(12, 20)
RGB = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)


def test_rgb_is_returned_unchanged(tmp_path: Path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), RGB)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str):
    picture = Image.fromarray(RGB).convert(mode)
    path = tmp_path / f"a.{'tif' if mode == 'CMYK' else 'png'}"
    picture.save(path)
    result = read_image(path)
    assert result.dtype == np.uint8
    assert np.array_equal(result, np.array(picture.convert("RGB")))


def test_transparency_is_dropped_and_not_blended(tmp_path: Path):
    Image.fromarray(np.dstack([RGB, np.zeros_like(GREY)])).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), RGB)


def test_16_bit_grey_is_scaled(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.png"), GREY.astype(np.uint16) * 257)
    assert np.array_equal(read_image(tmp_path / "a.png"), np.repeat(GREY[..., None], 3, axis=2))


def test_16_bit_colour_is_scaled(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.png"), RGB[..., ::-1].astype(np.uint16) * 257)
    assert np.array_equal(read_image(tmp_path / "a.png"), RGB)


def test_exif_orientation_is_applied(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(RGB).save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    result = read_image(tmp_path / "a.jpg")
    assert result.shape == (20, 12, 3)
    assert np.abs(result.astype(int) - np.rot90(RGB, -1).astype(int)).mean() < 3


def test_floating_point_picture_is_refused(tmp_path: Path):
    Image.fromarray(GREY.astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif.*floating-point"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_label_gives_its_indices(tmp_path: Path, bits: int):
    ids = (GREY % 2**bits).astype(np.uint8)
    picture = Image.frombytes("P", ids.shape[::-1], ids.tobytes())
    picture.putpalette([7, 7, 7] * 256)  # all one colour: only the indices can tell
    picture.save(tmp_path / "a.png", bits=bits)
    assert np.array_equal(read_label(tmp_path / "a.png"), ids)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_label_of_few_bits_keeps_its_values(tmp_path: Path, bits: int):
    ids = GREY % 2**bits
    (tmp_path / "a.png").write_bytes(grey_png(ids, bits))
    assert np.array_equal(read_label(tmp_path / "a.png"), ids)


def test_16_bit_label_keeps_its_values(tmp_path: Path):
    ids = GREY.astype(np.uint16) * 200
    cv2.imwrite(str(tmp_path / "a.png"), ids)
    assert np.array_equal(read_label(tmp_path / "a.png"), ids)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_coloured_label_is_refused(tmp_path: Path, mode: str):
    Image.fromarray(RGB).convert(mode).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=rf"a\.png: has mode {mode}, not label ids"):
        read_label(tmp_path / "a.png")


@pytest.mark.parametrize("read", [read_image, read_label])
@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_no_picture_at_all(tmp_path: Path, read, content: bytes):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: cannot be .*; expected a complete"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("read", [read_image, read_label])
def test_missing_file_and_folder(tmp_path: Path, read):
    for path in (tmp_path / "a.png", tmp_path):
        with pytest.raises(DataError, match="no such file; expected"):
            read(path)


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 0.9), suffix=st.sampled_from([".png", ".jpg"]))
def test_truncated_file_is_named(tmp_path_factory: pytest.TempPathFactory, share: float, suffix: str):
    path = tmp_path_factory.mktemp("cut") / f"a{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataError, match=r"cut\d*/a\.(png|jpg): cannot be .*expected a complete"):
        read_image(path)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), suffix=st.sampled_from([".png", ".jpg"]))
def test_damaged_bytes_never_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, data, suffix: str):
    path = tmp_path_factory.mktemp("bad") / f"a{suffix}"
    Image.fromarray(RGB).save(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    for read in (read_image, read_label):
        with contextlib.suppress(DataError):
            read(path)


def grey_png(ids: np.ndarray, bits: int) -> bytes:
    """A greyscale PNG of less than 8 bits, which Pillow itself does not write."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    per_byte = 8 // bits
    padded = np.pad(ids, ((0, 0), (0, -ids.shape[1] % per_byte)))
    weights = 1 << (bits * np.arange(per_byte - 1, -1, -1))
    packed = (padded.reshape(len(ids), -1, per_byte) * weights).sum(-1).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    header = struct.pack(">IIBBBBB", ids.shape[1], ids.shape[0], bits, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
