import functools
import hashlib
import http.server
import json
import threading

import huggingface_hub
import pytest
import torch
from torch import nn

from ddp_repro.interop import hub
from ddp_repro.papers.ddp import checkpoints
from ddp_repro.papers.ddp.settings import ModelConfig
from ddp_repro.settings.errors import CheckpointError, ConfigError

COMMIT = "0" * 40


class Hub(http.server.ThreadingHTTPServer):
    """A stand-in for the hub: files by name, and how to misbehave."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.cut_after: int | None = None
        self.requests: list[str] = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def _head(self):
        self.server.requests.append(f"{self.command} {self.path}")
        content = self.server.files.get(self.path.rsplit("/", 1)[-1])
        self.send_response(404 if content is None else 200)
        if content is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.send_header("ETag", f'"{hashlib.sha256(content or b"").hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        return content or b""

    def do_HEAD(self):
        self._head()

    def do_GET(self):
        self.wfile.write(self._head()[: self.server.cut_after])


@pytest.fixture
def server(tmp_path, monkeypatch):
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    cache = tmp_path / "cache"
    download, lookup = huggingface_hub.hf_hub_download, huggingface_hub.try_to_load_from_cache
    monkeypatch.setattr(
        huggingface_hub,
        "hf_hub_download",
        lambda *a, **k: download(*a, **{**k, "endpoint": server.url, "cache_dir": cache}),
    )
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", functools.partial(lookup, cache_dir=cache))
    monkeypatch.setattr("time.sleep", lambda _: None)  # the client's pauses between retries
    server.cache = cache
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def weights(server, monkeypatch):
    content = torch.arange(3000).numpy().tobytes()
    file = hub.OfficialFile("tiny.pth", hashlib.sha256(content).hexdigest(), 1)
    monkeypatch.setitem(checkpoints.FILES, "ade20k_swin_t", file)
    server.files["tiny.pth"] = content
    return content


def cached_files(server):
    return [p for p in server.cache.rglob("*") if p.is_file() and {"blobs", "snapshots"} & set(p.parts)]


def test_downloaded_once_then_works_offline(server, weights):
    assert checkpoints.RELEASE.checkpoint("ade20k_swin_t").read_bytes() == weights
    assert any("/yfji/DDP-Weight/resolve/main/tiny.pth" in request for request in server.requests)
    server.shutdown()
    server.server_close()
    assert checkpoints.RELEASE.checkpoint("ade20k_swin_t").read_bytes() == weights


def test_bev_checkpoints_are_found_by_name_without_a_hash(server):
    names = [f"ddp-{sensors}-bev256d2-lss-scale001-d5-lr5e-5.pth" for sensors in ("camera", "fusion")]
    server.files.update({name: name.encode() for name in names})
    assert checkpoints.RELEASE.checkpoint("nuscenes_camera").read_bytes() == names[0].encode()
    assert checkpoints.RELEASE.checkpoint("nuscenes_fusion").read_bytes() == names[1].encode()


def test_no_network_names_file_and_remedy(server, weights):
    server.shutdown()
    server.server_close()
    with pytest.raises(CheckpointError, match=r"cannot download yfji/DDP-Weight/tiny\.pth.*--checkpoint PATH"):
        checkpoints.RELEASE.checkpoint("ade20k_swin_t")
    assert cached_files(server) == []


def test_missing_on_the_hub(server, weights):
    server.files.clear()
    with pytest.raises(CheckpointError, match=r"cannot download yfji/DDP-Weight/tiny\.pth.*404 Client Error"):
        checkpoints.RELEASE.checkpoint("ade20k_swin_t")
    assert cached_files(server) == []


def test_connection_lost_half_way_leaves_no_file(server, weights):
    server.cut_after = 1000
    with pytest.raises(CheckpointError, match=r"cannot download yfji/DDP-Weight/tiny\.pth"):
        checkpoints.RELEASE.checkpoint("ade20k_swin_t")
    assert cached_files(server) == []
    server.cut_after = None
    assert checkpoints.RELEASE.checkpoint("ade20k_swin_t").read_bytes() == weights


def test_other_content_is_refused_and_not_kept(server, weights):
    server.files["tiny.pth"] = b"<html>Please sign in</html>"
    with pytest.raises(CheckpointError, match=r"tiny\.pth: SHA-256 is .* damaged or replaced"):
        checkpoints.RELEASE.checkpoint("ade20k_swin_t")
    assert cached_files(server) == []


def test_damaged_cache_is_found_and_renewed(server, weights):
    path = checkpoints.RELEASE.checkpoint("ade20k_swin_t")
    path.write_bytes(weights[:-1])
    with pytest.raises(CheckpointError, match="run again to download it"):
        checkpoints.RELEASE.checkpoint("ade20k_swin_t")
    assert checkpoints.RELEASE.checkpoint("ade20k_swin_t").read_bytes() == weights


def test_recipe_without_released_checkpoint():
    with pytest.raises(CheckpointError, match=r"no checkpoint for 'cityscapes_swin_t'; released: ade20k_swin_t"):
        checkpoints.RELEASE.checkpoint("cityscapes_swin_t")


class Tiny(nn.Module, hub.PretrainedMixin):
    config_type = ModelConfig

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.layer = nn.Linear(2, config.num_classes)


def test_save_and_load_pretrained(tmp_path):
    model = Tiny(ModelConfig(num_classes=5, window_size=12))
    model.save_pretrained(tmp_path / "out")
    assert {"config.json", "model.safetensors"} <= {p.name for p in (tmp_path / "out").iterdir()}
    again = Tiny.from_pretrained(tmp_path / "out")
    assert again.config == model.config and not again.training
    assert torch.equal(again.layer.weight, model.layer.weight)


def test_pretrained_from_the_hub(server, tmp_path):
    model = Tiny(ModelConfig(num_classes=5))
    model.save_pretrained(tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        server.files[path.name] = path.read_bytes()
    again = Tiny.from_pretrained("someone/model")
    assert torch.equal(again.layer.weight, model.layer.weight)


def test_pretrained_is_strict(tmp_path):
    Tiny(ModelConfig(num_classes=5)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_classes": 6}))
    with pytest.raises(CheckpointError, match=r"of another shape: layer\.weight"):
        Tiny.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"colour": 6}))
    with pytest.raises(ConfigError, match="no field 'colour'"):
        Tiny.from_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json: no such file"):
        Tiny.from_pretrained(tmp_path)
