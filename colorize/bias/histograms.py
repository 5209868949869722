"""Compute histograms of lightness, chroma and hue over the pixels of many pictures."""

from typing import Any

import numpy as np

# name -> edges, in L* and Lab units, and in degrees
EDGES = {"lightness": np.arange(0, 101, 5), "chroma": np.arange(0, 140, 5), "hue": np.arange(0, 361, 10)}


class Histograms:
    """Accumulate histograms; hue is weighted by chroma, because the hue of a near-gray pixel is noise."""

    def __init__(self) -> None:
        self.counts = {name: np.zeros(len(edges) - 1) for name, edges in EDGES.items()}

    def add(self, lab: np.ndarray) -> None:
        """Add the pixels of a Lab picture ``(3, H, W)``."""
        L, a, b = lab.reshape(3, -1)
        chroma = np.hypot(a, b)
        weighted = {
            "lightness": (np.clip(L, 0, 100), None),
            "chroma": (chroma, None),
            "hue": (np.degrees(np.arctan2(b, a)) % 360, chroma),
        }
        for name, (values, weights) in weighted.items():
            self.counts[name] += np.histogram(values, EDGES[name], weights=weights)[0]

    def shares(self) -> dict[str, dict[str, Any]]:
        """Return the bin edges and the share of each bin, by name."""
        return {
            name: {"edges": EDGES[name].tolist(), "shares": (counts / max(counts.sum(), 1e-12)).tolist()}
            for name, counts in self.counts.items()
        }
