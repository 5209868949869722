"""Downloading COCO from a server: index, images, replacements, and failures."""

import io
import json
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from colorize.base.errors import UserError
from colorize.data import download
from colorize.data.selection import seeded_order
from colorize.data.sources import CocoSource
from colorize.data.store import ImageStore, build_store
from colorize.images import read_rgb
from tests.image_server import ImageServer, image_bytes

ARCHIVE = "annotations_trainval2017.zip"


@pytest.fixture(autouse=True)
def _quick(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(download, "BACKOFF", 0.01)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server():
    with ImageServer() as server:
        yield server


def publish(server: ImageServer, behaviors: dict[int, str]) -> str:
    """Put an index of the images on the server, each with its behavior; return the archive's URL."""
    images = [
        {"id": n, "file_name": f"{n:012}.jpg", "coco_url": f"{server.url}/{behavior}/{n:012}.jpg"}
        for n, behavior in behaviors.items()
    ]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        index = {"images": images, "annotations": [], "categories": []}
        archive.writestr("annotations/instances_train2017.json", json.dumps(index))
    server.files[ARCHIVE] = stream.getvalue()
    return f"{server.url}/ok/{ARCHIVE}"


def build(url: str, num_train: int = 8, num_val: int = 3) -> ImageStore:
    source = CocoSource(annotations_url=url)
    return ImageStore(build_store(source, Path("stores"), num_train=num_train, num_val=num_val, image_size=16))


def test_only_the_chosen_images_are_fetched(server) -> None:
    store = build(publish(server, dict.fromkeys(range(1, 101), "ok")))
    assert len(list(Path("data/coco/train2017").iterdir())) == 11
    chosen = {int(path.stem) for path in Path("data/coco/train2017").iterdir()}
    order = seeded_order(CocoSource(annotations_url="").candidates(), 0)
    assert chosen == {candidate.id for candidate in order[:11]} == set(store.ids.tolist())


def test_images_that_fail_for_good_are_replaced(server) -> None:
    url = publish(server, {n: "404" if n % 3 == 0 else "ok" for n in range(1, 41)})
    store = build(url)
    assert len(store.train_rows) == 8 and len(store.val_rows) == 3
    assert not [number for number in store.ids.tolist() if number % 3 == 0]
    reasons = (store.folder / "skipped.csv").read_text()
    assert store.skipped == reasons.count("404 Not Found") > 0


def test_grey_images_are_replaced(server) -> None:
    stream = io.BytesIO()
    Image.new("L", (40, 40), 99).save(stream, "JPEG")
    for number in range(1, 41, 2):
        server.files[f"{number:012}.jpg"] = stream.getvalue()
    store = build(publish(server, dict.fromkeys(range(1, 41), "ok")))
    assert all(number % 2 == 0 for number in store.ids.tolist())
    assert "near-grey" in (store.folder / "skipped.csv").read_text()


def test_a_second_run_asks_for_nothing(server) -> None:
    url = publish(server, dict.fromkeys(range(1, 21), "ok"))
    build(url)
    asked = len(server.requests)
    build(url)
    build(url, num_train=6)
    assert len(server.requests) == asked


def test_images_that_may_come_later_are_not_replaced(server) -> None:
    url = publish(server, {n: "503" if n % 2 else "ok" for n in range(1, 41)})
    with pytest.raises(UserError, match=r"images could not be downloaded .*503 Service Unavailable.* run again"):
        build(url)
    whole = list(Path("data/coco/train2017").glob("*.jpg"))
    assert whole and all(path.read_bytes() == image_bytes(path.name) for path in whole)


def test_doing_without_what_did_not_come(server) -> None:
    url = publish(server, {n: "503" if n % 4 == 0 else "ok" for n in range(1, 41)})
    with pytest.raises(UserError):
        build(url, num_train=30, num_val=8)
    source = CocoSource(download=False)
    store = ImageStore(build_store(source, Path("stores"), num_train=8, num_val=3, image_size=16))
    assert len(store.train_rows) == 8


def test_another_splits_index_is_not_taken_for_it(server) -> None:
    url = publish(server, dict.fromkeys(range(1, 21), "ok"))
    build(url)
    with pytest.raises(UserError, match=r"holds no annotations/instances_val2017\.json"):
        CocoSource(split="val2017", annotations_url=url)


def test_a_page_instead_of_the_archive_is_no_archive(server) -> None:
    server.files[ARCHIVE] = b"<html>log in</html>"
    with pytest.raises(UserError, match=r"cannot download .*not a whole \.zip file"):
        build(f"{server.url}/ok/{ARCHIVE}")
    assert not list(Path("data/coco").rglob("*.json"))


def test_no_network_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"cannot reach 127\.0\.0\.1 .*data\.root.*data=scenes") as caught:
        build("http://127.0.0.1:9/annotations_trainval2017.zip")
    assert "\n" not in str(caught.value)


def test_a_campaign_of_misbehavior_ends_with_every_image_whole_or_named(server) -> None:
    behaviors = ["ok", "fails-twice", "cut-once", "hangs-up-once", "404", "410", "cut-once-no-range"]
    url = publish(server, {n: behaviors[n % len(behaviors)] for n in range(1, 121)})
    store = build(url, num_train=60, num_val=20)
    assert len(store.train_rows) + len(store.val_rows) == 80
    named = (store.folder / "skipped.csv").read_text()
    for path in Path("data/coco/train2017").iterdir():
        assert path.suffix == ".jpg" and path.read_bytes() == image_bytes(path.name)
        read_rgb(path)
    for number in range(1, 121):
        if behaviors[number % len(behaviors)] in ("404", "410"):
            assert number not in store.ids.tolist()
    assert store.skipped == named.count("404 Not Found") + named.count("410 Gone")
