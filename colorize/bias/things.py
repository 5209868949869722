"""Read photographs and masks of a COCO-layout folder."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from pycocotools import mask as rle

from colorize.base.claims import short_repr
from colorize.base.errors import UserError, first_line
from colorize.data.decode import NEAR_GREY, NO_FILE, SAME_PICTURE, digest_of_picture
from colorize.data.selection import seeded_order
from colorize.data.sources import Candidate, CocoSource, ScenesSource
from colorize.images import ImageError, is_near_grey, read_rgb

SCENES = "scenes"  # folder name that selects generated scenes
SCENE_SEED = 1  # training uses seed 0, so these scenes are not training images
NUM_SCENES = 500
SIDE = 256  # pixels; photographs are resized to it, as in training


class Thing(NamedTuple):
    """One annotated object."""

    id: int | str  # id of the annotation
    category: str
    mask: np.ndarray  # (SIDE, SIDE) bool


class Photograph(NamedTuple):
    """A resized photograph and its objects."""

    id: int | str
    file: str
    picture: str  # digest of the decoded pixels, see `colorize.data.decode.digest_of_picture`
    rgb: np.ndarray  # (SIDE, SIDE, 3) uint8
    things: list[Thing]


class AnnotatedFolder:
    """Photographs with masks; crowd annotations are ignored.

    Args:
        root: COCO-layout folder, see `colorize.data.sources.CocoSource`; or ``scenes`` to generate scenes.
        split: Selects ``instances_<split>.json`` if there are several.
        limit: Maximum number of photographs, in the order used to split training data; number of generated scenes.
    Attributes:
        name: Names of the folder and its index.
        left_out: File and reason of each excluded photograph; complete after iteration.
    Raises:
        UserError: If the folder or its annotations are missing, or the annotations have no masks.
    """

    def __init__(self, root: str, split: str = "val2017", limit: int | None = None) -> None:
        if root == SCENES:
            scenes = ScenesSource(num_images=limit or NUM_SCENES, scene_seed=SCENE_SEED)
            scenes.candidates()  # generates them
            root, limit = str(scenes.root), None
        source = CocoSource(root, split, download=False)
        self.index = source.index
        self.name = f"{source.root.resolve().name}/{source.index.name}"
        self.candidates: list[Candidate] = seeded_order(source.candidates(), seed=0)[:limit]
        self.sizes, self.annotations = _annotations(self.index)
        self.left_out: list[tuple[str, str]] = []
        if not any(self.annotations.get(candidate.id) for candidate in self.candidates):
            raise UserError(f"{self.index} has no masks; use a COCO folder with instances_*.json")

    def __len__(self) -> int:
        return len(self.candidates)

    def __iter__(self) -> Iterator[Photograph]:
        """Yield photographs one by one; those that cannot be used are added to ``left_out``."""
        self.left_out = []
        seen: dict[str, int | str] = {}
        for candidate in self.candidates:
            try:
                yield self._read(candidate, seen)
            except _LeftOutError as error:
                self.left_out.append((candidate.path.name, str(error)))

    def files(self) -> list[str]:
        """Return the file names of all photographs."""
        return [candidate.path.name for candidate in self.candidates]

    def frequencies(self, ids: Iterable[int | str]) -> Counter[str]:
        """Count the photographs among ``ids`` that contain each category, at any size."""
        return Counter(name for each in ids for name in {entry["name"] for entry in self.annotations.get(each, [])})

    def _read(self, candidate: Candidate, seen: dict[str, int | str]) -> Photograph:
        if not candidate.path.is_file():
            raise _LeftOutError(NO_FILE)
        try:
            image = read_rgb(candidate.path)
        except ImageError as error:
            raise _LeftOutError(str(error)) from error
        width, height = self.sizes[candidate.id]
        annotations = self.annotations.get(candidate.id, [])
        if annotations and image.size != (width, height):
            raise _LeftOutError(f"it is {image.width}x{image.height}, but its masks are for {width}x{height}")
        picture = digest_of_picture(np.asarray(image))
        if seen.setdefault(picture, candidate.id) != candidate.id:
            raise _LeftOutError(f"{SAME_PICTURE} {seen[picture]}")
        rgb = np.array(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        if is_near_grey(rgb):
            raise _LeftOutError(NEAR_GREY)
        things = [Thing(entry["id"], entry["name"], self._mask(entry, width, height)) for entry in annotations]
        return Photograph(candidate.id, candidate.path.name, picture, rgb, things)

    def _mask(self, entry: Mapping[str, Any], width: int, height: int) -> np.ndarray:
        try:
            mask = decode_mask(entry["segmentation"], width, height)
        except Exception as error:  # pycocotools raises various types
            raise UserError(
                f"{self.index}: the mask of annotation {short_repr(entry['id'])} is damaged ({first_line(error)})"
            ) from error
        return np.array(Image.fromarray(mask).resize((SIDE, SIDE), Image.Resampling.NEAREST))


class _LeftOutError(Exception):
    """Raised with the reason if a photograph cannot be used."""


def decode_mask(segmentation: Any, width: int, height: int) -> np.ndarray:
    """Return the mask of a COCO annotation.

    Args:
        segmentation: Polygons, or run-length encoding, as a list or compressed.
        width: Width of the photograph in pixels.
        height: Height of the photograph in pixels.
    Returns:
        Mask of shape ``(height, width)``, bool.
    Raises:
        ValueError: If the size of the mask differs.
    """
    if isinstance(segmentation, list):
        code = rle.merge(rle.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        code = rle.frPyObjects(segmentation, height, width)
    else:
        code = segmentation
    mask = rle.decode(code).astype(bool)
    if mask.shape != (height, width):
        raise ValueError(f"it is {mask.shape[1]}x{mask.shape[0]}, but the photograph is {width}x{height}")
    return mask


def _annotations(index: Path) -> tuple[dict[Any, tuple[int, int]], dict[Any, list[dict[str, Any]]]]:
    """Return the size and the object annotations of each image; each annotation has the name of its category."""
    content = json.loads(index.read_text())
    found: dict[Any, list[dict[str, Any]]] = {}
    try:
        names = {entry["id"]: str(entry["name"]) for entry in content.get("categories", [])}
        sizes = {entry["id"]: (entry["width"], entry["height"]) for entry in content["images"]}
        for entry in content.get("annotations", []):
            if not entry.get("iscrowd") and entry.get("segmentation"):
                named = {key: entry[key] for key in ("id", "segmentation")} | {"name": names[entry["category_id"]]}
                found.setdefault(entry["image_id"], []).append(named)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{index} is not a COCO instances file ({type(error).__name__}: {first_line(error)})"
        ) from error
    return sizes, found
