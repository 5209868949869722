"""Data sets, the image store and the data module."""

from typing import Any

__all__ = ["Batch", "ColorizationDataModule"]


def __getattr__(name: str) -> Any:
    """Import the data module on first access, so that processes that only draw or decode images start without torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from colorize.data import module

    return getattr(module, name)
