"""From results of `colorize score` and `colorize bias` to the page."""

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
    """Return the page of these results.

    Args:
        scores: folders of `colorize score`, which stand side by side.
        biases: folders of `colorize bias`.
        out: where the page will lie; links to pictures are seen from there.
        megabytes: of thumbnails in the page, at most.
    Raises:
        UserError: if a folder holds no result, or results do not stand side by side.
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
