"""Measures by hand, states from measures, and training that is made to fail: each failure gets its name."""

import csv
import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from omegaconf import OmegaConf
from PIL import Image

from colorize.checkpoint import read_checkpoint
from colorize.data import Batch
from colorize.errors import UserError
from colorize.experiment import train
from colorize.states import STATES
from colorize.training.diagnosis import Bounds, diagnose
from colorize.training.observation import MEASURES, Weights, observe, observe_colors
from colorize.training.step import Outcome
from tests.conftest import ROOT, small_config

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


# Training that fails ------------------------------------------------------------------------------------------------

QUICK = ["callbacks.watch.every_n_batches=1", "callbacks.watch.window=3", "callbacks.watch.grace=0", "max_epochs=12"]


def states(run_dir: Path) -> list[dict[str, str]]:
    path = run_dir / "states.csv"
    return list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []


@pytest.fixture(scope="module")
def one_color(tmp_path_factory) -> Path:
    """Make a folder of images that are all the same."""
    folder = tmp_path_factory.mktemp("one") / "photos"
    folder.mkdir()
    for number in range(25):
        Image.new("RGB", (40, 40), (180, 60, 90)).save(folder / f"{number:02d}.png")
    return folder


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (["game.warmup_D=9", "lr=2e-3"], "D wins"),  # G does not move
        (["lambda_L1=0", "lr=1.5e-3", "lr_ratio=1e-6"], "D fooled"),  # D does not
        (["lambda_L1=0", "lr=1.5e-3", "lr_ratio=1e-6"], "over-saturation"),
        (["lr=0.1"], "diverging"),
        (["optim.generator.lr=1e-2"], "diverging"),
    ],
)
def test_a_provoked_failure_gets_its_name(make_config, tmp_path, failure, state) -> None:
    train(make_config(*QUICK, *failure))
    assert state in {row["state"] for row in states(tmp_path / "run")}


def test_images_that_are_all_alike_are_a_collapse(one_color, tmp_path) -> None:
    train(small_config(one_color, tmp_path, *QUICK, "max_epochs=2"))
    (row,) = states(tmp_path)
    assert row["state"] == "colour collapse" and "the images themselves are alike" in row["evidence"]


def test_looks_are_logged_and_summed_up(make_config, tmp_path, caplog) -> None:
    with caplog.at_level(logging.WARNING, logger="colorize"):
        train(make_config(*QUICK, "max_epochs=2", "lr=0.1", "callbacks.watch.every_n_batches=2"))
    rows = list(csv.DictReader((tmp_path / "run/metrics.csv").read_text().splitlines()))
    looks = [row for row in rows if row["diag/state"]]
    assert [int(row["step"]) for row in looks] == [0, 2, 4, 6, 8]
    assert all(row[f"diag/{name}"] for row in looks for name in MEASURES)
    assert float(looks[-1]["diag/state"]) == STATES.index("diverging")
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["states"]["diverging"] == 3 and summary["state"] == "diverging" and summary["rollbacks"] == 0
    assert "epoch 0, batch 5: diverging: G's steps change its weights by" in caplog.text


def test_stop_ends_training_and_scores_it(make_config, tmp_path) -> None:
    metrics = train(make_config(*QUICK, "lr=0.1", "callbacks.watch.policy.diverging=stop"))
    (row,) = states(tmp_path / "run")
    assert (row["batch"], row["state"], row["action"]) == ("3", "diverging", "stopped")
    assert metrics["val/l1"] > 0
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["batches"] == 3


def test_rolling_back_takes_the_weights_and_lowers_the_lr_until_training_is_healthy(make_config, tmp_path) -> None:
    train(make_config(*QUICK, "lr=0.1", "callbacks.watch.policy=rollback", "callbacks.watch.grace=999"))
    actions = [row["action"].split(" (")[0] for row in states(tmp_path / "run")]
    assert actions[:3] == ["rolled back to batch 0, lr_G and lr_D x 0.25"] * 3  # from 0.1 over 0.025 and 0.00625
    logged = list(csv.DictReader((tmp_path / "run/metrics.csv").read_text().splitlines()))
    assert float(next(row for row in reversed(logged) if row["train/lr_G"])["train/lr_G"]) == pytest.approx(0.1 / 64)
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["state"] == "healthy" and summary["rollbacks"] == len(actions)


def test_tries_are_bounded(make_config, tmp_path) -> None:
    train(make_config(*QUICK, "lr=10", "callbacks.watch.policy=rollback", "callbacks.watch.max_tries=2"))
    assert [row["action"] for row in states(tmp_path / "run")][-1] == "stopped after 2 roll-backs"
    assert json.loads((tmp_path / "run/summary.json").read_text())["rollbacks"] == 2


def test_only_the_one_to_blame_gets_a_lower_lr(make_config, tmp_path) -> None:
    train(
        make_config(
            *QUICK, "max_epochs=3", "lr_ratio=100", "callbacks.watch.policy=rollback", "callbacks.watch.grace=999"
        )
    )
    assert states(tmp_path / "run")[0]["action"].startswith("rolled back to batch 0, lr_D x 0.25")
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["lr_scale"]["G"] == 1


def test_a_state_is_proven_before_it_is_gone_back_to(make_config, tmp_path) -> None:
    """Three looks make it healthy, six more batches prove it; the failure then goes back to it, not to the start."""
    late = f"+callbacks.late={{_target_: {__name__}.Faster, batch: 11}}"
    train(make_config(*QUICK, late, "max_epochs=5", "callbacks.watch.policy=rollback", "callbacks.watch.grace=999"))
    first = states(tmp_path / "run")[0]
    assert (first["state"], first["batch"]) == ("diverging", "13")
    assert first["action"].startswith("rolled back to batch 3, ")
    assert not (tmp_path / "run/checkpoints/healthy-candidate.ckpt").exists()


class Faster(Callback):
    """Multiplies the learning rates by 500 from a batch on, until the next epoch or roll-back."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_start(self, trainer, module, *_) -> None:
        if module.batches == self.batch:
            for group in (group for optimizer in trainer.optimizers for group in optimizer.param_groups):
                group["lr"] *= 500


def test_a_loss_that_is_no_number_is_rolled_back(make_config, tmp_path) -> None:
    poison = "+callbacks.poison={_target_: tests.test_training.Poison, network: generator, batch: 7}"
    train(make_config(*QUICK, "max_epochs=3", poison, "callbacks.watch.policy=rollback", "callbacks.watch.grace=999"))
    row = states(tmp_path / "run")[0]
    assert row["evidence"].startswith("loss_D is nan at epoch 1, batch 7") and "rolled back to batch" in row["action"]
    checkpoint = read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")
    assert checkpoint["batches"] == 15
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


def test_a_loss_that_is_no_number_is_noted_when_it_ends_the_run(make_config, tmp_path) -> None:
    poison = "+callbacks.poison={_target_: tests.test_training.Poison, network: generator, batch: 7}"
    with pytest.raises(UserError):
        train(make_config(*QUICK, "max_epochs=3", poison))
    assert states(tmp_path / "run")[-1] | {"evidence": ""} == {
        "epoch": "1", "batch": "8", "state": "diverging", "evidence": "", "action": "stopped",
    }  # fmt: skip


def test_a_resumed_run_knows_its_tries_and_its_lower_lr(make_config, tmp_path) -> None:
    rollback = [*QUICK, "lr=0.1", "callbacks.watch.policy=rollback", "callbacks.watch.grace=999"]
    train(make_config(*rollback, "max_epochs=2"))
    tries = json.loads((tmp_path / "run/summary.json").read_text())["rollbacks"]
    before = states(tmp_path / "run")
    train(make_config(*rollback, "max_epochs=3", "ckpt_path=last"))
    assert tries == 3 and json.loads((tmp_path / "run/summary.json").read_text())["rollbacks"] == tries
    assert states(tmp_path / "run")[: len(before)] == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("callbacks.watch.policy.diverging=foo", r"policy.diverging must be one of \['warn', 'stop', 'rollback'\]"),
        ("+callbacks.watch.policy.foo=warn", r"unknown state 'foo' in callbacks.watch.policy; choose from \['D_wins'"),
        ("callbacks.watch.policy=foo", "must be one of"),
        ("callbacks.watch.lr_factor=2", r"callbacks.watch.lr_factor must be in \(0, 1\); got 2"),
        ("callbacks.watch.window=0", "window must be at least 1"),
        ("+callbacks.watch.bounds.foo=1", "bounds must be a number for each of update_ratio, .*'foo': 1"),
        ("callbacks.watch.bounds.saturated=x", "bounds must be a number for each of .*'saturated': 'x'"),
    ],
)  # fmt: skip
def test_a_wrong_watch_is_one_line(make_config, override, message) -> None:
    with pytest.raises(UserError, match=message) as caught:
        train(make_config(override))
    assert "\n" not in str(caught.value)


def test_watching_changes_no_weight(make_config, tmp_path) -> None:
    for name, overrides in {"watched": [*QUICK], "alone": ["~callbacks.watch", "max_epochs=12"]}.items():
        train(make_config(*overrides, "max_epochs=2", run=name))
    first, second = (
        read_checkpoint(tmp_path / n / "checkpoints/last.ckpt")["state_dict"] for n in ("watched", "alone")
    )
    assert all(torch.equal(first[key], second[key]) for key in first)
