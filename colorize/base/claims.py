"""What a model's file says of the model, checked before anything is built or allocated for it; needs no torch."""

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_SIDE = 4096  # pixels, of what a network sees: `colorize.inference.colorizer.Options` allows no more either
MAX_GAIN = 16  # of chroma; validation looks for one up to 8
MAX_DEPTH = 20  # of lists in lists; configs have 5
MAX_VALUES = 100_000  # in all; configs have about 300
MAX_INT = 2**53  # the largest that JSON readers agree on
MAX_BYTES = 16 << 20  # of JSON


def check_claims(generator: Any, image_size: Any, about: Any) -> None:
    """Check the types, sizes and ranges of what `colorize.checkpoint.Model` holds beside its weights.

    What a network makes of its arguments, `colorize.base.registry.Registry` and the network check.

    Raises:
        ValueError: if one will not do; it says in a line which.
    """
    for name, value in (("generator", generator), ("image_size", image_size), ("about", about)):
        check_plain(name, value)
    _check(isinstance(generator, dict) and isinstance(generator.get("name"), str), "it names no generator")
    check_whole("image_size", image_size, 1, MAX_SIDE)
    _check(isinstance(about, dict), "about is no dictionary")
    for name in ("epochs", "batches"):
        if about.get(name) is not None:
            check_whole(name, about[name], 0, MAX_INT)
    gain = about.get("gain", 1.0)
    fits = type(gain) in (int, float) and 0 < gain <= MAX_GAIN
    _check(fits, f"gain must be a number above 0, at most {MAX_GAIN}, not {told(gain)}")
    trained_on = about.get("trained_on")
    _check(trained_on is None or type(trained_on) is str, f"trained_on must be a digest, not {told(trained_on)}")
    metrics = _part(about, "metrics")
    _check(all(type(value) in (int, float) for value in metrics.values()), "metrics holds more than numbers")
    _part(_part(_part(about, "provenance"), "config"), "data")


def check_whole(name: str, value: Any, least: int, most: int) -> None:
    """Check that a value is a whole number of a range.

    Raises:
        ValueError: if it is not.
    """
    fits = type(value) is int and least <= value <= most
    _check(fits, f"{name} must be a whole number from {least} to {most}, not {told(value)}")


def check_plain(name: str, value: Any) -> None:
    """Check that a value is what JSON holds: not too deep, not too much, with names that are text.

    Raises:
        ValueError: if it is not.
    """
    seen, left = 0, [(value, 0)]
    while left:  # no recursion: what is too deep is what is looked for
        value, depth = left.pop()
        inner: list[Any] = []
        if isinstance(value, dict):
            _check(all(isinstance(key, str) for key in value), f"{name} has names that are no text")
            inner = list(value.values())
        elif isinstance(value, list | tuple):
            inner = list(value)
        elif type(value) is int:
            _check(abs(value) <= MAX_INT, f"{name} holds a number that is too large")
        else:
            _check(value is None or type(value) in (bool, float, str), f"{name} holds {type(value).__name__}")
        seen += 1 + len(inner)
        _check(depth < MAX_DEPTH and seen < MAX_VALUES, f"{name} is too deep or too much")
        left += [(part, depth + 1) for part in inner]


def read_json(path: Path) -> Any:
    """Read a small JSON file.

    Raises:
        ValueError: if it is none, or too large.
        OSError: if it cannot be read.
    """
    _check(path.stat().st_size <= MAX_BYTES, f"{path.name} is larger than {MAX_BYTES >> 20} MiB")
    return from_json(path.name, path.read_bytes())


def from_json(name: str, text: str | bytes) -> Any:
    """Return what a JSON text holds.

    Raises:
        ValueError: if it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{name} is no JSON") from None


def told(value: Any) -> str:
    """Return a value as a line can show it, whatever its size."""
    if type(value) is int and abs(value) > MAX_INT:
        return "a number that is too large"
    return reprlib.repr(value)


def _part(of: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a dictionary in a dictionary, which may lack it."""
    found = of.get(name, {})
    _check(isinstance(found, dict), f"{name} is no dictionary")
    return found


def _check(fits: bool, reason: str) -> None:
    if not fits:
        raise ValueError(reason)
