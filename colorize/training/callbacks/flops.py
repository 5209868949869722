"""Floating-point operations, counted by running a copy on the meta device.

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
    """Replaces the optimizers of a step on the meta device, whose weights are not updated."""

    defaults = {"fused": True}  # noqa: RUF012  # otherwise the step reads the non-finite flag

    def zero_grad(self) -> None: ...

    def step(self) -> None: ...


def flops_of_forward(network: nn.Module, *shape: int) -> int:
    """Count the operations of a network's forward pass in evaluation mode.

    Args:
        network: not changed.
        shape: shape of its input.
    """
    network = _on_meta(network).eval()
    with torch.no_grad():
        return _count(lambda: network(torch.empty(shape, device="meta")))


def flops_of_step(step: GanStep, L: Tensor, ab: Tensor, turn: Turn) -> int:
    """Count the operations of a training step, forward and backward, without those of the optimizers.

    Args:
        step: its networks, losses and random state are not changed.
        L: ``(B, 1, H, W)``, for its shape.
        ab: ``(B, 2, H, W)``, for its shape.
        turn: which of the two networks step, and how.
    """
    ledger = _on_meta(step.ledger)
    ledger.shared = False  # no exchange with other processes
    copied = replace(
        step,
        generator=_on_meta(step.generator),
        discriminator=_on_meta(step.discriminator),
        mean_generator=None,
        optimizers=(_NoOptimizer(), _NoOptimizer()),
        clip_norms=(None, None),
        objective=_on_meta(step.objective),
        ledger=ledger,
        noise=step.noise.to("meta"),
        backward=Tensor.backward,
    )
    L, ab = (torch.empty_like(x, device="meta") for x in (L, ab))
    return _count(lambda: copied(L, ab, turn._replace(observed=False)))


class _Count(TorchDispatchMode):
    """Sums the operations by torch's formulas.

    `torch.utils.flop_counter.FlopCounterMode` also counts per module, with hooks that fail on some modules' inputs.
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


def _on_meta(module: Module) -> Module:
    """Return a copy whose weights and buffers are on the meta device; no data is copied, nothing is compiled."""
    memo: dict[int, Any] = {id(buffer): buffer.detach().to("meta") for buffer in module.buffers()}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
    return copy.deepcopy(module, memo)
