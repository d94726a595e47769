"""Converting and verifying the public datasets, from archives and from folders."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_prep import ade20k, camvid, cityscapes
from data_prep.__main__ import main, prepare
from data_prep.verify import verify
from ddp_repro.data.io import DataError


def write_pairs(root: Path, pairs: dict[str, str], label: int = 1) -> Path:
    for image, mask in pairs.items():
        for name, mode, color in ((image, "RGB", (9, 99, 200)), (mask, "L", label)):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new(mode, (32, 24), color).save(root / name)
    return root


def write_ade20k(root: Path) -> Path:
    pairs = {
        f"images/{split}/ADE_{i}.jpg": f"annotations/{split}/ADE_{i}.png"
        for split, numbers in (("training", range(3)), ("validation", range(2)))
        for i in numbers
    }
    write_pairs(root / "ADEChallengeData2016", pairs)
    (root / "ADEChallengeData2016/objectInfo150.txt").write_text("not needed")
    return root


def write_cityscapes(root: Path) -> Path:
    pairs = {}
    for split in ("train", "val", "test"):
        image = f"leftImg8bit/{split}/town/town_1_1_leftImg8bit.png"
        pairs[image] = f"gtFine/{split}/town/town_1_1_gtFine_labelIds.png"
    write_pairs(root, pairs, label=7)
    Image.new("I;16", (32, 24)).save(root / "gtFine/train/town/town_1_1_gtFine_instanceIds.png")
    return root


def write_camvid(root: Path) -> Path:
    return write_pairs(
        root / "CamVid", {f"{split}/{i}.png": f"{split}annot/{i}.png" for split in camvid.COUNTS for i in range(2)}
    )


def pack(folder: Path, archive: Path, parts: tuple[str, ...] = ("",)) -> Path:
    with zipfile.ZipFile(archive, "w") as file:
        for part in parts:
            for path in sorted((folder / part).rglob("*")):
                file.write(path, path.relative_to(folder))
    return archive


@pytest.fixture(autouse=True)
def small_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ade20k, "COUNTS", {"training": 3, "validation": 2})
    monkeypatch.setattr(cityscapes, "COUNTS", {"train": 1, "val": 1})
    monkeypatch.setattr(camvid, "COUNTS", {"train": 2, "val": 2, "test": 2})


def names(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dataset", ["ade20k", "cityscapes", "camvid"])
def test_prepare(tmp_path: Path, dataset: str, packed: bool):
    source = {"ade20k": write_ade20k, "cityscapes": write_cityscapes, "camvid": write_camvid}[dataset](tmp_path / "in")
    if packed and dataset == "camvid":
        return
    if packed and dataset == "ade20k":
        source = pack(source, tmp_path / "ADEChallengeData2016.zip")
    elif packed:
        (tmp_path / "zips").mkdir()
        pack(source, tmp_path / "zips" / cityscapes.ARCHIVES[0], ("leftImg8bit",))
        pack(source, tmp_path / "zips" / cityscapes.ARCHIVES[1], ("gtFine",))
        source = tmp_path / "zips"
    output = tmp_path / "aus gabe" / dataset
    assert main([dataset, "--source", str(source), "--output", str(output)]) == 0
    report = verify(dataset, output)
    assert report.ok and report.manifest
    count = {"ade20k": 10, "cityscapes": 4, "camvid": 12}[dataset]
    assert len(names(output)) == count + 1
    assert not any("test" in name for name in names(output)) or dataset == "camvid"


def test_camvid_in_our_layout_is_accepted(tmp_path: Path):
    prepare("camvid", write_camvid(tmp_path / "in"), tmp_path / "one")
    prepare("camvid", tmp_path / "one", tmp_path / "two")
    assert names(tmp_path / "one") == names(tmp_path / "two")


@pytest.mark.parametrize("dataset", ["ade20k", "cityscapes", "camvid"])
def test_wrong_source_leaves_nothing(tmp_path: Path, dataset: str):
    (tmp_path / "in").mkdir()
    for source, message in ((tmp_path / "in", "expected"), (tmp_path / "nowhere", "no such file or folder")):
        with pytest.raises(DataError, match=message):
            prepare(dataset, source, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("dataset", ["cityscapes", "camvid"])
def test_without_source_it_is_said_how_to_get_one(tmp_path: Path, dataset: str, capsys: pytest.CaptureFixture):
    assert main([dataset, "--output", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert f"python -m data_prep {dataset} --source" in said and "Traceback" not in said
    assert dataset != "cityscapes" or all(name in said for name in cityscapes.ARCHIVES)


def test_existing_output_is_not_touched(tmp_path: Path):
    source = write_ade20k(tmp_path / "in")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("precious")
    with pytest.raises(DataError, match="exists already"):
        prepare("ade20k", source, tmp_path / "out")
    assert names(tmp_path / "out") == {"mine.txt"}


def test_unwritable_output(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "file").write_text("")
    source = write_ade20k(tmp_path / "in")
    assert main(["ade20k", "--source", str(source), "--output", str(tmp_path / "file/out")]) == 2
    assert "file/out" in capsys.readouterr().err


def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ade20k, "place", full)
    assert main(["ade20k", "--source", str(write_ade20k(tmp_path / "in")), "--output", str(tmp_path / "out")]) == 2
    assert "No space left" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def damage_count(root: Path) -> None:
    (root / "images/training/ADE_0.jpg").unlink()
    (root / "annotations/training/ADE_0.png").unlink()


def damage_mask(root: Path) -> None:
    (root / "annotations/training/ADE_0.png").unlink()


def damage_picture(root: Path) -> None:
    path = root / "images/training/ADE_0.jpg"
    path.write_bytes(path.read_bytes()[:300])


def damage_size(root: Path) -> None:
    Image.new("L", (33, 24), 1).save(root / "annotations/training/ADE_0.png")


def damage_ids(root: Path) -> None:
    Image.fromarray(np.full((24, 32), 151, np.uint8)).save(root / "annotations/training/ADE_0.png")


def damage_bytes(root: Path) -> None:
    Image.new("RGB", (32, 24)).save(root / "images/training/ADE_0.jpg")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_count, "2 images (expected 3)"),
        (damage_mask, "ADE_0.png: no such file"),
        (damage_picture, "ADE_0.jpg: cannot be "),
        (damage_size, "is 33 x 24, but its image"),
        (damage_ids, "contains label ids 151; expected ids of 0..150"),
        (damage_bytes, "ADE_0.jpg: differs from its SHA-256"),
        (lambda root: (root / "images/extra.jpg").write_bytes(b""), "extra.jpg: is not listed in manifest.json"),
    ],
)
def test_verify_finds_what_is_wrong(tmp_path: Path, damage, message: str, capsys: pytest.CaptureFixture):
    root = tmp_path / "out"
    prepare("ade20k", write_ade20k(tmp_path / "in"), root)
    for path in list(root.rglob("*.*")):  # not hard links: the damage must stay in this copy
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    damage(root)
    assert main(["ade20k", "--output", str(root), "--verify"]) == 1
    said = capsys.readouterr().out
    assert message in said and said.rstrip().endswith("not verified: see above")


def test_verify_without_manifest_compares_official_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    prepare("camvid", write_camvid(tmp_path / "in"), tmp_path / "out")
    (tmp_path / "out/manifest.json").unlink()
    report = verify("camvid", tmp_path / "out")
    assert [split.expected for split in report.splits] == [367, 101, 233]
    assert not report.ok and not report.manifest and "no manifest.json" in str(report)


def test_damaged_manifest_is_named(tmp_path: Path):
    prepare("camvid", write_camvid(tmp_path / "in"), tmp_path / "out")
    for content in ("{", "[]", "{}"):
        (tmp_path / "out/manifest.json").write_text(content)
        with pytest.raises(DataError, match=r"manifest\.json: is damaged"):
            verify("camvid", tmp_path / "out")


@pytest.mark.data
def test_real_files(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for dataset, source, found in (
        ("ade20k", "ade20k_samples", [0, 3]),
        ("cityscapes", "cityscapes_samples/tiny_256x128", [0, 1]),
    ):
        prepare(dataset, data / source, tmp_path / dataset)
        report = verify(dataset, tmp_path / dataset)
        assert [split.found for split in report.splits] == found and not report.problems
        assert report.splits[1].problems == [] and not report.ok
