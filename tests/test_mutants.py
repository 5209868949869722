"""Faults are inserted in meaningful places, and detected by the tests of their lines."""

import ast
import os
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from queue import SimpleQueue

import pytest

from benchmarks import mutants, pytest_server
from benchmarks.mutants import (
    KILLED,
    SURVIVED,
    TIMEOUT,
    Copy,
    Lines,
    Project,
    collect,
    copies,
    judge,
    read_files,
    tables,
)
from benchmarks.mutations import Mutation, mutations
from tests.conftest import ROOT

PARTS = """LIMIT = 3


def total(a, b):
    return a + b


def larger(a, b):
    return a if a > b else b


def count_down(n):
    while n:
        n -= 1
    return n


def lonely(a):
    return -a
"""
TESTS = """import pytest

from shop.parts import count_down, larger, total
from shop.price import price


@pytest.fixture(scope="module")
def seven():
    return total(3, 4)


def test_seven(seven):
    assert seven != 0


def test_seven_to_the_digit(seven):
    assert seven == 7


def test_larger():
    assert larger(2, 1) == 2


def test_count_down():
    assert count_down(3) == 0


def test_price():
    assert price() == 30
"""
FILES = {
    "pyproject.toml": "[tool.pytest.ini_options]\nfilterwarnings = ['error']\n",
    "shop/__init__.py": "",
    "shop/parts.py": PARTS,
    "shop/price.py": "from shop.parts import LIMIT\n\n\ndef price():\n    return 10 * LIMIT\n",
    "tests/test_parts.py": TESTS,
    "tests/test_broken.py": "def test_broken():\n    assert False\n",
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Make up a package with tests."""
    files = {name: content.encode() for name, content in FILES.items()}
    return Project(
        files,
        ("shop/parts.py",),
        tuple(name for name in FILES if "test_" in name),
        tmp_path_factory.mktemp("results"),
        budget=60,
    )


@pytest.fixture(scope="module")
def free(shop: Project) -> Iterator[SimpleQueue[Copy]]:
    with copies(shop, workers=1) as free:
        yield free


@pytest.fixture(scope="module")
def lines(shop: Project, free: SimpleQueue[Copy]) -> Lines:
    return collect(shop, free, workers=1)


def fault(old: str, new: str) -> Mutation:
    """Find the fault that makes of one text the other."""
    changed = PARTS.replace(old, new)
    return next(mutation for mutation in mutations(PARTS) if mutation.source == changed)


def names(tests: list[str]) -> set[str]:
    return {test.removeprefix("tests/test_parts.py::") for test in tests}


def changes(source: str) -> set[str]:
    return {mutation.source for mutation in mutations(source)}


@pytest.mark.parametrize(
    ("old", "new", "outcome", "by"),
    [
        ("a + b", "(a - b)", KILLED, "test_seven_to_the_digit"),
        ("a > b", "(a >= b)", SURVIVED, ""),
        ("n -= 1", "pass", TIMEOUT, "test_count_down"),
        ("-a", "(a)", SURVIVED, ""),
        ("LIMIT = 3", "LIMIT = (4)", KILLED, "test_price"),
    ],
    ids=["noticed", "unnoticed", "endless", "untested", "at import"],
)
def test_a_fault_is_noticed_if_a_test_of_its_line_fails(
    shop: Project, free: SimpleQueue[Copy], lines: Lines, monkeypatch: pytest.MonkeyPatch, old, new, outcome, by
) -> None:
    monkeypatch.setattr(mutants, "SLACK", 1)
    found = judge(shop, free, lines, "shop/parts.py", fault(old, new))
    assert (found["outcome"], found["by"].partition("::")[2]) == (outcome, by)
    assert found["change"].startswith("-") and new.strip("()") in found["change"]


def test_an_outcome_that_is_known_is_read(
    shop: Project, free: SimpleQueue[Copy], lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = judge(shop, free, lines, "shop/parts.py", fault("a + b", "(a - b)"))
    monkeypatch.setattr(Copy, "pytest", None)
    assert judge(shop, free, lines, "shop/parts.py", fault("a + b", "(a - b)")) == first
    assert collect(shop, free, workers=1).tests == lines.tests


def test_a_copy_is_whole_again_after_a_fault(shop: Project, free: SimpleQueue[Copy], lines: Lines) -> None:
    judge(shop, free, lines, "shop/parts.py", fault("a > b", "(a <= b)"))
    copy = free.get()
    free.put(copy)
    assert (copy.folder / "shop/parts.py").read_text() == PARTS


def test_a_line_of_a_shared_fixture_has_the_tests_that_use_it(shop: Project, lines: Lines) -> None:
    assert names(lines.of(shop, "shop/parts.py", fault("a + b", "(a - b)"))) == {
        "test_seven",
        "test_seven_to_the_digit",
    }


def test_a_line_that_runs_at_import_has_the_tests_of_its_importers(shop: Project, lines: Lines) -> None:
    found = names(lines.of(shop, "shop/parts.py", fault("LIMIT = 3", "LIMIT = (4)")))
    assert found == {"test_seven", "test_seven_to_the_digit", "test_larger", "test_count_down", "test_price"}


def test_quick_tests_come_first_then_the_file_that_is_quickest(shop: Project) -> None:
    seconds = {
        "tests/a.py::1": 5.0,
        "tests/a.py::2": 0.2,
        "tests/b.py::1": 0.1,
        "tests/b.py::2": 1.0,
        "tests/a.py::3": 0.1,
    }
    seconds["tests/b.py::3"] = 99.0
    lines = Lines(seconds, {"shop/parts.py": {5: set(seconds)}})
    order = ["a.py::3", "a.py::2", "b.py::1", "b.py::2", "a.py::1"]  # a takes 5.3 s in all; the last is over the budget
    assert lines.of(shop, "shop/parts.py", fault("a + b", "(a - b)")) == [f"tests/{test}" for test in order]


def test_tests_that_fail_without_a_fault_are_named_and_left_out(lines: Lines) -> None:
    assert lines.failed == ["tests/test_broken.py::test_broken"]
    assert not [test for test in lines.seconds if "broken" in test]


def test_what_waits_for_ever_is_ended_at_the_limit() -> None:
    waiting = subprocess.Popen(["sleep", "600"], start_new_session=True)
    assert pytest_server._wait(waiting.pid, 0.2) is None
    with pytest.raises(ProcessLookupError):
        os.kill(waiting.pid, 0)
    waiting.returncode = 0  # it has been waited for


def test_a_seed_draws_the_same_faults(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutants, "copies", lambda *args: nullcontext())
    monkeypatch.setattr(mutants, "collect", lambda *args: None)
    monkeypatch.setattr(mutants, "judge", lambda *args: args[-1].source)
    first, again, other = (mutants.examine(shop, 8, seed, workers=1) for seed in (1, 1, 2))
    assert first == again != other and len(set(first)) == 8


def test_the_score_is_the_share_that_was_noticed() -> None:
    outcomes = [KILLED, KILLED, TIMEOUT, SURVIVED]
    found = [
        {"place": f"a.py:{n}", "kind": "k", "tests": 1, "change": "c", "outcome": o} for n, o in enumerate(outcomes)
    ]
    score, modules, survivors = tables(found).values()
    assert score == [{"": "all", "faults": 4, "killed": 3, "by the time limit": 1, "score": "75%"}]
    assert [row[""] for row in modules] == ["a.py"]
    assert [row["place"] for row in survivors] == ["a.py:3"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < b", {"x = (a <= b)", "x = (a >= b)"}),
        ("x = a == b", {"x = (a != b)"}),
        ("x = a + b", {"x = (a - b)"}),
        ("x = a and b", {"x = (a or b)"}),
        ("x = not a", {"x = (a)"}),
        ("x = -a", {"x = (a)"}),
        ("x = 3", {"x = (4)"}),
        ("x = 0.5", {"x = (1.0)"}),
        ("x = 0.0", {"x = (1.0)"}),
        ("x = True", {"x = (False)"}),
        ("x = min(a)", {"x = (max)(a)"}),
        ("x = a.max()", {"x = (a.min)()"}),
        ("x = a.abs()", {"x = (a)"}),
        ("x = torch.abs(a)", set()),
        ("x = f(a, dim=b)", {"x = (f(a))"}),
        ("f(a)", {"pass"}),
        ("a += b", {"pass"}),
        ("x = a if b else c", {"x = a if True else c", "x = a if False else c", "x = a if (not b) else c"}),
        ("x = [a for a in b if c]", {"x = [a for a in b if True]", "x = [a for a in b if False]"}),
        ("while a:\n    x = b", {"while False:\n    x = b", "while (not a):\n    x = b"}),
        ("def f(a=True):\n    return a", {"def f(a=(False)):\n    return a", "def f(a=True):\n    return None"}),
        ("x = 'ü', a + b", {"x = 'ü', (a - b)"}),
    ],
)
def test_faults_of_an_expression(source: str, expected: set[str]) -> None:
    assert changes(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""A text of 1 line."""',
        "x: 'int | None'",
        "def f(a: int | float) -> int | None:\n    x = a",
        "raise ValueError('at most ' + str(3))",
        "assert a == 1",
        "x = f'{a + 1}'",
        "log.info('%s', a + 1)",
        "warnings.warn('less than 1', stacklevel=2)",
        "@f(1)\nclass A:\n    x = a",
        "x = zip(a, b, strict=True)",
        "x = f(a, device=b, non_blocking=c)",
        "from a import b",
    ],
)
def test_what_is_only_said_gets_no_fault(source: str) -> None:
    assert not changes(source)


def test_defaults_and_constants_run_at_import_and_bodies_do_not() -> None:
    source = "x = 1\n\n\ndef f(a=2):\n    return a + 3\n\n\nclass A:\n    b = 4\n    c = lambda d: 5"
    found = {mutation.source.count("\n", 0, mutation.source.index(f"({n + 1})")): mutation.at_import
             for n in range(1, 6) for mutation in mutations(source) if f"({n + 1})" in mutation.source}  # fmt: skip
    assert found == {0: True, 3: True, 4: False, 8: True, 9: False}


def test_a_fault_in_a_condition_has_the_lines_of_the_condition_only() -> None:
    source = "def f(a):\n    if (a >\n            b):\n        x = c\n"
    assert {mutation.lines for mutation in mutations(source)} == {range(2, 4)}


@pytest.mark.parametrize("target", mutants.TARGETS)
def test_a_target_has_faults_that_are_python(target: str) -> None:
    project = Project(read_files(ROOT), (target,), (), Path("unused"), 0)
    sites = project.sites()
    assert sites
    for file, mutation in sites[::20]:  # all take 7 s
        ast.parse(mutation.source, file)
        assert mutation.source != project.text(file)


def test_what_is_left_out_exists() -> None:
    tests = [path.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")]
    assert not [part for part in mutants.LEFT_OUT if not any(name.startswith(part) for name in tests)]
