"""Recorded cost: operations by hand, images over resumes, energy from counters that restart."""

import copy
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from colorize.checkpoint import read_checkpoint
from colorize.experiments.experiment import build_module, train
from colorize.losses import build_loss
from colorize.losses.contract import LOSS_NAMES
from colorize.networks import build_discriminator, build_generator
from colorize.training.callbacks import cost
from colorize.training.callbacks.cost import Cost
from colorize.training.callbacks.energy import Counter, EnergyMeter, gpu_counters, package_counters
from colorize.training.callbacks.flops import flops_of_forward, flops_of_step
from colorize.training.engine import Engine
from colorize.training.game import Game, Turn
from colorize.training.ledger import Ledger
from colorize.training.step import GanStep
from tests.conftest import ROOT

BATCH, SIDE = 3, 16


def make_step(generator: nn.Module, discriminator: nn.Module, **loss) -> GanStep:
    objective = build_loss("gan_l1", **loss)
    optimizers = tuple(torch.optim.Adam(network.parameters(), fused=True) for network in (generator, discriminator))
    ledger, zero = Ledger((*LOSS_NAMES, *objective.extra_losses)), torch.zeros(())
    arguments = generator, discriminator, None, optimizers, (None, None), objective, Game(), ledger, zero, zero
    return GanStep(*arguments, Tensor.backward)


def test_operations_of_two_layer_networks_are_those_by_hand() -> None:
    generator = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 3, padding=1))
    discriminator = nn.Sequential(nn.Conv2d(3, 4, 4, 2, 1), nn.LeakyReLU(), nn.Conv2d(4, 1, 4, 2, 1))
    g1, g2 = 9 * 1 * 8 * SIDE**2, 9 * 8 * 2 * SIDE**2  # multiply-adds of each layer, one image
    d1, d2 = 16 * 3 * 4 * (SIDE // 2) ** 2, 16 * 4 * 1 * (SIDE // 4) ** 2
    # Backward, a layer costs as much for its weights, and again for its input unless that is the data
    of_generator = (g1 + g2) + (g1 + g2) + g2
    of_discriminator = 2 * ((d1 + d2) + (d1 + d2) + d2)  # generated and real images
    through_discriminator = (d1 + d2) + (d1 + d2)  # in the generator's turn: its weights are not learning
    step, L, ab = make_step(generator, discriminator), torch.zeros(BATCH, 1, SIDE, SIDE), torch.zeros(BATCH, 2, 16, 16)
    whole = of_generator + of_discriminator + through_discriminator
    assert flops_of_step(step, L, ab, Turn()) == 2 * BATCH * whole
    assert flops_of_step(step, L, ab, Turn(discriminator=False, adversarial=False)) == 2 * BATCH * of_generator
    assert flops_of_step(step, L, ab, Turn(generator=False)) == 2 * BATCH * (g1 + g2 + of_discriminator)
    assert flops_of_forward(generator, 1, 1, SIDE, SIDE) == 2 * (g1 + g2)


def test_operations_of_a_frozen_layer_are_those_of_its_forward_pass() -> None:
    generator = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 3, padding=1))
    generator[0].requires_grad_(False)
    g1, g2 = 9 * 1 * 8 * SIDE**2, 9 * 8 * 2 * SIDE**2
    L, ab, turn = torch.zeros(1, 1, 16, 16), torch.zeros(1, 2, 16, 16), Turn(discriminator=False, adversarial=False)
    assert flops_of_step(make_step(generator, nn.Conv2d(3, 1, 4)), L, ab, turn) == 2 * (g1 + g2 + g2)
    assert cost._size(generator) == (9 * 8 + 8) + (9 * 16 + 2) and cost._size(generator, trained=True) == 9 * 16 + 2


def test_the_unet_of_the_report_has_12_gflop_at_256() -> None:
    # Transcribed from pix2pix: 4x4 kernels; down, output channels x input channels x output side
    down = [(64, 1, 128), (128, 64, 64), (256, 128, 32), (512, 256, 16)] + [(512, 512, side) for side in (8, 4, 2, 1)]
    # Up, transposed: sides are the input's, and all but the innermost take the skip's channels, too
    up = [(512, 512, 1), *((512, 1024, side) for side in (2, 4, 8)), (256, 1024, 16), (128, 512, 32), (64, 256, 64)]
    multiply_adds = sum(16 * a * b * side**2 for a, b, side in [*down, *up, (2, 128, 128)])
    found = flops_of_forward(build_generator("unet"), 1, 1, 256, 256)
    assert found == 2 * multiply_adds and round(found / 1e9, 1) == 12.0


def test_counting_changes_nothing_that_training_has() -> None:
    def fails(*_):
        raise AssertionError("compiled")

    generator = build_generator("unet", n_down=6, num_filters=4)  # with dropout and running statistics
    discriminator = build_discriminator("patch", num_filters=4, norm="none", spectral_norm=True)
    generator.compile(backend=fails)
    step = make_step(generator, discriminator, r1=1.0, gp=10.0)
    parts = generator, discriminator, step.ledger
    before, draws = copy.deepcopy([part.state_dict() for part in parts]), torch.get_rng_state()
    counted = flops_of_step(step, torch.ones(2, 1, 64, 64), torch.ones(2, 2, 64, 64), Turn(penalty=True, observed=True))
    assert counted > 2 * flops_of_forward(generator, 2, 1, 64, 64)
    assert torch.equal(torch.get_rng_state(), draws)
    torch.testing.assert_close([part.state_dict() for part in parts], before, rtol=0, atol=0, equal_nan=True)
    weights = [weight for part in parts for weight in part.parameters()]
    assert all(weight.grad is None and weight.requires_grad and weight.device.type == "cpu" for weight in weights)
    assert generator.training and not step.optimizers[0].state


@pytest.fixture
def cost_of(tmp_path):
    return lambda: json.loads((tmp_path / "run/summary.json").read_text())["cost"]


def test_a_run_says_what_it_cost_and_is_the_run_without_counting(make_config, tmp_path, cost_of, monkeypatch) -> None:
    train(make_config("max_epochs=1"))
    found, counted = cost_of(), read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")
    for network in ("generator", "discriminator"):
        weights = {key: w for key, w in counted["state_dict"].items() if key.startswith(network) and is_weight(key)}
        assert found[f"parameters_{network[0].upper()}"] == sum(weight.numel() for weight in weights.values())
    assert {*found} == {
        *("parameters_G", "parameters_G_trained", "parameters_D", "parameters_D_trained"),
        *("gflop_forward", "gflop_step", "images", "seconds", "cpu_seconds", "gpu_seconds"),
        *("energy_cpu_wh", "energy_gpu_wh"),
    }
    assert found["images"] == 20 and found["gpu_seconds"] is None
    assert found["cpu_seconds"] > 0 and 0 < found["seconds"] < 600
    assert found["gflop_step"] > 3 * found["gflop_forward"] > 0
    monkeypatch.setattr(cost, "_flops_or_none", lambda *_: None)
    train(make_config("max_epochs=1", run="other"))
    without = read_checkpoint(tmp_path / "other/checkpoints/last.ckpt")
    for key in ("state_dict", "optimizer_states"):
        torch.testing.assert_close(counted[key], without[key], rtol=0, atol=0)


def is_weight(key: str) -> bool:
    return key.endswith(("weight", "bias"))


def test_operations_of_a_step_are_a_mean_over_the_turns_that_there_were(make_config, cost_of) -> None:
    train(make_config("max_epochs=1", "game.D_every=5"))
    step = make_step(build_generator("unet", n_down=6, num_filters=4), build_discriminator("patch", num_filters=4))
    one = torch.zeros(1, 1, 64, 64), torch.zeros(1, 2, 64, 64)
    both, alone = flops_of_step(step, *one, Turn()), flops_of_step(step, *one, Turn(discriminator=False))
    assert cost_of()["gflop_step"] == pytest.approx((both + 4 * alone) / 5 / 1e9)


def test_costs_go_on_where_a_resumed_run_went_on(make_config, tmp_path, cost_of) -> None:
    train(make_config("max_epochs=1"))
    first = cost_of()
    train(make_config("max_epochs=3", "ckpt_path=last", "batch_size=5"))
    second = cost_of()
    assert second["images"] == 20 + 2 * 20
    assert second["seconds"] > first["seconds"] and second["cpu_seconds"] > first["cpu_seconds"]
    assert second["gflop_step"] == pytest.approx(first["gflop_step"])
    train(make_config("max_epochs=3", "ckpt_path=last"))  # nothing is left to train
    assert cost_of()["images"] == 60 and cost_of()["gflop_step"] == second["gflop_step"]


def test_seconds_are_those_of_training_without_validation(monkeypatch) -> None:
    now, fn = [100.0], SimpleNamespace(fn=TrainerFn.FITTING)
    monkeypatch.setattr(cost, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    device = SimpleNamespace(root_device=torch.device("cuda"))
    trainer, module, counted = (
        SimpleNamespace(strategy=device, world_size=2, state=fn),
        SimpleNamespace(batches=0),
        Cost(),
    )
    counted.on_train_start(trainer, module)
    for hook, after in (
        ("validation_start", 10),
        ("validation_end", 40),
        ("validation_start", 3),
        ("validation_end", 7),
    ):
        now[0] += after
        getattr(counted, f"on_{hook}")(trainer, module)
        assert counted.state_dict()["seconds"] == (10 if now[0] < 153 else 13)
    now[0] += 5
    counted.on_train_end(trainer, module)
    now[0] += 4
    fn.fn = TrainerFn.VALIDATING
    counted.on_validation_start(trainer, module)
    counted.on_validation_end(trainer, module)
    now[0] += 9
    assert counted.state_dict()["seconds"] == 18 and counted.state_dict()["gpu_seconds"] == 36


def test_what_an_older_checkpoint_cost_is_not_guessed(make_config, tmp_path, cost_of) -> None:
    train(make_config("max_epochs=1"))
    path = tmp_path / "run/checkpoints/last.ckpt"
    older = read_checkpoint(path)
    del older["callbacks"]["Cost"]
    torch.save(older, path.with_name("older.ckpt"))  # the other is mapped into memory
    path.with_name("older.ckpt").replace(path)
    train(make_config("max_epochs=2", "ckpt_path=last"))
    found = cost_of()
    assert {found[key] for key in ("images", "seconds", "cpu_seconds", "gflop_step")} == {None}
    assert found["gflop_forward"] > 0


class Unknown(nn.Module):
    """Reads a number, which a copy without numbers cannot."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x.sum().item()


def test_what_cannot_be_counted_is_none_and_one_line_says_why(caplog) -> None:
    assert cost._flops_or_none(flops_of_forward, Unknown(), 1, 1, 8, 8) is None
    (line,) = caplog.messages
    assert line.startswith("floating-point operations of Unknown are not counted (") and "meta" in line


def write_zone(powercap: Path, zone: str, name: str, microjoules: int, largest: int = 1_000_000_000) -> Path:
    folder = powercap / zone
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text(f"{largest}\n")
    return folder / "energy_uj"


def test_energy_is_that_of_all_packages_over_the_start_of_a_counter(tmp_path) -> None:
    first = write_zone(tmp_path, "intel-rapl:0", "package-0", 900_000_000)
    second = write_zone(tmp_path, "intel-rapl:1", "package-1", 5_000_000)
    for zone, name in (("intel-rapl:0:0", "core"), ("intel-rapl:2", "psys"), ("intel-rapl-mmio:0", "package-0")):
        write_zone(tmp_path, zone, name, 0)
    meter = EnergyMeter(package_counters(tmp_path))
    assert meter.watt_hours() == 0
    first.write_text("980000000")  # 80 J
    second.write_text("41000000")  # 36 J
    for zone in ("intel-rapl:0:0", "intel-rapl:2", "intel-rapl-mmio:0"):
        (tmp_path / zone / "energy_uj").write_text("77000000")  # a part of the package, more than it, the same again
    assert meter.watt_hours() == pytest.approx(116 / 3600)
    first.write_text("60000000")  # 20 J to the end of its range of 1,000 J, and 60 J
    assert meter.watt_hours() == pytest.approx((116 + 80) / 3600)
    first.unlink()
    assert meter.watt_hours() is None
    first.write_text("70000000")
    assert meter.watt_hours() is None  # a range may have passed unseen


def test_where_the_machine_does_not_tell_its_energy_is_not_known(tmp_path) -> None:
    assert package_counters(tmp_path / "none") == []
    write_zone(tmp_path, "intel-rapl:0", "package-0", 0).unlink()

    def only_root() -> int:
        raise PermissionError

    for counters in ([], package_counters(tmp_path), [Counter(only_root, 1e-6)], gpu_counters(torch.device("cpu"))):
        assert EnergyMeter(counters).watt_hours() is None


class FakeNVML(SimpleNamespace):
    """Counts millijoules of one GPU, as long as the driver answers."""

    class NVMLError(Exception): ...

    millijoules = 7_200_000

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        if handle != "GPU-12-34" or self.millijoules is None:
            raise self.NVMLError("Not Supported")
        return self.millijoules


def test_energy_of_a_gpu_is_its_boards(monkeypatch) -> None:
    nvml, gpu = FakeNVML(), torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="12-34"))
    monkeypatch.setitem(sys.modules, "pynvml", None)  # not installed
    assert gpu_counters(gpu) == []
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    meter = EnergyMeter(gpu_counters(gpu))
    nvml.millijoules += 1_800_000
    assert meter.watt_hours() == pytest.approx(0.5)
    nvml.millijoules = None
    assert meter.watt_hours() is None


STRATEGIES = sorted(path.stem for path in (ROOT / "conf/strategy").glob("*.yaml"))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_step_of_every_strategy_can_be_counted(strategy) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", [f"strategy={strategy}", "image_size=128", "run_dir=x", "trainer=cpu"])
        if "encoder_weights" in cfg.generator:
            cfg.generator.encoder_weights = "none"  # their numbers do not count
    module = build_module(cfg, Engine())
    step = make_step(module.generator, module.discriminator)
    step = replace(step, objective=module.objective, ledger=module.ledger, game=module.game)
    turn = module.game.turn(0, 10, module.objective.penalty_every)
    assert turn.discriminator == (strategy == "unet_gan")
    one = torch.zeros(2, 1, 128, 128), torch.zeros(2, 2, 128, 128)
    assert flops_of_step(step, *one, turn) / 2 > flops_of_forward(module.generator, 1, 1, 128, 128) > 0
