"""Bayesian search: ranges, resumable studies, pruning, and refused options."""

import json
import signal
import subprocess
import sys

import optuna
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import NopPruner
from optuna.trial import TrialState

from colorize.base.errors import UserError
from colorize.sweeps.search import Settings, _Search, _state
from colorize.sweeps.study import Pruning, distribution, open_study, open_trial
from colorize.sweeps.table import read_jobs
from colorize.training import TrainingDivergedError
from tests.conftest import ROOT, SMALL
from tests.sweeping import environment, ran, sweep

SEARCH = [
    "hydra/sweeper=optuna",
    f"hydra.searchpath=[file://{ROOT}/conf]",
    "+max_epochs=1",
    "hydra.sweeper.n_trials=12",
]
SPACE = ["+x=interval(0, 5)", "hydra.sweeper.startup_trials=4"]
DIVERGE = "from colorize.base.errors import UserError; raise UserError('loss_D is nan')"


@pytest.fixture
def search(tmp_path):
    """Return a function that searches with `tests/sweep_app.py` in a directory of the test."""

    def run(*overrides: str, do: str = "", name: str = "sweep") -> subprocess.CompletedProcess:
        return sweep(tmp_path, *SEARCH, *(overrides or SPACE), f"hydra.sweep.dir={name}", do=do)

    return run


def drawn(folder) -> list[str]:
    return [job["choices"]["x"] for job in read_jobs(folder)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x=interval(1, 5)", FloatDistribution(1, 5)),
        ("x=tag(log, interval(1e-4, 1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("x=int(interval(1, 5))", IntDistribution(1, 5)),
        ("x=int(tag(log, interval(1, 64)))", IntDistribution(1, 64, log=True)),
        ("x=range(1, 8, 3)", IntDistribution(1, 7, step=3)),
        ("x=range(0.5, 2, 0.5)", FloatDistribution(0.5, 1.5, step=0.5)),
        ("x=choice(a, [0.5,0.999])", CategoricalDistribution(["a", "[0.5,0.999]"])),
        ("x=a,b", CategoricalDistribution(["a", "b"])),
    ],
)
def test_ranges_in_hydras_words(text, expected) -> None:
    assert distribution(OverridesParser.create().parse_override(text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x=interval(3, 1)", "x=interval(3, 1) is not a valid range"),
        ("x=tag(log, interval(0, 1))", "low > 0"),
        ("x=tag(normal, interval(0, 1))", "the only tag is log"),
        ("x=tag(log, range(1, 9))", "the only tag is log"),
        ("x=range(3, 1)", "it is empty"),
    ],
)
def test_what_is_no_range(text, message) -> None:
    with pytest.raises(UserError, match=message.replace("(", r"\(").replace(")", r"\)")):
        distribution(OverridesParser.create().parse_override(text))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"n_trials": 0}, "n_trials must be a whole number of at least 1; got 0"), ({"pruner": "mean"}, "choose one of")],
)
def test_settings_out_of_range(change, message) -> None:
    settings = OmegaConf.load(ROOT / "conf/hydra/sweeper/optuna.yaml")
    good = {key: settings[key] for key in Settings.__annotations__ if key != "storage"} | {"storage": "x"}
    with pytest.raises(UserError, match=message):
        Settings(**good | change)


def test_the_best_is_found_and_written(tmp_path, search) -> None:
    result = search()
    assert result.returncode == 0, result.stderr
    best = OmegaConf.load(tmp_path / "sweep/optimization_results.yaml")
    jobs = read_jobs(tmp_path / "sweep")
    assert len(jobs) == 12
    assert best.value == min(job["value"] for job in jobs) == jobs[best.job]["value"] == (best.params["+x"] - 2) ** 2
    assert best.trials == {"completed": 12}
    assert f"best: job {best.job}, val/l1" in result.stdout


def test_the_best_of_a_score_such_as_psnr_is_the_highest(tmp_path, search) -> None:
    result = search(*SPACE, "optimized_metric=val/psnr")
    assert result.returncode == 0, result.stderr
    best = OmegaConf.load(tmp_path / "sweep/optimization_results.yaml")
    assert best.value == max(job["value"] for job in read_jobs(tmp_path / "sweep"))


def test_a_killed_search_goes_on_as_if_nothing_had_happened(tmp_path, search) -> None:
    search(name="whole")
    kill = "from hydra.core.hydra_config import HydraConfig\nif HydraConfig.get().job.num == 7: os.kill(os.getpid(), 9)"
    (tmp_path / "ran").unlink()
    assert search(do=kill).returncode == -signal.SIGKILL
    assert search().returncode == 0
    assert len(ran(tmp_path)) == 13  # the killed one twice
    assert drawn(tmp_path / "sweep") == drawn(tmp_path / "whole")
    assert search(*SPACE, "hydra.sweeper.n_trials=14").returncode == 0
    assert len(ran(tmp_path)) == 15


def states(folder) -> list[TrialState]:
    return [trial.state for trial in open_study(folder / "study.journal", NopPruner()).trials]


def test_a_search_whose_every_run_diverges_ends_and_runs_none_again(tmp_path, search) -> None:
    for _ in range(2):
        result = search(*SPACE, "hydra.sweeper.n_trials=20", do=DIVERGE)
        assert result.returncode == 1 and "no run of the search ended with a val/l1: 20 failed" in result.stdout
        assert len(ran(tmp_path)) == 20
    assert TrialState.RUNNING not in states(tmp_path / "sweep")
    assert not (tmp_path / "sweep/optimization_results.yaml").exists()


def test_a_run_that_fails_is_a_result_of_the_search(tmp_path, search) -> None:
    result = search(do="if cfg.x > 3: " + DIVERGE)
    assert result.returncode == 0, result.stderr
    failed = sum(float(x) > 3 for x in ran(tmp_path))
    assert 0 < failed < 12
    best = OmegaConf.load(tmp_path / "sweep/optimization_results.yaml")
    assert best.trials == {"completed": 12 - failed, "failed": failed}


def test_a_killed_search_goes_on_with_the_interrupted_run_and_not_with_failed_ones(tmp_path, search) -> None:
    diverge = "if cfg.x > 3: " + DIVERGE
    search(do=diverge, name="whole")
    kill = (
        "\nfrom hydra.core.hydra_config import HydraConfig\nif HydraConfig.get().job.num == 7: os.kill(os.getpid(), 9)"
    )
    (tmp_path / "ran").unlink()
    assert search(do=diverge + kill).returncode == -signal.SIGKILL
    assert "failed" in {job["status"] for job in read_jobs(tmp_path / "sweep")}
    assert search(do=diverge).returncode == 0
    assert len(ran(tmp_path)) == 13  # the killed one twice
    assert drawn(tmp_path / "sweep") == drawn(tmp_path / "whole")


def test_a_run_that_failed_before_the_search_could_note_it_is_not_run_again(tmp_path, search) -> None:
    search(*SPACE, "hydra.sweeper.n_trials=2")
    study = open_study(tmp_path / "sweep/study.journal", NopPruner())
    x = study.ask({"+x": FloatDistribution(0, 5)}).params["+x"]
    record = json.loads((tmp_path / "sweep/1/job.json").read_text())
    overrides = [*record["overrides"][:-1], f"+x={x}"]
    assert record["overrides"][-1].startswith("+x=")
    (tmp_path / "sweep/2").mkdir()
    failed = {"job": 2, "overrides": overrides, "status": "failed", "error": "no space", "exception": "OSError"}
    (tmp_path / "sweep/2/job.json").write_text(json.dumps(failed))
    assert search(*SPACE, "hydra.sweeper.n_trials=3").returncode == 0
    assert len(ran(tmp_path)) == 2
    assert states(tmp_path / "sweep") == [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAIL]


class DivergesAbove:
    """A launcher whose runs diverge where x is above a limit, and are the better the nearer x is to 2."""

    def __init__(self, folder, limit: float) -> None:
        self.folder, self.limit, self.drawn = folder, limit, []

    def launch(self, batch, initial_job_idx):
        ((word,),) = batch
        x = float(word.removeprefix("x="))
        self.drawn.append(x)
        failed = {"status": "failed", "exception": TrainingDivergedError.__name__}
        record = failed if x > self.limit else {"status": "completed", "value": (x - 2) ** 2}
        (self.folder / "job.json").write_text(json.dumps(record))
        return [OmegaConf.create({"hydra_cfg": {"hydra": {"runtime": {"output_dir": str(self.folder)}}}})]


@pytest.mark.parametrize("seed", [0, 1])
def test_fewer_runs_diverge_than_by_chance_although_the_best_values_lie_beside_those_that_do(tmp_path, seed) -> None:
    launcher = DivergesAbove(tmp_path, limit=2.2)
    settings = Settings(30, n_jobs=1, seed=seed, startup_trials=4, pruner="none", min_epochs=1, storage="unused")
    _Search(optuna.create_study(), settings, {"x": FloatDistribution(0, 5)}, [], launcher).run()
    assert len(launcher.drawn) == 30
    assert sum(x > 2.2 for x in launcher.drawn[10:]) < 20 * 2.8 / 5


@pytest.mark.parametrize(
    ("record", "state"),
    [
        ({"status": "completed", "value": 0.5}, TrialState.COMPLETE),
        ({"status": "completed", "value": float("nan")}, TrialState.PRUNED),
        ({"status": "completed", "value": float("inf")}, TrialState.PRUNED),
        ({"status": "completed", "value": None}, TrialState.FAIL),  # no such metric: nothing about the values
        ({"status": "pruned", "value": 0.5}, TrialState.PRUNED),
        ({"status": "failed", "exception": TrainingDivergedError.__name__}, TrialState.PRUNED),
        ({"status": "failed", "exception": torch.OutOfMemoryError.__name__}, TrialState.PRUNED),
        ({"status": "failed", "exception": UserError.__name__}, TrialState.PRUNED),
        ({"status": "failed", "exception": "OSError"}, TrialState.FAIL),  # a full disk says nothing about the values
        ({"status": "failed"}, TrialState.FAIL),
    ],
)
def test_only_what_follows_from_the_values_is_learned_from(record, state) -> None:
    assert _state(record) == state


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+x=1"], "a search needs a range, such as 'lr=tag(log, interval(1e-4, 1e-3))'"),
        (["x=interval(1, 2)"], "unknown option 'x'"),
        (["+x=interval(2, 1)"], "+x=interval(2, 1) is not a valid range"),
        (["+x=interval(1, 2)", "hydra.sweeper.n_jobs=0"], "hydra.sweeper.n_jobs must be a whole number"),
        (["+x=interval(1, 2)", "hydra.sweeper.pruner=hyperband"], "hyperband needs max_epochs of at least"),
    ],
)
def test_a_wrong_search_space_is_one_line(tmp_path, search, overrides, message) -> None:
    result = search(*overrides)
    assert result.returncode == 2 and message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.glob("sweep/*"))


def test_another_search_in_the_same_directory_is_refused(search) -> None:
    search("+x=interval(0, 5)", "hydra.sweeper.n_trials=1")
    refused = search("+x=interval(0, 6)")
    assert refused.returncode == 2
    assert "study.journal holds a search with +x=interval(0, 5), not +x=interval(0, 6)" in refused.stderr


def test_a_search_in_the_directory_of_another_sweep_is_refused(tmp_path, search) -> None:
    sweep(tmp_path, "+x=1,2", "+max_epochs=1")
    refused = search()
    assert (refused.returncode, refused.stderr) == (2, "sweep holds another sweep: choose another hydra.sweep.dir\n")
    assert ran(tmp_path) == ["1", "2"]


def test_the_study_may_lie_elsewhere(tmp_path, search) -> None:
    assert search(*SPACE, "hydra.sweeper.n_trials=1", "hydra.sweeper.storage=studies/x.journal").returncode == 0
    assert (tmp_path / "studies/x.journal").exists()


def test_hyperband_judges_by_epochs() -> None:
    pruner = Pruning("hyperband", startup_trials=0, min_epochs=3, max_epochs=27).build()
    assert (pruner._min_resource, pruner._max_resource) == (3, 27)


def train(tmp_path, photos, *words: str, multirun: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    where = [f"data.root={photos}", f"data.store_dir={photos.parent / 'stores'}"]
    command = [sys.executable, str(ROOT / "train.py"), *multirun, *SMALL, *where, "sweep=optuna", *words]
    return subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=200)


@pytest.mark.slow
def test_a_run_that_does_not_promise_enough_is_pruned(tmp_path, photos) -> None:
    """A learning rate of nothing against a usual one: the median pruner gives the first up after two epochs."""
    space = ["gan_mode=vanilla", "lr_ratio=1", "betas=[0.5,0.999]", "lr=choice(1e-9, 1e-3)", "max_epochs=4"]
    knobs = ["hydra.sweeper.n_trials=8", "hydra.sweeper.startup_trials=2", "hydra.sweeper.min_epochs=2"]
    result = train(tmp_path, photos, *space, *knobs, "hydra.sweep.dir=sweep", multirun=("-m",))
    assert result.returncode == 0, result.stderr
    jobs = read_jobs(tmp_path / "sweep")
    pruned = [job for job in jobs if job["status"] == "pruned"]
    assert pruned and {job["choices"]["lr"] for job in pruned} == {"1e-09"}
    trial = open_trial(tmp_path / "sweep/study.journal", pruned[0]["job"])
    frozen = trial.study.trials[trial.number]
    assert frozen.state == TrialState.PRUNED
    assert 2 <= max(frozen.intermediate_values) < 4
    assert frozen.intermediate_values[max(frozen.intermediate_values)] == pruned[0]["value"]
    assert json.loads((pruned[0]["folder"] / "job.json").read_text())["seconds"] > 0


@pytest.mark.slow
def test_a_search_needs_a_multirun(tmp_path, photos) -> None:
    result = train(tmp_path, photos)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith("sweep=optuna takes -m: python train.py -m ")
