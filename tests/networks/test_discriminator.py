"""Normalization, activations and weights of the discriminator, against formulas written out."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorize.networks import build_discriminator


def manual_norm(norm: str, x: Tensor) -> Tensor:
    """Normalize ``(B, C, H, W)``, C = 8, over the batch, over each channel, or over each of 8 groups of channels."""
    axes = {"batch": (0, 2, 3), "instance": (2, 3), "group": (2, 3)}[norm]
    mean = x.mean(axes, keepdim=True)
    return (x - mean) / ((x - mean).square().mean(axes, keepdim=True) + 1e-5).sqrt()


@pytest.mark.parametrize("norm", ["batch", "instance", "group", "none"])
@pytest.mark.parametrize("training", [True, False])
def test_d_normalizes_what_its_norm_says_in_training_and_in_validation(norm, training) -> None:
    D = build_discriminator("patch", num_filters=4, n_down=1, norm=norm).train(training)
    x = torch.randn(3, 3, 16, 16) * 5 + 1
    conv, _, inner, normalize, _, last = D.model
    h = inner(F.leaky_relu(conv(x), 0.2))
    if norm != "none":
        h = manual_norm(norm, h)
    if norm in ("batch", "group"):
        h = h * normalize.weight[:, None, None] + normalize.bias[:, None, None]
    torch.testing.assert_close(D(x), last(F.leaky_relu(h, 0.2)), atol=1e-4, rtol=1e-4)


def test_validation_leaves_d_as_it_was() -> None:
    D = build_discriminator("patch", num_filters=4, norm="batch", spectral_norm=True).eval()
    before = copy.deepcopy(D.state_dict())
    D(torch.randn(2, 3, 64, 64))
    assert before.keys() == D.state_dict().keys()
    assert all(torch.equal(value, before[key]) for key, value in D.state_dict().items())


def test_spectral_norm_divides_by_the_largest_singular_value() -> None:
    torch.manual_seed(0)
    D = build_discriminator("patch", num_filters=4, n_down=1, norm="none", spectral_norm=True)
    with torch.no_grad():
        for number, conv in enumerate(m for m in D.modules() if isinstance(m, nn.Conv2d)):
            conv.parametrizations.weight.original.mul_(30 + number)
    for _ in range(100):  # each training pass refines the estimate
        D(torch.zeros(1, 3, 16, 16))
    x = torch.randn(2, 3, 16, 16)
    h = x
    convs = [m for m in D.modules() if isinstance(m, nn.Conv2d)]
    for conv, following in itertools.zip_longest(convs, convs[1:]):
        weight = conv.parametrizations.weight.original
        weight = weight / torch.linalg.svdvals(weight.flatten(1))[0]
        h = F.conv2d(h, weight, conv.bias, conv.stride, conv.padding)
        h = F.leaky_relu(h, 0.2) if following is not None else h
    torch.testing.assert_close(D.eval()(x), h, atol=1e-4, rtol=1e-3)
