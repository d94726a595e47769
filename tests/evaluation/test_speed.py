import time

import pytest
import torch

from ddp_repro.costs.timing import measure_speed
from ddp_repro.papers.ddp.costs.candidates import ddp_candidates
from ddp_repro.papers.ddp.settings import ModelConfig

TINY = ModelConfig(backbone="resnet10t", drop_path_rate=0.0, num_classes=4, channels=32, layers=1, heads=4,
                   feedforward_channels=32)  # fmt: skip


def test_slower_candidate_is_slower_and_turns_are_taken():
    calls = []

    def candidate(name, seconds):
        def segment(images):
            calls.append(name)
            time.sleep(seconds)
            return images

        return segment

    fast, slow = measure_speed({"fast": candidate("fast", 0.002), "slow": candidate("slow", 0.02)}, (8, 8), batch=2)
    assert calls == ["fast", "slow"] * 6, "one uncounted round, then five"
    assert slow.images_per_second < fast.images_per_second < 2 / 0.002
    assert slow.quartiles[0] <= slow.images_per_second <= slow.quartiles[1] <= 2 / 0.02
    count = torch.get_num_threads()
    threads = "1 thread" if count == 1 else f"{count} threads"
    assert slow.conditions == f"cpu, {threads}, float32, batch 2, 8×8, n = 5"


def test_ddp_is_timed_from_image_to_labels():
    candidates = ddp_candidates(TINY, (1, 3), "cpu")
    assert list(candidates) == ["DDP, 1 step", "DDP, 3 steps"]
    assert candidates["DDP, 1 step"](torch.zeros(2, 3, 48, 64)).shape == (2, 48, 64)
    one, three = measure_speed(candidates, (64, 64), repetitions=3)
    assert one.images_per_second > 0 and three.images_per_second > 0


def test_autocast_is_reported():
    [speed] = measure_speed(ddp_candidates(TINY, (1,), "cpu"), (32, 32), dtype=torch.bfloat16, repetitions=3)
    assert speed.dtype == "bfloat16"


def test_too_few_repetitions():
    with pytest.raises(ValueError, match="at least 3 repetitions; got 1 and 2"):
        measure_speed({"x": torch.zeros_like}, (8, 8), repetitions=2)


def test_knet_runs_for_real():
    pytest.importorskip("mmengine", reason="the extra mmseg is not installed")
    from ddp_repro.costs.timing import knet_candidate

    with torch.no_grad():
        assert knet_candidate("cpu")["K-Net"](torch.zeros(1, 3, 64, 64)).shape == (1, 64, 64)
