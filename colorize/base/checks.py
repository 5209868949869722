"""Check values given by a user: return the value, or raise a one-line error that says what is allowed."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from colorize.base.claims import short_repr
from colorize.base.errors import UserError


def at_least(name: str, value: Any, least: float, *, whole: bool = False, also: Sequence[Any] = ()) -> Any:
    """Check that a value is a finite number and at least ``least``.

    Args:
        name: name of the value, as the user types it.
        value: the value to check.
        least: smallest allowed value.
        whole: require an integer.
        also: other allowed values, such as ``None`` or ``auto``.
    Raises:
        UserError: if it is not; the message gives the name, the value and the range.
    """
    fits = _is_number(value, whole) and value >= least
    return _checked(name, value, fits, f"{_kind(whole)} of at least {least:g}", also)


def within(
    name: str, value: Any, low: float, high: float, ends: str = "[]", *, whole: bool = False, also: Sequence[Any] = ()
) -> Any:
    """Check that a value is a finite number in an interval.

    Args:
        name: name of the value, as the user types it.
        value: the value to check.
        low: lower end of the interval.
        high: upper end of the interval.
        ends: ``[`` and ``]`` for an inclusive end, ``(`` and ``)`` for an exclusive one.
        whole: require an integer.
        also: other allowed values.
    Raises:
        UserError: if it is not; the message gives the name, the value and the interval.
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
    """Check that a value is one of the choices.

    Raises:
        UserError: if it is not; the message lists the choices.
    """
    choices = list(choices)
    if value not in choices:
        raise UserError(f"unknown {name} {short_repr(value)}; choose one of {choices}")
    return value


def true_or_false(name: str, value: Any, *, also: Sequence[Any] = ()) -> Any:
    """Check that a value is a boolean; Python would treat any non-empty string as true, even ``no``.

    Raises:
        UserError: if it is not.
    """
    return _checked(name, value, isinstance(value, bool), "true or false", also)


def _is_number(value: Any, whole: bool) -> bool:
    return isinstance(value, int if whole else int | float) and not isinstance(value, bool) and math.isfinite(value)


def _kind(whole: bool) -> str:
    return "a whole number" if whole else "a number"


def _checked(name: str, value: Any, fits: bool, needed: str, also: Sequence[Any]) -> Any:
    if not fits and value not in also:
        others = "".join(f"{'null' if other is None else other} or " for other in also)
        raise UserError(f"{name} must be {others}{needed}; got {short_repr(value)}")
    return value
