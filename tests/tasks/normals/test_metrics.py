from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ddp_repro.tasks.normals.metrics import METRICS, NormalErrors, angular_error, normal_measures

GOLDEN = Path(__file__).parents[2] / "golden" / "siblings" / "external_metrics.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    arrays = np.load(GOLDEN)
    return {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays.files if name.startswith("nrm_")}


@pytest.fixture
def tally(golden: dict[str, Tensor]) -> NormalErrors:
    tally = NormalErrors()
    for prediction, truth, valid in zip(golden["nrm_pred"], golden["nrm_gt"], golden["nrm_mask"], strict=True):
        tally.update(prediction, truth, valid)
    return tally


def test_errors_are_dsines(golden: dict[str, Tensor], tally: NormalErrors) -> None:
    torch.testing.assert_close(
        angular_error(golden["nrm_pred"], golden["nrm_gt"]), golden["nrm_err"], atol=1e-5, rtol=1e-6
    )
    names = {"mean": "mean", "median": "median", "rmse": "rmse"}
    names |= {"within_5": "a1", "within_7_5": "a2", "within_11_25": "a3", "within_30": "a5"}
    for metric, name in names.items():
        assert tally.value(metric) == pytest.approx(float(golden[f"nrm_{name}"]), abs=1e-5), metric


def test_pooled_is_not_the_mean_over_images(golden: dict[str, Tensor], tally: NormalErrors) -> None:
    per_image = NormalErrors(pooled=False)
    for prediction, truth, valid in zip(golden["nrm_pred"], golden["nrm_gt"], golden["nrm_mask"], strict=True):
        per_image.update(prediction, truth, valid)
    assert per_image.images == tally.images
    first, second = (np.array(image.values) for image in tally.images)
    np.testing.assert_allclose(list(per_image.to_dict().values()), (first + second) / 2)
    pixels = [image.pixels for image in tally.images]
    assert tally.value("mean") == pytest.approx(np.average([first[0], second[0]], weights=pixels), abs=1e-5)
    assert tally.value("median") != pytest.approx(per_image.value("median"), abs=1e-3)


def test_measures_on_a_hand_case() -> None:
    measures = dict(zip(METRICS, normal_measures(torch.tensor([0.0, 5.0, 10.0, 40.0])).tolist(), strict=True))
    assert measures["mean"] == 13.75 and measures["median"] == 7.5
    assert measures["rmse"] == pytest.approx(np.sqrt((25 + 100 + 1600) / 4))
    assert measures["within_5"] == 25 and measures["within_7_5"] == 50 and measures["within_30"] == 75


def test_merging_pools(golden: dict[str, Tensor], tally: NormalErrors) -> None:
    parts = [NormalErrors(), NormalErrors()]
    for part, *maps in zip(parts, golden["nrm_pred"], golden["nrm_gt"], golden["nrm_mask"], strict=True):
        part.update(*maps)
    assert parts[0].merge(parts[1]).to_dict() == tally.to_dict()
    with pytest.raises(ValueError, match="merge"):
        tally.merge(NormalErrors(pooled=False))


def test_opposite_and_missing_normals() -> None:
    truth = torch.zeros(3, 1, 3)
    truth[2, 0, :2] = 1.0  # the third pixel has no truth
    prediction = torch.zeros(3, 1, 3)
    prediction[2, 0, 0] = -0.2
    image = NormalErrors().update(prediction, truth)
    assert image.pixels == 2 and image.values[0] == pytest.approx((180 + 90) / 2)


def test_bad_normals_are_refused(golden: dict[str, Tensor]) -> None:
    prediction, truth = golden["nrm_pred"][0], golden["nrm_gt"][0]
    with pytest.raises(ValueError, match="unit"):
        NormalErrors().update(prediction, 2 * truth)
    with pytest.raises(ValueError, match="finite"):
        NormalErrors().update(prediction * torch.nan, truth)
    with pytest.raises(ValueError, match="unit"):
        NormalErrors().update(prediction, truth * torch.nan, torch.ones(20, 30))
    with pytest.raises(ValueError, match="no pixel"):
        NormalErrors().update(prediction, torch.zeros_like(truth))
    with pytest.raises(ValueError, match="3, H, W"):
        NormalErrors().update(prediction[:2], truth[:2])
    with pytest.raises(ValueError, match="no image"):
        NormalErrors().to_dict()
