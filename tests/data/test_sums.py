"""A changed store is detected when it is opened and rebuilt; data.verify checks every byte."""

import json
import logging
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colorize.data import ColorizationDataModule
from colorize.data.sources import FolderSource
from colorize.data.store import ImageStore, build_store, training_pictures
from tests.conftest import colorful_image

SIZE = 64  # 12,288 bytes an image
COUNT = 400  # five blocks of 2^20 bytes


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("images")
    for number in range(COUNT):
        colorful_image(number, SIZE, SIZE).save(root / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def written(images, tmp_path_factory) -> Path:
    return build(images, tmp_path_factory.mktemp("written"))


def build(images: Path, stores: Path, verify: bool = False) -> Path:
    settings = {"num_train": None, "num_val": 4, "image_size": SIZE}
    return build_store(FolderSource(str(images)), stores, **settings, verify=verify)


@pytest.fixture
def store(written, tmp_path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "stores" / written.name))


def same(store: Path, written: Path) -> bool:
    return all((store / path.name).read_bytes() == path.read_bytes() for path in written.iterdir())


def inverted(path: Path, start: float, end: float) -> None:
    pixels = np.memmap(path, np.uint8, "r+")
    part = slice(int(len(pixels) * start), int(len(pixels) * end))
    pixels[part] = ~pixels[part]
    pixels.flush()


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def changed_number(path: Path) -> None:
    index = json.loads(path.read_text())
    index["train"][0], index["val"][0] = index["val"][0], index["train"][0]
    path.write_text(json.dumps(index))


DAMAGES = {
    "half inverted": ("pixels.u8", lambda path: inverted(path, 0.5, 1)),
    "another half inverted": ("pixels.u8", lambda path: inverted(path, 0.25, 0.75)),
    "truncated": ("pixels.u8", lambda path: path.write_bytes(path.read_bytes()[:-1])),
    "longer": ("pixels.u8", lambda path: path.write_bytes(path.read_bytes() + b"x")),
    "emptied": ("pixels.u8", lambda path: path.write_bytes(b"")),
    "missing": ("pixels.u8", Path.unlink),
    "a folder": ("pixels.u8", as_folder),
    "index truncated": ("index.json", lambda path: path.write_text(path.read_text()[:-9])),
    "index emptied": ("index.json", lambda path: path.write_text("")),
    "index missing": ("index.json", Path.unlink),
    "index changed": ("index.json", changed_number),
    "manifest missing": ("manifest.csv", Path.unlink),
    "manifest changed": ("manifest.csv", lambda path: path.write_text(path.read_text().replace("train", "val", 1))),
    "skipped missing": ("skipped.csv", Path.unlink),
    "sums emptied": ("sums.json", lambda path: path.write_text("")),
    "sums deep": ("sums.json", lambda path: path.write_text("[" * 200_000)),
    "sums of something else": ("sums.json", lambda path: path.write_text('{"blocks": 3}')),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_built_anew_and_told_in_one_line(images, written, store, damage, caplog) -> None:
    file, change = DAMAGES[damage]
    change(store / file)
    assert build(images, store.parent) == store
    assert same(store, written)
    (line,) = [line for line in caplog.messages if "damaged" in line]
    assert str(store) in line and file in line and "rebuilding it" in line and "\n" not in line
    assert {path.name for path in store.parent.iterdir()} == {store.name, f"{store.name}.lock"}


def test_a_sound_store_is_not_touched(images, store, caplog) -> None:
    before = {path: path.stat().st_mtime_ns for path in store.iterdir()}
    for verify in (False, True):
        assert build(images, store.parent, verify) == store
    assert {path: path.stat().st_mtime_ns for path in store.iterdir()} == before
    assert not caplog.messages


@pytest.mark.parametrize("block", range(5))
def test_verify_looks_at_every_byte(images, written, store, block) -> None:
    pixels = np.memmap(store / "pixels.u8", np.uint8, "r+")
    pixels[min(block * 2**20 + 1234, len(pixels) - 1)] ^= 1
    pixels.flush()
    build(images, store.parent, verify=True)
    assert same(store, written)


def test_data_verify_reaches_the_store(images, store, written) -> None:
    pixels = np.memmap(store / "pixels.u8", np.uint8, "r+")
    pixels[3 * 2**20] ^= 1
    pixels.flush()
    settings = {"num_train": None, "num_val": 4, "image_size": SIZE, "store_dir": str(store.parent)}
    ColorizationDataModule("folder", root=str(images), **settings, verify=True).setup()
    assert same(store, written)


def test_a_store_without_sums_gets_them_once(images, written, store, caplog) -> None:
    """As those have that were written before there were any."""
    caplog.set_level(logging.INFO)
    (store / "sums.json").unlink()
    before = (store / "pixels.u8").stat().st_mtime_ns
    build(images, store.parent)
    assert same(store, written) and (store / "pixels.u8").stat().st_mtime_ns == before
    assert [line for line in caplog.messages if "sums" in line and str(store) in line]


def test_a_store_without_sums_and_of_another_size_is_built_anew(images, written, store) -> None:
    (store / "sums.json").unlink()
    (store / "pixels.u8").write_bytes(b"")
    build(images, store.parent)
    assert same(store, written)


def test_of_many_that_open_a_damaged_store_one_builds(images, written, store, caplog) -> None:
    inverted(store / "pixels.u8", 0, 1)
    threads = [threading.Thread(target=build, args=(images, store.parent)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same(store, written) and sum("rebuilding it" in line for line in caplog.messages) == 1


def test_a_damaged_store_stays_where_its_images_are_gone(written, store, tmp_path) -> None:
    """What is left of it may still be of use."""
    inverted(store / "pixels.u8", 0, 1)
    source = FolderSource(str(folder_of_one(tmp_path)))
    source.fingerprint = lambda: "another"
    settings = {"num_train": 1, "num_val": 0, "image_size": SIZE}
    folder = build_store(source, tmp_path / "own", **settings)
    inverted(folder / "pixels.u8", 0, 1)
    source.paths[0].write_text("no image")
    with pytest.raises(ValueError, match="found 0 usable images"):
        build_store(source, tmp_path / "own", **settings)
    assert ImageStore(folder).pixels.shape == (1, 3, SIZE, SIZE)


def folder_of_one(tmp_path: Path) -> Path:
    (tmp_path / "one").mkdir()
    Image.fromarray(np.asarray(colorful_image(0))).save(tmp_path / "one/x.png")
    return tmp_path / "one"


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 200_000])
def test_pictures_of_training_are_looked_up_past_a_damaged_index(written, store, content) -> None:
    other = store.parent / "another"
    other.mkdir()
    (other / "index.json").write_text(content)
    digest = ImageStore(written).trained_on
    assert len(training_pictures(digest, [store.parent])) == COUNT - 4
