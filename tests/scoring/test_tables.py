"""Tables to copy: LaTeX and Markdown show every row name unchanged."""

import shutil
import subprocess

import pytest

from colorize.scoring.result import Result
from colorize.scoring.tables import latex, latex_text, markdown, markdown_text


def result_of(*names: str) -> Result:
    row = {"kind": "folder", "images": 3, "scores": {"l1": 0.1}, "ci95": {"l1": [0.09, 0.11]}}
    protocol = {"name": "coco", "about": "", "resampling": "", "lightness": "", "rounding": ""}
    return Result(protocol, {"images": 3, "list": "0" * 64}, dict.fromkeys(names, row))


def test_signs_of_latex_are_spelled_out() -> None:
    text = r"50% of a_b & c#1 $x^2$ {~\*}<|>"
    assert latex_text(text) == (
        r"50\% of a\_b \& c\#1 \$x\textasciicircum{}2\$ \{\textasciitilde{}\textbackslash{}$^*$\}"
        r"\textless{}\textbar{}\textgreater{}"
    )


def test_a_row_that_begins_with_a_bracket_is_no_argument_of_the_line_before() -> None:
    assert "\n{[}2pt] & 0.1" in latex(result_of("first", "[2pt]"))


@pytest.mark.slow
def test_latex_takes_the_table(tmp_path) -> None:
    if not shutil.which("pdflatex"):
        pytest.skip("no pdflatex on PATH")
    body = latex(result_of("[2pt]", r"50% of a_b & c#1 $x^2$ {~\*}<|>"))
    page = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{body}\end{{document}}"
    (tmp_path / "page.tex").write_text(page)
    subprocess.run(["pdflatex", "-halt-on-error", "page.tex"], cwd=tmp_path, check=True, capture_output=True)


def test_a_name_is_one_cell_of_markdown_and_no_markup() -> None:
    table = markdown(result_of("a|b <i>*c*</i>\nd_e __f__"))
    assert r"| a\|b \<i\>\*c\*\</i\> d_e \_\_f\_\_ | 3 | 0.1 [0.09, 0.11] |" in table
    assert markdown_text("deoldify_v2") == "deoldify_v2"
