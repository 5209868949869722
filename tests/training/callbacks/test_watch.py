"""Provoked training failures: each is detected, and the policy is applied."""

import csv
import json
import logging
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from omegaconf import OmegaConf
from PIL import Image

from colorize.base.errors import UserError
from colorize.checkpoint import read_checkpoint
from colorize.experiments.experiment import train
from colorize.training.callbacks.observation import MEASURES
from colorize.training.callbacks.watch import Watch
from colorize.vocabulary import STATES
from tests.conftest import ROOT, small_config

QUICK = ["callbacks.watch.every_n_batches=1", "callbacks.watch.window=3", "callbacks.watch.grace=0", "max_epochs=12"]


def states(run_dir: Path) -> list[dict[str, str]]:
    path = run_dir / "states.csv"
    return list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []


@pytest.fixture(scope="module")
def one_color(tmp_path_factory) -> Path:
    """Make a folder of images that are alike, and differ in their size, or they would count as one."""
    folder = tmp_path_factory.mktemp("one") / "photos"
    folder.mkdir()
    for number in range(25):
        Image.new("RGB", (40 + number, 40), (180, 60, 90)).save(folder / f"{number:02d}.png")
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
    with caplog.at_level(logging.INFO, logger="colorize"):
        train(make_config(*QUICK, "max_epochs=2", "lr=0.1", "callbacks.watch.every_n_batches=2"))
    rows = list(csv.DictReader((tmp_path / "run/metrics.csv").read_text().splitlines()))
    looks = [row for row in rows if row["diag/state"]]
    assert [int(row["step"]) for row in looks] == [0, 2, 4, 6, 8]
    assert all(row[f"diag/{name}"] for row in looks for name in MEASURES)
    assert float(looks[-1]["diag/state"]) == STATES.index("diverging")
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["states"]["diverging"] == 3 and summary["state"] == "diverging" and summary["rollbacks"] == 0
    assert "epoch 0, batch 5: diverging: G's steps change its weights by" in caplog.text
    assert "states seen: healthy 2, diverging 3" in caplog.text


def test_stop_ends_training_and_scores_it(make_config, tmp_path) -> None:
    metrics = train(make_config(*QUICK, "lr=0.1", "callbacks.watch.policy.diverging=stop"))
    (row,) = states(tmp_path / "run")
    assert (row["batch"], row["state"], row["action"]) == ("3", "diverging", "stopped")
    assert metrics["val/l1"] > 0
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["batches"] == 3


def test_rolling_back_takes_the_weights_and_lowers_the_lr_until_training_is_healthy(make_config, tmp_path) -> None:
    few = [
        "max_epochs=4",
        "callbacks.watch.bounds.update_ratio=0.05",
    ]  # what follows depends on the processor's rounding
    train(make_config(*QUICK, *few, "lr=0.1", "callbacks.watch.policy=rollback", "callbacks.watch.grace=999"))
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
    last = read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")
    assert last["callbacks"]["Watch"]["lost"] == 10  # so that its weights count as ten batches younger


class Faster(Callback):
    """Multiplies the learning rates by 500 from a batch on, until the next epoch or roll-back."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_start(self, trainer, module, *_) -> None:
        if module.batches == self.batch:
            for group in (group for optimizer in trainer.optimizers for group in optimizer.param_groups):
                group["lr"] *= 500


def test_a_loss_that_is_no_number_is_rolled_back(make_config, tmp_path) -> None:
    poison = "+callbacks.poison={_target_: tests.training.test_training.Poison, network: generator, batch: 7}"
    train(make_config(*QUICK, "max_epochs=3", poison, "callbacks.watch.policy=rollback", "callbacks.watch.grace=999"))
    row = states(tmp_path / "run")[0]
    assert row["evidence"].startswith("loss_D is nan at epoch 1, batch 7") and "rolled back to batch" in row["action"]
    checkpoint = read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")
    assert checkpoint["batches"] == 15
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


def test_what_is_saved_right_after_a_loss_that_was_no_number_is_the_state_gone_back_to(make_config, tmp_path) -> None:
    poison = "+callbacks.poison={_target_: tests.training.test_training.Poison, network: generator, batch: 7}"
    failing = "+callbacks.failing={_target_: tests.experiments.test_resume.FailsAt, batch: 9}"
    unnoticed = [
        "trainer.log_every_n_steps=100",
        "callbacks.last.every_n_batches=8",
        "callbacks.watch.every_n_batches=6",
    ]
    with pytest.raises(RuntimeError, match="some failure"):
        train(make_config(*QUICK, poison, failing, *unnoticed, "callbacks.watch.policy=rollback"))
    checkpoint = read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")
    assert checkpoint["batches"] == 8 and checkpoint["callbacks"]["Watch"]["tries"] == 1
    assert checkpoint["optimizer_states"][0]["state"] == {}  # of the start, to which it went back


def test_a_loss_that_is_no_number_is_noted_when_it_ends_the_run(make_config, tmp_path) -> None:
    poison = "+callbacks.poison={_target_: tests.training.test_training.Poison, network: generator, batch: 7}"
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
        ("callbacks.watch.policy.diverging=foo", r"diverging 'foo'; choose one of \['warn', 'stop', 'rollback'\]"),
        ("+callbacks.watch.policy.foo=warn", r"unknown state 'foo' in callbacks.watch.policy; choose from \['D_wins'"),
        ("callbacks.watch.policy=foo", "choose one of"),
        ("callbacks.watch.lr_factor=2", r"callbacks.watch.lr_factor must be a number above 0 and below 1; got 2"),
        ("callbacks.watch.window=0", "window must be a whole number of at least 1; got 0"),
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


def going_back(window: int, every_n_batches: int = 1) -> list[str]:
    """Return overrides under which only what is no number is noticed, and gone back from; 10 batches an epoch."""
    return [
        "batch_size=2",
        "max_epochs=1",
        "lr=1e-6",
        "callbacks.watch.policy.diverging=rollback",
        f"callbacks.watch.window={window}",
        f"callbacks.watch.every_n_batches={every_n_batches}",
        "callbacks.watch.grace=999",
    ]


class Blinded(Callback):
    """Makes the real chroma of a batch NaN: its losses are, and no weight that could be stepped."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_start(self, trainer, module, batch, *_) -> None:
        if module.batches == self.batch:
            batch.ab.fill_(torch.nan)


def blinded(batch: int) -> str:
    return f"+callbacks.blinded={{_target_: {__name__}.Blinded, batch: {batch}}}"


def losses(run_dir: Path) -> dict[int, float]:
    """Return what was logged of G's loss, by batch."""
    rows = csv.DictReader((run_dir / "metrics.csv").read_text().splitlines())
    return {int(row["step"]): float(row["train/loss_G"]) for row in rows if row["train/loss_G"]}


def epoch_loss(run_dir: Path) -> list[float]:
    rows = csv.DictReader((run_dir / "metrics.csv").read_text().splitlines())
    return [float(row["train/loss_G_epoch"]) for row in rows if row["train/loss_G_epoch"]]


def roll_backs(run_dir: Path) -> list[str]:
    return [row["action"].split(",")[0] for row in states(run_dir) if row["action"].startswith("rolled back")]


@pytest.mark.parametrize("window", [1, 3])
def test_one_loss_that_is_no_number_is_gone_back_from_once(make_config, tmp_path, window) -> None:
    train(make_config(*going_back(window=window), blinded(5)))
    assert len(roll_backs(tmp_path / "run")) == 1


class Delayed:
    """What `watch._to_host` returns on a GPU, where a look is judged one batch later."""

    def synchronize(self) -> None:
        pass


def test_a_look_at_an_undone_step_is_not_judged_later(make_config, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("colorize.training.callbacks.watch._to_host", lambda values: (values, Delayed()))
    # The losses of batch 6 are read after batch 7, when the look at batch 6 waits
    train(make_config(*going_back(window=1), blinded(6), "trainer.log_every_n_steps=8"))
    assert len(roll_backs(tmp_path / "run")) == 1


def test_going_back_takes_the_mean_generators_updates_back(make_config, tmp_path) -> None:
    # A mean that counted on would keep nearly all of the weights it is reset to
    train(make_config(*going_back(window=9), blinded(6), "game.ema_decay=0.999"))
    assert roll_backs(tmp_path / "run") == ["rolled back to batch 0"]
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["ema_updates"] == 3  # of batches 7, 8 and 9


def test_what_is_gone_back_from_leaves_the_epochs_mean(make_config, tmp_path) -> None:
    """Batch 1 is proven after batch 3, so batches 1 to 4 are undone; those from 5 on, and the first, count."""
    train(make_config(*going_back(window=1), blinded(4)))
    assert roll_backs(tmp_path / "run") == ["rolled back to batch 1"]
    logged = losses(tmp_path / "run")
    counted = [logged[batch] for batch in (0, 5, 6, 7, 8, 9)]
    assert epoch_loss(tmp_path / "run") == [pytest.approx(sum(counted) / 6, rel=1e-5)]


def test_going_back_to_an_earlier_epoch_begins_the_epochs_mean_anew(make_config, tmp_path) -> None:
    train(make_config(*going_back(window=9), blinded(14), "max_epochs=2"))
    assert roll_backs(tmp_path / "run") == ["rolled back to batch 0"]
    logged = losses(tmp_path / "run")
    expected = [sum(logged[batch] for batch in range(10)) / 10, sum(logged[batch] for batch in range(15, 20)) / 5]
    assert epoch_loss(tmp_path / "run") == pytest.approx(expected, rel=1e-5)


class Saves(Callback):
    """Saves a checkpoint of its own after a batch."""

    def __init__(self, path: str, batch: int) -> None:
        self.path = path
        self.batch = batch

    def on_train_batch_end(self, trainer, module, *_) -> None:
        if module.batches == self.batch:
            trainer.save_checkpoint(self.path)


def saves(path: Path, batch: int) -> str:
    return f"+callbacks.saves={{_target_: {__name__}.Saves, path: {path}, batch: {batch}}}"


@pytest.mark.parametrize(("name", "batch"), [("healthy-candidate", 10), ("mine", 9)])
def test_a_checkpoint_that_leads_to_going_back_holds_one_state(make_config, tmp_path, name, batch) -> None:
    """The look at batch 9 is sound, and the losses of batch 8 are not read before the checkpoint is asked for."""
    folder = tmp_path / "run/checkpoints"
    mine = saves(folder / "mine.ckpt", 9 if name == "mine" else 99)
    failing = "+callbacks.failing={_target_: tests.experiments.test_resume.FailsAt, batch: 10}"
    unread = ["trainer.log_every_n_steps=99", "max_epochs=2"]
    with pytest.raises(RuntimeError, match="some failure"):
        train(make_config(*going_back(1, every_n_batches=3), blinded(8), mine, failing, *unread))
    saved, healthy = (read_checkpoint(folder / f"{file}.ckpt") for file in (name, "healthy"))
    assert (healthy["batches"], saved["batches"]) == (1, batch)
    assert saved["callbacks"]["Watch"]["tries"] == 1 and saved["callbacks"]["Watch"]["lost"] == batch - 1
    assert {state["step"].item() for state in saved["optimizer_states"][0]["state"].values()} == {1}
    assert all(torch.equal(healthy["state_dict"][key], value) for key, value in saved["state_dict"].items())


def test_a_weight_that_is_no_number_is_gone_back_from_before_it_is_saved(make_config, tmp_path) -> None:
    poison = "+callbacks.poison={_target_: tests.training.test_training.PoisonLate, network: generator, batch: 10}"
    train(make_config(*going_back(window=9), poison))
    assert [row["evidence"] for row in states(tmp_path / "run")] == [
        "generator.model.0.weight is not finite at epoch 0, batch 10"
    ]
    assert roll_backs(tmp_path / "run") == ["rolled back to batch 0"]


def test_the_state_to_go_back_to_is_not_one_of_later(make_config, tmp_path) -> None:
    train(make_config(*going_back(window=1), saves(tmp_path / "mine.ckpt", 3)))
    assert read_checkpoint(tmp_path / "run/checkpoints/healthy.ckpt")["batches"] > 3
    train(make_config(*going_back(window=9), f"ckpt_path={tmp_path / 'mine.ckpt'}", blinded(5)))
    assert roll_backs(tmp_path / "run") == ["rolled back to batch 3"]


def test_a_state_that_an_older_version_did_not_know_is_counted_from_0(tmp_path) -> None:
    bounds = OmegaConf.load(ROOT / "conf/callbacks/default.yaml").watch.bounds
    old = Watch(str(tmp_path), bounds).state_dict()
    old["counts"] = {"healthy": 7}
    watch = Watch(str(tmp_path), bounds)
    watch.load_state_dict(old)
    assert watch.counts == dict.fromkeys(STATES, 0) | {"healthy": 7}
