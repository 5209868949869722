"""A pytest plugin that records which tests run which lines, or runs chosen tests in a given order.

python -m pytest -p benchmarks.line_tests --lines-to FILE --lines-of 'FOLDER/*' ...
python -m pytest -p benchmarks.line_tests --chosen FILE
"""

import json
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

OVER = "over the processor's time"
IMPORTING = ""  # coverage's context of all that runs outside of tests


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options above."""
    group = parser.getgroup("lines")
    group.addoption("--lines-to", help="JSON file of processor time by test, and of tests by file and line")
    group.addoption("--lines-of", action="append", default=[], help="pattern of the files that are looked at")
    group.addoption("--chosen", help="JSON list of the tests to run, in this order")
    group.addoption("--processor-limit", type=float, default=0, help="seconds that each may take; 0 is no limit")


def pytest_configure(config: pytest.Config) -> None:
    """Start what was asked for."""
    if config.getoption("lines_to"):
        config.pluginmanager.register(Recorder(Path(config.getoption("lines_to")), config.getoption("lines_of")))
    if config.getoption("chosen"):
        chosen = json.loads(Path(config.getoption("chosen")).read_text())
        config.pluginmanager.register(Chooser(chosen, config.getoption("processor_limit")))


class Chooser:
    """Runs these tests only; those that a mutated module no longer leads to are passed over.

    A limit counts the processor's time, as the recorder does: a test that waits its turn on a busy machine is not over.
    """

    def __init__(self, chosen: list[str], limit: float) -> None:
        self.place = {test: number for number, test in enumerate(chosen)}
        self.limit = limit
        signal.signal(signal.SIGPROF, self._strike)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out the others, and sort."""
        items[:] = sorted((item for item in items if item.nodeid in self.place), key=lambda i: self.place[i.nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        """Let the limit run with the test."""
        signal.setitimer(signal.ITIMER_PROF, self.limit, self.limit)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    @staticmethod
    def _strike(*_: Any) -> None:
        pytest.fail(OVER)


class Recorder:
    """Notes the lines of every test that passes, with those of the fixtures it shares with other tests."""

    def __init__(self, path: Path, patterns: list[str]) -> None:
        from coverage import Coverage

        self.path = path
        self.coverage = Coverage(data_file=None, config_file=False, include=patterns)
        self.coverage.set_option("run:disable_warnings", ["no-data-collected"])  # that of tests of other modules
        self.coverage.start()
        self.context = IMPORTING
        self.seconds: dict[str, float] = {}  # of the processor
        self.failed: set[str] = set()
        self.skipped: set[str] = set()
        self.fixtures: dict[str, set[str]] = {}  # of each test, those that outlive it

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Run a test under its name."""
        definitions = [one for several in item._fixtureinfo.name2fixturedefs.values() for one in several]
        self.fixtures[item.nodeid] = {_fixture(one) for one in definitions if one.scope != "function"}
        start = time.process_time()  # unlike the clock it does not count what else the machine does
        try:
            return (yield from self._under(item.nodeid))
        finally:
            self.seconds[item.nodeid] = time.process_time() - start

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef) -> Iterator[None]:
        """Run a fixture that other tests will use too under its own name."""
        return (yield from self._under(self.context if fixturedef.scope == "function" else _fixture(fixturedef)))

    def _under(self, context: str) -> Iterator[None]:
        before, self.context = self.context, context
        self.coverage.switch_context(context)
        try:
            return (yield)
        finally:
            self.context = before
            self.coverage.switch_context(before)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the outcome."""
        if not report.passed:
            (self.failed if report.failed else self.skipped).add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        """Write all of it."""
        self.coverage.stop()
        data = self.coverage.get_data()
        tests = [test for test in self.fixtures if test not in self.failed | self.skipped]
        users: dict[str, list[int]] = defaultdict(list)  # by context
        for number, test in enumerate(tests):
            for context in (test, *self.fixtures[test]):
                users[context].append(number)
        lines: dict[str, dict[int, list[int]]] = {}
        for file in data.measured_files():
            found = data.contexts_by_lineno(file)
            lines[file] = {n: sorted({user for c in contexts for user in users[c]}) for n, contexts in found.items()}
        seconds = [[test, round(self.seconds[test], 3)] for test in tests]
        self.path.write_text(json.dumps({"tests": seconds, "lines": lines, "failed": sorted(self.failed)}))


def _fixture(definition: pytest.FixtureDef) -> str:
    return f"{definition.baseid}::fixture {definition.argname}"
