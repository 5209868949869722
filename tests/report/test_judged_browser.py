"""The page of scores in a browser: pictures can be sorted and searched, and everything fits the screen."""

import json

import pytest

from colorize.report import write_report
from tests.judged_results import ODD, ODD_IMAGE
from tests.report.test_judged import with_rows

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]

WIDE = "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.ariaLabel)"


@pytest.fixture
def tab(browser, judged):
    """Open the page from disk; nothing is asked of a network, and nothing goes wrong."""
    yield from opened(browser, judged.scores / "report.html")


def opened(browser, page):
    context = browser.new_context(viewport={"width": 1200, "height": 900}, color_scheme="light")
    tab, asked, wrong = context.new_page(), [], []
    context.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.goto(page.as_uri())
    tab.wait_for_function("document.documentElement.dataset.drawn")
    yield tab
    context.close()
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []
    assert wrong == []


def shown(tab) -> list[str]:
    return tab.locator("#cards h3").evaluate_all("all => all.map(one => one.firstChild.textContent)")


def with_models(judged, count: int) -> dict:
    """Return the result of `colorize bias` with as many methods."""
    bias = json.loads((judged.bias / "bias.json").read_text())
    (first, model), *_ = bias["models"].items()
    names = [f"a method number {number}" for number in range(count)]
    palettes = {
        category: [
            {"share": color["share"], "true": color["true"]} | dict.fromkeys(names, color[first]) for color in colors
        ]
        for category, colors in bias["palettes"].items()
    }
    truth = bias["histograms"]["truth"]
    histograms = {"truth": truth} | dict.fromkeys(names, truth)
    return bias | {"models": dict.fromkeys(names, model), "palettes": palettes, "histograms": histograms}


def test_pictures_are_sorted_by_any_score_of_any_method(tab, judged) -> None:
    lines = {name: line["scores"] for name, line in judged.lines(ODD).items()}
    for score in ("delta_e", "psnr"):
        best = sorted(lines, key=lambda name: lines[name][score], reverse=score == "psnr")
        tab.locator("#browse [name=metric]").select_option(score)
        tab.locator("#browse [name=method]").select_option(ODD)
        tab.locator("#browse [name=order]").select_option("best")
        assert shown(tab) == best
        tab.locator("#browse [name=order]").select_option("worst")
        assert shown(tab) == best[::-1]
    first = tab.locator("#cards li").first.locator("figure", has_text=ODD)
    assert float(first.locator("b").text_content()) == pytest.approx(lines[best[-1]]["psnr"], rel=0.01)


def test_pictures_without_a_score_come_last(tab) -> None:
    for order in ("worst", "best"):
        tab.locator("#browse [name=method]").select_option("faded")
        tab.locator("#browse [name=order]").select_option(order)
        last = tab.locator("#cards li").nth(9)
        assert last.locator(".badge").text_content() == "not scored"
        assert last.locator(".nothing").count() == 1


def test_pictures_are_searched_by_name_and_category(tab, judged) -> None:
    tab.locator("#browse [name=search]").fill("ü <IMG")
    assert shown(tab) == [ODD_IMAGE]
    tab.locator("#browse [name=search]").fill("")
    found = json.loads(tab.locator("#pictures-data").text_content())["images"]
    category = next(name for image in found for name in image["categories"])
    having = {image["name"] for image in found if category in image["categories"]}
    tab.locator("#browse [name=category]").select_option(category)
    assert set(shown(tab)) == having and len(having) < len(found)
    assert tab.locator("#found").text_content() == f"{len(having)} of {len(having)} shown, of {len(found)} in all"
    tab.locator("#browse [name=search]").fill("none such")
    assert shown(tab) == []


def test_names_and_scores_of_other_pages_are_not_kept(tab) -> None:
    tab.locator("#browse [name=search]").fill("none such")
    tab.reload()
    tab.wait_for_function("document.documentElement.dataset.drawn")
    assert len(shown(tab)) == 10


def test_more_pictures_are_shown_when_asked_for(browser, judged, tmp_path) -> None:
    page = write_report(judged.scores, tmp_path / "page.html")
    many = page.read_text().replace("const PAGE = 12;", "const PAGE = 4;")
    page.write_text(many)
    for tab in opened(browser, page):
        assert len(shown(tab)) == 4
        for _ in range(2):  # by the keyboard: pictures that load meanwhile move the button
            tab.get_by_role("button", name="Show more").press("Enter")
        assert len(set(shown(tab))) == 10 and tab.get_by_role("button", name="Show more").is_hidden()


def test_linked_pictures_are_shown_from_their_files(browser, judged, tmp_path) -> None:
    for tab in opened(browser, write_report(judged.scores, tmp_path / "page.html", megabytes=0)):
        tab.locator("#browse [name=search]").fill("img")
        tab.wait_for_function("[...document.querySelectorAll('#cards img')].every(one => one.complete)")
        sizes = tab.locator("#cards img").evaluate_all("all => all.map(one => one.naturalWidth)")
        assert sizes == [64] * 4


def test_every_plot_is_drawn(tab) -> None:
    empty = "all => all.filter(plot => !plot.querySelector('.plot-container .trace')).map(plot => plot.dataset.figure)"
    assert tab.locator(".plot").count() == 4  # differences, gains, histograms, rare objects
    assert tab.locator(".plot").evaluate_all(empty) == []


def test_a_table_to_copy_is_copied_as_it_is(tab, judged) -> None:
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.locator("#copy summary", has_text="LaTeX").click()
    tab.locator("#copy details", has_text="LaTeX").get_by_role("button", name="Copy").click()
    tab.get_by_role("button", name="Copied").wait_for()
    assert tab.evaluate("navigator.clipboard.readText()") == (judged.scores / "scores.tex").read_text()


@pytest.mark.parametrize("count", [1, 10])
def test_all_tables_fit_on_a_screen_of_1200_pixels(browser, judged, tmp_path, count) -> None:
    (tmp_path / "scores.json").write_text(json.dumps(with_rows(judged, count, learned=True)))
    (tmp_path / "bias.json").write_text(json.dumps(with_models(judged, count)))
    for tab in opened(browser, write_report(tmp_path)):
        assert tab.locator(".scroller").evaluate_all(WIDE) == []
        tab.set_viewport_size({"width": 390, "height": 844})
        tab.wait_for_function("[...document.querySelectorAll('.main-svg')].every(svg => svg.clientWidth <= innerWidth)")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
