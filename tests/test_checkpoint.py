"""A checkpoint is complete, plain data of this project; any other file is reported in one line."""

import contextlib
import pickle
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from colorize.base.errors import UserError
from colorize.checkpoint import load_generator, read_checkpoint
from colorize.training.callbacks import checkpoints
from colorize.training.callbacks.checkpoints import AsyncCheckpointIO, AtomicCheckpointIO


@pytest.fixture
def checkpoint(tmp_path):
    from colorize.networks import build_generator

    settings = {"name": "unet", "n_down": 5, "num_filters": 2}
    weights = {f"generator.{k}": v for k, v in build_generator(**settings).state_dict().items()}
    content = {"state_dict": weights, "hyper_parameters": {"generator": settings, "image_size": 32}}
    AtomicCheckpointIO().save_checkpoint(content, tmp_path / "x.ckpt")
    return tmp_path / "x.ckpt"


def test_what_was_written_is_read(checkpoint) -> None:
    assert read_checkpoint(checkpoint)["hyper_parameters"]["image_size"] == 32


def test_a_failed_write_keeps_the_old_checkpoint(checkpoint, monkeypatch) -> None:
    before = checkpoint.read_bytes()

    def half(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError):
        AtomicCheckpointIO().save_checkpoint({}, checkpoint)
    assert checkpoint.read_bytes() == before
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is full")
def test_a_full_disk_is_told_as_such(tmp_path, monkeypatch) -> None:
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: opened(Path("/dev/full"), *a, **k))
    with pytest.raises(OSError, match="No space left on device"):
        AtomicCheckpointIO().save_checkpoint({"weights": torch.zeros(100_000)}, tmp_path / "x.ckpt")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def slow_disk(monkeypatch) -> threading.Event:
    """Hold up what is written until the event is set."""
    write, free = AtomicCheckpointIO.save_checkpoint, threading.Event()

    def wait_and_write(self, *args) -> None:
        free.wait(30)
        write(self, *args)

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", wait_and_write)
    return free


def test_what_is_written_in_the_background_is_what_was_when_it_was_asked_for(tmp_path, slow_disk) -> None:
    weight, writer = torch.zeros(3), AsyncCheckpointIO()
    writer.save_checkpoint({"weight": weight}, tmp_path / "x.ckpt")
    weight += 1
    assert not (tmp_path / "x.ckpt").exists()
    slow_disk.set()
    writer.flush()
    assert torch.load(tmp_path / "x.ckpt", weights_only=True)["weight"].tolist() == [0, 0, 0]


def test_a_slow_disk_leaves_out_checkpoints_not_the_last(tmp_path, slow_disk, monkeypatch) -> None:
    written, replacing = [], checkpoints.replacing
    monkeypatch.setattr(checkpoints, "replacing", lambda path: written.append(path) or replacing(path))
    writer = AsyncCheckpointIO()
    for number in range(5):
        writer.save_checkpoint({"number": number}, tmp_path / "x.ckpt")
    slow_disk.set()
    writer.teardown()
    assert torch.load(tmp_path / "x.ckpt", weights_only=True)["number"] == 4
    assert len(written) == 2  # the one that was being written, and the last


def test_a_failure_in_the_background_is_told(tmp_path) -> None:
    (tmp_path / "file").touch()
    writer = AsyncCheckpointIO()
    writer.save_checkpoint({}, tmp_path / "file" / "y.ckpt")
    with pytest.raises(OSError):
        writer.flush()


def test_a_missing_checkpoint_is_named(tmp_path) -> None:
    with pytest.raises(UserError, match=r"gone\.ckpt is not a file"):
        read_checkpoint(tmp_path / "gone.ckpt")


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_is_named(checkpoint, share) -> None:
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"x\.ckpt is damaged or not a checkpoint") as caught:
        read_checkpoint(checkpoint)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"text", b"\x80\x04garbage", pickle.dumps({"a": 1})])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.ckpt is"):
        read_checkpoint(tmp_path / "x.ckpt")


def test_another_projects_checkpoint_is_named(tmp_path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="is of another project"):
        read_checkpoint(tmp_path / "x.ckpt")


class Code:
    """An object that a checkpoint must not bring to life."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('ran')",))


def test_a_checkpoint_with_code_is_not_run(tmp_path) -> None:
    torch.save({"state_dict": Code()}, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="contains more than plain data"):
        read_checkpoint(tmp_path / "x.ckpt")


def test_weights_that_do_not_fit_are_named(checkpoint) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"]["generator"]["num_filters"] = 4
    torch.save(content, checkpoint)
    with pytest.raises(UserError, match=r"generator: model\.0\.weight is 2x1x4x4, not 4x1x4x4, .* and \d+ more"):
        load_generator(checkpoint)


def test_a_writer_takes_one_stream_of_the_gpu_for_all_it_writes(tmp_path, monkeypatch) -> None:
    waits = []

    class Stream:
        def wait_event(self, event: str) -> None:
            waits.append((self, event))

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: SimpleNamespace(record_event=lambda: "copied"))
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    writer = AsyncCheckpointIO()
    for name in "ab":
        writer.save_checkpoint({"name": name}, tmp_path / f"{name}.ckpt")
        writer.flush()
    assert [event for _, event in waits] == ["copied", "copied"]
    assert len({stream for stream, _ in waits}) == 1
    assert torch.load(tmp_path / "b.ckpt") == {"name": "b"}
