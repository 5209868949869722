"""Validate the metadata of a model file before anything is built or allocated from it; needs no torch."""

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_SIDE = 4096  # pixels a side of a network's input, also the limit in `colorize.inference.colorizer.Options`
MAX_GAIN = 16  # chroma gain; validation searches up to 8
MAX_DEPTH = 20  # nesting depth; configs have 5
MAX_VALUES = 100_000  # total number of values; configs have about 300
MAX_INT = 2**53  # largest integer that all JSON readers agree on
MAX_BYTES = 16 << 20  # size of a JSON file


def check_claims(generator: Any, image_size: Any, about: Any) -> None:
    """Check the types, sizes and ranges of the fields of `colorize.checkpoint.Model` other than its weights.

    The generator's own arguments are checked by `colorize.base.registry.Registry` and by the network.

    Raises:
        ValueError: if a field is invalid; the one-line message names it.
    """
    for name, value in (("generator", generator), ("image_size", image_size), ("about", about)):
        check_plain(name, value)
    _check(isinstance(generator, dict) and isinstance(generator.get("name"), str), "it names no generator")
    check_whole("image_size", image_size, 1, MAX_SIDE)
    _check(isinstance(about, dict), "about is not a dictionary")
    for name in ("epochs", "batches"):
        if about.get(name) is not None:
            check_whole(name, about[name], 0, MAX_INT)
    gain = about.get("gain", 1.0)
    fits = type(gain) in (int, float) and 0 < gain <= MAX_GAIN
    _check(fits, f"gain must be a number above 0, at most {MAX_GAIN}, not {short_repr(gain)}")
    trained_on = about.get("trained_on")
    _check(trained_on is None or type(trained_on) is str, f"trained_on must be a digest, not {short_repr(trained_on)}")
    metrics = _part(about, "metrics")
    _check(
        all(type(value) in (int, float) for value in metrics.values()), "metrics contains values that are not numbers"
    )
    _part(_part(_part(about, "provenance"), "config"), "data")


def check_whole(name: str, value: Any, least: int, most: int) -> None:
    """Check that a value is a whole number in a range.

    Raises:
        ValueError: if it is not.
    """
    fits = type(value) is int and least <= value <= most
    _check(fits, f"{name} must be a whole number from {least} to {most}, not {short_repr(value)}")


def check_plain(name: str, value: Any) -> None:
    """Check that a value is plain JSON data of limited depth and size, with string keys.

    Raises:
        ValueError: if it is not.
    """
    seen, left = 0, [(value, 0)]
    while left:  # not recursive: the depth is what is being checked
        value, depth = left.pop()
        inner: list[Any] = []
        if isinstance(value, dict):
            _check(all(isinstance(key, str) for key in value), f"{name} has keys that are not strings")
            inner = list(value.values())
        elif isinstance(value, list | tuple):
            inner = list(value)
        elif type(value) is int:
            _check(abs(value) <= MAX_INT, f"{name} contains a number that is too large")
        else:
            _check(
                value is None or type(value) in (bool, float, str),
                f"{name} contains a value of type {type(value).__name__}",
            )
        seen += 1 + len(inner)
        _check(depth < MAX_DEPTH and seen < MAX_VALUES, f"{name} is nested too deeply or too large")
        left += [(part, depth + 1) for part in inner]


def read_json(path: Path) -> Any:
    """Read a small JSON file.

    Raises:
        ValueError: if it is not JSON, or is too large.
        OSError: if it cannot be read.
    """
    _check(path.stat().st_size <= MAX_BYTES, f"{path.name} is larger than {MAX_BYTES >> 20} MiB")
    return from_json(path.name, path.read_bytes())


def from_json(name: str, text: str | bytes) -> Any:
    """Parse JSON text.

    Raises:
        ValueError: if it is not JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{name} is not valid JSON") from None


def short_repr(value: Any) -> str:
    """Return a value's ``repr``, shortened to fit in a one-line message."""
    if type(value) is int and abs(value) > MAX_INT:
        return "a number that is too large"
    return reprlib.repr(value)


def _part(of: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a nested dictionary, empty if the key is missing."""
    found = of.get(name, {})
    _check(isinstance(found, dict), f"{name} is not a dictionary")
    return found


def _check(fits: bool, reason: str) -> None:
    if not fits:
        raise ValueError(reason)
