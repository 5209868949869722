"""Weight initialization of pix2pix, as used in the report."""

from torch import nn


def init_weights(network: nn.Module, std: float = 0.02) -> nn.Module:
    """Draw weights from N(0, std) and BatchNorm weights from N(1, std); set biases to 0 (Isola et al. 2017).

    Args:
        network: changed in place and returned.
        std: standard deviation of both normal distributions.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, std)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, std)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    return network
