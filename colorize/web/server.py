"""Serve the page until it is stopped, then remove its temporary files."""

import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from colorize.base.errors import UserError
from colorize.web.guard import Guard, Hosts, patient_protocol
from colorize.web.page import Page

CONNECTIONS = 500  # maximum number at once; each open page has two
END_SECONDS = 3  # timeout for pending responses when the server stops


def serve(
    checkpoints: Sequence[str | Path],
    host: str = "127.0.0.1",
    port: int | None = 7860,
    device: str = "auto",
    max_megabytes: int = 25,
    max_megapixels: int = 50,
    names: Sequence[str] = (),
    block: bool = True,
) -> Page:
    """Serve the page.

    Args:
        checkpoints: see `Page`.
        host: an address of this machine; ``0.0.0.0`` is all of them, reachable from other machines.
        port: None or 0 chooses a free one.
        device: see `Page`.
        max_megabytes: maximum size of an uploaded file, in 2^20 bytes.
        max_megapixels: see `Page`.
        names: additional host names, such as that of a proxy; requests under other names are refused.
        block: print the address and wait: on Ctrl-C, close the page and return; on SIGTERM, close it and raise
            ``SystemExit(143)``. Otherwise return the page at once; the caller must close it.
    Raises:
        UserError: if Gradio is missing, the first checkpoint cannot be read, or the address or port cannot be used.
    """
    with ExitStack() as ending:
        if block and threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
            ending.callback(signal.signal, signal.SIGTERM, before)
        page = Page(checkpoints, device, max_megapixels)
        ending.callback(page.close)
        page.colorizer(page.names[0])  # load it now, so that errors are reported here and not on the page
        port = _usable_port(host, port)
        limit = max_megabytes * 2**20
        app = Guard(page.application(limit), Hosts(host, names), limit, page.uploads.full)
        page.on_close(_start(app, host, port))
        shown = "127.0.0.1" if host in ("0.0.0.0", "") else f"[{host}]" if ":" in host else host
        page.url = f"http://{shown}:{port}/"
        if block:
            print(f"{page.url}  (Ctrl-C ends it)", flush=True)
            with suppress(KeyboardInterrupt):
                threading.Event().wait()
        else:
            ending.pop_all()
    return page


def _start(app: Any, host: str, port: int) -> Any:
    """Run a server in a thread; return a function that stops it.

    Raises:
        UserError: if it does not start.
    """
    import uvicorn

    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=patient_protocol(),
        ws="none",
        log_level="critical",
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=END_SECONDS,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise UserError(f"host={host} port={port} cannot be served; use another, or port=0 for a free one")
        time.sleep(0.01)

    def end() -> None:
        server.should_exit = True
        thread.join(2 * END_SECONDS)

    return end


def _usable_port(host: str, port: int | None) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port or 0), family=family) as free:
            return free.getsockname()[1]
    except (OSError, OverflowError) as error:
        raise UserError(f"host={host} port={port}: {error.args[-1]}; use another, or port=0 for a free one") from None
