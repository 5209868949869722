"""How the arithmetic of training is done: what is fastest on the device, and the same training."""

import os
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from colorize.errors import UserError
from colorize.machine import cores, keep_freed_memory

FAST_BF16 = ("avx512_bf16", "amx_bf16")  # instructions without which bf16 on a CPU is slower than float32


@dataclass(frozen=True)
class Engine:
    """Choices of arithmetic; keys of ``conf/engine/default.yaml``, which says what each bought, and the precision.

    Args:
        precision: ``32`` or ``bf16-mixed``; weights, losses and colour conversion are float32 in both.
        channels_last: keep weights and activations as (B, H, W, C), as matrix units read them.
        compile: let torch.compile fuse the operations of both networks and of the colour conversion.
        cuda_graphs: record D's and G's step and replay it: one launch instead of a thousand.
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
    on_cuda = device.type == "cuda"
    best = {
        "channels_last": device.type != "mps",
        "compile": False,
        "cuda_graphs": on_cuda and one_device,
        "async_checkpoints": True,
        "keep_memory": device.type == "cpu",
        "resident": "auto",
        "threads": None if device.type != "cpu" or "OMP_NUM_THREADS" in os.environ else cores(),
    }
    chosen = {key: best[key] if value == "auto" else value for key, value in settings.items()}
    for key, value in chosen.items():
        if key == "threads":
            fits = value is None or (isinstance(value, int) and value >= 1)
        else:
            fits = isinstance(value, bool) or (key, value) == ("resident", "auto")
        if not fits:
            kind = "or a whole number of at least 1" if key == "threads" else "true or false"
            raise UserError(f"engine.{key} must be auto, {kind}; got {value}")
    if chosen["cuda_graphs"] and not best["cuda_graphs"]:
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
    choices = ("auto", "32", "bf16-mixed")
    if asked not in choices:
        raise UserError(f"unknown trainer.precision {asked!r}; choose one of {list(choices)}")
    if asked != "auto":
        return asked
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
        fast = any(capabilities.get(name) for name in FAST_BF16)
    return "bf16-mixed" if fast else "32"


class CudaGraphStep:
    """A training step that is recorded as CUDA graphs and then replayed: one launch instead of a thousand.

    The first calls of each kind run as they are: cuDNN chooses its kernels, torch.compile compiles, Adam makes its
    moments. Random draws inside follow the global generator's seed at each replay, as they would without a graph. All
    of it runs on one stream of its own, for the default one cannot be recorded.

    Args:
        step: ``(L, ab, turn)`` to an outcome; it works in place on weights and optimisers, and never waits for the
            device. Turns that are equal compute the same; each gets a graph, and they share their memory.
        optimizers: whose learning rates, tensors from here on, can change between replays.
    """

    WARM_UP = 3  # calls of a kind before it is recorded

    def __init__(
        self, step: Callable[[Tensor, Tensor, Hashable], Any], optimizers: list[torch.optim.Optimizer]
    ) -> None:
        self.step = step
        self.stream = torch.cuda.Stream()
        self.calls: dict[Hashable, int] = {}
        self.graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, Any]] = {}  # with what the step returned
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            device = group["params"][0].device
            group["capturable"] = True
            group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=device)

    def __call__(self, L: Tensor, ab: Tensor, turn: Hashable) -> Any:
        """Step on one batch; the outcome is overwritten by later calls.

        Raises:
            UserError: if the step does what a graph cannot hold, such as waiting for the device.
        """
        self.calls[turn] = self.calls.get(turn, 0) + 1
        if self.calls[turn] <= self.WARM_UP:
            return self._warm_up(L, ab, turn)
        if not self.graphs:
            self.L, self.ab = L.clone(), ab.clone()
        if L.shape != self.L.shape:
            return self.step(L, ab, turn)
        if turn not in self.graphs:
            self._record(turn)
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

    def _record(self, turn: Hashable) -> None:
        # Graphs run one after another, so each may use the memory that another has done with
        pool = next((graph.pool() for graph, _ in self.graphs.values()), None)
        graph = torch.cuda.CUDAGraph()
        try:
            # thread_local: a thread that writes a checkpoint or a picture meanwhile may use the GPU
            with torch.cuda.graph(graph, pool=pool, stream=self.stream, capture_error_mode="thread_local"):
                outcome = self.step(self.L, self.ab, turn)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # the first of two: the second only says that there was one
            reason = str(error.__context__ or error).splitlines()[0]
            raise UserError(f"the step cannot be recorded ({reason}): use engine.cuda_graphs=false") from error
        self.graphs[turn] = graph, outcome
