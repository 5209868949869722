"""Collect rows for each object, person and photograph, and sums over pixels, in one pass over photographs."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from colorize.base.seeds import seed_for
from colorize.bias.explained import lightness_sums
from colorize.bias.histograms import Histograms
from colorize.bias.palettes import MOST, SAMPLE, sample
from colorize.bias.regions import LEAST, ErrorMaps, Output, Truth, error_maps, measure_output, measure_truth
from colorize.bias.skin import LEAST_SKIN, is_skin
from colorize.bias.things import Photograph
from colorize.metrics.regions import blob_energy
from colorize.srgb import lab

PERSON = "person"


class Blobs(NamedTuple):
    """Low-frequency chroma error of a photograph in squared Lab units, see `colorize.metrics.regions.blob_energy`."""

    photograph: int | str
    file: str
    error: float
    grey: float


class DataSurvey:
    """Statistics of the photographs.

    Attributes:
        pictures: Digest of each photograph, by id.
        rows: A `Truth` for each object of at least ``LEAST`` pixels.
        pixels: Number of pixels in the masks of each category; overlaps are counted twice.
        things: Number of objects of each category.
        whole: Sums of each photograph, see `lightness_sums`.
        within: The same inside the masks of each category, by category and photograph.
        samples: Lab of sampled pixels of each category.
        histograms: Histograms over all pixels.
    """

    def __init__(self) -> None:
        self.pictures: dict[int | str, str] = {}
        self.rows: list[Truth] = []
        self.pixels: dict[str, int] = defaultdict(int)
        self.things: dict[str, int] = defaultdict(int)
        self.whole: dict[int | str, np.ndarray] = {}
        self.within: dict[str, dict[int | str, np.ndarray]] = defaultdict(dict)
        self.samples: dict[str, list[np.ndarray]] = defaultdict(list)
        self.histograms = Histograms()

    def add(self, photograph: Photograph) -> None:
        """Add a photograph."""
        colors = lab(photograph.rgb)
        self.pictures[photograph.id] = photograph.picture
        self.histograms.add(colors)
        self.whole[photograph.id] = lightness_sums(colors[0].ravel(), colors[1:].reshape(2, -1))
        union: dict[str, np.ndarray] = {}
        for thing in photograph.things:
            self.things[thing.category] += 1
            self.pixels[thing.category] += int(thing.mask.sum())
            union[thing.category] = union.get(thing.category, False) | thing.mask
            if thing.mask.sum() >= LEAST:
                named = photograph.id, photograph.file, thing.id, thing.category
                self.rows.append(Truth(*named, *measure_truth(thing.mask, colors)))
                if len(self.samples[thing.category]) * SAMPLE < MOST:
                    places = sample(thing.mask, seed_for("palette", photograph.id, thing.id))
                    self.samples[thing.category].append(colors.reshape(3, -1)[:, places].T)
        for category, mask in union.items():
            if mask.any():
                self.within[category][photograph.id] = lightness_sums(colors[0, mask], colors[1:, mask])


class ModelSurvey:
    """Statistics of the outputs of methods.

    Args:
        methods: Names of the methods.
        band: Width in pixels of the band along an outline in which chroma is compared.
    Attributes:
        things: A `Truth` for each object of at least ``LEAST`` pixels.
        people: A `Truth` for the skin of each person with at least ``LEAST_SKIN`` skin pixels, see
            `colorize.bias.skin`.
        thing_outputs: An `Output` for each of ``things``, by method.
        people_outputs: An `Output` for each of ``people``, by method.
        blobs: `Blobs` of each photograph, by method.
        samples: True Lab of sampled pixels of each category, and the ab of each method at these pixels.
        photographs: Number of photographs.
        histograms: Histograms of the truth and of each method.
    """

    def __init__(self, methods: Sequence[str], band: int) -> None:
        self.band = band
        self.photographs = 0
        self.things: list[Truth] = []
        self.people: list[Truth] = []
        self.thing_outputs: dict[str, list[Output]] = {name: [] for name in methods}
        self.people_outputs: dict[str, list[Output]] = {name: [] for name in methods}
        self.blobs: dict[str, list[Blobs]] = {name: [] for name in methods}
        self.histograms = {name: Histograms() for name in ("truth", *methods)}
        self.samples: dict[str, list[tuple[np.ndarray, dict[str, np.ndarray]]]] = defaultdict(list)

    def add(self, photograph: Photograph, outputs: Mapping[str, np.ndarray]) -> None:
        """Add a photograph and the outputs of each method, ``(SIDE, SIDE, 3)`` uint8."""
        self.photographs += 1
        colors = lab(photograph.rgb)
        maps = {name: error_maps(colors, lab(output)[1:]) for name, output in outputs.items()}
        self.histograms["truth"].add(colors)
        for name, one in maps.items():
            self.histograms[name].add(np.concatenate([colors[:1], one.ab]))
            energies = blob_energy(*(torch.from_numpy(ab)[None] for ab in (one.ab, colors[1:])))
            self.blobs[name].append(Blobs(photograph.id, photograph.file, *(energy.item() for energy in energies)))
        for thing in photograph.things:
            if thing.mask.sum() < LEAST:
                continue
            named = photograph.id, photograph.file, thing.id, thing.category
            self.things.append(Truth(*named, *measure_truth(thing.mask, colors, self.band)))
            for name, one in maps.items():
                self.thing_outputs[name].append(measure_output(thing.mask, one, self.band))
            self._sample(thing.category, sample(thing.mask, seed_for("palette", photograph.id, thing.id)), colors, maps)
            if thing.category != PERSON:
                continue
            part = is_skin(photograph.rgb, thing.mask)
            if part.sum() >= LEAST_SKIN:
                self.people.append(Truth(*named, *measure_truth(part, colors)))
                for name, one in maps.items():
                    self.people_outputs[name].append(measure_output(part, one))

    def _sample(self, category: str, places: np.ndarray, colors: np.ndarray, maps: Mapping[str, ErrorMaps]) -> None:
        if len(self.samples[category]) * SAMPLE < MOST:
            outputs = {name: one.ab.reshape(2, -1)[:, places].T for name, one in maps.items()}
            self.samples[category].append((colors.reshape(3, -1)[:, places].T, outputs))
