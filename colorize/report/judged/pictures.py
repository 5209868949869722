"""Show pictures of all methods side by side: thumbnails up to a total size, then links to files."""

import base64
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from colorize.base.errors import UserError
from colorize.images import ImageError, read_rgb
from colorize.report.judged.results import Scores
from colorize.report.judged.scores import heading
from colorize.scoring.matching import listed, matched, name_of
from colorize.scoring.methods import TRUTH
from colorize.scoring.pictures import read_output, read_truth
from colorize.scoring.protocols import PROTOCOLS
from colorize.scoring.run import PICTURES
from colorize.scoring.summary import AT
from colorize.scoring.tables import HEADINGS

ROW, GAP = 1152, 10  # width of the page and gap between pictures, in pixels
SMALLEST, LARGEST = 144, 216  # range of the thumbnail size in pixels
QUALITY = 80  # WebP quality: 4 to 10 kB per thumbnail
DIGITS = 4  # significant digits of per-image scores
SORTABLE = (
    "delta_e", "l1", "psnr", "ssim", "lpips_alex", "lpips_vgg", "delta_colorfulness_image", "hue_distance",
    "out_of_gamut", "lightness_error", "colorfulness_abs",
)  # fmt: skip


@dataclass
class Column:
    """Pictures of the truth or of a method.

    Attributes:
        name: Name of the column.
        files: Picture files, by image.
        fitted: Whether files were scored as they are; otherwise the protocol is applied.
        missing: Why a picture is missing, by image.
    """

    name: str
    files: dict[str, Path] = field(default_factory=dict)
    fitted: bool = False
    missing: dict[str, str] = field(default_factory=dict)


def browser(scores: Scores, page: Path, megabytes: float, categories: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the template values of the picture browser.

    Args:
        scores: Scores with per-image tables.
        page: Path of the page; links are relative to its folder.
        megabytes: Maximum size of all thumbnails.
        categories: Categories in each picture, by name.
    Returns:
        ``data`` as JSON for a script element, choices, counts and ``notes``; empty without tables.
    """
    images = scores.of
    if not images:
        return {}
    truth, columns, notes = _columns(scores)
    values = {metric: [_values(scores, name, metric) for name in scores.methods] for metric in SORTABLE}
    values = {name: rows for name, rows in values.items() if any(value is not None for row in rows for value in row)}
    side = min(max(ROW // (len(columns) + 1) - GAP, SMALLEST), LARGEST)
    thumbnails, size = _thumbnails(scores, values, truth, columns, megabytes * 1e6, side)
    known = {name_of(PurePosixPath(name)): sorted(found) for name, found in categories.items()}
    own = [known.get(image) or known.get(PurePosixPath(image).name, []) for image in images]
    scored, everything = set(scores.images), [truth, *columns]
    data = {
        "columns": [column.name for column in everything],
        "directions": {name: HEADINGS[name][1] for name in values},
        "values": values,
        "images": [
            {
                "name": image,
                "categories": found,
                "scored": image in scored,
                "cells": [
                    [thumbnails.get((column.name, image)), _link(column, image, page), column.missing.get(image, "")]
                    for column in everything
                ],
            }
            for image, found in zip(images, own, strict=True)
        ],
    }
    return {
        "data": json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c"),
        "images": len(images),
        "shown": len(thumbnails),
        "files": sum(len(column.files.keys() - column.missing.keys()) for column in everything),
        "size": size / 1e6,
        "side": side,
        "categories": sorted({name for found in own for name in found}),
        "metrics": [(name, heading(name)) for name in values],
        "notes": notes,
    }


def _values(scores: Scores, row: str, metric: str) -> list[float | None]:
    """Return the score of each image by a method, as JSON values."""
    values = scores.values.get(row)
    if values is None:
        return [None] * len(scores.of)
    found = dict(zip(values.images, values.table[:, AT[metric]].tolist(), strict=True))
    return [
        float(f"{found[image]:.{DIGITS}g}") if image in found and np.isfinite(found[image]) else None
        for image in scores.of
    ]


def _columns(scores: Scores) -> tuple[Column, list[Column], list[str]]:
    """Find the pictures of the truth and of each method; return them, and a note for each without pictures."""
    notes: list[str] = []
    truth, columns = Column("truth"), []
    folder = Path(scores.result.truth.get("folder", ""))
    with suppress(UserError):
        truth.files = {
            name: path for name, path in listed(folder, scores.folders[TRUTH]).files.items() if name in set(scores.of)
        }
    if not truth.files:
        notes.append(f"truth: no pictures in {folder}, relative to the current folder")
    for name, row in scores.methods.items():
        column = Column(name)
        if row["kind"] == "model":
            column.fitted = True
            kept = _inside(scores.folders[name]) / PICTURES / name
            column.files = {image: path for image in scores.of if (path := kept / f"{image}.png").is_file()}
            lacking = f"no pictures in {kept}; colorize score --pictures saves them"
        else:
            folder = Path(row["folder"])
            with suppress(UserError):
                column.files = matched(scores.of, listed(folder, scores.folders[name])).files
            lacking = f"no pictures in {folder}, relative to the current folder"
        if not column.files:
            notes.append(f"{name}: {lacking}")
        values = scores.values.get(name)
        errors = values.errors if values else {}
        column.missing = {image: "no picture" for image in scores.of if image not in column.files} | errors
        columns.append(column)
    return truth, columns, notes


def _inside(folder: Path) -> Path:
    return folder if folder.is_dir() else folder.parent


def _link(column: Column, image: str, page: Path) -> str | None:
    """Return the URL of a picture file relative to the page; None if there is no file."""
    path = column.files.get(image)
    return quote(os.fsencode(os.path.relpath(path.absolute(), page.absolute().parent))) if path else None


def _thumbnails(
    scores: Scores,
    values: Mapping[str, Sequence[Sequence[float | None]]],
    truth: Column,
    columns: Sequence[Column],
    most: float,
    side: int,
) -> tuple[dict[tuple[str, str], str], int]:
    """Return thumbnails as data URIs by column and image, up to ``most`` bytes, and their size in bytes.

    The worst and best images by each score come first. Pictures that cannot be read are marked as missing.
    """
    found: dict[tuple[str, str], str] = {}
    size = 0
    rules = PROTOCOLS[scores.result.protocol["name"]]
    for image in _sought(scores.of, values):
        made: dict[tuple[str, str], str] = {}
        true = None
        if image in truth.files:
            try:
                true = read_truth(truth.files[image], rules)
                made[truth.name, image] = _uri(true.rgb.transpose(1, 2, 0), side)
            except (ImageError, OSError):
                truth.missing[image] = "cannot be read"
        for column in columns:
            path = column.files.get(image)
            if path is None or image in column.missing:
                continue
            try:
                if column.fitted or true is None:
                    pixels = np.asarray(read_rgb(path))
                else:
                    pixels = read_output(path, true, rules).rgb.transpose(1, 2, 0)
                made[column.name, image] = _uri(pixels, side)
            except (ImageError, ValueError, OSError):
                column.missing[image] = "cannot be read"
        more = sum(map(len, made.values()))
        if size + more > most:
            break
        found |= made
        size += more
    return found, size


def _sought(images: Sequence[str], values: Mapping[str, Sequence[Sequence[float | None]]]) -> Iterator[str]:
    """Yield each image once: in turns the worst and best of each method by each score, then the next ones."""
    orders = []
    for rows in values.values():
        for row in rows:
            known = [at for at, value in enumerate(row) if value is not None]
            order = sorted(known, key=row.__getitem__)
            orders += [order, order[::-1]]
    seen: set[int] = set()
    for place in range(len(images)):
        for order in orders:
            if place < len(order) and order[place] not in seen:
                seen.add(order[place])
                yield images[order[place]]
    yield from (image for at, image in enumerate(images) if at not in seen)


def _uri(pixels: np.ndarray, side: int) -> str:
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = BytesIO()
    picture.save(file, "WEBP", quality=QUALITY)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
