"""The name of the distribution, and what the project tells people to install."""

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest

import colorize
from colorize.console import LAUNCHERS
from tests.conftest import ROOT

FOLDERS = ("colorize", "conf", "hydra_plugins", "benchmarks", "docs")
TEXT = [
    path
    for path in (*ROOT.glob("*"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*")))
    if path.name == "Makefile" or path.suffix in {".py", ".md", ".toml", ".yaml", ".html", ".js", ".lock"}
]
# An installation of whatever begins with this name, and the extra of that package, in whatever words
ANOTHER_PROJECT = re.compile(r"""pip3? install (-\S+ )*['"]?colorize|\bcolorize\[""")


def test_the_distribution_has_a_name_of_its_own_and_its_command_is_colorize() -> None:
    installed = distribution("colorize-lab")
    assert (installed.metadata["Name"], installed.version) == ("colorize-lab", colorize.__version__)
    (command,) = installed.entry_points.select(group="console_scripts")
    assert (command.name, command.value) == ("colorize", "colorize.cli:app")


@pytest.mark.parametrize("path", TEXT, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_tells_to_install_another_projects_package(path: Path) -> None:
    found = [line for line in path.read_text("utf-8").splitlines() if ANOTHER_PROJECT.search(line)]
    assert not found


def test_every_extra_that_a_message_names_exists() -> None:
    code = "".join(path.read_text() for path in TEXT if path.suffix == ".py")
    named = set(re.findall(r'missing_extra\(f?"[^\n]*", "(\w+)"\)', code)) | set(LAUNCHERS.values())
    assert named == {"sweep", "ray", "report", "onnx", "demo", "dashboard", "video", "tensorboard", "fid", "encoder"}
    assert named <= set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
