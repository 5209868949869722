"""The bootstrap's draws, as how often each image is drawn: sums and means over them are then products of matrices."""

from collections.abc import Iterator

import numpy as np

AT_ONCE = 1 << 20  # draws of an image: 8 MB


def drawn_counts(count: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each of ``count`` images is drawn with replacement, for some resamples at a time.

    Args:
        count: of images, at least 1; each resample draws as many.
        resamples: all of them together.
        seed: the same seed gives the same draws.
    Returns:
        ``(R, count)`` float64, whose rows add up to ``count``; R adds up to ``resamples``.
    """
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, step := max(1, AT_ONCE // count)):
        rows = min(step, resamples - start)
        places = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(places.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)
