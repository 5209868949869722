"""Fill the templates of pages, with all names escaped."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from colorize.report import words

HERE = files("colorize.report")
FILTERS = ("breakable", "number", "percent", "term", "with_interval")  # of `words`


def filled(template: str, values: Mapping[str, Any]) -> Markup:
    """Render a template of this folder, such as ``sections.html``."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(read),
    )
    environment.filters |= {name: getattr(words, name) for name in FILTERS}
    return Markup(environment.get_template(template).render(values))


def page(title: str, parts: Sequence[Mapping[str, Any]], notes: Sequence[str] = (), scripts: Sequence[str] = ()) -> str:
    """Return a self-contained page.

    Args:
        title: Heading of the page.
        parts: Parts with ``at`` (prefix of ids), ``title`` and ``html``, and ``runs`` if there are several parts.
        notes: Lines below the heading.
        scripts: Additional scripts of this folder.
    """
    values = {
        "folder": title,
        "parts": parts,
        "notes": notes,
        "style": Markup(read("page.css")),
        "script": Markup("\n".join(map(read, ("page.js", *scripts)))),
        "plotly": Markup(get_plotlyjs()),
    }
    return filled("page.html", values)


def read(name: str) -> str:
    """Return the text of a file of this folder."""
    return HERE.joinpath(name).read_text("utf-8")
