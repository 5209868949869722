"""Floating-point operations, counted by running a copy that has shapes and no numbers.

One multiply-add counts as 2 operations, as in `torch.utils.flop_counter`; only convolutions, matrix products and
attention count. The report's U-Net has 12.0 GFLOP at 256x256 by this convention.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from colorize.training.game import Turn
from colorize.training.step import GanStep

Module = TypeVar("Module", bound=nn.Module)


class _NoOptimizer:
    """Stands where a step expects an optimizer; weights without numbers are not stepped."""

    defaults = {"fused": True}  # noqa: RUF012  # else the step reads whether a loss was a number

    def zero_grad(self) -> None: ...

    def step(self) -> None: ...


def flops_of_forward(network: nn.Module, *shape: int) -> int:
    """Count the operations of a network's forward pass in evaluation mode.

    Args:
        network: left as it is.
        shape: of its input.
    """
    network = _without_numbers(network).eval()
    with torch.no_grad():
        return _count(lambda: network(torch.empty(shape, device="meta")))


def flops_of_step(step: GanStep, L: Tensor, ab: Tensor, turn: Turn) -> int:
    """Count the operations of a training step, forward and backward; what optimizers do is not counted.

    Args:
        step: its networks, losses and random draws are left as they are.
        L: ``(B, 1, H, W)``, for its shape.
        ab: ``(B, 2, H, W)``, for its shape.
        turn: which of the two networks step, and how.
    """
    ledger = _without_numbers(step.ledger)
    ledger.shared = False  # there is nothing to exchange with other processes
    copied = replace(
        step,
        generator=_without_numbers(step.generator),
        discriminator=_without_numbers(step.discriminator),
        mean_generator=None,
        optimizers=(_NoOptimizer(), _NoOptimizer()),
        clip_norms=(None, None),
        objective=_without_numbers(step.objective),
        ledger=ledger,
        noise=step.noise.to("meta"),
        backward=Tensor.backward,
    )
    L, ab = (torch.empty_like(x, device="meta") for x in (L, ab))
    return _count(lambda: copied(L, ab, turn._replace(observed=False)))


class _Count(TorchDispatchMode):
    """Sums the operations by torch's own formulas.

    `torch.utils.flop_counter.FlopCounterMode` also tells modules apart, by hooks that some modules' inputs do not bear.
    """

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **kwargs or {})
        if func.overloadpacket in flop_registry:
            self.total += flop_registry[func.overloadpacket](*args, **kwargs or {}, out_val=out)
        return out


def _count(run: Callable[[], Any]) -> int:
    with _Count() as counter:
        run()
    return counter.total


def _without_numbers(module: Module) -> Module:
    """Return a copy whose weights and buffers are on the meta device; no number is copied, nothing is compiled."""
    memo: dict[int, Any] = {id(buffer): buffer.detach().to("meta") for buffer in module.buffers()}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
    return copy.deepcopy(module, memo)
