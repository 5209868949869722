"""Measures by hand, and states from measures."""

import contextlib
import math

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch.utils._python_dispatch import TorchDispatchMode

from colorize.data import Batch
from colorize.training.diagnosis import Bounds, diagnose
from colorize.training.observation import MEASURES, Weights, observe, observe_colors
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
        ({"D_acc_fake": 0.1}, "D fooled"),
        ({"D_acc_real": 0.1}, "D fooled"),
        ({"update_ratio_G": 0.05}, "diverging"),
        ({"l1": 0.3}, "diverging"),
        ({"l1": math.nan}, "diverging"),
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


def test_the_evidence_holds_the_numbers() -> None:
    found = diagnose([SOUND | {"update_ratio_D": 0.071}], BOUNDS, 5.0)
    assert found.evidence == "D's steps change its weights by 7.1% each; 0.1% to 0.5% is usual"
    assert found.culprits == ("D",)
    found = diagnose([SOUND | {"D_acc_real": 1.0, "D_acc_fake": 0.98, "margin": 6.25}], BOUNDS, 5.0)
    assert found.evidence == "D is right on 100% of real and 98% of generated patches, margin 6.2"


def test_one_odd_look_makes_no_state() -> None:
    assert diagnose([SOUND, SOUND, SOUND | {"l1": 0.9}], BOUNDS, 5.0).state == "healthy"


def test_colours_are_not_judged_while_they_are_young() -> None:
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


def test_what_was_not_there_is_no_number(batch) -> None:
    found = observed(Outcome(torch.zeros(6), batch.ab, grad_norm_G=torch.tensor(1.0)), batch)
    assert all(math.isnan(found[name]) for name in ("D_acc_real", "margin", "grad_norm_D", "update_ratio_D"))
    assert found["update_ratio_G"] == pytest.approx(0.1) and found["l1"] == 0


def test_colours_are_measured_as_their_definitions_say(batch) -> None:
    fake = batch.ab * 0.5
    fake[0] = 0.99
    found = {name: value.item() for name, value in observe_colors(batch.L, fake, batch.ab).items()}
    ab, fake_np = batch.ab.double().numpy(), fake.double().numpy()
    cells = lambda x: x.reshape(4, 2, 8, 4, 8, 4).mean((3, 5))  # noqa: E731
    assert found["saturated"] == 0.25
    assert found["l1"] == pytest.approx(np.abs(fake_np - ab).mean(), rel=1e-5)
    assert found["l1_grey"] == pytest.approx(np.abs(ab).mean(), rel=1e-5)
    assert found["chroma_spread"] == pytest.approx(fake_np.std(axis=0, ddof=1).mean(), rel=1e-5)
    assert found["blob_energy"] == pytest.approx((cells(fake_np - ab) ** 2).mean() / (cells(ab) ** 2).mean(), rel=1e-4)


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
