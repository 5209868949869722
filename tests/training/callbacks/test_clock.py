"""Runs limited by time, with a fake clock: each batch takes ten seconds, each validation a thousand."""

import json
import math
import time
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback

from colorize.checkpoint import read_checkpoint
from colorize.experiments.experiment import train
from colorize.metrics import ImageScores
from colorize.training.callbacks.clock import CLOCKS, Clock
from tests.experiments.test_resume import LAST, largest_difference
from tests.training.test_game import rows


class Seconds(Callback):
    """Lets time pass, and keeps the noise on what D sees."""

    now = 0.0  # of the class: Hydra makes the instance
    noise: list[float] = []  # noqa: RUF012

    def on_train_batch_start(self, trainer, module, batch, batch_idx) -> None:
        Seconds.now += 10

    def on_train_batch_end(self, trainer, module, *_) -> None:
        self.noise.append(module._noise.item())

    def on_validation_batch_start(self, *_) -> None:
        Seconds.now += 1000


TICKING = f"+callbacks.seconds={{_target_: {__name__}.Seconds}}"


@pytest.fixture(autouse=True)
def _fake_time(monkeypatch) -> None:
    monkeypatch.setitem(CLOCKS, "wall", lambda: Seconds.now)


def after(batches: int) -> str:
    return f"max_minutes={(10 * batches - 1) / 60}"


def test_a_run_ends_with_the_batch_in_which_its_time_is_over_and_scores_all_images(
    make_config, tmp_path, monkeypatch
) -> None:
    scored = []
    monkeypatch.setattr(ImageScores, "compute", lambda self: scored.append(len(torch.cat(self.scores))) or {})
    train(make_config(TICKING, after(7), "max_epochs=-1", "val_images=2", "optimized_metric=val/loss_G"))
    assert read_checkpoint(tmp_path / "run" / LAST)["batches"] == 7  # an epoch is five
    assert scored == [2, 2, 5]
    assert (tmp_path / "run/checkpoints/best.ckpt").exists()
    assert json.loads((tmp_path / "run/summary.json").read_text())["epochs"] == 1


@pytest.mark.parametrize("batches", [7, 10])  # within an epoch, and at its end
def test_with_more_minutes_it_goes_on_as_if_it_had_not_ended(make_config, tmp_path, batches) -> None:
    train(make_config(TICKING, after(batches), "max_epochs=-1"))
    train(make_config(TICKING, after(13), "max_epochs=-1", "ckpt_path=last"))
    train(make_config("trainer.max_steps=13", run="alone"))
    assert read_checkpoint(tmp_path / "run" / LAST)["batches"] == 13
    assert largest_difference(tmp_path / "run" / LAST, tmp_path / "alone" / LAST) == 0
    steps = [int(row["step"]) for row in rows(tmp_path / "run") if row["train/loss_D"]]
    assert steps == list(range(13))


def test_with_the_same_minutes_it_is_scored_and_not_trained(make_config, tmp_path) -> None:
    first = train(make_config(TICKING, after(7)))
    again = train(make_config(TICKING, after(7), "ckpt_path=last"))
    assert again["val/l1"] == pytest.approx(first["val/l1"])
    assert json.loads((tmp_path / "run/summary.json").read_text())["epochs"] == 1
    assert read_checkpoint(tmp_path / "run" / LAST)["batches"] == 7


def test_max_epochs_ends_a_run_that_has_time_left(make_config, tmp_path) -> None:
    train(make_config(TICKING, after(50), "max_epochs=1"))
    assert read_checkpoint(tmp_path / "run" / LAST)["batches"] == 5


def test_learning_rates_and_noise_follow_the_clock(make_config, tmp_path) -> None:
    Seconds.noise.clear()
    falling = ["optim.schedule=cosine", "lr=1e-3", "game.instance_noise=0.4", "game.instance_noise_until=1.0"]
    train(make_config(TICKING, *falling, "max_minutes=1.2", "max_epochs=100"))  # 72 seconds: eight batches
    steps = [row for row in rows(tmp_path / "run") if row["train/lr_G"]]
    used = [10 * batch / 72 for batch in range(8)]
    expected = [1e-3 * (1 + math.cos(math.pi * math.floor(100 * share) / 100)) / 2 for share in used]
    assert [float(row["train/lr_G"]) for row in steps] == pytest.approx(expected)
    assert Seconds.noise == pytest.approx([0.4 * (1 - share) for share in used])


def test_cpu_time_is_what_the_process_computes() -> None:
    clock = Clock(1.0, "cpu")
    clock.on_train_start(None, None)
    time.sleep(0.3)
    assert clock.seconds < 0.2
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
    assert 0.3 <= clock.seconds < 0.5


def test_the_clock_of_the_first_process_counts_for_all() -> None:
    """The second one's own would say that no time is over."""
    module, strategy = SimpleNamespace(), SimpleNamespace(broadcast=lambda share: share + 1)
    trainer = SimpleNamespace(strategy=strategy, should_stop=False)
    Clock(1.0).on_train_batch_end(trainer, module)
    assert (module.time_used, trainer.should_stop) == (1, True)
