"""Compute the main colors of a category and the output colors of the same pixels."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.cluster.vq import kmeans2

from colorize.srgb import join

COLORS = 5
SAMPLE = 64  # random pixels per object, so that large objects do not dominate
MOST = 20_000  # maximum pixels per category: the first ones, from photographs in random order


def sample(mask: np.ndarray, seed: int) -> np.ndarray:
    """Draw pixels of a mask with replacement, as indices ``(SAMPLE,)`` into the flattened mask."""
    return np.random.default_rng(seed).choice(np.flatnonzero(mask), SAMPLE)


def palette(lab: np.ndarray, outputs: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Find the main colors by k-means in CIE Lab, most frequent first.

    Args:
        lab: True Lab colors, ``(n, 3)``.
        outputs: Output ab ``(n, 2)`` of the same pixels, by method.
    Returns:
        For each color: ``share`` of the pixels, ``true`` as ``#rrggbb``, and under the name of each method the mean
        color of its output on the same pixels.
    """
    lab = lab[:MOST].astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some clusters are empty if there are fewer colors than clusters
        _, places = kmeans2(lab, min(COLORS, len(lab)), minit="++", seed=np.random.default_rng(0))
    found = []
    for place in np.unique(places):
        own = places == place
        L, *ab = lab[own].mean(0)
        means = {name: output[:MOST][own].mean(0) for name, output in outputs.items()}
        colors = {"true": hex_color(L, *ab)} | {name: hex_color(L, *mean) for name, mean in means.items()}
        found.append({"share": float(own.mean())} | colors)
    return sorted(found, key=lambda color: -color["share"])


def hex_color(L: float, a: float, b: float) -> str:
    """Return a Lab color as ``#rrggbb``; chroma is reduced if it is outside the sRGB gamut."""
    planes = (np.array([[value]], np.float32) for value in (L, a, b))
    return "#" + join(*planes, np.uint8)[0].tobytes().hex()
