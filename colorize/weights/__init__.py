"""Models that come with the package, by name: a folder each, as ``colorize export`` writes them. Needs no torch."""

from pathlib import Path

DEFAULT = "photographs"  # what colors unless a checkpoint is named
SHIPPED = {DEFAULT: Path(__file__).parent / DEFAULT}


def located(name: str | Path) -> Path:
    """Return the folder of a shipped model by its name, and any other name as a path.

    A folder of one's own that has such a name is ``./photographs``.
    """
    return SHIPPED.get(name) or Path(name) if isinstance(name, str) else name
