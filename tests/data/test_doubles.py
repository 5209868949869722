"""Duplicate pictures occur only once in a data set, on one side of the split."""

import csv
import shutil
import time
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from colorize.data import decode
from colorize.data.selection import seeded_order
from colorize.data.sources import Candidate, FolderSource
from colorize.data.store import build_store
from tests.conftest import colorful_image

BROKEN, GREY = -1, -2


def write(root: Path, pictures: list[int]) -> list[str]:
    """Write a folder whose k-th file in the seeded order shows the k-th picture; return the names in that order."""
    root.mkdir()
    names = [f"{number:02d}.png" for number in range(len(pictures))]
    order = [candidate.id for candidate in seeded_order([Candidate(name, root / name) for name in names], 0)]
    for name, picture in zip(order, pictures, strict=True):
        if picture == BROKEN:
            (root / name).write_text("no image")
        elif picture == GREY:
            Image.new("L", (48, 40), 80).save(root / name)
        else:
            colorful_image(picture).save(root / name)
    return order


def build(root: Path, num_train: int | None, num_val: int | None) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return the ids of each split, in the order of their rows, and the reasons of what was skipped."""
    stores = root.parent / "stores"
    folder = build_store(FolderSource(str(root)), stores, num_train=num_train, num_val=num_val, image_size=16)
    splits: dict[str, list[str]] = {"val": [], "train": []}
    with (folder / "manifest.csv").open() as file:
        for row in csv.DictReader(file):
            splits[row["split"]].append(row["id"])
    with (folder / "skipped.csv").open() as file:
        skipped = {row["id"]: row["reason"] for row in csv.DictReader(file)}
    return splits, skipped


def test_a_folder_of_doubles_has_each_picture_once(tmp_path, caplog) -> None:
    order = write(tmp_path / "images", [0, 1, 2, 3, 4, 5, 6, 7, 7, 6, 5, 4, 3, 2, 1, 0])
    splits, skipped = build(tmp_path / "images", None, None)
    assert splits == {"val": order[:2], "train": order[2:8]}
    assert skipped == {order[15 - k]: f"the same picture as {order[k]}" for k in range(8)}
    assert "skipped 8 of 16 images: 0 near-grey, 0 unreadable or missing, 8 the same picture as another" in caplog.text


def test_a_double_is_replaced_and_so_is_a_double_among_the_replacements(tmp_path) -> None:
    """Of the two for validation one doubles the other; of the four for training one doubles validation's."""
    order = write(tmp_path / "images", [0, 0, 0, 1, 2, 3, 1, 4, 5, 4, 6, 2])
    splits, skipped = build(tmp_path / "images", num_train=4, num_val=2)
    # 1 doubles 0: 11 comes. Of training, 2 doubles 0 and 4 doubles 11: 6 and 7 come; 6 doubles 3: 8 comes
    assert splits == {"val": [order[0], order[11]], "train": [order[k] for k in (8, 3, 7, 5)]}
    assert set(skipped) == {order[k] for k in (1, 2, 4, 6)}


def test_validation_is_the_same_whatever_num_train_is(tmp_path) -> None:
    """The last file replaces a broken one in validation; a training image shows the same picture."""
    order = write(tmp_path / "images", [BROKEN, 1, 2, 3, 4, 5, 6, 7, 3])
    small, _ = build(tmp_path / "images", num_train=1, num_val=2)
    large, _ = build(tmp_path / "images", num_train=5, num_val=2)
    assert small == {"val": [order[8], order[1]], "train": [order[2]]}
    assert large == {"val": [order[8], order[1]], "train": [order[k] for k in (2, 7, 4, 5, 6)]}


def test_the_twin_of_a_file_that_cannot_be_used_is_kept(tmp_path) -> None:
    order = write(tmp_path / "images", [0, 1, 2, 3, 0])
    whole = (tmp_path / "images" / order[0]).read_bytes()
    (tmp_path / "images" / order[0]).write_bytes(whole[: len(whole) // 2])
    splits, skipped = build(tmp_path / "images", num_train=3, num_val=1)
    assert splits == {"val": [order[4]], "train": order[1:4]}
    assert list(skipped) == [order[0]]


def test_grey_doubles_are_near_grey(tmp_path) -> None:
    order = write(tmp_path / "images", [GREY, 1, 2, GREY])
    _, skipped = build(tmp_path / "images", None, None)
    assert set(skipped) == {order[0], order[3]} and all("near-grey" in reason for reason in skipped.values())


def test_a_picture_saved_again_with_metadata_or_in_another_format_is_the_same(tmp_path) -> None:
    order = write(tmp_path / "images", [0, 1, 2])
    described = PngImagePlugin.PngInfo()
    described.add_text("Comment", "a copy")
    colorful_image(2).save(tmp_path / "images" / "described.png", pnginfo=described)
    colorful_image(0).save(tmp_path / "images" / "copy.bmp")
    splits, skipped = build(tmp_path / "images", None, None)
    assert len(splits["val"] + splits["train"]) == 3
    assert len(skipped) == 2 and not set(skipped) & {order[1]}


def test_the_same_pixels_in_another_shape_are_another_picture(tmp_path) -> None:
    write(tmp_path / "images", [0, 1])
    with Image.open(tmp_path / "images" / "00.png") as image:
        Image.frombytes("RGB", (40, 48), image.tobytes()).save(tmp_path / "images" / "reshaped.png")
    _, skipped = build(tmp_path / "images", None, None)
    assert not skipped


def test_which_double_is_kept_does_not_depend_on_the_threads(tmp_path, monkeypatch) -> None:
    order = write(tmp_path / "images", [0, 1, 0, 2])
    read = decode.read_rgb

    def slow_for_the_first(path: Path) -> Image.Image:
        time.sleep(0.2 if path.name == order[0] else 0)
        return read(path)

    monkeypatch.setattr(decode, "read_rgb", slow_for_the_first)
    monkeypatch.setattr(decode, "cores", lambda: 4)
    _, skipped = build(tmp_path / "images", None, None)
    assert list(skipped) == [order[2]]


@pytest.mark.parametrize("copies", [1, 5])
def test_copies_do_not_change_the_share_of_validation(tmp_path, copies) -> None:
    write(tmp_path / "images", list(range(10)))
    for path in list((tmp_path / "images").iterdir()):
        for copy in range(1, copies):
            shutil.copy(path, path.with_name(f"{copy} {path.name}"))
    splits, _ = build(tmp_path / "images", None, None)
    assert (len(splits["val"]), len(splits["train"])) == (2, 8)
