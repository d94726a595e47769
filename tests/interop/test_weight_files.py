import io
import os
import pickle
import stat

import numpy as np
import pytest
import torch
from torch import nn

from ddp_repro.interop.checkpoints import read_state_dict, save_weights
from ddp_repro.settings.errors import CheckpointError


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
