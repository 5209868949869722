"""Files are complete or absent; unknown names are answered with the available ones."""

import json
from pathlib import Path

import pytest

from colorize import __version__
from colorize.base import machine
from colorize.base.errors import UserError, missing_extra
from colorize.base.files import replacing, replacing_folder, write_csv, write_json
from colorize.base.registry import Registry


def test_a_replaced_file_has_the_new_content(tmp_path) -> None:
    (tmp_path / "x.txt").write_text("old")
    with replacing(tmp_path / "x.txt") as temporary:
        temporary.write_text("new")
        assert (tmp_path / "x.txt").read_text() == "old"
    assert (tmp_path / "x.txt").read_text() == "new"


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path) -> None:
    (tmp_path / "x.txt").write_text("old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "x.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_failed_folder_does_not_appear(tmp_path) -> None:
    with pytest.raises(RuntimeError), replacing_folder(tmp_path / "x") as temporary:
        (temporary / "half").touch()
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_of_a_folder_is_not_taken_up(tmp_path) -> None:
    (tmp_path / ".x.partial").mkdir()
    (tmp_path / ".x.partial" / "old").touch()
    with replacing_folder(tmp_path / "x") as temporary:
        (temporary / "new").touch()
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["new"]


def test_an_error_names_the_path_that_was_asked_for() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_json(Path("/proc/x.json"), {})
    assert str(caught.value.filename) == "/proc/x.json"
    with pytest.raises(FileNotFoundError) as caught, replacing_folder(Path("/proc/x")):
        pass
    assert str(caught.value.filename) == "/proc/x"


def test_json_that_cannot_be_written_leaves_what_was_there(tmp_path) -> None:
    write_json(tmp_path / "x.json", {"a": [1, "ü"]})
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", {"a": object()})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": [1, "ü"]}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_table_has_a_header_and_empty_cells(tmp_path) -> None:
    write_csv(tmp_path / "x.csv", ["a", "b"], [{"a": 1, "b": "x,y"}, {"b": 2}])
    assert (tmp_path / "x.csv").read_bytes() == b'a,b\r\n1,"x,y"\r\n,2\r\n'


@pytest.fixture
def registry() -> Registry:
    registry = Registry("shape")
    registry.register("square")(lambda side: side * side)
    return registry


def test_an_entry_is_built_by_name(registry) -> None:
    assert registry.build("square", side=3) == 9


def test_an_unknown_name_names_the_choices(registry) -> None:
    with pytest.raises(UserError, match=r"unknown shape 'circle'; choose one of \['square'\]"):
        registry.build("circle")


def test_an_unknown_argument_names_those_that_exist(registry) -> None:
    with pytest.raises(UserError, match="unexpected keyword argument 'radius'; it takes side"):
        registry.build("square", side=3, radius=3)


def test_cores_are_those_of_the_affinity(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(machine, "QUOTA", tmp_path / "none")
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    assert machine.cores() == 3


@pytest.mark.parametrize(("quota", "cores"), [("max 100000", 8), ("250000 100000", 2), ("5000 100000", 1)])
def test_cores_stay_within_a_containers_quota(monkeypatch, tmp_path, quota, cores) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(machine, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert machine.cores() == cores


def test_a_missing_extra_is_one_line_with_what_installs_it() -> None:
    assert missing_extra("the web page needs Gradio", "demo") == (
        "the web page needs Gradio: pip install -e '.[demo]' in a clone of colorize-lab, "
        f"or pip install 'colorize_lab-{__version__}-py3-none-any.whl[demo]'"
    )
