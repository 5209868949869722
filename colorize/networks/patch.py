"""PatchGAN discriminators: each output score judges one receptive-field patch (Isola et al. 2017)."""

from torch import Tensor, nn

from colorize.errors import UserError


class PatchDiscriminator(nn.Module):
    """The report's PatchGAN; its defaults judge 70x70 patches with 2,765,633 parameters.

    Args:
        input_c: input channels; L and ab together make 3.
        num_filters: channels of the first layer.
        n_down: number of halvings; the receptive field grows with it (16, 34, 70, 142 for 1 to 4).
    Raises:
        UserError: if ``n_down`` or ``num_filters`` is below 1.
    """

    def __init__(self, input_c: int = 3, num_filters: int = 64, n_down: int = 3) -> None:
        super().__init__()
        if n_down < 1 or num_filters < 1:
            raise UserError(f"discriminator.n_down={n_down} num_filters={num_filters}: both must be at least 1")
        self.smallest = 3 * 2**n_down  # the two last convolutions each take one pixel off
        layers: list[nn.Module] = [nn.Conv2d(input_c, num_filters, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        width = num_filters
        for level in range(1, n_down + 1):
            wider = num_filters * min(2**level, 8)
            stride = 2 if level < n_down else 1
            layers += [
                nn.Conv2d(width, wider, 4, stride=stride, padding=1, bias=False),  # BatchNorm has the bias
                nn.BatchNorm2d(wider),
                nn.LeakyReLU(0.2),
            ]
            width = wider
        layers.append(nn.Conv2d(width, 1, 4, stride=1, padding=1))
        self.model = nn.Sequential(*layers)

    def check_size(self, height: int, width: int) -> None:
        """Raise a `UserError` that names the smallest size that works, if ``height`` x ``width`` is below it."""
        if min(height, width) < self.smallest:
            raise UserError(f"image is {height}x{width}; this discriminator needs at least {self.smallest} a side")

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, input_c, H, W)`` to logits ``(B, 1, H', W')``; 256x256 gives 30x30."""
        return self.model(x)


def receptive_field(network: nn.Module) -> int:
    """Return the side, in input pixels, of what one output of a chain of convolutions sees.

    Args:
        network: its `Conv2d` modules are taken as a chain, in order of registration, square, without dilation.
    """
    field = 1
    for conv in reversed([module for module in network.modules() if isinstance(module, nn.Conv2d)]):
        field = (field - 1) * conv.stride[0] + conv.kernel_size[0]
    return field
