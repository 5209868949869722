"""Generators and discriminators, built by name."""

from typing import Any

from torch import nn

from colorize.base.registry import Registry
from colorize.networks.encoder_unet import EncoderUnet
from colorize.networks.init import init_weights
from colorize.networks.patch import PatchDiscriminator, receptive_field
from colorize.networks.spectral import with_spectral_norm
from colorize.networks.unet import Unet

__all__ = ["DISCRIMINATORS", "GENERATORS", "build_discriminator", "build_generator", "receptive_field"]

GENERATORS = Registry("generator")
GENERATORS.register("unet")(Unet)
GENERATORS.register("encoder_unet")(EncoderUnet)

DISCRIMINATORS = Registry("discriminator")
DISCRIMINATORS.register("patch")(PatchDiscriminator)


def build_generator(name: str, **kwargs: Any) -> nn.Module:
    """Build an initialized generator: ``L`` ``(B, 1, H, W)`` to ``ab`` ``(B, 2, H, W)`` in [-1, 1].

    It has ``factor``, of which its sides must be multiples, and ``check_size(height, width)``, which raises a
    `UserError` for a size that it cannot take. It may have ``load_pretrained()``, which is called where a training
    starts anew; ``takes_hints``, true if ``hints`` ``(B, 3, H, W)`` is a second argument; and ``centers`` ``(K, 2)``,
    bins of ab whose logits ``(B, K, h, w)`` it adds to a list that is given as ``logits``.

    Raises:
        UserError: if the name or an argument is unknown.
    """
    return GENERATORS.build(name, **kwargs)


def build_discriminator(name: str, spectral_norm: bool = False, **kwargs: Any) -> nn.Module:
    """Build an initialised discriminator: L and ab joined ``(B, 3, H, W)`` to logits ``(B, 1, H', W')``.

    It has ``check_size(height, width)``, which raises a `UserError` for a size that it cannot take; called with a list
    as second argument, it adds its features to it.

    Args:
        name: such as ``patch``.
        spectral_norm: divide every convolution's weights by their largest singular value (Miyato et al. 2018).
        **kwargs: arguments of the discriminator.

    Raises:
        UserError: if the name or an argument is unknown.
    """
    network = init_weights(DISCRIMINATORS.build(name, **kwargs))
    return with_spectral_norm(network) if spectral_norm else network
