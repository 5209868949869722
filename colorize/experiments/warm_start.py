"""Initial weights of a new run: from a trained model, from a pretrained encoder, or random."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from colorize.base.digests import sha256
from colorize.base.errors import UserError, printable
from colorize.checkpoint import WEIGHTS, Model, read_checkpoint, read_model
from colorize.training import ColorizationModule

log = logging.getLogger(__name__)

START = "start"  # key of the provenance
Weights = Mapping[str, Tensor]


def start(module: ColorizationModule, init_from: str | None, resumed: Mapping[str, Any] | None = None) -> None:
    """Load the initial weights into the networks, and record their source in the provenance.

    If the generator has a method ``load_pretrained()``, it is called unless ``init_from`` is given; its result, plain
    data or ``None``, is recorded.

    Args:
        module: with random weights.
        init_from: a training checkpoint, a folder made by ``colorize export``, or its name on the Hugging Face hub.
        resumed: the checkpoint that the run resumes from; Lightning loads its weights, only its record is copied.
    Raises:
        UserError: if there is no such model, or none of its weights fits.
    """
    if resumed is not None:
        note = (resumed["hyper_parameters"].get("provenance") or {}).get(START)
    elif init_from is not None:
        note = {"init_from": _init_from(module, init_from)}
    else:
        pretrained = getattr(module.generator, "load_pretrained", lambda: None)()
        note = None if pretrained is None else {"pretrained": pretrained}
    if module.generator_ema is not None:
        module.generator_ema.load_state_dict(module.generator.state_dict())
    if note:
        module.hparams["provenance"][START] = note


def _init_from(module: ColorizationModule, name: str) -> dict[str, Any]:
    model = read_model(name)
    taken = _fitting(module.generator, model.weights)
    if not taken:
        there = " ".join(f"generator.{key}={value}" for key, value in model.generator.items())
        raise UserError(
            f"init_from={name}: none of its {len(model.weights)} tensors fits this generator; its own was {there}"
        )
    module.generator.load_state_dict(taken, strict=False)
    own = module.generator.state_dict().keys()
    fresh, left = _parts(own - taken.keys(), taken), _parts(model.weights.keys() - taken.keys(), taken)
    source_d = _discriminator_of(model)
    fitting_d = _fitting(module.discriminator, source_d)
    whole = bool(source_d) and fitting_d.keys() == module.discriminator.state_dict().keys()
    if whole:
        module.discriminator.load_state_dict(fitting_d)
    parts = [f"loaded {len(taken)} of the generator's {len(own)} tensors"]
    parts += [f"newly initialized: {', '.join(fresh)}"] if fresh else []
    parts += [f"not used from the source: {', '.join(left)}"] if left else []
    why = "" if whole else " (the source has none)" if not source_d else " (the source's does not fit)"
    parts += ["loaded the discriminator" if whole else f"the discriminator is newly initialized{why}"]
    log.info("init_from=%s: %s", name, printable("; ".join(parts)))
    return {"name": name, "sha256": sha256(model.file), "fresh": fresh, "discriminator": whole}


def _fitting(network: nn.Module, weights: Weights) -> dict[str, Tensor]:
    """Return the weights whose name and shape match the network's."""
    own = network.state_dict()
    return {key: value for key, value in weights.items() if key in own and own[key].shape == value.shape}


def _parts(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """Return the modules of tensors: the first component of their names, or two if part of the first was loaded."""
    first = {name.split(".")[0] for name in taken}
    return sorted({".".join(name.split(".")[: 1 + (name.split(".")[0] in first)]) for name in names})


def _discriminator_of(model: Model) -> dict[str, Tensor]:
    if model.file.name == WEIGHTS:
        return {}
    prefix, weights = "discriminator.", read_checkpoint(model.file)["state_dict"]
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
