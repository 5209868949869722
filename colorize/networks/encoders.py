"""A pretrained encoder: lightness in, feature maps of an image classification network out."""

import torch.nn.functional as F
from torch import Tensor, nn

from colorize.base.checks import within
from colorize.base.errors import UserError
from colorize.lab import l_to_grey
from colorize.networks.backbones import Backbone

DEEPEST = 32  # stride of the last feature map


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, for inputs whose sides are multiples of the stride.

    timm computes the padding from each input's size, which torch.export cannot trace through 60 layers. An odd padding
    has its extra pixel at the end.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``(B, C, H, W)``."""
        total = [max(0, self.dilation[0] * (size - 1) + 1 - self.stride[0]) for size in reversed(self.kernel_size)]
        around = [part for count in total for part in (count // 2, count - count // 2)]  # left, right, top, bottom
        return F.conv2d(F.pad(x, around), self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Clamp(nn.ReLU6):
    """ReLU6 as a single clamp, never in place: torch.export decomposes PyTorch's ReLU6, which is slow."""

    def forward(self, x: Tensor) -> Tensor:
        """Clamp to [0, 6], any shape."""
        return x.clamp(0, 6)


EXPORTABLE = {
    "Conv2dSame": SameConv2d,
    "ReLU6": Clamp,
}  # equivalent layers by the name of the layer that they replace


class Encoder(Backbone):
    """A timm network applied to lightness, as a grey RGB image.

    Args:
        name: name of a network whose feature maps have strides up to 32.
        frozen: ``all``, ``none``, or the number of stages, from the input, whose weights and running statistics stay
            bit-identical; no gradient is computed for them.
    Raises:
        UserError: if timm has no such network, or ``frozen`` is none of these.
    """

    def __init__(self, name: str, frozen: str | int = "all") -> None:
        super().__init__(name)
        if DEEPEST not in self.channels:
            raise UserError(
                f"generator.encoder={name} has feature maps of strides {[*self.channels]}, not up to {DEEPEST}"
            )
        for layer in self.network.modules():
            layer.__class__ = EXPORTABLE.get(type(layer).__name__, type(layer))
        self.fixed = self._layers(frozen)
        for layer in self.fixed:
            layer.requires_grad_(False)
        self.train()  # Lightning keeps the train/eval modes that it finds

    def _layers(self, frozen: str | int) -> list[nn.Module]:
        """Return the frozen layers."""
        ends = [name.replace(".", "_") for name in self.network.feature_info.module_name()]
        within("generator.frozen", frozen, 0, len(ends), whole=True, also=("all", "none"))
        count = {"all": len(ends), "none": 0}.get(frozen, frozen)
        layers = [(name.replace(".", "_"), part) for name, part in self.network.named_modules()]
        layers = [
            (name, part) for name, part in layers if not any(part.children()) or [*part.parameters(recurse=False)]
        ]
        if count == len(ends):
            return [part for _, part in layers]
        last = [i for i, (name, _) in enumerate(layers) if count and f"{name}_".startswith(f"{ends[count - 1]}_")]
        return [part for _, part in layers[: last[-1] + 1 if last else 0]]

    def train(self, mode: bool = True) -> "Encoder":
        """Set the training mode; frozen layers stay in evaluation mode, which keeps their running statistics."""
        super().train(mode)
        for layer in self.fixed:
            layer.eval()
        return self

    def forward(self, L: Tensor) -> dict[int, Tensor]:
        """Map ``(B, 1, H, W)`` in [-1, 1] to feature maps ``(B, C, H / stride, W / stride)`` by stride."""
        return super().forward(l_to_grey(L))
