"""L1 of a generator that takes hints, given the true colors at a few points."""

import torch
from torch import Tensor, nn

from colorize.data import Batch
from colorize.networks.hints import draw_hints

POINTS = (1, 5, 20)


def hinted_l1(generator: nn.Module, batch: Batch, seed: int) -> dict[str, Tensor]:
    """Return the mean absolute error of normalized ab as ``l1_hints1``, ...; empty if the generator takes no hints.

    Args:
        generator: see `build_generator`; one that takes hints has an ``encoder`` and ``decode``, as `EncoderUnet`.
        batch: a validation batch.
        seed: seed of the hint points.
    """
    if not getattr(generator, "takes_hints", False):
        return {}
    found, features = {}, generator.encoder(batch.L)
    for points in POINTS:
        with torch.random.fork_rng([batch.L.device] if batch.L.is_cuda else []):
            torch.manual_seed(seed)
            hints = draw_hints(batch.ab, points)
        found[f"l1_hints{points}"] = (generator.decode(batch.L, features, hints).float() - batch.ab).abs().mean()
    return found
