"""PatchGAN discriminators: each output logit classifies one receptive-field patch (Isola et al. 2017)."""

from collections.abc import Callable

from torch import Tensor, nn

from colorize.base.checks import at_least, one_of
from colorize.base.errors import UserError

NORMS: dict[str, Callable[[int], nn.Module]] = {
    # Batch statistics in validation too: running statistics would average those of generated and real images, which
    # differ, and D never sees a batch with the average's
    "batch": lambda channels: nn.BatchNorm2d(channels, track_running_stats=False),
    "instance": nn.InstanceNorm2d,  # without weights, as in pix2pix
    "group": lambda channels: nn.GroupNorm(_groups(channels), channels),
    "none": lambda channels: nn.Identity(),
}


def _groups(channels: int) -> int:
    """Return the largest number of groups up to 32 that divides ``channels`` (Wu & He 2018 use 32)."""
    return next(groups for groups in range(min(32, channels), 0, -1) if channels % groups == 0)


class PatchDiscriminator(nn.Module):
    """The report's PatchGAN; by default it has 70x70 patches and 2,765,633 parameters.

    Args:
        input_c: input channels; 3 for L and ab.
        num_filters: channels of the first layer.
        n_down: number of downsamplings by 2; sets the receptive field (16, 34, 70, 142 for 1 to 4).
        norm: ``batch``, ``instance``, ``group`` or ``none``.
        input_stride: side of the squares that images are average-pooled over first; 2 halves their size.
    Raises:
        UserError: if ``n_down``, ``num_filters`` or ``input_stride`` is below 1, or ``norm`` is unknown.
    """

    def __init__(
        self, input_c: int = 3, num_filters: int = 64, n_down: int = 3, norm: str = "batch", input_stride: int = 1
    ) -> None:
        super().__init__()
        one_of("discriminator.norm", norm, NORMS)
        for key, value in (("n_down", n_down), ("num_filters", num_filters), ("input_stride", input_stride)):
            at_least(f"discriminator.{key}", value, 1, whole=True)
        self.smallest = 3 * 2**n_down * input_stride  # the last two convolutions each remove one pixel
        self.pool = nn.AvgPool2d(input_stride)
        layers: list[nn.Module] = [nn.Conv2d(input_c, num_filters, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        width = num_filters
        for level in range(1, n_down + 1):
            wider = num_filters * min(2**level, 8)
            stride = 2 if level < n_down else 1
            layers += [
                # Batch and group norm have a bias of their own
                nn.Conv2d(width, wider, 4, stride=stride, padding=1, bias=norm in ("instance", "none")),
                NORMS[norm](wider),
                nn.LeakyReLU(0.2),
            ]
            width = wider
        layers.append(nn.Conv2d(width, 1, 4, stride=1, padding=1))
        self.model = nn.Sequential(*layers)

    def check_size(self, height: int, width: int) -> None:
        """Raise a `UserError` that names the smallest size that works, if ``height`` x ``width`` is below it."""
        if min(height, width) < self.smallest:
            raise UserError(f"image is {height}x{width}; this discriminator needs at least {self.smallest} a side")

    def forward(self, x: Tensor, features: list[Tensor] | None = None) -> Tensor:
        """Map ``(B, input_c, H, W)`` to logits ``(B, 1, H', W')``; 256x256 gives 30x30.

        Args:
            x: images.
            features: list to which the activations of every layer but the last are appended.
        """
        x = self.pool(x) if self.pool.kernel_size > 1 else x
        for layer in self.model:
            x = layer(x)
            if features is not None and isinstance(layer, nn.LeakyReLU):
                features.append(x)
        return x


def receptive_field(network: nn.Module) -> int:
    """Return the side of the receptive field of a chain of convolutions, in input pixels.

    Args:
        network: its `Conv2d` and `AvgPool2d` modules are assumed to be a chain in order of registration, with square
            kernels and no dilation.
    """
    field = 1
    for layer in reversed([module for module in network.modules() if isinstance(module, nn.Conv2d | nn.AvgPool2d)]):
        stride, kernel = (side if isinstance(side, int) else side[0] for side in (layer.stride, layer.kernel_size))
        field = (field - 1) * stride + kernel
    return field
