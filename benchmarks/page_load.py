"""Load test of the web page: many users, complete photographs, refused foreign origins, no files left after SIGKILL.

Users upload photographs one after another, colorize them and download the results, like browsers. One user in ten
aborts every upload. Meanwhile, other origins send requests, and idle connections are opened. Then the server is killed
and restarted.

python -m benchmarks.page_load --checkpoint model                       # 50 users, 500 photographs; about 2 minutes
"""

import io
import json
import socket
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks import harness
from benchmarks.page_client import Served, form, served, until
from colorize.networks import build_generator

SIDES = (320, 240)
BUSY, FULL = 503, 507
PAUSE = 0.5  # seconds before a user who was told that the page is busy tries again


def photograph(number: int) -> bytes:
    """Return a JPEG of smooth noise, another for each number."""
    noise = np.random.default_rng(number).integers(0, 256, (6, 8), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).resize(SIDES, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def small_checkpoint(path: Path) -> Path:
    """Write a small generator, so that what is measured is the page."""
    settings = {"name": "unet", "n_down": 5, "num_filters": 8}
    weights = {f"generator.{key}": value for key, value in build_generator(**settings).state_dict().items()}
    torch.save({"state_dict": weights, "hyper_parameters": {"generator": settings, "image_size": 64}}, path)
    return path


class Load:
    """Users of a page, and those who mean it no good.

    Args:
        page: that is served.
        users: at once.
    """

    def __init__(self, page: Served, users: int) -> None:
        self.page, self.users = page, users
        self.seconds: list[float] = []  # of a photograph, from the upload to the saved file
        self.counts = {"colored": 0, "told that the page is busy": 0, "broken off": 0, "without a word": 0}
        self.foreign = {"refused": 0, "answered": 0}
        self._ended = threading.Event()
        self._lock = threading.Lock()

    def run(self, photographs: int) -> float:
        """Have all photographs colored; return the seconds."""
        others = [threading.Thread(target=work) for work in (self._foreign, self._silent)]
        for thread in others:
            thread.start()
        started = time.perf_counter()
        try:
            with ThreadPoolExecutor(self.users) as pool:
                list(pool.map(self._use, range(photographs)))
        finally:
            self._ended.set()
        seconds = time.perf_counter() - started
        for thread in others:
            thread.join()
        return seconds

    def _count(self, counts: dict[str, int], what: str) -> None:
        with self._lock:
            counts[what] += 1

    def _use(self, number: int) -> None:
        session = token_hex(6)
        with self.page.opened(session):
            self._color(number, session)

    def _color(self, number: int, session: str) -> None:
        content = photograph(number)
        if number % 10 == 0:
            self._break_off(content)
        started = time.perf_counter()
        while True:
            uploaded = self.page.upload(content, name=f"{number}.jpg")
            if uploaded.status == 200:
                file = {"path": json.loads(uploaded.body)[0], "meta": {"_type": "gradio.FileData"}}
                joined = self.page.join(file, session)
                if joined.status == 200:
                    break
                uploaded = joined
            if uploaded.status not in (BUSY, FULL) or not uploaded.text.strip():
                self._count(self.counts, "without a word")
                return
            self._count(self.counts, "told that the page is busy")
            time.sleep(PAUSE)
        (shown, button, _) = self._output(session)
        saved = self.page.ask("GET", f"/gradio_api/file={button['value']['path']}") if shown else None
        whole = False
        if saved is not None and saved.status == 200:
            with suppress(OSError), Image.open(io.BytesIO(saved.body)) as image:
                image.load()
                whole = image.size == SIDES and image.mode == "RGB"
        self._count(self.counts, "colored" if whole else "without a word")
        self.seconds.append(time.perf_counter() - started)

    def _output(self, session: str) -> Any:
        return self.page.outcome(session)["output"].get("data") or (None, None, None)

    def _break_off(self, content: bytes) -> None:
        body, kind = form((content,))
        head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1:{self.page.port}\r\nContent-Type: {kind}\r\n"
        with closing(socket.create_connection(("127.0.0.1", self.page.port))) as connection:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[: len(body) // 2])
        self._count(self.counts, "broken off")

    def _foreign(self) -> None:
        ways = ({"origin": "http://evil.example"}, {"host": "evil.example"}, {"sec_fetch_site": "cross-site"})
        while not self._ended.wait(0.05):
            for headers in ways:
                with suppress(OSError):
                    answer = self.page.upload(b"x", **headers)
                    allowed = "access-control-allow-origin" in answer.headers or answer.status == 200
                    self._count(self.foreign, "answered" if allowed else "refused")

    def _silent(self) -> None:
        opened = []
        while not self._ended.wait(0.2):
            opened.append(socket.create_connection(("127.0.0.1", self.page.port)))
        for connection in opened:
            connection.close()


def main() -> None:
    """Put a page under load; write its tables; leave with 1 if a photograph was lost or anything is left."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--checkpoint", type=Path, help="that colors; without it a small one")
    parser.add_argument("--users", type=int, default=50, help="at once")
    parser.add_argument("--photographs", type=int, default=500, help="in all")
    args = parser.parse_args()
    users, count = (5, 20) if args.quick else (args.users, args.photographs)
    report = harness.Report("page_load")
    # Ages that are minutes in earnest, so that the folder can be seen to empty
    soon = "uploads.PARTIAL, uploads.UNHELD, uploads.HELD = 2, 5, 10; uploads.Uploads.__init__.__defaults__ = (0.5,)"
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        checkpoint = args.checkpoint or small_checkpoint(folder / "small.ckpt")
        with served(checkpoint.absolute(), folder) as page:
            load = Load(page, users)
            seconds = load.run(count)
            after = until(lambda: not page.files(), 90)  # a part of an upload stays for a minute
            page.upload(photograph(0))
            page.process.kill()
            page.process.wait()
            killed = len(page.files())
            before = page.folder
        with served(checkpoint.absolute(), folder, soon) as page:
            swept = not before.exists()
            again = Load(page, users)
            again.run(users)
            empty = until(lambda: not page.files(), 60)
        left = len(list(folder.glob("*colorize-*")))
    times = sorted(load.seconds)
    report.table(
        f"{count} photographs of {SIDES[0]}x{SIDES[1]}, {users} users at once",
        [
            {"": "photographs a second", "figure": count / seconds},
            {"": "seconds for one, median", "figure": statistics.median(times)},
            {"": "seconds for one, 95th percentile", "figure": times[int(0.95 * len(times))]},
            {"": "seconds for one, longest", "figure": times[-1]},
            *({"": what, "figure": number} for what, number in load.counts.items()),
            *({"": f"of other origins, {what}", "figure": number} for what, number in load.foreign.items()),
        ],
    )
    report.table(
        "What is kept",
        [
            {"": "files of users who have left", "figure": "none" if after else "some"},
            {"": "files after SIGKILL", "figure": killed},
            {"": "its folder after the next start", "figure": "gone" if swept else "there"},
            {"": "files after further use, once they are old", "figure": "none" if empty else "some"},
            {"": "folders after SIGTERM", "figure": left},
        ],
    )
    lost = count - load.counts["colored"] + load.counts["without a word"] + load.foreign["answered"]
    if lost or not after or not swept or not empty or left:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
