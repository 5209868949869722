"""A new run starts from the weights of a trained model, logs which ones, and uses a new optimizer."""

import hashlib
import logging
from pathlib import Path

import pytest
import torch

from colorize.base.errors import UserError
from colorize.checkpoint import read_checkpoint
from colorize.experiments.experiment import build_module, engine_of, train
from colorize.experiments.warm_start import start
from colorize.export import export
from colorize.networks import Unet
from tests.conftest import small_config
from tests.experiments.test_resume import LAST


@pytest.fixture(scope="module")
def source(tmp_path_factory, photos) -> Path:
    """Return the checkpoint of a run of two batches with a mean generator."""
    folder = tmp_path_factory.mktemp("source")
    train(small_config(photos, folder, "trainer.max_steps=2", "lr=1e-2", "stabilizer=[ema]"))
    return folder / LAST


def started(config, name: Path | str):
    module = build_module(config, engine_of(config))
    start(module, str(name))
    return module


def part(checkpoint: Path, prefix: str) -> dict[str, torch.Tensor]:
    weights = read_checkpoint(checkpoint)["state_dict"]
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def assert_same(network: torch.nn.Module, weights: dict[str, torch.Tensor]) -> None:
    found = network.state_dict()
    assert found.keys() == weights.keys() and all(torch.equal(found[key], weights[key]) for key in found)


def test_the_mean_of_the_sources_generator_and_its_discriminator_are_taken(make_config, source, caplog) -> None:
    caplog.set_level(logging.INFO)
    module = started(make_config("stabilizer=[ema]", "seed=9"), source)
    assert_same(module.generator, part(source, "generator_ema."))
    assert_same(module.generator_ema, part(source, "generator_ema."))
    assert_same(module.discriminator, part(source, "discriminator."))
    count = len(module.generator.state_dict())
    told = f"init_from={source}: loaded {count} of the generator's {count} tensors; loaded the discriminator"
    assert told in caplog.messages


def test_the_first_step_is_one_of_a_fresh_optimizer_and_the_checkpoint_says_where_it_started(
    make_config, tmp_path, source
) -> None:
    """The first step of Adam moves each weight by its learning rate, but for its epsilon."""
    train(make_config("trainer.max_steps=1", "lr=1e-3", f"init_from={source}"))
    after = part(tmp_path / "run" / LAST, "generator.")
    moved = [(after[key] - value).abs().max().item() for key, value in part(source, "generator_ema.").items()
             if key.endswith("weight")]  # fmt: skip
    assert max(moved) == pytest.approx(1e-3, rel=1e-3)
    note = read_checkpoint(tmp_path / "run" / LAST)["hyper_parameters"]["provenance"]["start"]["init_from"]
    assert note["name"] == str(source)
    assert note["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()


def test_what_is_missing_or_of_another_shape_starts_fresh_and_is_told(make_config, tmp_path, source, caplog) -> None:
    caplog.set_level(logging.INFO)
    content = read_checkpoint(source)
    weights = content["state_dict"]
    missing, reshaped = "generator_ema.model.0.weight", "generator_ema.model.3.bias"
    weights["generator_ema.head.weight"] = weights.pop(missing)
    weights[reshaped] = torch.zeros(7)
    del content["weights_sha256"]
    torch.save(content, tmp_path / "other.ckpt")
    config = make_config("discriminator.num_filters=8")
    module, random = started(config, tmp_path / "other.ckpt"), build_module(config, engine_of(config))
    found, fresh = (network.generator.state_dict() for network in (module, random))
    for key, value in found.items():
        kept = key in ("model.0.weight", "model.3.bias")
        assert torch.equal(value, fresh[key] if kept else weights[f"generator_ema.{key}"])
    assert_same(module.discriminator, random.discriminator.state_dict())
    told = (
        f"loaded {len(found) - 2} of the generator's {len(found)} tensors; newly initialized: model.0, model.3; "
        "not used from the source: head, model.3; "
        "the discriminator is newly initialized (the source's does not fit)"
    )
    assert f"init_from={tmp_path / 'other.ckpt'}: {told}" in caplog.messages


def test_an_exported_folder_has_no_discriminator(make_config, tmp_path, source, caplog) -> None:
    caplog.set_level(logging.INFO)
    export(source, tmp_path / "model")
    module = started(make_config(), tmp_path / "model")
    assert_same(module.generator, part(source, "generator_ema."))
    assert caplog.messages[-1].endswith("the discriminator is newly initialized (the source has none)")
    weights = (tmp_path / "model/model.safetensors").read_bytes()
    assert module.hparams["provenance"]["start"]["init_from"]["sha256"] == hashlib.sha256(weights).hexdigest()


def test_a_source_of_which_nothing_fits_is_refused(make_config, source) -> None:
    with pytest.raises(UserError, match=r"none of its \d+ tensors fits this generator; its own was generator.name=u"):
        content = read_checkpoint(source)
        content["state_dict"] = {f"{key}.x": value for key, value in content["state_dict"].items()}
        del content["weights_sha256"]
        torch.save(content, source.parent / "renamed.ckpt")
        started(make_config(), source.parent / "renamed.ckpt")


def test_a_resumed_run_does_not_start_again(make_config, tmp_path, source) -> None:
    copy = tmp_path / "copy.ckpt"
    copy.write_bytes(source.read_bytes())
    train(make_config("trainer.max_steps=2", f"init_from={copy}"))
    copy.unlink()
    first = read_checkpoint(tmp_path / "run" / LAST)
    train(make_config("trainer.max_steps=3", f"init_from={copy}", "ckpt_path=last"))
    last = read_checkpoint(tmp_path / "run" / LAST)
    assert last["batches"] == 3
    notes = [checkpoint["hyper_parameters"]["provenance"]["start"] for checkpoint in (first, last)]
    assert notes[0] == notes[1]


def test_a_run_that_goes_on_cannot_start_from_something_else(make_config, source) -> None:
    train(make_config("trainer.max_steps=1"))
    with pytest.raises(
        UserError, match=r"cannot be resumed with init_from=.*last.ckpt: set init_from=null, or start a new"
    ):
        train(make_config("trainer.max_steps=2", f"init_from={source}", "ckpt_path=last"))


def test_a_generator_that_can_load_pretrained_weights_does_so_on_a_fresh_start_alone(
    make_config, tmp_path, source, monkeypatch
) -> None:
    calls = []

    def load_pretrained(self) -> dict[str, str]:
        calls.append(torch.nn.init.constant_(self.model[0].weight, 0.5))
        return {"encoder": "stand-in", "sha256": "abc"}

    monkeypatch.setattr(Unet, "load_pretrained", load_pretrained, raising=False)
    module = build_module(config := make_config("stabilizer=[ema]"), engine_of(config))
    start(module, None)
    assert (module.generator_ema.model[0].weight == 0.5).all() and len(calls) == 1
    started(config, source)
    assert len(calls) == 1
    train(make_config("trainer.max_steps=1"))
    train(make_config("trainer.max_steps=2", "ckpt_path=last"))
    assert len(calls) == 2
    note = read_checkpoint(tmp_path / "run" / LAST)["hyper_parameters"]["provenance"]["start"]
    assert note == {"pretrained": {"encoder": "stand-in", "sha256": "abc"}}
