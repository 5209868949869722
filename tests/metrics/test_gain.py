"""L1 at the truth's colorfulness, against a search with SciPy on colors converted by scikit-image."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from skimage.color import lab2rgb
from skimage.util import img_as_ubyte

from colorize.experiments.experiment import train
from colorize.lab import rgb_to_l_ab
from colorize.metrics.gain import calibrated_gain, gain_sums, l1_at_cf

PREDICTIONS = {  # of ab, from the true one
    "weak": lambda ab: 0.4 * ab + 0.1 * ab.flip(-1),
    "vivid": lambda ab: 1.7 * ab + 0.3 * ab.flip(-1),
    "tinted": lambda ab: 0.3 * ab + 0.03,
    "of the neighbor": lambda ab: 0.5 * ab.roll(1, 0),
}


def photographs(count: int, side: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth color images, as L and ab."""
    coarse = 0.2 + 0.6 * torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return rgb_to_l_ab(torch.nn.functional.interpolate(coarse, size=side, mode="bicubic").clamp(0, 1))


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB:UserWarning")
def colorfulness(L: np.ndarray, ab: np.ndarray) -> float:
    """Compute the mean over images, with absolute opponents."""
    values = []
    for lightness, chroma in zip(L, ab, strict=True):
        lab = np.concatenate([(lightness + 1) * 50, chroma * 110]).transpose(1, 2, 0)
        red, green, blue = img_as_ubyte(lab2rgb(lab).clip(0, 1)).astype(float).transpose(2, 0, 1)
        rg, yb = np.abs(red - green), np.abs((red + green) / 2 - blue)
        values.append(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))
    return np.mean(values)


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB:UserWarning")
@pytest.mark.parametrize("predict", PREDICTIONS.values(), ids=PREDICTIONS)
def test_it_is_what_a_search_of_the_gain_finds(predict) -> None:
    L, ab = photographs(4)
    found = l1_at_cf(gain_sums(L, predict(ab), ab)).item()
    L, predicted, ab = (x.double().numpy() for x in (L, predict(ab), ab))
    target = colorfulness(L, ab)
    gain = brentq(lambda gain: colorfulness(L, gain * predicted) - target, 0.25, 8, xtol=1e-4)
    assert found == pytest.approx(np.abs(gain * predicted - ab).mean(), rel=0.01)


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB:UserWarning")
@pytest.mark.parametrize("predict", PREDICTIONS.values(), ids=PREDICTIONS)
def test_the_calibrated_gain_brings_nine_tenths_of_the_truths_colorfulness(predict) -> None:
    L, ab = photographs(4)
    gain = calibrated_gain(gain_sums(L, predict(ab), ab)).item()
    L, predicted, ab = (x.double().numpy() for x in (L, predict(ab), ab))
    assert colorfulness(L, gain * predicted) == pytest.approx(0.9 * colorfulness(L, ab), rel=0.01)


def test_the_truth_has_none() -> None:
    L, ab = photographs(2)
    assert l1_at_cf(gain_sums(L, ab, ab)).item() == 0


@pytest.mark.parametrize("share", [0.0, 0.01, 9.0])
def test_where_no_gain_reaches_the_truths_colorfulness_it_is_no_number(share) -> None:
    """Grey; a hundredth, too weak for a gain of 8; nine times as much, too strong for one of 1/4."""
    L, ab = photographs(2)
    truth = ab if share < 1 else ab / share
    sums = gain_sums(L, share * truth, truth)
    assert l1_at_cf(sums).isnan() and calibrated_gain(sums).isnan()


def test_large_images_are_looked_at_on_32x32_pixels() -> None:
    small, large = ((*photographs(3, 32),) for _ in range(2))
    large = tuple(x.repeat_interleave(4, 2).repeat_interleave(4, 3) for x in large)
    for x in large:
        x[..., 1::4, :] = x[..., 1::4] = 0.5  # rows and columns that nobody looks at
    (L, ab), (large_L, large_ab) = small, large
    torch.testing.assert_close(gain_sums(large_L, 0.5 * large_ab, large_ab), gain_sums(L, 0.5 * ab, ab))


@pytest.mark.parametrize("monitored", ["l1", "l1_at_cf"])
def test_no_number_neither_stops_a_run_nor_keeps_it_from_saving(make_config, tmp_path, monkeypatch, monitored) -> None:
    monkeypatch.setattr("colorize.metrics.scores.l1_at_cf", lambda sums: torch.tensor(torch.nan))
    metrics = train(make_config("max_epochs=2", f"optimized_metric=val/{monitored}"))
    assert np.isnan(metrics["val/l1_at_cf"]) and np.isfinite(metrics["val/l1"])
    assert {path.name for path in (tmp_path / "run/checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
