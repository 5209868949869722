"""Photographs with masks from a COCO-layout folder: what is read, what is excluded, and why."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion
from skimage.draw import polygon2mask

from colorize.base.errors import UserError
from colorize.bias.things import SIDE, AnnotatedFolder, decode_mask
from colorize.scenes.dataset import generate_scenes
from tests.coco_folder import box, write_coco
from tests.conftest import colorful_image

# pycocotools beside numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def pictures(count: int) -> list[np.ndarray]:
    return [np.asarray(colorful_image(number, SIDE, SIDE)) for number in range(count)]


@pytest.fixture
def root(tmp_path) -> Path:
    boxes = [box(1, 1, 10, 20, 110, 60), box(1, 2, 200, 200, 230, 250), box(2, 1, 0, 0, 64, 64)]
    return write_coco(tmp_path / "mini", pictures(3), boxes, ("car", "dog"))


def change_index(root: Path, change) -> None:
    path = root / "annotations/instances.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_masks_of_polygons_are_those_of_skimage() -> None:
    corners = np.array([[30, 40], [200, 60], [150, 220], [50, 180]])  # x, y
    found = decode_mask([corners.ravel().tolist()], 256, 240)
    expected = polygon2mask((240, 256), corners[:, ::-1])
    outline = binary_dilation(expected) & ~binary_erosion(expected)
    assert found.shape == (240, 256) and not (found != expected)[~outline].any()


def test_run_lengths_count_down_the_columns() -> None:
    mask = decode_mask({"size": [4, 3], "counts": [5, 2, 5]}, 3, 4)
    assert np.argwhere(mask).tolist() == [[1, 1], [2, 1]]


def test_things_come_with_their_category_and_mask(root) -> None:
    first = {photograph.id: photograph for photograph in AnnotatedFolder(str(root))}[1]
    assert [thing.category for thing in first.things] == ["car", "dog"]
    assert [int(thing.mask.sum()) for thing in first.things] == [100 * 40, 30 * 50]
    assert np.array_equal(first.rgb, np.asarray(Image.open(root / "images/1.png")))


def test_photographs_and_masks_are_stretched_alike(tmp_path) -> None:
    picture = np.asarray(colorful_image(0, 128, 64))
    root = write_coco(tmp_path / "mini", [picture], [box(1, 1, 32, 16, 64, 48)], ("car",))
    (photograph,) = AnnotatedFolder(str(root))
    assert photograph.rgb.shape == (SIDE, SIDE, 3)
    rows, columns = np.nonzero(photograph.things[0].mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (64, 191, 64, 127)


def test_what_cannot_be_used_is_named_with_its_reason(root) -> None:
    images = root / "images"
    for number in range(4, 9):
        Image.fromarray(pictures(number)[-1]).save(images / f"{number}.png")
    (images / "4.png").write_bytes(b"<html>")
    (images / "5.png").unlink()
    Image.new("RGB", (SIDE, SIDE), "grey").save(images / "6.png")
    shutil.copy(images / "3.png", images / "7.png")
    added = [{"id": n, "file_name": f"{n}.png", "height": SIDE, "width": SIDE // (1 + (n == 8))} for n in range(4, 9)]
    change_index(root, lambda index: index["images"].extend(added))
    change_index(root, lambda index: index["annotations"].append({"id": 9, "iscrowd": 0, **box(8, 1, 0, 0, 40, 40)}))
    folder = AnnotatedFolder(str(root))
    assert sorted(photograph.id for photograph in folder) in ([1, 2, 3], [1, 2, 7])
    reasons = {name: reason for name, reason in folder.left_out if name not in ("3.png", "7.png")}
    assert set(reasons) == {"4.png", "5.png", "6.png", "8.png"} and len(folder.left_out) == 5
    assert "cannot identify" in reasons["4.png"] and "no such file" in reasons["5.png"] and "grey" in reasons["6.png"]
    assert reasons["8.png"] == "it is 256x256, but its masks are for 128x256"
    assert any(reason.startswith("the same picture as") for _, reason in folder.left_out)


def test_crowds_are_no_things(root) -> None:
    change_index(root, lambda index: index["annotations"][0].update(iscrowd=1))
    assert AnnotatedFolder(str(root)).frequencies([1, 2, 3]) == {"dog": 1, "car": 1}


def test_frequency_counts_photographs_not_things(root) -> None:
    change_index(root, lambda index: index["annotations"].append({"id": 9, "iscrowd": 0, **box(1, 1, 0, 0, 40, 40)}))
    folder = AnnotatedFolder(str(root))
    assert folder.frequencies([1, 2, 3]) == {"car": 2, "dog": 1}
    assert folder.frequencies([2]) == {"car": 1}


def test_a_folder_without_outlines_says_so(root) -> None:
    change_index(root, lambda index: index.update(annotations=[]))
    with pytest.raises(UserError, match=r"has no masks"):
        AnnotatedFolder(str(root))


@pytest.mark.parametrize("outline", [[[1, 2]], {"counts": "§"}, {"size": [3, 3], "counts": [4, 5]}, ["x"]])
def test_a_damaged_outline_names_its_annotation(root, outline) -> None:
    change_index(root, lambda index: index["annotations"][1].update(segmentation=outline, id=77))
    with pytest.raises(UserError, match=r"the mask of annotation 77 is damaged"):
        list(AnnotatedFolder(str(root)))


def test_an_unknown_category_is_one_line(root) -> None:
    change_index(root, lambda index: index["annotations"][1].update(category_id=9))
    with pytest.raises(UserError, match=r"is not a COCO instances file"):
        AnnotatedFolder(str(root))


def test_drawn_scenes_have_things(tmp_path) -> None:
    generate_scenes(tmp_path, 3, size=64)
    assert all(photograph.things for photograph in AnnotatedFolder(str(tmp_path)))
