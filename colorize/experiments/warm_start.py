"""How a new run gets its first weights: those of a trained model, of a pretrained encoder, or random ones."""

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
    """Give the networks the weights that training starts from, and note in the provenance which these are.

    A generator's method ``load_pretrained()``, where it has one, is called unless there is ``init_from``; what it
    returns, plain data or ``None``, is noted.

    Args:
        module: as built, with random weights.
        init_from: a training checkpoint; a folder that ``colorize export`` made; or its name on the Hugging Face hub.
        resumed: the checkpoint that the run goes on from, whose weights Lightning loads: only the note is kept.
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
    judge = _discriminator_of(model)
    whole = bool(judge) and _fitting(module.discriminator, judge).keys() == module.discriminator.state_dict().keys()
    if whole:
        module.discriminator.load_state_dict(_fitting(module.discriminator, judge))
    told = [f"{len(taken)} of the generator's {len(own)} tensors are taken"]
    told += [f"its {', '.join(fresh)} start{'s' * (len(fresh) == 1)} fresh"] if fresh else []
    told += [f"{', '.join(left)} of the source {'is' if len(left) == 1 else 'are'} not used"] if left else []
    why = "" if whole else " (the source has none)" if not judge else " (that of the source does not fit)"
    told += ["the discriminator is taken" if whole else f"the discriminator starts fresh{why}"]
    log.info("init_from=%s: %s", name, printable("; ".join(told)))
    return {"name": name, "sha256": sha256(model.file), "fresh": fresh, "discriminator": whole}


def _fitting(network: nn.Module, weights: Weights) -> dict[str, Tensor]:
    """Return those weights that the network has under the same name and in the same shape."""
    own = network.state_dict()
    return {key: value for key, value in weights.items() if key in own and own[key].shape == value.shape}


def _parts(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """Return what tensors belong to: the first component of their names, or two where some of the first was taken."""
    first = {name.split(".")[0] for name in taken}
    return sorted({".".join(name.split(".")[: 1 + (name.split(".")[0] in first)]) for name in names})


def _discriminator_of(model: Model) -> dict[str, Tensor]:
    if model.file.name == WEIGHTS:
        return {}
    prefix, weights = "discriminator.", read_checkpoint(model.file)["state_dict"]
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
