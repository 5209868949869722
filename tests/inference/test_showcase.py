"""The picture of photographs at the end of `make demo`."""

import numpy as np
import pytest
from PIL import Image
from skimage import data
from skimage.color import rgb2lab

from colorize.inference.showcase import CAPTIONS, SIDE, main


@pytest.mark.slow
def test_below_each_other_stand_grey_colored_and_real(tmp_path, capsys) -> None:
    main(tmp_path / "demo/photographs.png")
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"photographs, grey, colored and real: {tmp_path / 'demo/photographs.png'}"
    assert second.endswith("colorize image photo.jpg")
    sheet = Image.open(tmp_path / "demo/photographs.png")
    left = 4 + 3 * (SIDE + 4)  # the fourth: square, so that nothing is cut off
    assert list(CAPTIONS)[3] == "astronaut"
    grey, colored, real = (
        np.asarray(sheet.crop((left, top, left + SIDE, top + SIDE))) for top in range(22, 22 + 3 * (SIDE + 4), SIDE + 4)
    )
    expected = Image.fromarray(data.astronaut()).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    assert np.array_equal(real, np.asarray(expected))
    assert np.ptp(grey.astype(int), axis=-1).max() == 0
    assert np.abs(rgb2lab(colored)[..., 1:]).mean() > 3
    assert np.abs(rgb2lab(colored)[..., 0] - rgb2lab(grey)[..., 0]).mean() < 0.5
