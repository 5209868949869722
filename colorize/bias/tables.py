"""Write results as ``bias.json``, CSV tables, and Markdown in ``bias.md``."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from colorize.base.errors import UserError
from colorize.base.files import replacing, write_csv, write_json
from colorize.bias.categories import CURVES
from colorize.bias.intervals import Estimate
from colorize.bias.measures import ABOUT, MEASURES
from colorize.bias.people import SKIN
from colorize.bias.run import Bias
from colorize.bias.skin import typology_angle
from colorize.bias.words import DIGITS, findings, percent, shown
from colorize.scoring.tables import latex_text

SHOWN = ("relative_error", "delta_e", "chroma_ratio", "diversity_ratio", "hue_shift", "jump_ratio")
FILE = "bias.json"
NAMED = 10  # excluded photographs listed in bias.md


def write_results(bias: Bias, out: Path) -> list[str]:
    """Write all result files atomically to a folder; return the findings as sentences."""
    sentences = findings(bias.summary)
    write_json(out / FILE, plain({"findings": sentences, "about": ABOUT} | bias.summary), indent=1)
    _write_rows(out / "data.csv", (_flat(row) for row in bias.summary["data"]["categories"]))
    survey, models = bias.survey, bias.summary.get("models", {})
    if models:
        per_category = ({"method": name} | row for name, model in models.items() for row in model["categories"])
        _write_rows(out / "categories.csv", map(_flat, per_category))
        per_band = ({"method": name} | row for name, model in models.items() for row in model["people"]["bands"])
        _write_rows(out / "people_bands.csv", map(_flat, per_band))
        _write_rows(out / "things.csv", _joined(survey.things, survey.thing_outputs))
        people = _joined(survey.people, survey.people_outputs)
        _write_rows(out / "people.csv", (row | {"ita": typology_angle(row["L"], row["b"])} for row in people))
        blobs = ({"method": name} | row._asdict() for name, rows in survey.blobs.items() for row in rows)
        _write_rows(out / "photographs.csv", blobs)
    _write_text(out / "bias.md", markdown(bias.summary, sentences))
    return sentences


def plain(value: Any) -> Any:
    """Convert nested results to JSON types: `Estimate` to ``value``, ``low``, ``high``, and NaN to null."""
    if isinstance(value, Estimate):
        return {name: plain(each) for name, each in value._asdict().items()}
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def read_summary(folder: Path) -> dict[str, Any]:
    """Read ``bias.json`` and restore `Estimate` and NaN; the inverse of `plain`.

    Raises:
        UserError: If the file is missing or not a result.
    """
    path = folder / FILE if folder.is_dir() else folder
    try:
        summary = json.loads(path.read_text(encoding="utf-8"), object_hook=_estimates)
        if {"index", "photographs", "data", "findings"} <= summary.keys():
            return summary
    except (OSError, ValueError, AttributeError):
        pass
    raise UserError(f"{path} is not a result of colorize bias")


def _estimates(found: dict[str, Any]) -> Any:
    if found.keys() == set(Estimate._fields):
        return Estimate(*(np.nan if value is None else value for value in found.values()))
    return found


def _joined(truths: Sequence[Any], outputs: Mapping[str, Sequence[Any]]) -> Iterable[dict[str, Any]]:
    """Yield a row for each object and method: the truth, then the output; shared fields get the prefix ``output_``."""
    for name, rows in outputs.items():
        for truth, output in zip(truths, rows, strict=True):
            own = output._asdict()
            both = {f"output_{key}" if key in truth._fields else key: value for key, value in own.items()}
            yield {"method": name} | truth._asdict() | both


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten estimates to three columns and palettes to one."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Estimate):
            flat |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
        elif name == "palette":
            flat[name] = " ".join(color["true"] for color in value)
        else:
            flat[name] = value
    return flat


def _write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    rows = list(rows)
    header = list(dict.fromkeys(name for row in rows for name in row))
    write_csv(path, header, ({key: value for key, value in row.items() if value == value} for row in rows))


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def markdown(summary: Mapping[str, Any], sentences: Sequence[str]) -> str:
    """Return the findings and the main tables as Markdown."""
    left_out = summary["left_out"]
    lines = [
        f"# Bias: {summary['index']}",
        "",
        f"{summary['photographs']} photographs, resized to {summary['side']}x{summary['side']}; brackets show the 95% "
        f"bootstrap interval over photographs; commit {summary['commit']}.",
        "",
        *(f"- {line}" for line in (*sentences, *summary["notes"])),
    ]
    if left_out:
        named = "; ".join(f"{each['file']} ({each['reason']})" for each in left_out[:NAMED])
        more = f"; and {len(left_out) - NAMED} more, see bias.json" if len(left_out) > NAMED else ""
        lines.append(f"- Excluded: {len(left_out)} photographs: {named}{more}.")
    lines += ["", "## Data", "", *_table(DATA_HEADER, (_data_row(row) for row in summary["data"]["categories"]))]
    for name, model in summary.get("models", {}).items():
        header = ["category", "seen", "things", "photographs", *SHOWN]
        lines += ["", f"## {name}", "", *_table(header, (_model_row(row) for row in model["categories"]))]
        correlations = [[curve, shown(model["rare_objects"]["correlations"][curve], 2, True)] for curve in CURVES]
        lines += ["", "Rank correlation with the frequency of the category in training:", ""]
        lines += _table(["measure", "correlation"], correlations)
        lines += [
            "",
            "Skin:",
            "",
            *_table(["skin", "people", "photographs", *SKIN], map(_band_row, model["people"]["bands"])),
        ]
    if "models" in summary:
        lines += ["", *(f"- `{name}`: {ABOUT[name]}" for name in MEASURES)]
    return "\n".join([*lines, ""])


def latex(summary: Mapping[str, Any]) -> str:
    """Return the measures of each method over all objects as a LaTeX ``tabular`` for booktabs."""
    heads = " & ".join(latex_text(name) for name in SHOWN)
    lines = [
        rf"\begin{{tabular}}{{l{'r' * len(SHOWN)}}}", r"\toprule", rf"Method & {heads} \\", r"\midrule",
        *(
            f"{latex_text(name)} & {' & '.join(_cell(model['categories'][0], score) for score in SHOWN)} \\\\"
            for name, model in summary["models"].items()
        ),
        r"\bottomrule", r"\end{tabular}", "",
    ]  # fmt: skip
    return "\n".join([f"% {latex_text(summary['index'])}, {summary['colored']} photographs", *lines])


DATA_HEADER = ("category", "photographs", "things", "% of pixels", "a", "b", "chroma", "spread", "lightness explains")


def _data_row(row: Mapping[str, Any]) -> list[str]:
    colors = [f"{row[key]:.1f}" if key in row else "–" for key in ("a", "b", "chroma", "spread")]
    counts = [row["category"], str(row["photographs"]), str(row["things"]), f"{100 * row['share_of_pixels']:.2f}"]
    return [*counts, *colors, percent(row["lightness_explains"])]


def _model_row(row: Mapping[str, Any]) -> list[str]:
    seen = "" if row["frequency"] is None else str(row["frequency"])
    return [row["category"], seen, str(row["things"]), str(row["photographs"]), *(_cell(row, name) for name in SHOWN)]


def _band_row(row: Mapping[str, Any]) -> list[str]:
    values = ["too few" if "too_few" in row else _cell(row, name) for name in SKIN]
    return [row["band"], str(row["people"]), str(row["photographs"]), *values]


def _cell(row: Mapping[str, Any], name: str) -> str:
    return shown(row[name], DIGITS.get(name, 2), signed=name.endswith("shift"))


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [list(header), ["---"] * len(header), *(list(row) for row in rows)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
