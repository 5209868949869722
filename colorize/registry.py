"""Name to class, with one helpful error when the name or an argument does not exist."""

import inspect
from collections.abc import Callable
from typing import Any

from colorize.errors import UserError


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
        try:
            inspect.signature(entry).bind(**kwargs)
        except TypeError as error:
            takes = ", ".join(inspect.signature(entry).parameters)
            raise UserError(f"{self.kind} {name!r}: {error}; it takes {takes}") from None
        return entry(**kwargs)
