"""Format a result as Markdown and LaTeX tables."""

import re
from collections.abc import Mapping
from typing import Any

from colorize import vocabulary
from colorize.scoring.methods import GREY, TRUTH
from colorize.scoring.result import Result
from colorize.vocabulary import ARROWS, SCORES, score_of

PLAIN = tuple(name for name in SCORES if name not in ("colorfulness", "delta_colorfulness_hs", "gain"))
AT_CF = tuple(f"{name}{vocabulary.AT_CF}" for name in ("gain", "l1", "psnr", "ssim", "delta_e", "out_of_gamut"))
HEADINGS = {name: (score_of(name).label, ARROWS[score_of(name).better]) for name in (*PLAIN, *AT_CF)}
PAIRED = ("l1", "psnr", "delta_e", "lpips_vgg", "recognizability", "delta_colorfulness", "l1_at_cf", "delta_e_at_cf")
SPECIAL = {
    "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "Δ": r"$\Delta$", "↓": r"$\downarrow$",
    "↑": r"$\uparrow$", "*": r"$^*$", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "[": "{[}",  # after the end of a row it would begin an optional argument
}  # fmt: skip
SPECIAL_IN_MARKDOWN = re.compile(r"[\\|*`\[\]<>]|(?<![^\W_])_|_(?![^\W_])")  # underscores inside words are not special
LEFT_OUT = ("missing", "damaged", "extra", "doubled", "resized", "grey", "trained on")
NAMED = 3  # maximum images listed in a line


def markdown(result: Result) -> str:
    """Format the scores, the scores at the truth's CF, paired differences, checks and notes as Markdown."""
    truth, protocol = result.truth, result.protocol
    lines = [
        f"Protocol {protocol['name']}: {protocol['about']}.",
        f"{truth['images']} images, list {truth['list'][:16]}; resampling {protocol['resampling']}; "
        f"lightness {protocol['lightness']}; rounding {protocol['rounding']}. In brackets: 95% bootstrap intervals.",
        "",
        *_table(result.rows, PLAIN),
        "",
        "At the truth's CF, with one gain of chroma for all images of a row:",
        "",
        *_table({name: row for name, row in result.rows.items() if name not in (GREY, TRUTH)}, AT_CF),
    ]
    if result.paired:
        lines += ["", "Paired differences (first minus second) on the same images:", "", *_paired(result)]
    lines += ["", *(f"- {'as expected' if check['passed'] else '**NOT AS EXPECTED**'}: {check['check']}"
                    for check in result.checks)]  # fmt: skip
    return "\n".join([*lines, *(f"- {note}" for note in notes(result)), ""])


def notes(result: Result) -> list[str]:
    """Return one line for each caveat of the scores."""
    lines = list(result.notes)
    for where, found in (("the truth", result.truth), *result.rows.items()):
        for what in LEFT_OUT:
            if found.get(what):
                images = list(found[what])
                named = ", ".join(images[:NAMED]) + (", ..." if len(images) > NAMED else "")
                lines.append(f"{where}: {len(images)} {what} ({named})")
        lines += [f"{where}: {line}" for line in found.get("left out", [])]
    return lines


def latex(result: Result) -> str:
    """Format the scores as a LaTeX ``tabular`` for booktabs; the `best` method is bold."""
    names = [name for name in PLAIN if any(name in row["scores"] for row in result.rows.values())]
    heads = " & ".join(latex_text(" ".join(filter(None, HEADINGS[name]))) for name in names)
    lines = [
        f"% protocol {result.protocol['name']}, {result.truth['images']} images, list {result.truth['list'][:16]}",
        rf"\begin{{tabular}}{{l{'r' * len(names)}}}", r"\toprule", rf"Method & {heads} \\", r"\midrule",
    ]  # fmt: skip
    bold = {name: best(result, name) for name in names}
    for row, content in result.rows.items():
        cells = []
        for name in names:
            text = f"{content['scores'][name]:.4g}" if name in content["scores"] else "--"
            cells.append(rf"\textbf{{{text}}}" if row == bold[name] else text)
        lines.append(f"{latex_text(row)} & {' & '.join(cells)} \\\\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def best(result: Result, score: str) -> str | None:
    """Return the method that is significantly better than every other in paired differences; None if there is none."""
    direction = HEADINGS[score][1]
    methods = [name for name, row in result.rows.items() if row["kind"] != "reference"]
    if not direction or len(methods) < 2:
        return None
    better: dict[str, int] = dict.fromkeys(methods, 0)
    for pair in result.paired:
        if pair["score"] == score and pair["first"] in better and pair["second"] in better:
            low, high = pair["ci95"]
            if low > 0 or high < 0:
                better[pair["first"] if (high < 0) == (direction == "↓") else pair["second"]] += 1
    return next((name for name, wins in better.items() if wins == len(methods) - 1), None)


def _table(rows: Mapping[str, Mapping[str, Any]], names: tuple[str, ...]) -> list[str]:
    kept = [name for name in names if any(name in row["scores"] for row in rows.values())]
    heads = [" ".join(filter(None, HEADINGS[name])) for name in kept]
    lines = ["| | images | " + " | ".join(heads) + " |", "|---" * (len(kept) + 2) + "|"]
    for name, row in rows.items():
        lines.append(
            f"| {markdown_text(name)} | {row['images']} | " + " | ".join(_cell(row, score) for score in kept) + " |"
        )
    return lines


def _cell(row: Mapping[str, Any], score: str) -> str:
    if score not in row["scores"]:
        return ""
    ends = row["ci95"].get(score)
    return f"{row['scores'][score]:.4g}" + (f" [{ends[0]:.4g}, {ends[1]:.4g}]" if ends else "")


def _paired(result: Result) -> list[str]:
    kept = [pair for pair in result.paired if pair["score"] in PAIRED]
    lines = ["| first | second | score | difference | smallest detectable difference |", "|---|---|---|---|---|"]
    for pair in kept:
        low, high = pair["ci95"]
        told = f"{pair['difference']:+.4g} [{low:+.4g}, {high:+.4g}]"
        rows = " | ".join(markdown_text(pair[row]) for row in ("first", "second"))
        lines.append(f"| {rows} | {pair['score']} | {told} | {pair['detectable']:.2g} |")
    return lines


def latex_text(text: str) -> str:
    """Escape a text, such as a folder name, for LaTeX."""
    return "".join(SPECIAL.get(character, character) for character in _one_line(text))


def markdown_text(text: str) -> str:
    """Escape a text for Markdown, including table cells."""
    return SPECIAL_IN_MARKDOWN.sub(r"\\\g<0>", _one_line(text))


def _one_line(text: str) -> str:
    return re.sub(r"\s", " ", text)
