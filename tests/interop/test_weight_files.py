import io
import os
import pickle
import stat

import numpy as np
import pytest
import torch
from torch import nn

from ddp_repro.interop.checkpoints import load_checkpoint, read_state_dict, save_weights
from ddp_repro.networks.identity import weights_hash
from ddp_repro.settings.errors import CheckpointError
from ddp_repro.workbook.runs import provenance


def small_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def assert_same(state_dict, model):
    expected = model.state_dict()
    assert state_dict.keys() == expected.keys()
    assert all(torch.equal(state_dict[key], expected[key]) for key in expected)


def test_safetensors_round_trip_keeps_weights_and_metadata(tmp_path):
    model = small_model()
    save_weights(model, tmp_path / "model.safetensors", {"recipe": "{}", "iteration": "7"})
    state_dict, metadata = read_state_dict(tmp_path / "model.safetensors")
    assert_same(state_dict, model)
    assert metadata == {"recipe": "{}", "iteration": "7"}
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_safetensors_with_a_header_of_any_length(tmp_path):
    """Headers of 0x80 + 256·n bytes begin like a pickle (one length in 32, as lengths are multiples of 8)."""
    path, first_bytes = tmp_path / "model.safetensors", set()
    for length in range(0, 256, 8):
        save_weights(small_model(), path, {"recipe": "x" * length})
        first_bytes.add(path.read_bytes()[0])
        assert read_state_dict(path)[1] == {"recipe": "x" * length}
    assert 0x80 in first_bytes


def test_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    save_weights(small_model(), path)
    before = path.read_bytes()

    def disk_full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", disk_full)
    with pytest.raises(OSError, match=r"cannot write .*model\.safetensors.*No space left"):
        save_weights(nn.Linear(2, 2), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_write_to_missing_folder_names_the_file(tmp_path):
    with pytest.raises(OSError, match=r"cannot write .*absent.model\.safetensors"):
        save_weights(small_model(), tmp_path / "absent" / "model.safetensors")


def test_written_file_follows_the_umask(tmp_path):
    save_weights(small_model(), tmp_path / "m.safetensors")
    (tmp_path / "plain").touch()
    assert stat.S_IMODE((tmp_path / "m.safetensors").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "plain").stat().st_mode
    )


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("zipped", [False, True])
def test_pytorch_layouts(tmp_path, prefix, wrapped, zipped):
    model = small_model()
    content = {prefix + key: value for key, value in model.state_dict().items()}
    if wrapped:
        optimizer = torch.optim.AdamW(model.parameters()).state_dict()
        content = {"meta": {"iter": 160000, "CLASSES": ("road", "car")}, "state_dict": content, "optimizer": optimizer}
    torch.save(content, tmp_path / "official.pth", _use_new_zipfile_serialization=zipped)
    state_dict, metadata = read_state_dict(tmp_path / "official.pth")
    assert_same(state_dict, model)
    assert metadata.get("iter") == (160000 if wrapped else None)


def test_numpy_scalars_in_meta_are_read(tmp_path):
    hooks = {"best_score": np.float64(0.47), "loss": np.float32(0.5), "n": np.int64(3), "ok": np.bool_(True)}
    torch.save({"meta": {"hook_msgs": hooks}, "state_dict": small_model().state_dict()}, tmp_path / "m.pth")
    _, metadata = read_state_dict(tmp_path / "m.pth")
    assert metadata["hook_msgs"]["best_score"] == 0.47 and metadata["hook_msgs"]["n"] == 3


def test_numpy_2_scalars_are_read_too(tmp_path):
    buffer = io.BytesIO()
    torch.save({"meta": {"score": np.float64(0.5)}, "state_dict": small_model().state_dict()}, buffer,
               _use_new_zipfile_serialization=False)  # fmt: skip
    old, new = b"cnumpy.core.multiarray\n", b"cnumpy._core.multiarray\n"
    content = buffer.getvalue().replace(old, new).replace(new, old if np.__version__ >= "2" else new)
    (tmp_path / "m.pth").write_bytes(content)
    assert read_state_dict(tmp_path / "m.pth")[1]["score"] == 0.5


def test_other_numpy_objects_are_refused(tmp_path):
    torch.save({"meta": {"palette": np.zeros(3)}, "state_dict": small_model().state_dict()}, tmp_path / "m.pth")
    with pytest.raises(CheckpointError, match=r"m\.pth: refused: .*numpy\.core\.multiarray\._reconstruct"):
        read_state_dict(tmp_path / "m.pth")


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("zipped", [False, True])
def test_code_in_a_pickle_is_named_and_not_run(tmp_path, zipped):
    proof = tmp_path / "proof"
    content = {"state_dict": small_model().state_dict(), "meta": Malicious(proof)}
    torch.save(content, tmp_path / "bad.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"bad\.pth: refused: .*posix\.system.*state dict alone"):
        read_state_dict(tmp_path / "bad.pth")
    assert not proof.exists()


def test_plain_pickle_with_code_is_not_run(tmp_path):
    proof = tmp_path / "proof"
    (tmp_path / "bad.pth").write_bytes(pickle.dumps(Malicious(proof)))
    with pytest.raises(CheckpointError, match=r"bad\.pth"):
        read_state_dict(tmp_path / "bad.pth")
    assert not proof.exists()


@pytest.mark.parametrize("name", ["model.pth", "model.safetensors"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        (b"\n  <html>404</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b"just some text that is long enough", "neither a safetensors nor a PyTorch file"),
        (b"PK", "neither a safetensors nor a PyTorch file"),
    ],
)
def test_foreign_content_is_recognised(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name}: .*{message}"):
        read_state_dict(tmp_path / name)


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_truncated_files(tmp_path, kind, kept):
    path = tmp_path / "model.bin"
    if kind == "safetensors":
        save_weights(small_model(), path)
    else:
        torch.save(small_model().state_dict(), path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(CheckpointError, match=r"model\.bin: truncated or damaged.*again"):
        read_state_dict(path)


def test_missing_file_folder_and_empty_state_dict(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent\.pth: no such file"):
        read_state_dict(tmp_path / "absent.pth")
    with pytest.raises(CheckpointError, match="is a folder; give the checkpoint file inside it"):
        read_state_dict(tmp_path)
    torch.save({}, tmp_path / "empty.pth")
    with pytest.raises(CheckpointError, match="holds no tensors"):
        read_state_dict(tmp_path / "empty.pth")


def test_not_a_state_dict(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds a list; expected a state dict"):
        read_state_dict(tmp_path / "list.pth")
    torch.save({"weight": torch.zeros(1), "epoch": 3}, tmp_path / "mixed.pth")
    with pytest.raises(CheckpointError, match="entry 'epoch' is a int"):
        read_state_dict(tmp_path / "mixed.pth")


@pytest.mark.parametrize("seed", range(4))
def test_damaged_archives_never_load_other_weights(tmp_path, seed):
    """Wherever eight bytes change: refused, or (in the archive's own names and padding) the weights are as saved."""
    model = nn.Linear(64, 64)
    torch.save(model.state_dict(), tmp_path / "model.pth")
    whole, refused = (tmp_path / "model.pth").read_bytes(), 0
    before = weights_hash(model.state_dict())
    for place in np.random.default_rng(seed).integers(0, len(whole) - 8, 25):
        damaged = bytes(byte ^ 0x55 for byte in whole[place : place + 8])
        (tmp_path / "model.pth").write_bytes(whole[:place] + damaged + whole[place + 8 :])
        other = nn.Linear(64, 64)
        fresh = weights_hash(other.state_dict())
        try:
            load_checkpoint(other, tmp_path / "model.pth")
        except CheckpointError:
            refused += 1
            assert weights_hash(other.state_dict()) == fresh
        else:
            assert weights_hash(other.state_dict()) == before
    assert refused > 20


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", ["model.pth", "model.safetensors", "state dict"])
def test_weights_that_are_not_finite_are_refused(tmp_path, kind, value):
    model, other = small_model(), small_model()
    with torch.no_grad():
        model[1].running_var[2] = value
    source = tmp_path / kind
    if kind == "model.pth":
        torch.save({"state_dict": model.state_dict()}, source)
    elif kind == "model.safetensors":
        save_weights(model, source)
    else:
        source = model.state_dict()
    with pytest.raises(CheckpointError, match=r"1\.running_var has numbers that are not finite"):
        load_checkpoint(other, source)
    assert_same(other.state_dict(), small_model())


def test_equal_weights_have_one_identity(tmp_path):
    """In any format, with any metadata; another name, type, shape or bit makes other weights."""
    model = small_model()
    save_weights(model, tmp_path / "a.safetensors", {"seconds": "1.0", "iteration": "7"})
    save_weights(model, tmp_path / "b.safetensors", {"iteration": "7", "processes": "2"})
    torch.save({"meta": {"epoch": 1}, "state_dict": model.state_dict()}, tmp_path / "c.pth")
    identities = {provenance.weights_sha256(path) for path in tmp_path.iterdir()}
    assert identities == {weights_hash(model.state_dict())}
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    assert provenance.are_weights(a, provenance.weights_sha256(b))
    assert provenance.are_weights(a, provenance.file_sha256(a))  # of a record made before
    assert not provenance.are_weights(a, provenance.file_sha256(b))
    tensor = torch.zeros(2, 3)
    nearby = torch.full((2, 3), -0.0)
    others = [
        {"a": tensor},
        {"b": tensor},
        {"a": tensor.T},
        {"a": tensor.half()},
        {"a": nearby},
        {"a": tensor, "b": tensor},
    ]
    assert len({weights_hash(each) for each in others}) == len(others)


def test_tables_of_logarithms_may_hold_that_of_zero(tmp_path):
    table = torch.tensor([0.0, -torch.inf])
    torch.save({"head.log_table": table, "weight": torch.ones(1)}, tmp_path / "a.pth")
    assert torch.equal(read_state_dict(tmp_path / "a.pth")[0]["head.log_table"], table)
    for name, value in (("head.table", -torch.inf), ("head.log_table", torch.inf), ("head.log_table", torch.nan)):
        torch.save({name: torch.tensor([0.0, value])}, tmp_path / "b.pth")
        with pytest.raises(CheckpointError, match="not finite"):
            read_state_dict(tmp_path / "b.pth")
