"""The table of a result, in Markdown and in LaTeX."""

import re
from collections.abc import Mapping
from typing import Any

from colorize.scoring.methods import GREY, TRUTH
from colorize.scoring.result import Result

HEADINGS = {
    "l1": ("L1", "↓"), "psnr": ("PSNR", "↑"), "ssim": ("SSIM", "↑"), "delta_e": ("CIEDE2000", "↓"),
    "lpips_alex": ("LPIPS Alex", "↓"), "lpips_vgg": ("LPIPS VGG", "↓"), "fid": ("FID", "↓"), "kid": ("KID", "↓"),
    "fid_lite2": ("FID Lite2", "↓"), "kid_lite2": ("KID Lite2", "↓"), "recognizability": ("Recognizability", "↑"),
    "colorfulness_abs": ("CF", ""), "delta_colorfulness": ("ΔCF", "↓"),
    "delta_colorfulness_image": ("ΔCF per image", "↓"), "hue_distance": ("Hue distance", "↓"),
    "chroma_spread_ratio": ("Chroma spread", ""), "out_of_gamut": ("Out of gamut", "↓"),
    "lightness_error": ("ΔL*", "↓"), "gain_at_cf": ("Gain", ""), "l1_at_cf": ("L1", "↓"), "psnr_at_cf": ("PSNR", "↑"),
    "ssim_at_cf": ("SSIM", "↑"), "delta_e_at_cf": ("CIEDE2000", "↓"), "out_of_gamut_at_cf": ("Out of gamut", "↓"),
}  # fmt: skip
PLAIN = tuple(name for name in HEADINGS if not name.endswith("_at_cf"))
AT_CF = tuple(name for name in HEADINGS if name.endswith("_at_cf"))
PAIRED = ("l1", "psnr", "delta_e", "lpips_vgg", "recognizability", "delta_colorfulness", "l1_at_cf", "delta_e_at_cf")
SPECIAL = {
    "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "Δ": r"$\Delta$", "↓": r"$\downarrow$",
    "↑": r"$\uparrow$", "*": r"$^*$", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "[": "{[}",  # behind the end of a row it would begin an argument
}  # fmt: skip
SPECIAL_IN_MARKDOWN = re.compile(r"[\\|*`\[\]<>]|(?<![^\W_])_|_(?![^\W_])")  # an underscore inside a word is none
LEFT_OUT = ("missing", "damaged", "extra", "doubled", "resized", "grey", "trained on")
NAMED = 3  # images that a line names


def markdown(result: Result) -> str:
    """Return the scores, the scores at the truth's colorfulness, paired differences, checks and notes."""
    truth, protocol = result.truth, result.protocol
    lines = [
        f"Protocol {protocol['name']}: {protocol['about']}.",
        f"{truth['images']} images, list {truth['list'][:16]}; resampling {protocol['resampling']}; "
        f"lightness {protocol['lightness']}; rounding {protocol['rounding']}. In brackets the 95% bootstrap interval.",
        "",
        *_table(result.rows, PLAIN),
        "",
        "With one gain of chroma for all images of a row, which brings its CF to the truth's:",
        "",
        *_table({name: row for name, row in result.rows.items() if name not in (GREY, TRUTH)}, AT_CF),
    ]
    if result.paired:
        lines += ["", "Paired differences, first less second, on the same images:", "", *_paired(result)]
    lines += ["", *(f"- {'as expected' if check['passed'] else '**NOT AS EXPECTED**'}: {check['check']}"
                    for check in result.checks)]  # fmt: skip
    return "\n".join([*lines, *(f"- {note}" for note in notes(result)), ""])


def notes(result: Result) -> list[str]:
    """Return a line for all that a reader must know beside the numbers."""
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
    """Return the scores as a ``tabular`` for booktabs, the better of two methods in bold where the interval says so."""
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
    """Return the one row that is better than every other method by more than chance, as paired differences tell."""
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
    lines = ["| first | second | score | difference | smallest that can be told |", "|---|---|---|---|---|"]
    for pair in kept:
        low, high = pair["ci95"]
        told = f"{pair['difference']:+.4g} [{low:+.4g}, {high:+.4g}]"
        rows = " | ".join(markdown_text(pair[row]) for row in ("first", "second"))
        lines.append(f"| {rows} | {pair['score']} | {told} | {pair['detectable']:.2g} |")
    return lines


def latex_text(text: str) -> str:
    """Return a text, such as a folder's name, as LaTeX prints it as it is."""
    return "".join(SPECIAL.get(character, character) for character in _one_line(text))


def markdown_text(text: str) -> str:
    """Return a text as Markdown shows it as it is, in a cell of a table too."""
    return SPECIAL_IN_MARKDOWN.sub(r"\\\g<0>", _one_line(text))


def _one_line(text: str) -> str:
    return re.sub(r"\s", " ", text)
