"""U-Net generator with a pretrained encoder: lightness in, chroma out."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorize.base.checks import above, within
from colorize.base.errors import UserError
from colorize.networks.attention import TransformerBlock
from colorize.networks.bins import annealed_mean, bin_centers
from colorize.networks.encoders import DEEPEST, Encoder
from colorize.networks.guided import enlarged
from colorize.networks.queries import ColorQueries

HEADS = ("ab", "bins")
MOST = {"attention": 64, "query_layers": 64}  # maximum of blocks and layers; that of channels and queries is 4,096


class Up(nn.Module):
    """A decoder level: upsample by 2, concatenate the encoder's map of that size, apply two convolutions.

    Args:
        inner: channels of the input.
        skip: channels of the encoder's map; 0 for none.
        outer: channels of the output.
    """

    def __init__(self, inner: int, skip: int, outer: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (inner + skip, outer):
            layers += [nn.Conv2d(channels, outer, 3, padding=1, bias=False), nn.BatchNorm2d(outer), nn.ReLU()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        """Map ``(B, inner, H, W)`` and ``(B, skip, 2H, 2W)`` to ``(B, outer, 2H, 2W)``."""
        rows, columns = x.shape[2:]  # as integers: a float scale factor is slow to export
        x = F.interpolate(x, (2 * rows, 2 * columns), mode="nearest")
        return self.model(x if skip is None else torch.cat([x, skip], dim=1))


class GlobalContext(nn.Module):
    """Fuses global features of the image into every position of a feature map (Iizuka et al. 2016).

    Args:
        seen: channels of the encoder's deepest map, whose spatial mean is the global feature.
        width: channels of the feature map.
    """

    def __init__(self, seen: int, width: int) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Linear(seen, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.fuse = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor, deepest: Tensor) -> Tensor:
        """Map ``(B, width, H, W)`` to the same shape."""
        image = self.image(deepest.mean((2, 3)))[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return F.relu(self.fuse(torch.cat([x, image], dim=1)))


class EncoderUnet(nn.Module):
    """A pretrained encoder and a small decoder, optionally with attention, global context and color queries.

    Chroma is predicted at the stride of the last decoder level, then upsampled along the edges of the lightness.
    Weights other than the encoder's have PyTorch's default initialization, except the head's, which are 0, so that
    training starts from grey.

    Args:
        encoder: name of a network in timm.
        encoder_weights: ``auto`` or a file, see `Backbone.load_pretrained`; ``none`` for random initialization.
        frozen: ``all``, ``none``, or a number of stages, see `Encoder`.
        width: channels at stride 32.
        widths: channels of the decoder at strides 16, 8 and so on; their number determines the output's stride.
        attention: number of transformer blocks at stride 32 and at stride 16.
        global_context: fuse the mean of the deepest features into all positions.
        queries: number of color queries; 0 for none.
        query_layers: see `ColorQueries`.
        query_width: channels of a query.
        query_strides: strides of the decoder's maps that queries attend to, coarsest first.
        heads: ``ab``, ``bins`` or both; the first one predicts, a second ``bins`` is only an auxiliary loss.
        temperature: temperature of the annealed mean over bins.
        hints: take color hints as a second input.
    Raises:
        UserError: if a value is out of range or inconsistent with the others.
    """

    def __init__(
        self,
        encoder: str = "tf_efficientnet_lite0",
        encoder_weights: str = "auto",
        frozen: str | int = "all",
        width: int = 256,
        widths: Sequence[int] = (128, 96, 64),
        attention: Sequence[int] = (1, 0),
        global_context: bool = False,
        queries: int = 0,
        query_layers: int = 3,
        query_width: int = 128,
        query_strides: Sequence[int] = (16, 8),
        heads: Sequence[str] = ("ab",),
        temperature: float = 0.38,
        hints: bool = False,
    ) -> None:
        super().__init__()
        _check(widths, attention, queries, query_strides, heads, temperature)
        _check_amounts(width=[width], widths=widths, attention=attention, queries=[queries], query_width=[query_width])
        _check_amounts(query_layers=[query_layers])
        self.factor = DEEPEST
        self.encoder_weights = encoder_weights
        self.encoder = Encoder(encoder, frozen)
        self.enter = nn.Conv2d(self.encoder.channels[DEEPEST], width, 1)
        self.context = GlobalContext(self.encoder.channels[DEEPEST], width) if global_context else None
        levels = [width, *widths]
        self.strides = [DEEPEST // 2**level for level in range(len(levels))]  # 32, 16, ...
        blocks = dict(zip(self.strides, attention, strict=False))
        self.attention = nn.ModuleDict(
            {
                str(stride): nn.Sequential(*(TransformerBlock(channels) for _ in range(blocks[stride])))
                for stride, channels in zip(self.strides, levels, strict=True)
                if blocks.get(stride)
            }
        )
        skips = [self.encoder.channels.get(stride, 0) for stride in self.strides[1:]]
        self.ups = nn.ModuleList(Up(*sizes) for sizes in zip(levels, skips, levels[1:], strict=False))
        # without a bias, so that an empty mask is equivalent to no hints
        self.hints = (
            nn.ModuleList(_zeroed(nn.Conv2d(3, count, 3, padding=1, bias=False)) for count in levels) if hints else None
        )
        self.queries = None
        if queries:
            scales = {stride: levels[self.strides.index(stride)] for stride in query_strides}
            self.queries = ColorQueries(scales, levels[-1], queries, query_layers, query_width)
        self.takes_hints = hints
        self.main, self.temperature = heads[0], temperature
        self.head = _zeroed(nn.Conv2d(levels[-1] + queries, 2, 1)) if "ab" in heads else None
        self.bins = None
        if "bins" in heads:
            self.register_buffer("centers", bin_centers().clone())
            self.bins = nn.Conv2d(levels[-1] + queries, len(self.centers), 1)

    def load_pretrained(self) -> dict[str, str] | None:
        """Load the encoder's pretrained weights; return their source, see `Backbone.load_pretrained`."""
        return None if self.encoder_weights == "none" else self.encoder.load_pretrained(self.encoder_weights)

    def check_size(self, height: int, width: int) -> None:
        """Raise a `UserError` that names a size that works, if ``height`` x ``width`` does not."""
        if height % self.factor or width % self.factor:
            up = [-(-side // self.factor) * self.factor for side in (height, width)]
            raise UserError(
                f"image is {height}x{width}; this generator needs multiples of {self.factor}: use {up[0]}x{up[1]}"
            )

    def forward(self, L: Tensor, hints: Tensor | None = None, logits: list[Tensor] | None = None) -> Tensor:
        """Map ``(B, 1, H, W)`` to ab ``(B, 2, H, W)``, both in [-1, 1].

        Args:
            L: lightness.
            hints: ``(B, 3, H, W)``: ab at the hints and 0 elsewhere, and a mask of 1 and 0; ``None`` for no hints.
            logits: list to which the bins' logits ``(B, K, H / stride, W / stride)`` are appended, if there are bins.
        Raises:
            UserError: if a side is not a multiple of 32, or hints are passed to a generator that takes none.
        """
        self.check_size(*L.shape[-2:])
        if hints is not None and not self.takes_hints:
            raise UserError("this generator takes no hints: train one with generator.hints=true")
        return self.decode(L, self.encoder(L), hints, logits)

    def decode(
        self, L: Tensor, features: dict[int, Tensor], hints: Tensor | None = None, logits: list[Tensor] | None = None
    ) -> Tensor:
        """Return the result of `forward` from the encoder's feature maps by stride, which do not depend on hints."""
        x = self.enter(features[DEEPEST])
        if self.context is not None:
            x = self.context(x, features[DEEPEST])
        maps = {}
        for level, stride in enumerate(self.strides):
            if level:
                x = self.ups[level - 1](x, features.get(stride))
            if hints is not None:
                x = x + self.hints[level](_shrunk(hints, stride))
            if str(stride) in self.attention:
                x = self.attention[str(stride)](x)
            maps[stride] = x
        if self.queries is not None:
            x = torch.cat([x, self.queries(maps, x)], dim=1)
        return enlarged(self._ab(x, logits), L, self.strides[-1])

    def _ab(self, x: Tensor, logits: list[Tensor] | None) -> Tensor:
        scores = self.bins(x) if self.bins is not None and (self.main == "bins" or logits is not None) else None
        if logits is not None and scores is not None:
            logits.append(scores)
        if self.main == "bins":
            return annealed_mean(scores, self.centers, self.temperature)
        return self.head(x).tanh()


def _shrunk(hints: Tensor, stride: int) -> Tensor:
    """Average hints over cells: the mean color of a cell's hints, and whether it has any."""
    shrunk = F.avg_pool2d(hints, stride)
    there = shrunk[:, 2:]
    return torch.cat([shrunk[:, :2] / there.clamp(min=1e-6), (there > 0).to(there.dtype)], dim=1)


def _zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _check(
    widths: Sequence[int],
    attention: Sequence[int],
    queries: int,
    query_strides: Sequence[int],
    heads: Sequence[str],
    temperature: float,
) -> None:
    if not 1 <= len(widths) <= 5 or min(widths) < 1:
        raise UserError(f"generator.widths must be 1 to 5 numbers, for strides 16 to 1; got {list(widths)}")
    if len(attention) > 2 or min(attention, default=0) < 0:
        raise UserError(f"generator.attention must be the blocks at strides 32 and 16, such as [1, 0]; got {attention}")
    reached = [DEEPEST // 2**level for level in range(len(widths) + 1)]
    if queries and not set(query_strides) <= set(reached):
        raise UserError(f"generator.query_strides must be among {reached}; got {list(query_strides)}")
    if sorted(set(heads)) != sorted(heads) or not heads or set(heads) - set(HEADS):
        raise UserError(f"generator.heads must be [ab], [bins], [ab, bins] or [bins, ab]; got {list(heads)}")
    above("generator.temperature", temperature, 0)


def _check_amounts(**given: Sequence[int]) -> None:
    for name, values in given.items():
        least, most = int("width" in name), MOST.get(name, 4096)
        for value in values:
            within(f"generator.{name}", value, least, most, whole=True)
