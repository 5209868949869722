"""The programs as users run them: fast startup, one-line errors, sweeps, signals."""

import csv
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tests.conftest import ROOT, SMALL
from tests.tracking.test_loggers import records

GROUPS = sorted(
    f"{path.parent.name}={path.stem}" for path in (ROOT / "conf").glob("*/*.yaml") if path.parent.name != "hydra"
)


def program(script: str) -> list[str]:
    """Return how a script of the project, or a command such as `colorize train`, is started."""
    return [sys.executable, *(["-m", *script.split()] if script.startswith("colorize ") else [str(ROOT / script)])]


def command(script: str, *args: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*program(script), *args],
        cwd=cwd, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"} | (env or {}), timeout=300,
    )  # fmt: skip


@pytest.fixture
def small(photos) -> list[str]:
    return [*SMALL, f"data.root={photos}", f"data.store_dir={photos.parent / 'stores'}"]


@pytest.mark.parametrize("choice", GROUPS)
def test_every_option_composes_and_resolves(choice) -> None:
    override = f"+{choice}" if choice.startswith(("sweep", "experiment")) else choice
    override = override.replace("+", "", 1)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", [override, "run_dir=x", "data.root=x"])
    OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)


def test_experiment_beats_defaults_and_command_line_beats_experiment() -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        assert compose("train", ["experiment=demo"]).image_size == 64
        assert compose("train", ["experiment=demo", "image_size=128"]).image_size == 128
        assert compose("train", ["experiment=demo"]).data.name == "scenes"
        assert compose("train", ["experiment=demo", "data=coco"]).data.name == "coco"


def test_the_reports_recipe_is_the_reports() -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", ["experiment=report"])
    assert (cfg.gan_mode, cfg.lr, cfg.betas, cfg.lambda_L1) == ("vanilla", 2e-4, [0.5, 0.999], 100)
    assert (cfg.batch_size, cfg.max_epochs, cfg.image_size) == (16, 100, 256)
    assert (cfg.data.name, cfg.data.num_train, cfg.data.num_val, cfg.data.flip) == ("coco", 8000, 2000, True)
    assert (cfg.generator.n_down, cfg.generator.num_filters, cfg.discriminator.n_down) == (8, 64, 3)


@pytest.mark.parametrize("args", [["--help"], ["--cfg", "job"]])
@pytest.mark.parametrize("script", ["train.py", "eval.py", "colorize train", "colorize eval"])
def test_help_and_config_answer_without_torch(tmp_path, script, args) -> None:
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    more = ["ckpt_path=x"] if "eval" in script else []
    result = command(script, *args, *more, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    assert "batch_size" in result.stdout
    if args == ["--help"]:  # with the comments of the panel
        assert (
            "Adam's learning rate, of both networks" if "train" in script else "rows of the picture"
        ) in result.stdout
        assert f"{'' if script.startswith('colorize') else 'python '}{script} " in result.stdout  # the examples


@pytest.mark.parametrize("script", ["train.py", "colorize train"])
def test_help_that_is_read_in_part_ends_in_silence(tmp_path, script) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `| head` leaves it
    done = subprocess.run([*program(script), "--help"], cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


@pytest.mark.parametrize(
    ("script", "args", "message"),
    [
        ("train.py", ["lrr=1e-4"], "unknown option 'lrr'; did you mean lr? --help lists them all"),
        ("train.py", ["data=cocoo"], "Could not find 'data/cocoo' Available options in 'data': coco folder scenes"),
        (
            "train.py",
            ["stabilizer=[ema,spectral]"],
            "unknown stabilizer 'spectral'; choose from clip, cosine_decay, d_slow",
        ),
        ("train.py", ["data=folder"], "data=folder needs data.root=FOLDER"),
        ("train.py", ["ckpt_path=last"], "no outputs/*/*/checkpoints/last.ckpt here; name a path or leave it out"),
        ("train.py", ["-m", "trainer=cpu", "trainer.devices=2"], "a sweep's jobs run on one device each"),
        ("train.py", ["-m", "trainer=cpu", "trainer.num_nodes=2"], "got trainer.num_nodes=2"),
        ("train.py", ["data=scenes", "+foo=1"], "unknown option '+foo=1': nothing reads it; --help lists them all"),
        ("train.py", ["data=scenes", "+logger.foo=1"], "unknown option '+logger.foo=1': nothing reads it"),
        (
            "train.py",
            ["lr=1e-3", "sweep=core_grid"],
            "takes -m: python train.py -m lr=1e-3 sweep=core_grid",
        ),
        ("train.py", ["-m", "--cfg", "job"], "Only one of --run, --multirun, --cfg"),
        ("train.py", ["hydra.run.dir=/proc/x"], "No such file or directory: /proc/x"),
        ("train.py", ["data=scenes", "image_size=64", "generator.n_down=6", "data.store_dir=/proc/x"], "/proc/x"),
        ("eval.py", ["ckpt_path=gone.ckpt"], "checkpoint gone.ckpt is not a file"),
        ("eval.py", [], "ckpt_path is not set: python eval.py ckpt_path=RUN/checkpoints/best.ckpt"),
        ("colorize train", ["lrr=1e-4"], "unknown option 'lrr'; did you mean lr? --help lists them all"),
        ("colorize train", ["lr=1e-3", "sweep=core_grid"], "takes -m: colorize train -m lr=1e-3 sweep=core_grid"),
        ("colorize train", ["stabilizer=[spectral]"], "unknown stabilizer 'spectral'; choose from clip, cosine_decay"),
        ("colorize eval", [], "ckpt_path is not set: colorize eval ckpt_path=RUN/checkpoints/best.ckpt"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(tmp_path, script, args, message) -> None:
    result = command(script, *args, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "outputs").exists()  # a mistake is no run


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, small) -> None:
    (tmp_path / "taken").write_text("a file")
    result = command("train.py", *small, "data.store_dir=taken/stores", cwd=tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "taken/stores" in result.stderr


def test_the_traceback_is_shown_when_asked_for(tmp_path) -> None:
    result = command("train.py", "lrr=1", cwd=tmp_path, env={"HYDRA_FULL_ERROR": "1"})
    assert "Traceback" in result.stderr


def test_a_sweep_survives_a_failing_job_and_leaves_a_table(tmp_path, small) -> None:
    args = ["gan_mode=vanilla,foo,lsgan", "betas=[0.5,0.999],[0.0,0.99]", "max_epochs=1", "hydra.sweep.dir=the/sweep"]
    result = command("train.py", "-m", *small, *args, "logger=wandb", cwd=tmp_path, env={"WANDB_MODE": "offline"})
    assert result.returncode == 1
    assert "4 of 6 jobs completed" in result.stdout
    assert "next: colorize report the/sweep" in result.stdout
    with (tmp_path / "the/sweep/sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["completed"] * 2 + ["failed"] * 2 + ["completed"] * 2
    assert [row["gan_mode"] for row in rows] == ["vanilla"] * 2 + ["foo"] * 2 + ["lsgan"] * 2
    for row in rows:
        failed = row["status"] == "failed"
        assert "betas=" in row["overrides"] and float(row["seconds"]) >= 0
        assert ("unknown gan_mode 'foo'" in row["error"]) == failed
        assert (row["val/l1"] == "") == failed

    starts = [
        next(record.run for record in records(tmp_path / "the/sweep" / row["job"]) if record.HasField("run"))
        for row in rows
        if row["status"] == "completed"
    ]
    assert len({run.run_id for run in starts}) == 4  # each job ended its own
    assert {run.run_group for run in starts} == {"the-sweep"}
    assert starts[0].display_name == "gan_mode=vanilla,betas=[0.5,0.999]"


def start(tmp_path: Path, small: list[str], *args: str) -> subprocess.Popen:
    run = ["hydra.run.dir=run", "max_epochs=200", "callbacks.last.every_n_batches=2", "ckpt_path=last"]
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *small, *run, *args],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def wait_for(path: Path, process: subprocess.Popen, newer_than: float = 0.0) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() or path.stat().st_mtime <= newer_than:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def test_a_run_shows_its_epochs_and_no_harmless_warnings(tmp_path, small) -> None:
    shown = [option for option in small if option != "~callbacks.progress"]
    result = command("train.py", *shown, "logger=wandb", "logger.mode=offline", "max_epochs=2", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert re.findall(r"^epoch (\S+)  loss_D .*  val/l1 0\.\d+ ", result.stdout, re.MULTILINE) == ["1/2", "2/2"]
    assert set(re.findall(r"Epoch (\S+)", result.stdout)) == {"2/2"}  # the bar, as it ends


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path, small) -> None:
    args = ["hydra.run.dir=run", "max_epochs=200", "callbacks.last.every_n_batches=2"]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *small, *args],
        cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # background jobs ignore it
    )  # fmt: skip
    wait_for(tmp_path / "run/checkpoints/last.ckpt", process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert said.rstrip().endswith(f"to resume: python train.py ckpt_path={tmp_path}/run/checkpoints/last.ckpt")


def test_sigterm_saves_and_exits_with_143(tmp_path, small) -> None:
    from colorize.checkpoint import read_checkpoint

    process = start(tmp_path, small, "callbacks.last.every_n_batches=0")
    wait_for(tmp_path / "run/samples/epoch-001.png", process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert read_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["batches"] >= 10


@pytest.mark.slow
def test_a_killed_run_always_resumes(tmp_path, small) -> None:
    """Kill at random moments after the first save; COLORIZE_KILLS sets how often."""
    from colorize.checkpoint import read_checkpoint

    last, seen, draw = tmp_path / "run/checkpoints/last.ckpt", 0, random.Random(0)
    for _ in range(int(os.environ.get("COLORIZE_KILLS", "3"))):
        process = start(tmp_path, small)
        wait_for(last, process, newer_than=last.stat().st_mtime if seen else 0.0)
        time.sleep(draw.uniform(0, 0.5))
        process.kill()
        process.wait()
        batches = read_checkpoint(last)["batches"]
        if (best := last.with_name("best.ckpt")).exists():
            read_checkpoint(best)
        assert batches > seen
        seen = batches
    steps = [int(row["step"]) for row in csv.DictReader((tmp_path / "run/metrics.csv").read_text().splitlines())]
    assert steps == sorted(set(steps))


@pytest.mark.slow
@pytest.mark.parametrize("script", ["train.py", "colorize train"])  # Lightning starts the second as the first was
def test_two_processes_train_together(tmp_path, small, script) -> None:
    """The strategy of `trainer=ddp`, on the CPU, where SyncBatchNorm does not run."""
    ddp = ["trainer.strategy=ddp_find_unused_parameters_true", "trainer.devices=2", "max_epochs=2"]
    result = command(script, *small, *ddp, "hydra.run.dir=run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = list(csv.DictReader((tmp_path / "run/metrics.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["0", "1", "2", "3"]  # 20 images: 2 batches of 4 on each of 2
    assert sum(bool(row["val/l1"]) for row in rows) == 2


def test_tracebacks_of_ours_are_not_hidden() -> None:
    from colorize.console import in_one_line

    assert in_one_line(KeyError("a bug")) is None
    assert re.match("No space left", in_one_line(OSError(28, "No space left on device", "x")))
