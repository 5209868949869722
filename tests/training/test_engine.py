"""Every engine option trains the same; `auto` chooses what suits the device."""

import csv
import dataclasses
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.cpu_graphs import Cuda, cpu_graphs
from colorize.base.errors import UserError
from colorize.data import Batch
from colorize.experiments import experiment
from colorize.experiments.experiment import build_module, engine_of, train
from colorize.losses.contract import LOSS_NAMES
from colorize.training import ColorizationModule
from colorize.training.engine import CudaGraphStep, Engine, choose_engine, choose_precision
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
        rows = [row for row in csv.DictReader(file) if row["train/lr_G"]]
    return np.array([[float(row[f"train/{name}"] or "nan") for name in LOSS_NAMES] for row in rows])


@pytest.fixture(scope="module")
def plain(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    found = losses(photos, tmp_path_factory.mktemp("plain"))
    assert found.shape == (STEPS, len(LOSS_NAMES))
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


def small_module(engine: Engine | None = None, **optim: dict) -> ColorizationModule:
    adam = {"name": "adam", "lr": 2e-4, "betas": [0.5, 0.999]}
    return ColorizationModule(
        generator={"name": "unet", "n_down": 5, "num_filters": 2},
        discriminator={"name": "patch", "n_down": 2, "num_filters": 2},
        loss={"name": "gan_l1"},
        optim={network: adam | optim.get(network, {}) for network in ("generator", "discriminator")},
        image_size=32,
        engine=engine,
    )


def test_what_half_precision_predicts_is_scored_in_float32() -> None:
    module, L = small_module().eval(), torch.rand(2, 1, 32, 32) * 2 - 1
    with torch.autocast("cpu", torch.bfloat16):
        ab, _ = module.predict_and_score(Batch(L, torch.zeros(2, 2, 32, 32), torch.arange(2)), module.generator)
    assert ab.dtype == torch.float32


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


def test_a_gpu_gets_what_suits_it_and_no_graphs() -> None:
    chosen = choose_engine(AUTO, "32", torch.device("cuda"))
    assert chosen == Engine(channels_last=True, async_checkpoints=True, resident="auto")


def test_a_gpu_gets_graphs_if_they_are_asked_for() -> None:
    assert choose_engine(AUTO | {"cuda_graphs": True}, "32", torch.device("cuda")).cuda_graphs


def test_several_gpus_get_no_graphs() -> None:
    with pytest.raises(UserError, match=r"engine.cuda_graphs=true needs exactly one CUDA GPU"):
        choose_engine(AUTO | {"cuda_graphs": True}, "32", torch.device("cuda"), one_device=False)


def test_what_the_user_sets_wins() -> None:
    settings = dict.fromkeys(AUTO, False) | {"compile": True, "threads": 3}
    assert choose_engine(settings, "32", torch.device("cuda")) == Engine(compile=True, threads=3)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("cuda_graphs", True, "engine.cuda_graphs=true needs exactly one CUDA GPU"),
        ("compile", "yes", "engine.compile must be auto or true or false; got 'yes'"),
        ("threads", 0, "engine.threads must be auto or null or a whole number of at least 1; got 0"),
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


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cuda]:
    """Let `CudaGraphStep` run without CUDA; yield what it does there."""
    monkeypatch.setattr(CudaGraphStep, "failed", [])
    with cpu_graphs() as cuda:
        yield cuda


def adding() -> Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]:
    """Return a step that adds up all ``turn * L`` and returns the total, plus its own batch's ab."""
    total = torch.zeros(())

    def step(L: torch.Tensor, ab: torch.Tensor, turn: int) -> torch.Tensor:
        total.add_(turn * L.sum())
        return total + ab.sum()

    return step


def test_a_graph_is_recorded_once_and_fed_every_batch(cuda: Cuda) -> None:
    run = CudaGraphStep(adding(), [])
    seen = [run(torch.full((2,), float(n)), torch.full((2,), 100.0 * n), 1).item() for n in range(1, 7)]
    assert seen == [n * (n + 1) + 200 * n for n in range(1, 7)]  # 2 (1 + 2 + ... + n), and 2 x 100 n
    assert len(cuda.graphs) == 1


def test_each_kind_of_turn_has_a_graph_of_its_own(cuda: Cuda) -> None:
    run = CudaGraphStep(adding(), [])
    turns = [1, 10] * 6
    seen = [run(torch.ones(1), torch.zeros(1), turn).item() for turn in turns]
    assert seen == [11 * (n // 2) + (1 if n % 2 else 0) for n in range(1, 13)]
    assert len(cuda.graphs) == 2


def test_each_kind_of_turn_runs_three_times_on_the_graphs_stream_before_it_is_recorded(cuda: Cuda) -> None:
    called = []

    def step(L: torch.Tensor, ab: torch.Tensor, turn: int) -> torch.Tensor:
        called.append((turn, len(cuda.graphs), cuda.stream))
        return L.sum()

    run = CudaGraphStep(step, [])
    for turn in [1, 1, 1, 2, 1, 2, 2, 2, 1, 2]:
        run(torch.ones(1), torch.ones(1), turn)
    assert [(turn, graphs) for turn, graphs, _ in called] == [
        (1, 0), (1, 0), (1, 0), (2, 0), (1, 1), (2, 1), (2, 1), (2, 2),
    ]  # fmt: skip
    assert {stream for _, _, stream in called} == {run.stream} != {cuda.default_stream}
    assert cuda.stream is cuda.default_stream


def test_a_batch_of_another_size_is_stepped_without_the_graph(cuda: Cuda) -> None:
    run = CudaGraphStep(lambda L, ab, turn: L.sum(), [])
    for _ in range(5):
        run(torch.ones(4), torch.ones(4), 1)
    assert run(torch.ones(3), torch.ones(3), 1) == 3


def test_where_one_kind_of_turn_cannot_be_recorded_all_run_as_they_are(cuda: Cuda, caplog) -> None:
    add = adding()

    def step(L: torch.Tensor, ab: torch.Tensor, turn: int) -> torch.Tensor:
        if turn == 10:
            L.sum().item()  # waits for the device
        return add(L, ab, turn)

    run = CudaGraphStep(step, [])
    seen = [run(torch.ones(1), torch.zeros(1), turn).item() for turn in [1, 10] * 6]
    assert seen == [11 * (n // 2) + (1 if n % 2 else 0) for n in range(1, 13)]
    assert [record.getMessage() for record in caplog.records] == [
        "CUDA graphs are off from here on: the step cannot be recorded "
        "(operation not permitted when stream is capturing)"
    ]
    assert len(cuda.graphs) == 2 and not run.graphs
    other = CudaGraphStep(adding(), [])  # of the next run in this process
    for _ in range(5):
        other(torch.ones(1), torch.zeros(1), 1)
    assert len(cuda.graphs) == 2


def test_an_error_of_the_step_itself_is_told(cuda: Cuda) -> None:
    calls = []

    def step(L: torch.Tensor, ab: torch.Tensor, turn: int) -> torch.Tensor:
        calls.append(turn)
        return L.sum() if len(calls) < 4 else L[9]

    run = CudaGraphStep(step, [])
    with pytest.raises(IndexError):
        for _ in range(4):
            run(torch.ones(4), torch.ones(4), 1)


UNSEEN = ["trainer.limit_val_batches=0", "~callbacks.best", "~callbacks.samples", "optimized_metric=train/loss_G"]
FUSED = ["engine.threads=1", "optim.generator.fused=true", "optim.discriminator.fused=true", *UNSEEN]


def recorded(monkeypatch: pytest.MonkeyPatch, photos: Path, run_dir: Path, *overrides: str) -> np.ndarray:
    """Train for 20 steps with the stand-in's graphs: ``(20, 6)``."""
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "engine_of", lambda cfg: dataclasses.replace(engine_of(cfg), cuda_graphs=True))
        return losses(photos, run_dir, *FUSED, *overrides)


@pytest.mark.parametrize(
    ("overrides", "kinds"),
    [
        (["loss.r1=1", "loss.penalty_every=2", "discriminator.norm=none", "callbacks.watch.every_n_batches=4"], 3),
        (["stabilizer=[ema,instance_noise,diffaugment,clip,feature_matching,linear_decay]", "game.D_every=2"], 2),
        (["game.warmup_G=1", "game.warmup_D=1", "game.G_every=2"], 3),
    ],
    ids=["penalties and looks", "stabilizers", "warm-ups"],
)
def test_recorded_steps_of_every_kind_are_those_of_training(monkeypatch, cuda, photos, tmp_path, overrides, kinds):
    plain = losses(photos, tmp_path / "plain", *FUSED, *overrides)
    np.testing.assert_allclose(recorded(monkeypatch, photos, tmp_path / "graph", *overrides), plain, rtol=1e-5)
    assert len(cuda.graphs) == kinds


def test_a_recording_that_fails_half_way_changes_nothing(monkeypatch, cuda, photos, tmp_path, caplog):
    """It fails in G's step, when D has been stepped and does not learn."""

    def wait_in_the_step_of_g(discriminator, inputs, logits) -> None:
        if not next(discriminator.parameters()).requires_grad:
            logits.sum().item()

    def build_waiting(*args):
        module = build_module(*args)
        module.discriminator.register_forward_hook(wait_in_the_step_of_g)
        return module

    monkeypatch.setattr(experiment, "build_module", build_waiting)
    plain = losses(photos, tmp_path / "plain", *FUSED)
    found = recorded(monkeypatch, photos, tmp_path / "graph")
    # Capturable optimizers round learning rates otherwise; on some processors that grows tenfold every three steps
    np.testing.assert_allclose(found[:10], plain[:10], rtol=1e-3)
    assert sum("cannot be recorded" in record.getMessage() for record in caplog.records) == len(cuda.graphs) == 1
    assert cuda.stream is cuda.default_stream and not cuda.recording_to


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_graphs_are_refused_with_an_optimizer_that_waits(network) -> None:
    with pytest.raises(UserError, match=r"cuda_graphs=true needs optim.generator.fused=true and optim.discriminator"):
        small_module(Engine(cuda_graphs=True), **{network: {"fused": False}})


def test_a_graphs_learning_rate_can_change(cuda: Cuda) -> None:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    CudaGraphStep(lambda L, ab: L, [optimizer])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    recorded = optimizer.param_groups[0]["lr"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a scheduler without a step of the optimizer
        scheduler.step()
    assert recorded == 0.25


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_graphed_losses_of_20_steps_stay(photos: Path, tmp_path: Path) -> None:
    gpu = ["trainer=gpu", "trainer.precision=32", "engine.threads=null"]
    gpu += ["optim.generator.fused=true", "optim.discriminator.fused=true"]
    plain = losses(photos, tmp_path / "plain", *gpu)
    np.testing.assert_allclose(losses(photos, tmp_path / "graph", *gpu, "engine.cuda_graphs=true"), plain, rtol=1e-2)
