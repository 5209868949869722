"""Optimisers, built by name."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Adam, Optimizer

from colorize.errors import UserError
from colorize.registry import Registry

OPTIMIZERS = Registry("optimizer")


@OPTIMIZERS.register("adam")
def adam(params: Iterable[Parameter], lr: float, betas: Iterable[float], fused: bool = True) -> Adam:
    """Adam (Kingma & Ba 2015).

    Args:
        params: what it steps.
        lr: learning rate.
        betas: decay of the first and the second moment.
        fused: one kernel steps all of ``params``; and it heeds ``found_inf``, so that a loss that is no number is
            noticed without waiting for the device at every step.

    Raises:
        UserError: if ``lr`` is not positive or ``betas`` is not two numbers in [0, 1).
    """
    if not 0 < lr < float("inf"):
        raise UserError(f"lr must be above 0; got {lr}")
    betas = tuple(betas)
    if len(betas) != 2 or not all(isinstance(beta, int | float) and 0 <= beta < 1 for beta in betas):
        raise UserError(f"betas must be two numbers in [0, 1); got {list(betas)}")
    return Adam(params, lr=lr, betas=betas, fused=fused)


def build_optimizer(params: Iterable[Parameter], name: str, **kwargs: Any) -> Optimizer:
    """Build an optimiser of ``params``.

    Raises:
        UserError: if the name or an argument is unknown or out of range.
    """
    return OPTIMIZERS.build(name, params=params, **kwargs)


def fit_states(optimizer: Optimizer) -> None:
    """Give loaded states the device and the memory format that the optimizer keeps them in.

    A checkpoint may come from another device, or from a run whose engine laid out weights otherwise. A ``step`` is on
    the CPU unless the optimizer is fused or capturable, as in `torch.optim.Adam`: on a GPU, each would be waited for.
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


def gradients(optimizer: Optimizer) -> list[Tensor]:
    """Return the gradients of all that an optimiser steps."""
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def gradient_norm(optimizer: Optimizer) -> Tensor:
    """Return the norm of the whole gradient, a scalar on the device."""
    return torch.nn.utils.get_total_norm(gradients(optimizer))


def clip_gradient(optimizer: Optimizer, norm: Tensor, largest: float) -> None:
    """Shorten the gradient, whose norm is ``norm``, to at most ``largest``, without waiting for the device."""
    share = (largest / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(gradients(optimizer), share)


def set_lr(optimizer: Optimizer, share: float) -> None:
    """Set every learning rate to a share of what the optimiser was built with; a recorded step sees it."""
    for group in optimizer.param_groups:
        lr = optimizer.defaults["lr"] * share
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr
