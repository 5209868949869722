"""Attention over all positions of a feature map, for dependencies beyond a convolution's receptive field."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorize.base.errors import UserError

HEAD = 32  # channels of an attention head in transformer blocks


class SelfAttention(nn.Module):
    """Self-attention of SAGAN (Zhang et al. 2019), as in DeOldify's U-Net.

    It starts as the identity: the attention output is scaled by ``gamma``, which is initialized to 0.

    Args:
        channels: channels of the feature map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 8)
        self.query, self.key = (nn.Conv2d(channels, inner, 1, bias=False) for _ in range(2))
        self.value = nn.Conv2d(channels, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        # (B, 1, H*W, C or C/8): one head, because ONNX requires a head dimension
        query, key, value = (f(x).flatten(2).mT[:, None] for f in (self.query, self.key, self.value))
        gathered = F.scaled_dot_product_attention(query, key, value, scale=1.0)  # (B, 1, H*W, C)
        return x + self.gamma * gathered.mT.reshape(x.shape)


class Attend(nn.Module):
    """Multi-head attention (Vaswani et al. 2017) from one sequence to another, or to itself.

    Args:
        width: channels of both sequences; a multiple of ``HEAD``, or less than twice ``HEAD`` for a single head.
    Raises:
        UserError: if ``width`` is not divisible by the number of heads.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // HEAD)
        if width % self.heads:
            raise UserError(f"attention over {width} channels: use a multiple of {HEAD}, or fewer than {2 * HEAD}")
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor, to: Tensor, place: Tensor | None = None) -> Tensor:
        """Map ``(B, N, width)`` to the same shape.

        Args:
            x: input of the queries.
            to: input of the keys and values, ``(B, M, width)``.
            place: positional encoding, ``(B or 1, M, width)``, added to the input of the keys.
        """
        key, value = self.key_value.weight.chunk(2), self.key_value.bias.chunk(2)
        keys = F.linear(to if place is None else to + place, key[0], value[0])
        values = F.linear(to, key[1], value[1])
        parts = (self._split(part) for part in (self.query(x), keys, values))
        return self.out(F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, N, width / heads)


class FeedForward(nn.Sequential):
    """Two linear layers with a GELU between them.

    Args:
        width: channels in and out.
        ratio: inner channels over ``width``.
    """

    def __init__(self, width: int, ratio: int = 2) -> None:
        super().__init__(nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width))


class TransformerBlock(nn.Module):
    """A transformer block over the positions of a feature map (Dosovitskiy et al. 2021), for images of any size.

    A depthwise convolution encodes positions (Chu et al. 2023); unlike a learned table, it works for every size.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.place = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.before_attention, self.before_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.feed = Attend(width), FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, width, H, W)`` to the same shape."""
        shape = x.shape
        x = (x + self.place(x)).flatten(2).mT  # (B, H*W, width)
        normed = self.before_attention(x)
        x = x + self.attend(normed, normed)
        x = x + self.feed(self.before_feed(x))
        return x.mT.reshape(shape)
