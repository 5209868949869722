"""Training runs: behavior, logs, files and refused options."""

import csv
import gc
import json
import signal
import weakref
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from PIL import Image

from colorize.base.errors import UserError
from colorize.checkpoint import load_generator, read_checkpoint
from colorize.experiments import experiment
from colorize.experiments.experiment import build_module, engine_of, train
from colorize.losses.contract import LOSS_NAMES
from colorize.metrics import ImageScores
from colorize.training import ColorizationModule, TrainingDivergedError
from colorize.training.callbacks.progress import ProgressBar
from tests.conftest import small_config

BATCHES = 5  # of 4 images, an epoch


@pytest.fixture(scope="module")
def run(tmp_path_factory, photos) -> Path:
    """A finished run of two epochs."""
    folder = tmp_path_factory.mktemp("run")
    train(small_config(photos, folder, "max_epochs=2"))
    return folder


@pytest.fixture(scope="module")
def rows(run) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_what_the_design_names(run) -> None:
    left = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert left == {
        "checkpoints/best.ckpt", "checkpoints/last.ckpt", "metrics.csv", "summary.json",
        "samples/epoch-000.png", "samples/epoch-001.png",
    }  # fmt: skip


def test_each_step_logs_the_six_losses_and_lr(rows) -> None:
    steps = [row for row in rows if row["train/loss_D"]]
    assert [int(row["step"]) for row in steps] == list(range(2 * BATCHES))
    assert all(row[f"train/{name}"] for row in steps for name in LOSS_NAMES)
    assert all(float(row["train/lr_G"]) == pytest.approx(2e-4) for row in steps)


def test_epoch_losses_are_the_means_of_the_steps(rows) -> None:
    for epoch in ("0", "1"):
        steps = [float(row["train/loss_G"]) for row in rows if row["epoch"] == epoch and row["train/loss_G"]]
        mean = next(
            float(row["train/loss_G_epoch"]) for row in rows if row["epoch"] == epoch and row["train/loss_G_epoch"]
        )
        assert mean == pytest.approx(sum(steps) / BATCHES, rel=1e-5)


def test_validation_logs_the_losses_and_the_scores(rows) -> None:
    names = {*LOSS_NAMES, "l1", "psnr", "ssim", "colorfulness", "delta_colorfulness", "delta_e", "out_of_gamut"}
    validations = [row for row in rows if row["val/l1"]]
    assert len(validations) == 2
    assert all(row[f"val/{name}"] for row in validations for name in names)


def test_validation_leaves_out_the_losses_of_a_discriminator_that_has_not_learned(make_config, tmp_path) -> None:
    train(make_config("max_epochs=2", "game.warmup_G=1"))
    with (tmp_path / "run/metrics.csv").open() as file:
        first, *_, last = (row for row in csv.DictReader(file) if row["val/l1"])
    of_d = [f"val/{name}" for name in ("loss_D_fake", "loss_D_real", "loss_D", "loss_G_GAN")]
    assert not any(first[name] for name in of_d) and all(last[name] for name in of_d)
    assert float(first["val/loss_G"]) == pytest.approx(float(first["val/loss_G_L1"]), rel=1e-5)
    assert float(last["val/loss_G"]) == pytest.approx(float(last["val/loss_G_L1"]) + float(last["val/loss_G_GAN"]))


def test_a_part_is_scored_after_each_epoch_and_all_at_the_end(make_config, tmp_path, monkeypatch) -> None:
    scored = []
    monkeypatch.setattr(ImageScores, "compute", lambda self: scored.append(len(torch.cat(self.scores))) or {})
    metrics = train(make_config("max_epochs=2", "val_images=2", "optimized_metric=val/loss_G"))
    assert scored == [2, 2, 5]
    assert metrics["val/loss_G"] > 0 and metrics["train/loss_G_epoch"] > 0


@pytest.mark.parametrize(("metric", "kept"), [("l1", 1), ("psnr", 0)])
def test_the_best_checkpoint_has_the_highest_psnr_and_the_lowest_l1(
    make_config, tmp_path, monkeypatch, metric, kept
) -> None:
    values = iter([3.0, 1.0, 2.0, 2.0])  # after each epoch, and of all images at the end
    monkeypatch.setattr(
        ImageScores, "compute", lambda self: {metric: torch.tensor(next(values)), "calibrated_gain": torch.tensor(1.0)}
    )
    train(make_config("max_epochs=3", f"optimized_metric=val/{metric}", "trainer.limit_train_batches=1"))
    assert read_checkpoint(tmp_path / "run/checkpoints/best.ckpt")["epoch"] == kept


def test_speed_is_logged(rows) -> None:
    assert all(float(row["train/images_per_s"]) > 0 for row in rows)
    assert all(float(row["train/images_per_s_epoch"]) > 0 for row in rows if row["val/l1"])


def test_validation_l1_is_that_of_the_checkpoint(run, rows) -> None:
    checkpoint = read_checkpoint(run / "checkpoints/last.ckpt")
    assert float(rows[-1]["val/loss_G_L1"]) == pytest.approx(100 * float(rows[-1]["val/l1"]), rel=1e-4)
    assert checkpoint["batches"] == 2 * BATCHES


def test_global_step_counts_batches(run) -> None:
    assert read_checkpoint(run / "checkpoints/last.ckpt")["global_step"] == 2 * BATCHES


def test_samples_show_grey_generated_real(run) -> None:
    with Image.open(run / "samples/epoch-000.png") as opened:
        picture = opened.copy()
    assert picture.size == (3 * (128 + 4) + 4, 22 + 2 * (128 + 4))  # 64 pixels enlarged to 128
    grey = picture.crop((4, 22, 132, 150)).convert("RGB")
    low, high = zip(*grey.getextrema(), strict=True)
    assert max(low) - min(low) <= 1 and max(high) - min(high) <= 1


def test_summary_tells_what_the_run_came_to(run) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert summary["metrics"]["val/l1"] > 0
    assert summary["batches"] == 2 * BATCHES and summary["epochs"] == 2
    assert {"seconds", "images_per_s", "peak_memory_bytes", "versions", "commit"} <= set(summary)


def test_checkpoint_keeps_the_config(run) -> None:
    provenance = read_checkpoint(run / "checkpoints/best.ckpt")["hyper_parameters"]["provenance"]
    assert provenance["config"]["gan_mode"] == "vanilla"


def test_checkpoint_gives_a_generator(run) -> None:
    generator, model = load_generator(run / "checkpoints/best.ckpt")
    assert generator(torch.zeros(1, 1, 64, 64)).shape == (1, 2, 64, 64)
    assert model.image_size == 64 and not generator.training
    assert model.about["epochs"] > 0 and "val/l1" in model.about["metrics"]


def test_a_checkpoint_whose_discriminator_has_running_statistics_loads(run, tmp_path) -> None:
    checkpoint = read_checkpoint(run / "checkpoints/best.ckpt")
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        checkpoint["state_dict"][f"discriminator.model.3.{name}"] = torch.zeros(8)
    torch.save(checkpoint, tmp_path / "old.ckpt")
    module = ColorizationModule.load_from_checkpoint(tmp_path / "old.ckpt", "cpu", weights_only=True)
    weights = checkpoint["state_dict"]["discriminator.model.3.weight"]
    assert torch.equal(module.discriminator.model[3].weight, weights)


def test_equal_seeds_give_equal_weights(make_config, tmp_path) -> None:
    for name in ("a", "b"):
        train(make_config("max_epochs=1", run=name))
    first, second = (read_checkpoint(tmp_path / n / "checkpoints/last.ckpt")["state_dict"] for n in ("a", "b"))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_another_seed_gives_other_weights(make_config, tmp_path) -> None:
    for name in ("0", "1"):
        train(make_config("max_epochs=1", f"seed={name}", run=name))
    first, second = (read_checkpoint(tmp_path / n / "checkpoints/last.ckpt")["state_dict"] for n in ("0", "1"))
    assert not torch.equal(first["generator.model.0.weight"], second["generator.model.0.weight"])


def test_max_steps_counts_batches(make_config, tmp_path) -> None:
    train(make_config("trainer.max_steps=7"))
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["batches"] == 7


def test_bf16_trains(make_config) -> None:
    assert train(make_config("max_epochs=1", "trainer.precision=bf16-mixed"))["val/l1"] > 0


def test_each_network_can_have_its_own_lr(make_config, tmp_path) -> None:
    train(make_config("max_epochs=1", "optim.discriminator.lr=1e-5"))
    last = list(csv.DictReader((tmp_path / "run/metrics.csv").read_text().splitlines()))[-1]
    assert (float(last["train/lr_G"]), float(last["train/lr_D"])) == (pytest.approx(2e-4), pytest.approx(1e-5))


def test_two_time_scales_are_two_step_lengths(make_config, tmp_path) -> None:
    """The first step of Adam moves each weight by its learning rate, but for its epsilon."""
    config = make_config("trainer.max_steps=1", "stabilizer=[ttur]")
    train(config)
    start = dict(build_module(config, engine_of(config)).named_parameters())
    after = read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["state_dict"]
    for network, lr in (("generator", 2e-4), ("discriminator", 4e-4)):
        moved = [(after[name] - value).abs().max().item() for name, value in start.items() if name.startswith(network)]
        assert max(moved) == pytest.approx(lr, rel=1e-3)


class Onlooker(Callback):
    """Notes what stands beside the progress bar at the end."""

    shown: list[dict[str, float]] = []  # noqa: RUF012 - of the class: Hydra makes the instance

    def on_train_end(self, trainer, pl_module) -> None:
        self.shown.append(ProgressBar().get_metrics(trainer, pl_module))


def test_the_progress_bar_shows_the_losses_that_were_logged_last(make_config, tmp_path) -> None:
    train(make_config("max_epochs=1", f"+callbacks.onlooker={{_target_: {__name__}.Onlooker}}"))
    with (tmp_path / "run/metrics.csv").open() as file:
        last = [row for row in csv.DictReader(file) if row["train/loss_D"]][-1]
    assert Onlooker.shown.pop() == {n: pytest.approx(float(last[f"train/loss_{n}"]), rel=1e-6) for n in "DG"}


class Poison(Callback):
    """Makes a network's weight infinite before a batch."""

    def __init__(self, network: str, batch: int) -> None:
        self.network = network
        self.batch = batch

    def on_train_batch_start(self, trainer, module, *_) -> None:
        if module.batches == self.batch:
            with torch.no_grad():
                next(getattr(module, self.network).parameters()).fill_(torch.inf)


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_checkpoint(make_config, tmp_path, network) -> None:
    poison = f"+callbacks.poison={{_target_: {__name__}.Poison, network: {network}, batch: 7}}"
    with pytest.raises(TrainingDivergedError, match=r"loss_D is nan at epoch 1, batch 7: nothing was stepped"):
        train(make_config("max_epochs=3", poison))
    checkpoint = read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")
    assert checkpoint["batches"] == BATCHES
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


class PoisonBatch(Callback):
    """Makes every later batch no number, and keeps the weights that the run ends with."""

    weights: dict[str, torch.Tensor] = {}  # noqa: RUF012 - of the class: Hydra makes the instance

    def __init__(self, first: int) -> None:
        self.first = first

    def on_train_batch_start(self, trainer, module, batch, batch_idx) -> None:
        if module.batches >= self.first:
            batch.ab[0] = torch.nan

    def on_exception(self, trainer, module, exception) -> None:
        self.weights |= {name: value.clone() for name, value in module.named_parameters()}


def test_nothing_is_stepped_until_a_loss_that_is_no_number_is_read(make_config, tmp_path) -> None:
    train(make_config("trainer.max_steps=2", run="sound"))
    poison = f"+callbacks.poison={{_target_: {__name__}.PoisonBatch, first: 2}}"
    with pytest.raises(TrainingDivergedError, match=r"loss_D is nan at epoch 0, batch 2"):
        train(make_config("trainer.log_every_n_steps=50", poison))
    sound = read_checkpoint(tmp_path / "sound/checkpoints/last.ckpt")["state_dict"]
    assert PoisonBatch.weights.keys() <= sound.keys()
    assert all(torch.equal(value, sound[name]) for name, value in PoisonBatch.weights.items())


class PoisonLate(Poison):
    """Makes it infinite after the batch, when its loss was still a number."""

    on_train_batch_start = Callback.on_train_batch_start

    def on_train_batch_end(self, trainer, module, *_) -> None:
        Poison.on_train_batch_start(self, trainer, module)


def test_weights_that_are_no_numbers_are_not_saved(make_config, tmp_path) -> None:
    poison = f"+callbacks.poison={{_target_: {__name__}.PoisonLate, network: generator, batch: {2 * BATCHES}}}"
    with pytest.raises(TrainingDivergedError, match=r"0.weight is not finite at epoch 1, batch 10: nothing was"):
        train(make_config("max_epochs=3", poison))
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["batches"] == BATCHES


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "gan_mode=foo",
            r"unknown gan_mode 'foo'; choose one of \['hinge', 'lsgan', 'relativistic', 'vanilla', 'wgan-gp'\]",
        ),
        ("lr=-1", "lr must be a number above 0; got -1"),
        ("lr=abc", "optimizer 'adam': lr must be a number; got 'abc'"),
        ("lr_ratio=0", "lr_ratio must be a number above 0; got 0"),
        (
            "discriminator.norm=foo",
            r"unknown discriminator.norm 'foo'; choose one of \['batch', 'instance', 'group', 'none'",
        ),
        ("loss.r1=-1", "loss.r1 must be auto or a number of at least 0; got -1"),
        ("loss.lambda_FM=-1", "loss.lambda_FM must be a number of at least 0; got -1"),
        ("loss.penalty_every=0", "loss.penalty_every must be a whole number of at least 1; got 0"),
        (
            "discriminator.norm=batch loss.r1=1 +trainer.sync_batchnorm=true",
            "SyncBatchNorm has no second derivative, which the penalty needs; use discriminator.norm=auto",
        ),
        ("game.D_every=0", "game.D_every must be a whole number of at least 1; got 0"),
        ("game={D_every:2,G_every:2}", "game.D_every=2 game.G_every=2: one of the two must be 1"),
        ("game.warmup_G=-1", "game.warmup_G must be a number of at least 0; got -1"),
        ("game.instance_noise_until=0", r"game.instance_noise_until must be a number above 0 and at most 1; got 0"),
        ("game.diffaugment=[color]", r"unknown game.diffaugment 'color'; choose one of \['translation', 'cutout'\]"),
        ("game.ema_decay=2", r"game.ema_decay must be null or a number above 0 and below 1; got 2"),
        (
            "optim.schedule=foo",
            r"unknown optim.schedule 'foo'; choose one of \['constant', 'linear', 'cosine', 'one_cycle'\]",
        ),
        ("optim.generator.clip_norm=0", "optim.generator.clip_norm must be null or a number above 0; got 0"),
        ("betas=[0.5]", r"betas must be two numbers, such as \[0.5,0.999\]; got \[0.5\]"),
        ("betas=0.5", r"betas must be two numbers, such as \[0.5,0.999\]; got 0.5"),
        ("betas=[0.5,1.0]", "each of betas must be a number of at least 0 and below 1; got 1.0"),
        ("lambda_L1=-1", "lambda_L1 must be a number of at least 0; got -1"),
        ("batch_size=0", "batch_size must be a whole number of at least 1; got 0"),
        ("max_epochs=x", "max_epochs must be -1 or a whole number of at least 1; got 'x'"),
        ("max_epochs=-1", "max_epochs=-1 needs max_minutes="),
        ("max_minutes=0", "max_minutes must be a number above 0; got 0"),
        ("max_minutes=x", "max_minutes must be a number above 0; got 'x'"),
        ("max_minutes=1 clock=gpu", r"unknown clock 'gpu'; choose one of \['wall', 'cpu'\]"),
        ("generator.n_down=abc", "generator 'unet': n_down must be a whole number; got 'abc'"),
        ("data.num_val=abc", "data.num_val must be null or a whole number of at least 0; got 'abc'"),
        ("image_size=100", "image is 100x100; this U-Net needs multiples of 64: use 128x128"),
        ("generator.name=foo", r"unknown generator 'foo'; choose one of \['encoder_unet', 'unet'\]"),
        ("data.name=foo", r"unknown data set 'foo'"),
        ("data.flip=maybe", "data.flip must be true or false; got 'maybe'"),
        ("data.split_seed=abc", "data.split_seed must be a whole number of at least 0; got 'abc'"),
        ("logger.tensorboard='yes please'", "logger.tensorboard must be true or false; got 'yes please'"),
        ("trainer.max_steps=abc", "trainer.max_steps must be -1 or a whole number of at least 1; got 'abc'"),
        ("trainer.log_every_n_steps=0", "trainer.log_every_n_steps must be a whole number of at least 1; got 0"),
        ("trainer.devices=2", "trainer.devices=2: several devices train together with trainer=ddp"),
        (
            "optimized_metric=val/foo",
            "optimized_metric=val/foo is not measured; choose one of val/loss_D_fake, .*val/l1,",
        ),
        (
            "optimized_metric=val/colorfulness",
            "optimized_metric=val/colorfulness: neither lower nor higher is known to be better; choose .*val/psnr",
        ),
        ("data.root=/nowhere", "data.root=/nowhere is not a folder"),
        ("trainer.precision=8", "unknown trainer.precision"),
        ("trainer=ddp", "no GPU is here that torch can use: choose trainer=cpu"),
        ("ckpt_path=/nowhere.ckpt", "checkpoint /nowhere.ckpt is not a file"),
        ("data.num_train=100", "found 25 usable images"),
        ("logger.mode=foo", "unknown logger.mode 'foo'"),
    ],
)
def test_a_mistake_is_named(make_config, override, message) -> None:
    with pytest.raises(UserError, match=message) as caught:
        train(make_config(*(override.split(" ") if "'" not in override else [override])))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "override", ["lr=-1", "gan_mode=foo", "logger.mode=foo", "image_size=100", "betas=0.5", "optimized_metric=val/foo"]
)
def test_a_mistake_is_told_before_the_data_are_touched(make_config, override) -> None:
    with pytest.raises(UserError, match=r"^(?!data\.root)"):
        train(make_config(override, "data.root=/nowhere"))


def test_a_run_that_is_over_leaves_the_signals_and_the_memory_to_the_next_job(make_config, monkeypatch) -> None:
    built, build_data = [], experiment.build_data

    def noted(*args):
        data = build_data(*args)
        built.append(weakref.ref(data))
        return data

    monkeypatch.setattr(experiment, "build_data", noted)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    train(make_config("max_epochs=1", "val_images=2"))  # and a validation of all images after it
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    gc.collect()
    assert [data() for data in built] == [None]
