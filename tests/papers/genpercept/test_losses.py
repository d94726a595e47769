from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ddp_repro.papers.genpercept import losses
from ddp_repro.papers.genpercept.losses import OFFSET
from ddp_repro.papers.genpercept.settings import SSIKind

pytestmark = pytest.mark.numerics

GOLDEN = Path(__file__).parents[2] / "golden" / "siblings" / "genpercept_losses_metrics.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.asarray(value)) for name, value in np.load(GOLDEN).items()}


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours.double(), theirs.double(), atol=1e-5, rtol=0)


def test_image_mse(golden: dict[str, Tensor]) -> None:
    close(losses.image_mse(golden["pred"], golden["gt"], golden["mask"]), golden["mse"])


@pytest.mark.parametrize(
    ("prediction", "kind", "key"),
    [
        ("pred", "least_squares", "ssi_least_square"),  # the second image's scale is negative: the ratio of medians
        ("pred_corr", "least_squares", "ssi_ls_corr"),
        ("pred", "median", "ssi_medium"),
        ("pred_corr", "median", "ssi_med_corr"),
    ],
)
def test_ssi(prediction: str, kind: SSIKind, key: str, golden: dict[str, Tensor]) -> None:
    shifted = golden[prediction] + OFFSET, golden["gt"] + OFFSET
    close(losses.ssi_loss(*shifted, golden["mask"], kind), golden[key])


def test_gradient_of_both_axes_and_of_one(golden: dict[str, Tensor]) -> None:
    arguments = golden["pred"], golden["gt"], golden["mask"]
    close(losses.gradient_loss(*arguments), golden["grad_3d_call_scales1"])
    close(losses.gradient_loss(*arguments, axes="vertical"), golden["grad_official_4d_call"])
    close(losses.gradient_loss(golden["pred_corr"], *arguments[1:], axes="vertical"), golden["grad_corr"])


def test_gradient_loss_is_a_loop_over_neighbours(golden: dict[str, Tensor]) -> None:
    valid, expected = golden["mask"], 0.0
    error = golden["pred"] - golden["gt"]
    for stride in (1, 2):
        part, inside, total = error[..., ::stride, ::stride], valid[..., ::stride, ::stride], 0.0
        for b, y, x in np.ndindex(*part[:, 0].shape):
            for dy, dx in ((1, 0), (0, 1)):
                if y + dy < part.shape[2] and x + dx < part.shape[3]:
                    pair = (b, 0, y, x), (b, 0, y + dy, x + dx)
                    if inside[pair[0]] and inside[pair[1]]:
                        total += abs(float(part[pair[0]] - part[pair[1]]))
        expected += total / int(inside.sum())
    assert float(losses.gradient_loss(golden["pred"], golden["gt"], valid, scales=2)) == pytest.approx(
        expected, abs=1e-5
    )


def test_depth_loss_and_its_gradient(golden: dict[str, Tensor]) -> None:
    prediction = golden["pred"].clone().requires_grad_()
    loss = losses.depth_loss(prediction, golden["gt"], golden["mask"], axes="vertical")
    loss.backward()
    close(loss.detach(), golden["total_depth_loss"])
    torch.testing.assert_close(prediction.grad, golden["total_depth_loss_grad"], rtol=1e-4, atol=1e-6)


def test_angular(golden: dict[str, Tensor]) -> None:
    close(losses.angular_loss(golden["n_pred"], golden["n_gt"], golden["mask"]), golden["angular_loss"])
    close(losses.angular_loss(golden["n_gt"], golden["n_gt"], golden["mask"]), golden["angular_loss_identical"])


def test_angular_refuses_truths_that_are_not_unit(golden: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match="unit"):
        losses.angular_loss(golden["n_pred"], 1.1 * golden["n_gt"], golden["mask"])
    masked = torch.where(golden["mask"], golden["n_gt"], 0)
    close(losses.angular_loss(golden["n_pred"], masked, golden["mask"]), golden["angular_loss"])


def test_latent_mask_keeps_fully_valid_blocks(golden: dict[str, Tensor]) -> None:
    assert torch.equal(losses.latent_mask(golden["latent_mask_in"]), golden["latent_mask_down"])


def test_latent_mse_averages_valid_positions() -> None:
    prediction, target = torch.zeros(2, 4, 3, 3), torch.ones(2, 4, 3, 3)
    valid = torch.zeros(2, 1, 3, 3, dtype=torch.bool)
    valid[0, 0, 0, 0] = valid[1, 0, 2, 1] = True
    target[1, :, 2, 1] = 3
    assert float(losses.latent_mse(prediction, target, valid)) == pytest.approx((1 + 9) / 2)


def test_masked_values_never_matter(golden: dict[str, Tensor]) -> None:
    valid = golden["mask"]
    spoiled = torch.where(valid, golden["gt"], torch.nan)
    for loss in (losses.image_mse, losses.gradient_loss, losses.depth_loss):
        assert torch.equal(loss(golden["pred"], spoiled, valid), loss(golden["pred"], golden["gt"], valid))


@pytest.mark.parametrize("kind", ["least_squares", "median"])
def test_constant_and_empty_maps_stay_finite(kind: SSIKind, golden: dict[str, Tensor]) -> None:
    for prediction in (torch.zeros_like(golden["pred"]), torch.full_like(golden["pred"], -OFFSET), golden["pred"]):
        for valid in (golden["mask"], torch.zeros_like(golden["mask"])):
            leaf = prediction.clone().requires_grad_()
            loss = losses.depth_loss(leaf, golden["gt"], valid, ssi=kind)
            loss.backward()
            assert loss.isfinite() and leaf.grad is not None and leaf.grad.isfinite().all()
            if not valid.any():
                assert not loss.detach().any() and not leaf.grad.any()


def test_unknown_options_are_refused(golden: dict[str, Tensor]) -> None:
    arguments = golden["pred"], golden["gt"], golden["mask"]
    with pytest.raises(ValueError, match="kind"):
        losses.ssi_loss(*arguments, "mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="axes"):
        losses.gradient_loss(*arguments, axes="horizontal")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="scales"):
        losses.gradient_loss(*arguments, scales=0)
