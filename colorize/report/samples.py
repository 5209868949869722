"""Embed the samples of each configuration on the same validation images in the page."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO

from PIL import Image

from colorize.grids import GAP, VERSIONS, columns_of
from colorize.report.configurations import Configuration
from colorize.report.runs import Run

MOST = 24  # maximum configurations, which limits the page to a few megabytes
WIDTH = 192  # maximum width of a column in pixels
ROWS = 8  # maximum pictures of a column, as many as training saves


@dataclass(frozen=True)
class Strip:
    """A column of pictures: label, data URI, and size in pixels."""

    label: str
    uri: str
    width: int
    height: int


@dataclass
class Sheet:
    """Strips of the same images: gray, real, and the results of each configuration, best first."""

    grey: Strip
    real: Strip
    generated: list[Strip] = field(default_factory=list)


def sheets(configurations: Sequence[Configuration]) -> list[Sheet]:
    """Arrange the newest samples of the first `MOST` configurations side by side, one sheet for each set of images.

    For each configuration the first run that has a readable picture is shown.
    """
    found: dict[bytes, Sheet] = {}
    shown = 0
    for configuration in configurations:
        columns = next(filter(None, map(_columns, configuration.runs)), None)
        if columns is None or shown == MOST:
            continue
        shown += 1
        real = columns["real"]
        same = repr(real.size).encode() + real.tobytes()  # pictures are lossless, so equal images have equal pixels
        if same not in found:
            found[same] = Sheet(_strip("grey", columns["grey"]), _strip("real", real))
        found[same].generated.append(
            _strip(configuration.label if len(configurations) > 1 else "generated", columns["generated"])
        )
    return list(found.values())


def _columns(run: Run) -> dict[str, Image.Image] | None:
    if run.samples is None:
        return None
    try:
        with Image.open(run.samples) as picture:
            return columns_of(picture.convert("RGB"), VERSIONS)
    except (OSError, ValueError, SyntaxError):  # Pillow raises SyntaxError for some damaged PNGs
        return None


def _strip(label: str, column: Image.Image) -> Strip:
    side = column.width  # training samples are square
    column = column.crop((0, 0, side, min(column.height, ROWS * (side + GAP) - GAP))).convert("RGBA")
    if (column.height + GAP) % (side + GAP) == 0:
        for gap in range(side, column.height, side + GAP):  # white in the file; transparent in the page
            column.paste((0, 0, 0, 0), (0, gap, side, gap + GAP))
    if column.width > WIDTH:
        column = column.resize((WIDTH, round(column.height * WIDTH / column.width)), Image.Resampling.LANCZOS)
    file = BytesIO()
    column.save(file, "WEBP", quality=85)
    uri = "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
    return Strip(label, uri, *column.size)
