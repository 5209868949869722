"""Emulate CUDA graphs on a CPU: capture records operations without running them, and replay runs them in place."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Operators whose result Python reads, for which a GPU would be waited for
READS = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default, torch.ops.aten.nonzero.default)


class CpuGraph:
    """Stands in for `torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self.operators: list[tuple[Callable, tuple[Any, ...], Mapping[str, Any], Any]] = []

    def replay(self) -> None:
        """Compute all operators; results go where they went in the recording."""
        with torch.no_grad(), torch.autocast("cpu", enabled=False):  # casts are among the operators
            for operator, args, kwargs, recorded in self.operators:
                for old, new in zip(_tensors(recorded), _tensors(operator(*args, **kwargs)), strict=True):
                    if old.data_ptr() != new.data_ptr():
                        old.copy_(new)

    def reset(self) -> None:
        """Forget everything."""
        self.operators.clear()


class _Recording(TorchDispatchMode):
    """Notes each operator, takes back what it wrote, and fills its result with NaN: nothing is computed yet."""

    def __init__(self, graph: CpuGraph) -> None:
        super().__init__()
        self.graph = graph

    def __torch_dispatch__(
        self, func: Callable, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in READS:
            raise RuntimeError("operation not permitted when stream is capturing")
        kwargs = kwargs or {}
        written = _tensors(_written(func, args, kwargs))
        before = [tensor.clone() for tensor in written]
        result = func(*args, **kwargs)
        self.graph.operators.append((func, args, kwargs, result))
        for tensor, value in zip(written, before, strict=True):
            tensor.copy_(value)
        given = {tensor.untyped_storage().data_ptr() for tensor in _tensors((args, kwargs))}
        for tensor in _tensors(result):
            if tensor.is_floating_point() and tensor.untyped_storage().data_ptr() not in given:
                tensor.fill_(torch.nan)
        return result


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def _written(func: Callable, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
    """Return the arguments that an operator writes to; batch norm's schema is silent about its running statistics."""
    known = dict(zip((argument.name for argument in func._schema.arguments), args, strict=False)) | dict(kwargs)
    about = {argument.name: argument.alias_info for argument in func._schema.arguments}
    return [
        value
        for name, value in known.items()
        if name.startswith("running_") or (about[name] is not None and about[name].is_write)
    ]


class Stream:
    """Stands in for `torch.cuda.Stream`."""

    def wait_stream(self, stream: "Stream") -> None:
        """Do nothing: a CPU has one thing to do after another."""


class Cuda:
    """What a recording may leave changed, and the graphs that were made."""

    def __init__(self) -> None:
        self.default_stream = self.stream = Stream()
        self.recording_to: list[object] = []  # pools of memory
        self.graphs: list[CpuGraph] = []

    def new_graph(self) -> CpuGraph:
        """Make a graph."""
        self.graphs.append(CpuGraph())
        return self.graphs[-1]

    @contextlib.contextmanager
    def on(self, stream: Stream | None) -> Iterator[None]:
        """Make a stream, unless it is none, the current one; as in older torch, an error leaves it so."""
        if stream is None:
            yield
            return
        before, self.stream = self.stream, stream
        yield
        self.stream = before

    @contextlib.contextmanager
    def record(self, graph: CpuGraph, pool: object, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        """Record; an error leaves the stream, the pool and the generator as they are, where they are."""
        draws = torch.default_generator.get_state()
        self.recording_to.append(pool)
        with self.on(stream), _Recording(graph):
            yield
        torch.default_generator.set_state(draws)
        self.recording_to.remove(pool)


class _Generator:
    """Stands in for a generator of `torch.cuda.default_generators`."""

    clone_state = staticmethod(torch.default_generator.get_state)
    graphsafe_set_state = staticmethod(torch.default_generator.set_state)


@contextlib.contextmanager
def cpu_graphs() -> Iterator[Cuda]:
    """Let `CudaGraphStep` work without a GPU: put stand-ins in the place of all that it takes from torch."""
    cuda = Cuda()
    stand_ins = {
        "Stream": Stream,
        "CUDAGraph": cuda.new_graph,
        "graph": cuda.record,
        "stream": cuda.on,
        "graph_pool_handle": object,
        "current_stream": lambda: cuda.stream,
        "set_stream": lambda stream: setattr(cuda, "stream", stream),
        "current_device": lambda: 0,
        "default_generators": [_Generator],
    }
    pools = {
        "_cuda_endAllocateToPool": lambda device, pool: cuda.recording_to.remove(pool),
        "_cuda_releasePool": lambda device, pool: None,
    }
    with patch.multiple(torch.cuda, **stand_ins), patch.multiple(torch._C, create=True, **pools):
        yield cuda
