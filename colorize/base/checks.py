"""Check values that a user gave: return the value, or raise one line that names it and what would do."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from colorize.base.claims import told
from colorize.base.errors import UserError


def at_least(name: str, value: Any, least: float, *, whole: bool = False, also: Sequence[Any] = ()) -> Any:
    """Check that a value is a finite number of at least ``least``.

    Args:
        name: of the value, as the user types it.
        value: what was given.
        least: the smallest that will do.
        whole: an integer is needed.
        also: other values that will do, such as ``None`` or ``auto``.
    Raises:
        UserError: naming the value and the range.
    """
    fits = _is_number(value, whole) and value >= least
    return _checked(name, value, fits, f"{_kind(whole)} of at least {least:g}", also)


def within(
    name: str, value: Any, low: float, high: float, ends: str = "[]", *, whole: bool = False, also: Sequence[Any] = ()
) -> Any:
    """Check that a value is a finite number of an interval.

    Args:
        name: of the value, as the user types it.
        value: what was given.
        low: one end of the interval.
        high: the other.
        ends: ``[`` and ``]`` for an end that belongs to it, ``(`` and ``)`` for one that does not.
        whole: an integer is needed.
        also: other values that will do.
    Raises:
        UserError: naming the value and the interval.
    """
    inside = _is_number(value, whole) and low <= value <= high
    fits = inside and (ends[0] == "[" or value != low) and (ends[1] == "]" or value != high)
    first = f"above {low:g}" if ends[0] == "(" else f"of at least {low:g}"
    interval = f"from {low:g} to {high:g}"
    if ends != "[]":
        interval = f"{first} and {'at most' if ends[1] == ']' else 'below'} {high:g}"
    return _checked(name, value, fits, f"{_kind(whole)} {interval}", also)


def above(name: str, value: Any, low: float, *, also: Sequence[Any] = ()) -> Any:
    """Check that a value is a finite number above ``low``; arguments as in `at_least`."""
    return _checked(name, value, _is_number(value, False) and value > low, f"{_kind(False)} above {low:g}", also)


def one_of(name: str, value: Any, choices: Iterable[Any]) -> Any:
    """Check that a value is one of several.

    Raises:
        UserError: naming the value and the choices.
    """
    choices = list(choices)
    if value not in choices:
        raise UserError(f"unknown {name} {told(value)}; choose one of {choices}")
    return value


def true_or_false(name: str, value: Any, *, also: Sequence[Any] = ()) -> Any:
    """Check that a value is a boolean: to Python any text is true, ``no`` as well.

    Raises:
        UserError: naming the value.
    """
    return _checked(name, value, isinstance(value, bool), "true or false", also)


def _is_number(value: Any, whole: bool) -> bool:
    return isinstance(value, int if whole else int | float) and not isinstance(value, bool) and math.isfinite(value)


def _kind(whole: bool) -> str:
    return "a whole number" if whole else "a number"


def _checked(name: str, value: Any, fits: bool, needed: str, also: Sequence[Any]) -> Any:
    if not fits and value not in also:
        others = "".join(f"{'null' if other is None else other} or " for other in also)
        raise UserError(f"{name} must be {others}{needed}; got {told(value)}")
    return value
