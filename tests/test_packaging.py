"""The name of the distribution, and identical install commands in all texts."""

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml

import colorize
from colorize.base import errors
from colorize.base.errors import DISTRIBUTION, install_lines, missing_extra
from colorize.console import LAUNCHERS
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = sorted(PROJECT["optional-dependencies"])
FOLDERS = ("colorize", "conf", "hydra_plugins", "benchmarks", "docs")
TEXT = [
    path
    for path in (*ROOT.glob("*"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*")))
    if path.name == "Makefile" or path.suffix in {".py", ".md", ".toml", ".yaml", ".html", ".js", ".lock", ".cff"}
]
INSTALLATION = re.compile(r"(?<!-m )(?<!UV\) )\bpip3? install\b")  # the others make .venv, from the lock
BY_NAME = re.compile(r"\bcolorize(-lab)?\[")  # the extra of a package by its name alone, in whatever words
LINES = tuple(line for extra in ("", *EXTRAS) for line in install_lines(extra))
KNOWN = (*LINES, *(line.replace("colorize_lab-", "dist/colorize_lab-") for line in LINES))


def test_the_distribution_has_a_name_of_its_own_and_its_command_is_colorize() -> None:
    installed = distribution("colorize-lab")
    assert (installed.metadata["Name"], installed.version) == (DISTRIBUTION, colorize.__version__)
    (command,) = installed.entry_points.select(group="console_scripts")
    assert (command.name, command.value) == ("colorize", "colorize.cli:app")


def test_an_install_line_names_a_clone_or_the_wheel() -> None:
    assert install_lines() == ("pip install -e .", f"pip install colorize_lab-{PROJECT['version']}-py3-none-any.whl")
    assert install_lines("demo") == (
        "pip install -e '.[demo]'",
        f"pip install 'colorize_lab-{PROJECT['version']}-py3-none-any.whl[demo]'",
    )


@pytest.mark.parametrize(
    "path",
    [path for path in TEXT if not path.samefile(errors.__file__)],  # which makes the lines
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_every_text_says_the_same_install_line(path: Path) -> None:
    assert_same(path.read_text("utf-8"))


@pytest.mark.parametrize("extra", EXTRAS)
def test_errors_say_the_same_install_line(extra) -> None:
    assert_same(missing_extra("this needs a package", extra), count=2)


def test_exported_cards_say_the_same_install_line(checkpoint, tmp_path) -> None:
    from colorize.export import export

    export(checkpoint, tmp_path / "model")
    assert_same((tmp_path / "model/README.md").read_text(), count=2)


@pytest.mark.parametrize("name", ["README.md", "docs/install.md"])
def test_readme_and_docs_say_how_to_install(name) -> None:
    assert_same((ROOT / name).read_text(), count=2)


def assert_same(text: str, count: int = 0) -> None:
    """Check that whatever a text tells to install is one of `install_lines`, at least so many times."""
    found = [text[match.start() : match.start() + 80] for match in INSTALLATION.finditer(text)]
    assert not [line for line in found if not line.startswith(KNOWN)]
    assert len(found) >= count
    assert not BY_NAME.search(text)


def test_every_extra_that_a_message_names_exists() -> None:
    code = "".join(path.read_text() for path in TEXT if path.suffix == ".py")
    named = set(re.findall(r'missing_extra\(f?"[^\n]*", "(\w+)"\)', code)) | set(LAUNCHERS.values()) | {"encoder"}
    assert named == {"sweep", "ray", "report", "onnx", "demo", "dashboard", "video", "tensorboard", "fid", "encoder"}
    assert named <= set(EXTRAS)


def test_the_changelog_and_the_citation_have_this_version() -> None:
    assert PROJECT["version"] == colorize.__version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    (version, date), *_ = re.findall(r"^## \[(\d\S*)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert version == citation["version"] == PROJECT["version"]
    assert date == str(citation["date-released"])
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == PROJECT["authors"] == [{"name": "The colorize contributors"}]


def test_the_workflow_runs_what_a_developer_runs() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    steps = [step.get("run") for job in workflow["jobs"].values() for step in job["steps"]]
    assert ".ci/run" in steps
    assert (ROOT / ".ci/run").stat().st_mode & 0o100
