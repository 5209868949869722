"""The memory limit: parsing, estimated cost of photographs, and runs that stay within it."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colorize import images
from colorize.base import machine
from colorize.base.errors import UserError, ran_out
from colorize.export import export
from colorize.images import ImageError, header, read_rgb, to_uint8, to_uint16
from colorize.inference import Colorizer, Options, video
from colorize.inference import colorizer as inference
from colorize.inference import many as batch
from colorize.inference.inputs import collect
from colorize.inference.many import BulkColorizer, Tally
from colorize.photos import memory
from colorize.photos.memory import Limit, cost_of_file, format_size, parse_size
from colorize.photos.photo import read_photo
from tests.conftest import ROOT, colorful_image
from tests.inference.test_colorizer import Stub

KB = 1000
PNG_RGB, PNG_L = 8 * 100 * 50, 5 * 100 * 50  # bytes, by hand: a picture of 4 or of 1 a pixel, and 4 of its version


@pytest.mark.parametrize(
    ("text", "size"),
    [("2G", 2e9), ("800M", 8e8), ("1.5g", 1.5e9), ("64kb", 64e3), (" 1T ", 1e12), ("123", 123)],
)
def test_a_size_is_read(text, size) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "2X", "-1G", "G", "0", "1 2", "nan", "1e9"])
def test_what_is_no_size_is_one_line(text) -> None:
    with pytest.raises(UserError, match=r"^--memory .*is not a size; write it as 2G or 800M$"):
        parse_size(text)


@pytest.mark.parametrize("size", [1, 5 * KB, 999_600, 800_000_000, 999_900_000, 2_010_000_000])
def test_what_is_told_suffices(size) -> None:
    assert size <= parse_size(format_size(size)) <= 1.1 * size + KB


def cost(folder: Path, image: Image.Image, name: str, **settings) -> float:
    """Return it in bytes a pixel."""
    image.save(folder / name, **settings)
    size, found = cost_of_file(folder / name)
    assert size == f"{image.width}x{image.height}"
    return found / image.width / image.height


def test_the_cost_of_a_photograph_is_that_of_its_images(tmp_path) -> None:
    """Checked by hand: Pillow holds grey in 1 byte, 16 bits in 2, all else in 4."""
    rgb = colorful_image(0, 100, 50)
    assert cost(tmp_path, rgb, "rgb.png") == 4 + 4  # read, colored
    assert cost(tmp_path, rgb.convert("L"), "grey.png") == 1 + 4
    assert cost(tmp_path, rgb.convert("RGBA"), "alpha.png") == 4 + 4 + 1  # read, without alpha, alpha
    assert cost(tmp_path, rgb.convert("CMYK"), "ink.jpg") == 4 + 4
    assert cost(tmp_path, rgb, "progressive.jpg", progressive=True) == 4 + 3 * 2  # and coefficients of 2 bytes
    assert cost(tmp_path, Image.fromarray(np.zeros((50, 100), np.uint16)), "deep.png") == 2 + 4
    assert cost(tmp_path, rgb, "x.webp") > 40


def test_what_is_no_picture_costs_nothing(tmp_path) -> None:
    (tmp_path / "x.png").write_text("no")
    assert cost_of_file(tmp_path / "x.png") == cost_of_file(tmp_path / "gone.png") == ("", 0)


@pytest.fixture
def limited(monkeypatch, tmp_path):
    """Color with so many bytes for photographs; note how many are in memory from being read to being written."""
    held, most = [], []
    monkeypatch.setattr(memory, "resident", lambda: 0)
    monkeypatch.setattr(memory, "RESERVE", 0)
    reading, finish = batch._read, BulkColorizer._finish

    def read(job, need, quality):
        held.append(need)
        most.append(sum(held))
        return reading(job, need, quality)

    def finished(self, painting):
        finish(self, painting)
        for member, _ in painting:
            held.remove(member.need)

    monkeypatch.setattr(batch, "_read", read)
    monkeypatch.setattr(BulkColorizer, "_finish", finished)
    monkeypatch.setattr(Colorizer, "bytes_per_pixel", 0.0)

    def run(room: int) -> tuple[Tally, list[str], int]:
        said = []
        out = tmp_path / "out"
        jobs = collect([tmp_path / "in"], out).jobs
        tally = BulkColorizer(Colorizer(Stub()), Options(), out, True, said.append, memory=room).run(jobs)
        return tally, said, max(most, default=0)

    (tmp_path / "in").mkdir()
    return run


@pytest.mark.parametrize("room", [PNG_RGB, 2 * PNG_RGB, 3 * PNG_RGB, 7 * PNG_RGB, 30 * PNG_RGB])
def test_photographs_in_memory_together_stay_within_the_limit(limited, tmp_path, room) -> None:
    for number in range(9):
        colorful_image(number, 100, 50).save(tmp_path / f"in/{number}.png")
    tally, said, most = limited(room)
    assert len(tally.written) == 9 and not said
    assert most <= room
    assert most >= min(room, 7 * PNG_RGB) // PNG_RGB * PNG_RGB * 0.8  # and it is used


def test_a_photograph_that_cannot_fit_is_one_line_and_the_others_go_on(limited, tmp_path) -> None:
    colorful_image(0, 100, 50).save(tmp_path / "in/large.png")
    colorful_image(1, 100, 50).convert("L").save(tmp_path / "in/small.png")
    tally, said, _ = limited(30 * KB)
    assert said == [
        f"{tmp_path / 'in/large.png'}: 100x50 needs about 40K, over --memory 30K; allow more, or make it smaller"
    ]
    assert [path.name for path in tally.written] == ["small.png"] and tally.failed == 1


def test_no_memory_beside_the_model_is_a_mistake() -> None:
    with pytest.raises(UserError, match=r"the libraries and the model alone need .* over --memory 1M; allow more"):
        Limit(1_000_000).room()


def test_without_a_limit_it_is_three_quarters_of_what_is_free(monkeypatch) -> None:
    monkeypatch.setattr(memory, "memory_available", lambda: 4_000_000_000)
    monkeypatch.setattr(memory, "resident", lambda: 1_000_000_000)
    assert Limit().room() == 3_000_000_000 - memory.RESERVE
    assert str(Limit()) == "--memory 4G, 75% of what was free"


class Allocating(Stub):
    """Takes as many bytes for each pixel."""

    def __init__(self, each: int) -> None:
        super().__init__()
        self.each = each

    def __call__(self, L: np.ndarray) -> np.ndarray:
        np.ones(L.size * self.each, np.uint8)
        return super().__call__(L)


TRIAL = """
import sys
import numpy as np
from colorize.inference import Colorizer
from tests.photos.test_memory import Allocating

np.ones(200_000_000, np.uint8)  # that the process has had more before does not hide it
print(Colorizer(Allocating(int(sys.argv[1]))).bytes_per_pixel)
"""


def test_what_the_network_takes_is_found_by_a_trial() -> None:
    """In a process of its own: freed memory that other tests leave to this one would be taken first."""
    each = 64_000_000 // 32**2
    found = subprocess.run(
        [sys.executable, "-c", TRIAL, str(each)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert float(found.stdout) == pytest.approx(each, rel=0.05)


def test_a_picture_for_which_the_network_takes_too_much_is_tiled(monkeypatch) -> None:
    monkeypatch.setattr(Colorizer, "bytes_per_pixel", 100.0)
    monkeypatch.setattr(memory, "resident", lambda: 0)
    monkeypatch.setattr(memory, "RESERVE", 0)
    stub = Stub()
    colorizer, options = Colorizer(stub), Options(working_size=128)
    assert colorizer.fit_into(Limit(10_000_000), options) == (10_000_000, 100 * 128**2)
    assert colorizer.fit_into(Limit(1_000_000), options) == (1_000_000, 500_000)
    colorizer.colorize(colorful_image(0, 200, 200), working_size=128)
    assert max(np.prod(shape[2:]) for shape in stub.shapes) == 64**2  # 128**2 is over 5,000


def test_memory_that_runs_out_beside_others_is_tried_alone(tmp_path, monkeypatch) -> None:
    for number in range(4):
        colorful_image(number).save(tmp_path / f"{number}.png")
    tried, reading = [], batch.read_photo

    def read(path, quality, wanted):
        tried.append(path.name)
        if path.name == "3.png" or tried.count(path.name) == 1:
            raise ImageError(f"{path}: not enough memory") from MemoryError()
        return reading(path, quality, wanted)

    monkeypatch.setattr(batch, "read_photo", read)
    said = []
    out = tmp_path / "out"
    tally = BulkColorizer(Colorizer(Stub()), Options(), out, say=said.append).run(collect([tmp_path], out).jobs)
    assert sorted(path.name for path in tally.written) == ["0.png", "1.png", "2.png"] and tally.failed == 1
    assert said == [f"{tmp_path / '3.png'}: not enough memory"]


@pytest.mark.parametrize("step", ["untinted", "paint", "save_photo"])
def test_memory_that_runs_out_at_any_step_is_that_photographs_line(tmp_path, monkeypatch, step) -> None:
    colorful_image(0).save(tmp_path / "x.png")

    def fail(*_) -> None:
        raise MemoryError

    monkeypatch.setattr(batch if step == "save_photo" else inference, step, fail)
    said = []
    tally = BulkColorizer(Colorizer(Stub()), Options(), tmp_path / "out", say=said.append).run(
        collect([tmp_path / "x.png"], tmp_path / "out").jobs
    )
    assert tally.failed == 1 and said == [f"{tmp_path / 'x.png'}: not enough memory"]
    assert [path.name for path in (tmp_path / "out").glob("*.png")] == []


def test_errors_of_memory_are_known_as_such() -> None:
    caused = ImageError("x.png: it")
    caused.__cause__ = MemoryError()
    for error in (
        MemoryError(), caused, OSError(errno.ENOMEM, "no"), RuntimeError("can't start new thread"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), RuntimeError("std::bad_alloc"),
        ImportError("x.so: failed to map segment from shared object"),
    ):  # fmt: skip
        assert ran_out(error)
    for error in (None, ValueError("no"), OSError(errno.ENOSPC, "full"), ImageError("x.png: truncated")):
        assert not ran_out(error)


def test_what_a_video_takes_bounds_its_frames(monkeypatch) -> None:
    monkeypatch.setattr(Colorizer, "bytes_per_pixel", 0.0)
    monkeypatch.setattr(memory, "resident", lambda: 0)
    monkeypatch.setattr(memory, "RESERVE", 0)
    frame = Image.new("L", (100, 50))
    least = 5000 * (220 + 12)

    def together(size: int) -> int:
        return video._frames_at_once(Path("x.mp4"), frame, Colorizer(Stub()), Options(), Limit(size))

    assert [together(size) for size in (least, least + 2 * 60 * KB, 10**9)] == [1, 3, 8]
    with pytest.raises(UserError, match=r"^x\.mp4: 100x50 frames need about 1\.2M, over --memory 1\.1M; allow more$"):
        together(least - 1)


@pytest.mark.parametrize(
    ("groups", "files", "free"),
    [
        ("0::/a/b", {"a/memory.max": "900", "a/memory.current": "300", "a/memory.stat": "inactive_file 50"}, 650),
        ("0::/a/b", {"a/b/memory.max": "max", "a/b/memory.current": "300", "a/b/memory.stat": ""}, 5000 * 1024),
        (
            "3:cpu:/x\n4:memory:/host",
            {
                "memory/memory.limit_in_bytes": "800",
                "memory/memory.usage_in_bytes": "500",
                "memory/memory.stat": "total_inactive_file 100",
            },
            400,
        ),
        ("0::/", {"memory.max": "5", "memory.current": "9", "memory.stat": ""}, 1),
    ],
)
def test_free_memory_is_that_of_the_container(tmp_path, monkeypatch, groups, files, free) -> None:
    monkeypatch.setattr(machine, "PROC", tmp_path / "proc")
    monkeypatch.setattr(machine, "GROUPS", tmp_path / "groups")
    for name, content in {
        "proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 5000 kB\n",
        "proc/self/cgroup": groups + "\n",
        **{f"groups/{name}": content for name, content in files.items()},
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert machine.memory_available() == free


def test_pillow_says_how_large_a_picture_may_be(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    Image.new("L", (1500, 1500)).save(tmp_path / "x.png")
    with pytest.raises(ImageError, match=r"x\.png: over 2 megapixels, the limit; make it smaller$"):
        read_rgb(tmp_path / "x.png")
    Image.new("L", (1400, 1400)).save(tmp_path / "x.png")
    assert read_rgb(tmp_path / "x.png").size == (1400, 1400)  # over what Pillow warns of


@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.uint16])
def test_deep_grey_in_parts_is_that_of_the_whole(dtype, monkeypatch) -> None:
    monkeypatch.setattr(images, "ROWS_AT_ONCE", 100)
    grey = (np.random.default_rng(0).random((37, 30)) * 60000).astype(dtype)
    if dtype == np.float32:
        grey[0, :5] = np.nan, -3, 0, 61000, 1
    top = 61000 if dtype == np.float32 else 65535
    expected = (np.nan_to_num(grey) / top * 65535).round().clip(0, 65535)
    assert np.abs(to_uint16(Image.fromarray(grey)) - expected).max() <= 1
    assert np.array_equal(np.asarray(to_uint8(Image.fromarray(grey))), to_uint16(Image.fromarray(grey)) // 257)


PEAK = """
import sys
from colorize.base.machine import peak_resident, resident
from colorize.photos.photo import read_photo, save_photo
from colorize.inference.painting import blank
before = resident()
photo = read_photo(sys.argv[1])
save_photo(photo, photo.finished(blank(photo.size)), sys.argv[2])
print((peak_resident() - before) / photo.size[0] / photo.size[1])
"""


def test_a_transparent_photograph_takes_9_bytes_a_pixel(tmp_path) -> None:
    Image.new("RGBA", (4000, 3000), (9, 99, 200, 100)).save(tmp_path / "x.png")
    command = [sys.executable, "-c", PEAK, str(tmp_path / "x.png"), str(tmp_path / "y.png")]
    assert float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) < 10
    assert read_photo(tmp_path / "y.png").alpha.getextrema() == (100, 100)
    with header(tmp_path / "x.png") as image:
        assert memory.cost_of(image) == 9 * 12_000_000


LIMITED = """
import resource, sys
from colorize.cli import app
from colorize.base.machine import peak_resident
size = int(float(sys.argv.pop(1)))
if size:
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
try:
    app()
finally:
    print("peak", peak_resident())
"""


def limited_command(size: float, *args: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", LIMITED, str(size), *map(str, args)]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)


@pytest.fixture(scope="module")
def onnx_model(checkpoint, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    list(export(checkpoint, folder, onnx=True))
    return folder / "model.onnx"


@pytest.fixture
def large(tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    for name, side in (("a", 5000), ("b", 5000), ("c", 500), ("huge", 9000)):
        Image.new("RGBA", (side, side), (90, 120, 60, 200)).save(tmp_path / f"in/{name}.png", compress_level=1)
    return tmp_path


@pytest.mark.slow
def test_a_process_stays_below_what_is_stated(large, onnx_model) -> None:
    args = "image", large / "in", "-o", large / "out", "--checkpoint", onnx_model, "--memory"
    done = limited_command(0, *args, "600M")
    said = done.stderr.splitlines()
    assert done.returncode == 1 and len(said) == 1
    assert said[0].startswith(f"{large / 'in/huge.png'}: 9000x9000 needs about ")
    assert sorted(path.name for path in (large / "out").glob("*.png")) == ["a.png", "b.png", "c.png"]
    assert int(done.stdout.split()[-1]) < 600_000_000


@pytest.mark.slow
@pytest.mark.parametrize("size", [0.9e9, 1.3e9, 1.7e9])
def test_a_process_that_gets_too_little_says_so_in_lines(large, onnx_model, size) -> None:
    """Memory really runs out, as none is stated that would keep it from that; how much suffices differs by machine."""
    args = "image", large / "in", "-o", large / "out", "--checkpoint", onnx_model, "--memory", "90G"
    done = limited_command(size, *args)
    assert done.returncode in (0, 1, 2) and "Traceback" not in done.stderr
    assert all("memory" in line.lower() for line in done.stderr.splitlines())  # OpenBLAS ends a process by its own line
    written = len(list((large / "out").glob("*.png")))
    assert (done.returncode == 0) == (written == 4)
    assert size > 1e9 or written < 4
    assert not [path for path in (large / "out").rglob("*") if "part" in path.suffix or "tmp" in path.name]
