"""Speed settings: precision, memory format, compilation, CUDA graphs; they do not change what is trained."""

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
    """Speed settings: the keys of ``conf/engine/default.yaml``, which gives the gain of each, and the precision.

    Args:
        precision: ``32`` or ``bf16-mixed``; weights, losses and color conversion are float32 in both.
        channels_last: store weights and activations as (B, H, W, C), the layout that matrix units prefer.
        compile: compile both networks and the color conversion with torch.compile.
        cuda_graphs: capture D's and G's step and replay it: one launch instead of a thousand; ``auto`` is off.
        async_checkpoints: write checkpoints in a thread, from a copy of the weights.
        keep_memory: keep freed memory in the process (see `keep_freed_memory`).
        resident: keep all images on the training device (see `choose_feed`); ``auto`` is resolved when their size
            is known.
        threads: number of CPU threads; ``None`` leaves torch's choice.
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
    """Replace every ``auto`` by the best choice for the device.

    Args:
        settings: a value for every field of `Engine` but the precision; may be ``auto``.
        precision: ``auto``, ``32`` or ``bf16-mixed``.
        device: where training runs.
        one_device: whether this is the only device.
    Raises:
        UserError: if a value has the wrong type, or CUDA graphs are requested without a single CUDA GPU.
    """
    best = {
        "channels_last": device.type != "mps",
        "compile": False,
        "cuda_graphs": False,  # until they have been verified on a GPU
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
        raise UserError("engine.cuda_graphs=true needs exactly one CUDA GPU: leave it at auto")
    return Engine(choose_precision(precision, device), **chosen)


def prepare_process(engine: Engine) -> None:
    """Apply the settings that hold for the whole process: CPU threads and memory."""
    if engine.threads:
        torch.set_num_threads(engine.threads)
    if engine.keep_memory:
        keep_freed_memory()


def choose_precision(asked: str, device: torch.device) -> str:
    """Replace ``auto`` by bf16 where the device has fast bf16 instructions, else by float32.

    Raises:
        UserError: if ``asked`` is none of ``auto``, ``32`` and ``bf16-mixed``.
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
    """Check that a step does not synchronize the device if CUDA graphs are to capture it.

    Raises:
        UserError: if CUDA graphs are on and an optimizer is not fused: its step reads the loss first.
    """
    if engine.cuda_graphs and not all(optimizer.defaults.get("fused") for optimizer in optimizers):
        raise UserError(
            "engine.cuda_graphs=true needs optim.generator.fused=true and optim.discriminator.fused=true: "
            "an optimizer that is not fused synchronizes the GPU at every step"
        )


class CudaGraphStep:
    """A training step that is captured as CUDA graphs and then replayed: one launch instead of a thousand.

    The first calls of each turn run eagerly, as a warm-up: cuDNN selects its kernels, torch.compile compiles, Adam
    allocates its moments. Random draws follow the global generator's seed at each replay, as they would without a
    graph. Everything runs on a separate stream, since the default stream cannot be captured.

    If a turn cannot be captured, all of them run eagerly for the rest of the process, and one log line says why.

    Args:
        step: maps ``(L, ab, turn)`` to an outcome; it updates weights and optimizers in place and never synchronizes
            the device. Equal turns compute the same; each gets a graph, and the graphs share their memory.
        optimizers: their learning rates become tensors, so that they can change between replays.
    """

    WARM_UP = 3  # eager calls of a turn before it is captured
    failed: ClassVar[list[Any]] = []  # graphs whose capture failed; kept, since torch's allocators still use them

    def __init__(self, step: Callable[[Tensor, Tensor, Hashable], Any], optimizers: Sequence[Optimizer]) -> None:
        self.step = step
        self.optimizers = optimizers
        self.stream = torch.cuda.Stream()
        # Graphs run one after another, so they can share one memory pool
        self.pool = torch.cuda.graph_pool_handle()
        self.calls: dict[Hashable, int] = {}
        self.graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, Any]] = {}  # with what the step returned
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            device = group["params"][0].device
            group["capturable"] = True
            group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=device)

    def __call__(self, L: Tensor, ab: Tensor, turn: Hashable) -> Any:
        """Run one step on a batch; later calls overwrite the outcome."""
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
        """Capture the step of a turn, without running it; return whether that succeeded."""
        graph = torch.cuda.CUDAGraph()
        try:
            # thread_local: a thread that writes a checkpoint or a picture meanwhile may use the GPU
            with (
                _restored_on_error(self.optimizers, self.pool),
                torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"),
            ):
                outcome = self.step(self.L, self.ab, turn)
        except Exception as error:  # if the step itself is at fault, it fails again when it runs eagerly
            first = error.__context__ or error  # the second error only reports that there was a first
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
    """Restore the state that a failed capture leaves changed: no kernel ran, but the Python code did."""
    stream, device = torch.cuda.current_stream(), torch.cuda.current_device()
    generator = torch.cuda.default_generators[device]
    draws = generator.clone_state()
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    learn = [(parameter, parameter.requires_grad) for group in groups for parameter in group["params"]]
    try:
        yield
    except Exception:
        torch.cuda.set_stream(stream)  # older torch leaves the capture stream set
        generator.graphsafe_set_state(draws)  # in older torch, a generator state used in a capture refuses more draws
        for parameter, requires_grad in learn:
            parameter.requires_grad_(requires_grad)
        with suppress(RuntimeError):  # if torch has already done both
            torch._C._cuda_endAllocateToPool(device, pool)
            torch._C._cuda_releasePool(device, pool)
        raise
