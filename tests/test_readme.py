"""Every command of the README is one that the programs take."""

import re
import shlex

import pytest
import torch
import typer
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from colorize.cli import app
from colorize.experiment import check
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
COMMANDS = [
    line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) for line in block.splitlines() if line.strip()
]


def compose_all(config: str, overrides: list[str]) -> list:
    """Compose every job that the overrides make."""
    parsed = OverridesParser.create().parse_overrides([o for o in overrides if not o.startswith("hydra.")])
    jobs = BasicSweeper.split_arguments(parsed, None)[0]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return [compose(config, [*job, "run_dir=x"]) for job in jobs]


@pytest.mark.parametrize("line", COMMANDS)
def test_command_is_understood(line, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # some commands are for machines that have a GPU
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)  # and some for people who have an account
    words = shlex.split(line, comments=True)
    match words:
        case ["make", target]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        case ["source", script]:
            assert script == ".venv/bin/activate"
        case ["python", "train.py", *overrides]:
            for cfg in compose_all("train", [o for o in overrides if o != "-m"]):
                OmegaConf.to_container(cfg, resolve=True)
                check(cfg)
        case ["python", "eval.py", *overrides]:
            for cfg in compose_all("eval", overrides):
                OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        case ["colorize", subcommand, *args]:
            typer.main.get_command(app).commands[subcommand].make_context("colorize", args)
        case ["wandb", subcommand, *_]:
            from wandb.cli.cli import cli

            assert subcommand in cli.commands
        case _:
            pytest.fail(f"no test for {line!r}")


def test_wandb_sweep_names_options_that_exist() -> None:
    sweep = OmegaConf.load(ROOT / "conf/wandb_sweep.yaml")
    for name, parameter in sweep.parameters.items():
        values = list(parameter["values"]) if "values" in parameter else [parameter["min"], parameter["max"]]
        for value in values:
            for cfg in compose_all("train", [f"{name}={value}"]):
                check(cfg)
    assert sweep.metric.name == "val/l1"


def test_python_example_names_what_exists() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    imports = [line for line in example.splitlines() if line.startswith("from")]
    exec("\n".join(imports))
    from colorize.inference import Colorizer

    assert callable(Colorizer.from_checkpoint) and callable(Colorizer.colorize)


def test_the_picture_is_there() -> None:
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / path).stat().st_size < 1_000_000
