"""The main colors of a category, and what becomes of each in an output."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.cluster.vq import kmeans2

from colorize.srgb import join

COLORS = 5
SAMPLE = 64  # pixels of each thing, drawn at random, so that large things do not decide alone
MOST = 20_000  # pixels of a category: the first of them, of photographs in random order


def sample(mask: np.ndarray, seed: int) -> np.ndarray:
    """Draw the places ``(SAMPLE,)`` of a mask's pixels, with replacement, as indices of the flattened mask."""
    return np.random.default_rng(seed).choice(np.flatnonzero(mask), SAMPLE)


def palette(lab: np.ndarray, outputs: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Find the main colors by k-means in CIE Lab, the most frequent first.

    Args:
        lab: ``(n, 3)``, of the truth.
        outputs: ab ``(n, 2)`` of the same pixels, by method.
    Returns:
        of each color: ``share`` of the pixels, ``true`` as ``#rrggbb``, and under each method's name the mean color
        that it gives to the same pixels.
    """
    lab = lab[:MOST].astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where there are fewer colors than clusters, some are empty
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
    """Return a Lab color as ``#rrggbb``; one that sRGB cannot show loses chroma."""
    planes = (np.array([[value]], np.float32) for value in (L, a, b))
    return "#" + join(*planes, np.uint8)[0].tobytes().hex()
