"""Run pytest repeatedly, each time in a fork of a process that has imported the large libraries once.

python -m benchmarks.pytest_server torch lightning.pytorch ...

Each line of JSON on standard input is a run: ``args`` of pytest, the file for its ``output``, and its ``limit`` in
seconds, or null. Seconds in which this process was stopped are not counted. A line on standard output has the exit
status, or null if the limit was exceeded.
"""

import gc
import importlib
import json
import os
import signal
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import pytest

LOOK = 0.05  # seconds from one look at a child to the next


def main() -> None:
    """Import what the arguments name and pytest's plugins, and serve."""
    for name in sys.argv[1:]:
        importlib.import_module(name)
    for plugin in entry_points(group="pytest11"):
        plugin.load()
    gc.freeze()  # pytest collects garbage at its end: no need to look at what was imported here
    tasks = Path("/proc/self/task")
    if tasks.exists() and len(list(tasks.iterdir())) > 1:
        raise RuntimeError("a library has started threads, which do not live on in a fork: do not import it before")
    for line in sys.stdin:
        run = json.loads(line)
        child = os.fork()
        if child == 0:
            _pytest(run["args"], run["output"])
        print(json.dumps(_wait(child, run["limit"])), flush=True)


def _pytest(args: list[str], output: str) -> None:
    os.setsid()  # with all that it starts, to be ended with it
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream, to in ((0, os.open(os.devnull, os.O_RDONLY)), (1, file), (2, file)):
        os.dup2(to, stream)
    sys.argv = ["pytest", *args]
    status = 3  # pytest's own of an internal error
    try:
        status = int(pytest.main(args))
    finally:
        sys.stdout.flush()
        os._exit(status)  # no thread that is left may hold it up


def _wait(child: int, limit: float | None) -> int | None:
    looks = 0
    try:
        while limit is None or looks * LOOK < limit:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                child = 0
                return os.waitstatus_to_exitcode(status)
            time.sleep(LOOK)
            looks += 1
        return None
    finally:
        if child:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)


if __name__ == "__main__":
    main()
