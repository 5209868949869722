import numpy as np
import pytest
import torch
from skimage.color import deltaE_ciede2000

from colorize.metrics import ciede2000, delta_e, l1, out_of_gamut_share

# Sharma, Wu and Dalal 2005, table 1: L1 a1 b1  L2 a2 b2  difference
SHARMA = [
    (50.0000, 2.6772, -79.7751, 50.0000, 0.0000, -82.7485, 2.0425),
    (50.0000, 3.1571, -77.2803, 50.0000, 0.0000, -82.7485, 2.8615),
    (50.0000, 2.8361, -74.0200, 50.0000, 0.0000, -82.7485, 3.4412),
    (50.0000, -1.3802, -84.2814, 50.0000, 0.0000, -82.7485, 1.0000),
    (50.0000, -1.1848, -84.8006, 50.0000, 0.0000, -82.7485, 1.0000),
    (50.0000, -0.9009, -85.5211, 50.0000, 0.0000, -82.7485, 1.0000),
    (50.0000, 0.0000, 0.0000, 50.0000, -1.0000, 2.0000, 2.3669),
    (50.0000, -1.0000, 2.0000, 50.0000, 0.0000, 0.0000, 2.3669),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0009, 7.1792),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0010, 7.1792),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0011, 7.2195),
    (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0012, 7.2195),
    (50.0000, -0.0010, 2.4900, 50.0000, 0.0009, -2.4900, 4.8045),
    (50.0000, -0.0010, 2.4900, 50.0000, 0.0010, -2.4900, 4.8045),
    (50.0000, -0.0010, 2.4900, 50.0000, 0.0011, -2.4900, 4.7461),
    (50.0000, 2.5000, 0.0000, 50.0000, 0.0000, -2.5000, 4.3065),
    (50.0000, 2.5000, 0.0000, 73.0000, 25.0000, -18.0000, 27.1492),
    (50.0000, 2.5000, 0.0000, 61.0000, -5.0000, 29.0000, 22.8977),
    (50.0000, 2.5000, 0.0000, 56.0000, -27.0000, -3.0000, 31.9030),
    (50.0000, 2.5000, 0.0000, 58.0000, 24.0000, 15.0000, 19.4535),
    (50.0000, 2.5000, 0.0000, 50.0000, 3.1736, 0.5854, 1.0000),
    (50.0000, 2.5000, 0.0000, 50.0000, 3.2972, 0.0000, 1.0000),
    (50.0000, 2.5000, 0.0000, 50.0000, 1.8634, 0.5757, 1.0000),
    (50.0000, 2.5000, 0.0000, 50.0000, 3.2592, 0.3350, 1.0000),
    (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
    (63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630),
    (61.2901, 3.7196, -5.3901, 61.4292, 2.2480, -4.9620, 1.8731),
    (35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645),
    (22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373),
    (36.4612, 47.8580, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146),
    (90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441),
    (90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381),
    (6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377),
    (2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082),
]


def pixel(*lab):
    return torch.tensor(lab, dtype=torch.float64).view(1, 3, 1, 1)


@pytest.mark.parametrize("row", SHARMA)
def test_ciede2000_matches_the_published_pair(row):
    assert ciede2000(pixel(*row[:3]), pixel(*row[3:6])).item() == pytest.approx(row[6], abs=5.1e-5)


@pytest.fixture
def labs():
    """Two batches of Lab images over the whole box, float32."""
    generator = torch.Generator().manual_seed(0)
    low, span = torch.tensor([0.0, -110, -110]), torch.tensor([100.0, 220, 220])
    draws = torch.rand(2, 2, 3, 50, 60, generator=generator)
    return draws * span.view(3, 1, 1) + low.view(3, 1, 1)


def test_ciede2000_matches_skimage_in_float32(labs):
    expected = deltaE_ciede2000(labs[0].double().numpy(), labs[1].double().numpy(), channel_axis=1)
    np.testing.assert_allclose(ciede2000(*labs).numpy(), expected, atol=5e-4)


def test_ciede2000_gives_one_value_a_pixel(labs):
    assert ciede2000(*labs).shape == (2, 50, 60)


def test_ciede2000_between_greys_is_finite_and_matches_skimage():
    dark, light = pixel(20, 0, 0), pixel(70, 0, 0)
    expected = deltaE_ciede2000([20.0, 0, 0], [70.0, 0, 0])
    assert ciede2000(dark, light).item() == pytest.approx(expected, abs=1e-9)


def test_ciede2000_of_a_color_with_itself_is_zero(labs):
    assert torch.equal(ciede2000(labs[0], labs[0]), torch.zeros(2, 50, 60))


def test_ciede2000_refuses_two_shapes():
    with pytest.raises(ValueError, match=r"\(1, 3, 1, 1\) and \(1, 3, 2, 1\)"):
        ciede2000(torch.zeros(1, 3, 1, 1), torch.zeros(1, 3, 2, 1))


def test_delta_e_is_the_mean_over_an_image_in_lab_units():
    # Sharma's pairs 7 and 8 side by side in the first image, no difference in the second
    L = torch.zeros(2, 1, 1, 2)  # L* = 50
    grey, color = torch.zeros(2), torch.tensor([-1.0, 2.0]) / 110
    ab_true = torch.stack([torch.stack([grey, color]), torch.stack([grey, grey])]).transpose(1, 2).unsqueeze(2)
    ab_pred = torch.stack([torch.stack([color, color]), torch.stack([grey, grey])]).transpose(1, 2).unsqueeze(2)
    assert delta_e(L, ab_pred, ab_true).tolist() == pytest.approx([2.3669 / 2, 0], abs=5e-5)


def test_l1_is_the_mean_of_absolute_errors_per_image():
    ab_true = torch.zeros(2, 2, 2, 1)
    ab_pred = torch.tensor([[0.5, -0.5, 0.0, 0.2], [0.0, 0.0, 0.0, 0.4]]).view(2, 2, 2, 1)
    assert l1(ab_pred, ab_true).tolist() == pytest.approx([0.3, 0.1])


def test_l1_of_half_precision_is_taken_in_float32():
    ab_pred, ab_true = (torch.rand(2, 2, 8, 8, generator=torch.Generator().manual_seed(n)).bfloat16() for n in range(2))
    expected = np.abs(ab_pred.double().numpy() - ab_true.double().numpy()).mean((1, 2, 3))
    assert l1(ab_pred, ab_true).dtype == torch.float32
    assert l1(ab_pred, ab_true).tolist() == pytest.approx(expected.tolist(), rel=1e-6)


def test_l1_refuses_two_shapes():
    with pytest.raises(ValueError, match=r"\(1, 2, 4, 4\) and \(1, 2, 4, 5\)"):
        l1(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 5))


def test_out_of_gamut_share_counts_pixels():
    # at L* = 50, b* = 110 is outside sRGB and grey is inside
    ab = torch.zeros(1, 2, 1, 4)
    ab[0, 1, 0, 0] = 1.0
    assert out_of_gamut_share(torch.zeros(1, 1, 1, 4), ab).tolist() == [0.25]
