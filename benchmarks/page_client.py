"""Serve the web page in a separate process, and send requests as its own page or as other clients."""

import http.client
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

ROOT = Path(__file__).parent.parent
SERVE = """
import logging, sys
from colorize.web import guard, page, serve, uploads
logging.basicConfig()
exec(sys.argv[1])
serve(sys.argv[3:], port=int(sys.argv[2]), max_megabytes=1, max_megapixels=1)
"""


@dataclass
class Answer:
    """Of a request: status, headers, and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")


@dataclass
class Served:
    """A page in a process of its own.

    Attributes:
        process: that serves it.
        temporary: where it may write.
        port: on 127.0.0.1.
        log: what it says.
    """

    process: subprocess.Popen
    temporary: Path
    port: int
    log: Path

    @property
    def folder(self) -> Path:
        """The only folder that it has."""
        (folder,) = self.temporary.glob("colorize-*")
        return folder

    def files(self) -> list[Path]:
        """Return all files of the folder beside its examples and its lock."""
        kept = (self.folder / "examples", self.folder / ".lock")
        found = (Path(folder, name) for folder, _, names in os.walk(self.folder) for name in names)
        return sorted(path for path in found if not any(path.is_relative_to(one) for one in kept))

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Send one request; a header given as ``content_type`` is named ``content-type``."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.putrequest(method, path, skip_host="host" in given)
            lengths = {} if method != "POST" else {"content-length": str(len(body))}
            for name, value in (lengths | given).items():
                connection.putheader(name, value)
            connection.endheaders()
            with suppress(BrokenPipeError, ConnectionResetError):  # an answer may come before all is sent: a refusal
                connection.send(body)
            with connection.getresponse() as response:
                return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def upload(self, *contents: bytes, name: str = "x.png", **headers: str) -> Answer:
        """Send files in one request, as the page does one."""
        body, kind = form(contents, name)
        return self.ask("POST", "/gradio_api/upload", body, content_type=kind, **headers)

    def join(self, file: Any, session: str, *settings: Any, **headers: str) -> Answer:
        """Ask for colors, as the page does."""
        strength, size, flip, checkpoint = settings or (1, 0, False, self.checkpoint)
        content = {
            "data": [file, strength, size, flip, checkpoint],
            "fn_index": self.color,
            "session_hash": session,
            "trigger_id": None,
        }
        text = json.dumps(content).encode()
        return self.ask("POST", "/gradio_api/queue/join", text, content_type="application/json", **headers)

    def outcome(self, session: str) -> dict[str, Any]:
        """Wait for what becomes of the one job of a session."""
        answer = self.ask("GET", f"/gradio_api/queue/data?session_hash={session}")
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
        return next(event for event in events if event["msg"] == "process_completed")

    def color_file(self, file: Any, *settings: Any, session: str | None = None) -> str:
        """Have a file colored; return the line that the page shows, or the text of its error."""
        session = session or token_hex(5)
        joined = self.join(file, session, *settings)
        if joined.status != 200:
            return joined.text
        output = self.outcome(session)["output"]
        return output["data"][2] if "data" in output else f"error: {output['error'] or ''}"

    def color_photograph(self, content: bytes, session: str | None = None) -> str:
        """Upload a photograph and have it colored; return the line that the page shows."""
        (path,) = json.loads(self.upload(content).body)
        return self.color_file({"path": path, "meta": {"_type": "gradio.FileData"}}, session=session)

    @contextmanager
    def opened(self, session: str):
        """Have the page open in a browser: what its session holds is kept until it is left."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request("GET", f"/gradio_api/heartbeat/{session}")
            with connection.getresponse():
                yield

    def learn(self) -> None:
        """Find out what the page's own function and checkpoint are called."""
        config = json.loads(self.ask("GET", "/config").body)
        (self.color,) = [found["id"] for found in config["dependencies"] if len(found["inputs"]) == 5]
        choices = [c["props"].get("choices") for c in config["components"] if c["props"].get("label") == "Checkpoint"]
        self.checkpoint = choices[0][0][1]


def form(contents: tuple[bytes, ...], name: str = "x.png") -> tuple[bytes, str]:
    """Return files as a form, and its content type."""
    boundary = f"b{token_hex(16)}"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'.encode()
    parts = b"".join(head + content + b"\r\n" for content in contents)
    return parts + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def png(side: int = 32, value: int = 128) -> bytes:
    """Return a small grey picture with a gradient."""
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((side, side)).point(lambda level: (level + value) % 256).save(stream, "PNG")
    return stream.getvalue()


@contextmanager
def served(checkpoint: Path, temporary: Path, before: str = "", port: int = 0):
    """Serve a page until the block ends.

    Args:
        checkpoint: that colors.
        temporary: where it may write.
        before: Python that its process runs first; it sees the modules ``guard``, ``page`` and ``uploads``.
        port: 0 is a free one.
    """
    environment = {**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SERVE, before, str(port), str(checkpoint)]
    log = Path(tempfile.mkstemp(dir=temporary, prefix="log")[1])
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment, cwd=ROOT)
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(log.read_text())
        found = Served(process, temporary, urlsplit(line.split()[0]).port, log)
        found.learn()
        yield found
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def until(true: Any, seconds: float) -> bool:
    """Wait until something is true, and tell whether it became so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.1)
    return bool(true())
