"""From files to a store: split, replacement, decoding, locking."""

import csv
import itertools
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colorize.base.errors import UserError
from colorize.data import ColorizationDataModule
from colorize.data import store as store_module
from colorize.data.selection import Selection, seeded_order
from colorize.data.sources import Candidate, CocoSource, FolderSource
from colorize.data.store import ImageStore, build_store
from tests.conftest import colorful_image


def candidates(count: int) -> list[Candidate]:
    return [Candidate(number, Path(f"{number}.jpg")) for number in range(count)]


def ids(chosen: list[Candidate]) -> list[int | str]:
    return [candidate.id for candidate in chosen]


@pytest.fixture
def coco_root(tmp_path) -> Path:
    root = tmp_path / "coco"
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    images = []
    for number in range(12):
        colorful_image(number).save(root / "images" / f"{number}.jpg")
        images.append({"id": 100 + number, "file_name": f"{number}.jpg", "width": 48, "height": 40})
    index = {"images": images, "annotations": [], "categories": []}
    (root / "annotations" / "instances.json").write_text(json.dumps(index))
    return root


def test_order_is_that_of_the_seeded_sha256() -> None:
    import subprocess

    digests = {n: subprocess.run(["sha256sum"], input=f"0:{n}".encode(), capture_output=True).stdout for n in range(5)}
    assert ids(seeded_order(candidates(5), 0)) == sorted(digests, key=digests.get)


def test_training_sets_nest_over_a_fixed_validation_set() -> None:
    order = seeded_order(candidates(100), 0)
    small, large = Selection(order, 10, 20), Selection(order, 60, 20)
    assert ids(small.slots[:20]) == ids(large.slots[:20])
    assert ids(small.slots[20:]) == ids(large.slots[20:30])


def split(store: Path) -> tuple[list[str], set[str]]:
    """Return the pictures of validation, in their order, and those of training."""
    with (store / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [r["picture"] for r in rows if r["split"] == "val"], {r["picture"] for r in rows if r["split"] == "train"}


def assert_nested(stores: list[Path], sizes: list[int]) -> None:
    """Check that validation is the same and each training set contains the ones before."""
    found = [split(store) for store in stores]
    assert [len(train) for _, train in found] == sizes
    assert all(val == found[0][0] for val, _ in found)
    assert all(small < large for (_, small), (_, large) in itertools.pairwise(found))
    assert all(not set(val) & train for val, train in found)


@pytest.mark.parametrize("kind", ["folder", "coco"])
def test_stores_of_more_training_images_contain_those_of_fewer_whatever_is_skipped(kind, tmp_path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(40):
        colorful_image(number).save(images / f"{number}.png")
    (tmp_path / "annotations").mkdir()
    index = {"images": [{"id": n, "file_name": f"{n}.png"} for n in range(40)], "annotations": [], "categories": []}
    (tmp_path / "annotations" / "instances.json").write_text(json.dumps(index))
    order = seeded_order(FolderSource(str(images)).candidates() if kind == "folder" else
                         CocoSource(str(tmp_path)).candidates(), 0)  # fmt: skip
    for damaged in (order[2], order[7], order[12], order[-1]):  # validation, twice training, validation's replacement
        damaged.path.write_bytes(b"no image")
    for double, of in ((3, 30), (9, 8), (20, 1)):
        order[double].path.write_bytes(order[of].path.read_bytes())
    source = FolderSource(str(images)) if kind == "folder" else CocoSource(str(tmp_path))
    sizes = [4, 8, 16, 28]  # the last takes all that can be used
    stores = [build_store(source, tmp_path / "s", num_train=n, num_val=5, image_size=8) for n in sizes]
    assert_nested(stores, sizes)


def test_scenes_nest_if_as_many_are_drawn(tmp_path) -> None:
    places = {"root": str(tmp_path / "scenes"), "store_dir": str(tmp_path / "stores")}
    settings = {"num_images": 20, "num_val": 4, "image_size": 16, "scene_size": 64}
    sizes = [4, 8, 16]
    assert_nested([ColorizationDataModule("scenes", num_train=n, **settings, **places)._build() for n in sizes], sizes)


def test_the_split_does_not_depend_on_the_order_of_the_index() -> None:
    assert seeded_order(candidates(50)[::-1], 3) == seeded_order(candidates(50), 3)


def test_replacements_never_change_sides() -> None:
    order = seeded_order(candidates(100), 0)
    one = Selection(order, 10, 20)
    one.reject(0, "gone")
    larger = Selection(order, 60, 20)
    larger.reject(0, "gone")
    assert one.slots[:20] == larger.slots[:20]
    assert one.slots[0] not in larger.slots[20:]


def test_too_few_images_says_how_many() -> None:
    with pytest.raises(UserError, match=r"found 8 usable images.*needs 10.*num_train=6 data.num_val=2"):
        Selection(candidates(8), 8, 2).settle()


def test_running_out_of_replacements_says_how_many_and_why() -> None:
    selection = Selection(candidates(4), 3, 1)
    selection.reject(2, "truncated")
    with pytest.raises(UserError, match="found 3 usable images \\(1 skipped, the first: truncated"):
        selection.settle()


def test_store_holds_the_resized_images(folder, tmp_path) -> None:
    store = ImageStore(
        build_store(FolderSource(str(folder)), tmp_path / "stores", num_train=None, num_val=2, image_size=16)
    )
    with (store.folder / "manifest.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    for row in rows:
        expected = Image.open(row["file"]).resize((16, 16), Image.Resampling.BICUBIC)
        difference = store.pixels[int(row["row"])].transpose(1, 2, 0).astype(int) - np.asarray(expected)
        assert np.abs(difference).max() <= 4 and np.abs(difference).mean() < 0.1  # of 255: both round between passes


def test_manifest_names_each_files_sha256(folder, tmp_path) -> None:
    import hashlib

    store = build_store(FolderSource(str(folder)), tmp_path / "stores", num_train=None, num_val=2, image_size=16)
    with (store / "manifest.csv").open() as file:
        for row in csv.DictReader(file):
            assert row["sha256"] == hashlib.sha256(Path(row["file"]).read_bytes()).hexdigest()


def test_unusable_images_are_listed_with_their_reasons(folder, tmp_path) -> None:
    store = build_store(FolderSource(str(folder)), tmp_path / "stores", num_train=None, num_val=None, image_size=16)
    with (store / "skipped.csv").open() as file:
        reasons = {row["id"]: row["reason"] for row in csv.DictReader(file)}
    assert set(reasons) == {"grey.png", "empty.jpg", "page.jpg"}
    assert "near-grey" in reasons["grey.png"] and "cannot identify" in reasons["page.jpg"]


def test_skipped_images_are_said(folder, tmp_path, caplog) -> None:
    build_store(FolderSource(str(folder)), tmp_path / "stores", num_train=None, num_val=None, image_size=16)
    assert "skipped 3 of 13 images: 1 near-grey, 2 unreadable or missing (" in caplog.text
    assert "empty.jpg" in caplog.text and "page.jpg" in caplog.text


def test_decoding_in_threads_gives_the_same_store(folder, tmp_path, monkeypatch) -> None:
    from colorize.data import decode

    settings = {"num_train": None, "num_val": 2, "image_size": 16}
    monkeypatch.setattr(decode, "cores", lambda: 1)
    alone = ImageStore(build_store(FolderSource(str(folder)), tmp_path / "a", **settings))
    monkeypatch.setattr(decode, "cores", lambda: 5)
    together = ImageStore(build_store(FolderSource(str(folder)), tmp_path / "b", **settings))
    assert np.array_equal(alone.pixels, together.pixels)


def test_a_built_store_is_found_again(folder, tmp_path, monkeypatch) -> None:
    settings = {"num_train": 5, "num_val": 2, "image_size": 16}
    first = build_store(FolderSource(str(folder)), tmp_path / "stores", **settings)
    monkeypatch.setattr(store_module, "decode_images", None)
    assert build_store(FolderSource(str(folder)), tmp_path / "stores", **settings) == first


def test_changed_images_make_another_store(folder, tmp_path) -> None:
    settings = {"num_train": 5, "num_val": 2, "image_size": 16}
    first = build_store(FolderSource(str(folder)), tmp_path / "stores", **settings)
    colorful_image(99).save(folder / "new.png")
    assert build_store(FolderSource(str(folder)), tmp_path / "stores", **settings) != first


def test_jobs_that_start_together_build_once(folder, tmp_path, monkeypatch) -> None:
    built = []
    build = store_module._build
    monkeypatch.setattr(store_module, "_build", lambda *args: (built.append(1), build(*args)))
    settings = {"num_train": 5, "num_val": 2, "image_size": 16}
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(build_store, FolderSource(str(folder)), tmp_path / "stores", **settings) for _ in range(4)]
    assert len({job.result() for job in jobs}) == 1
    assert len(built) == 1


def test_a_build_that_fails_leaves_no_store(folder, tmp_path) -> None:
    with pytest.raises(UserError, match="found 10 usable images \\(3 skipped"):
        build_store(FolderSource(str(folder)), tmp_path / "stores", num_train=9, num_val=2, image_size=16)
    assert not [path for path in (tmp_path / "stores").iterdir() if path.is_dir()]


def test_a_full_disk_is_an_error_before_anything_is_decoded(folder, tmp_path, monkeypatch) -> None:
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        build_store(FolderSource(str(folder)), tmp_path / "stores", num_train=5, num_val=2, image_size=16)


@pytest.mark.parametrize("make", [lambda path: path / "nowhere", lambda path: path])
def test_a_missing_or_empty_folder_is_named(tmp_path, make) -> None:
    with pytest.raises(UserError, match=r"data.root=.* (is not a folder|holds no image)"):
        FolderSource(str(make(tmp_path)))


def test_a_coco_folder_is_read_without_network(coco_root) -> None:
    found = {candidate.id: candidate.path.name for candidate in CocoSource(str(coco_root)).candidates()}
    assert found == {100 + number: f"{number}.jpg" for number in range(12)}


def test_an_image_missing_from_a_coco_folder_is_replaced(coco_root, tmp_path) -> None:
    (coco_root / "images" / "3.jpg").unlink()
    source = CocoSource(str(coco_root))
    store = ImageStore(build_store(source, tmp_path / "stores", num_train=8, num_val=3, image_size=16))
    assert 103 not in store.ids.tolist()
    assert len(store.train_rows) == 8 and len(store.val_rows) == 3


def test_a_folder_without_annotations_says_what_would_do(tmp_path) -> None:
    with pytest.raises(UserError, match=r"holds no annotations.*data=folder"):
        CocoSource(str(tmp_path))


def test_of_several_indices_the_split_chooses(coco_root) -> None:
    index = coco_root / "annotations" / "instances.json"
    (coco_root / "annotations" / "instances_val2017.json").write_bytes(index.read_bytes())
    assert CocoSource(str(coco_root), split="val2017").index.name == "instances_val2017.json"
    with pytest.raises(UserError, match=r"instances_train2017\.json does not exist; of .* by data\.split=X"):
        CocoSource(str(coco_root))


def test_an_index_that_is_none_is_named(coco_root) -> None:
    (coco_root / "annotations" / "instances.json").write_text('["not COCO"]')
    with pytest.raises(UserError, match=r"instances\.json is not a COCO instances file"):
        CocoSource(str(coco_root)).candidates()
