"""Matching pictures by name."""

import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from colorize.base.errors import UserError
from colorize.scoring.matching import listed, matched

OUT = Path("scores")


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), "red").save(path)
    return folder


def match(tmp_path, truth, output):
    true = listed(pictures(tmp_path / "truth", *truth), OUT)
    return matched(list(true.files), listed(pictures(tmp_path / "output", *output), OUT))


@pytest.mark.parametrize(
    ("truth", "output"),
    [
        ("a.jpg", "a.png"),
        ("a.jpg", "A.PNG"),
        ("IMG_1.JPG", "img_1.webp"),
        ("a.gif", "a.gif.png"),
        ("v1.2.jpg", "v1.2.png"),
        (unicodedata.normalize("NFC", "Gemälde é.jpg"), unicodedata.normalize("NFD", "Gemälde é.png")),
        ("straße.jpg", "STRASSE.png"),
        ("cats/a.jpg", "Cats/a.png"),
    ],
)
def test_ending_case_and_composition_do_not_count(tmp_path, truth, output) -> None:
    found = match(tmp_path, [truth], [output])
    assert (len(found.files), found.missing, found.extra, found.by) == (1, [], [], "path")


def test_the_rest_of_a_name_counts(tmp_path) -> None:
    found = match(tmp_path, ["a.png", "a.1.png", "b.png"], ["a.png", "b_fake.png"])
    assert (list(found.files), found.missing, found.extra) == (["a"], ["a.1", "b"], ["b_fake"])


def test_sub_folders_count(tmp_path) -> None:
    found = match(tmp_path, ["x/a.png", "y/a.png", "z/b.png"], ["x/a.png", "b.png"])
    assert (list(found.files), found.missing, found.extra) == (["x/a"], ["y/a", "z/b"], ["b"])


def test_without_one_path_in_both_names_are_compared_alone(tmp_path) -> None:
    found = match(tmp_path, ["val/a.jpg", "val/b.jpg"], ["results/a.png", "results/c.png"])
    assert (list(found.files), found.missing, found.extra, found.by) == (["val/a"], ["val/b"], ["c"], "name")


def test_names_that_are_there_twice_are_not_compared_alone(tmp_path) -> None:
    with pytest.raises(
        UserError, match="no picture has the same name as a true picture; the first names are a and x/a"
    ):
        match(tmp_path, ["x/a.jpg", "y/a.jpg"], ["a.png"])


def test_two_pictures_of_one_name_are_named_and_neither_is_taken(tmp_path) -> None:
    found = match(tmp_path, ["a.png", "b.png"], ["a.png", "a.jpg", "b.png"])
    assert (list(found.files), found.missing) == (["b"], ["a"])
    assert sorted(path.name for path in found.doubled["a"]) == ["a.jpg", "a.png"]


def test_hidden_files_and_what_is_no_picture_are_told(tmp_path) -> None:
    folder = pictures(tmp_path, "a.png", "._a.png", "__MACOSX/x.png")
    (folder / "notes.txt").write_text("")
    (folder / "b.heic").write_text("")
    found = listed(folder, OUT)
    assert list(found.files) == ["__macosx/x", "a"]
    assert any("1 .txt, 1 hidden" in note for note in found.notes) and any("b.heic" in note for note in found.notes)


@pytest.mark.parametrize(
    ("names", "message"), [((), "is not a folder of pictures"), (("a.png", "a.jpg"), "1 names occur more than once")]
)
def test_a_folder_without_pictures_is_one_line(tmp_path, names, message) -> None:
    pictures(tmp_path / "x", *names)
    with pytest.raises(UserError, match=message):
        listed(tmp_path / "x", OUT)
