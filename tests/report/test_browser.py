"""The report in a browser: offline, on a phone, light and dark, with mouse and keyboard."""

import json
import re

import numpy as np
import pytest

from colorize.report import write_report
from colorize.report.page import SCORES
from tests.fake_runs import write_run, write_strategies

PHONE = {"width": 390, "height": 844}


@pytest.fixture
def tab(browser, sweep):
    """Open the page from disk; nothing is asked of a network, and nothing goes wrong."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, color_scheme="light")
    tab, asked, wrong = context.new_page(), [], []
    context.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.goto((sweep / "report.html").as_uri())
    tab.wait_for_function("document.documentElement.dataset.drawn")
    yield tab
    context.close()
    assert {url for url in asked if not url.startswith("data:")} == {(sweep / "report.html").as_uri()}
    assert wrong == []


@pytest.mark.slow
def test_metric_and_cost_are_chosen_and_the_table_goes_with_the_metric(browser, tmp_path) -> None:
    write_strategies(tmp_path)
    tab = browser.new_page()
    tab.goto(write_report(tmp_path).as_uri())
    tab.wait_for_function("document.documentElement.dataset.drawn")
    section = tab.locator("#tradeoffs")
    section.get_by_role("combobox", name="Cost").select_option("images seen")
    section.get_by_role("combobox", name="Metric").select_option("val/psnr")
    tab.wait_for_function("document.querySelector('#tradeoff .ytitle').textContent === 'val/psnr'")
    assert section.locator(".xtitle").text_content() == "images seen"
    assert section.locator("caption:visible").all_text_contents()[0].startswith("Mean val/psnr")
    assert section.locator("table:visible").count() == 1
    tab.close()


COLORS = """() => [getComputedStyle(document.body).backgroundColor,
    ...[...document.querySelectorAll(".xtick text, .ytitle")].map(text => getComputedStyle(text).fill)]"""


@pytest.mark.slow
def test_every_plot_is_drawn(tab) -> None:
    empty = "all => all.filter(plot => !plot.querySelector('.plot-container .trace')).map(plot => plot.dataset.figure)"
    assert tab.locator(".plot").count() == 6  # ranking, two factors, three of curves
    assert tab.locator(".plot").evaluate_all(empty) == []


@pytest.mark.slow
def test_every_number_is_on_a_screen_of_1200_pixels(browser, tmp_path) -> None:
    for number in range(2):
        words = ["generator=encoder_unet", "generator.encoder=tf_efficientnet_lite0", "stabilizer=[spectral_norm,ema]"]
        run = write_run(tmp_path / str(number), [*words, f"max_minutes={number + 1}0"], 0.08)
        summary = json.loads((run / "summary.json").read_text())
        summary["metrics"] |= dict.fromkeys(set(SCORES) - {"val/l1"}, 0.12345)
        (run / "summary.json").write_text(json.dumps(summary))
    tab = browser.new_page(viewport={"width": 1200, "height": 900})
    tab.goto(write_report(tmp_path).as_uri())
    wide = "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.ariaLabel)"
    assert tab.locator(".scroller:not(.strips)").evaluate_all(wide) == []
    tab.close()


@pytest.mark.slow
def test_a_legend_hides_curves_of_its_own_data_set(browser, tmp_path) -> None:
    for number, data in enumerate(("scenes", "scenes", "coco", "coco")):
        run = write_run(tmp_path / str(number), [f"data={data}", f"lr={number + 1}e-4"], 0.08)
        config = json.loads((run / ".hydra/config.yaml").read_text())
        (run / ".hydra/config.yaml").write_text(json.dumps(config | {"data": {"name": data}}))
    tab = browser.new_page(viewport={"width": 1200, "height": 900})
    tab.goto(write_report(tmp_path).as_uri())
    tab.wait_for_function("document.documentElement.dataset.drawn")
    shown = "plots => plots.map(plot => plot.data.filter(trace => trace.visible !== false).length)"
    before = tab.locator(".curves").evaluate_all(shown)
    tab.locator(".data-set").nth(1).locator("[data-group]").first.click()
    after = tab.locator(".curves").evaluate_all(shown)
    half = len(before) // 2
    assert after[:half] == before[:half] and all(a < b for a, b in zip(after[half:], before[half:], strict=True))
    tab.close()


@pytest.mark.slow
def test_a_phone_needs_no_sideways_scrolling(tab) -> None:
    tab.set_viewport_size(PHONE)
    tab.wait_for_function("[...document.querySelectorAll('.main-svg')].every(svg => svg.clientWidth <= innerWidth)")
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.slow
def test_dark_is_another_page_and_the_button_goes_back(tab) -> None:
    light = tab.evaluate(COLORS)
    tab.emulate_media(color_scheme="dark")
    tab.wait_for_function(
        f"light => {{ const now = ({COLORS})(); return now.every((c, k) => c !== light[k]) }}", arg=light
    )
    tab.get_by_role("button", name="Switch between light and dark").press("Enter")
    tab.wait_for_function(f"light => ({COLORS})().join() === light.join()", arg=light)


@pytest.mark.slow
def test_a_configuration_can_be_hidden_and_stays_so_in_another_quantity(tab) -> None:
    lines = tab.locator("#curves-1 .scatterlayer .trace")
    before = lines.count()
    tab.get_by_role("button", name="gan_mode=hinge lr=4e-4").press("Enter")
    tab.wait_for_function(
        "n => document.querySelectorAll('#curves-1 .scatterlayer .trace').length === n", arg=before - 2
    )
    tab.get_by_label("Quantity").first.select_option("val/psnr")
    tab.wait_for_function("document.querySelector('#curves-1 .ytitle').textContent === 'val/psnr'")
    assert lines.count() == before - 2
    tab.get_by_role("button", name="none", exact=True).click()
    tab.wait_for_function("document.querySelectorAll('.curves .scatterlayer .trace').length === 0")


@pytest.mark.slow
def test_a_mark_tells_the_evidence(tab) -> None:
    mark = "plot => plot.data.filter(trace => trace.customdata).map(trace => trace.customdata[0])"
    told = [text for text in tab.locator("#curves-2").evaluate(mark) if "D wins" in text]
    assert len(told) == 2  # both seeds
    assert told[0].startswith("epoch 3, batch 100: <b>D wins</b><br>D_acc_real 0.99") and "<i>warned</i>" in told[0]
    assert "&lt;of&gt;" in told[0]


@pytest.mark.slow
def test_a_command_can_be_copied(tab) -> None:
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.get_by_role("button", name="Copy").first.click()
    tab.get_by_role("button", name="Copied").wait_for()
    assert tab.evaluate("navigator.clipboard.readText()").startswith("python train.py data=scenes image_size=64 ")


@pytest.mark.slow
def test_all_text_stands_out_in_light_and_in_dark(tab) -> None:
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        for ink in ("--ink", "--soft", "--accent", "--ill"):
            assert contrast(tab, ink, "--paper") >= 4.5, (scheme, ink)  # WCAG 2.2, level AA


def contrast(tab, *names: str) -> float:
    def luminance(name: str) -> float:
        tab.evaluate("name => { document.querySelector('h1').style.color = `var(${name})` }", name)
        color = tab.locator("h1").evaluate("at => getComputedStyle(at).color")
        channels = np.array([int(value) for value in re.findall(r"\d+", color)[:3]]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    low, high = sorted(map(luminance, names))
    return (high + 0.05) / (low + 0.05)
