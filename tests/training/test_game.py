"""Alternation, warm-ups, noise, augmentations, EMA weights and schedules, each alone and in training."""

import copy
import csv
import math
from pathlib import Path

import pytest
import torch

from colorize.checkpoint import load_generator, read_checkpoint
from colorize.experiments.experiment import build_data, engine_of, networks_of, train
from colorize.training.augment import DIFFAUGMENT, cut_out, translate
from colorize.training.ema import update_mean
from colorize.training.game import Game
from colorize.training.optim import clip_gradient, gradient_norm
from colorize.training.schedules import cosine, linear
from tests.conftest import ROOT

STABILIZERS = sorted(path.stem for path in (ROOT / "conf/stabilizer").glob("*.yaml"))


def moves(game: Game, batches: int, penalty_every: int = 0) -> str:
    """Write each batch as D, G or DG, small where one learns alone, with ! for a penalty."""
    found = []
    for batch in range(batches):
        turn = game.turn(batch, 4, penalty_every)
        who = "D" * turn.discriminator + ("G" if turn.adversarial else "g") * turn.generator
        found.append(who + "!" * turn.penalty)
    return " ".join(found)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, "DG DG DG DG DG DG"),
        ({"D_every": 2}, "DG G DG G DG G"),
        ({"G_every": 3}, "D D DG D D DG"),
        ({"warmup_G": 0.5}, "g g DG DG DG DG"),
        ({"warmup_D": 0.5}, "D D DG DG DG DG"),
        ({"warmup_G": 0.25, "warmup_D": 0.5, "G_every": 2}, "g D D D DG D"),
        ({"warmup_G": 0.25, "D_every": 3}, "g DG G G DG G"),
    ],
)
def test_turns_follow_the_rules(rules, expected) -> None:
    assert moves(Game(**rules), 6) == expected


def test_a_penalty_counts_discriminator_steps() -> None:
    assert moves(Game(D_every=2), 8, penalty_every=2) == "DG! G DG G DG! G DG G"


def test_instance_noise_falls_linearly_to_zero() -> None:
    game = Game(instance_noise=0.4, instance_noise_until=0.5)
    assert [game.noise(batch, 100) for batch in (0, 25, 50, 99)] == pytest.approx([0.4, 0.2, 0, 0])


def test_translation_shifts_by_up_to_an_eighth_and_fills_with_zero() -> None:
    torch.manual_seed(0)
    x = torch.zeros(200, 1, 16, 16)
    x[:, :, 8, 8] = 1
    moved = translate(x)[:, 0].nonzero()
    assert len(moved) == 200  # each still has its one pixel
    assert set(moved[:, 1].tolist()) == set(moved[:, 2].tolist()) == {6, 7, 8, 9, 10}
    assert (translate(torch.ones(50, 1, 16, 16)) == 0).any()


def test_cutout_removes_a_square_of_half_the_side() -> None:
    torch.manual_seed(0)
    holes = (cut_out(torch.ones(300, 1, 16, 16)) == 0).sum((1, 2, 3))
    assert holes.max() == 8 * 8 and holes.min() == 4 * 4  # at a corner a quarter of it is inside


@pytest.mark.parametrize("name", DIFFAUGMENT)
def test_augmentations_have_second_derivatives(name) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)

    def augmented(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        return DIFFAUGMENT[name](x) ** 3

    assert torch.autograd.gradcheck(augmented, x) and torch.autograd.gradgradcheck(augmented, x)


def test_the_mean_of_weights_is_exponential_after_its_warm_up() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1))
    mean, updates = copy.deepcopy(network), torch.zeros(())
    start = expected = network[0].weight.item()
    for n in range(200):
        with torch.no_grad():
            network[0].weight.fill_(float(n))
            network[1].running_mean.fill_(network[0].weight.item() - start)
            network[1].num_batches_tracked.fill_(n)
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * n
        update_mean(mean, network, updates, 0.9)
    assert mean[0].weight.item() == pytest.approx(expected, rel=1e-4)
    assert mean[1].running_mean.item() == pytest.approx(expected - start, rel=1e-4)  # averaged alike
    assert mean[1].num_batches_tracked.item() == 199


def test_linear_schedule_is_that_of_pix2pix() -> None:
    # its lambda_rule with n_epochs = n_epochs_decay = 4, epoch_count = 1
    expected = [1 - max(0, epoch + 1 - 4) / (4 + 1) for epoch in range(8)]
    assert [linear(epoch, 8) for epoch in range(8)] == pytest.approx(expected)


def test_cosine_schedule_is_half_a_wave() -> None:
    assert [cosine(epoch, 4) for epoch in (0, 2)] == pytest.approx([1, 0.5])
    assert cosine(3, 4) == pytest.approx((1 + math.cos(math.pi * 0.75)) / 2)


def test_clipping_keeps_the_direction_and_shortens_to_the_norm() -> None:
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.Adam(weights)
    for weight, value in zip(weights, (3.0, 4.0), strict=True):
        weight.grad = torch.tensor([value])
    norm = gradient_norm(optimizer)
    clip_gradient(optimizer, norm, 1.0)
    assert norm.item() == 5
    assert [weight.grad.item() for weight in weights] == pytest.approx([0.6, 0.8])


def rows(run_dir: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run_dir / "metrics.csv").read_text().splitlines()))


def test_the_learning_rate_follows_the_schedule_and_the_ratio(make_config, tmp_path) -> None:
    train(make_config("max_epochs=4", "lr=1e-3", "lr_ratio=0.5", "optim.schedule=linear"))
    steps = [row for row in rows(tmp_path / "run") if row["train/lr_G"]]
    expected = [lr for share in (1, 2 / 3, 1 / 3) for lr in [1e-3 * share] * 5]
    assert [float(row["train/lr_G"]) for row in steps] == pytest.approx([1e-3] * 5 + expected)
    assert all(float(row["train/lr_D"]) == pytest.approx(float(row["train/lr_G"]) / 2) for row in steps)


def test_one_cycle_moves_with_every_batch_and_a_resumed_run_goes_on_with_it(make_config, tmp_path) -> None:
    cycle = ["max_epochs=2", "lr=1e-3", "optim.schedule=one_cycle"]
    failing = "+callbacks.failing={_target_: tests.experiments.test_resume.FailsAt, batch: 8}"
    with pytest.raises(RuntimeError, match="some failure"):
        train(make_config(*cycle, "callbacks.last.every_n_batches=7", failing))
    train(make_config(*cycle, "ckpt_path=last"))
    steps = [row for row in rows(tmp_path / "run") if row["train/lr_G"]]
    up = [0.04 + 0.96 * (1 - math.cos(math.pi * batch / 3)) / 2 for batch in range(3)]  # 30% of ten batches
    down = [4e-6 + (1 - 4e-6) * (1 + math.cos(math.pi * (batch - 3) / 7)) / 2 for batch in range(3, 10)]
    assert [float(row["train/lr_G"]) for row in steps] == pytest.approx([1e-3 * share for share in up + down])


def test_a_network_that_does_not_move_keeps_its_weights(make_config, tmp_path) -> None:
    for name, rules in {"G": "game.warmup_G=9", "D": "game.warmup_D=9", "start": "trainer.max_steps=1"}.items():
        train(make_config("max_epochs=1", rules, run=name))
    weights = {n: read_checkpoint(tmp_path / n / "checkpoints/last.ckpt")["state_dict"] for n in ("G", "D", "start")}

    def moved(network: str, run: str) -> bool:
        key = f"{network}.model.0.weight"
        return not torch.allclose(weights[run][key], weights["start"][key], atol=4.5e-4)  # two steps of Adam

    assert (moved("generator", "G"), moved("discriminator", "G")) == (True, False)
    assert (moved("generator", "D"), moved("discriminator", "D")) == (False, True)


def test_losses_of_a_network_that_has_not_moved_are_left_out(make_config, tmp_path) -> None:
    train(make_config("max_epochs=2", "game.warmup_G=1"))
    first, second = ([row for row in rows(tmp_path / "run") if row["epoch"] == epoch] for epoch in "01")
    assert all(row["train/loss_D"] == row["train/loss_G_GAN"] == row["train/loss_D_epoch"] == "" for row in first)
    assert any(row["train/loss_G_L1_epoch"] for row in first)
    assert all(row["train/loss_D"] for row in second if row["train/loss_G"])


def test_the_mean_generator_is_what_is_scored_and_handed_on(make_config, tmp_path) -> None:
    """``val/l1`` is the L1 of the generator that `load_generator` gives; ``val/raw_l1`` that of the raw weights."""
    config = make_config("max_epochs=2", "stabilizer=[ema]", "lr=1e-2")
    metrics = train(config)
    path = tmp_path / "run/checkpoints/last.ckpt"
    weights = read_checkpoint(path)["state_dict"]
    mean, model = load_generator(path)
    assert model.about["weights"] == "mean over training (EMA)"
    raw = copy.deepcopy(mean)
    raw.load_state_dict({k.removeprefix("generator."): v for k, v in weights.items() if k.startswith("generator.")})
    data = build_data(config, engine_of(config))
    data.setup("validate")
    batch = data.val_batch(data.store.val_rows, torch.device("cpu"))
    for name, generator in (("val/", mean), ("val/raw_", raw)):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=engine_of(config).precision != "32"):
            l1 = (generator(batch.L).float() - batch.ab).abs().mean().item()
        assert metrics[f"{name}l1"] == pytest.approx(l1, rel=2e-3)
        assert metrics[f"{name}loss_G_L1"] == pytest.approx(100 * l1, rel=2e-3)
    assert metrics["val/l1"] != pytest.approx(metrics["val/raw_l1"], rel=1e-2)


def test_a_sweep_over_the_mean_generator_is_a_sweep(make_config) -> None:
    """The raw weights are those of the run without a mean; the metric that a sweep minimizes is not."""
    raw = train(make_config("max_epochs=2", run="raw"))
    mean = train(make_config("max_epochs=2", "stabilizer=[ema]", run="mean"))
    assert mean["val/raw_l1"] == raw["val/l1"] != mean["val/l1"]


@pytest.mark.parametrize(
    ("overrides", "norm"),
    [
        ([], "batch"),
        (["gan_mode=hinge", "stabilizer=[ema]"], "batch"),
        (["gan_mode=wgan-gp"], "none"),
        (["gan_mode=relativistic"], "none"),
        (["gan_mode=relativistic", "loss.r1=0", "loss.r2=0"], "batch"),
        (["stabilizer=[r1]"], "none"),
        (["stabilizer=[r2]"], "none"),
        (["stabilizer=[gradient_penalty]"], "none"),
        (["stabilizer=[r1]", "discriminator.norm=batch"], "batch"),
    ],
)
def test_with_any_penalty_d_has_no_norm_unless_one_is_asked_for(make_config, overrides, norm) -> None:
    assert networks_of(make_config(*overrides))["discriminator"]["norm"] == norm


@pytest.mark.parametrize("gan_mode", ["vanilla", "lsgan", "hinge", "wgan-gp", "relativistic"])
@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_every_objective_trains(make_config, gan_mode, precision) -> None:
    metrics = train(make_config("max_epochs=1", f"gan_mode={gan_mode}", f"trainer.precision={precision}"))
    assert metrics["val/l1"] > 0 and math.isfinite(metrics["train/loss_D_epoch"])


@pytest.mark.parametrize("stabilizer", STABILIZERS)
def test_every_stabilizer_trains(make_config, stabilizer) -> None:
    assert train(make_config("max_epochs=1", f"stabilizer=[{stabilizer}]"))["val/l1"] > 0


def test_stabilizers_combine(make_config) -> None:
    several = "stabilizer=[spectral_norm,r1,ttur,instance_noise,diffaugment,ema,feature_matching,clip,cosine_decay]"
    metrics = train(make_config("max_epochs=1", several, "gan_mode=relativistic", "loss.penalty_every=2"))
    assert metrics["val/l1"] > 0 and metrics["train/loss_D_penalty_epoch"] > 0 and metrics["train/loss_G_FM_epoch"] > 0


def test_a_run_with_stabilizers_resumes_exactly(make_config, tmp_path) -> None:
    several = [
        "stabilizer=[r1,ema,instance_noise,linear_decay,g_slow,warmup_D]",
        "max_epochs=3",
        "loss.penalty_every=2",
    ]
    train(make_config(*several, run="whole"))
    failing = "+callbacks.failing={_target_: tests.experiments.test_resume.FailsAt, batch: 8}"
    with pytest.raises(RuntimeError, match="some failure"):
        train(make_config(*several, "callbacks.last.every_n_batches=7", failing, run="part"))
    train(make_config(*several, "ckpt_path=last", run="part"))
    whole, part = (read_checkpoint(tmp_path / n / "checkpoints/last.ckpt")["state_dict"] for n in ("whole", "part"))
    assert all(torch.equal(whole[key], part[key]) for key in whole)
