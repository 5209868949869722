"""Models that ship with the package, by name: each a folder as written by ``colorize export``. Needs no torch."""

from pathlib import Path

DEFAULT = "photographs"  # used if no checkpoint is given
SHIPPED = {DEFAULT: Path(__file__).parent / DEFAULT}


def located(name: str | Path) -> Path:
    """Return the folder of a shipped model, or any other name as a path.

    To name a local folder called ``photographs``, write ``./photographs``.
    """
    return SHIPPED.get(name) or Path(name) if isinstance(name, str) else name
