"""Images that `eval.py` scores: those of the checkpoint's own split, without any training images."""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

from colorize.base.errors import UserError
from colorize.experiments.evaluation import evaluate
from colorize.experiments.experiment import build_data, engine_of, train
from colorize.export import export
from colorize.training import ColorizationModule
from tests.conftest import ROOT, colorful_image, small_config


@pytest.fixture(scope="module")
def run(tmp_path_factory, photos) -> Path:
    """Train on 12 of 25 images; the first 5 of the order are for validation."""
    folder = tmp_path_factory.mktemp("run")
    train(small_config(photos, folder, "max_epochs=1", "data.num_train=12", "data.num_val=5", "engine.resident=false"))
    return folder


@pytest.fixture(scope="module")
def checkpoint(run) -> Path:
    return run / "checkpoints/best.ckpt"


@pytest.fixture
def score(tmp_path):
    """Return a function that runs `eval.py`, and gives what it wrote into ``metrics.json``."""

    def evaluated(*overrides: str) -> dict:
        fixed = [f"run_dir={tmp_path}", "batch_size=2", "resamples=5", f"weights_dir={tmp_path}", "device=cpu"]
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            evaluate(compose("eval", [*fixed, *overrides]))
        return json.loads((tmp_path / "metrics.json").read_text())

    return evaluated


def changed(checkpoint: Path, target: Path, change) -> Path:
    """Write a checkpoint again, changed."""
    content = torch.load(checkpoint, weights_only=True)
    change(content)
    torch.save(content, target)
    return target


def files(run_dir: Path, photos: Path, split: str) -> list[Path]:
    """Return the files of a split of the run's own image store."""
    digest = torch.load(run_dir / "checkpoints/best.ckpt", weights_only=True)["ColorizationDataModule"]["trained_on"]
    for index in (photos.parent / "stores").glob("*/index.json"):
        if json.loads(index.read_text())["trained_on"] == digest:
            with (index.parent / "manifest.csv").open() as file:
                return [Path(row["file"]) for row in csv.DictReader(file) if row["split"] == split]
    raise AssertionError("no store")


def test_without_data_options_the_checkpoints_own_validation_images_are_scored(score, run, checkpoint) -> None:
    written = score(f"ckpt_path={checkpoint}")
    metrics = json.loads((run / "summary.json").read_text())["metrics"]
    assert written["images"] == 5 and written["notes"] == []
    assert written["rows"][str(checkpoint)]["l1"] == pytest.approx(metrics["val/l1"], rel=0.02)


def test_a_checkpoint_names_its_training_images_by_one_digest_of_their_pixels(run, photos, checkpoint) -> None:
    digests = []
    for path in files(run, photos, "train"):
        pixels = np.asarray(Image.open(path))
        digests.append(hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest())
    expected = hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()
    assert torch.load(checkpoint, weights_only=True)["ColorizationDataModule"]["trained_on"] == expected


def test_an_exported_folder_is_scored_as_its_checkpoint_with_its_gain(score, checkpoint, photos, tmp_path) -> None:
    doubled = {"val/calibrated_gain": 2.0}
    changed(checkpoint, tmp_path / "x.ckpt", lambda content: content["metrics"].update(doubled))
    export(tmp_path / "x.ckpt", tmp_path / "once")
    export(tmp_path / "x.ckpt", tmp_path / "twice", calibrate=True)
    own = [f"data.root={photos}", f"data.store_dir={photos.parent / 'stores'}"]
    names = [str(checkpoint), str(tmp_path / "once"), str(tmp_path / "twice")]
    written = score(f"ckpt_path=[{','.join(names)}]", *own)
    assert written["images"] == 5
    raw, once, twice = (written["rows"][name] for name in names)
    assert once == {key: raw[key] for key in once}
    assert written["notes"] == []
    module = ColorizationModule.load_from_checkpoint(checkpoint, weights_only=True).eval()
    cfg = small_config(photos, tmp_path, "data.num_train=12", "data.num_val=5")
    data = build_data(cfg, engine_of(cfg))
    data.setup("validate")
    batch = data.val_batch(data.store.val_rows, torch.device("cpu"))
    expected = (2 * module(batch.L) - batch.ab).abs().mean().item()
    assert twice["l1"] == pytest.approx(expected, rel=1e-4)


def test_an_exported_folder_knows_what_it_was_trained_on(score, checkpoint, photos, tmp_path) -> None:
    export(checkpoint, tmp_path / "model")
    own = [f"data.root={photos}", f"data.store_dir={photos.parent / 'stores'}", "data.num_train=4", "data.num_val=16"]
    written = score(f"ckpt_path={tmp_path / 'model'}", *own)
    assert written["images"] == 5
    assert f"left out: 11 of 16 images that {tmp_path / 'model'} was trained on" in written["notes"]


def test_images_of_training_are_left_out_and_said(score, checkpoint, tmp_path, capsys) -> None:
    """Of the first 16 of the order 11 are for training: what is left is the checkpoint's own validation set."""
    own = score(f"ckpt_path={checkpoint}")
    other = score(f"ckpt_path={checkpoint}", "data.num_train=4", "data.num_val=16")
    assert other["images"] == 5
    assert other["rows"] == own["rows"]
    assert other["notes"] == [
        f"{checkpoint} was trained on other data: data.num_train=12, here 4; data.num_val=5, here 16",
        f"left out: 11 of 16 images that {checkpoint} was trained on",
    ]
    told = capsys.readouterr().out
    assert all(f"- {note}\n" in (tmp_path / "metrics.md").read_text() and note in told for note in other["notes"])


def test_images_are_compared_by_their_pixels_whatever_the_file_and_the_size(
    score, run, photos, checkpoint, tmp_path
) -> None:
    known = files(run, photos, "train")[:3]
    folder = tmp_path / "others"
    folder.mkdir()
    for number, path in enumerate(known):
        Image.open(path).save(folder / f"copy of {number}.bmp")
    for number in range(4):
        colorful_image(100 + number).save(folder / f"new {number}.png")
    own = f"data.store_dir={photos.parent / 'stores'}"
    written = score(
        f"ckpt_path={checkpoint}", "data=folder", f"data.root={folder}", own, "data.num_train=0", "data.num_val=7",
        "image_size=128",
    )  # fmt: skip
    assert written["images"] == 4
    assert f"left out: 3 of 7 images that {checkpoint} was trained on" in written["notes"]


def test_all_rows_are_over_the_images_that_no_checkpoint_was_trained_on(score, photos, checkpoint, tmp_path) -> None:
    train(small_config(photos, tmp_path / "b", "max_epochs=1", "data.num_train=4", "data.num_val=14"))
    second = tmp_path / "b/checkpoints/best.ckpt"  # trained on 14 to 17 of the order, the first on 5 to 16
    written = score(f"ckpt_path=[{checkpoint},{second}]", "data.num_train=0", "data.num_val=20")
    assert written["images"] == 7  # 0 to 4, 18 and 19
    left_out = [note for note in written["notes"] if "left out" in note]
    assert left_out == [
        f"left out: 12 of 20 images that {checkpoint} was trained on",
        f"left out: 4 of 20 images that {second} was trained on",
    ]


def test_of_several_checkpoints_the_firsts_data_is_scored_and_others_are_said(score, photos, checkpoint, tmp_path):
    train(small_config(photos, tmp_path / "b", "max_epochs=1", "data.num_train=10", "data.num_val=5"))
    second = tmp_path / "b/checkpoints/best.ckpt"
    written = score(f"ckpt_path=[{checkpoint},{second}]")
    assert written["data"]["num_train"] == 12 and written["images"] == 5
    assert written["notes"] == [f"{second} was trained on other data: data.num_train=10, here 12"]


def test_another_data_set_is_said(score, checkpoint, tmp_path) -> None:
    more = ["data=scenes", f"data.root={tmp_path}", "data.num_train=0", "data.num_val=3", "data.scene_size=64"]
    written = score(f"ckpt_path={checkpoint}", *more, f"data.store_dir={tmp_path}")
    assert written["notes"] == [f"{checkpoint} was trained on other data: data=folder, here data=scenes"]


def test_a_checkpoint_that_does_not_say_what_it_was_trained_on_is_named(score, checkpoint, tmp_path) -> None:
    old = changed(checkpoint, tmp_path / "old.ckpt", lambda content: content.pop("ColorizationDataModule"))
    written = score(f"ckpt_path={old}")
    assert written["images"] == 5
    (note,) = written["notes"]
    assert note.startswith(f"the training images of {old} are unknown (it does not record them)")


def test_training_images_of_which_no_store_is_left_are_said_not_to_be_known(score, run, photos, checkpoint, tmp_path):
    shutil.copytree(photos, tmp_path / "photos")
    colorful_image(200).save(tmp_path / "photos" / files(run, photos, "train")[0].name)
    gone = {"root": str(tmp_path / "photos"), "store_dir": str(tmp_path / "stores")}

    def move(content: dict) -> None:
        content["hyper_parameters"]["provenance"]["config"]["data"] |= gone

    moved = changed(checkpoint, tmp_path / "moved.ckpt", move)
    (note,) = score(f"ckpt_path={moved}")["notes"]
    assert f"are unknown (no image store in {tmp_path / 'stores'} has the same training images)" in note


def test_if_all_images_were_trained_on_it_says_so(score, run, photos, checkpoint, tmp_path) -> None:
    folder = tmp_path / "known"
    folder.mkdir()
    shutil.copy(files(run, photos, "train")[0], folder)
    own = [f"data.store_dir={photos.parent / 'stores'}", "data.num_train=0", "data.num_val=1"]
    with pytest.raises(UserError, match=r"best\.ckpt: all 1 validation images were used in training"):
        score(f"ckpt_path={checkpoint}", "data=folder", f"data.root={folder}", *own)


def test_a_checkpoint_without_its_data_needs_a_data_set(score, checkpoint, tmp_path) -> None:
    bare = changed(checkpoint, tmp_path / "bare.ckpt", lambda content: content["hyper_parameters"].pop("provenance"))
    with pytest.raises(UserError, match=r"bare\.ckpt does not record its training data: name a data set"):
        score(f"ckpt_path={bare}")


def test_every_key_of_every_data_set_can_be_changed_in_an_evaluation() -> None:
    keys = {key for path in (ROOT / "conf/data").glob("*.yaml") for key in OmegaConf.load(path)}
    assert set(OmegaConf.load(ROOT / "conf/eval.yaml").data) == keys - {"image_size", "batch_size"}
