"""Request filtering for the page: allowed hosts and origins, limits of size, and timeouts."""

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

API = "/gradio_api/"
UPLOAD = f"{API}upload"
POSTS = tuple(
    f"{API}{name}" for name in ("upload", "queue/join", "run/", "cancel", "reset")
)  # the requests that the page itself makes
MAX_JSON = 1 << 18  # bytes of a request that is not an upload
OF_FORM = 1 << 14  # bytes of an upload in addition to its file
BODY_SECONDS = 30  # timeout between two parts of a request
WHOLE_SECONDS = 300  # timeout for a whole request
HEAD_SECONDS = 10  # timeout for the head of a request
LOCAL = ("localhost", "127.0.0.1", "::1")
ANYWHERE = ("0.0.0.0", "::", "")

log = logging.getLogger(__name__)


class Hosts:
    """The host names under which the page is served; refusing all others prevents DNS rebinding.

    Args:
        host: address at which the page is served. If that is all addresses of the machine, any IP address is accepted
            as a name, since DNS rebinding needs a domain name.
        names: additional host names, such as that of a proxy.
    """

    def __init__(self, host: str, names: Iterable[str] = ()) -> None:
        self.everywhere = host in ANYWHERE
        self.names = {name.lower() for name in (*names, host)}
        if self.everywhere or host in LOCAL:
            self.names |= set(LOCAL)
        if self.everywhere:
            self.names |= {socket.gethostname().lower()}

    def serves(self, authority: str) -> bool:
        """Return whether a host, with or without a port, is one of these names."""
        name = _host_of(f"//{authority}")
        return name is not None and (name in self.names or (self.everywhere and _is_number(name)))

    def may_ask(self, origin: str, authority: str) -> bool:
        """Return whether a page from ``origin`` may send requests to what is served as ``authority``."""
        name = _host_of(origin)
        scheme, _, netloc = origin.partition("://")
        if name is None or scheme not in ("http", "https"):
            return False
        return netloc.lower() == authority.lower() or name in self.names - {*LOCAL, *ANYWHERE}


class Guard:
    """ASGI middleware that refuses requests with a status and a line of text.

    Args:
        app: the wrapped application.
        hosts: host names under which it is served.
        max_bytes: maximum size of an uploaded file.
        full: returns whether there is no room for a given number of additional bytes.
    """

    def __init__(self, app: App, hosts: Hosts, max_bytes: int, full: Callable[[int], bool]) -> None:
        self.app, self.hosts, self.max_bytes, self.full = app, hosts, max_bytes, full

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one connection, see the ASGI specification."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            exchange = _Exchange(receive, send)
            refused = self._refused(scope, exchange)
            if refused:
                await exchange.refuse(*refused)
                return
            try:
                await self.app(scope, exchange.receive, exchange.send)
            except Exception as error:
                if not exchange.over and type(error).__name__ != "ClientDisconnect":
                    log.exception("%s %s", scope["method"], scope["path"])
                    await exchange.refuse(500, "Internal error; see the log of the server")
        # WebSockets are not used: returning without an answer refuses the connection

    def _refused(self, scope: Message, exchange: "_Exchange") -> tuple[int, str] | None:
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        hosts, origins, method = headers.get("host", []), headers.get("origin", []), scope["method"]
        if len(hosts) != 1 or not self.hosts.serves(hosts[0]):
            return 403, "This page is not served under that name; colorize demo --name NAME allows one"
        if any(not self.hosts.may_ask(origin, hosts[0]) for origin in origins):
            return 403, "Requests from other web pages are refused"
        navigates = method == "GET" and headers.get("sec-fetch-mode") == ["navigate"]
        if headers.get("sec-fetch-site") == ["cross-site"] and not navigates:
            return 403, "Requests from other web pages are refused"
        if method not in ("GET", "HEAD", "POST"):
            return 405, "Only GET, HEAD and POST are allowed"
        if method != "POST":
            return None
        if not scope["path"].startswith(POSTS):
            return 404, "Not found"
        upload = scope["path"].startswith(UPLOAD)
        limit = self.max_bytes + OF_FORM if upload else MAX_JSON
        length = headers.get("content-length", ["0"])[0]
        size = int(length) if length.isdecimal() and len(length) < 20 else limit + 1
        if size > limit:
            return 413, f"That is larger than the maximum allowed size of {limit >> 20 or 1} MiB"
        if upload and self.full(size):
            return 507, "The server's storage for photographs is full; try again in some minutes"
        exchange.limit, exchange.boundary = limit, _boundary(headers) if upload else None
        return None


class _Exchange:
    """One request and its response; answers at once if the body is too large, too slow, or has several files."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self.limit = MAX_JSON
        self.boundary: bytes | None = None
        self.over = False  # refused, or the client is gone: messages of the application are dropped
        self._started = self._whole = False
        self._bytes = self._parts = 0
        self._until = time.monotonic() + WHOLE_SECONDS
        self._tail = b""

    async def receive(self) -> Message:
        if self.over:
            return {"type": "http.disconnect"}
        left = self._until - time.monotonic()
        try:
            # After the whole body, the application waits here for the client to disconnect, without a timeout
            message = await asyncio.wait_for(self._receive(), None if self._whole else min(BODY_SECONDS, left))
        except TimeoutError:
            return await self._end(408, "The rest of the request did not arrive in time")
        body = message.get("body", b"")
        self._whole = self._whole or not message.get("more_body", False)
        self._bytes += len(body)
        if self._bytes > self.limit:
            return await self._end(413, "That is larger than the maximum allowed size")
        if self.boundary is not None:
            seen = self._tail + body
            self._parts += seen.count(self.boundary)
            self._tail = seen[len(seen) - len(self.boundary) + 1 :]
            if self._parts > 2:  # one before the file and one after it
                return await self._end(400, "Only one photograph at a time")
        return message

    async def _end(self, status: int, line: str) -> Message:
        await self.refuse(status, line)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if not self.over:
            self._started = True
            await self._send(message)

    async def refuse(self, status: int, line: str) -> None:
        self.over = True
        if self._started:
            return
        body = line.encode()
        headers = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(body)), "connection": "close"}
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        with suppress(Exception):  # the client may have disconnected
            await self._send({"type": "http.response.start", "status": status, "headers": encoded})
            await self._send({"type": "http.response.body", "body": body})


def patient_protocol() -> type:
    """Return uvicorn's HTTP protocol class, extended to close connections that do not send a request's head in time."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Patient(H11Protocol):
        deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._await_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._await_head()

        def _await_head(self) -> None:
            waiting = self.cycle is None or self.cycle.response_complete
            if self.deadline is not None and not waiting:
                self.deadline.cancel()
                self.deadline = None
            elif self.deadline is None and waiting:
                self.deadline = self.loop.call_later(HEAD_SECONDS, self._give_up)

        def _give_up(self) -> None:
            self.deadline = None
            if self.cycle is None or self.cycle.response_complete:
                self.transport.close()

    return Patient


def _boundary(headers: dict[str, list[str]]) -> bytes | None:
    from python_multipart.multipart import parse_options_header  # as Gradio does

    _, options = parse_options_header(headers.get("content-type", [""])[0])
    return b"--" + options[b"boundary"] if options.get(b"boundary") else None


def _host_of(url: str) -> str | None:
    with suppress(ValueError):
        return urlsplit(url).hostname
    return None


def _is_number(name: str) -> bool:
    with suppress(ValueError):
        return bool(ipaddress.ip_address(name))
    return False
