"""The user's own images: ``classes.json`` and split files, right and wrong."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ddp_repro.data.io import DataError
from ddp_repro.settings.recipe import DataConfig
from ddp_repro.tasks.build import build_dataset


def build(root: Path):
    data = DataConfig(dataset="folder", root=str(root), image_scale=(60, 40))
    return build_dataset(data, "train", train=False, mean=(0, 0, 0), std=(1, 1, 1))


def write_split(root: Path, content: bytes) -> None:
    (root / "splits").mkdir()
    (root / "splits/train.txt").write_bytes(content)


@pytest.mark.parametrize("content", [b"c\r\na\r\n", b"\xef\xbb\xbfc.jpg\n\n\n  a  \n", b"a\rc"])
def test_split_file_with_crlf_blanks_suffixes_and_byte_order_mark(folder_dataset: Path, content: bytes):
    write_split(folder_dataset, content)
    assert build(folder_dataset).ids == ["a", "c"]


def test_split_file_with_a_missing_name(folder_dataset: Path):
    write_split(folder_dataset, b"a\nnobody\nb\n")
    with pytest.raises(DataError, match=r"splits/train\.txt: names 'nobody', which is not in .*images/train \(1 of 3"):
        build(folder_dataset)


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"a\na\n"])
def test_split_file_that_is_empty_or_repeats(folder_dataset: Path, content: bytes):
    write_split(folder_dataset, content)
    with pytest.raises(DataError, match="expected one or more names, each listed once"):
        build(folder_dataset)


def test_split_file_that_is_no_text(folder_dataset: Path):
    write_split(folder_dataset, b"\xff\xfe\x00a")
    with pytest.raises(DataError, match=r"train\.txt: cannot be read .*expected UTF-8"):
        build(folder_dataset)


def test_images_without_a_split_entry_need_no_mask(folder_dataset: Path):
    (folder_dataset / "masks/train/b.png").unlink()
    write_split(folder_dataset, b"a\nc\n")
    assert len(build(folder_dataset)) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("7", "expected a JSON object"),
        ("[]", '"names" must be a list'),
        ('["a", "a"]', "different class names"),
        ('{"names": ["a"], "colours": []}', "no keys but"),
        ("{}", '"names" must be a list'),
        ('{"names": []}', '"names" must be a list'),
        ('{"names": ["a", "a"]}', "different class names"),
        ('{"names": ["a", 3]}', '"names" must be a list'),
        ('{"names": "ab"}', '"names" must be a list'),
        ('{"names": ["a", "b"], "palette": [[0, 0, 0]]}', "for each of the 2 names"),
        ('{"names": ["a"], "palette": [[0, 0, 256]]}', '"palette" must hold'),
        ('{"names": ["a"], "palette": 7}', '"palette" must hold'),
        ('{"names": ["a", "b"], "ignore_index": 1}', "ignore_index is 1"),
        ('{"names": ["a", "b"], "ignore_index": -1}', "ignore_index is -1"),
        ('{"names": ["a"], "ignore_index": "x"}', "ignore_index is 'x'"),
        ('{"names": ["a"], "ignore_index": 1e9}', "ignore_index is"),
    ],
)
def test_wrong_classes_json(folder_dataset: Path, content: str, message: str):
    (folder_dataset / "classes.json").write_text(content)
    with pytest.raises(DataError, match=r"classes\.json: ") as caught:
        build(folder_dataset)
    assert message in str(caught.value)


def test_a_list_of_names_is_enough(folder_dataset: Path):
    (folder_dataset / "classes.json").write_text('["road", "car", "sky"]')
    dataset = build(folder_dataset)
    assert dataset.class_names == ("road", "car", "sky") and dataset.load(0)[1].max() == 2


def test_missing_classes_json(folder_dataset: Path):
    (folder_dataset / "classes.json").unlink()
    with pytest.raises(DataError, match=r"classes\.json: cannot be read .*expected a JSON object"):
        build(folder_dataset)


def test_palette_and_ignore_index_of_16_bits(folder_dataset: Path):
    settings = {"names": ["a", "b", "c"], "palette": [[1, 2, 3], [4, 5, 6], [7, 8, 9]], "ignore_index": 65535}
    (folder_dataset / "classes.json").write_text(json.dumps(settings))
    ids = np.full((20, 30), 65535, np.uint16)
    ids[0, :3] = 0, 1, 2
    cv2.imwrite(str(folder_dataset / "masks/train/a.png"), ids)
    dataset = build(folder_dataset)
    assert dataset.palette == ((1, 2, 3), (4, 5, 6), (7, 8, 9))
    label = dataset.load(0)[1]
    assert label[0, :4].tolist() == [0, 1, 2, 255]
    Image.new("L", (30, 20), 255).save(folder_dataset / "masks/train/b.png")
    with pytest.raises(DataError, match=r"b\.png: contains label ids 255; expected ids of 0\.\.2, 65535"):
        dataset.load(1)
