"""A small COCO-layout folder whose every color is known."""

import json
from pathlib import Path

import numpy as np
from PIL import Image


def write_coco(root: Path, pictures: list[np.ndarray], annotations: list[dict], names: tuple[str, ...]) -> Path:
    """Write pictures ``(H, W, 3)`` uint8 as PNG with the ids 1, 2, ..., and annotations of categories 1, 2, ..."""
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    images = []
    for number, picture in enumerate(pictures, start=1):
        Image.fromarray(picture).save(root / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": len(picture), "width": picture.shape[1]})
    index = {
        "images": images,
        "annotations": [{"id": i, "iscrowd": 0, **each} for i, each in enumerate(annotations, start=1)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, start=1)],
    }
    (root / "annotations/instances.json").write_text(json.dumps(index))
    return root


def box(image: int, category: int, left: int, top: int, right: int, bottom: int) -> dict:
    """Return the annotation of a rectangle."""
    outline = [left, top, right, top, right, bottom, left, bottom]
    return {"image_id": image, "category_id": category, "segmentation": [outline]}
