"""Imports go down only, rooms and modules form no circle, and heavy libraries stay in the rooms that may use them."""

import ast
import importlib
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "colorize"
FLOORS = [  # a room imports from the lines above its own, and from itself
    "base weights",
    "console images srgb upsampling vocabulary",
    "lab photos scenes tracking",
    "grids networks sweeps",
    "checkpoint data metrics",
    "card inference losses",
    "export training",
    "experiments",
    "scoring web",
    "bias",
    "report",
    "cli",
    "__main__",
]
FLOOR = {"colorize": len(FLOORS)} | {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms.split()}
ROOMS_OF = {  # libraries that take seconds to import, or belong to one job
    "hydra": {"cli", "console", "experiments", "sweeps", "tracking"},
    "wandb": {"tracking"},
    "lightning": {"data", "experiments", "sweeps", "tracking", "training"},
    "gradio": {"web"},
    "plotly": {"report"},
    "onnxruntime": {"export", "inference"},
}
NO_TORCH = {
    "base",
    "weights",
    "console",
    "images",
    "srgb",
    "upsampling",
    "vocabulary",
    "photos",
    "scenes",
    "sweeps",
    "web",
}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imported(path: Path) -> set[str]:
    """Return every dotted name that a module imports, at whatever depth of its code."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own_modules(names: set[str]) -> set[str]:
    """Return the modules of the package among dotted names of modules and of what is in them."""
    return {name if name in MODULES else name.rpartition(".")[0] for name in names if name.startswith("colorize.")}


def room(module: str) -> str:
    return module.removeprefix("colorize.").split(".")[0]


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"colorize"}))
def test_imports_go_down_only(module) -> None:
    for target in own_modules(imported(MODULES[module])) - {"colorize"}:
        assert room(target) == room(module) or FLOOR[room(target)] < FLOOR[room(module)], target


def private_names(path: Path) -> set[str]:
    """Return what a module takes from others of the package although its name says that it is theirs."""
    tree = ast.parse(path.read_text())
    taken = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module.startswith("colorize")]
    names = {alias.asname or alias.name for node in taken for alias in node.names}
    used = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names
    }
    public = ("__", "._fields", "._replace", "._asdict")  # of modules and of named tuples
    return {name for name in names | used if name.rpartition(".")[2].startswith("_") and not name.endswith(public)}


def test_underscore_names_stay_in_their_module() -> None:
    assert not {module: names for module, path in MODULES.items() if (names := private_names(path))}


def test_heavy_libraries_stay_in_their_rooms() -> None:
    for module, path in MODULES.items():
        for library in {name.split(".")[0] for name in imported(path)}:
            assert room(module) in ROOMS_OF.get(library, FLOOR), f"{module} imports {library}"
            assert library != "torch" or room(module) not in NO_TORCH, f"{module} imports torch"


def test_no_two_modules_import_each_other() -> None:
    TopologicalSorter({name: own_modules(imported(path)) for name, path in MODULES.items()}).prepare()


def test_few_modules_lie_outside_of_a_room() -> None:
    assert len([path for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")]) <= 12


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*/")), ids=str)
def test_tests_lie_as_the_package_does(path) -> None:
    here = path.relative_to(ROOT / "tests")
    assert path.name == "__pycache__" or (PACKAGE / here).is_dir(), f"tests/{here} has no room in colorize/"


@pytest.mark.parametrize("module", ["colorize", "colorize.scenes.dataset", "colorize.console", "colorize.sweeps"])
def test_what_workers_and_help_import_is_light(module) -> None:
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_colorizer_is_imported_when_it_is_asked_for() -> None:
    code = "import colorize, sys; print('numpy' in sys.modules); colorize.Colorizer.from_pretrained"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"
    with pytest.raises(ImportError):
        exec("from colorize import Colorizr")


def test_what_docstrings_and_documents_refer_to_exists() -> None:
    texts = [*PACKAGE.rglob("*.py"), *(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    names = {name for path in texts for name in re.findall(r"`(colorize(?:\.\w+)+)`", path.read_text())}
    assert len(names) > 30
    assert not {name for name in names if not exists(name)}


def exists(name: str) -> bool:
    """Return whether a dotted name is a module, or an attribute of one."""
    module = next(known for known in parents(name) if known in MODULES)
    found = importlib.import_module(module)
    for attribute in name.removeprefix(module).split(".")[1:]:
        found = getattr(found, attribute, None)
    return found is not None


def parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
