import time

import numpy as np
import pytest
import torch

from colorize.lab import rgb_to_l_ab
from colorize.metrics import PER_IMAGE, ImageScores, bootstrap, score_images, summarize
from colorize.metrics.gain import gain_sums, l1_at_cf


def photographs(count, seed=0):
    """Smooth color images of 16x16, uint8 values in [0, 1]."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    rgb = torch.nn.functional.interpolate(coarse, size=16, mode="bicubic").clamp(0, 1)
    return (rgb * 255).round() / 255


@pytest.fixture
def batch():
    L, ab = rgb_to_l_ab(photographs(5))
    return L, 0.5 * ab, ab


def made_up(**values):
    """Per-image scores of two images: zero but for the given ones."""
    return {name: torch.tensor(values.get(name, (0.0, 0.0))) for name in PER_IMAGE}


def random_scores(count):
    table = torch.randn(len(PER_IMAGE), count, generator=torch.Generator().manual_seed(0))
    return dict(zip(PER_IMAGE, table, strict=True))


def test_every_image_gets_every_score(batch):
    scores = score_images(*batch)
    assert {name: value.shape for name, value in scores.items()} == dict.fromkeys(PER_IMAGE, (5,))


def test_the_truth_scores_perfectly():
    L, ab = rgb_to_l_ab(photographs(2))
    scores = score_images(L, ab, ab)
    perfect = {"l1": 0.0, "ssim": 1.0, "delta_e": 0.0, "out_of_gamut": 0.0}
    assert {name: scores[name].tolist() for name in perfect} == {name: [v, v] for name, v in perfect.items()}


def test_the_target_is_the_image_that_was_split():
    rgb = photographs(1)
    L, ab = rgb_to_l_ab(rgb)
    red, green, blue = (rgb[0] * 255).double().numpy()
    rg, yb = np.abs(red - green), np.abs((red + green) / 2 - blue)
    expected = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
    assert score_images(L, 0 * ab, ab)["target_colorfulness_abs"].item() == pytest.approx(expected, rel=1e-5)


def test_the_baseline_is_the_l1_of_no_chroma(batch):
    L, ab_pred, ab_true = batch
    expected = ab_true.abs().mean((1, 2, 3))
    torch.testing.assert_close(score_images(L, ab_pred, ab_true)["l1_grey"], expected)


def test_grey_output_has_no_color():
    L, ab = rgb_to_l_ab(photographs(1))
    assert score_images(L, 0 * ab, ab)["colorfulness"].item() < 0.5  # rounding to uint8 leaves traces


def test_scores_carry_no_gradient(batch):
    L, ab_pred, ab_true = batch
    scores = score_images(L, ab_pred.requires_grad_(), ab_true)
    assert not any(value.requires_grad for value in scores.values())


def test_summary_holds_means():
    assert summarize(made_up(psnr=(20.0, 30.0)))["psnr"].item() == 25.0


def test_delta_colorfulness_is_the_difference_of_means_in_the_published_variant():
    summary = summarize(made_up(colorfulness_abs=(10.0, 30.0), target_colorfulness_abs=(20.0, 24.0)))
    assert summary["delta_colorfulness"].item() == 2.0


def test_delta_colorfulness_hs_is_the_difference_of_means_by_the_definition_of_2003():
    summary = summarize(made_up(colorfulness=(10.0, 30.0), target_colorfulness=(20.0, 24.0)))
    assert summary["delta_colorfulness_hs"].item() == 2.0


def test_delta_colorfulness_image_is_the_mean_of_differences():
    summary = summarize(made_up(colorfulness_abs=(10.0, 30.0), target_colorfulness_abs=(20.0, 24.0)))
    assert summary["delta_colorfulness_image"].item() == 8.0


def test_the_summary_has_these_names():
    assert list(summarize(made_up())) == [
        "l1",
        "l1_grey",
        "psnr",
        "ssim",
        "colorfulness",
        "colorfulness_abs",
        "delta_e",
        "out_of_gamut",
        "delta_colorfulness",
        "delta_colorfulness_hs",
        "delta_colorfulness_image",
    ]


def test_batches_add_up_to_the_whole_set(batch):
    in_parts = ImageScores()
    for part in (slice(0, 2), slice(2, 5)):
        in_parts.update(*(tensor[part] for tensor in batch))
    expected = summarize(score_images(*batch))
    found = in_parts.compute()
    assert {k: found[k].item() for k in expected} == pytest.approx({k: v.item() for k, v in expected.items()})
    assert found["l1_at_cf"].item() == pytest.approx(l1_at_cf(gain_sums(*batch)).item())


def test_per_image_scores_keep_the_order_of_the_images(batch):
    metric = ImageScores()
    for part in (slice(0, 2), slice(2, 5)):
        metric.update(*(tensor[part] for tensor in batch))
    torch.testing.assert_close(metric.per_image(), score_images(*batch))


def test_images_of_all_processes_are_scored_together(batch):
    metric = ImageScores()
    metric.update(*(tensor[:2] for tensor in batch))
    elsewhere = ImageScores()
    elsewhere.update(*(tensor[2:] for tensor in batch))
    there = {2: elsewhere.scores[0], 1: elsewhere.at_gains}  # by the number of axes
    metric.sync(dist_sync_fn=lambda here, group: [here, there[here.ndim]], distributed_available=lambda: True)
    torch.testing.assert_close(metric.per_image(), score_images(*batch))
    torch.testing.assert_close(metric.at_gains, gain_sums(*batch))


def test_reset_forgets(batch):
    metric = ImageScores()
    metric.update(*batch)
    metric.reset()
    metric.update(*(tensor[:1] for tensor in batch))
    assert metric.per_image()["psnr"].shape == (1,)
    assert metric.at_gains[0] == 1


@pytest.mark.parametrize(("level", "deviations"), [(0.95, 1.96), (0.5, 0.6745)])
def test_bootstrap_interval_of_a_mean_has_the_width_of_its_normal_theory(level, deviations):
    scores = random_scores(2000)
    low, high = bootstrap(scores, level=level)["psnr"]
    half = deviations * scores["psnr"].std().item() / 2000**0.5
    mean = scores["psnr"].mean().item()
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.1 * half)


def test_bootstrap_draws_1000_times_from_seed_0_unless_told_otherwise():
    scores = random_scores(20)
    assert bootstrap(scores) == bootstrap(scores, resamples=1000, seed=0, level=0.95)


def test_bootstrap_covers_every_value_of_the_summary():
    scores = random_scores(20)
    assert list(bootstrap(scores, resamples=10)) == list(summarize(scores))


def test_bootstrap_is_a_function_of_its_seed():
    scores = random_scores(50)
    assert bootstrap(scores, resamples=20, seed=1) == bootstrap(scores, resamples=20, seed=1)
    assert bootstrap(scores, resamples=20, seed=1) != bootstrap(scores, resamples=20, seed=2)


def test_a_higher_level_gives_a_wider_interval():
    scores = random_scores(200)
    (low, high), (wide_low, wide_high) = bootstrap(scores, level=0.5)["psnr"], bootstrap(scores, level=0.99)["psnr"]
    assert wide_low < low < high < wide_high


def test_bootstrap_of_2000_images_takes_less_than_two_seconds():
    scores = random_scores(2000)
    start = time.process_time()
    bootstrap(scores, resamples=1000)
    assert time.process_time() - start < 2
