"""Colorizing many files: what is written, kept, and reported."""

import itertools
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from colorize.inference import Colorizer, Options
from colorize.inference.inputs import collect
from colorize.inference.manifest import NAME
from colorize.inference.many import BulkColorizer, Tally
from tests.conftest import colorful_image
from tests.inference.test_colorizer import Stub


class Run:
    """Colors into ``out`` with a stub, and keeps what it said."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "out"
        self.said: list[str] = []
        self.advanced = 0

    def __call__(self, *inputs: Path, overwrite: bool = False, predictor: Stub | None = None) -> Tally:
        found = collect(inputs, self.out)
        self.said = [*found.complaints, *found.skipped]
        self.advanced = 0
        colorizer = Colorizer(predictor or Stub(), batch_size=3)
        return BulkColorizer(colorizer, Options(), self.out, overwrite, self.said.append, self._advance).run(found.jobs)

    def _advance(self) -> None:
        self.advanced += 1

    def written(self) -> dict[str, float]:
        return {path.relative_to(self.out).as_posix(): path.stat().st_mtime_ns for path in files(self.out)}


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME)


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(tmp_path)


@pytest.fixture
def many(tmp_path) -> Path:
    """Make eight good photographs, some of them deep, and two that are none."""
    for number in range(8):
        path = tmp_path / "in" / ("deep/er" if number % 2 else ".") / f"good {number} ü.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        colorful_image(number, 30 + number, 20).convert("L").save(path)
    (tmp_path / "in/empty.jpg").touch()
    (tmp_path / "in/page.jpg").write_text("<html></html>")
    return tmp_path / "in"


def test_every_good_photograph_is_colored_in_its_place(run, many) -> None:
    tally = run(many)
    expected = [path.relative_to(many).as_posix() for path in files(many) if path.suffix == ".png"]
    assert list(run.written()) == expected and len(tally.written) == 8
    for path in files(run.out):
        with Image.open(path) as colored, Image.open(many / path.relative_to(run.out)) as grey:
            assert colored.size == grey.size
            assert np.abs(rgb2lab(np.asarray(colored))[..., 1:]).max() > 3


def test_a_bad_file_is_one_line_and_holds_up_no_other(run, many) -> None:
    tally = run(many)
    assert tally.failed == 2 and run.advanced == 10
    assert [line.split(": ")[0] for line in run.said] == [str(many / "empty.jpg"), str(many / "page.jpg")]
    assert all(len(line.splitlines()) == 1 for line in run.said)


def test_a_second_call_leaves_what_is_there(run, many) -> None:
    run(many)
    before = run.written()
    tally = run(many)
    assert run.written() == before and len(tally.there) == 8 and not tally.written


def test_a_second_call_knows_what_became_png(run, tmp_path) -> None:
    colorful_image(0).quantize(16).save(tmp_path / "x.gif")
    assert list(run(tmp_path / "x.gif").written.values()) == [run.out / "x.gif.png"]
    assert len(run(tmp_path / "x.gif").there) == 1


def test_overwrite_colors_anew(run, many) -> None:
    run(many)
    before = run.written()
    tally = run(many, overwrite=True)
    assert len(tally.written) == 8 and all(run.written()[name] > time for name, time in before.items())


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_input_is_never_overwritten(run, tmp_path, overwrite) -> None:
    run.out.mkdir()
    colorful_image(0).save(run.out / "x.png")
    before = (run.out / "x.png").read_bytes()
    assert run(run.out / "x.png", overwrite=overwrite).failed == 1
    assert run.said == [
        f"{run.out / 'x.png'}: {run.out / 'x.png'} is an input, which is never overwritten; choose another --out"
    ]
    assert (run.out / "x.png").read_bytes() == before


def test_another_input_is_not_overwritten_either(run, tmp_path) -> None:
    run.out.mkdir()
    (tmp_path / "a").mkdir()
    colorful_image(0).save(tmp_path / "a/x.png")
    colorful_image(1).save(run.out / "x.png")
    before = (run.out / "x.png").read_bytes()
    tally = BulkColorizer(Colorizer(Stub()), Options(), run.out, True, run.said.append).run(
        collect([tmp_path / "a/x.png"], run.out)[0] + collect([run.out / "x.png"], tmp_path)[0]
    )
    assert tally.failed == 2 and (run.out / "x.png").read_bytes() == before


def test_a_link_out_of_the_results_is_refused(run, many, tmp_path) -> None:
    (tmp_path / "elsewhere").mkdir()
    run.out.mkdir()
    (run.out / "deep").symlink_to(tmp_path / "elsewhere")
    assert run(many).failed == 2 + 4
    assert files(tmp_path / "elsewhere") == []
    assert sum("is a link that points outside of" in line for line in run.said) == 4


def test_a_link_in_place_of_a_result_is_replaced_not_followed(run, tmp_path) -> None:
    colorful_image(0).save(tmp_path / "x.png")
    (tmp_path / "precious.png").write_text("keep")
    run.out.mkdir()
    (run.out / "x.png").symlink_to(tmp_path / "precious.png")
    run(tmp_path / "x.png", overwrite=True)
    assert (tmp_path / "precious.png").read_text() == "keep" and not (run.out / "x.png").is_symlink()


def test_photographs_that_do_not_fit_together_are_colored_alone(run, tmp_path, monkeypatch) -> None:
    for number in range(3):
        colorful_image(number).save(tmp_path / f"{number}.png")
    paint = Colorizer.colorize_photos

    def only_one(self, photos, options):
        if len(photos) > 1:
            raise MemoryError
        yield from paint(self, photos, options)

    monkeypatch.setattr(Colorizer, "colorize_photos", only_one)
    assert len(run(*files(tmp_path)).written) == 3


def test_too_little_memory_is_one_line_each(run, tmp_path) -> None:
    colorful_image(0).save(tmp_path / "x.png")
    assert run(tmp_path / "x.png", predictor=Stub(most=1)).failed == 1
    assert run.said[0].startswith(f"{tmp_path / 'x.png'}: not enough memory to predict at 32x32")


def test_a_disk_that_fails_is_one_line_each(run, tmp_path, monkeypatch) -> None:
    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    colorful_image(0).save(tmp_path / "x.png")
    monkeypatch.setattr(Image.Image, "save", full)
    assert run(tmp_path / "x.png").failed == 1
    assert "No space left on device" in run.said[0] and files(run.out) == []


def test_what_is_worth_knowing_is_said(run, tmp_path) -> None:
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert run(tmp_path / "x.gif").failed == 0
    assert run.said == [f"{tmp_path / 'x.gif'}: 2 frames; the first is colored"]


def test_pixels_that_lose_chroma_are_counted(run, tmp_path) -> None:
    Image.new("L", (40, 30), 255).save(tmp_path / "x.png")  # white has no room for color
    tally = run(tmp_path / "x.png")
    assert tally.limited == tally.pixels == 1200


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Damage a file: flip bytes, cut it off, cut a piece out, repeat one, or fill one with zeros."""
    data = bytearray(content)
    start, end = sorted(rng.integers(0, len(data), 2))
    match rng.integers(5):
        case 0:
            for position in rng.integers(0, len(data), 1 + len(data) // 200):
                data[position] = rng.integers(256)
        case 1:
            del data[start:]
        case 2:
            del data[start : start + 40]
        case 3:
            data[end:end] = data[start : start + 60]
        case _:
            data[start : start + 50] = bytes(len(data[start : start + 50]))
    return bytes(data)


def bomb(width: int, height: int) -> bytes:
    """Make a PNG of few bytes that says it has very many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x00\x00\x00\x00"
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.slow
def test_500_damaged_and_odd_files(run, tmp_path) -> None:
    rng, root = np.random.default_rng(0), tmp_path / "in"
    root.mkdir()
    suffixes = ["jpg", "png", "gif", "bmp", "tif", "webp", "jp2", "tga", "ppm", "ico", "avif"]
    sources = {}
    for suffix in suffixes:
        colorful_image(len(sources)).quantize(64).convert("RGB").save(tmp_path / f"x.{suffix}")
        sources[suffix] = (tmp_path / f"x.{suffix}").read_bytes()
    for number, suffix in zip(range(420), itertools.cycle(suffixes), strict=False):
        (root / f"damaged {number}.{suffix}").write_bytes(mutated(sources[suffix], rng))
    good = set()
    for number in range(40):
        name = [
            f"good {number} é 写真 \u202e.png",
            f"{'x' * 200}{number}.jpg",
            f"new\nline {number}.png",
            f"-{number}.png",
        ][number % 4]
        path = root / "/".join(["deep"] * number) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        colorful_image(number).convert("L").save(path)
        good.add(path)
    for number in range(10):
        (root / f"empty {number}.png").touch()
        (root / f"bomb {number}.png").write_bytes(bomb(10**5, 10**4 + number))
        (root / f"text {number}.jpg").write_text("no image")
        shutil.copy(tmp_path / "x.png", root / f"wrong {number}.jpg")
        good.add(root / f"wrong {number}.jpg")
    (root / "out.png").symlink_to("/etc/hostname")
    before = {path: path.read_bytes() for path in files(tmp_path)}

    tally = run(root)

    assert good <= set(tally.written)
    told = {line.split(": ")[0] for line in run.said}
    inputs = set(files(root))
    assert {str(path) for path in inputs - set(tally.written)} <= told
    assert len(inputs) == 501 and tally.failed + len(tally.written) == 500
    after = {path: path.read_bytes() for path in files(tmp_path) if run.out not in path.parents}
    assert after == before
    for source, target in tally.written.items():
        with Image.open(target) as colored:
            colored.load()
            assert colored.mode in ("RGB", "RGBA"), source
    first, said = tally, run.said
    tally = run(root)  # only the failures
    assert (tally.there, tally.written, tally.failed) == (first.written, {}, first.failed)
    assert set(run.said) <= set(said)
