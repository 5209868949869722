"""Optimizers: built by name, of the trainable weights, with a learning rate for each part of a network."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from colorize.base.checks import above, at_least, within
from colorize.base.claims import short_repr
from colorize.base.errors import UserError
from colorize.base.registry import Registry

OPTIMIZERS = Registry("optimizer")
Groups = list[dict[str, Any]]  # parameter groups, as torch's optimizers take them


@OPTIMIZERS.register("adam")
def adam(params: Groups, lr: float, betas: Iterable[float], fused: bool = True) -> Adam:
    """Adam (Kingma & Ba 2015).

    Args:
        params: parameter groups.
        lr: learning rate of the groups that do not set one.
        betas: decay of the first and the second moment.
        fused: update all of ``params`` in one kernel, which respects ``found_inf``: steps with a non-finite loss are
            skipped without synchronizing the device.

    Raises:
        UserError: if ``lr`` is not positive or ``betas`` is not two numbers in [0, 1).
    """
    return Adam(params, lr=above("lr", lr, 0), betas=_checked_betas(betas), fused=fused)


@OPTIMIZERS.register("adamw")
def adamw(params: Groups, lr: float, betas: Iterable[float], weight_decay: float = 0.01, fused: bool = True) -> AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019).

    Args:
        params: parameter groups.
        lr: learning rate of the groups that do not set one.
        betas: decay of the first and the second moment.
        weight_decay: each step also subtracts this fraction, times the learning rate, of every weight.
        fused: as in `adam`.

    Raises:
        UserError: as `adam`, or if ``weight_decay`` is negative.
    """
    at_least("weight_decay", weight_decay, 0)
    settings = {"betas": _checked_betas(betas), "weight_decay": weight_decay, "fused": fused}
    return AdamW(params, lr=above("lr", lr, 0), **settings)


def _checked_betas(betas: Any) -> tuple[float, float]:
    if not isinstance(betas, Sequence) or len(betas) != 2:
        raise UserError(f"betas must be two numbers, such as [0.5,0.999]; got {short_repr(betas)}")
    return tuple(within("each of betas", beta, 0, 1, "[)") for beta in betas)


def build_optimizers(generator: nn.Module, discriminator: nn.Module, optim: Mapping[str, Any]) -> list[Optimizer]:
    """Build one optimizer per network, of its parameters that require gradients.

    A generator's submodule ``encoder`` is a separate, second parameter group, unless all of it is frozen.

    Args:
        generator: network of the first optimizer.
        discriminator: network of the second.
        optim: the key ``optim`` of the config: ``generator`` and ``discriminator``, each with the ``name`` and
            arguments of an optimizer, optionally ``clip_norm``, and for a generator ``encoder_lr``; optionally
            ``lr_ratio``, a factor of D's learning rate.
    Raises:
        UserError: if a value is invalid, or every weight of the generator is frozen.
    """
    ratio = above("lr_ratio", optim.get("lr_ratio", 1.0), 0)
    settings = {name: dict(optim[name]) for name in ("generator", "discriminator")}
    for part in settings.values():
        part.pop("clip_norm", None)
    groups = _groups(generator, settings["generator"].pop("encoder_lr", None))
    if not groups:
        raise UserError("every weight of the generator is frozen: there is nothing to train")
    optimizers = [
        OPTIMIZERS.build(params=groups, **settings["generator"]),
        OPTIMIZERS.build(params=_groups(discriminator), **settings["discriminator"]),
    ]
    for optimizer, factor in zip(optimizers, (1.0, ratio), strict=True):
        # in the defaults, since loading a checkpoint overwrites the param_groups but not these
        optimizer.defaults["lrs"] = tuple(group["lr"] * factor for group in optimizer.param_groups)
        set_lr(optimizer, 1.0)
    return optimizers


def _groups(network: nn.Module, encoder_lr: float | None = None) -> Groups:
    encoder = getattr(network, "encoder", None)
    if encoder_lr is not None:
        above("optim.generator.encoder_lr", encoder_lr, 0)
        if encoder is None:
            raise UserError(f"optim.generator.encoder_lr={encoder_lr}: this generator has no encoder; set it to null")
    inside = set() if encoder is None else set(encoder.parameters())
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    parts = ([p for p in learning if p not in inside], {}), ([p for p in learning if p in inside], {"lr": encoder_lr})
    return [
        {"params": params} | {key: value for key, value in own.items() if value is not None}
        for params, own in parts
        if params
    ]


def clip_norm(optim: Mapping[str, Any], network: str) -> float | None:
    """Return the norm that a network's gradient is clipped to; ``None`` for no clipping.

    Raises:
        UserError: if it is not positive.
    """
    return above(f"optim.{network}.clip_norm", optim[network].get("clip_norm"), 0, also=(None,))


def prepare_optimizer(optimizer: Optimizer) -> None:
    """Prepare an optimizer with loaded states: reset its settings to those it was built with."""
    settings = {key: value for key, value in optimizer.defaults.items() if key != "lrs"}
    for group in optimizer.param_groups:
        group.update(settings)  # turns a learning rate that CUDA graphs made a tensor back into a float
    set_lr(optimizer, 1.0)
    fit_states(optimizer)


def fit_states(optimizer: Optimizer) -> None:
    """Move loaded states to the device and memory format of their parameters.

    A checkpoint may come from another device, or from a run with another memory format. A ``step`` stays on the CPU
    unless the optimizer is fused or capturable, as in `torch.optim.Adam`: on a GPU, reading it would synchronize.
    """
    for group in optimizer.param_groups:
        with_parameters = group.get("fused") or group.get("capturable")
        for parameter in group["params"]:
            state = optimizer.state.get(parameter, {})
            for name, value in state.items():
                if name == "step" and not with_parameters:
                    state[name] = value.cpu()
                elif isinstance(value, Tensor):
                    like = parameter if value.shape == parameter.shape else value
                    state[name] = torch.empty_like(like, device=parameter.device).copy_(value)


def gradient_norm(optimizer: Optimizer) -> Tensor:
    """Return the norm of the gradient of all parameters, a scalar on the device."""
    grads = [parameter.grad for group in optimizer.param_groups for parameter in group["params"]]
    return torch.nn.utils.get_total_norm([grad for grad in grads if grad is not None])


def clip_gradient(optimizer: Optimizer, norm: Tensor, largest: float) -> None:
    """Clip the gradient, whose norm is ``norm``, to at most ``largest``, without synchronizing the device."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    torch.nn.utils.clip_grads_with_norm_(parameters, largest, norm)


def set_lr(optimizer: Optimizer, share: float) -> None:
    """Set every learning rate to a fraction of its initial value; in place if a tensor, so that CUDA graphs see it."""
    for group, full in zip(optimizer.param_groups, optimizer.defaults["lrs"], strict=True):
        lr = full * share
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr
