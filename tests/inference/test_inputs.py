"""Finding photographs from command-line arguments."""

import os
from pathlib import Path

import pytest

from colorize.inference.inputs import collect
from tests.conftest import colorful_image


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    """Go into a folder with ``a/1.png``, ``a/b/2.png``, ``a/b/ü x.JPG``, ``a/notes.txt`` and ``3.png``."""
    monkeypatch.chdir(tmp_path)
    for name in ("a/1.png", "a/b/2.png", "a/b/ü x.JPG", "3.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        colorful_image(0).save(name, "PNG")
    Path("a/notes.txt").write_text("no image")
    return tmp_path


def found(*inputs: str) -> dict[str, str]:
    found = collect(inputs, Path("out"))
    assert not found.complaints
    return {str(job.source): str(job.folder) for job in found.jobs}


def complaints(*inputs: str) -> list[str]:
    return collect(inputs, Path("out"))[1]


def test_a_folder_keeps_its_structure(tree) -> None:
    assert found("a") == {"a/1.png": ".", "a/b/2.png": "b", "a/b/ü x.JPG": "b"}


def test_a_file_goes_to_the_top(tree) -> None:
    assert found("a/b/2.png") == {"a/b/2.png": "."}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a/*.png", {"a/1.png": "."}),
        ("a/b/*", {"a/b/2.png": ".", "a/b/ü x.JPG": "."}),
        ("a/**/*.png", {"a/1.png": ".", "a/b/2.png": "b"}),
        ("a/*", {"a/1.png": ".", "a/b/2.png": "b", "a/b/ü x.JPG": "b"}),
    ],
)
def test_a_glob_keeps_what_is_below_its_fixed_part(tree, pattern, expected) -> None:
    assert found(pattern) == expected


def test_an_absolute_glob(tree) -> None:
    assert found(f"{tree}/a/*.png") == {f"{tree}/a/1.png": "."}


def test_a_file_whose_name_looks_like_a_glob(tree) -> None:
    colorful_image(0).save("x[1].png")
    assert found("x[1].png") == {"x[1].png": "."}


def test_what_is_named_twice_is_colored_once(tree) -> None:
    assert list(found("3.png", "./3.png", f"{tree}/3.png")) == ["3.png"]


def test_the_results_are_not_inputs(tree) -> None:
    colorful_image(0).save(tree / "a/out.png")
    (tree / "out").mkdir()
    colorful_image(0).save("out/1.png")
    assert "out/1.png" not in found(".")


def test_hidden_files_are_left_alone(tree) -> None:
    colorful_image(0).save("a/.hidden.png")
    assert "a/.hidden.png" not in found("a")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [("gone.png", "gone.png: no such file"), ("*.gif", "*.gif: no file matches"), ("empty", "empty: no image in it")],
)
def test_what_is_not_there_is_told(tree, given, complaint) -> None:
    Path("empty").mkdir()
    assert complaints(given) == [complaint]


def test_two_for_one_place_are_told(tree) -> None:
    Path("c").mkdir()
    colorful_image(1).save("c/1.png")
    assert complaints("a", "c") == ["c/1.png: a/1.png has the same result path in out; color them separately"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_link_out_of_the_folder_is_refused(tree, kind) -> None:
    Path("a/link.png").symlink_to(tree / ("3.png" if kind == "file" else "elsewhere"))
    (tree / "elsewhere").mkdir()
    assert complaints("a") == ["a/link.png: a link that points outside of a; name the link itself, or its target"]


def test_a_link_within_the_folder_is_followed(tree) -> None:
    Path("a/link.png").symlink_to(tree / "a/1.png")
    assert "a/link.png" in found("a")


def test_a_pipe_is_not_waited_for(tree) -> None:
    os.mkfifo("a/pipe.png")
    assert complaints("a") == ["a/pipe.png: not a regular file"]
    assert complaints("a/pipe.png") == ["a/pipe.png: not a regular file"]


def skipped(*inputs: str, out: str = "out") -> list[str]:
    return collect(inputs, Path(out))[2]


@pytest.mark.parametrize("suffix", ["sgi", "dds", "im", "pcx", "ras", "qoi", "fits", "psd"])
def test_every_format_that_pillow_reads_is_taken(tree, suffix) -> None:
    Path(f"a/x.{suffix}").write_bytes(b"whatever")
    assert f"a/x.{suffix}" in found("a") and f"a/x.{suffix}" in found("a/*.*")


@pytest.mark.parametrize("given", ["a", "a/*", "a/**/*", "a/b/*.heic"])
def test_a_photograph_that_pillow_does_not_read_is_a_complaint(tree, given) -> None:
    Path("a/b/x.heic").write_bytes(b"whatever")
    assert "a/b/x.heic: Pillow cannot read .heic; convert it, for example to PNG" in complaints(given)


def test_what_is_no_picture_is_named_as_skipped(tree) -> None:
    Path("a/b/README").touch()
    Path("a/.hidden.png").touch()
    Path("a/.git").mkdir()
    assert skipped("a", "3.png") == ["a: skipped 1 .txt, 2 hidden, 1 without a suffix"]
    assert skipped("a/b") == ["a/b: skipped 1 without a suffix"]


@pytest.mark.parametrize("given", ["a/*.txt", "a/b*/*.png1", "a/**/*.txt"])
def test_a_glob_of_which_nothing_is_usable_is_a_complaint(tree, given) -> None:
    Path("a/b/x.png1").touch()
    assert complaints(given) == [f"{given}: no matching file is a picture"]


def test_a_folder_that_a_deep_glob_matches_is_searched(tree) -> None:
    assert found("**/b") == {"a/b/2.png": "a/b", "a/b/ü x.JPG": "a/b"}


def test_results_are_not_inputs_of_the_next_run(tree) -> None:
    for out in ("a/out", "a/other"):
        Path(out).mkdir()
        colorful_image(0).save(f"{out}/1.png")
        Path(out, ".colorize.jsonl").write_text(
            '{"file": "1.png", "size": 1, "input": "i", "settings": "s", "source": "/a/1.png"}\n'
        )
    colorful_image(0).save("a/other/mine.png")
    for given in ("a", "a/**/*.png", "a/*"):
        found = collect([given], Path("a/out"))
        taken = {str(job.source) for job in found.jobs}
        assert {path for path in taken if "o" in path} == {"a/other/mine.png"} and not found.complaints
        assert "a/other: skipped 1 that an earlier run colored" in found.skipped
        assert any(line.startswith("a/out: skipped") for line in found.skipped)


def test_results_that_are_asked_for_by_name_are_inputs(tree) -> None:
    Path("out").mkdir()
    colorful_image(0).save("out/1.png")
    Path("out/.colorize.jsonl").write_text('{"file": "1.png"}\n')
    for given in ("out", "out/*.png", "out/1.png"):
        assert [str(job.source) for job in collect([given], Path("again")).jobs] == ["out/1.png"]
