"""A resumed run keeps its config: options on the command line change it, and some things cannot change."""

import json
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import hydra
import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from omegaconf import OmegaConf

from colorize.base.errors import UserError
from colorize.checkpoint import read_checkpoint
from colorize.experiments.experiment import networks_of, train
from colorize.experiments.resume import PLACE, find_checkpoint, go_on, own_config, typed_options
from colorize.training.callbacks.watch import Watch
from tests.conftest import ROOT, SMALL, colorful_image

TINY = [*SMALL, "max_epochs=1"]


def type_in(task: Callable, *words: str) -> object:
    """Run what `train.py` runs on a command line, in this process, and return what it returns."""
    found: list[object] = []
    state, argv = Singleton.get_state(), sys.argv
    sys.argv = ["train.py", *words, "hydra/job_logging=none", "hydra/hydra_logging=none"]
    try:
        program = hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="train")
        program(lambda cfg: found.append(task(cfg)))()
    finally:
        sys.argv = argv
        HydraConfig.instance().cfg = None
        Singleton.set_state(state)
    return found[0]


def config_of(cfg) -> dict:
    """Return the config that a run would go on with, resolved."""
    path = find_checkpoint(cfg)
    checkpoint = read_checkpoint(path)
    cfg, options = own_config(cfg, typed_options(), checkpoint)
    go_on(cfg, options, networks_of(cfg), path, checkpoint)
    return OmegaConf.to_container(cfg, resolve=True)


@pytest.fixture
def place(tmp_path, monkeypatch, photos) -> list[str]:
    """Go to an empty directory; return options that name the images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    return [f"data.root={photos}", f"data.store_dir={photos.parent / 'stores'}"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, photos) -> Path:
    """Return the directory of a finished run of one epoch, five batches."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    data = [f"data.root={photos}", f"data.store_dir={photos.parent / 'stores'}"]
    saves = "tests.training.callbacks.test_watch.Saves"
    within = f"+callbacks.saves={{_target_: {saves}, path: {folder.parent / 'within.ckpt'}, batch: 3}}"
    type_in(train, *TINY, *data, "lambda_L1=50", "optim.discriminator.lr=1e-5", within, f"hydra.run.dir={folder}")
    return folder


@pytest.fixture
def last(trained) -> str:
    return f"ckpt_path={trained / 'checkpoints/last.ckpt'}"


NETWORKS = [word for word in SMALL if word.startswith(("generator", "discriminator", "trainer", "engine", "~"))]
SCENES = [*NETWORKS, "experiment=demo", "batch_size=4", "data.num_train=8", "data.num_val=2"]
ADDED = "+callbacks.added={_target_: lightning.pytorch.Callback}"


@pytest.mark.parametrize(
    "options",
    [
        [*SCENES, "data.root=scenes", "data.store_dir=stores", "max_epochs=1"],
        [*TINY, "stabilizer=[ema,cosine_decay]"],
        [*TINY, "image_size=128", "generator.n_down=7", ADDED],
    ],
    ids=["demo", "ema", "size"],
)
def test_ckpt_path_last_alone_takes_the_runs_own_config(place, options) -> None:
    options = options if "experiment=demo" in options else [*options, *place]
    first = Path("outputs/first/run").absolute()
    type_in(train, *options, f"hydra.run.dir={first}")
    config = OmegaConf.to_container(OmegaConf.load(first / ".hydra/config.yaml"))
    assert type_in(train, "ckpt_path=last")["val/l1"] > 0
    (second,) = (path.parent for path in Path("outputs").glob("2*/*/summary.json"))
    again = OmegaConf.to_container(OmegaConf.load(second / ".hydra/config.yaml"))
    assert {**again, **dict.fromkeys(PLACE)} == {**config, **dict.fromkeys(PLACE)}
    assert json.loads((second / "summary.json").read_text())["resumed"] == []


def test_a_run_that_goes_on_alone_ends_as_one_that_was_not_interrupted(place) -> None:
    options = [*TINY, *place, "stabilizer=[ema]", "betas=[0.4,0.99]"]
    type_in(train, *options, "max_epochs=2", "hydra.run.dir=whole")
    type_in(train, *options, "hydra.run.dir=outputs/first/run")
    type_in(train, "ckpt_path=last", "max_epochs=2")
    (second,) = Path("outputs").glob("2*/*/checkpoints/last.ckpt")
    one, other = (read_checkpoint(path)["state_dict"] for path in (Path("whole/checkpoints/last.ckpt"), second))
    assert one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def test_each_change_is_told_once_and_stays_in_the_summaries(place, trained, last, caplog) -> None:
    with caplog.at_level(logging.INFO, logger="colorize.experiments.resume"):
        type_in(train, last, "max_epochs=2", "lr=1e-4", "hydra.run.dir=second")
    assert caplog.messages == ["lr: 0.0002 -> 0.0001", "max_epochs: 1 -> 2"]
    type_in(train, "ckpt_path=second/checkpoints/last.ckpt", "optimized_metric=val/psnr", "hydra.run.dir=third")
    assert json.loads(Path("third/summary.json").read_text())["resumed"] == [
        {"batch": 5, "changed": {"lr": [2e-4, 1e-4], "max_epochs": [1, 2]}},
        {"batch": 10, "changed": {"optimized_metric": ["val/l1", "val/psnr"]}},
    ]


def test_keys_that_follow_another_follow_it_and_those_that_were_set_stay(place, last) -> None:
    optim = type_in(config_of, last, "lr=1e-3")["optim"]
    assert (optim["generator"]["lr"], optim["discriminator"]["lr"]) == (1e-3, 1e-5)


def test_a_typed_group_takes_the_place_of_the_runs(place) -> None:
    type_in(train, *TINY, *place, "stabilizer=[cosine_decay,label_smoothing]", "hydra.run.dir=run")
    config = type_in(config_of, "ckpt_path=run/checkpoints/last.ckpt", "stabilizer=[ttur]")
    assert (config["optim"]["schedule"], config["loss"]["real_label"], config["lr_ratio"]) == ("constant", 1.0, 2.0)


def test_the_same_command_again_changes_nothing(place, caplog) -> None:
    command = [*TINY, *place, ADDED, "~callbacks.samples", "hydra.run.dir=runs/a", "ckpt_path=last"]
    command = [word for word in command if not word.startswith("callbacks.samples")]
    for _ in range(2):
        with caplog.at_level(logging.INFO, logger="colorize.experiments.resume"):
            type_in(train, *command)
    assert [message.split(":")[0] for message in caplog.messages] == ["ckpt_path=last"]  # that it starts
    assert read_checkpoint("runs/a/checkpoints/last.ckpt")["batches"] == 5


@pytest.fixture
def old(place, trained) -> str:
    """Write the checkpoint of a version whose default betas were others."""
    checkpoint = read_checkpoint(trained / "checkpoints/last.ckpt")
    config = checkpoint["hyper_parameters"]["provenance"]["config"]
    for settings in (config, *(config["optim"][network] for network in ("generator", "discriminator"))):
        settings["betas"] = [0.1, 0.2]
    torch.save(checkpoint, "old.ckpt")
    return "ckpt_path=old.ckpt"


def test_a_value_stays_the_runs_where_the_default_has_moved(old) -> None:
    found = type_in(config_of, old, "lr=1e-3")["optim"]["generator"]
    assert (found["betas"], found["lr"]) == ([0.1, 0.2], 1e-3)


def test_callbacks_of_an_older_version_are_found_where_they_are_now(place, trained) -> None:
    checkpoint = read_checkpoint(trained / "checkpoints/last.ckpt")
    callbacks = checkpoint["hyper_parameters"]["provenance"]["config"]["callbacks"]
    callbacks["watch"]["_target_"] = "colorize.training.watch.Watch"
    torch.save(checkpoint, "old.ckpt")
    type_in(train, "ckpt_path=old.ckpt", "max_epochs=2", "hydra.run.dir=second")
    assert OmegaConf.load("second/.hydra/config.yaml").callbacks.watch._target_ == f"{Watch.__module__}.Watch"
    assert json.loads(Path("second/summary.json").read_text())["resumed"][0]["changed"].keys() == {"max_epochs"}


def test_a_typed_value_counts_where_it_is_the_default_that_has_moved(old) -> None:
    assert type_in(config_of, old, "betas=[0.5,0.999]")["optim"]["generator"]["betas"] == [0.5, 0.999]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["generator.num_filters=8"],
            "cannot be resumed with generator.num_filters=8: set generator.num_filters=4, or",
        ),
        (
            ["gan_mode=wgan-gp"],
            "cannot be resumed with discriminator.norm=none: set discriminator.norm=batch, or start a",
        ),
        (
            ["stabilizer=[ema]"],
            "cannot be resumed with game.ema_decay=0.999: set game.ema_decay=null, or start a new run",
        ),
        (
            ["data.num_train=12"],
            "cannot be resumed with data.num_train=12: set data.num_train=null, or start a new run",
        ),
        (["data.split_seed=1"], "cannot be resumed with data.split_seed=1: set data.split_seed=0, or start a new run"),
        (["image_size=128"], "cannot be resumed with image_size=128: set image_size=64, or start a new run, without"),
        (["data=scenes"], "cannot be resumed with data.name=scenes .*: set data.name=folder "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_change_is_one_line_with_the_option_that_would_do(place, last, options, message) -> None:
    with pytest.raises(UserError, match=message) as caught:
        type_in(train, last, *options)
    assert "\n" not in str(caught.value)


def test_a_mean_generator_does_not_disappear(place, trained) -> None:
    checkpoint = read_checkpoint(trained / "checkpoints/last.ckpt")
    about = checkpoint["hyper_parameters"]["provenance"]
    about["config"]["game"]["ema_decay"] = 0.999
    about["overrides"].append("stabilizer=[ema]")
    torch.save(checkpoint, "mean.ckpt")
    with pytest.raises(UserError, match=r"cannot be resumed with game.ema_decay=null: set game.ema_decay=0.999, or"):
        type_in(config_of, "ckpt_path=mean.ckpt", "stabilizer=[]")


@pytest.mark.parametrize("option", ["batch_size=2", "seed=1"])
def test_what_orders_an_epoch_changes_between_epochs_only(place, trained, last, option) -> None:
    key, value = option.split("=")
    assert type_in(config_of, last, option)[key] == int(value)
    with pytest.raises(UserError, match=f"with {option}: set {key}=[04], since the checkpoint is from within an epoch"):
        type_in(config_of, f"ckpt_path={trained.parent / 'within.ckpt'}", option)


def test_other_images_are_one_line_and_the_same_ones_elsewhere_will_do(place, photos, last) -> None:
    shutil.copytree(photos, "moved")
    assert type_in(train, last, "data.root=moved", "data.store_dir=stores")["val/l1"] > 0
    colorful_image(99).save("moved/07.png")
    with pytest.raises(UserError, match="data=folder: the images or their split differ from those that the checkpoint"):
        type_in(train, last, "data.root=moved", "data.store_dir=stores")


def test_a_checkpoint_that_was_moved_alone_knows_its_config(place, trained) -> None:
    shutil.copy(trained / "checkpoints/last.ckpt", "alone.ckpt")
    assert type_in(config_of, "ckpt_path=alone.ckpt")["lambda_L1"] == 50
