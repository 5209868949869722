"""Small networks, small images, and runs of `train` in this process."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image

from colorize.networks import build_generator

ROOT = Path(__file__).parent.parent
SMALL = [
    "data=folder",
    "image_size=64",
    "batch_size=4",
    "generator.n_down=6",
    "generator.num_filters=4",
    "discriminator.num_filters=4",
    "logger=csv",
    "trainer=cpu",
    "engine.threads=1",  # the networks are too small for more
    "val_images=25",  # all
    "trainer.log_every_n_steps=1",
    "~callbacks.progress",
    "callbacks.samples.num_images=2",
]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # the networks are too small for more


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of 25 colorful images of several sizes: 20 for training, 5 for validation."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(25):
        colorful_image(number).save(folder / f"{number:02d}.png")
    return folder


def colorful_image(seed: int, width: int = 48, height: int = 40) -> Image.Image:
    """Draw smooth colors that no threshold takes for grey."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Ten good images, some of them deep, and four that cannot be used."""
    root = tmp_path / "images"
    for number in range(10):
        path = root / ("deep/er" if number % 2 else ".") / f"good {number} ü.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        colorful_image(number).save(path)
    Image.new("L", (9, 9), 80).save(root / "grey.png")
    (root / "empty.jpg").touch()
    (root / "page.jpg").write_text("<html></html>")
    (root / "notes.txt").write_text("no image")
    return root


def small_config(photos: Path, run_dir: Path, *overrides: str) -> DictConfig:
    """Compose a small run on a folder of images."""
    fixed = [f"data.root={photos}", f"run_dir={run_dir}", f"data.store_dir={photos.parent / 'stores'}"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", [*SMALL, *fixed, *overrides])


@pytest.fixture
def make_config(photos: Path, tmp_path: Path) -> Callable[..., DictConfig]:
    """Return a function that composes a small run on `photos` in a directory of the test."""
    return lambda *overrides, run="run": small_config(photos, tmp_path / run, *overrides)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a training checkpoint of a small generator whose colors can be seen."""
    settings = {"name": "unet", "n_down": 5, "num_filters": 4}
    torch.manual_seed(0)
    weights = {f"generator.{key}": value for key, value in build_generator(**settings).state_dict().items()}
    weights["generator.model.3.bias"] = torch.tensor([0.15, -0.1])
    path = tmp_path_factory.mktemp("checkpoint") / "x.ckpt"
    provenance = {"config": {"data": {"name": "folder", "num_train": 20}, "lr": 2e-4}, "commit": "abc", "version": "0"}
    content = {
        "state_dict": weights,
        "hyper_parameters": {"generator": settings, "image_size": 32, "provenance": provenance},
        "epoch": 2,
        "batches": 15,
        "metrics": {"val/l1": 0.125, "val/psnr": 20.5},
    }
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def browser():
    """Start the system's Chromium; its downloads of its own are not used."""
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("no chromium on PATH")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a sweep whose every number is known, with its report."""
    from colorize.report import write_report
    from tests.fake_runs import write_sweep_with_failures

    folder = tmp_path_factory.mktemp("multirun") / "sweep"
    write_sweep_with_failures(folder)
    write_report(folder)
    return folder
