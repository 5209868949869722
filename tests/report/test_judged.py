"""The page of scores and bias: numbers match the results, names are escaped, thumbnails have a limit."""

import base64
import html as html_module
import json
import re
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image
from typer.testing import CliRunner

from colorize.base.errors import UserError
from colorize.cli import app
from colorize.report import write_report
from colorize.report.judged.pictures import _sought
from colorize.scoring import read_result, score
from tests.fake_runs import write_run
from tests.judged_results import ODD, ODD_IMAGE, SETUP, Judged

# pycocotools beside numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HEADS = {
    "L1 ↓": "l1", "PSNR ↑": "psnr", "SSIM ↑": "ssim", "CIEDE2000 ↓": "delta_e", "CF": "colorfulness_abs",
    "ΔCF ↓": "delta_colorfulness", "ΔCF per image ↓": "delta_colorfulness_image", "Hue distance ↓": "hue_distance",
    "Chroma spread": "chroma_spread_ratio", "Out of gamut ↓": "out_of_gamut", "ΔL* ↓": "lightness_error",
}  # fmt: skip


@pytest.fixture(scope="module")
def html(judged) -> str:
    return (judged.scores / "report.html").read_text(encoding="utf-8")


def plain(text: str) -> str:
    """Return what a reader sees."""
    return re.sub(r"\s+", " ", html_module.unescape(re.sub(r"<[^>]+>", "", text))).strip()


def section(html: str, name: str) -> str:
    return re.search(rf'<section id="{name}".*?</section>', html, re.DOTALL)[0]


def tables(html: str) -> list[list[list[str]]]:
    """Return the cells of each table."""
    return [
        [[plain(cell) for cell in re.findall(r"<t[hd]\b.*?</t[hd]>", row, re.DOTALL)] for row in
         re.findall(r"<tr\b.*?</tr>", table, re.DOTALL)]
        for table in re.findall(r"<table\b.*?</table>", html, re.DOTALL)
    ]  # fmt: skip


def data_of(html: str, name: str) -> dict:
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', html, re.DOTALL)[1])


def numbers(text: str) -> list[tuple[float, float]]:
    """Return the numbers of a text, each with half of its last digit."""
    found = re.findall(r"[+−]?\d+(?:\.\d+)?", text)
    return [(float(one.replace("−", "-")), 0.5001 * 10.0 ** -len(one.partition(".")[2])) for one in found]


def agrees(text: str, values: list[float]) -> bool:
    """Tell whether a text shows these numbers, rounded."""
    shown = numbers(text)
    return len(shown) == len(values) and all(abs(a - b) <= half for (a, half), b in zip(shown, values, strict=True))


@pytest.mark.parametrize("row", ["faded", ODD, "trained", "grey", "another image's colors"])
def test_the_table_has_the_numbers_of_the_result(judged, html, row) -> None:
    head, *body = tables(section(html, "scores"))[0]
    cells = next(cells for cells in body if cells[0] == row)
    own = judged.result["rows"][row]
    compared = 0
    for name, text in zip(head[1:], cells[1:], strict=True):
        score = HEADS[name]
        if score not in own["scores"]:
            assert text == "–"
        elif "<" in text or text == "0":
            assert own["scores"][score] < 1e-4
        else:
            assert agrees(text, [own["scores"][score], *own["ci95"].get(score, [])]), (score, text)
            compared += 1
    assert compared >= 7


def test_scores_at_the_truths_colorfulness_are_those_of_the_result(judged, html) -> None:
    over, head, *body = tables(section(html, "scores"))[1]
    assert over[-1] == "at the truth's colorfulness, by one gain of chroma"
    cells = next(cells for cells in body if cells[0] == "faded")
    own = judged.result["rows"]["faded"]
    text = cells[head.index("CIEDE2000 ↓")]
    assert agrees(text, [own["scores"]["delta_e_at_cf"], *own["ci95"]["delta_e_at_cf"]])
    assert agrees(cells[head.index("Gain")], [own["scores"]["gain_at_cf"], *own["ci95"]["gain_at_cf"]])


def test_differences_are_those_of_the_result_in_both_directions(judged, html) -> None:
    pair = next(
        pair for pair in judged.result["paired"]
        if pair["score"] == "delta_e" and {pair["first"], pair["second"]} == {"faded", "trained"}
    )  # fmt: skip
    part = section(html, "differences")
    number = re.search(r'value="difference-(\d+)">CIEDE2000 ↓<', part)[1]
    table = next(table for table in re.findall(r"<div class=\"scroller\".*?</div>", part, re.DOTALL)
                 if f'data-with="difference-{number}"' in table)  # fmt: skip
    ((head, *rows),) = tables(table)
    first = 1 if pair["first"] == "faded" else -1
    for row, column, sign in (("faded", "trained", first), ("trained", "faded", -first)):
        text = next(cells for cells in rows if cells[0] == row)[head.index(column)]
        ends = sorted(sign * end for end in pair["ci95"])
        assert agrees(text.partition("≥")[0], [sign * pair["difference"], *ends])
        assert float(text.partition("≥")[2]) == pytest.approx(pair["detectable"], rel=0.05)


def test_gain_curves_are_those_of_the_result(judged, html) -> None:
    figure = data_of(html, "gain-curve-1")
    curve = judged.result["rows"]["faded"]["curve"]
    faded = figure["data"][0]
    assert faded["y"] == curve["delta_e"][: len(faded["y"])] and len(faded["y"]) >= 4
    assert faded["x"] == curve["colorfulness_abs"][: len(faded["x"])]
    (line,) = figure["layout"]["shapes"]
    assert line["x0"] == line["x1"] == curve["truth"]


def test_the_rare_object_curve_and_its_correlation_are_those_of_the_result(judged, html) -> None:
    model = next(iter(json.loads((judged.bias / "bias.json").read_text())["models"].values()))
    points = model["rare_objects"]["points"]
    trace = data_of(html, "bias-1-rare-of-1")["data"][0]
    shown = dict(zip(trace["text"], zip(trace["x"], trace["y"], strict=True), strict=True))
    assert shown == {point["category"]: (point["frequency"], point["error"]) for point in points}
    head, first, *_ = tables(section(html, "bias-1-rare"))[0]
    told = model["rare_objects"]["correlations"]["error"]
    known = [value for value in told.values() if value is not None]
    assert agrees(first[head.index("error")], known) and known


def test_swatches_are_the_palettes_of_truth_and_outputs(judged, html) -> None:
    palettes = json.loads((judged.bias / "bias.json").read_text())["palettes"]
    category, colors = next(iter(palettes.items()))
    rows = re.findall(r"<tr>.*?</tr>", section(html, "bias-1-colors"), re.DOTALL)
    row = next(row for row in rows if re.search(rf"<th[^>]*>{category}\b", row))
    for bar, name in zip(
        re.findall(r'<span class="swatch".*?</span>', row), ("true", *list(colors[0])[2:]), strict=True
    ):
        assert re.findall(r"background: (#\w+)", bar) == [color[name] for color in colors]
        assert [float(share) for share in re.findall(r"flex-grow: ([\d.]+)", bar)] == pytest.approx(
            [100 * color["share"] for color in colors], abs=0.01
        )


def test_costs_are_those_of_the_run_that_left_the_checkpoint(html) -> None:
    ((head, *rows),) = tables(section(html, "cost"))
    assert [row[0] for row in rows] == ["trained"]
    assert dict(zip(head, rows[0], strict=True)) == {
        "method": "trained", "seconds": "1234", "CPU-seconds": "2345", "parameters of G": "54.41 M",
    }  # fmt: skip
    assert "python train.py lr=1e-4" in section(html, "cost")


def test_names_are_text_on_the_page_and_in_tables_to_copy(html) -> None:
    assert "<b>50%_x" not in html and "<img src=x>" not in html
    markdown, latex = (
        html_module.unescape(code) for code in re.findall(r"<code>(.*?)</code>", section(html, "copy"), re.DOTALL)
    )
    assert r"| \<b\>50%\_x\|&\[1\] | 8 |" in markdown
    assert r"\textless{}b\textgreater{}50\%\_x\textbar{}\&{[}1] & " in latex
    assert ODD_IMAGE in [image["name"] for image in data_of(html, "pictures-data")["images"]]


def test_pictures_that_are_missing_or_damaged_say_so(judged, html) -> None:
    found = data_of(html, "pictures-data")
    column = found["columns"].index("faded")
    images = {image["name"]: image for image in found["images"]}
    missing, damaged = sorted(name for name in images if name != ODD_IMAGE)[1:3]
    assert images[missing]["cells"][column] == [None, None, "no picture"]
    assert images[damaged]["cells"][column][2] == judged.lines("faded")[damaged]["error"]
    assert not images[missing]["scored"] and images[ODD_IMAGE]["scored"]
    assert "faded: 1 missing" in plain(html) and "faded: 1 damaged" in plain(html)


def test_scores_and_categories_of_pictures_are_those_of_the_results(judged, html) -> None:
    found = data_of(html, "pictures-data")
    lines = judged.lines(ODD)
    own = found["values"]["psnr"][found["columns"].index(ODD) - 1]
    names = [image["name"] for image in found["images"]]
    assert own == [pytest.approx(lines[name]["scores"]["psnr"], rel=1e-3) for name in names]
    index = json.loads((judged.root / "scenes/annotations/instances.json").read_text())
    kinds = {kind["id"]: kind["name"] for kind in index["categories"]}
    files = {image["id"]: Path(image["file_name"]).stem for image in index["images"]}
    drawn = {(files[thing["image_id"]], kinds[thing["category_id"]]) for thing in index["annotations"]}
    told = {(image["name"], name) for image in found["images"] for name in image["categories"]}
    assert told and told <= drawn


def test_thumbnails_show_what_was_scored(judged, html) -> None:
    found = data_of(html, "pictures-data")
    image = next(image for image in found["images"] if image["name"] == ODD_IMAGE)
    uri, link, why = image["cells"][found["columns"].index(ODD)]
    shown = Image.open(BytesIO(base64.b64decode(uri.partition(",")[2])))
    own = Image.open(judged.root / ODD / f"{ODD_IMAGE}.png").convert("RGB")
    assert shown.size == own.size and why == ""
    differences = [
        abs(a - b)
        for a, b in zip(
            shown.convert("RGB").resize((1, 1)).getpixel((0, 0)), own.resize((1, 1)).getpixel((0, 0)), strict=True
        )
    ]
    assert max(differences) < 8
    assert (judged.scores / unquote(link)).resolve() == (judged.root / ODD / f"{ODD_IMAGE}.png").resolve()


def thumbnails(html: str) -> list[str]:
    return [cell[0] for image in data_of(html, "pictures-data")["images"] for cell in image["cells"] if cell[0]]


@pytest.mark.parametrize("megabytes", [0, 0.02, 100])
def test_thumbnails_take_as_much_as_was_said(judged, tmp_path, megabytes) -> None:
    page = write_report([judged.scores], tmp_path / "page.html", megabytes=megabytes).read_text()
    size = sum(map(len, thumbnails(page)))
    assert size <= megabytes * 1e6
    cells = [cell for image in data_of(page, "pictures-data")["images"] for cell in image["cells"]]
    links = [link for _, link, _ in cells if link]
    assert len(links) == 10 * 4 - 1 and all((tmp_path / unquote(link)).is_file() for link in links)
    assert {0: size == 0, 0.02: 0 < len(thumbnails(page)) < 38, 100: len(thumbnails(page)) == 38}[megabytes]


def test_the_worst_and_the_best_are_the_first_thumbnails() -> None:
    images = ["a", "b", "c", "d", "e"]
    values = {"l1": [[3.0, 1.0, 2.0, 5.0, None]], "psnr": [[1.0, 2.0, 3.0, 2.5, None]]}
    assert list(_sought(images, values)) == ["b", "d", "a", "c", "e"]


def test_results_of_different_protocols_are_refused_in_one_line(judged, tmp_path) -> None:
    result = read_result(judged.scores)
    replace(result, protocol=result.protocol | {"name": "as-is"}).write(tmp_path)
    done = CliRunner().invoke(app, ["report", str(judged.scores), str(tmp_path), "-o", str(tmp_path / "page.html")])
    assert done.exit_code == 2 and not (tmp_path / "page.html").exists()
    assert (
        done.stderr == "scores of the protocols full-size and as-is cannot be compared: score both under one protocol\n"
    )


def test_runs_have_a_page_of_their_own(judged, tmp_path) -> None:
    write_run(tmp_path / "run", ["seed=0"])
    with pytest.raises(UserError, match=r"run has no result of colorize score or colorize bias"):
        write_report([judged.scores, tmp_path / "run"])


@pytest.mark.parametrize("file", ["scores.json", "bias.json"])
def test_a_damaged_result_is_named(tmp_path, file) -> None:
    (tmp_path / file).write_text('{"index"')
    with pytest.raises(UserError, match=rf"{file} is not a result of colorize"):
        write_report(tmp_path)


def test_rows_of_two_folders_are_compared_as_if_scored_together(judged, tmp_path) -> None:
    root = judged.root
    for name in ("one", "two"):
        shutil.copytree(root / "faded" if name == "one" else root / ODD, tmp_path / name)
    truth = tmp_path / "truth"
    shutil.copytree(root / "scenes/images", truth)
    for path in [*truth.iterdir(), *(tmp_path / "two").iterdir()]:
        good = tmp_path / "one" / f"{path.stem}.png"
        if not good.exists() or good.stat().st_size < 100:
            path.unlink()
    for path in (tmp_path / "one").iterdir():
        if path.stat().st_size < 100:
            path.unlink()
    score(truth, [str(tmp_path / "one")], tmp_path / "a", SETUP)
    score(truth, [str(tmp_path / "two")], tmp_path / "b", SETUP)
    together = score(truth, [str(tmp_path / "one"), str(tmp_path / "two")], tmp_path / "both", SETUP)
    part = section(write_report([tmp_path / "a", tmp_path / "b"]).read_text(), "differences")
    (head, *rows), *_ = tables(part)
    pair = next(pair for pair in together.paired if pair["score"] == "l1" and pair["second"] == "two")
    text = rows[0][head.index("two")]
    assert rows[0][0] == "one" and agrees(text.partition("≥")[0], [pair["difference"], *pair["ci95"]])


def test_without_tables_of_each_image_there_is_a_page_without_pictures(judged, tmp_path) -> None:
    shutil.copy(judged.scores / "scores.json", tmp_path)
    page = write_report(tmp_path).read_text()
    assert 'id="pictures-data"' not in page and "without a per-image table" in plain(page)


def test_folders_that_are_gone_are_named(judged, tmp_path) -> None:
    shutil.copytree(judged.scores, tmp_path / "scores", ignore=shutil.ignore_patterns("pictures"))
    result = read_result(judged.scores)
    rows = {name: row | {"folder": "gone/away"} if "folder" in row else row for name, row in result.rows.items()}
    replace(result, rows=rows, truth=result.truth | {"folder": "gone/truth"}).write(tmp_path / "scores")
    page = write_report(tmp_path / "scores").read_text()
    text = plain(section(page, "pictures"))
    assert "truth: no pictures in gone/truth" in text and "faded: no pictures in gone/away" in text
    assert "trained: no pictures in" in text and thumbnails(page) == []


def test_data_alone_is_a_page(tmp_path, judged) -> None:
    bias = json.loads((judged.bias / "bias.json").read_text())
    data_only = {
        key: value
        for key, value in bias.items()
        if key not in ("models", "palettes", "histograms", "colored", "frequencies")
    }
    (tmp_path / "bias.json").write_text(json.dumps(data_only))
    page = write_report(tmp_path).read_text()
    assert (
        "Color statistics of scenes/instances" in plain(page)
        and 'id="bias-1-colors"' in page
        and 'id="bias-1-rare"' not in page
    )


def with_rows(judged: Judged, count: int, learned: bool) -> dict:
    """Return the result with as many methods, perhaps with scores of networks."""
    result = judged.result
    row = result["rows"]["faded"]
    extra = {"lpips_alex": 0.1234, "lpips_vgg": 0.2345, "fid": 12.5, "kid": 0.0123, "kid_std": 0.0011,
             "fid_lite2": 3.21, "kid_lite2": 0.0456, "kid_lite2_std": 0.002, "recognizability": 0.567}  # fmt: skip
    references = {name: row for name, row in result["rows"].items() if row["kind"] == "reference"}
    methods = {
        f"method number {number}": row | {"scores": row["scores"] | (extra if learned else {})}
        for number in range(count)
    }
    pairs = [
        {"first": f"method number {a}", "second": f"method number {b}", "score": "l1", "difference": -0.01234,
         "ci95": [-0.02345, -0.00123], "detectable": 0.00456}
        for a in range(count) for b in range(a + 1, count)
    ]  # fmt: skip
    return result | {"rows": references | methods, "paired": pairs}


@pytest.mark.parametrize("count", [1, 10])
@pytest.mark.parametrize("learned", [False, True])
def test_one_method_and_ten_with_and_without_networks(judged, tmp_path, count, learned) -> None:
    (tmp_path / "scores.json").write_text(json.dumps(with_rows(judged, count, learned)))
    text = plain(section(write_report(tmp_path).read_text(), "scores"))
    assert text.count("method number") == 2 * count
    assert ("12.50" in text) == ("0.01230 ± 0.0011" in text) == learned
