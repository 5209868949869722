"""Compute the share of the variance of chroma explained by lightness, by the category, or by both.

Each photograph is predicted from the others, because its own means would explain, for example, a single blue sky by its
lightness alone.
"""

import numpy as np

L_BINS = 20  # of 5 units of L*
SUMS = 4  # per bin: number of pixels, and sums of a, b and a^2 + b^2


def lightness_sums(L: np.ndarray, ab: np.ndarray) -> np.ndarray:
    """Sum pixels by their lightness.

    Args:
        L: L* of shape ``(n,)`` in [0, 100].
        ab: Chroma of shape ``(2, n)`` in Lab units.
    Returns:
        ``(L_BINS, SUMS)`` float32.
    """
    bins = np.clip(L * (L_BINS / 100), 0, L_BINS - 1).astype(int)
    columns = (None, ab[0], ab[1], np.square(ab).sum(0))
    return np.stack([np.bincount(bins, weights, L_BINS) for weights in columns], 1).astype(np.float32)


def errors(sums: np.ndarray, otherwise: np.ndarray | None = None) -> np.ndarray:
    """Return the squared error of predicting the chroma of each photograph by group means over the other photographs.

    Args:
        sums: Sums of N photographs as returned by `lightness_sums`, ``(N, groups, SUMS)``.
        otherwise: Prediction ``(N, 2)`` for groups that occur in no other photograph. The default is the mean of all
            groups in the other photographs, or 0 (grey) if there are none.
    Returns:
        Squared errors summed over pixels, ``(N,)``.
    """
    sums = sums.astype(np.float64)
    others = sums.sum(0) - sums
    if otherwise is None:
        otherwise = means(others.sum(1), np.zeros(2))
    mean = means(others, otherwise[:, None])
    count, total, squares = sums[..., 0], sums[..., 1:3], sums[..., 3]
    return (squares - 2 * (total * mean).sum(-1) + count * np.square(mean).sum(-1)).sum(1)


def means(sums: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Return mean ab ``(..., 2)`` of sums ``(..., SUMS)``, or ``otherwise`` if there are no pixels."""
    count = sums[..., :1]
    return np.where(count > 0.5, sums[..., 1:3] / np.maximum(count, 1), otherwise)


def explained(sums: np.ndarray) -> np.ndarray:
    """Return the share of explained variance from squared errors ``(..., 2)`` with and without the predictor."""
    return 1 - sums[..., 0] / sums[..., 1]
