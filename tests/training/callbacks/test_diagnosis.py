"""Measures computed by hand, and states determined from measures."""

import contextlib
import math
import warnings

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from skimage.color import lab2rgb
from torch.utils._python_dispatch import TorchDispatchMode

from colorize.data import Batch
from colorize.training.callbacks.diagnosis import Bounds, diagnose
from colorize.training.callbacks.observation import MEASURES, Weights, observe, observe_colors
from colorize.training.step import Outcome
from tests.conftest import ROOT

SOUND = {
    "D_acc_real": 0.8, "D_acc_fake": 0.8, "margin": 2.0, "grad_norm_D": 5.0, "grad_norm_G": 50.0,
    "update_ratio_D": 0.003, "update_ratio_G": 0.003, "saturated": 0.0, "colorfulness": 60.0, "colorfulness_real": 70.0,
    "chroma_spread": 0.1, "chroma_spread_real": 0.18, "blob_energy": 0.6, "out_of_gamut": 0.01,
    "l1": 0.12, "l1_grey": 0.18,
}  # fmt: skip


BOUNDS = Bounds(**OmegaConf.load(ROOT / "conf/callbacks/default.yaml").watch.bounds)


def named(**changes: float) -> str:
    return diagnose([SOUND | changes] * 3, BOUNDS, sure=5.0).state


def test_sound_measures_are_healthy() -> None:
    assert set(SOUND) == set(MEASURES)
    assert named() == "healthy"


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"D_acc_real": 0.99, "D_acc_fake": 1.0, "margin": 7.0}, "D wins"),
        ({"D_acc_real": 0.99, "D_acc_fake": 1.0, "margin": 4.0}, "healthy"),  # right, but not sure
        ({"D_acc_real": 0.99, "D_acc_fake": 0.8, "margin": 7.0}, "healthy"),  # sure, but right on one kind only
        ({"D_acc_fake": 0.1}, "D fooled"),
        ({"D_acc_real": 0.1}, "D fooled"),
        ({"update_ratio_G": 0.05}, "diverging"),
        ({"l1": 0.3}, "diverging"),
        ({"l1": math.nan}, "diverging"),
        ({"l1": -math.inf}, "diverging"),
        ({"grad_norm_G": math.inf}, "diverging"),
        ({"chroma_spread": 0.01}, "colour collapse"),
        ({"chroma_spread": 0.05, "chroma_spread_real": 0.0}, "colour collapse"),
        ({"saturated": 0.05}, "over-saturation"),
        ({"out_of_gamut": 0.1}, "over-saturation"),
        ({"colorfulness": 120.0}, "over-saturation"),
        ({"D_acc_real": math.nan, "D_acc_fake": math.nan, "margin": math.nan}, "healthy"),  # D has not played
    ],
)
def test_each_state_has_its_measures(changes, state) -> None:
    assert named(**changes) == state


@pytest.mark.parametrize(
    "changes",
    [
        {"update_ratio_D": BOUNDS.update_ratio},
        {"l1": BOUNDS.worse_than_grey * SOUND["l1_grey"]},
        {"chroma_spread": BOUNDS.chroma_spread * SOUND["chroma_spread_real"]},
        {"chroma_spread_real": BOUNDS.least_spread},
        {"saturated": BOUNDS.saturated},
        {"out_of_gamut": BOUNDS.out_of_gamut},
        {"colorfulness": BOUNDS.too_colorful * SOUND["colorfulness_real"]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_measure_at_its_bound_is_healthy(changes) -> None:
    assert named(**changes) == "healthy"


def test_a_discriminator_at_its_bounds_wins_or_is_fooled() -> None:
    surely = {"D_acc_real": BOUNDS.D_surely, "D_acc_fake": BOUNDS.D_surely, "margin": 5.0}
    assert named(**surely) == "D wins"
    assert named(D_acc_real=BOUNDS.D_hardly) == "D fooled"


@pytest.mark.parametrize(("share", "culprits"), [(0.49, ("G",)), (0.5, ("G",)), (0.51, ("G", "D"))])
def test_a_network_above_half_the_bound_slows_down_with_the_other(share, culprits) -> None:
    ratios = {"update_ratio_G": 0.05, "update_ratio_D": share * BOUNDS.update_ratio}
    assert diagnose([SOUND | ratios], BOUNDS, 5.0).culprits == culprits


def test_a_look_that_lacks_a_measure_is_passed_over() -> None:
    looks = [SOUND | {"update_ratio_D": ratio} for ratio in (0.05, math.nan, math.nan)]
    assert diagnose(looks, BOUNDS, 5.0).culprits == ("D",)


def test_the_evidence_holds_the_numbers() -> None:
    found = diagnose([SOUND | {"update_ratio_D": 0.071}], BOUNDS, 5.0)
    assert found.evidence == "D's steps change its weights by 7.1% each; 0.1% to 0.5% is usual"
    assert found.culprits == ("D",)
    found = diagnose([SOUND | {"D_acc_real": 1.0, "D_acc_fake": 0.98, "margin": 6.25}], BOUNDS, 5.0)
    assert found.evidence == "D is right on 100% of real and 98% of generated patches, margin 6.2"


def test_one_odd_look_makes_no_state() -> None:
    assert diagnose([SOUND, SOUND, SOUND | {"l1": 0.9}], BOUNDS, 5.0).state == "healthy"


def test_colors_are_not_judged_while_they_are_young() -> None:
    assert diagnose([SOUND | {"chroma_spread": 0.0}], BOUNDS, 5.0, colors=False).state == "healthy"


def test_an_objective_without_a_scale_has_no_winner() -> None:
    sure = {"D_acc_real": 1.0, "D_acc_fake": 1.0, "margin": 1e3}
    assert diagnose([SOUND | sure], BOUNDS, sure=None).state == "healthy"


def observed(outcome: Outcome, batch: Batch, boundary: float | None = 0.0) -> dict[str, float]:
    ratios = {"G": torch.tensor(0.1), "D": torch.tensor(0.2)}
    return dict(zip(MEASURES, observe(outcome, batch, boundary, ratios).tolist(), strict=True))


class Copies(TorchDispatchMode):
    """Counts tensors that are made from Python's numbers, and those that come from the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        comes = func is torch.ops.aten._to_copy.default and args[0].device.type == "cpu"
        self.count += func is torch.ops.aten.lift_fresh.default or comes
        return func(*args, **kwargs or {})


def test_a_look_copies_nothing_to_the_device(batch, monkeypatch) -> None:
    """On the device "meta", which computes nothing and where reading a value raises; a second look, as all but one."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: contextlib.nullcontext())  # knows no meta
    batch = Batch(*(part.to("meta") for part in batch))
    logits, norm = torch.empty(4, 1, 2, 2, device="meta"), torch.empty((), device="meta")
    outcome = Outcome(torch.empty(6, device="meta"), batch.ab, logits, logits, norm, None)
    with Copies() as first:
        observe(outcome, batch, 0.0, {"D": norm, "G": norm})
    with Copies() as second:
        observe(outcome, batch, 0.0, {"D": norm, "G": norm})
    assert second.count == 0, f"{second.count} copies; the first look made {first.count}"


@pytest.fixture
def batch() -> Batch:
    draw = torch.Generator().manual_seed(0)
    ab = torch.rand(4, 2, 32, 32, generator=draw) - 0.5
    return Batch(torch.zeros(4, 1, 32, 32), ab, torch.arange(4))


def test_accuracy_and_margin_follow_from_the_logits(batch) -> None:
    fake, real = torch.tensor([-1.0, 0.5, -2.0, -3.0]), torch.tensor([2.0, -1.0, 1.0, 4.0])
    outcome = Outcome(torch.zeros(6), batch.ab, fake, real, torch.tensor(3.0), torch.tensor(4.0))
    found = observed(outcome, batch)
    assert (found["D_acc_fake"], found["D_acc_real"]) == (0.75, 0.75)
    assert found["margin"] == pytest.approx(1.5 + 1.375)
    assert (found["grad_norm_D"], found["update_ratio_D"]) == (3, pytest.approx(0.2))
    # in pairs only the second is the wrong way round
    assert observed(outcome, batch, boundary=None)["D_acc_fake"] == 0.75
    assert observed(outcome._replace(real_logits=real + 2), batch, boundary=None)["D_acc_real"] == 1


def test_a_boundary_judges_each_logit_and_without_one_each_pair(batch) -> None:
    fake, real = torch.tensor([1.0, 1.0, 2.0, 3.0]), torch.tensor([2.0, 3.0, 2.0, 1.0])
    outcome = Outcome(torch.zeros(6), batch.ab, fake, real)
    accuracies = {
        boundary: (found["D_acc_fake"], found["D_acc_real"])
        for boundary in (0.0, 1.5, 2.0, None)
        for found in [observed(outcome, batch, boundary)]
    }
    # On the boundary, or equal in a pair, neither is right
    assert accuracies == {0.0: (0, 1), 1.5: (0.5, 0.75), 2.0: (0.5, 0.25), None: (0.5, 0.5)}


def test_half_precision_is_measured_in_float32(batch) -> None:
    draw = torch.Generator().manual_seed(1)
    fake, real = (torch.randn(4, 1, 6, 6, generator=draw).bfloat16() for _ in range(2))
    fake_ab = (batch.ab * 0.3).bfloat16()
    found = observed(Outcome(torch.zeros(6), fake_ab, fake, real), batch)
    assert found["margin"] == pytest.approx((real.double().mean() - fake.double().mean()).item(), rel=1e-5)
    assert found["l1"] == pytest.approx((fake_ab.double() - batch.ab.double()).abs().mean().item(), rel=1e-5)


def test_what_was_not_there_is_no_number(batch) -> None:
    found = observed(Outcome(torch.zeros(6), batch.ab, grad_norm_G=torch.tensor(1.0)), batch)
    assert all(math.isnan(found[name]) for name in ("D_acc_real", "margin", "grad_norm_D", "update_ratio_D"))
    assert found["update_ratio_G"] == pytest.approx(0.1) and found["l1"] == 0
    found = observed(Outcome(torch.zeros(6), batch.ab, torch.zeros(4), grad_norm_D=torch.tensor(1.0)), batch)
    assert all(math.isnan(found[name]) for name in ("D_acc_fake", "grad_norm_G", "update_ratio_G"))
    assert found["update_ratio_D"] == pytest.approx(0.2)


def test_one_image_has_no_spread_and_two_have(batch) -> None:
    for count in (1, 2):
        found = observe_colors(*(x[:count] for x in (batch.L, batch.ab * 0.5, batch.ab)))
        assert ("chroma_spread" in found, "chroma_spread_real" in found) == (count > 1, count > 1)


def test_colors_are_measured_as_their_definitions_say(batch) -> None:
    fake = batch.ab * 0.5
    fake[0, 0], fake[0, 1] = 0.99, -0.99
    fake[1, 0, 0, 0] = 0.95  # is not beyond it
    found = {name: value.item() for name, value in observe_colors(batch.L, fake, batch.ab).items()}
    ab, fake_np = batch.ab.double().numpy(), fake.double().numpy()
    cells = lambda x: x.reshape(4, 2, 8, 4, 8, 4).mean((3, 5))  # noqa: E731
    assert found["saturated"] == 0.25
    assert found["l1"] == pytest.approx(np.abs(fake_np - ab).mean(), rel=1e-5)
    assert found["l1_grey"] == pytest.approx(np.abs(ab).mean(), rel=1e-5)
    assert found["chroma_spread"] == pytest.approx(fake_np.std(axis=0, ddof=1).mean(), rel=1e-5)
    assert found["blob_energy"] == pytest.approx((cells(fake_np - ab) ** 2).mean() / (cells(ab) ** 2).mean(), rel=1e-4)


@pytest.mark.parametrize(("size", "step"), [((64, 96), 2), ((96, 72), 2), ((40, 63), 1), ((16, 20), 1)])
def test_colors_are_judged_on_about_32_pixels_a_side(size, step) -> None:
    draw = torch.Generator().manual_seed(0)
    L, ab = torch.rand(2, 1, *size, generator=draw) - 0.5, torch.rand(2, 2, *size, generator=draw) - 0.5
    found = observe_colors(L, ab, ab)
    lab = torch.cat([(L + 1) * 50, ab * 110], dim=1)[..., ::step, ::step].double().permute(0, 2, 3, 1).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-image says that it clips
        red, green, blue = np.moveaxis(np.round(lab2rgb(lab) * 255), -1, 0)  # (2, H, W)
    rg, yb = red - green, (red + green) / 2 - blue
    expected = np.hypot(rg.std((1, 2)), yb.std((1, 2))) + 0.3 * np.hypot(rg.mean((1, 2)), yb.mean((1, 2)))
    assert found["colorfulness_real"].item() == pytest.approx(expected.mean(), rel=1e-4)
    assert found["chroma_spread"].item() == pytest.approx(lab[..., 1:].std(axis=0, ddof=1).mean() / 110, rel=1e-5)


def test_grey_images_generated_grey_have_no_blobs(batch) -> None:
    grey = torch.zeros_like(batch.ab)
    assert observe_colors(batch.L, grey, grey)["blob_energy"].item() == 0


def test_grey_has_the_blob_energy_one_and_truth_none(batch) -> None:
    assert observe_colors(batch.L, torch.zeros_like(batch.ab), batch.ab)["blob_energy"].item() == pytest.approx(1)
    assert observe_colors(batch.L, batch.ab, batch.ab)["blob_energy"].item() == 0


def test_update_ratio_is_the_norm_of_the_change_over_the_norm_before() -> None:
    network = torch.nn.Linear(2, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[3.0, 0.0]]))
        network.bias.copy_(torch.tensor([4.0]))
        weights = Weights(network)
        network.weight += torch.tensor([[0.3, 0.4]])
    assert weights.update_ratio().item() == pytest.approx(0.5 / 5)


def test_weights_that_are_all_zero_and_stay_have_the_update_ratio_zero() -> None:
    network = torch.nn.Linear(2, 1)
    torch.nn.init.zeros_(network.weight)
    torch.nn.init.zeros_(network.bias)
    assert Weights(network).update_ratio().item() == 0


@pytest.mark.parametrize(
    ("shape", "sample"),
    [
        ((), ()),
        ((7,), (7,)),
        ((0, 3), (0, 3)),
        ((256, 256), (256, 256)),  # 65,536
        ((512, 512), (128, 512)),
        ((4, 512, 512), (1, 512, 512)),  # one row at least
    ],
)
def test_weights_are_sampled_by_their_first_rows(shape, sample) -> None:
    network = torch.nn.ParameterList([torch.nn.Parameter(torch.rand(shape))])
    (part,) = Weights(network).now
    assert part.shape == sample
    assert torch.equal(part, network[0].detach()[tuple(slice(n) for n in sample)])
