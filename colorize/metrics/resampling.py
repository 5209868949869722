"""Bootstrap resamples as counts of each image, so that sums and means over them are matrix products."""

from collections.abc import Iterator

import numpy as np

AT_ONCE = 1 << 20  # draws per batch of resamples: 8 MB


def drawn_counts(count: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each of ``count`` images is drawn with replacement, for a batch of resamples at a time.

    Args:
        count: number of images, at least 1, and of draws per resample.
        resamples: total number of resamples.
        seed: the same seed gives the same draws.
    Yields:
        ``(R, count)`` float64, whose rows sum to ``count``; the R sum to ``resamples``.
    """
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, step := max(1, AT_ONCE // count)):
        rows = min(step, resamples - start)
        places = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(places.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)
