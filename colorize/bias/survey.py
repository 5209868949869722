"""One pass over photographs: rows for each thing, person and photograph, and sums over pixels."""

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
    """Low-frequency energy of a photograph, see `colorize.metrics.regions.blob_energy`; in squares of Lab units."""

    photograph: int | str
    file: str
    error: float
    grey: float


class DataSurvey:
    """What the photographs themselves are.

    Attributes:
        pictures: digest of each photograph by its id.
        rows: a `Truth` of each thing of at least ``LEAST`` pixels.
        pixels: of each category in its masks, overlaps counted twice.
        whole: sums of each photograph, see `lightness_sums`.
        within: the same inside the masks of each category, by category and photograph.
        samples: Lab of some pixels of each category.
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
        """Look at a photograph."""
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
    """What methods make of photographs.

    Args:
        methods: names.
        band: pixels beside an outline in which chroma is compared.
    Attributes:
        things: a `Truth` of each thing of at least ``LEAST`` pixels.
        people: of the skin of each person, where the rule of `colorize.bias.skin` finds ``LEAST_SKIN`` pixels.
        thing_outputs: an `Output` for each of ``things``, by method.
        people_outputs: the same for ``people``.
        blobs: of each photograph, by method.
        samples: of each category the truth's Lab of some pixels, and the ab of each method there.
        photographs: how many.
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
        """Compare outputs ``(SIDE, SIDE, 3)`` uint8, by method, with a photograph."""
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
