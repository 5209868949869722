"""Measure bias in one pass over the photographs and summarize it."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from colorize.base.errors import UserError
from colorize.base.provenance import commit
from colorize.bias.categories import describe_data, describe_model, explained_by, mean_color, palettes, rare_objects
from colorize.bias.intervals import Estimate, estimate, ratio
from colorize.bias.methods import BATCH, Method
from colorize.bias.people import describe_people
from colorize.bias.regions import LEAST
from colorize.bias.survey import DataSurvey, ModelSurvey
from colorize.bias.things import SIDE, AnnotatedFolder, Photograph

BAND = 4  # pixels


class Bias(NamedTuple):
    """Results of a measurement.

    Attributes:
        summary: Plain data, except for `Estimate`: ``data``, and ``models`` by method.
        survey: The rows that ``models`` summarizes.
    """

    summary: dict[str, Any]
    survey: ModelSurvey


def measure_bias(
    folder: AnnotatedFolder,
    methods: Sequence[Method] = (),
    training: AnnotatedFolder | None = None,
    band: int = BAND,
    advance: Callable[[int, int | None], None] = lambda done, total: None,
) -> Bias:
    """Measure the color statistics of photographs, and methods on those that none of them was trained on.

    Args:
        folder: Photographs with masks.
        methods: Methods to measure; without methods only the photographs are measured.
        training: Folder of the training photographs, used to count category frequencies; see `training_frequencies`.
        band: Width in pixels of the band along an outline in which chroma is compared.
        advance: Called with the number of processed photographs and their total.
    Raises:
        UserError: If no photograph can be used.
    """
    data, survey = DataSurvey(), ModelSurvey([method.name for method in methods], band)
    trained = set().union(*(method.trained_on for method in methods))
    pending: list[Photograph] = []
    missing: dict[str, list[str]] = {}  # by method
    for done, photograph in enumerate(folder, start=1):
        data.add(photograph)
        lacking = [method.name for method in methods if not method.has(photograph)]
        for name in lacking:
            missing.setdefault(name, []).append(photograph.file)
        if methods and not lacking and photograph.picture not in trained:
            pending.append(photograph)
        if len(pending) == BATCH:
            _color(pending, methods, survey)
            pending = []
        advance(done, len(folder))
    _color(pending, methods, survey)
    if not data.rows:
        first = f"; the first excluded file is {': '.join(folder.left_out[0])}" if folder.left_out else ""
        raise UserError(f"{folder.index}: no usable photograph has an object of at least {LEAST} pixels{first}")
    if methods and not survey.things:
        raise UserError(
            f"{folder.index}: no photograph with objects has a result of every method and is in no training set"
        )
    frequencies, counted_in = training_frequencies(folder, data, trained, training)
    summary: dict[str, Any] = {
        "index": folder.name,
        "side": SIDE,
        "band": band,
        "photographs": len(data.whole),
        "left_out": [{"file": file, "reason": reason} for file, reason in folder.left_out],
        "notes": [
            *(note for method in methods for note in method.notes),
            *(
                f"not colorized: {name} has no picture of {len(files)}, the first is {files[0]}"
                for name, files in missing.items()
            ),
        ],
        "commit": commit(),
        "data": {
            "mean": mean_color(data),
            "explained": explained_by(data),
            "histograms": data.histograms.shares(),
            "categories": describe_data(data, folder.frequencies(data.whole)),
        },
    }
    if methods:
        both = sum(picture in trained for picture in data.pictures.values())
        if both:
            summary["notes"].append(f"not colorized: {both} of {len(data.whole)} photographs, used for training")
        summary |= {
            "colored": survey.photographs,
            "frequencies": counted_in,
            "palettes": palettes(survey),
            "histograms": {name: histograms.shares() for name, histograms in survey.histograms.items()},
            "models": {method.name: _summary(survey, method.name, frequencies) for method in methods},
        }
    return Bias(summary, survey)


def _color(photographs: Sequence[Photograph], methods: Sequence[Method], survey: ModelSurvey) -> None:
    if photographs:
        colored = {method.name: method(photographs) for method in methods}
        for place, photograph in enumerate(photographs):
            survey.add(photograph, {name: outputs[place] for name, outputs in colored.items()})


def training_frequencies(
    folder: AnnotatedFolder, data: DataSurvey, trained: set[str], training: AnnotatedFolder | None
) -> tuple[Counter[str], str]:
    """Count the training photographs of each category, and describe which photographs were counted.

    These are the photographs of ``training``. Without it, they are those of ``folder`` that are known to be training
    photographs. If none is known, all photographs of ``folder`` are used as an approximation.
    """
    if training is not None:
        ids = {candidate.id for candidate in training.candidates}
        return training.frequencies(ids), f"the {len(ids)} photographs of {training.name}"
    ids = {each for each, picture in data.pictures.items() if picture in trained}
    if ids:
        return folder.frequencies(ids), f"the {len(ids)} training photographs in {folder.name}"
    return folder.frequencies(data.whole), (
        f"all {len(data.whole)} photographs of {folder.name}, as an approximation of the training photographs"
    )


def _summary(survey: ModelSurvey, method: str, frequencies: Counter[str]) -> dict[str, Any]:
    categories = describe_model(survey, method, frequencies)
    return {
        "categories": categories,
        "rare_objects": rare_objects(categories),
        "blobs": _blobs(survey, method),
        "people": describe_people(survey, method),
    }


def _blobs(survey: ModelSurvey, method: str) -> Estimate:
    """Return the squared error of chroma over large areas, divided by that of grey."""
    energies = np.array([[blob.error, blob.grey] for blob in survey.blobs[method]])
    return estimate(energies, range(len(energies)), ratio)
