"""Train, compare and use GAN colorization models."""

from typing import TYPE_CHECKING

from colorize.base.version import VERSION

if TYPE_CHECKING:
    from colorize.inference import Colorizer as Colorizer

__version__ = VERSION


def __getattr__(name: str) -> object:
    """Import `Colorizer` on first access, so that ``import colorize`` stays fast."""
    if name == "Colorizer":
        from colorize.inference import Colorizer

        return Colorizer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
