"""Color conversion against scikit-image."""

import contextlib
import warnings

import kornia
import numpy as np
import pytest
import torch
from skimage.color import lab2rgb, rgb2lab
from torch.utils._python_dispatch import TorchDispatchMode

from colorize import lab as lab_module
from colorize import srgb
from colorize.lab import l_ab_to_lab, l_ab_to_rgb, out_of_gamut, rgb_to_l_ab, to_uint8


@pytest.fixture
def rgb() -> torch.Tensor:
    return torch.rand(2, 3, 16, 20, generator=torch.Generator().manual_seed(0))


def test_rgb_to_l_ab_matches_skimage(rgb) -> None:
    lab = torch.from_numpy(rgb2lab(rgb.double().permute(0, 2, 3, 1).numpy())).permute(0, 3, 1, 2).float()
    L, ab = rgb_to_l_ab(rgb)
    torch.testing.assert_close(L, lab[:, :1] / 50 - 1, atol=1e-5, rtol=0)
    torch.testing.assert_close(ab, lab[:, 1:] / 110, atol=1e-5, rtol=0)


def test_l_ab_to_rgb_matches_skimage(rgb) -> None:
    L, ab = rgb_to_l_ab(rgb)
    lab = l_ab_to_lab(L, ab).double().permute(0, 2, 3, 1).numpy()
    expected = torch.from_numpy(lab2rgb(lab)).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(l_ab_to_rgb(L, ab), expected, atol=1e-4, rtol=0)


def test_every_8_bit_color_survives_the_round_trip() -> None:
    levels = torch.arange(0, 256, 5, dtype=torch.uint8)
    colors = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, len(levels), -1)
    assert torch.equal(to_uint8(l_ab_to_rgb(*rgb_to_l_ab(colors.float() / 255))), colors)


def test_colors_outside_the_gamut_are_clipped_as_by_skimage() -> None:
    lab = torch.rand(1, 3, 16, 20, generator=torch.Generator().manual_seed(0)) * torch.tensor([100, 220, 220.0]).view(
        3, 1, 1
    )
    lab[:, 1:] -= 110
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-image says that it clips
        expected = torch.from_numpy(lab2rgb(lab[0].double().permute(1, 2, 0).numpy())).permute(2, 0, 1).float()
    assert (expected == 0).any() and (expected == 1).any()
    torch.testing.assert_close(l_ab_to_rgb(lab[:, :1] / 50 - 1, lab[:, 1:] / 110)[0], expected, atol=1e-4, rtol=0)


def test_uint8_is_rounded_and_stays_within_its_range() -> None:
    values = torch.tensor([-0.1, 0.0, 0.4 / 255, 0.6 / 255, 254.4 / 255, 1.0, 1.1])
    assert to_uint8(values).tolist() == [0, 0, 0, 1, 254, 255, 255]


def test_conversion_stays_in_float32_under_autocast(rgb) -> None:
    expected = rgb_to_l_ab(rgb)[1]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(rgb_to_l_ab(rgb)[1], expected)


def test_half_precision_is_converted_in_float32(rgb) -> None:
    half = rgb.bfloat16()
    for part, expected in zip(rgb_to_l_ab(half), rgb_to_l_ab(half.float()), strict=True):
        assert part.dtype == torch.float32 and torch.equal(part, expected)
    L, ab = (part.bfloat16() for part in rgb_to_l_ab(rgb))
    lab = l_ab_to_lab(L, ab)
    assert lab.dtype == torch.float32
    assert torch.equal(lab[:, :1], (L.float() + 1) * 50) and torch.equal(lab[:, 1:], ab.float() * 110)


@pytest.mark.parametrize(
    "bad", [torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(3, 4, 4), torch.zeros(1, 1, 4, 4)]
)
def test_wrong_input_says_what_was_expected(bad) -> None:
    with pytest.raises(ValueError, match=r"expected \(B, 3, H, W\) float"):
        rgb_to_l_ab(bad)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="expected L"):
        l_ab_to_rgb(torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 4, 5))


def test_real_colors_are_in_gamut(rgb) -> None:
    assert not out_of_gamut(*rgb_to_l_ab(rgb)).any()


def test_each_pixel_is_out_of_gamut_by_itself() -> None:
    ab = torch.zeros(2, 2, 1, 3)
    ab[1, :, 0, 2] = -100 / 110  # at L* 50 no such cyan; the others are grey
    assert (lab2rgb(np.array([[[50.0, -100.0, -100.0]]])) == 0).any()  # scikit-image clips it
    assert out_of_gamut(torch.zeros(2, 1, 1, 3), ab).tolist() == [[[False] * 3], [[False, False, True]]]


@pytest.mark.parametrize("base", [0.0, 1.0])
@pytest.mark.parametrize(("levels", "outside"), [(0.4, False), (0.6, True)])
def test_half_a_level_beyond_the_ends_is_out_of_gamut(base, levels, outside) -> None:
    beyond = base + levels / 255 * (1 if base else -1)
    lab = torch.from_numpy(rgb2lab(np.array([[[0.5, beyond, 0.5]]]))).permute(2, 0, 1)[None].float()
    assert out_of_gamut(lab[:, :1] / 50 - 1, lab[:, 1:] / 110).item() == outside


def test_numpy_and_torch_convert_alike(rgb) -> None:
    pixels = to_uint8(rgb)
    L, ab = rgb_to_l_ab(pixels.float() / 255)
    numpy_lab = np.stack([srgb.lab(image) for image in pixels.permute(0, 2, 3, 1).numpy()])
    torch.testing.assert_close(torch.from_numpy(numpy_lab), l_ab_to_lab(L, ab), atol=2e-3, rtol=0)  # Lab units
    vivid = 1.2 * ab  # about half of it outside sRGB
    planes = (plane.numpy() for plane in l_ab_to_lab(L, vivid).unbind(1))
    numpy_rgb, numpy_outside = srgb.clipped(*planes)  # (3, B, H, W) and (B, H, W)
    difference = to_uint8(l_ab_to_rgb(L, vivid)).int() - torch.from_numpy(numpy_rgb).transpose(0, 1).int()
    assert difference.abs().max() <= 1 and difference.abs().float().mean() < 0.01  # the table of srgb has 65,536 steps
    assert (out_of_gamut(L, vivid) != torch.from_numpy(numpy_outside)).float().mean() < 0.002
    assert 0.2 < numpy_outside.mean() < 0.8


class Tf32(TorchDispatchMode):
    """Lets convolutions and matrix products round what they multiply to 10 bits, as a GPU does in TF32."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func in (torch.ops.aten.convolution.default, torch.ops.aten.mm.default, torch.ops.aten.bmm.default):
            args = [((x.view(torch.int32) + 2**12) >> 13 << 13).view(torch.float32) for x in args[:2]] + list(args[2:])
        return func(*args, **kwargs or {})


def test_lab_is_as_exact_where_convolutions_are_in_tf32(rgb, monkeypatch) -> None:
    L, ab = rgb_to_l_ab(rgb)
    back = l_ab_to_rgb(L, ab)
    as_on_a_gpu = lambda image, matrix: torch.nn.functional.conv2d(image, matrix.view(3, 3, 1, 1))  # noqa: E731
    monkeypatch.setattr(kornia.color.xyz, "_apply_linear_transformation", as_on_a_gpu)
    with Tf32():
        assert (kornia.color.rgb_to_lab(rgb)[:, 1:] / 110 - ab).abs().max() > 2e-4  # the fault is there to be met
        for found, expected in zip((*rgb_to_l_ab(rgb), l_ab_to_rgb(L, ab)), (L, ab, back), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


class Operators(TorchDispatchMode):
    """Notes what is called."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.add(func)
        return func(*args, **kwargs or {})


def test_off_the_cpu_nothing_is_convolved_and_constants_are_made_once(monkeypatch) -> None:
    """Kornia takes the same way on the device "meta", which computes nothing, as on a GPU."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: contextlib.nullcontext())  # knows no meta
    monkeypatch.setattr(lab_module, "_CONSTANTS", {})
    rgb = torch.empty(1, 3, 4, 4, device="meta")
    made = torch.ops.aten.lift_fresh.default  # what torch.tensor ends with
    with Operators() as first:
        out_of_gamut(*rgb_to_l_ab(rgb))
    with Operators() as second:
        out_of_gamut(*rgb_to_l_ab(rgb))
    assert made in first.seen and made not in second.seen
    assert torch.ops.aten.convolution.default not in first.seen | second.seen


def test_constants_made_in_inference_mode_let_gradients_through(rgb, monkeypatch) -> None:
    monkeypatch.setattr(lab_module, "_CONSTANTS", {})
    with torch.inference_mode():
        rgb_to_l_ab(rgb)
    rgb.requires_grad_()
    rgb_to_l_ab(rgb)[1].sum().backward()
    assert rgb.grad.abs().sum() > 0


def test_the_conversion_compiles_in_one_piece_and_once(rgb, monkeypatch) -> None:
    monkeypatch.setattr(lab_module, "_CONSTANTS", {})
    compiled = torch.compile(rgb_to_l_ab, backend="aot_eager", fullgraph=True)
    compiled(rgb)
    with torch.compiler.set_stance("fail_on_recompile"):
        found = compiled(rgb)
    torch.testing.assert_close(found, rgb_to_l_ab(rgb))
