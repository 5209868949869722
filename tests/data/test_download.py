import logging
import os
import random
import socket
import time
import zipfile

import pytest

from colorize.base.errors import UserError
from colorize.data import download
from colorize.data.download import download_file, download_images
from tests.image_server import DATE, HOPELESS, MENDING, ImageServer, image_bytes

TIMEOUT = 0.25  # seconds, for servers that mean to stall
PATIENCE = 2.0  # seconds, for those that answer at once, on however busy a machine


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(download, "BACKOFF", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server():
    with ImageServer() as server:
        yield server


@pytest.fixture
def dead_port():
    with socket.socket() as taken:  # bound, yet not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def fetch(server, folder, behavior, name="a.jpg", **options):
    """Download one image as a server of this behavior gives it; return its path and the reason of failure."""
    path = folder / name
    timeout = TIMEOUT if behavior in HOPELESS or "stall" in behavior else PATIENCE
    failed = download_images([(f"{server.url}/{behavior}/{name}", path)], timeout=timeout, **options)
    assert set(failed) <= {path}
    return path, str(failed[path]) if failed else None


@pytest.mark.parametrize("behavior", MENDING)
def test_a_server_that_mends_gives_the_whole_image(server, tmp_path, behavior):
    path, reason = fetch(server, tmp_path / "new" / "folder", behavior)
    assert reason is None
    assert path.read_bytes() == image_bytes("a.jpg")
    assert list(path.parent.iterdir()) == [path]


REASONS = {
    "404": "404 Not Found",
    "403": "403 Forbidden",
    "410": "410 Gone",
    "503": "503 Service Unavailable",
    "cut": "cut off",
    "chunked-cut": "cut off",
    "stall": "timed out",
    "html": "not a whole .jpg file",
    "hang-up": "Remote end closed connection without response",
}


@pytest.mark.parametrize("behavior", HOPELESS)
def test_a_server_that_does_not_mend_is_named_with_the_reason(server, tmp_path, behavior):
    _, reason = fetch(server, tmp_path, behavior, attempts=3)
    assert list(tmp_path.iterdir()) == []
    assert reason == REASONS[behavior]
    assert len(server.requests) == (1 if behavior in ("404", "403", "410", "html") else 3)


@pytest.mark.parametrize(("behavior", "seconds"), [("busy-once", 7), ("busy-for-long", 60)])
def test_a_server_says_how_long_to_wait_but_not_for_hours(server, tmp_path, monkeypatch, behavior, seconds):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    assert fetch(server, tmp_path, behavior)[1] is None
    assert slept == [seconds]


def test_pauses_grow(server, tmp_path, monkeypatch):
    slept = []
    monkeypatch.setattr(download, "BACKOFF", 1)
    monkeypatch.setattr(time, "sleep", slept.append)
    fetch(server, tmp_path, "503")
    assert slept == [2, 4]  # the second attempt comes at once


def test_an_existing_file_is_not_asked_for(server, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"of an earlier run")
    path, reason = fetch(server, tmp_path, "ok")
    assert (reason, server.requests) == (None, [])
    assert path.read_bytes() == b"of an earlier run"


def test_an_empty_file_is_fetched(server, tmp_path):
    (tmp_path / "a.jpg").touch()
    path, _ = fetch(server, tmp_path, "ok")
    assert path.read_bytes() == image_bytes("a.jpg")


def test_every_image_of_a_mixed_campaign_is_whole_or_named(server, tmp_path):
    draw = random.Random(0)
    weights = [3 if name == "ok" else 1 for name in MENDING] + [0.5] * len(HOPELESS)
    behaviors = draw.choices([*MENDING, *HOPELESS], weights, k=60)
    targets = {tmp_path / f"{i}.jpg": f"{server.url}/{what}/{i}.jpg" for i, what in enumerate(behaviors)}
    failed = download_images([(url, path) for path, url in targets.items()], timeout=PATIENCE)

    hopeless = {path for path, what in zip(targets, behaviors, strict=True) if what in HOPELESS}
    assert {p: str(failed[p]) for p in failed if p not in hopeless} == {}
    assert set(failed) == hopeless
    assert 5 < len(hopeless) < 30
    for path in targets:
        assert path.exists() != (path in failed)
        assert path in failed or path.read_bytes() == image_bytes(path.name)
    assert set(tmp_path.iterdir()) == set(targets) - hopeless


def test_without_network_the_first_failures_end_the_run(dead_port, tmp_path):
    targets = [(f"http://localhost:{dead_port}/{i}.jpg", tmp_path / f"{i}.jpg") for i in range(10_000)]
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        download_images(targets, timeout=TIMEOUT)
    assert time.monotonic() - start < 2
    assert str(caught.value) == (
        "cannot reach localhost (Connection refused): "
        "check the network, point data.root at a COCO folder, or use data=scenes"
    )


def test_an_unknown_host_is_no_network(monkeypatch, tmp_path):
    def no_such_host(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    with pytest.raises(UserError, match=r"^cannot reach images\.example \(Name or service not known\)"):
        download_images([("http://images.example/a.jpg", tmp_path / "a.jpg")])


def test_a_few_unreachable_images_do_not_end_the_run(server, dead_port, tmp_path):
    alive = {tmp_path / f"{i}.jpg": f"{server.url}/ok/{i}.jpg" for i in range(20)}
    dead = {tmp_path / f"dead{i}.jpg": f"http://127.0.0.1:{dead_port}/{i}.jpg" for i in range(3)}
    failed = download_images([(url, path) for path, url in (alive | dead).items()], timeout=PATIENCE)
    assert {path: str(failure) for path, failure in failed.items()} == dict.fromkeys(dead, "Connection refused")
    assert all(path.exists() for path in alive)


def test_an_error_does_not_wait_for_the_transfers_under_way(server, tmp_path):
    (tmp_path / "file").write_text("in the place of a folder")
    targets = [(f"{server.url}/stall/{i}.jpg", tmp_path / f"{i}.jpg") for i in range(100)]
    targets.insert(5, (f"{server.url}/ok/a.jpg", tmp_path / "file" / "a.jpg"))
    start = time.monotonic()
    with pytest.raises(UserError, match=r"^cannot write .*a\.jpg: "):
        download_images(targets, timeout=10)
    assert time.monotonic() - start < 2
    assert len(server.requests) < 20


def test_without_a_terminal_only_the_log_speaks(server, tmp_path, capfd, caplog):
    with caplog.at_level(logging.INFO, "colorize"):
        fetch(server, tmp_path, "ok")
        fetch(server, tmp_path, "404", "b.jpg")
    assert capfd.readouterr() == ("", "")
    assert caplog.messages == ["downloaded 1 of 1 images, 0.0 MB", "downloaded 0 of 1 images, 0.0 MB"]


def test_the_environment_names_the_proxy(server, dead_port, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{server.server_port}")
    assert download_images([("http://images.example/ok/a.jpg", tmp_path / "a.jpg")]) == {}
    assert server.requests == [("http://images.example/ok/a.jpg", None)]

    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{dead_port}")
    assert fetch(server, tmp_path, "ok", "b.jpg")[1] is None  # the proxy is not asked for a local host
    with pytest.raises(UserError, match="Connection refused"):
        download_images([("http://images.example/ok/c.jpg", tmp_path / "c.jpg")])


@pytest.mark.parametrize("attempts", [1, 2])
def test_one_file_continues_where_it_stopped_and_is_not_fetched_again(server, tmp_path, attempts):
    path = tmp_path / "a.zip"
    url = f"{server.url}/cut-once/a.zip"
    if attempts == 1:
        with pytest.raises(UserError, match=r"^cannot download http.*/cut-once/a\.zip: cut off$"):
            download_file(url, path, attempts=1)
        half = len(image_bytes("a.zip")) // 2
        assert (tmp_path / "a.zip.part").read_bytes() == image_bytes("a.zip")[:half]
    download_file(url, path, attempts=attempts)
    download_file(url, path)
    half = len(image_bytes("a.zip")) // 2
    assert path.read_bytes() == image_bytes("a.zip")
    assert [asked for _, asked in server.requests] == [None, f"bytes={half}-"]
    assert server.answers == [200, 206]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("behavior", MENDING)
def test_a_server_that_mends_gives_the_whole_of_one_file(server, tmp_path, behavior):
    path = tmp_path / "new" / "a.zip"
    download_file(f"{server.url}/{behavior}/a.zip", path, timeout=TIMEOUT if "stall" in behavior else PATIENCE)
    assert path.read_bytes() == image_bytes("a.zip")
    assert list(path.parent.iterdir()) == [path]


def test_a_timeout_within_one_file_keeps_what_has_come(server, tmp_path):
    with pytest.raises(UserError, match=r"stall/a\.zip: timed out$"):
        download_file(f"{server.url}/stall/a.zip", tmp_path / "a.zip", attempts=2, timeout=TIMEOUT)
    assert [asked for _, asked in server.requests] == [None, "bytes=100-"]
    assert (tmp_path / "a.zip.part").read_bytes() == image_bytes("a.zip")[:100]


@pytest.mark.parametrize("behavior", ["ok", "no-if-range", "cut-once-no-range"])
@pytest.mark.parametrize(
    "content",
    [image_bytes("other.jpg")[:1500], image_bytes("other.jpg") * 3, b"garbage", b""],
    ids=["other", "long", "garbage", "empty"],
)
def test_a_part_file_of_other_content_does_no_harm(server, tmp_path, behavior, content):
    path = tmp_path / "a.zip"
    path.with_name("a.zip.part").write_bytes(content)
    download_file(f"{server.url}/{behavior}/a.zip", path)
    assert path.read_bytes() == image_bytes("a.zip")
    assert list(tmp_path.iterdir()) == [path]


def test_a_part_file_that_only_looks_like_a_beginning_fails_the_check_and_is_gone(server, tmp_path):
    part, url, whole = tmp_path / "a.zip.part", f"{server.url}/ok/a.zip", image_bytes("a.zip")
    part.write_bytes(b"garbage")
    os.utime(part, (DATE, DATE))
    with pytest.raises(UserError, match=r"not a whole \.zip file$"):
        download_file(url, tmp_path / "a.zip", verify=lambda path: path.read_bytes() == whole)
    assert list(tmp_path.iterdir()) == []


def test_one_file_must_pass_the_check_it_is_given(server, tmp_path):
    with pytest.raises(UserError, match=r"not a whole \.zip file$"):
        download_file(f"{server.url}/html/a.zip", tmp_path / "a.zip", verify=zipfile.is_zipfile)
    assert list(tmp_path.iterdir()) == []


def test_one_file_without_network_says_what_would_do(dead_port, tmp_path):
    with pytest.raises(UserError, match=r"^cannot reach 127\.0\.0\.1 \(Connection refused.*use data=scenes$"):
        download_file(f"http://127.0.0.1:{dead_port}/a.zip", tmp_path / "a.zip")
