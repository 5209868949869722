"""DDColor's color decoder: learned color queries that attend to the image (Kang et al. 2023)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from colorize.networks.attention import Attend, FeedForward


class QueryLayer(nn.Module):
    """Cross-attention of the queries to one feature map, then self-attention, then a feed-forward network.

    Args:
        width: channels of a query.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cross, self.own, self.feed = Attend(width), Attend(width), FeedForward(width, ratio=4)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, queries: Tensor, features: Tensor, place: Tensor) -> Tensor:
        """Map queries ``(B, N, width)`` to the same shape; ``features`` and ``place`` are ``(B, M, width)``."""
        queries = self.norms[0](queries + self.cross(queries, features, place))
        queries = self.norms[1](queries + self.own(queries, queries))
        return self.norms[2](queries + self.feed(queries))


class ColorQueries(nn.Module):
    """Maps multi-scale feature maps to the similarity of each pixel to each of ``number`` color queries.

    Layers cycle through the scales, coarsest first. DDColor has 100 queries, 9 layers of width 256, strides 16, 8, 4.

    Args:
        channels: channels of the feature maps, by stride, coarsest first.
        pixels: channels of the finest map, whose pixels are compared with the queries.
        number: number of queries.
        layers: number of `QueryLayer` modules.
        width: channels of a query.
    """

    def __init__(
        self, channels: Mapping[int, int], pixels: int, number: int = 20, layers: int = 3, width: int = 128
    ) -> None:
        super().__init__()
        self.strides: Sequence[int] = tuple(channels)
        self.queries = nn.Parameter(torch.randn(number, width))
        self.scale = nn.Parameter(torch.randn(len(channels), width))
        self.inputs = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels.values())
        self.places = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, groups=width) for _ in channels)
        self.layers = nn.ModuleList(QueryLayer(width) for _ in range(layers))
        self.pixels = nn.Conv2d(pixels, width, 1)

    def forward(self, features: Mapping[int, Tensor], pixels: Tensor) -> Tensor:
        """Map feature maps by stride, and ``pixels`` ``(B, C, H, W)``, to ``(B, number, H, W)``."""
        seen = []
        for stride, project, place, scale in zip(self.strides, self.inputs, self.places, self.scale, strict=True):
            x = project(features[stride])
            seen.append((x.flatten(2).mT + scale, place(x).flatten(2).mT))
        queries = self.queries.expand(pixels.shape[0], -1, -1)  # len() would fix an export's batch
        for number, layer in enumerate(self.layers):
            queries = layer(queries, *seen[number % len(seen)])
        return torch.einsum("bnc,bchw->bnhw", queries, self.pixels(pixels))
