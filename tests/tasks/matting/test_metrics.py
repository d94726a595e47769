from pathlib import Path

import numpy as np
import pytest

from ddp_repro.tasks.matting import metrics
from ddp_repro.tasks.matting.metrics import METRICS, MattingErrors

pytest.importorskip("skimage")
GOLDEN = Path(__file__).parents[2] / "golden" / "siblings" / "external_metrics.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    arrays = np.load(GOLDEN)
    return {name: arrays[name] for name in arrays.files if name.startswith("mat_")}


def test_whole_image_measures_are_p3ms(golden: dict[str, np.ndarray]) -> None:
    tally = MattingErrors()
    tally.update(golden["mat_pred"], golden["mat_alpha"])
    for metric in METRICS:
        assert tally.value(metric) == pytest.approx(float(golden[f"mat_{metric}"]), abs=1e-5), metric


def test_measures_of_the_unknown_region_are_p3ms(golden: dict[str, np.ndarray]) -> None:
    tally = MattingErrors()
    tally.update(golden["mat_pred"], golden["mat_alpha"], golden["mat_trimap"])
    for metric in ("sad", "mad", "mse"):
        assert tally.value(metric) == pytest.approx(float(golden[f"mat_{metric}_trimap"]), abs=1e-5), metric
    assert 0 < tally.value("grad") < 10 * float(golden["mat_grad"])


def test_gradient_divisor_is_an_option(golden: dict[str, np.ndarray]) -> None:
    mattes = golden["mat_pred"], golden["mat_alpha"]
    assert metrics.gradient_error(*mattes, divisor=1) == pytest.approx(10 * float(golden["mat_grad"]), abs=1e-4)


def test_sums_are_loops(golden: dict[str, np.ndarray]) -> None:
    prediction, alpha = (golden[name].astype(np.float64) for name in ("mat_pred", "mat_alpha"))
    differences = [float(p) - float(a) for p, a in zip(prediction.flat, alpha.flat, strict=True)]
    assert metrics.absolute_error(prediction, alpha) == pytest.approx(sum(map(abs, differences)) / 1000)
    assert metrics.mean_squared_error(prediction, alpha) == pytest.approx(np.mean([d * d for d in differences]))


def test_connectivity_counts_an_island() -> None:
    alpha = np.zeros((9, 9))
    alpha[1:4, 1:4] = 1
    with_island = alpha.copy()
    with_island[7, 7] = 1
    # The island is in no common component: its level is 0 in both mattes, and only the prediction rises above it.
    assert metrics.connectivity_error(with_island, alpha) == pytest.approx(1 / 1000)
    assert metrics.connectivity_error(alpha, alpha) == metrics.connectivity_error(0 * alpha, 0 * alpha) == 0


def test_perfect_mattes_cost_nothing(golden: dict[str, np.ndarray]) -> None:
    image = MattingErrors().update(golden["mat_alpha"], golden["mat_alpha"])
    assert image.values == (0, 0, 0, 0, 0)


def test_tally_keeps_images_and_merges(golden: dict[str, np.ndarray]) -> None:
    prediction, alpha = golden["mat_pred"], golden["mat_alpha"]
    first, second = MattingErrors(), MattingErrors()
    first.update(prediction, alpha, name="a")
    second.update(alpha, alpha, name="b")
    sad = first.value("sad")
    assert first.merge(second).value("sad") == pytest.approx(sad / 2)
    assert [image.name for image in first.images] == ["a", "b"]
    with pytest.raises(ValueError, match="divisors"):
        first.merge(MattingErrors(gradient_divisor=1))
    with pytest.raises(ValueError, match="no image"):
        MattingErrors().value("sad")


@pytest.mark.parametrize("strange", [-0.01, 1.01, np.nan])
def test_opacity_outside_its_range_is_refused(strange: float, golden: dict[str, np.ndarray]) -> None:
    spoiled = golden["mat_alpha"].copy()
    spoiled[0, 0] = strange
    for mattes in ((spoiled, golden["mat_alpha"]), (golden["mat_alpha"], spoiled)):
        with pytest.raises(ValueError, match="finite|opacity"):
            MattingErrors().update(*mattes)


def test_trimaps_of_other_values_are_refused(golden: dict[str, np.ndarray]) -> None:
    prediction, alpha, trimap = golden["mat_pred"], golden["mat_alpha"], golden["mat_trimap"]
    with pytest.raises(ValueError, match=r"0, 128 and 255.*\[1, 2\]"):
        MattingErrors().update(prediction, alpha, np.where(trimap == 128, 1, 2))
    with pytest.raises(ValueError, match="no unknown"):
        MattingErrors().update(prediction, alpha, np.zeros_like(trimap))
    with pytest.raises(ValueError, match="shape"):
        MattingErrors().update(prediction, alpha, trimap[1:])
