"""Which checkpoint a GAN stage keeps, with made-up validation scores."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback

from colorize.base.errors import UserError
from colorize.checkpoint import read_checkpoint
from colorize.experiments.experiment import train
from colorize.training.callbacks.best_within import BestWithin
from tests.experiments.test_resume import LAST


class Measures(Callback):
    """Takes the place of what validations measure; keeps G's first weight at each."""

    def __init__(self, kid: list[float], l1: list[float]) -> None:
        self.kid, self.l1 = list(kid), list(l1)

    def on_validation_epoch_end(self, trainer, module) -> None:
        self.log("val/kid_lite2", self.kid[module.batches // 5 if trainer.val_check_batch == 5 else module.batches])
        self.log("val/bound", self.l1[module.batches // 5 if trainer.val_check_batch == 5 else module.batches])


def options(kid: list[float], l1: list[float], *more: str) -> list[str]:
    """Return the options of a run whose validations measure these, by epochs (or batches) that are done."""
    return [
        f"+callbacks.measures={{_target_: {__name__}.Measures, kid: {kid}, l1: {l1}}}",
        "+callbacks.best_kid={_target_: colorize.training.callbacks.best_within.BestWithin, "
        "dirpath: '${run_dir}/checkpoints', filename: best_kid, monitor: val/kid_lite2, bound: val/bound, slack: 0.03}",
        *more,
    ]


def kept(run: Path) -> int:
    """Return the number of batches after which the kept checkpoint was written."""
    return read_checkpoint(run / "checkpoints/best_kid.ckpt")["batches"]


@pytest.mark.parametrize(
    ("kid", "l1", "batches"),
    [
        ([9, 8, 7, 6, 5], [9, 1.0, 1.03, 1.031, 1.5], 10),  # 3% above is still good
        ([9, 8, 7, 6, 5], [9, 1.0, 1.05, 0.9, 1.02], 20),
        ([9, 8, 7, 6, 6.5], [9, 1.0, 1.0, 1.0, 1.0], 15),
        ([9, 3, 7, 6, 5], [9, 1.0, 1.0, 1.0, 1.0], 5),  # nothing is better than the start
    ],
)
def test_the_lowest_kid_counts_among_those_that_have_not_lost_by_l1(make_config, tmp_path, kid, l1, batches) -> None:
    train(make_config(*options(kid, l1), "game.warmup_D=1", "max_epochs=4"))
    assert kept(tmp_path / "run") == batches


def test_without_an_epoch_of_d_alone_the_start_is_measured_before_training(make_config, tmp_path) -> None:
    alone = ["max_epochs=2", "trainer.val_check_interval=5"]
    train(make_config(*options([8, 5, 4], [1.0, 1.03, 1.2]), *alone))
    assert kept(tmp_path / "run") == 5
    train(make_config(*alone, run="other"))
    weights = [read_checkpoint(tmp_path / run / LAST)["state_dict"] for run in ("run", "other")]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())  # training is as without it


def test_validations_within_an_epoch_count_and_a_resumed_run_goes_on_with_the_choice(make_config, tmp_path) -> None:
    l1 = [9, 9, 9, 9, 9, 1.0, 1.0, 1.5, 1.0, 1.0, 1.0]
    kid = [9, 9, 9, 9, 9, 8.0, 4.0, 1.0, 5.0, 7.0, 3.0]  # by batches: 6 is best, then 10
    within = ["game.warmup_D=1", "max_epochs=2", "trainer.val_check_interval=1"]
    failing = "+callbacks.failing={_target_: tests.experiments.test_resume.FailsAt, batch: 8}"
    with pytest.raises(RuntimeError, match="some failure"):
        train(make_config(*options(kid, l1), *within, "callbacks.last.every_n_batches=7", failing))
    assert kept(tmp_path / "run") == 6
    train(make_config(*options(kid, l1), *within, "ckpt_path=last"))
    assert kept(tmp_path / "run") == 10
    train(make_config(*within, run="alone"))
    weights = [read_checkpoint(tmp_path / run / LAST)["state_dict"] for run in ("run", "alone")]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())


def test_a_metric_that_is_not_measured_is_told(make_config) -> None:
    with pytest.raises(UserError, match=r"best_kid: val/kid_lite2 was not measured; available are val/.*val/l1"):
        train(make_config("experiment=nogan", "init_from=null", "max_epochs=1"))


def test_a_metric_that_is_better_when_higher_is_refused(tmp_path) -> None:
    with pytest.raises(UserError, match=r"callbacks.x.monitor=val/psnr is better when higher"):
        BestWithin(str(tmp_path), "x", "val/psnr")


def test_nogan_names_the_run_that_it_needs(make_config) -> None:
    with pytest.raises(UserError, match="init_from= names nothing: name the trained model that this run starts from"):
        train(make_config("experiment=nogan"))
