"""Texts of the page; its styles are in ``page.css``, its script in ``page.js``."""

import html
from importlib.resources import files

TITLE = "# colorize\nDrop a black-and-white photograph: it comes back in color, at its own size and sharpness."
NOTHING = "No photograph yet: drop one, or choose an example."
WORKING_SIZES = [("as trained", 0), *((str(size), size) for size in (128, 256, 384, 512, 768, 1024))]
FONTS = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # no downloads
CSS = (files("colorize.web") / "page.css").read_text()
SCRIPT = (files("colorize.web") / "page.js").read_text()


def line(said: str, kind: str = "") -> str:
    """Return a status line as HTML; the kind ``wrong`` is shown in red."""
    return f'<p role="status" class="{kind}">{html.escape(said)}</p>'
