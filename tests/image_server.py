"""A local HTTP server of images that misbehaves as the path requests: ``/<behavior>/<name>``."""

import hashlib
import io
import threading
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import numpy as np
from PIL import Image

DATE = 1_500_000_000  # seconds since 1970: when every file here was last changed


def image_bytes(name: str) -> bytes:
    """Make a small JPEG of noise, the same for the same name and no other."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4])
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


class ImageServer(ThreadingHTTPServer):
    """Serves on a free port of this machine while its context lasts.

    ``files`` sets contents, ``requests`` lists (path, Range or None), ``answers`` the statuses sent.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.requests: list[tuple[str, str | None]] = []
        self.answers: list[int] = []
        self.files: dict[str, bytes] = {}  # contents by name, instead of made-up images
        self.counts: Counter[str] = Counter()
        self.closing = threading.Event()

    def __enter__(self) -> Self:
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self.thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: clients that give up are what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        self.server.answers.append(int(code))

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers["Range"]))
        self.server.counts[self.path] += 1
        self.count = self.server.counts[self.path]
        behavior, self.name = self.path.split("/")[-2:]
        self.body = self.server.files.get(self.name) or image_bytes(self.name)
        BEHAVIORS[behavior](self)

    def answer(self, ranges: bool = True, if_range: bool = True, cut: bool = False) -> None:
        """Send the image, or what Range asks of it, or only half of that."""
        asked = self.headers["Range"]
        dated = self.headers["If-Range"] == formatdate(DATE, usegmt=True)
        obeyed = asked and ranges and (dated or not if_range)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if obeyed else 0
        size = len(self.body)
        if start >= size:
            return self.refuse(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        rest = self.body[start:]
        self.head(len(rest))
        self.wfile.write(rest[: len(rest) // 2] if cut else rest)
        self.close_connection = cut
        return None

    def head(self, length: int) -> None:
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Content-Length", str(length))
        self.send_header("Last-Modified", formatdate(DATE, usegmt=True))
        self.end_headers()

    def refuse(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.head(0)

    def hang_up(self) -> None:
        self.close_connection = True

    def html(self) -> None:
        page = b"<html><body>Please log in to the network.</body></html>"
        self.send_response(200)
        self.head(len(page))
        self.wfile.write(page)

    def stall(self) -> None:
        self.send_response(200)
        self.head(len(self.body))
        self.wfile.write(self.body[:100])
        self.server.closing.wait(30)

    def moved(self) -> None:
        self.send_response(302)
        self.send_header("Location", f"/ok/{self.name}")
        self.head(0)

    def wrong_range(self) -> None:
        self.send_response(206)
        self.send_header("Content-Range", f"bytes 0-{len(self.body) - 1}/{len(self.body)}")
        self.head(len(self.body))
        self.wfile.write(self.body)

    def chunked(self, whole: bool) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, len(self.body), 1000):
            piece = self.body[start : start + 1000]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            if not whole:
                self.close_connection = True
                return
        self.wfile.write(b"0\r\n\r\n")


def _times(count: int, then: Callable[[_Handler], None]) -> Callable[[_Handler], None]:
    """Misbehave on the first ``count`` requests of each path, then serve."""
    return lambda handler: then(handler) if handler.count <= count else handler.answer()


MENDING: dict[str, Callable[[_Handler], None]] = {
    "ok": _Handler.answer,
    "fails-twice": _times(2, lambda handler: handler.refuse(500)),
    "too-many-once": _times(1, lambda handler: handler.refuse(429)),
    "cut-once": _times(1, lambda handler: handler.answer(cut=True)),
    "cut-thrice": _times(3, lambda handler: handler.answer(cut=True)),
    "cut-once-no-range": lambda handler: handler.answer(ranges=False, cut=handler.count == 1),
    "stalls-once": _times(1, _Handler.stall),
    "hangs-up-once": _times(1, _Handler.hang_up),
    "no-if-range": lambda handler: handler.answer(if_range=False),
    "cut-then-wrong-range": _times(
        2, lambda handler: handler.wrong_range() if handler.headers["Range"] else handler.answer(cut=handler.count == 1)
    ),
    "chunked": lambda handler: handler.chunked(whole=True),
    "moved": _Handler.moved,
}
HOPELESS: dict[str, Callable[[_Handler], None]] = {
    "404": lambda handler: handler.refuse(404),
    "403": lambda handler: handler.refuse(403),
    "410": lambda handler: handler.refuse(410),
    "503": lambda handler: handler.refuse(503),
    "cut": lambda handler: handler.answer(ranges=False, cut=True),
    "chunked-cut": lambda handler: handler.chunked(whole=False),
    "stall": _Handler.stall,
    "html": _Handler.html,
    "hang-up": _Handler.hang_up,
}
BUSY: dict[str, Callable[[_Handler], None]] = {
    "busy-once": _times(1, lambda handler: handler.refuse(503, Retry_After="7")),
    "busy-for-long": _times(1, lambda handler: handler.refuse(503, Retry_After="7200")),
}
BEHAVIORS = MENDING | HOPELESS | BUSY
