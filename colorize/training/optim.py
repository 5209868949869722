"""Optimisers, built by name."""

from collections.abc import Iterable
from typing import Any

from torch.nn import Parameter
from torch.optim import Adam, Optimizer

from colorize.errors import UserError
from colorize.registry import Registry

OPTIMIZERS = Registry("optimizer")


@OPTIMIZERS.register("adam")
def adam(params: Iterable[Parameter], lr: float, betas: Iterable[float]) -> Adam:
    """Adam (Kingma & Ba 2015).

    Raises:
        UserError: if ``lr`` is not positive or ``betas`` is not two numbers in [0, 1).
    """
    if not 0 < lr < float("inf"):
        raise UserError(f"lr must be above 0; got {lr}")
    betas = tuple(betas)
    if len(betas) != 2 or not all(isinstance(beta, int | float) and 0 <= beta < 1 for beta in betas):
        raise UserError(f"betas must be two numbers in [0, 1); got {list(betas)}")
    return Adam(params, lr=lr, betas=betas)


def build_optimizer(params: Iterable[Parameter], name: str, **kwargs: Any) -> Optimizer:
    """Build an optimiser of ``params``.

    Raises:
        UserError: if the name or an argument is unknown or out of range.
    """
    return OPTIMIZERS.build(name, params=params, **kwargs)
