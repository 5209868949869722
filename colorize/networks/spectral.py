"""Spectral normalization of whole networks (Miyato et al. 2018)."""

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


def with_spectral_norm(network: nn.Module) -> nn.Module:
    """Divide the weights of every convolution and linear layer by their largest singular value.

    Initialize the weights before: afterwards they are computed from a parametrization.

    Args:
        network: changed in place and returned.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            spectral_norm(module)
    return network
