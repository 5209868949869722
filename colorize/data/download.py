"""Download files whole or not at all: in parallel, resumable, retried, each failure named."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate, mktime_tz, parsedate_tz
from ipaddress import ip_address
from multiprocessing.pool import ThreadPool
from pathlib import Path
from threading import Event, Lock
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import rich.progress as bars
from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Retry, Timeout, make_headers
from urllib3 import exceptions as http

from colorize.base.errors import UserError
from colorize.images import ImageError, read_rgb

BACKOFF = 1.0  # seconds before the second attempt; doubles with each further one
SLOWEST = 1024  # bytes/s, measured over one timeout: a server that drips slower is given up
PERMANENT = (403, 404, 410)  # statuses that no further attempt mends
LOST_IN_A_ROW = 16  # files that end without a connection before the network is taken to be down
UNREACHABLE = (http.ConnectTimeoutError, http.NewConnectionError, http.ProxyError, http.SSLError)
ONLY_REDIRECTS = Retry(total=None, connect=0, read=0, status=0, other=0, redirect=5)  # fetch() retries the rest

log = logging.getLogger(__name__)
_decoding = Lock()  # read_rgb swaps the warning filters of the whole process: one thread at a time


def download_images(
    targets: Iterable[tuple[str, Path]],
    workers: int = 16,
    show_progress: bool = True,
    attempts: int = 4,
    timeout: float = 20.0,
) -> dict[Path, "DownloadError"]:
    """Fetch images of one host in parallel; hold a lock if another process may want the same files.

    Args:
        targets: URL and file of each image; a file that exists is left alone, a ``.part`` file is gone on with.
        workers: transfers at once.
        show_progress: draw a bar where stdout is a terminal.
        attempts: tries for each image that bring nothing new, with growing pauses.
        timeout: seconds of silence after which a try is given up.
    Returns:
        The images that could not be had, each with the reason; it says whether another run may mend it.
    Raises:
        UserError: if the network is down or a file cannot be written.
    """
    missing = {path: url for url, path in targets if not _is_here(path)}
    if not missing:
        return {}
    failed, lost, size, start = {}, 0, 0.0, time.monotonic()
    pool = _pool(next(iter(missing.values())), workers, timeout)
    fetcher = _Fetcher(pool, _is_image, attempts, timeout)
    columns = bars.MofNCompleteColumn(), bars.TextColumn("{task.fields[volume]}"), bars.TimeRemainingColumn()
    # ThreadPool has daemon threads: with an executor's, Ctrl-C would wait until a silent server times out
    with _bar(show_progress, *columns) as bar, pool, ThreadPool(workers) as threads:
        task = bar.add_task("images", total=len(missing), volume="")
        try:
            for path, failure in threads.imap_unordered(fetcher.fetch, missing.items()):
                lost = lost + 1 if failure and failure.unreachable else 0
                if lost >= min(LOST_IN_A_ROW, len(missing)):
                    raise failure.for_user(missing[path])
                if failure:
                    failed[path] = failure
                else:
                    size += path.stat().st_size / 1e6
                rate = size / (time.monotonic() - start)
                bar.update(task, advance=1, volume=f"{size:.1f} MB, {rate:.1f} MB/s")
        finally:
            fetcher.cancelled.set()
    log.info("downloaded %d of %d images, %.1f MB", len(missing) - len(failed), len(missing), size)
    return failed


def download_file(
    url: str, path: Path, verify: Callable[[Path], bool] = lambda path: True, attempts: int = 4, timeout: float = 20.0
) -> None:
    """Fetch one large file in the manner of ``download_images``.

    Args:
        verify: tells whether a file of the right length is what was asked for, as ``zipfile.is_zipfile`` does.
    Raises:
        UserError: if it cannot be had; what has come stays for the next run.
    """
    if _is_here(path):
        return
    columns = bars.DownloadColumn(), bars.TransferSpeedColumn(), bars.TimeRemainingColumn()
    with _bar(True, *columns) as bar, _pool(url, 1, timeout) as pool:
        task = bar.add_task(path.name, total=None)
        fetcher = _Fetcher(pool, verify, attempts, timeout)
        fetcher.report = lambda held, total: bar.update(task, completed=held, total=total)
        _, failure = fetcher.fetch((path, url))
    if failure:
        raise failure.for_user(url)
    log.info("downloaded %s, %.1f MB", path.name, path.stat().st_size / 1e6)


class DownloadError(Exception):
    """A file that could not be had whole; the message is the reason in a few words."""

    def __init__(self, reason: str, permanent: bool = False, unreachable: bool = False, slow: bool = False) -> None:
        super().__init__(reason)
        self.slow = slow  # it came, too slowly to wait for
        self.permanent = permanent  # no further attempt would help
        self.unreachable = unreachable  # there was no connection to the server

    def for_user(self, url: str) -> UserError:
        """Return the line that tells the user what would do."""
        if not self.unreachable:
            return UserError(f"cannot download {url}: {self}")
        advice = "check the network, point data.root at a COCO folder, or use data=scenes"
        return UserError(f"cannot reach {urlsplit(url).hostname} ({self}): {advice}")


@dataclass
class _Fetcher:
    pool: PoolManager
    verify: Callable[[Path], bool]
    attempts: int
    timeout: float
    report: Callable[[int, int | None], None] = lambda held, total: None  # bytes here and, if known, in all
    cancelled: Event = field(default_factory=Event)

    def fetch(self, target: tuple[Path, str]) -> tuple[Path, DownloadError | None]:
        """Bring the file of a path and URL here whole; return the path with ``None`` or why not."""
        path, url = target
        part = path.with_name(f"{path.name}.part")
        futile, most = 0, 0  # attempts since the file last grew, and its size then
        while futile < self.attempts:
            if futile and self.cancelled.wait(BACKOFF * 2 ** (futile - 1)):
                break
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._receive(url, part)
                if self.verify(part):
                    part.replace(path)
                    return path, None
                part.unlink()  # nothing to go on with
                failure = DownloadError(f"not a whole {path.suffix} file")
            except DownloadError as error:
                failure = error
            except http.HTTPError as error:
                failure = _explain(error)
            except OSError as error:
                raise UserError(f"cannot write {path}: {error.strerror or error}") from error
            if failure.permanent:
                return path, failure
            held = part.stat().st_size if part.exists() else 0
            futile = 1 if held > most and not failure.slow else futile + 1
            most = max(most, held)
        return path, DownloadError(f"{failure} after {self.attempts} attempts", unreachable=failure.unreachable)

    def _receive(self, url: str, part: Path) -> None:
        """Ask for what ``part`` lacks; its time of change tells which version of the file it belongs to."""
        held, date = (part.stat().st_size, part.stat().st_mtime) if part.exists() else (0, 0.0)
        headers = {"Accept-Encoding": "identity"}
        if held:
            headers |= {"Range": f"bytes={held}-", "If-Range": formatdate(date, usegmt=True)}
        how = {"retries": ONLY_REDIRECTS, "preload_content": False, "enforce_content_length": False}
        with self.pool.request("GET", url, headers=headers, **how) as response:
            changed = parsedate_tz(response.headers.get("Last-Modified"))
            new_date = mktime_tz(changed) if changed else 0.0
            fits = response.headers.get("Content-Range", "").startswith(f"bytes {held}-") and new_date == date
            if response.status == 200:
                held = 0
            elif response.status != 206 or not fits:
                if response.status in (206, 416):
                    part.unlink(missing_ok=True)  # it is no beginning of this file
                reason = f"{response.status} {response.reason}"
                raise DownloadError(reason, permanent=response.status in PERMANENT)
            self._write(response, part, held, new_date)

    def _write(self, response: BaseHTTPResponse, part: Path, held: int, date: float) -> None:
        total = None if response.length_remaining is None else held + response.length_remaining
        since, before = time.monotonic(), held
        with part.open("ab" if held else "wb") as file:
            while chunk := response.read1(1 << 18, decode_content=False):  # read() would wait for all 256 KiB
                if self.cancelled.is_set():
                    raise DownloadError("cancelled", permanent=True)
                file.write(chunk)
                file.flush()
                os.utime(part, (date, date))  # each time, so that even a killed run can be gone on with
                held += len(chunk)
                self.report(held, total)
                if time.monotonic() - since > self.timeout:
                    if held - before < SLOWEST * self.timeout:
                        raise DownloadError(f"slower than {SLOWEST} bytes/s", slow=True)
                    since, before = time.monotonic(), held
            os.fsync(file.fileno())
        if total is not None and held != total:
            raise DownloadError(f"cut off at {held} of {total} bytes")


def _explain(error: BaseException) -> DownloadError:
    unreachable = isinstance(getattr(error, "reason", error), UNREACHABLE)
    while cause := error.__cause__ or next((arg for arg in error.args if isinstance(arg, BaseException)), None):
        error = cause
    return DownloadError(getattr(error, "strerror", None) or str(error), unreachable=unreachable)


def is_web(url: object) -> bool:
    """Tell whether something is a URL of http or https, with a host."""
    with suppress(ValueError):
        parts = urlsplit(url) if isinstance(url, str) else None
        return bool(parts and parts.scheme in ("http", "https") and parts.hostname)
    return False


def may_lead(before: str, after: str) -> bool:
    """Tell whether a redirect from one URL to another is followed.

    Not away from the web, not from https to http, and not from elsewhere to this machine or its network.
    """
    if not is_web(after) or (urlsplit(before).scheme, urlsplit(after).scheme) == ("https", "http"):
        return False
    return _is_near(before) or not _is_near(after)


def _is_near(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        return not ip_address(host).is_global
    return host == "localhost" or host.endswith(".localhost")


class _Guarded:
    """Has a pool follow only redirects that may be followed; it asks itself again for each."""

    def urlopen(self, method: str, url: str, redirect: bool = True, **kw: Any) -> BaseHTTPResponse:
        past = kw["retries"].history if isinstance(kw.get("retries"), Retry) else ()
        if past and past[-1].redirect_location and not may_lead(past[-1].url, url):
            raise DownloadError(f"redirected to {url[:120]}, which is not followed", permanent=True)
        return super().urlopen(method, url, redirect, **kw)


class _Pool(_Guarded, PoolManager):
    pass


class _ProxyPool(_Guarded, ProxyManager):
    pass


def _is_here(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0  # enough: a file gets its name only when whole


def _is_image(path: Path) -> bool:
    try:
        with _decoding:
            read_rgb(path)
    except ImageError:
        return False
    return True


def _bar(show: bool, *columns: bars.ProgressColumn) -> bars.Progress:
    shown = show and sys.stdout.isatty()
    return bars.Progress("{task.description}", bars.BarColumn(), *columns, disable=not shown)


def _pool(url: str, size: int, timeout: float) -> PoolManager:
    """Make the connections to a URL's host, through the environment's proxy unless the host is local or excepted."""
    settings = {"maxsize": size, "timeout": Timeout(connect=timeout / 2, read=timeout)}
    host, proxy = urlsplit(url).hostname or "", getproxies().get(urlsplit(url).scheme)
    if not proxy or host in ("localhost", "127.0.0.1") or proxy_bypass(host):
        return _Pool(**settings)
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    login = unquote(urlsplit(proxy).netloc.rpartition("@")[0])
    return _ProxyPool(proxy, proxy_headers=make_headers(proxy_basic_auth=login or None), **settings)
