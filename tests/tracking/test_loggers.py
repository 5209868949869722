"""Loggers: contents of an offline W&B run, when W&B goes online, how a resumed run continues."""

import json
import struct
from pathlib import Path

import pytest

from colorize.base.errors import UserError
from colorize.experiments.experiment import train
from colorize.tracking.loggers import columns, flatten, wandb_mode


@pytest.fixture(autouse=True)
def _no_account(monkeypatch, tmp_path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_SILENT", "true")


def records(run_dir: Path) -> list:
    """Read the records of the offline run in a directory: LevelDB's log format, blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = run_dir.glob("wandb/offline-run-*/run-*.wandb")
    data, found, part, offset = path.read_bytes(), [], b"", 7  # the file's own header
    while offset + 7 <= len(data):
        if 32768 - offset % 32768 < 7:  # no record header fits: padding
            offset += 32768 - offset % 32768
            continue
        length, kind = struct.unpack("<HB", data[offset + 4 : offset + 7])  # after the checksum
        part += data[offset + 7 : offset + 7 + length]
        offset += 7 + length
        if kind in (1, 4):  # a full record, or its last part
            record = Record()
            record.ParseFromString(part)
            found.append(record)
            part = b""
    return found


def history(run_dir: Path) -> dict[str, list]:
    values: dict[str, list] = {}
    for record in records(run_dir):
        if record.WhichOneof("record_type") == "history":
            for item in record.history.item:
                key = item.key or "/".join(item.nested_key)
                values.setdefault(key, []).append(json.loads(item.value_json))
    return values


@pytest.fixture
def run(make_config, tmp_path) -> Path:
    train(make_config("logger=wandb", "max_epochs=2", "gan_mode=lsgan"))
    return tmp_path / "run"


def test_an_offline_run_holds_losses_scores_config_and_pictures(run) -> None:
    logged = history(run)
    assert logged["train/loss_D"] and logged["val/l1"] and logged["train/loss_G_epoch"]
    assert len(logged["train/loss_G"]) == 10
    assert logged["diag/state"] == [0] and 0 <= logged["diag/D_acc_real"][0] <= 1  # a look at the first of ten batches
    start = next(r.run for r in records(run) if r.WhichOneof("record_type") == "run")
    config = {item.key: json.loads(item.value_json) for item in start.config.update}
    assert config["gan_mode"] == "lsgan" and config["loss.gan_mode"] == "lsgan" and config["betas"] == [0.5, 0.999]
    assert config["stabilizer"] == "" and config["strategy"] == ""
    assert len(list(run.glob("wandb/offline-run-*/files/media/images/samples*.png"))) == 2


def test_the_import_that_is_spared_still_exists() -> None:
    """`build_loggers` replaces a method of W&B's that would import 1.6 s of code; it may move one day."""
    import wandb

    assert hasattr(wandb.Run, "_detect_and_apply_job_inputs")


def test_steps_are_counted_in_batches(run) -> None:
    assert max(history(run)["trainer/global_step"]) == 9


def test_a_resumed_run_keeps_its_id(run, make_config) -> None:
    logs = "wandb/offline-run-*/run-*.wandb"  # named by the id; W&B numbers the folders of one second
    (first,) = run.glob(logs)
    train(make_config("logger=wandb", "max_epochs=3", "ckpt_path=last"))
    assert [path.name for path in run.glob(logs)] == [first.name] * 2


def test_tensorboard_is_an_option(make_config, tmp_path) -> None:
    train(make_config("logger.tensorboard=true", "max_epochs=1"))
    assert list((tmp_path / "run/tensorboard").glob("events.*"))


def test_without_a_key_wandb_stays_offline() -> None:
    assert wandb_mode("auto") == "offline"


def test_a_key_in_the_environment_goes_online(monkeypatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert wandb_mode("auto") == "online"


def test_a_key_in_netrc_goes_online(tmp_path) -> None:
    (tmp_path / "netrc").write_text("machine api.wandb.ai\n  login user\n  password key\n")
    (tmp_path / "netrc").chmod(0o600)
    assert wandb_mode("auto") == "online"


def test_what_was_asked_for_beats_the_key(monkeypatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert wandb_mode("offline") == "offline"


def test_online_without_a_key_says_what_would_do() -> None:
    with pytest.raises(UserError, match="needs a W&B key: run `wandb login`"):
        wandb_mode("online")


def test_config_is_flat_for_the_dashboards_columns() -> None:
    assert flatten({"a": 1, "b": {"c": [2], "d": {"e": None}}}) == {"a": 1, "b.c": [2], "b.d.e": None}


def test_groups_that_set_many_keys_are_columns_by_their_names() -> None:
    found = columns({"a": 1}, ["stabilizer=[r1,ema]", "lr=1", "strategy=encoder_bins"])
    assert (found["stabilizer"], found["strategy"]) == ("r1,ema", "encoder_bins")
