"""How the arithmetic of training is done: what is fastest on the device, and the same training."""

import logging
import os
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from colorize.base.checks import at_least, one_of, true_or_false
from colorize.base.errors import UserError
from colorize.base.machine import cores, keep_freed_memory

log = logging.getLogger(__name__)

FAST_BF16 = ("avx512_bf16", "amx_bf16")  # instructions without which bf16 on a CPU is slower than float32


@dataclass(frozen=True)
class Engine:
    """Choices of arithmetic; keys of ``conf/engine/default.yaml``, which says what each bought, and the precision.

    Args:
        precision: ``32`` or ``bf16-mixed``; weights, losses and colour conversion are float32 in both.
        channels_last: keep weights and activations as (B, H, W, C), as matrix units read them.
        compile: let torch.compile fuse the operations of both networks and of the colour conversion.
        cuda_graphs: record D's and G's step and replay it: one launch instead of a thousand; ``auto`` is off.
        async_checkpoints: write checkpoints in a thread, from a copy of the weights.
        keep_memory: freed memory stays with the process (see `keep_freed_memory`).
        resident: images stay where training runs (see `choose_feed`); ``auto`` is decided when their size is known.
        threads: of the CPU; ``None`` leaves torch's choice.
    """

    precision: str = "32"
    channels_last: bool = False
    compile: bool = False
    cuda_graphs: bool = False
    async_checkpoints: bool = False
    keep_memory: bool = False
    resident: bool | str = False
    threads: int | None = None


def choose_engine(settings: Mapping[str, Any], precision: str, device: torch.device, one_device: bool = True) -> Engine:
    """Replace every ``auto`` by what suits the device.

    Args:
        settings: a value for every other field of `Engine`; ``auto`` or as there.
        precision: ``auto``, ``32`` or ``bf16-mixed``.
        device: where training runs.
        one_device: whether it runs there alone.
    Raises:
        UserError: if a value is of the wrong kind, or CUDA graphs are asked for where there can be none.
    """
    best = {
        "channels_last": device.type != "mps",
        "compile": False,
        "cuda_graphs": False,  # until they have been proved on a GPU
        "async_checkpoints": True,
        "keep_memory": device.type == "cpu",
        "resident": "auto",
        "threads": None if device.type != "cpu" or "OMP_NUM_THREADS" in os.environ else cores(),
    }
    for key, value in settings.items():
        if key == "threads":
            at_least(f"engine.{key}", value, 1, whole=True, also=("auto", None))
        else:
            true_or_false(f"engine.{key}", value, also=("auto",))
    chosen = {key: best[key] if value == "auto" else value for key, value in settings.items()}
    if chosen["cuda_graphs"] and not (device.type == "cuda" and one_device):
        raise UserError("engine.cuda_graphs=true needs one CUDA GPU, and one only: leave it at auto")
    return Engine(choose_precision(precision, device), **chosen)


def prepare_process(engine: Engine) -> None:
    """Set what holds for the whole process."""
    if engine.threads:
        torch.set_num_threads(engine.threads)
    if engine.keep_memory:
        keep_freed_memory()


def choose_precision(asked: str, device: torch.device) -> str:
    """Replace ``auto``: bf16 where the device multiplies it fast, else float32.

    Raises:
        UserError: if it is none of ``auto``, ``32`` and ``bf16-mixed``.
    """
    if one_of("trainer.precision", asked, ("auto", "32", "bf16-mixed")) != "auto":
        return asked
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
        fast = any(capabilities.get(name) for name in FAST_BF16)
    return "bf16-mixed" if fast else "32"


def check_recordable(engine: Engine, optimizers: Sequence[Optimizer]) -> None:
    """Refuse CUDA graphs where a step waits for the device.

    Raises:
        UserError: if they are asked for and an optimizer is not fused: it is stepped only after the loss was looked at.
    """
    if engine.cuda_graphs and not all(optimizer.defaults.get("fused") for optimizer in optimizers):
        raise UserError(
            "engine.cuda_graphs=true needs optim.generator.fused=true and optim.discriminator.fused=true: "
            "an optimizer that is not fused waits for the GPU at every step"
        )


class CudaGraphStep:
    """A training step that is recorded as CUDA graphs and then replayed: one launch instead of a thousand.

    The first calls of each kind run as they are: cuDNN chooses its kernels, torch.compile compiles, Adam makes its
    moments. Random draws inside follow the global generator's seed at each replay, as they would without a graph. All
    of it runs on one stream of its own, for the default one cannot be recorded.

    Where a kind of step cannot be recorded, all run as they are from there on, for the rest of the process, and one
    line of the log says why.

    Args:
        step: ``(L, ab, turn)`` to an outcome; it works in place on weights and optimizers, and never waits for the
            device. Turns that are equal compute the same; each gets a graph, and they share their memory.
        optimizers: whose learning rates, tensors from here on, can change between replays.
    """

    WARM_UP = 3  # calls of a kind before it is recorded
    failed: ClassVar[list[Any]] = []  # graphs that could not be recorded; kept, since torch's allocators still ask them

    def __init__(self, step: Callable[[Tensor, Tensor, Hashable], Any], optimizers: Sequence[Optimizer]) -> None:
        self.step = step
        self.optimizers = optimizers
        self.stream = torch.cuda.Stream()
        # Graphs run one after another, so each may use the memory that another has done with
        self.pool = torch.cuda.graph_pool_handle()
        self.calls: dict[Hashable, int] = {}
        self.graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, Any]] = {}  # with what the step returned
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            device = group["params"][0].device
            group["capturable"] = True
            group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=device)

    def __call__(self, L: Tensor, ab: Tensor, turn: Hashable) -> Any:
        """Step on one batch; the outcome is overwritten by later calls."""
        if self.failed:
            return self.step(L, ab, turn)
        self.calls[turn] = self.calls.get(turn, 0) + 1
        if self.calls[turn] <= self.WARM_UP:
            return self._warm_up(L, ab, turn)
        if not self.graphs:
            self.L, self.ab = L.clone(), ab.clone()
        if L.shape != self.L.shape or not (turn in self.graphs or self._record(turn)):
            return self.step(L, ab, turn)
        graph, outcome = self.graphs[turn]
        self.L.copy_(L)
        self.ab.copy_(ab)
        graph.replay()
        return outcome

    def _warm_up(self, L: Tensor, ab: Tensor, turn: Hashable) -> Any:
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            outcome = self.step(L, ab, turn)
        torch.cuda.current_stream().wait_stream(self.stream)
        return outcome

    def _record(self, turn: Hashable) -> bool:
        """Record a kind of step, which computes nothing yet; tell whether that succeeded."""
        graph = torch.cuda.CUDAGraph()
        try:
            # thread_local: a thread that writes a checkpoint or a picture meanwhile may use the GPU
            with (
                _restored_on_error(self.optimizers, self.pool),
                torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"),
            ):
                outcome = self.step(self.L, self.ab, turn)
        except Exception as error:  # if the step itself is to blame, it fails again as it runs next
            first = error.__context__ or error  # of two; the second only says that there was one
            reason = next(iter(str(first).splitlines()), type(first).__name__)
            log.warning("CUDA graphs are off from here on: the step cannot be recorded (%s)", reason)
            graph.reset()
            self.failed.append(graph)
            self.graphs.clear()
            return False
        self.graphs[turn] = graph, outcome
        return True


@contextmanager
def _restored_on_error(optimizers: Sequence[Optimizer], pool: tuple[int, int]) -> Iterator[None]:
    """Put back what a failed recording of a step leaves changed: it has computed nothing, but Python ran."""
    stream, device = torch.cuda.current_stream(), torch.cuda.current_device()
    generator = torch.cuda.default_generators[device]
    draws = generator.clone_state()
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    learn = [(parameter, parameter.requires_grad) for group in groups for parameter in group["params"]]
    try:
        yield
    except Exception:
        torch.cuda.set_stream(stream)  # older torch leaves the one of the recording
        generator.graphsafe_set_state(draws)  # in older torch, a state that was recorded refuses further draws
        for parameter, requires_grad in learn:
            parameter.requires_grad_(requires_grad)
        with suppress(RuntimeError):  # where torch has done both already
            torch._C._cuda_endAllocateToPool(device, pool)
            torch._C._cuda_releasePool(device, pool)
        raise
