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
    """Build an initialized generator, which maps ``L`` ``(B, 1, H, W)`` to ``ab`` ``(B, 2, H, W)`` in [-1, 1].

    A generator has ``factor``, which must divide the image's sides, and ``check_size(height, width)``, which raises a
    `UserError` for an unsupported size. Optional members: ``load_pretrained()``, called when a new training starts;
    ``takes_hints``, true if ``hints`` ``(B, 3, H, W)`` is a second argument; and ``centers`` ``(K, 2)``, bins of ab,
    whose logits ``(B, K, h, w)`` are appended to the list passed as ``logits``.

    Raises:
        UserError: if the name or an argument is unknown.
    """
    return GENERATORS.build(name, **kwargs)


def build_discriminator(name: str, spectral_norm: bool = False, **kwargs: Any) -> nn.Module:
    """Build an initialized discriminator, which maps L and ab, concatenated, to logits ``(B, 1, H', W')``.

    A discriminator has ``check_size(height, width)``, which raises a `UserError` for an unsupported size. Its input is
    ``(B, 3, H, W)``; its features are appended to the list passed as optional second argument.

    Args:
        name: name of a discriminator, such as ``patch``.
        spectral_norm: divide every convolution's weights by their largest singular value (Miyato et al. 2018).
        **kwargs: arguments of the discriminator.

    Raises:
        UserError: if the name or an argument is unknown.
    """
    network = init_weights(DISCRIMINATORS.build(name, **kwargs))
    return with_spectral_norm(network) if spectral_norm else network
