"""Build the report of `colorize score` and `colorize bias`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from colorize.bias.tables import read_summary
from colorize.report.judged.bias import bias_sections, categories_of
from colorize.report.judged.cost import cost_table
from colorize.report.judged.pictures import browser
from colorize.report.judged.results import read_scores
from colorize.report.judged.scores import score_sections
from colorize.report.templates import filled, page


def render(scores: Sequence[Path], biases: Sequence[Path], out: Path, megabytes: float) -> str:
    """Return the page of results as self-contained HTML.

    Args:
        scores: Folders of `colorize score`, compared in one table.
        biases: Folders of `colorize bias`.
        out: Path of the page; links to pictures are relative to its folder.
        megabytes: Maximum size of the thumbnails in the page.
    Raises:
        UserError: If a folder has no result, or results cannot be compared.
    """
    values: dict[str, Any] = {"scores": None, "browser": None, "cost": None}
    if scores:
        found = read_scores(scores)
        pictures = browser(found, out, megabytes, _categories(biases))
        values |= {"scores": score_sections(found), "browser": pictures, "cost": cost_table(found.methods)}
    values["biases"] = [
        bias_sections(read_summary(folder), f"bias-{place}-") for place, folder in enumerate(biases, start=1)
    ]
    parts = [{"at": "", "title": "", "html": filled("judged.html", values)}]
    title = " · ".join(dict.fromkeys(str(folder) for folder in (*scores, *biases)))
    return page(title, parts, scripts=["pictures.js"])


def _categories(biases: Sequence[Path]) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {}
    for folder in biases:
        for file, names in categories_of(folder).items():
            found.setdefault(file, set()).update(names)
    return found
