"""The page against malicious requests and aborted uploads: one-line errors, nothing is kept."""

import json
import signal
import socket
import time
from contextlib import closing, suppress
from pathlib import Path
from secrets import token_hex

import pytest
from PIL import Image

from benchmarks.page_client import form, png, served, until
from colorize.base.errors import UserError
from colorize.web.guard import Hosts
from colorize.web.uploads import Uploads

SOON = "uploads.EVERY, uploads.PARTIAL, uploads.UNHELD, uploads.HELD = 0.2, 1, 2, 6; guard.HEAD_SECONDS = 2; "
SOON += "guard.BODY_SECONDS, guard.WHOLE_SECONDS = 2, 3; uploads.Uploads.__init__.__defaults__ = (0.2,)"
FILE = {"meta": {"_type": "gradio.FileData"}}

slow = pytest.mark.slow


@pytest.fixture(scope="module")
def page(checkpoint, tmp_path_factory):
    with served(checkpoint, tmp_path_factory.mktemp("temporary"), SOON) as page:
        yield page


def authority(page) -> str:
    return f"127.0.0.1:{page.port}"


@slow
def test_what_the_page_itself_does_works(page) -> None:
    own = {"origin": f"http://{authority(page)}", "sec_fetch_site": "same-origin"}
    answer = page.upload(png(), **own)
    assert answer.status == 200
    (path,) = json.loads(answer.body)
    session = token_hex(5)
    assert page.join(FILE | {"path": path}, session, **own).status == 200
    before, after = page.outcome(session)["output"]["data"][0]
    assert page.ask("GET", f"/gradio_api/file={after['path']}").status == 200
    assert Path(before["path"]).parent == Path(after["path"]).parent


@slow
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:{port}"},
        {"host": "127.0.0.1.evil.example:{port}"},
        {"host": "localhost.evil.example"},
        {"host": ""},
        {"host": "[:"},
        {"origin": "http://evil.example"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "http://localhost"},
        {"origin": "http://[:"},
        {"origin": "file://"},
        {"sec_fetch_site": "cross-site"},
    ],
)
def test_foreign_hosts_and_origins_get_nothing(page, headers) -> None:
    headers = {name: value.format(port=page.port) for name, value in headers.items()}
    before = page.files()
    for answer in (
        page.upload(png(), **headers),
        page.join(FILE | {"path": "x"}, "s", **headers),
        page.ask("POST", "/gradio_api/run/predict", b"{}", content_type="application/json", **headers),
        page.ask("OPTIONS", "/gradio_api/upload", access_control_request_method="POST", **headers),
        page.ask("GET", "/config", **headers),
    ):
        assert answer.status in (403, 405) and answer.text.strip()
        assert "access-control-allow-origin" not in answer.headers
        assert "\n" not in answer.text
    assert page.files() == before


@slow
def test_a_link_from_another_page_opens_it(page) -> None:
    there = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert page.ask("GET", "/", **there).status == 200
    assert page.ask("GET", "/", host=f"localhost:{page.port}").status == 200


@slow
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE"])
def test_other_methods_and_places_are_refused(page, method) -> None:
    assert page.ask(method, "/gradio_api/upload").status == 405
    for place in ("vibe-edit/", "process_recording", "stream/x", "component_server"):
        assert page.ask("POST", f"/gradio_api/{place}").status == 404


@slow
def test_an_upload_that_is_never_colored_goes_within_minutes(page) -> None:
    """Seconds here; so does one of a page that stays open, later."""
    assert page.upload(png(value=1)).status == 200
    assert page.files()
    assert until(lambda: not page.files(), 10)
    assert page.color_photograph(png(value=2), session="open").startswith("<p")
    assert page.files()
    assert until(lambda: not page.files(), 20)


@slow
def test_an_upload_that_is_broken_off_goes(page) -> None:
    body, kind = form((bytes(500_000),))
    with closing(socket.create_connection(("127.0.0.1", page.port))) as connection:
        head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {authority(page)}\r\nContent-Type: {kind}\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:300_000])
        assert until(page.files, 5)
    assert until(lambda: not page.files(), 10)


@slow
def test_five_hundred_files_in_one_request_are_refused(page) -> None:
    before = set(page.files())
    for answer in (page.upload(*[png(value=3)] * 500), page.upload(png(value=4), png(value=5))):
        assert answer.status == 400 and answer.text == "Only one photograph at a time"
    assert until(lambda: set(page.files()) <= before, 10)


@slow
def test_what_is_too_large_is_refused_before_it_is_read(page) -> None:
    answer = page.ask("POST", "/gradio_api/upload", content_length=str(10**12), content_type="multipart/form-data")
    assert answer.status == 413 and "maximum allowed size" in answer.text
    field = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + bytes(3_000_000) + b"\r\n--b--\r\n"
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(field), field)
    head = (
        f"POST /gradio_api/upload HTTP/1.1\r\nHost: {authority(page)}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with closing(socket.create_connection(("127.0.0.1", page.port), timeout=30)) as connection:
        connection.sendall(head.encode() + chunked[:2_000_000])
        assert b" 413 " in connection.recv(1000)
    big = json.dumps({"data": ["x" * 10**6]}).encode()
    assert page.ask("POST", "/gradio_api/queue/join", big, content_type="application/json").status == 413


@slow
@pytest.mark.parametrize("limit", ["MAX_FILES = 10", "MAX_BYTES = 10_000_000"])
def test_there_is_a_limit_to_what_the_page_holds(checkpoint, tmp_path, limit) -> None:
    with served(checkpoint, tmp_path, f"{SOON}; uploads.{limit}") as page:
        started = time.monotonic()
        answers = [page.upload(bytes([number]) + bytes(999_999)) for number in range(12)]
        assert time.monotonic() - started < 2  # before the first one goes
        assert [answer.status for answer in answers] == [200] * 9 + [200 if "FILES" in limit else 507] + [507] * 2
        assert "storage for photographs is full" in answers[-1].text
        assert until(lambda: page.upload(png()).status == 200, 15)


@slow
@pytest.mark.parametrize(
    "name",
    ["examples", ".", "..", ".lock", "gone/x.png", "", "\0", "x" * 5000, "/etc/passwd", "/etc", "examples/../../.."],
)
def test_what_is_no_photograph_of_the_page_is_one_line(page, name) -> None:
    examples = sorted((page.folder / "examples").iterdir())
    for _ in range(2):  # a session that comes again cleans up what it had
        said = page.color_file(FILE | {"path": f"{page.folder}/{name}" if name[:1] != "/" else name}, session="same")
        assert "wrong" in said or len(said) > len("error: ")
        assert "Traceback" not in said and "pixels in" not in said
    assert sorted((page.folder / "examples").iterdir()) == examples
    assert page.color_photograph(png()).count("pixels in") == 1


@slow
@pytest.mark.parametrize("file", [[], "x", 7, {}, {"path": 7}, {"path": None}, [{"path": "x"}], True])
def test_what_is_no_file_at_all_is_answered_in_words(page, file) -> None:
    assert len(page.color_file(file)) > len("error: ")
    assert page.color_photograph(png()).count("pixels in") == 1


@slow
@pytest.mark.parametrize(
    "settings",
    [
        (1, 4096, False, None),
        (1, 100, False, None),
        (1, "256", False, None),
        (1, True, False, None),
        (1, [256], False, None),
        (9, 0, False, None),
        (-1, 0, False, None),
        ("1", 0, False, None),
        (True, 0, False, None),
        (None, 0, False, None),
        (1, 0, "yes", None),
        (1, 0, 2, None),
        (1, 0, False, "/etc/passwd"),
        (1, 0, False, ["x"]),
        (1, 0, False, 7),
    ],
)
def test_choices_that_the_page_does_not_offer_are_one_line(page, settings) -> None:
    (path,) = json.loads(page.upload(png()).body)
    *others, checkpoint = settings
    said = page.color_file(FILE | {"path": path}, *others, page.checkpoint if checkpoint is None else checkpoint)
    assert 'class="wrong"' in said and "Error" not in said


@slow
def test_half_open_connections_are_closed(page) -> None:
    """Silent ones, and those that send a byte now and then."""
    silent, slow_one = (socket.create_connection(("127.0.0.1", page.port), timeout=20) for _ in range(2))
    second = socket.create_connection(("127.0.0.1", page.port), timeout=20)
    with closing(silent), closing(slow_one), closing(second):
        second.sendall(f"GET /theme.css HTTP/1.1\r\nHost: {authority(page)}\r\n\r\n".encode())
        slow_one.sendall(b"GET / HT")
        started = time.monotonic()
        while second.recv(1 << 16)[-1:] != b"}" and time.monotonic() < started + 1:
            pass
        second.sendall(b"GET / HT")  # the second request on one connection
        for connection in (silent, slow_one, second):
            while connection.recv(1 << 16):
                pass
        assert time.monotonic() - started < 8


@slow
def test_a_request_whose_rest_does_not_come_is_answered(page) -> None:
    with closing(socket.create_connection(("127.0.0.1", page.port), timeout=20)) as connection:
        head = f"POST /gradio_api/queue/join HTTP/1.1\r\nHost: {authority(page)}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        assert b" 408 " in connection.recv(1000)


@slow
def test_a_request_that_comes_by_drops_is_answered(page) -> None:
    with closing(socket.create_connection(("127.0.0.1", page.port), timeout=20)) as connection:
        head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {authority(page)}\r\n"
        head += "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000\r\n\r\n"
        connection.sendall(head.encode())
        connection.sendall(b'--b\r\nContent-Disposition: form-data; name="files"; filename="x.png"\r\n\r\n')
        connection.settimeout(0.5)
        started = time.monotonic()
        while time.monotonic() < started + 8:
            connection.sendall(b"-")
            with suppress(TimeoutError):
                assert b" 408 " in connection.recv(1000)
                return
    pytest.fail("it is still waiting")


@slow
def test_more_jobs_than_the_page_takes_are_refused_in_words(checkpoint, tmp_path) -> None:
    wait = "import time; do = page.Page._color; page.WAITING = 5; "
    wait += "page.Page._color = lambda *args: (time.sleep(1), do(*args))[1]"
    with served(checkpoint, tmp_path, wait) as page:
        answers = [page.join(None, token_hex(5)) for _ in range(30)]
        refused = [answer for answer in answers if answer.status == 503]
        assert 20 <= len(refused) <= 25 and all("full" in answer.text for answer in refused)


@slow
def test_an_error_of_ours_has_its_line_and_the_page_goes_on(checkpoint, tmp_path) -> None:
    fail = "def fail(path): raise AssertionError\npage.read_photo = fail"
    with served(checkpoint, tmp_path, fail) as page:
        for _ in range(2):
            assert "this photograph could not be colored (AssertionError)" in page.color_photograph(png())
        assert "Traceback" in page.log.read_text()


@slow
def test_what_a_killed_page_left_the_next_one_removes(checkpoint, tmp_path) -> None:
    with served(checkpoint, tmp_path) as first:
        first.upload(png())
        left = first.folder
        with served(checkpoint, tmp_path) as second:
            assert left.is_dir() and second.ask("GET", "/").status == 200  # the first one lives
            second.process.send_signal(signal.SIGKILL)
            second.process.wait()
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        assert left.is_dir() and len(list(tmp_path.glob("colorize-*"))) == 2
        with served(checkpoint, tmp_path) as third:
            assert not left.exists() and third.folder.is_dir()
    assert not list(tmp_path.glob("*colorize-*"))


def test_a_folder_of_another_kind_is_not_taken_for_one_that_was_left(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "colorize-page-without-lock").mkdir()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/.lock").touch()
    (tmp_path / "colorize-page-link").symlink_to(tmp_path / "precious")
    uploads = Uploads()
    other = Uploads()
    assert uploads.folder.is_dir() and other.folder.is_dir()
    uploads.close()
    other.close()
    left = {"colorize-page-without-lock", "precious", "colorize-page-link"}
    assert {path.name for path in tmp_path.iterdir()} == left and (tmp_path / "precious/.lock").exists()


def test_who_fills_the_page_does_not_fill_it_for_an_hour(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("colorize.web.uploads.MAX_FILES", 3)
    monkeypatch.setattr("colorize.web.uploads.UNHELD", 0.2)
    uploads = Uploads()
    for number in range(3):
        file = uploads.new_folder() / "x.png"
        file.write_bytes(png())
        uploads.hold(f"session {number}", [file])
    assert uploads.full()
    assert until(lambda: not uploads.full(), 5)
    uploads.close()


def test_a_link_in_the_folder_leads_nowhere(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    Image.new("L", (8, 8)).save(tmp_path / "mine.png")
    uploads = Uploads()
    (uploads.folder / "a").mkdir()
    (uploads.folder / "a/x.png").symlink_to(tmp_path / "mine.png")
    with pytest.raises(UserError, match="no longer on the server"):
        uploads.photograph({"path": str(uploads.folder / "a/x.png")})
    uploads.close()
    assert (tmp_path / "mine.png").exists()


@pytest.mark.parametrize(
    ("host", "names", "authority", "serves"),
    [
        ("127.0.0.1", [], "127.0.0.1:7860", True),
        ("127.0.0.1", [], "localhost:7860", True),
        ("127.0.0.1", [], "[::1]:7860", True),
        ("127.0.0.1", [], "LOCALHOST", True),
        ("127.0.0.1", [], "10.0.0.7", False),
        ("127.0.0.1", [], "photos.example", False),
        ("127.0.0.1", ["photos.example"], "Photos.Example", True),
        ("0.0.0.0", [], "10.0.0.7:7860", True),
        ("0.0.0.0", [], "[fe80::1]:7860", True),
        ("0.0.0.0", [], socket.gethostname(), True),
        ("0.0.0.0", [], "evil.example", False),
        ("10.0.0.7", [], "10.0.0.7", True),
        ("10.0.0.7", [], "127.0.0.1", False),
        ("127.0.0.1", [], "", False),
        ("127.0.0.1", [], "127.0.0.1@evil.example", False),
    ],
)
def test_by_which_names_it_is_served(host, names, authority, serves) -> None:
    assert Hosts(host, names).serves(authority) is serves


def test_a_page_behind_a_proxy_is_asked_by_its_name() -> None:
    hosts = Hosts("127.0.0.1", ["photos.example"])
    assert hosts.may_ask("https://photos.example", "127.0.0.1:7860")
    assert not hosts.may_ask("https://evil.example", "127.0.0.1:7860")
    assert not hosts.may_ask("http://127.0.0.1:1", "127.0.0.1:7860")


@slow
@pytest.mark.parametrize(
    ("before", "words"),
    [
        ("uploads.MAX_FILES = 0", "storage for photographs is full"),
        ("page.WAITING = 0", "currently busy"),
        ("def fail(path): raise AssertionError\npage.read_photo = fail", "could not be colored (AssertionError)"),
        ("page.Page._color = lambda *args: 1 / 0", "division by zero"),
    ],
)
def test_the_page_shows_each_refusal_in_words(checkpoint, browser, tmp_path, before, words) -> None:
    (tmp_path / "x.png").write_bytes(png())
    with served(checkpoint, tmp_path, before) as page, closing(browser.new_page()) as tab:
        tab.goto(f"http://127.0.0.1:{page.port}")
        tab.get_by_role("button", name="Color", exact=True).wait_for()
        tab.set_input_files("input[type=file]", tmp_path / "x.png")
        tab.get_by_text(words).first.wait_for()
