"""Imports point downwards only; the heavy libraries stay on the floors that may use them."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "colorize"
FLOORS = {
    0: [
        "backbones",
        "checks",
        "claims",
        "digests",
        "errors",
        "files",
        "images",
        "inputs",
        "lab",
        "machine",
        "manifest",
        "memory",
        "metadata",
        "photos",
        "profiles",
        "provenance",
        "registry",
        "seeds",
        "srgb",
        "states",
        "tiles",
        "upsampling",
        "vocabulary",
        "weights",
        "webp",
    ],
    1: ["networks", "metrics", "grids"],
    2: ["card", "data", "losses", "export", "painting", "checkpoint", "inference", "predictors", "tint"],
    3: ["training"],
    4: [
        "adapt",
        "bias",
        "console",
        "sweeps",
        "tracking",
        "resume",
        "experiment",
        "check_config",
        "warm_start",
        "evaluation",
        "score_table",
        "held_out",
        "report",
        "scoring",
        "dashboard",
        "batch",
        "coco",
        "video",
        "video_files",
        "demo",
        "showcase",
    ],
    5: ["cli"],
    6: ["__main__"],
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names}
FORBIDDEN = {
    0: {"lightning", "hydra", "wandb"},
    1: {"lightning", "hydra", "wandb"},
    2: {"hydra", "wandb"},
    3: {"hydra", "wandb"},
    4: set(),
    5: set(),
    6: set(),
}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def imported(path: Path) -> set[str]:
    """Return every dotted name that a module imports, at whatever depth of its code."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def member(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    floor = FLOOR[member(path)]
    for name in imported(path):
        if name.startswith("colorize.") and name.split(".")[1] in FLOOR:
            target = name.split(".")[1]
            siblings = FLOOR[target] == floor and (target == member(path) or floor in (0, 2, 4))
            assert FLOOR[target] < floor or siblings, f"{path} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_stay_on_their_floors(path: Path) -> None:
    forbidden = FORBIDDEN[FLOOR[member(path)]] | (
        {"lightning"} if member(path) in ("checkpoint", "export", "inference", "predictors") else set()
    )
    assert not {name.split(".")[0] for name in imported(path)} & forbidden


@pytest.mark.parametrize("module", ["colorize.data.scenes", "colorize.console", "colorize.sweeps"])
def test_what_workers_and_help_import_is_light(module) -> None:
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_modules_are_small() -> None:
    assert not [path for path in MODULES if len(path.read_text().splitlines()) > 300]
