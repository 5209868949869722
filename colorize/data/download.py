"""Download files: images in parallel, one large file resumably; a file appears only when it is complete."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from email.utils import formatdate, mktime_tz, parsedate_tz
from functools import partial
from http.client import IncompleteRead
from ipaddress import ip_address
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import rich.progress as bars
from urllib3 import BaseHTTPResponse, PoolManager, ProxyManager, Retry, Timeout, make_headers
from urllib3 import exceptions as http

from colorize.base.errors import UserError
from colorize.base.files import replacing
from colorize.images import ImageError, read_rgb

BACKOFF = 1.0  # half the seconds before the third attempt; doubles with each further one
LONGEST_WAIT = 60  # seconds, whatever a server's Retry-After asks for
TRANSIENT = (408, 429, 500, 502, 503, 504)  # statuses to retry
PERMANENT = (403, 404, 410)  # statuses that no later run will change
LOST_IN_A_ROW = 16  # consecutive connection failures after which the network counts as down
UNREACHABLE = (http.ConnectTimeoutError, http.NewConnectionError, http.ProxyError, http.SSLError)
UNCOMPRESSED = {"Accept-Encoding": "identity"}

log = logging.getLogger(__name__)


def download_images(
    targets: Iterable[tuple[str, Path]],
    workers: int = 16,
    show_progress: bool = True,
    attempts: int = 4,
    timeout: float = 20.0,
) -> dict[Path, "DownloadError"]:
    """Fetch images from one host in parallel. The caller holds a lock if another process may fetch the same files.

    Args:
        targets: URL and path of each image; existing files are kept.
        workers: number of concurrent transfers.
        show_progress: show a progress bar if stdout is a terminal.
        attempts: per image, with exponential backoff or the server's Retry-After.
        timeout: seconds without data after which an attempt fails.
    Returns:
        The images that failed, with their errors, which say whether a later run may succeed.
    Raises:
        UserError: if the network is down or a file cannot be written.
    """
    missing = {path: url for url, path in targets if not _is_here(path)}
    if not missing:
        return {}
    failed, lost, size, start = {}, 0, 0.0, time.monotonic()
    pool = _pool(next(iter(missing.values())), workers, timeout)
    columns = bars.MofNCompleteColumn(), bars.TextColumn("{task.fields[volume]}"), bars.TimeRemainingColumn()
    # ThreadPool has daemon threads: with an executor's, Ctrl-C would wait until a silent server times out
    with _bar(show_progress, *columns) as bar, pool, ThreadPool(workers) as threads:
        task = bar.add_task("images", total=len(missing), volume="")
        for path, failure in threads.imap_unordered(partial(_fetch_image, pool, attempts), missing.items()):
            lost = lost + 1 if failure and failure.unreachable else 0
            if lost >= min(LOST_IN_A_ROW, len(missing)):
                raise failure.for_user(missing[path])
            if failure:
                failed[path] = failure
            else:
                size += path.stat().st_size / 1e6
            rate = size / (time.monotonic() - start)
            bar.update(task, advance=1, volume=f"{size:.1f} MB, {rate:.1f} MB/s")
    log.info("downloaded %d of %d images, %.1f MB", len(missing) - len(failed), len(missing), size)
    return failed


def download_file(
    url: str, path: Path, verify: Callable[[Path], bool] = lambda path: True, attempts: int = 5, timeout: float = 20.0
) -> None:
    """Fetch one large file; an interrupted transfer resumes where it stopped, in this run or the next.

    Args:
        url: http or https.
        path: target; an existing file is kept.
        verify: returns whether a complete file has the expected format, as ``zipfile.is_zipfile`` does.
        attempts: with exponential backoff or the server's Retry-After.
        timeout: seconds without data after which an attempt fails.
    Raises:
        UserError: if the download fails; the part that was received is kept for the next run.
    """
    if _is_here(path):
        return
    part, retries = path.with_name(f"{path.name}.part"), _retries(attempts)
    columns = bars.DownloadColumn(), bars.TransferSpeedColumn(), bars.TimeRemainingColumn()
    try:
        with _bar(True, *columns) as bar, _pool(url, 1, timeout) as pool, _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            report = partial(bar.update, bar.add_task(path.name, total=None))
            while True:
                try:
                    _receive(pool, url, part, retries, report)
                    break
                except (http.ProtocolError, http.TimeoutError) as error:  # the connection broke within the body
                    retries = retries.increment("GET", url, error=error)
                    retries.sleep()
            if not verify(part):
                part.unlink()
                raise DownloadError(f"not a whole {path.suffix} file")
            part.replace(path)
    except DownloadError as failure:
        raise failure.for_user(url) from failure
    log.info("downloaded %s, %.1f MB", path.name, path.stat().st_size / 1e6)


class DownloadError(Exception):
    """A failed download; the message is a short reason."""

    def __init__(self, reason: str, permanent: bool = False, unreachable: bool = False) -> None:
        super().__init__(reason)
        self.permanent = permanent  # a retry would not help
        self.unreachable = unreachable  # no connection to the server

    def for_user(self, url: str) -> UserError:
        """Return the error for the user, with advice."""
        if not self.unreachable:
            return UserError(f"cannot download {url}: {self}")
        advice = "check the network, point data.root at a COCO folder, or use data=scenes"
        return UserError(f"cannot reach {urlsplit(url).hostname} ({self}): {advice}")


def _fetch_image(pool: PoolManager, attempts: int, target: tuple[Path, str]) -> tuple[Path, DownloadError | None]:
    """Fetch the image of a path and URL; return the path with ``None`` or the error."""
    path, url = target
    try:
        with _explained(path):
            # request() reads the body, so that retries cover a connection that breaks there
            response = pool.request("GET", url, headers=UNCOMPRESSED, retries=_retries(attempts), decode_content=False)
            if response.status != 200:
                raise _refusal(response)
            with replacing(path) as temporary:
                temporary.write_bytes(response.data)
                read_rgb(temporary)
    except ImageError:
        return path, DownloadError(f"not a whole {path.suffix} file")
    except DownloadError as failure:
        return path, failure
    return path, None


def _receive(pool: PoolManager, url: str, part: Path, retries: Retry, report: Callable[..., None]) -> None:
    """Request the rest of ``part``; its modification time is the server's and identifies the version."""
    held, date = (part.stat().st_size, part.stat().st_mtime) if part.exists() else (0, 0.0)
    rest = {"Range": f"bytes={held}-", "If-Range": formatdate(date, usegmt=True)} if held else {}
    with pool.request("GET", url, headers=UNCOMPRESSED | rest, retries=retries, preload_content=False) as response:
        changed = parsedate_tz(response.headers.get("Last-Modified"))
        new_date = mktime_tz(changed) if changed else 0.0
        fits = response.headers.get("Content-Range", "").startswith(f"bytes {held}-") and new_date == date
        resumed = held > 0 and response.status == 206 and fits
        if held and not resumed and response.status in (206, 416):
            part.unlink()  # not the beginning of this file
            return _receive(pool, url, part, retries, report)
        if response.status != 200 and not resumed:
            raise _refusal(response)
        start = held if resumed else 0
        total = None if response.length_remaining is None else start + response.length_remaining
        with part.open("ab" if resumed else "wb") as file:
            try:
                while chunk := response.read1(1 << 18, decode_content=False):  # read() would wait for all 256 KiB
                    file.write(chunk)
                    report(completed=file.tell(), total=total)
                os.fsync(file.fileno())
            finally:
                file.flush()
                os.utime(part, (new_date, new_date))


class _Retry(Retry):
    """Raises an error for redirects that must not be followed."""

    def increment(
        self, method: str | None = None, url: str | None = None, response: BaseHTTPResponse | None = None, **kw: Any
    ) -> "_Retry":
        location = response.get_redirect_location() if response else None
        if location and not may_lead(url, target := urljoin(url, location)):
            raise DownloadError(f"redirected to {target[:120]}, which is not followed", permanent=True)
        return super().increment(method, url, response, **kw)


def _retries(attempts: int) -> Retry:
    how = {"status_forcelist": TRANSIENT, "raise_on_status": False, "retry_after_max": LONGEST_WAIT}
    return _Retry(attempts - 1, backoff_factor=BACKOFF, **how)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn network errors into ``DownloadError`` and disk errors into ``UserError``."""
    try:
        yield
    except http.HTTPError as error:
        raise _explain(error) from error
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def _explain(error: BaseException) -> DownloadError:
    unreachable = isinstance(getattr(error, "reason", error), UNREACHABLE)
    while cause := error.__cause__ or next((arg for arg in error.args if isinstance(arg, BaseException)), None):
        error = cause
    reason = "cut off" if isinstance(error, IncompleteRead) else getattr(error, "strerror", None) or str(error)
    return DownloadError(reason, unreachable=unreachable)


def _refusal(response: BaseHTTPResponse) -> DownloadError:
    return DownloadError(f"{response.status} {response.reason}", permanent=response.status in PERMANENT)


def is_web(url: object) -> bool:
    """Return whether a value is an http or https URL with a host."""
    with suppress(ValueError):
        parts = urlsplit(url) if isinstance(url, str) else None
        return bool(parts and parts.scheme in ("http", "https") and parts.hostname)
    return False


def may_lead(before: str, after: str) -> bool:
    """Return whether a redirect from one URL to another is followed.

    Redirects to other schemes, from https to http, and from public hosts to this machine or its network are not.
    """
    if not is_web(after) or (urlsplit(before).scheme, urlsplit(after).scheme) == ("https", "http"):
        return False
    return _is_near(before) or not _is_near(after)


def _is_near(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        return not ip_address(host).is_global
    return host == "localhost" or host.endswith(".localhost")


def _is_here(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0  # sufficient: a file is renamed to its path only when complete


def _bar(show: bool, *columns: bars.ProgressColumn) -> bars.Progress:
    shown = show and sys.stdout.isatty()
    return bars.Progress("{task.description}", bars.BarColumn(), *columns, disable=not shown)


def _pool(url: str, size: int, timeout: float) -> PoolManager:
    """Return a connection pool for a URL, through the proxy of the environment unless the host is local or excluded."""
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it warns at each retry
    settings = {"maxsize": size, "timeout": Timeout(connect=timeout / 2, read=timeout)}
    host, proxy = urlsplit(url).hostname or "", getproxies().get(urlsplit(url).scheme)
    if not proxy or host in ("localhost", "127.0.0.1") or proxy_bypass(host):
        return PoolManager(**settings)
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    login = unquote(urlsplit(proxy).netloc.rpartition("@")[0])
    return ProxyManager(proxy, proxy_headers=make_headers(proxy_basic_auth=login or None), **settings)
