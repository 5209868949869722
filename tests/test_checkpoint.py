"""A checkpoint is whole, plain data, and of this project; anything else is one line."""

import pickle
from pathlib import Path

import pytest
import torch

from colorize.checkpoint import load_generator, read_checkpoint
from colorize.errors import UserError
from colorize.training.checkpoints import AtomicCheckpointIO


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


def test_a_missing_checkpoint_is_named(tmp_path) -> None:
    with pytest.raises(UserError, match=r"gone\.ckpt is no file"):
        read_checkpoint(tmp_path / "gone.ckpt")


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_is_named(checkpoint, share) -> None:
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UserError, match=r"x\.ckpt is damaged or no checkpoint") as caught:
        read_checkpoint(checkpoint)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"text", b"\x80\x04garbage", pickle.dumps({"a": 1})])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(UserError, match=r"x\.ckpt is"):
        read_checkpoint(tmp_path / "x.ckpt")


def test_another_projects_checkpoint_is_named(tmp_path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="checkpoint of something else"):
        read_checkpoint(tmp_path / "x.ckpt")


class Code:
    """An object that a checkpoint must not bring to life."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('ran')",))


def test_a_checkpoint_with_code_is_not_run(tmp_path) -> None:
    torch.save({"state_dict": Code()}, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="holds more than plain data"):
        read_checkpoint(tmp_path / "x.ckpt")


def test_weights_that_do_not_fit_are_named(checkpoint) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"]["generator"]["num_filters"] = 4
    torch.save(content, checkpoint)
    with pytest.raises(UserError, match=r"Error.* in loading state_dict"):
        load_generator(checkpoint)
