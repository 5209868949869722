"""U-Net generator: lightness in, chroma out (Ronneberger et al. 2015, in the form of pix2pix)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from colorize.base.checks import within
from colorize.base.errors import UserError
from colorize.networks.attention import SelfAttention
from colorize.networks.init import init_weights
from colorize.networks.spectral import with_spectral_norm

MAX_WIDTH = 8  # channels double per level up to 8 * num_filters
MAX_DOWN = 12  # levels: images are colorized at no more than 2^12 pixels a side
MAX_FILTERS = 1024  # 14 billion parameters
DROPOUT_FROM_LEVEL = 4  # levels of full width use dropout, except the innermost


class UnetBlock(nn.Module):
    """One level: downsample by 2, run the level below, upsample by 2, and concatenate with the input.

    Args:
        outer: channels of the level's input.
        inner: channels after its down convolution.
        below: the next level; ``None`` makes this the innermost.
        dropout: whether the up path has ``Dropout(0.5)``.
        attention: whether the up path ends with self-attention.
    """

    def __init__(self, outer: int, inner: int, below: nn.Module | None, dropout: bool, attention: bool = False) -> None:
        super().__init__()
        down = [nn.LeakyReLU(0.2), nn.Conv2d(outer, inner, 4, stride=2, padding=1, bias=False)]
        if below is not None:
            down += [nn.BatchNorm2d(inner), below]
        up_in = inner if below is None else 2 * inner  # the level below returns its input too
        up = [
            nn.ReLU(),
            nn.ConvTranspose2d(up_in, outer, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outer),
        ]
        if dropout:
            up.append(nn.Dropout(0.5))
        if attention:
            up.append(SelfAttention(outer))
        self.model = nn.Sequential(*down, *up)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, outer, H, W)`` to ``(B, 2 * outer, H, W)``."""
        return torch.cat([x, self.model(x)], dim=1)


class Unet(nn.Module):
    """The report's U-Net; its defaults have 54,409,858 parameters.

    Args:
        n_down: number of downsamplings by 2; the image's sides must be multiples of ``2**n_down``.
        num_filters: channels after the first downsampling.
        input_c: input channels.
        output_c: output channels, through ``Tanh``.
        attention: levels with self-attention in the decoder, each from 1 (half the size) to ``n_down - 1``; DeOldify
            has one (Antic 2019).
        attention_spectral_norm: divide attention's weights by their largest singular value (Zhang et al. 2019).
    Raises:
        UserError: if ``n_down`` is not in 2 to 12, ``num_filters`` not in 1 to 1024, or a level does not exist.
    """

    def __init__(
        self,
        n_down: int = 8,
        num_filters: int = 64,
        input_c: int = 1,
        output_c: int = 2,
        attention: Sequence[int] = (),
        attention_spectral_norm: bool = True,
    ) -> None:
        super().__init__()
        within("generator.n_down", n_down, 2, MAX_DOWN, whole=True)
        within("generator.num_filters", num_filters, 1, MAX_FILTERS, whole=True)
        if not set(attention) <= set(range(1, n_down)):
            raise UserError(f"generator.attention must be levels from 1 to {n_down - 1}; got {list(attention)}")
        self.factor = 2**n_down
        widths = [num_filters * min(2**level, MAX_WIDTH) for level in range(n_down)]
        block = None
        for level in reversed(range(1, n_down)):
            dropout = level >= DROPOUT_FROM_LEVEL and block is not None
            block = UnetBlock(widths[level - 1], widths[level], block, dropout, level in attention)
        self.model = nn.Sequential(
            nn.Conv2d(input_c, num_filters, 4, stride=2, padding=1, bias=False),
            block,
            nn.ReLU(),
            nn.ConvTranspose2d(2 * num_filters, output_c, 4, stride=2, padding=1),
            nn.Tanh(),
        )
        init_weights(self)
        if attention_spectral_norm:
            for module in list(self.modules()):
                if isinstance(module, SelfAttention):
                    with_spectral_norm(module)

    def check_size(self, height: int, width: int) -> None:
        """Raise a `UserError` that names a size that works, if ``height`` x ``width`` does not."""
        if height % self.factor or width % self.factor:
            up = [-(-side // self.factor) * self.factor for side in (height, width)]
            fitting = (height & -height).bit_length() - 1 if height == width else 0
            other = f", or set generator.n_down={fitting}" if fitting >= 2 else ""
            raise UserError(
                f"image is {height}x{width}; this U-Net needs multiples of {self.factor}: use {up[0]}x{up[1]}{other}"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, input_c, H, W)`` to ``(B, output_c, H, W)`` in [-1, 1].

        Raises:
            UserError: if a side is not a multiple of ``2**n_down``.
        """
        self.check_size(*x.shape[-2:])
        return self.model(x)
