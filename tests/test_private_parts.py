"""Private names of libraries are used only where CONTRIBUTING lists them, each with a test that detects changes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from tests.conftest import ROOT

CODE = [*(ROOT / "colorize").rglob("*.py"), *(ROOT / "hydra_plugins").rglob("*.py"), *ROOT.glob("*.py")]
OF_NAMED_TUPLES = {"_replace", "_asdict", "_fields", "_make"}  # documented, in spite of their names


class Row(NamedTuple):
    """A line of CONTRIBUTING's table."""

    parts: list[str]
    path: str
    guard: str


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in OF_NAMED_TUPLES


def private_end(dotted: str) -> str | None:
    """Return a dotted name from its first private part on."""
    names = dotted.split(".")
    return next((".".join(names[i:]) for i, name in enumerate(names) if is_private(name)), None)


def below(attribute: ast.Attribute) -> Iterator[ast.Attribute]:
    """Yield `a.b` and `a.b.c` of `a.b.c.d`."""
    while isinstance(attribute := attribute.value, ast.Attribute):
        yield attribute


def of_others(tree: ast.Module) -> set[str]:
    """Find what a module uses by a private name that it does not define, and the private methods that it only defines.

    A private method that nothing in its file calls is one that a base class calls.
    """
    nodes = list(ast.walk(tree))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    attributes = [node for node in nodes if isinstance(node, ast.Attribute) and is_private(node.attr)]
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    of_self = [a for a in attributes if isinstance(a.value, ast.Name) and a.value.id in ("self", "cls")]
    own = {a.attr for a in of_self if isinstance(a.ctx, ast.Store)} | {function.name for function in functions} | texts
    own |= {node.target.id for node in nodes if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    found = {a.attr for a in of_self if a.attr not in own}
    inner = {id(b) for a in attributes for b in below(a)}  # `_C` of `torch._C._cuda_releasePool`: told with the rest
    found |= {private_end(ast.unparse(a)) for a in attributes if a not in of_self and id(a) not in inner}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            found |= {private_end(f"{node.module}.{alias.name}") for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {private_end(alias.name) for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "hasattr"):
            name = node.args[1]
            found |= {name.value} if isinstance(name, ast.Constant) and is_private(name.value) else set()
    called = {node.attr for node in attributes} | texts
    for node in nodes:
        if isinstance(node, ast.ClassDef) and node.bases:
            methods = {part.name for part in node.body if isinstance(part, ast.FunctionDef) and is_private(part.name)}
            found |= methods - called
    return found - {None}


def table() -> list[Row]:
    """Read the table under "Private parts of libraries"."""
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## Private parts of libraries")[2].partition("\n## ")[0]
    rows = [re.findall(r"`(.+?)`", line) for line in text.splitlines() if line.startswith("| ")]
    return [Row(parts, path, guard) for *parts, path, guard in filter(None, rows)]


@pytest.mark.parametrize("path", sorted(CODE), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_private_part_of_a_library_is_listed_in_contributing(path: Path) -> None:
    listed = {part for row in table() if ROOT / "colorize" / row.path == path for part in row.parts}
    assert of_others(ast.parse(path.read_text())) == listed


def test_every_listed_part_is_of_a_file_and_has_a_test() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert table()
    for row in table():
        assert (ROOT / "colorize" / row.path).is_file(), f"CONTRIBUTING lists {row.path}, which is gone"
        assert f"def {row.guard}(" in tests, f"CONTRIBUTING names the test {row.guard}, which is gone"


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("from a._b.c import d", {"_b.c.d"}),
        ("import a._b", {"_b"}),
        ("from a import _b", {"_b"}),
        ("x.a._b.c._d()", {"_b.c._d"}),
        ("self._b()", {"_b"}),
        ("self._b = 1\nself._b", set()),
        ("getattr(x, '_b')", {"_b"}),
        ("class A(B):\n    def _c(self): ...", {"_c"}),
        ("class A(B):\n    def _c(self): ...\n    def d(self): self._c()", set()),
        ("row._replace(a=1)", set()),
        ("x.__class__", set()),
    ],
)
def test_the_walk_finds_what_is_of_others(line: str, parts: set[str]) -> None:
    assert of_others(ast.parse(line)) == parts


@pytest.mark.skipif(not torch.backends.cuda.is_built(), reason="this build of torch has no CUDA")
def test_torch_can_still_end_and_release_a_pool() -> None:
    """A step that cannot be recorded as a CUDA graph calls them; it needs a GPU, and to see them does not."""
    assert callable(torch._C._cuda_endAllocateToPool) and callable(torch._C._cuda_releasePool)
