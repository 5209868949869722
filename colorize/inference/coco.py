"""Color COCO-layout data sets and keep their annotations, so that detectors can use the result."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from colorize.base.errors import UserError
from colorize.base.files import write_json
from colorize.data.selection import seeded_order
from colorize.data.sources import CocoSource
from colorize.inference.inputs import InputFile

IMAGES = Path("images")


class CocoFolder:
    """The images of a COCO-layout folder to be colored.

    Args:
        root: see `colorize.data.sources.CocoSource`; None is ``data/coco``, downloaded as needed.
        split: COCO split, such as ``val2017``.
        categories: category names; only images with at least one object of each are used.
        limit: maximum number of images, in the order by which training splits them: its validation images come first.
    Raises:
        UserError: if the folder, its annotations or a category is missing, or no image is left.
    """

    def __init__(self, root: str | None, split: str, categories: Sequence[str] = (), limit: int | None = None) -> None:
        if root is not None:
            _check_folder(Path(root).expanduser(), split)
        source = CocoSource(root, split)
        self.index = source.index
        self.content: dict[str, Any] = json.loads(self.index.read_text())
        candidates = seeded_order(source.candidates(), seed=0)
        for name in categories:
            having = self._images_with(name)
            candidates = [candidate for candidate in candidates if candidate.id in having]
        self.candidates = candidates[:limit]
        if not self.candidates:
            raise UserError(f"{self.index} has no image with {' and '.join(categories) or 'an id'}")
        self.missing = source.fetch(self.candidates)

    def _images_with(self, category: str) -> set[int]:
        ids = {entry["name"]: entry["id"] for entry in self.content.get("categories", [])}
        if category not in ids:
            raise UserError(f"category {category!r} is not in {self.index}; it has {', '.join(sorted(ids))}")
        annotations = self.content.get("annotations", [])
        return {entry["image_id"] for entry in annotations if entry["category_id"] == ids[category]}

    def jobs(self) -> list[InputFile]:
        """List the images that are available."""
        return [
            InputFile(candidate.path, IMAGES) for candidate in self.candidates if candidate.path not in self.missing
        ]

    def write_annotations(self, out: Path, colored: Mapping[Path, Path]) -> Path:
        """Write the annotations of the colored images.

        Args:
            out: folder of the colored data set.
            colored: path of an image to that of its colored version.
        Returns:
            Path of the annotations, with the original's file name.
        """
        names = {c.id: colored[c.path].name for c in self.candidates if c.path in colored}
        images = [entry | {"file_name": names[entry["id"]]} for entry in self.content["images"] if entry["id"] in names]
        annotations = [entry for entry in self.content.get("annotations", []) if entry["image_id"] in names]
        target = out / "annotations" / self.index.name
        write_json(target, self.content | {"images": images, "annotations": annotations}, indent=None)
        return target


def _check_folder(root: Path, split: str) -> None:
    """Raise errors in terms of the options of ``colorize coco``; `CocoSource` uses the config keys of training."""
    if not root.is_dir():
        raise UserError(f"{root} is not a folder")
    found = sorted(path.name for path in root.glob("annotations/*.json"))
    if not found:
        raise UserError(f"{root} has no annotations/*.json; for images without them: colorize image {root} -o FOLDER")
    if len(found) > 1 and f"instances_{split}.json" not in found:
        raise UserError(
            f"{root} has no instances_{split}.json; of {', '.join(found)} choose instances_X.json by --split X"
        )
