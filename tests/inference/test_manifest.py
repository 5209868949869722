"""Existing results are identified by input contents and settings; a kill loses at most the last line."""

import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from colorize.base.errors import UserError
from colorize.inference import Colorizer, Options
from colorize.inference.inputs import collect
from colorize.inference.manifest import NAME, Entry, Manifest, digest_of_model
from colorize.inference.many import BulkColorizer, Tally
from tests.conftest import colorful_image
from tests.inference.test_colorizer import Stub
from tests.inference.test_many import Run, files


@pytest.fixture
def run(tmp_path) -> Run:
    return Run(tmp_path)


def color(folder: Path, out: Path, settings: str = "", overwrite: bool = False, say=print) -> Tally:
    found = collect([folder], out)
    return BulkColorizer(Colorizer(Stub()), Options(), out, overwrite, say, settings=settings).run(found.jobs)


@pytest.fixture
def two(tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    for number in range(2):
        colorful_image(number).save(tmp_path / f"in/{number}.png")
    return tmp_path / "in"


def test_a_name_that_another_input_took_is_no_result_of_this_one(run, tmp_path) -> None:
    for name in ("x.gif", "x.gif.png"):
        colorful_image(0).quantize(16).save(tmp_path / name)
    for _ in range(2):
        tally = run(tmp_path / "x.gif", tmp_path / "x.gif.png")
        assert tally.failed == 1
        assert run.said == [
            f"{tmp_path / 'x.gif.png'}: another input is written to {run.out / 'x.gif.png'}; color them separately"
        ]
    assert len(tally.there) == 1


def test_an_input_that_changed_is_colored_anew(run, tmp_path) -> None:
    colorful_image(0).save(tmp_path / "x.png")
    run(tmp_path / "x.png")
    colorful_image(1).save(tmp_path / "x.png")
    assert len(run(tmp_path / "x.png").written) == 1
    assert len(run(tmp_path / "x.png").there) == 1


def test_another_photograph_of_the_same_name_is_refused(run, tmp_path) -> None:
    for number, folder in enumerate("ab"):
        (tmp_path / folder).mkdir()
        colorful_image(number).save(tmp_path / folder / "x.png")
    run(tmp_path / "a/x.png")
    before = (run.out / "x.png").read_bytes()
    assert run(tmp_path / "b/x.png").failed == 1
    assert run.said == [
        f"{tmp_path / 'b/x.png'}: {run.out / 'x.png'} is from {tmp_path / 'a/x.png'}; "
        "choose another --out, or --overwrite replaces it"
    ]
    assert (run.out / "x.png").read_bytes() == before
    assert len(run(tmp_path / "b/x.png", overwrite=True).written) == 1


def test_a_photograph_that_moved_is_known_by_its_contents(two, tmp_path) -> None:
    color(two, tmp_path / "out")
    two.rename(tmp_path / "moved")
    assert len(color(tmp_path / "moved", tmp_path / "out").there) == 2


def test_other_settings_color_anew(two, tmp_path) -> None:
    color(two, tmp_path / "out", "a")
    assert len(color(two, tmp_path / "out", "b").written) == 2
    assert len(color(two, tmp_path / "out", "b").there) == 2


def test_what_no_run_has_written_is_not_replaced(two, tmp_path) -> None:
    said = []
    (tmp_path / "out").mkdir()
    (tmp_path / "out/0.png").write_text("precious")
    tally = color(two, tmp_path / "out", say=said.append)
    assert (tally.failed, len(tally.written)) == (1, 1)
    assert said == [
        f"{two / '0.png'}: {tmp_path / 'out/0.png'} exists, but is not a result; "
        "choose another --out, or --overwrite replaces it"
    ]
    assert (tmp_path / "out/0.png").read_text() == "precious"
    assert len(color(two, tmp_path / "out", overwrite=True).written) == 2


def test_what_was_changed_since_is_there_and_not_replaced_by_other_settings(two, tmp_path) -> None:
    color(two, tmp_path / "out", "a")
    Image.new("RGB", (9, 9)).save(tmp_path / "out/0.png")  # retouched
    assert len(color(two, tmp_path / "out", "a").there) == 2
    said = []
    tally = color(two, tmp_path / "out", "b", say=said.append)
    assert (tally.failed, len(tally.written)) == (1, 1)
    assert "was modified after coloring; choose another --out, or --overwrite replaces it" in said[0]


def test_a_result_that_was_removed_is_made_again(two, tmp_path) -> None:
    color(two, tmp_path / "out")
    (tmp_path / "out/1.png").unlink()
    tally = color(two, tmp_path / "out")
    assert (len(tally.there), len(tally.written)) == (1, 1)


@pytest.mark.parametrize(("cut", "there"), [(1, 2), (30, 1)], ids=["line end", "more"])
def test_a_line_that_is_cut_off_costs_its_result_alone(two, tmp_path, cut, there) -> None:
    color(two, tmp_path / "out")
    path = tmp_path / "out" / NAME
    path.write_bytes(path.read_bytes()[:-cut])
    tally = color(two, tmp_path / "out")
    assert (len(tally.there), len(tally.written), tally.failed) == (there, 2 - there, 0)
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_of_a_result_that_was_begun_nothing_is_assumed(two, tmp_path) -> None:
    color(two, tmp_path / "out", "a")
    with Manifest(tmp_path / "out") as manifest:
        manifest.begin("0.png")  # and then the machine stopped
    tally = color(two, tmp_path / "out", "a")
    assert (len(tally.there), len(tally.written), tally.failed) == (1, 1, 0)


def test_a_manifest_that_a_link_stands_for_is_not_written(tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is not a regular file; remove it, or choose another --out"):
        Manifest(tmp_path / "out")


def test_lines_of_old_results_are_dropped_when_they_are_most(tmp_path) -> None:
    tmp_path.joinpath("out").mkdir()
    entry = Entry("x \udcff.png", 1, "a", "b", "/x")  # a name that is no UTF-8
    with Manifest(tmp_path / "out") as manifest:
        for _ in range(40):
            manifest.add(entry)
    assert Manifest(tmp_path / "out").get(entry.file) == entry
    assert len((tmp_path / "out" / NAME).read_text().splitlines()) == 1


def test_the_cost_of_a_line_does_not_grow(tmp_path) -> None:
    tmp_path.joinpath("out").mkdir()
    sizes = []
    with Manifest(tmp_path / "out") as manifest:
        for number in range(2000):
            manifest.add(Entry(f"{number}.png", 1, "a" * 64, "b", "/x"))
            sizes.append((tmp_path / "out" / NAME).stat().st_size)
    assert max(after - before for before, after in itertools.pairwise(sizes)) < 250


def test_a_model_is_known_by_its_contents(tmp_path) -> None:
    for folder, weights in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.safetensors").write_bytes(weights)
        (tmp_path / folder / "config.json").write_text("{}")
        (tmp_path / folder / "x.ckpt").write_bytes(weights)
    for name in ("", "x.ckpt"):
        a, b, c = (digest_of_model(tmp_path / folder / name) for folder in "abc")
        assert a == b != c


SLOW = """
import sys, time
from pathlib import Path
from colorize.inference.many import BulkColorizer
from colorize.inference import Colorizer, Options
from colorize.inference.inputs import collect
from tests.inference.test_colorizer import Stub
out = Path(sys.argv[2])
BulkColorizer(Colorizer(Stub(), batch_size=2), Options(), out).run(collect([sys.argv[1]], out).jobs)
"""


@pytest.mark.slow
def test_after_kill_9_a_second_run_makes_what_is_missing_and_nothing_twice(tmp_path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(150):
        colorful_image(number, 200, 150).save(tmp_path / f"in/{number}.png")
    out = tmp_path / "out"
    command = [sys.executable, "-c", SLOW, tmp_path / "in", out]
    for wanted in (5, 30, 60):
        process = subprocess.Popen(command, cwd=Path(__file__).parent.parent)
        while process.poll() is None and len(files(out)) < wanted:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = {path: path.stat().st_mtime_ns for path in files(out) if not path.name.startswith(".")}
    tally = color(tmp_path / "in", out)
    assert tally.failed == 0 and len(tally.written) + len(tally.there) == 150
    assert len(before) - len(tally.there) <= 3  # those that were under way
    assert all(path.stat().st_mtime_ns == before[path] for path in tally.there.values())
