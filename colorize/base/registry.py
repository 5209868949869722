"""Build objects by name, with a helpful error if the name or an argument does not exist."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from colorize.base.checks import one_of
from colorize.base.claims import short_repr
from colorize.base.errors import UserError

# Annotation to the types that are accepted for it and how errors name them; other annotations are not checked
KINDS = {
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
    str: ((str, Path), "a string"),
    NoneType: ((NoneType,), "null"),
}


class Registry:
    """Builds objects by name, so that configs and checkpoints contain only names and plain data.

    Args:
        kind: what is registered, as the user knows it ("generator"); every error starts with it.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Callable[..., Any]] = {}

    def register(self, name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Return a decorator that registers a class as ``name``."""

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
            UserError: if the name is unknown, or the entry does not accept an argument or its type.
        """
        entry = self._entries[one_of(self.kind, name, self.names)]
        parameters = inspect.signature(entry).parameters
        try:
            inspect.signature(entry).bind(**kwargs)
        except TypeError as error:
            raise UserError(f"{self.kind} {name!r}: {error}; it takes {', '.join(parameters)}") from None
        for key, value in kwargs.items():
            if key in parameters and not _fits(value, parameters[key].annotation):
                wanted = _called(parameters[key].annotation)
                raise UserError(f"{self.kind} {name!r}: {key} must be {wanted}; got {short_repr(value)}")
        return entry(**kwargs)


def _fits(value: Any, annotation: Any) -> bool:
    if isinstance(annotation, UnionType):
        return any(_fits(value, part) for part in get_args(annotation))
    if get_origin(annotation) is Sequence:
        (each,) = get_args(annotation)
        return isinstance(value, list | tuple) and all(_fits(part, each) for part in value)
    if annotation not in KINDS:
        return True
    # A bool is an int to isinstance
    return isinstance(value, KINDS[annotation][0]) and (annotation is bool or not isinstance(value, bool))


def _called(annotation: Any) -> str:
    if isinstance(annotation, UnionType):
        return " or ".join(_called(part) for part in get_args(annotation))
    if get_origin(annotation) is Sequence:
        return f"a list, each item {_called(get_args(annotation)[0])}"
    return KINDS[annotation][1] if annotation in KINDS else annotation.__name__
