"""How much of the variance of chroma is explained by what a network may know: lightness, the category, or both.

Each photograph is predicted from the others: with means of its own pixels, one photograph's blue sky would be explained
by its lightness alone.
"""

import numpy as np

L_BINS = 20  # of 5 units of L*
SUMS = 4  # of each bin: pixels, a, b, a^2 + b^2


def lightness_sums(L: np.ndarray, ab: np.ndarray) -> np.ndarray:
    """Sum up pixels by their lightness.

    Args:
        L: ``(n,)`` in [0, 100].
        ab: ``(2, n)`` in Lab units.
    Returns:
        ``(L_BINS, SUMS)`` float32.
    """
    bins = np.clip(L * (L_BINS / 100), 0, L_BINS - 1).astype(int)
    columns = (None, ab[0], ab[1], np.square(ab).sum(0))
    return np.stack([np.bincount(bins, weights, L_BINS) for weights in columns], 1).astype(np.float32)


def errors(sums: np.ndarray, otherwise: np.ndarray | None = None) -> np.ndarray:
    """Return the squared error of each photograph's chroma when its groups take their mean in the other photographs.

    Args:
        sums: ``(N, groups, SUMS)`` of N photographs, such as those of `lightness_sums`.
        otherwise: ``(N, 2)``, what a pixel takes whose group no other photograph has; by default the mean of all groups
            in the other photographs, and 0, which is grey, if there are none.
    Returns:
        ``(N,)``, summed up over pixels.
    """
    sums = sums.astype(np.float64)
    others = sums.sum(0) - sums
    if otherwise is None:
        otherwise = means(others.sum(1), np.zeros(2))
    mean = means(others, otherwise[:, None])
    count, total, squares = sums[..., 0], sums[..., 1:3], sums[..., 3]
    return (squares - 2 * (total * mean).sum(-1) + count * np.square(mean).sum(-1)).sum(1)


def means(sums: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Return mean ab ``(..., 2)`` of ``(..., SUMS)``, and another value where there is no pixel."""
    count = sums[..., :1]
    return np.where(count > 0.5, sums[..., 1:3] / np.maximum(count, 1), otherwise)


def explained(sums: np.ndarray) -> np.ndarray:
    """Return the share of variance that is explained, from sums ``(..., 2)`` of squared errors with and without."""
    return 1 - sums[..., 0] / sums[..., 1]
