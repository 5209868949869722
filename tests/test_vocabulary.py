"""Every score has one name and one direction."""

import pytest

from colorize.metrics.scores import SUMMARY
from colorize.scoring.scores import SCORES as SCORED
from colorize.vocabulary import EVALUATED, better_when, score_of

NO_SCORE = {"calibrated_gain", "l1_grey"}  # of the baseline, and a setting


@pytest.mark.parametrize(
    ("metric", "better"),
    [
        ("val/l1", "min"),
        ("val/raw_psnr", "max"),
        ("l1_hints5", "min"),
        ("ssim_at_cf", "max"),
        ("val/loss_G_L1", "min"),
        ("val/raw_loss_D", "min"),
        ("val/colorfulness", None),
        ("val/calibrated_gain", None),
        ("train/images_per_s", None),
    ],
)
def test_the_better_direction_of_a_logged_name(metric, better) -> None:
    assert better_when(metric) == better


def test_every_score_that_is_computed_has_a_name() -> None:
    computed = {*SUMMARY, *EVALUATED, *SCORED} - NO_SCORE
    unnamed = {name for name in computed if not name.startswith("target_") and score_of(name) is None}
    assert unnamed <= {"hue", "chroma_spread", "target_chroma_spread"}
