"""Measure speed and memory of `colorize score` without networks, and of resuming a killed run.

python -m benchmarks.scoring
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import harness
from colorize.base.machine import cores

SIDE = 256
COMMAND = """
import json, sys, time
from colorize.base.machine import peak_resident
from colorize.scoring import Setup, passes, score

measured, plain = {}, passes.Pass.run
def timed(self):
    start, cpu = time.perf_counter(), time.process_time()
    measured["images"] = plain(self)
    measured["seconds"], measured["CPU seconds"] = time.perf_counter() - start, time.process_time() - cpu
    measured["peak MB of the pass"] = peak_resident() / 1e6
    return measured["images"]
passes.Pass.run = timed
start = time.perf_counter()
score(sys.argv[1], sys.argv[3:], sys.argv[2], Setup(learned=False))
print(json.dumps(measured | {"seconds of all": time.perf_counter() - start, "peak MB": peak_resident() / 1e6}))
"""


def make(folder: Path, count: int) -> tuple[Path, Path]:
    """Draw true pictures and a method's, with as much detail as photographs of 75 KB as PNG have."""
    true, output = folder / "truth", folder / "output"
    for each in (true, output):
        each.mkdir()

    def draw(number: int) -> None:
        random = np.random.default_rng(number)
        coarse = Image.fromarray(random.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((SIDE, SIDE))
        grain = random.normal(0, 4, (SIDE, SIDE, 1))
        pixels = np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(true / f"{number:05d}.jpg", quality=95, subsampling=0)
        grey = pixels.mean(2, keepdims=True)
        Image.fromarray((grey + 0.6 * (pixels - grey)).astype(np.uint8)).save(
            output / f"{number:05d}.png", compress_level=1
        )

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(draw, range(count)))
    return true, output


def start(*args: str | Path) -> subprocess.Popen:
    """Score in a process of its own, with as many threads as there are cores."""
    return subprocess.Popen([sys.executable, "-c", COMMAND, *map(str, args)], stdout=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen) -> dict[str, float]:
    """Wait for it; return what it measured."""
    answer, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"status {process.returncode}")
    measured = json.loads(answer.splitlines()[-1])
    return measured | {"images/s": measured["images"] / measured["seconds"]}


def killed_and_gone_on(true: Path, output: Path, out: Path, after: int) -> dict[str, float]:
    """Kill a pass once so many images have a line; return what the next one measured."""
    process = start(true, out, output)
    table = out / "images" / f"{output.name}.jsonl"
    while not table.exists() or table.read_bytes().count(b"\n") <= after:
        if process.poll() is not None:
            raise RuntimeError("it ended before it was killed")
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    had = table.read_bytes().count(b"\n") - 1
    return {"killed after": had} | finished(start(true, out, output))


def scores(out: Path) -> dict:
    """Return a result's rows."""
    return json.loads((out / "scores.json").read_text())["rows"]


def main() -> None:
    """Measure and print."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--counts", nargs="*", type=int, default=[1000, 10_000])
    args = parser.parse_args()
    counts = [100] if args.quick else args.counts
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for count in counts:
            folder = Path(temporary) / str(count)
            folder.mkdir()
            true, output = make(folder, count)
            first = finished(start(true, folder / "out", output))
            more = finished(start(true, folder / "out", output, f"one more={output}"))
            nothing = finished(start(true, folder / "out", output, f"one more={output}"))
            gone_on = killed_and_gone_on(true, output, folder / "killed", count // 3)
            if scores(folder / "killed")[output.name] != scores(folder / "out")[output.name]:
                raise RuntimeError("a run that was killed and went on has other scores")
            for name, measured in (
                ("a method and the judge's own rows", first),
                ("one more method", more),
                ("nothing new", nothing),
                ("the first, killed and gone on", gone_on),
            ):
                rows.append({"folder of": count, "": name} | measured)
    harness.Report("scoring").table(f"colorize score --no-learned, {SIDE}x{SIDE}, truth as JPEG, pictures as PNG", rows)


if __name__ == "__main__":
    sys.exit(main())
