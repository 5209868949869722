"""Untrusted folders and indices: nothing hangs, nothing is written outside, and counts are correct."""

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from colorize.base.errors import UserError
from colorize.data import download
from colorize.data.download import download_images
from colorize.data.selection import Selection
from colorize.data.sources import Candidate, CocoSource, FolderSource
from colorize.data.store import ImageStore, build_store
from tests.conftest import colorful_image
from tests.image_server import BEHAVIORS, ImageServer, image_bytes


@pytest.fixture(autouse=True)
def _quick(monkeypatch) -> None:
    monkeypatch.setattr(download, "BACKOFF", 0.01)


@pytest.fixture
def server():
    with ImageServer() as server:
        yield server


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))  # its name stays when it is closed


NO_FILES = {
    "pipe": pipe,
    "dangling link": lambda path: path.symlink_to("gone.png"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to a pipe": lambda path: (os.mkfifo(path.with_suffix(".pipe")), path.symlink_to(path.with_suffix(".pipe"))),
    "socket": listening,
}

BUILD = """
import sys
from pathlib import Path
from colorize.data.sources import FolderSource, CocoSource
from colorize.data.store import build_store
kind = {"folder": FolderSource, "coco": CocoSource}[sys.argv[1]]
build_store(kind(sys.argv[2]), Path(sys.argv[3]), num_train=None, num_val=2, image_size=16)
"""


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_skipped_and_listed(folder, tmp_path, kind, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    NO_FILES[kind](folder / "odd.png")
    command = [sys.executable, "-c", BUILD, "folder", folder, tmp_path / "stores"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (listed,) = (tmp_path / "stores").glob("[!.]*/skipped.csv")
    with listed.open() as file:
        assert {row["id"]: row["reason"] for row in csv.DictReader(file)}["odd.png"] == "no such file, or none of bytes"


@pytest.fixture
def coco(tmp_path) -> Path:
    root = tmp_path / "coco"
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    for number in range(8):
        colorful_image(number).save(root / f"images/{number}.png")
    write_index(root, [f"{number}.png" for number in range(8)])
    return root


def write_index(root: Path, names: list, **more) -> None:
    images = [{"id": number, "file_name": name, **more} for number, name in enumerate(names)]
    content = {"images": images, "annotations": [], "categories": []}
    (root / "annotations/instances_train2017.json").write_text(json.dumps(content))


def test_a_pipe_in_place_of_an_image_or_the_index_does_not_hang(coco, tmp_path) -> None:
    (coco / "images/3.png").unlink()
    pipe(coco / "images/3.png")
    command = [sys.executable, "-c", BUILD, "coco", coco, tmp_path / "stores"]
    assert subprocess.run(command, timeout=60).returncode == 0
    (coco / "annotations/instances_train2017.json").unlink()
    pipe(coco / "annotations/instances_train2017.json")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "holds no annotations" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("how", ["num_train", "both"])
def test_too_few_names_numbers_that_do(tmp_path, how) -> None:
    """Of 40 files ten are unusable, in an order that would show them one at a time."""
    images = tmp_path / "images"
    images.mkdir()
    for number in range(40):
        path = images / f"{number}.png"
        if number % 4:
            colorful_image(number).save(path)
        elif number % 8:
            path.write_text("no image")
        else:
            Image.new("L", (9, 9), number).save(path)
    asked = {"num_train": {"num_train": 39, "num_val": 1}, "both": {"num_train": 35, "num_val": 10}}[how]
    with pytest.raises(UserError) as raised:
        build_store(FolderSource(str(images)), tmp_path / "stores", image_size=16, **asked)
    assert "found 30 usable images (10 skipped" in str(raised.value)
    assert "data.num_train=24 data.num_val=6" in str(raised.value)
    store = build_store(FolderSource(str(images)), tmp_path / "stores", image_size=16, num_train=24, num_val=6)
    assert len(ImageStore(store).train_rows) == 24


def test_nothing_is_fetched_that_cannot_suffice(server, tmp_path) -> None:
    (tmp_path / "coco/annotations").mkdir(parents=True)
    write_index(tmp_path / "coco", ["a.jpg", "b.jpg"], coco_url=f"{server.url}/ok/a.jpg")
    source = CocoSource(str(tmp_path / "coco"), download=True)
    with pytest.raises(UserError, match=r"found 2 images, .*needs 5"):
        build_store(source, tmp_path / "stores", num_train=4, num_val=1, image_size=16)
    assert not server.requests


def test_selection_counts_to_the_end() -> None:
    selection = Selection([Candidate(n, Path(f"{n}.png")) for n in range(5)], 4, 1)
    for slot in (0, 2, 4):
        assert selection.reject(slot, "truncated") is None
    with pytest.raises(UserError, match=r"found 2 usable images \(3 skipped, the first: truncated\)"):
        selection.settle()


OUTSIDE = [
    "../x.jpg",
    "../../../x.jpg",
    "a/../../../x.jpg",
    "/tmp/x.jpg",
    "",
    ".",
    "..",
    "a\0b.jpg",
    3,
    None,
    ["x.jpg"],
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_index_that_names_a_file_outside_of_its_folder_is_refused(server, coco, tmp_path, name) -> None:
    before = sorted(tmp_path.rglob("*"))
    write_index(coco, ["0.png", name], coco_url=f"{server.url}/ok/x.jpg")
    source = CocoSource(str(coco), download=True)
    with pytest.raises(UserError, match=r"instances_train2017\.json"):
        source.fetch(source.candidates())
    assert sorted(tmp_path.rglob("*")) == before and not server.requests


def test_an_index_cannot_write_through_a_link(server, coco, tmp_path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (coco / "train2017").mkdir()
    (coco / "train2017/link").symlink_to(tmp_path / "elsewhere")
    write_index(coco, ["link/x.jpg"], coco_url=f"{server.url}/ok/x.jpg")
    source = CocoSource(str(coco), download=True)
    with pytest.raises(UserError, match="outside"):
        source.fetch(source.candidates())
    assert not list((tmp_path / "elsewhere").iterdir())


def test_folders_and_images_that_are_links_are_read(coco, tmp_path) -> None:
    """As people lay large data sets out on several disks."""
    (coco / "images").rename(tmp_path / "disk")
    (coco / "images").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/3.png").rename(tmp_path / "three.png")
    (tmp_path / "disk/3.png").symlink_to(tmp_path / "three.png")
    assert all(candidate.path.is_file() for candidate in CocoSource(str(coco)).candidates())


def test_names_in_subfolders_are_fetched_there(server, coco) -> None:
    write_index(coco, ["deep/er/x.jpg"], coco_url=f"{server.url}/ok/x.jpg")
    source = CocoSource(str(coco), download=True)
    assert not source.fetch(source.candidates())
    assert (coco / "train2017/deep/er/x.jpg").read_bytes() == image_bytes("x.jpg")


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"images": [{"id": 1}], "annotations": []}', '{"images": [3]}', "\xff"]
)
def test_an_index_of_something_else_is_one_line(coco, text) -> None:
    (coco / "annotations/instances_train2017.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"instances_train2017\.json is not a COCO instances file"):
        CocoSource(str(coco)).candidates()


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://localhost/x.jpg", "data:image/png;base64,AAAA", "x.jpg", "http://", 7]
)
def test_other_schemes_are_not_asked(coco, url) -> None:
    write_index(coco, ["0.png", "x.jpg"], coco_url=url)
    source = CocoSource(str(coco), download=True)
    (reason,) = source.fetch(source.candidates()).values()
    assert "coco_url" in reason and "http" in reason
    assert not (coco / "train2017").exists()


def redirecting(monkeypatch, location: str) -> None:
    def redirect(handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", location)
        handler.head(0)

    monkeypatch.setitem(BEHAVIORS, "away", redirect)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://localhost/x.jpg", "gopher://localhost/"])
def test_a_redirect_to_another_scheme_is_not_followed(server, tmp_path, monkeypatch, location) -> None:
    redirecting(monkeypatch, location)
    failed = download_images([(f"{server.url}/away/x.jpg", tmp_path / "x.jpg")])
    assert "redirected to" in str(failed[tmp_path / "x.jpg"]) and failed[tmp_path / "x.jpg"].permanent
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("before", "after", "follows"),
    [
        ("http://images.example/a", "http://other.example/a", True),
        ("http://images.example/a", "https://images.example/a", True),
        ("https://images.example/a", "http://images.example/a", False),
        ("http://images.example/a", "http://127.0.0.1/a", False),
        ("http://images.example/a", "http://localhost:8000/a", False),
        ("http://images.example/a", "http://[::1]/a", False),
        ("http://images.example/a", "http://169.254.169.254/latest/meta-data", False),
        ("http://images.example/a", "http://10.0.0.1/a", False),
        ("http://127.0.0.1:1/a", "http://127.0.0.1:2/a", True),
        ("http://images.example/a", "ftp://images.example/a", False),
        ("http://images.example/a", "http:///a", False),
    ],
)
def test_where_a_redirect_may_lead(before, after, follows) -> None:
    assert download.may_lead(before, after) is follows
