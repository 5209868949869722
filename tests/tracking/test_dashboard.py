"""The layout of the W&B workspace: it shows what runs log, and is written offline."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from typer.testing import CliRunner

from colorize.base.errors import UserError, missing_extra
from colorize.cli import app
from colorize.losses.contract import LOSS_NAMES
from colorize.metrics.scores import PER_IMAGE
from colorize.tracking import dashboard
from colorize.tracking.loggers import columns
from colorize.training.callbacks.observation import MEASURES
from colorize.vocabulary import STATES
from tests.conftest import ROOT

SCORES = [name for name in PER_IMAGE if not name.startswith("target_")] + ["delta_colorfulness", "l1_at_cf"]
LOGGED = {
    *(f"{stage}{name}" for stage in ("train/", "val/", "val/raw_") for name in LOSS_NAMES),
    *(f"{stage}{name}" for stage in ("val/", "val/raw_") for name in SCORES),
    *(f"diag/{name}" for name in (*MEASURES, "state")),
    *("train/images_per_s", "train/lr_G", "train/lr_D"),
}


@pytest.fixture
def panels() -> dict[str, list[dict]]:
    specification = dashboard.as_json(dashboard.lay_out("somebody/colorize"))
    sections = specification["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: section["panels"] for section in sections}


def configs(panels: dict[str, list[dict]], kind: str) -> list[dict]:
    return [panel["config"] for found in panels.values() for panel in found if panel["viewType"] == kind]


def test_there_is_a_section_for_every_question(panels) -> None:
    assert list(panels) == ["Sweep", "Scores", "States", "Losses", "Samples", "Cost"]
    assert all(panels.values())


def test_lines_show_what_runs_log(panels) -> None:
    shown = {name for config in configs(panels, "Run History Line Plot") for name in config["metrics"]}
    assert shown <= LOGGED
    assert shown >= {f"{stage}/{name}" for stage in ("train", "val") for name in LOSS_NAMES}


def test_the_sweep_runs_from_columns_of_the_config_to_the_metric(panels) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", ["run_dir=x"])
    known = columns(OmegaConf.to_container(config, resolve=True))
    (parallel,) = configs(panels, "Parallel Coordinates Plot")
    *knobs, last = (column["accessor"] for column in parallel["columns"])
    knobs += [scatter["xAxis"] for scatter in configs(panels, "Scatter Plot")]
    assert {knob.removeprefix("config:").removesuffix(".value") for knob in knobs} <= set(known)
    assert last == f"summary:{config.optimized_metric}"
    assert {scatter["yAxis"] for scatter in configs(panels, "Scatter Plot")} == {last}
    assert [config["targetKey"] for config in configs(panels, "Parameter Importance")] == ["val/l1"]


def test_samples_are_those_that_training_logs(panels) -> None:
    (media,) = configs(panels, "Media Browser")
    code = (ROOT / "colorize/training/callbacks/samples.py").read_text()
    assert media["mediaKeys"] == ["samples"] and 'log_image("samples"' in code


def test_the_states_are_named_by_their_numbers(panels) -> None:
    titles = [config["chartTitle"] for config in configs(panels, "Run History Line Plot")]
    assert "State: " + ", ".join(f"{code} {state}" for code, state in enumerate(STATES)) in titles


def test_the_layout_is_written_without_key_or_network(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *args: pytest.fail("a network was asked"))
    result = CliRunner().invoke(app, ["dashboard", "somebody/colorize", "--json", str(tmp_path / "layout.json")])
    assert result.exit_code == 0 and result.stdout == f"{tmp_path}/layout.json\n"
    specification = json.loads((tmp_path / "layout.json").read_text())
    assert (specification["entity"], specification["project"]) == ("somebody", "colorize")


def test_saving_gives_the_address(monkeypatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    saved = []

    class View:
        url = "https://wandb.example/somebody/colorize?nw=1"

    monkeypatch.setattr(
        "wandb_workspaces.workspaces.Workspace.save", lambda workspace: saved.append(workspace.name) or View
    )
    result = CliRunner().invoke(app, ["dashboard", "somebody/colorize"])
    assert result.stdout == f"{View.url}\n" and saved == [dashboard.NAME]


def test_what_wandb_refuses_is_one_line(monkeypatch) -> None:
    def refuse(workspace):
        raise ConnectionError("no\nroute")

    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setattr("wandb_workspaces.workspaces.Workspace.save", refuse)
    with pytest.raises(UserError, match="W&B rejected the dashboard of somebody/colorize: no route"):
        dashboard.save("somebody/colorize")


def test_without_a_key_a_line_says_so(monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    result = CliRunner().invoke(app, ["dashboard", "somebody/colorize"])
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1
    assert "W&B is offline here: run `wandb login` or set WANDB_API_KEY; --json FILE needs neither" in result.stderr


@pytest.mark.parametrize("target", ["colorize", "a/b/c", "/colorize", "a b/c"])
def test_a_target_that_is_no_project_is_named(target) -> None:
    with pytest.raises(UserError, match=f"'{target}' is not a W&B project: use ENTITY/PROJECT"):
        dashboard.lay_out(target)


def test_without_the_library_a_line_says_what_to_install() -> None:
    code = "import sys; sys.modules['wandb_workspaces'] = None; from colorize.cli import app; app(['dashboard', 'a/b'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent)
    assert done.stderr == missing_extra("the dashboard needs wandb-workspaces", "dashboard") + "\n"
    assert done.returncode == 2
