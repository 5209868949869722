"""Name to class, with one helpful error when the name or an argument does not exist."""

import inspect
from collections.abc import Callable
from typing import Any

from colorize.errors import UserError

NUMBERS = {int: int, float: (int, float)}  # annotation to what may be given for it


class Registry:
    """Builds objects by name, so that configs and checkpoints hold names and plain data only.

    Args:
        kind: what is registered, as the user knows it ("generator"); it opens every error.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Callable[..., Any]] = {}

    def register(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Return a decorator that makes a class available as ``name``."""

        def add(entry: Callable[..., Any]) -> Callable[..., Any]:
            self._entries[name] = entry
            return entry

        return add

    @property
    def names(self) -> list[str]:
        """The registered names, sorted."""
        return sorted(self._entries)

    def build(self, name: str, **kwargs: Any) -> Any:
        """Call the entry ``name`` with ``kwargs``.

        Raises:
            UserError: if the name is unknown or the entry does not take an argument.
        """
        if name not in self._entries:
            raise UserError(f"unknown {self.kind} {name!r}; choose one of {self.names}")
        entry = self._entries[name]
        parameters = inspect.signature(entry).parameters
        try:
            inspect.signature(entry).bind(**kwargs)
        except TypeError as error:
            raise UserError(f"{self.kind} {name!r}: {error}; it takes {', '.join(parameters)}") from None
        for key, value in kwargs.items():
            wanted = NUMBERS.get(parameters[key].annotation) if key in parameters else None
            if wanted and not isinstance(value, wanted):
                raise UserError(f"{self.kind} {name!r}: {key} must be a number; got {value!r}")
        return entry(**kwargs)
