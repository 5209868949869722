"""Mutation testing: insert small faults into the code, one at a time, and count those that a test detects.

python -m benchmarks.mutants --count 100 --seed 0

The first part runs the tests once, each file in its own process, and records which test runs which lines. The second
part runs the tests of each drawn fault's line until one fails. Both parts are cached in benchmarks/results/mutants by
their dependencies, so that a second call continues where the first stopped and repeats only what has changed. Tests
that start whole programs are excluded (``LEFT_OUT``): faults that only they detect count as undetected.
"""

import argparse
import ast
import difflib
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from bisect import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path, PurePosixPath
from queue import SimpleQueue
from typing import Any

from benchmarks import harness, line_tests
from benchmarks.line_tests import OVER
from benchmarks.mutations import Mutation, mutations
from colorize.base.files import replacing

ROOT = Path(__file__).parent.parent
TARGETS = (
    "colorize/training/*.py",
    "colorize/training/callbacks/*.py",
    "colorize/losses/*.py",
    "colorize/metrics/*.py",
    "colorize/data/selection.py",
    "colorize/lab.py",
    "colorize/srgb.py",
)
# They start programs, servers or a browser, whose lines are not seen here, or look at texts
LEFT_OUT = (
    *("test_architecture", "test_benchmarks", "test_commands", "test_distribution", "test_mutants", "test_packaging"),
    *(
        "test_private_parts",
        "test_readme",
        "cli/",
        "web/",
        "sweeps/",
        "report/test_browser",
        "report/test_judged_browser",
    ),
    *("tracking/test_dashboard", "training/test_ddp"),
)
PRELOAD = (
    "torch",
    "torchvision",
    "lightning.pytorch",
    "kornia.color",
    "skimage.color",
    "hydra",
    "torchmetrics",
    "wandb",
)
SLACK = 20  # seconds a test may take in any case, and 10 times the processor's time that it took without the fault
QUICK = (0.3, 3.0)  # seconds: all tests below the first come first, whatever their file
KILLED, SURVIVED, TIMEOUT = "killed", "survived", "killed by the time limit"


def read_files(root: Path) -> dict[str, bytes]:
    """Read what git knows of, or would add, by its path below ``root``."""
    command = ["git", "-C", str(root), "ls-files", "-co", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {name: (root / name).read_bytes() for name in sorted(set(names)) if (root / name).is_file()}


@dataclass(frozen=True, eq=False)
class Project:
    """Files that are changed, and tests that should notice.

    Args:
        files: contents by path, as `read_files` gives them; what changes on disk afterwards does not count.
        targets: patterns of the files that get faults.
        tests: test files, from ``root``.
        results: folder that outcomes are kept in.
        budget: seconds of the processor that the tests of one fault may take, as they took without it.
    """

    files: dict[str, bytes]
    targets: tuple[str, ...]
    tests: tuple[str, ...]
    results: Path
    budget: float

    @cached_property
    def source_hash(self) -> str:
        """Hash of all that any test may depend on."""
        parts = [name for name in self.files if name.endswith((".py", ".yaml", ".toml", ".html", ".css", ".js"))]
        parts = [name for name in parts if not (_is_test(name) or name.startswith("benchmarks/"))]
        return _hash(f"{name}\n{self.text(name)}" for name in parts)

    @cached_property
    def imports(self) -> dict[str, list[tuple[str | None, str]]]:
        """Modules and names that each file imports them from."""
        found = {}
        for name in (name for name in self.files if name.endswith(".py")):
            nodes = [node for node in ast.walk(ast.parse(self.text(name))) if isinstance(node, ast.ImportFrom)]
            found[name] = [(node.module, alias.name) for node in nodes for alias in node.names]
        return found

    def text(self, name: str) -> str:
        """Return what a file holds."""
        return self.files[name].decode()

    def sites(self) -> list[tuple[str, Mutation]]:
        """List every fault, with the file that it is in."""
        targets = [name for name in self.files if _fits(name, self.targets)]
        return [(name, mutation) for name in targets for mutation in mutations(self.text(name))]

    def importers(self, file: str) -> set[str]:
        """Return the files that import a module's names, from it or from its package, where that hands them on."""
        module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        package, _, name = module.rpartition(".")
        inside = self.imports.get(f"{package.replace('.', '/')}/__init__.py", [])
        handed_on = {imported for where, imported in inside if where == module} | {name}

        def uses(where: str | None, imported: str) -> bool:
            return where == module or (where == package and imported in handed_on)

        return {other for other, found in self.imports.items() if any(uses(*one) for one in found)}


def _is_test(name: str) -> bool:
    return name.startswith("tests/") and PurePosixPath(name).name.startswith("test_")


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(PurePosixPath(name).match(pattern) for pattern in patterns)


def _hash(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


class Copy:
    """A copy of the project, and the process that runs tests in it.

    Args:
        project: what is copied.
        folder: of the copy; it must not exist.
        preload: modules that the process imports once; they must start no threads.
    """

    def __init__(self, project: Project, folder: Path, preload: Iterable[str]) -> None:
        self.folder = folder
        self.scratch = folder.with_suffix(".tmp")
        self.output = folder.with_suffix(".log")
        for name, content in project.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        # A module's .pyc is taken for good by its size and its second of writing, which a fault need not change
        settings = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
        self.server = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.pytest_server", *preload],
            cwd=folder, env=os.environ | settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def pytest(self, *args: str, limit: float | None = None) -> tuple[int | None, str]:
        """Run tests; return the exit status, or ``None`` if they took more than ``limit`` seconds, and the output."""
        options = ["-p", "benchmarks.line_tests", "-p", "no:cacheprovider", "-q", "--tb=no", "-rfE"]
        options += [f"--basetemp={self.scratch}", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
        print(
            json.dumps({"args": [*options, *args], "output": str(self.output), "limit": limit}), file=self.server.stdin
        )
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline()), self.output.read_text(errors="replace")

    def close(self) -> None:
        """End the process, at once: what libraries say at their end is of no use."""
        self.server.kill()
        self.server.communicate()


@contextmanager
def copies(project: Project, workers: int, preload: Iterable[str] = ()) -> Iterator[SimpleQueue[Copy]]:
    """Yield a queue of copies, one for each worker, to be taken and put back; remove them afterwards."""
    free: SimpleQueue[Copy] = SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        made = [Copy(project, Path(folder).resolve() / f"copy{number}", preload) for number in range(workers)]
        for copy in made:
            free.put(copy)
        try:
            yield free
        finally:
            for copy in made:
                copy.close()


@dataclass
class Lines:
    """Which tests run which lines."""

    seconds: dict[str, float] = field(default_factory=dict)  # of the processor, by test
    tests: dict[str, dict[int, set[str]]] = field(default_factory=dict)  # by file and line
    failed: list[str] = field(default_factory=list)

    def add(self, recorded: dict[str, Any]) -> None:
        """Take in a test file's."""
        names = [test for test, _ in recorded["tests"]]
        self.seconds |= dict(recorded["tests"])
        self.failed += recorded["failed"]
        for file, lines in recorded["lines"].items():
            for line, users in lines.items():
                known = self.tests.setdefault(file, {}).setdefault(int(line), set())
                known |= {names[user] for user in users}

    def of(self, project: Project, file: str, mutation: Mutation) -> list[str]:
        """Return the tests that may notice a fault: quick ones first, and those of a file together.

        A line that runs at import has those of all files that import its module, and those that it runs by itself.
        """
        if mutation.at_import:
            files = {file, *project.importers(file)}
            found = {test for name in files for users in self.tests.get(name, {}).values() for test in users}
            found |= {test for test in self.seconds if test.partition("::")[0] in files}
        else:
            found = {test for line in mutation.lines for test in self.tests.get(file, {}).get(line, ())}
        by_file: dict[str, float] = defaultdict(float)
        for test in found:
            by_file[test.partition("::")[0]] += self.seconds[test]
        ranked = sorted(
            (bisect(QUICK, self.seconds[test]), by_file[(f := test.partition("::")[0])], f, self.seconds[test], test)
            for test in found
        )
        spent = accumulate(seconds for *_, seconds, _ in ranked)
        return [test for (*_, test), so_far in zip(ranked, spent, strict=True) if so_far <= project.budget]


def collect(project: Project, free: SimpleQueue[Copy], workers: int) -> Lines:
    """Run every test file once, and note which lines its tests run; what did not change since is read."""
    recorder = Path(line_tests.__file__).read_text()

    def record(file: str) -> dict[str, Any]:
        parts = [recorder, project.source_hash, *project.targets, file, project.text(file)]
        kept = project.results / f"lines-{_hash(parts)}.json"
        if not kept.exists():
            copy = free.get()
            patterns = [f"--lines-of={copy.folder / target}" for target in project.targets]
            with replacing(kept) as temporary:
                status, output = copy.pytest(f"--lines-to={temporary}", *patterns, file)
                if not temporary.exists():
                    raise RuntimeError(f"{file} ended with {status}:\n{output}")
                recorded = json.loads(temporary.read_text())
                lines = {str(Path(path).relative_to(copy.folder)): found for path, found in recorded["lines"].items()}
                temporary.write_text(json.dumps(recorded | {"lines": lines}))
            free.put(copy)
            print(f"{file}: {sum(seconds for _, seconds in recorded['tests']):.0f} s", flush=True)
        return json.loads(kept.read_text())

    found = Lines()
    with ThreadPoolExecutor(workers) as pool:
        for recorded in pool.map(record, project.tests):
            found.add(recorded)
    if found.failed:
        print("fail without any fault, and are left out:", *found.failed, sep="\n  ")
    return found


def judge(project: Project, free: SimpleQueue[Copy], lines: Lines, file: str, mutation: Mutation) -> dict[str, Any]:
    """Let the tests of a fault's line run until one fails; an outcome that is known is read."""
    tests = lines.of(project, file, mutation)
    contents = [project.text(name) for name in sorted({test.partition("::")[0] for test in tests})]
    kept = project.results / f"fault-{_hash([project.source_hash, mutation.source, *sorted(tests), *contents])}.json"
    if not kept.exists():
        outcome = {"outcome": SURVIVED, "by": ""}
        if tests:
            copy = free.get()
            (copy.folder / file).write_bytes(mutation.source.encode())
            outcome = _run(copy, tests, [lines.seconds[test] for test in tests])
            (copy.folder / file).write_bytes(project.files[file])
            free.put(copy)
        found = {"place": f"{file}:{mutation.line}", "kind": mutation.kind, "tests": len(tests), **outcome}
        with replacing(kept) as temporary:
            temporary.write_text(json.dumps(found | {"change": difference(project.text(file), mutation.source)}))
    found = json.loads(kept.read_text())
    print(f"{found['outcome']}: {found['place']} {found['kind']} {found['by']}", flush=True)
    return found


def _run(copy: Copy, tests: list[str], seconds: list[float]) -> dict[str, str]:
    chosen = copy.folder.with_suffix(".json")
    chosen.write_text(json.dumps(tests))
    one = SLACK + 10 * max(seconds)
    options = ["-x", "--timeout=0", f"--processor-limit={one:.1f}", f"--chosen={chosen}"]
    options += sorted({test.partition("::")[0] for test in tests})
    status, output = copy.pytest(*options, limit=60 + one + 10 * sum(seconds))
    if status is None:
        return {"outcome": TIMEOUT, "by": ""}
    if status in (0, 5):  # 5: no test is left
        return {"outcome": SURVIVED, "by": ""}
    lines = (line for line in output.splitlines() if line.startswith(("FAILED ", "ERROR ")))
    failed = next(lines, f"exit {status}").partition(" - ")
    return {"outcome": TIMEOUT if OVER in failed[2] else KILLED, "by": failed[0].partition(" ")[2]}


def difference(before: str, after: str) -> str:
    """Return the changed lines as one line of text."""
    changed = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0))[3:]
    return " ".join(" ".join(line.split()) for line in changed)


def tables(found: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return rows by title: the score, the same by module, and what survived."""

    def row(name: str, of: list[dict[str, Any]]) -> dict[str, Any]:
        number = Counter(one["outcome"] for one in of)
        killed = len(of) - number[SURVIVED]
        score = f"{killed / len(of):.0%}"
        return {"": name, "faults": len(of), KILLED: killed, "by the time limit": number[TIMEOUT], "score": score}

    modules: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in found:
        modules[one["place"].partition(":")[0]].append(one)
    survivors = [one for one in found if one["outcome"] == SURVIVED]
    return {
        "Faults that a test notices": [row("all", found)],
        "By module": [row(name, modules[name]) for name in sorted(modules)],
        "Survivors, with the number of tests that were run": [
            {key: one[key] for key in ("place", "kind", "tests", "change")} for one in survivors
        ],
    }


def examine(
    project: Project, count: int, seed: int, workers: int, only: Iterable[str] = ("*",), preload: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """Draw faults and judge them.

    Args:
        project: files and tests.
        count: of faults, drawn without replacement; all where there are fewer.
        seed: of the draw.
        workers: processes at a time.
        only: patterns of the targets that faults are drawn from.
        preload: see `Copy`.
    """
    sites = [site for site in project.sites() if _fits(site[0], only)]
    print(f"{len(sites)} faults can be put into {len({file for file, _ in sites})} files", flush=True)
    drawn = random.Random(seed).sample(sites, min(count, len(sites)))
    with copies(project, workers, preload) as free:
        lines = collect(project, free, workers)
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(lambda site: judge(project, free, lines, *site), drawn))


def main() -> None:
    """Examine, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100, help="faults that are drawn")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one core each")
    parser.add_argument("--budget", type=float, default=600, help="seconds of tests for one fault")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="FILE", help="patterns of the files to change")
    parser.add_argument("--tests", nargs="+", metavar="FILE", help="test files; without it all of this process")
    args = parser.parse_args()
    files = read_files(ROOT)
    left_out = tuple(f"tests/{name}" for name in LEFT_OUT)
    tests = args.tests or [name for name in files if _is_test(name) and not name.startswith(left_out)]
    project = Project(files, TARGETS, tuple(tests), harness.RESULTS.resolve() / "mutants", args.budget)
    report = harness.Report("mutants")
    for title, rows in tables(examine(project, args.count, args.seed, args.workers, args.only, PRELOAD)).items():
        if rows:
            report.table(title, rows)


if __name__ == "__main__":
    sys.exit(main())
