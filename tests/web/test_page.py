"""The web page in an offline browser, served by a separate process."""

import http.client
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab

from colorize.base.errors import UserError, missing_extra
from colorize.networks import build_generator
from colorize.web import serve
from tests.conftest import ROOT, colorful_image

SIZE = 321, 123
PHONE = {"width": 390, "height": 844}
SERVE = "import sys; from colorize.web import serve; serve(sys.argv[1:], port=0, max_megabytes=1, max_megapixels=1)"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    settings = {"name": "unet", "n_down": 5, "num_filters": 4}
    torch.manual_seed(0)
    weights = {f"generator.{key}": value for key, value in build_generator(**settings).state_dict().items()}
    weights["generator.model.3.bias"] = torch.tensor([0.15, -0.1])  # a visible color
    path = tmp_path_factory.mktemp("runs") / "good/best.ckpt"
    path.parent.mkdir()
    drawn = {"config": {"data": {"name": "scenes"}}}
    settings = {"generator": settings, "image_size": 32, "provenance": drawn}
    torch.save({"state_dict": weights, "hyper_parameters": settings}, path)
    return path


@pytest.fixture(scope="module")
def page(checkpoint, tmp_path_factory):
    """Serve a good and a bad checkpoint until SIGTERM, after which nothing is left."""
    bad = checkpoint.parents[1] / "bad/best.ckpt"
    bad.parent.mkdir()
    bad.write_text("no checkpoint")
    temporary = tmp_path_factory.mktemp("temporary")
    environment = {**os.environ, "TMPDIR": str(temporary), "GRADIO_ALLOWED_PATHS": "/etc"}
    command = [sys.executable, "-c", SERVE, checkpoint, bad]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT) as process:
        url = process.stdout.readline().split()[0]
        (folder,) = temporary.glob("colorize-*")
        yield SimpleNamespace(url=url, folder=folder, examples=sorted(folder.glob("examples/*.jpg")))
        process.terminate()
        assert process.wait(30) == 143
    assert not left(temporary)


@pytest.fixture
def tab(page, browser):
    """Open the page; whatever is done with it, nothing leaves this machine and nothing stays."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, accept_downloads=True)
    asked = []
    context.on("request", lambda request: asked.append(request.url))
    tab = context.new_page()
    tab.goto(page.url)
    tab.get_by_role("button", name="Color", exact=True).wait_for()
    yield tab
    tab.wait_for_timeout(100)
    context.close()
    assert {urlsplit(url).hostname for url in asked if not url.startswith(("data:", "blob:"))} == {"127.0.0.1"}
    for _ in range(100):
        if files_of(page):
            time.sleep(0.1)
    assert not files_of(page)


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "old <i>photo (1).jpg"
    exif = Image.Exif()
    exif[0x010E] = "a description"
    grey = colorful_image(0, *SIZE).convert("L").point(lambda value: 60 + value // 2)  # where the gamut is wide
    grey.save(path, quality=95, exif=exif)
    return path


def left(folder: Path) -> list[Path]:
    """Return what the page or Gradio made, and not torch, where temporary files go."""
    return [*folder.glob("colorize-*"), *folder.glob("gradio")]


def files_of(page) -> set[Path]:
    """Return what lies in the page's folder beside its examples."""
    found = {Path(folder, name) for folder, _, names in os.walk(page.folder) for name in names}
    return found - set(page.examples) - {page.folder / ".lock"}


def upload(tab, path: Path) -> None:
    tab.set_input_files("input[type=file]", path)


def line(tab):
    return tab.locator("#line p")


def after(tab):
    return tab.get_by_alt_text("after")


def save(tab, press=None) -> Path:
    with tab.expect_download() as download:
        button = tab.get_by_role("button", name="Save at full size")
        button.click() if press is None else button.press(press)
    target = Path(download.value.path()).with_name(download.value.suggested_filename)
    download.value.save_as(target)
    return target


def lab(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return rgb2lab(np.asarray(image.convert("RGB")))


@pytest.mark.slow
def test_a_photograph_comes_back_in_color_at_its_own_size(page, tab, photo) -> None:
    upload(tab, photo)
    after(tab).wait_for()
    assert f"{SIZE[0]} × {SIZE[1]} pixels in" in line(tab).inner_text()
    assert "the checkpoint was trained on generated scenes; photographs are" in line(tab).inner_text()
    colored = save(tab)
    assert colored.name.endswith("-colored.jpg") and colored.name.startswith("old ")
    with Image.open(colored) as image:
        assert (image.size, image.format, image.getexif()[0x010E]) == (SIZE, "JPEG", "a description")
    assert np.abs(lab(colored)[..., 1:]).mean() > 5
    difference = np.abs(lab(colored)[..., 0] - lab(photo)[..., 0])
    assert difference.mean() < 0.5 and difference.max() < 4  # of 100: JPEG's loss


@pytest.mark.slow
def test_all_works_by_keyboard(page, tab) -> None:
    names = []

    def to(wanted: str) -> None:
        for _ in range(40):
            tab.keyboard.press("Tab")
            names.append(tab.evaluate(NAME_OF_FOCUSED))
            if wanted in names[-1]:
                return
        pytest.fail(f"{wanted} is not among {names}")

    to("upload")
    to("astronaut")
    tab.keyboard.press("Enter")
    after(tab).wait_for()
    first = after(tab).get_attribute("src")
    to("range slider for Strength")
    tab.keyboard.press("Home")
    to("Color")
    tab.keyboard.press("Enter")
    tab.wait_for_function("first => document.querySelector('#stage img[alt=after]')?.src !== first", arg=first)
    to("Settings")
    tab.keyboard.press("Enter")
    for wanted in ("Working size", "Flip ensemble", "Checkpoint", "Before and after"):
        to(wanted)
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("ArrowLeft")
    tab.wait_for_timeout(100)
    assert tab.get_by_role("slider", name="Before and after").get_attribute("aria-valuenow") == "40"
    to("Save at full size")
    assert np.abs(lab(save(tab, "Enter"))[..., 1:]).max() < 0.5  # strength was 0
    assert "" not in names


NAME_OF_FOCUSED = """() => {
    const {activeElement: at} = document;
    const labels = [...at.labels ?? []].map(label => label.innerText);
    return [at.ariaLabel, ...labels, at.innerText, at.querySelector("img")?.alt].filter(Boolean).join(" ").trim();
}"""


@pytest.mark.slow
def test_a_phone_needs_no_sideways_scrolling(tab, photo) -> None:
    tab.set_viewport_size(PHONE)
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    upload(tab, photo)
    after(tab).wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.slow
def test_what_cannot_be_colored_is_said_in_one_line(page, tab, tmp_path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    upload(tab, tmp_path / "text.jpg")
    tab.get_by_text("text.jpg: cannot identify image file 'text.jpg'", exact=True).wait_for()
    tab.get_by_role("button", name="Clear").click()
    tab.get_by_text("No photograph yet").wait_for()
    Image.new("1", (1001, 1000)).save(tmp_path / "large.png")
    upload(tab, tmp_path / "large.png")
    tab.get_by_text("large.png: 1001x1000 is over 1 megapixels; make it smaller first", exact=True).wait_for()
    assert tab.get_by_role("button", name="Save at full size").is_disabled()
    tab.get_by_role("button", name="Clear").click()
    (tmp_path / "heavy.jpg").write_bytes(bytes(1_100_000))
    upload(tab, tmp_path / "heavy.jpg")
    tab.get_by_text("exceed the maximum allowed size").first.wait_for()


@pytest.mark.slow
def test_a_bad_checkpoint_is_said_in_one_line(page, tab, photo) -> None:
    tab.get_by_role("button", name="Settings").click()
    tab.get_by_label("Checkpoint").click()
    tab.get_by_role("option", name="bad/best.ckpt").click()
    upload(tab, photo)
    tab.locator("#line .wrong").wait_for()
    assert "bad/best.ckpt" in line(tab).inner_text() and "\n" not in line(tab).inner_text()


def answer(page, path: str) -> tuple[int, bytes]:
    """Ask for a path as it stands, which a browser would clean first."""
    with closing(http.client.HTTPConnection("127.0.0.1", urlsplit(page.url).port, timeout=30)) as connection:
        connection.putrequest("GET", path)
        connection.endheaders()
        with connection.getresponse() as response:
            return response.status, response.read()


@pytest.mark.slow
def test_no_other_file_is_served(page, tmp_path) -> None:
    here = Path(__file__).absolute()
    (tmp_path / "secret.txt").write_text("secret")
    assert answer(page, f"/gradio_api/file={page.examples[0]}")[0] == 200
    for path in (
        "/gradio_api/file=/etc/passwd",
        f"/gradio_api/file={page.folder}/../../etc/passwd",
        f"/gradio_api/file={page.folder}/%2e%2e/%2e%2e/etc/passwd",
        f"/gradio_api/file={page.folder}/examples/../../../{here}",
        "/gradio_api/file=../../../../../../etc/passwd",
        f"/gradio_api/file={here}",
        "/gradio_api/file=pyproject.toml",
        f"/gradio_api/file={tmp_path}/secret.txt",
        f"/gradio_api/file={page.folder}",
        "/gradio_api/file=file:///etc/passwd",
        "/file=/etc/passwd",
        "/static/../../../../../../../../etc/passwd",
        "/assets/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/../pyproject.toml",
        "/docs",
    ):
        status, body = answer(page, path)
        assert status in (400, 403, 404) and b"root:" not in body, path


def test_without_gradio_a_line_says_what_to_install(checkpoint, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UserError) as raised:
        serve([checkpoint])
    assert str(raised.value) == missing_extra("the web page needs Gradio", "demo")


def test_the_import_is_light() -> None:
    code = "import colorize.web, sys; sys.exit(bool({'torch', 'gradio'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


MISTAKES = """
import os, socket, sys
from colorize.web import serve
before = dict(os.environ)
good = sys.argv[1]
with socket.create_server(("127.0.0.1", 0)) as taken:
    for given in (
        {"checkpoints": []},
        {"checkpoints": [good + ".gone"]},
        {"checkpoints": [good], "port": taken.getsockname()[1]},
        {"checkpoints": [good], "host": "192.0.2.1"},
    ):
        try:
            serve(**{"port": 0, **given})
        except ValueError as error:
            print(type(error).__name__, error)
page = serve([good], port=0, block=False)
folder = page.uploads.folder
print(folder.is_dir(), os.environ["GRADIO_TEMP_DIR"] == str(folder))
page.close()
print(folder.is_dir(), [name for name, _ in before.items() ^ os.environ.items() if "GRADIO" in name])
"""


@pytest.mark.slow
def test_mistakes_are_said_before_the_page_opens_and_close_leaves_nothing(checkpoint, tmp_path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "GRADIO_TEMP_DIR": "/before"}
    command = [sys.executable, "-c", MISTAKES, checkpoint]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT, check=True).stdout
    expected = [
        "UserError no checkpoint; give one or more",
        f"UserError checkpoint {checkpoint}.gone is not a file",
        "UserError host=127.0.0.1 port=",
        "UserError host=192.0.2.1 port=0: ",  # an address of no machine
        "True True",
        "False []",
    ]
    for got, start in zip(said.splitlines(), expected, strict=True):
        assert got.startswith(start)
    assert not left(tmp_path)
