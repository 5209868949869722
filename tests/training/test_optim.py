"""Which parameters are updated, by how much, and with which learning rate, by hand."""

import copy

import pytest
import torch
from torch import nn

from colorize.base.errors import UserError
from colorize.checkpoint import read_checkpoint
from colorize.experiments.experiment import build_module, engine_of, train
from colorize.training.engine import CudaGraphStep
from colorize.training.optim import build_optimizers, prepare_optimizer, set_lr

ADAM = {"name": "adam", "lr": 0.1, "betas": [0.5, 0.999], "fused": False}


class WithEncoder(nn.Module):
    """A generator of an encoder, part of it frozen, and the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
        self.encoder[0].requires_grad_(False)
        self.decoder = nn.Linear(1, 1, bias=False)


def optimizer_of(generator: nn.Module, **settings) -> torch.optim.Optimizer:
    """Return the generator's optimizer, with a gradient of 1 at every weight that learns."""
    optimizer, _ = build_optimizers(generator, nn.Linear(1, 1), {"generator": ADAM | settings, "discriminator": ADAM})
    for parameter in generator.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    return optimizer


def moved(generator: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """Step; return how far each weight went. A first step of Adam is as long as its learning rate."""
    before = copy.deepcopy(dict(generator.named_parameters()))
    optimizer.step()
    return {name: (before[name] - value).item() for name, value in generator.named_parameters()}


@pytest.mark.parametrize(("encoder_lr", "step"), [(None, 0.1), (0.01, 0.01)])
def test_the_encoder_has_its_own_rate_and_frozen_weights_none(encoder_lr, step) -> None:
    generator = WithEncoder()
    steps = moved(generator, optimizer_of(generator, encoder_lr=encoder_lr))
    expected = {"encoder.0.weight": 0, "encoder.1.weight": step, "decoder.weight": 0.1}
    assert steps == pytest.approx(expected, rel=1e-5)


def test_a_schedule_scales_the_rate_of_every_group() -> None:
    generator = WithEncoder()
    optimizer = optimizer_of(generator, encoder_lr=0.01)
    set_lr(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.005]


def test_a_frozen_encoder_has_no_group() -> None:
    generator = WithEncoder()
    generator.encoder.requires_grad_(False)
    (group,) = optimizer_of(generator, encoder_lr=0.01).param_groups
    assert group["params"] == [generator.decoder.weight]


def test_the_configs_rates_win_over_a_checkpoints() -> None:
    generator = WithEncoder()
    old = optimizer_of(generator, encoder_lr=0.01)
    old.step()
    optimizer = optimizer_of(generator, name="adamw", encoder_lr=0.002, lr=0.3, weight_decay=0.5)
    optimizer.load_state_dict(old.state_dict())
    prepare_optimizer(optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.002]
    assert all(group["weight_decay"] == 0.5 and group["decoupled_weight_decay"] for group in optimizer.param_groups)
    assert optimizer.state[generator.decoder.weight]["step"] == 1


def test_recorded_steps_see_the_rate_of_every_group(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "Stream", object)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    optimizer = optimizer_of(WithEncoder(), encoder_lr=0.01)
    CudaGraphStep(lambda *_: None, [optimizer])
    rates = [group["lr"] for group in optimizer.param_groups]
    set_lr(optimizer, 0.5)
    assert [rate.item() for rate in rates] == pytest.approx([0.05, 0.005])
    assert all(group["lr"] is rate for group, rate in zip(optimizer.param_groups, rates, strict=True))


def test_adamw_takes_its_share_off_the_weight_and_adam_does_not() -> None:
    generator = nn.Linear(1, 1, bias=False)
    start = generator.weight.item()
    optimizer = optimizer_of(generator, name="adamw", weight_decay=0.2)
    moved(generator, optimizer)
    # Loshchilov & Hutter 2019, algorithm 2: theta - lr (m / sqrt v + lambda theta); the first step's m / sqrt v is 1
    assert generator.weight.item() == pytest.approx(start - 0.1 * (1 + 0.2 * start), rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder_lr": 1e-5}, "optim.generator.encoder_lr=1e-05: this generator has no encoder; set it to null"),
        ({"encoder_lr": 0}, "optim.generator.encoder_lr must be a number above 0; got 0"),
        ({"encoder_lr": "x"}, "optim.generator.encoder_lr must be a number above 0; got 'x'"),
        ({"name": "adamw", "weight_decay": -1}, "weight_decay must be a number of at least 0; got -1"),
        ({"name": "sgd"}, r"unknown optimizer 'sgd'; choose one of \['adam', 'adamw'\]"),
    ],
)
def test_a_setting_that_will_not_do_is_named(settings, message) -> None:
    with pytest.raises(UserError, match=message):
        optimizer_of(nn.Linear(1, 1), **settings)


def test_a_generator_that_is_frozen_as_a_whole_is_refused() -> None:
    with pytest.raises(UserError, match="every weight of the generator is frozen"):
        optimizer_of(nn.Linear(1, 1).requires_grad_(False))


def test_the_group_optim_adamw_decays_the_generator_alone(make_config, tmp_path) -> None:
    config = make_config("optim=adamw", "optim.generator.weight_decay=0.03", "trainer.max_steps=1", "lr=0.01")
    train(config)
    start = build_module(config, engine_of(config)).state_dict()
    last = read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")
    decays = [state["param_groups"][0]["weight_decay"] for state in last["optimizer_states"]]
    assert decays == [0.03, 0]
    name = "generator.model.0.weight"
    shift = last["state_dict"][name] - start[name] * (1 - 0.01 * 0.03)  # what is left is Adam's: the rate, either way
    assert shift.abs().median().item() == pytest.approx(0.01, rel=1e-3)
