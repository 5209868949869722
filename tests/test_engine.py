"""Each way to do the arithmetic trains the same; `auto` takes what suits the device."""

import contextlib
import csv
import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from colorize.errors import UserError
from colorize.experiment import train
from colorize.training import ColorizationModule
from colorize.training.engine import CudaGraphStep, Engine, choose_engine, choose_precision
from colorize.training.module import LOSSES
from colorize.training.optim import fit_states
from tests.conftest import small_config

PLAIN = ["engine=plain", "trainer.precision=32", "optim.generator.fused=false", "optim.discriminator.fused=false"]
AUTO = dict.fromkeys([field.name for field in dataclasses.fields(Engine) if field.name != "precision"], "auto")
STEPS = 20


def losses(photos: Path, run_dir: Path, *overrides: str) -> np.ndarray:
    """Train for 20 steps: ``(20, 6)``."""
    train(small_config(photos, run_dir, "max_epochs=4", *PLAIN, *overrides))
    return read_losses(run_dir)


def read_losses(run_dir: Path) -> np.ndarray:
    with (run_dir / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/loss_D"]]
    return np.array([[float(row[f"train/{name}"]) for name in LOSSES] for row in rows])


@pytest.fixture(scope="module")
def plain(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    found = losses(photos, tmp_path_factory.mktemp("plain"))
    assert found.shape == (STEPS, len(LOSSES))
    return found


@pytest.mark.parametrize(
    ("levers", "tolerance"),
    [
        (["optim.generator.fused=true", "optim.discriminator.fused=true"], 1e-2),
        (["engine.channels_last=true"], 3e-2),  # dropout draws in the order of memory: another mask
        (["engine.resident=true"], 2e-2),  # images as float16
        (["engine.async_checkpoints=true"], 0),
        (["engine.threads=2"], 1e-2),
        (["trainer.precision=bf16-mixed"], 3e-2),
        (["engine=default", "engine.threads=1", "trainer.precision=auto", "optim.generator.fused=true"], 3e-2),
    ],
    ids=["fused", "channels_last", "resident", "async_checkpoints", "threads", "bf16", "default"],
)
def test_losses_of_20_steps_stay(plain: np.ndarray, photos: Path, tmp_path: Path, levers, tolerance) -> None:
    np.testing.assert_allclose(losses(photos, tmp_path, *levers), plain, rtol=tolerance)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compiled_losses_of_20_steps_stay(photos: Path, tmp_path: Path) -> None:
    small = ["image_size=16", "generator.n_down=2", "discriminator.n_down=1", "trainer.limit_val_batches=0"]
    small += ["~callbacks.best", "~callbacks.samples", "optimized_metric=train/loss_G"]
    plain = losses(photos, tmp_path / "plain", *small)
    compiled = losses(photos, tmp_path / "compiled", *small, "engine.compile=true")
    np.testing.assert_allclose(compiled, plain, rtol=3e-2)


def test_a_compiled_networks_weights_keep_their_names() -> None:
    module = small_module(Engine(compile=True, channels_last=True))
    assert set(module.state_dict()) == set(small_module().state_dict())


def small_module(engine: Engine | None = None) -> ColorizationModule:
    adam = {"name": "adam", "lr": 2e-4, "betas": [0.5, 0.999]}
    return ColorizationModule(
        generator={"name": "unet", "n_down": 5, "num_filters": 2},
        discriminator={"name": "patch", "n_down": 2, "num_filters": 2},
        loss={"name": "gan_l1"},
        optim={"generator": adam, "discriminator": adam},
        image_size=32,
        engine=engine,
    )


def test_a_run_continues_a_checkpoint_of_another_engine(photos: Path, tmp_path: Path) -> None:
    """Moments come in the memory format, and steps on the device, of the run that wrote them."""
    whole = losses(photos, tmp_path / "whole")
    train(small_config(photos, tmp_path / "half", "max_epochs=2", *PLAIN))
    engine = ["engine.channels_last=true", "optim.generator.fused=true", "optim.discriminator.fused=true"]
    config = small_config(photos, tmp_path / "rest", "max_epochs=4", *PLAIN, *engine)
    config.ckpt_path = str(tmp_path / "half/checkpoints/last.ckpt")
    train(config)
    np.testing.assert_allclose(read_losses(tmp_path / "rest")[-10:], whole[-10:], rtol=3e-2)


@pytest.mark.parametrize(
    ("kind", "steps_on"),
    [({"fused": False}, "cpu"), ({"fused": True}, "meta"), ({"fused": False, "capturable": True}, "meta")],
    ids=["plain", "fused", "capturable"],
)
def test_loaded_steps_are_where_adam_keeps_them(kind, steps_on) -> None:
    """And moments are where the weights are: here on the device "meta", which a GPU can be told by."""
    weight = torch.nn.Parameter(torch.zeros(2, device="meta"))
    optimizer = torch.optim.Adam([weight])
    optimizer.param_groups[0].update(kind)
    optimizer.state[weight] = {"step": torch.tensor(3.0), "exp_avg": torch.ones(2), "exp_avg_sq": torch.ones(2)}
    fit_states(optimizer)
    devices = {name: value.device.type for name, value in optimizer.state[weight].items()}
    assert devices == {"step": steps_on, "exp_avg": "meta", "exp_avg_sq": "meta"}


def test_a_cpu_gets_what_suits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("colorize.training.engine.cores", lambda: 6)
    chosen = choose_engine(AUTO, "32", torch.device("cpu"))
    assert chosen == Engine(channels_last=True, async_checkpoints=True, keep_memory=True, resident="auto", threads=6)


def test_a_gpu_gets_what_suits_it() -> None:
    chosen = choose_engine(AUTO, "32", torch.device("cuda"))
    assert chosen == Engine(channels_last=True, cuda_graphs=True, async_checkpoints=True, resident="auto")


def test_several_gpus_get_no_graphs() -> None:
    assert not choose_engine(AUTO, "32", torch.device("cuda"), one_device=False).cuda_graphs


def test_what_the_user_sets_wins() -> None:
    settings = dict.fromkeys(AUTO, False) | {"compile": True, "threads": 3}
    assert choose_engine(settings, "32", torch.device("cuda")) == Engine(compile=True, threads=3)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("cuda_graphs", True, "engine.cuda_graphs=true needs one CUDA GPU"),
        ("compile", "yes", "engine.compile must be auto, true or false; got yes"),
        ("threads", 0, "engine.threads must be auto, or a whole number of at least 1; got 0"),
    ],
)
def test_a_wrong_lever_is_named(key, value, message) -> None:
    with pytest.raises(UserError, match=message):
        choose_engine(AUTO | {key: value}, "32", torch.device("cpu"))


@pytest.mark.parametrize(("instructions", "precision"), [({"avx512_bf16": True}, "bf16-mixed"), ({"avx2": True}, "32")])
def test_a_cpu_computes_in_bf16_where_it_can(monkeypatch: pytest.MonkeyPatch, instructions, precision) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions, raising=False)
    assert choose_precision("auto", torch.device("cpu")) == precision
    assert choose_precision("32", torch.device("cpu")) == "32"


class Recorded:
    """Stands in for a CUDA graph: what runs while it records is noted, not done; a replay does it."""

    def __init__(self) -> None:
        self.work = []

    def pool(self) -> tuple[int, int]:
        return 0, 0

    def replay(self) -> None:
        for work in self.work:
            work()


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    """Let `CudaGraphStep` run without CUDA; return the graphs that it records."""
    made: list[Recorded] = []

    class Stream:
        wait_stream = staticmethod(lambda stream: None)

    def graph() -> Recorded:
        made.append(Recorded())
        return made[-1]

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda *args, **kwargs: contextlib.nullcontext())
    return made


class Counting:
    """A step that adds up, and notes its work in the graph that is being recorded."""

    def __init__(self, graphs: list[Recorded]) -> None:
        self.graphs = graphs
        self.total = torch.zeros(())

    def __call__(self, L: torch.Tensor, ab: torch.Tensor, turn: int) -> torch.Tensor:
        result = torch.zeros(())

        def work() -> None:
            self.total.add_(turn * L.sum())
            result.copy_(self.total + ab.sum())

        if self.graphs and not self.graphs[-1].work:
            self.graphs[-1].work.append(work)
        else:
            work()
        return result


def test_a_graph_is_recorded_once_and_fed_every_batch(graphs: list[Recorded]) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    run = CudaGraphStep(Counting(graphs), [torch.optim.Adam([weight], lr=0.5)])
    seen = [run(torch.full((2,), float(n)), torch.full((2,), 0.5), 1).item() for n in range(1, 7)]
    assert seen == [n * (n + 1) + 1 for n in range(1, 7)]  # 2 (1 + 2 + ... + n) + 1
    assert len(graphs) == 1


def test_each_kind_of_turn_has_a_graph_of_its_own(graphs: list[Recorded]) -> None:
    run = CudaGraphStep(Counting(graphs), [])
    turns = [1, 10] * 6
    seen = [run(torch.ones(1), torch.zeros(1), turn).item() for turn in turns]
    assert seen == [11 * (n // 2) + (1 if n % 2 else 0) for n in range(1, 13)]
    assert len(graphs) == 2


def test_a_batch_of_another_size_is_stepped_without_the_graph(graphs: list[Recorded]) -> None:
    run = CudaGraphStep(lambda L, ab, turn: L.sum(), [])
    for _ in range(5):
        run(torch.ones(4), torch.ones(4), 1)
    assert run(torch.ones(3), torch.ones(3), 1) == 3


def test_a_step_that_cannot_be_recorded_is_named(graphs: list[Recorded]) -> None:
    def step(L: torch.Tensor, ab: torch.Tensor, turn: int) -> torch.Tensor:
        if graphs:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")
        return L

    run = CudaGraphStep(step, [])
    with pytest.raises(UserError, match=r"cannot be recorded \(CUDA error.*capturing\): use engine.cuda_graphs=false"):
        for _ in range(5):
            run(torch.ones(4), torch.ones(4), 1)


def test_a_graphs_learning_rate_can_change(graphs: list[Recorded]) -> None:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    CudaGraphStep(lambda L, ab: L, [optimizer])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    recorded = optimizer.param_groups[0]["lr"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a scheduler without a step of the optimiser
        scheduler.step()
    assert recorded == 0.25


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_graphed_losses_of_20_steps_stay(photos: Path, tmp_path: Path) -> None:
    gpu = ["trainer=gpu", "trainer.precision=32", "engine.threads=null"]
    gpu += ["optim.generator.fused=true", "optim.discriminator.fused=true"]
    plain = losses(photos, tmp_path / "plain", *gpu)
    np.testing.assert_allclose(losses(photos, tmp_path / "graph", *gpu, "engine.cuda_graphs=true"), plain, rtol=1e-2)
