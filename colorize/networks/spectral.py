"""Spectral normalisation of whole networks (Miyato et al. 2018)."""

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


def with_spectral_norm(network: nn.Module) -> nn.Module:
    """Make every convolution and linear layer divide its weights by their largest singular value.

    Weights must have been drawn before: from here on they are the quotient.

    Args:
        network: changed in place and returned.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            spectral_norm(module)
    return network
