"""The exception that is shown to the user as one line instead of a traceback, and helpers for such lines."""

import errno
import re

from colorize.base.version import VERSION

DISTRIBUTION = "colorize-lab"  # the package that pip installs; the import and the command are colorize

OUT_OF_MEMORY = re.compile(
    r"(can.t|cannot|not enough memory to|failed to) allocate|bad.?alloc|out of memory|can.t start new thread|"
    r"failed to map segment",
    re.IGNORECASE,
)
DISK_ERRNOS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.EFBIG,
    errno.EROFS,
}  # write errors without a file name


class UserError(ValueError):
    """A mistake that the user can fix: the message says what was typed and what is allowed."""


def in_one_line(error: BaseException) -> str | None:
    """Return the line to show to the user, or ``None`` if the error is a bug of the program.

    Besides `UserError`, a line is returned for files or folders that cannot be read or written, a full disk, and too
    little memory.
    """
    if isinstance(error, UserError):
        return printable(str(error))
    if ran_out(error):
        return "not enough memory; free some, allow more, or use a smaller model or batch, or an ONNX export"
    if isinstance(error, OSError) and error.strerror and (error.filename or error.errno in DISK_ERRNOS):
        return printable(f"{error.strerror}: {error.filename or 'while writing'}")
    return None


def missing_extra(need: str, extra: str) -> str:
    """Return the error message for a package that is not installed, with the command that installs it.

    Args:
        need: what needs which package, such as ``the web page needs Gradio``.
        extra: a key of ``[project.optional-dependencies]`` in ``pyproject.toml``.
    """
    in_clone, from_wheel = install_lines(extra)
    return f"{need}: {in_clone} in a clone of {DISTRIBUTION}, or {from_wheel}"


def install_lines(extra: str = "") -> tuple[str, str]:
    """Return the commands that install this project: in a clone of it, and from its wheel.

    Both name a place and not `DISTRIBUTION` alone: the project is on no package index, where anyone may take the name.

    Args:
        extra: a key of ``[project.optional-dependencies]`` in ``pyproject.toml``, to be installed too.
    """
    wheel = f"{DISTRIBUTION.replace('-', '_')}-{VERSION}-py3-none-any.whl"
    if not extra:
        return "pip install -e .", f"pip install {wheel}"
    return f"pip install -e '.[{extra}]'", f"pip install '{wheel}[{extra}]'"


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type if the message is empty; at most 200 characters."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]


def printable(text: str) -> str:
    """Escape characters that would control a terminal, such as line feeds and escape sequences."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def ran_out(error: BaseException | None) -> bool:
    """Return whether an error, or its cause, means that memory ran out."""
    if error is None or isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return error is not None
    return bool(OUT_OF_MEMORY.search(str(error))) or ran_out(error.__cause__)
