"""Generated scenes: deterministic, valid COCO, with colors predictable from context but not from lightness."""

import json
from collections import defaultdict
from pathlib import Path

import joblib
import numpy as np
import pytest
from pycocotools.coco import COCO
from skimage.color import rgb2lab

from colorize.images import is_near_grey, read_rgb
from colorize.scenes.dataset import CATEGORIES, SCENES_PER_WORKER, Scene, draw_scene, generate_scenes

SIZE = 64  # pixels; small, to be quick
NUM_SCENES = 120


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(seed=0, number=i, size=SIZE) for i in range(NUM_SCENES)]


@pytest.fixture(scope="module")
def labs(scenes) -> np.ndarray:
    return np.stack([rgb2lab(scene.rgb) for scene in scenes])


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    generate_scenes(root, 8, size=SIZE, workers=1)
    return root


@pytest.fixture
def coco(root, capsys) -> COCO:
    return COCO(root / "annotations" / "instances.json")


def image_bytes(root: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((root / "images").iterdir())]


def test_the_same_seed_gives_the_same_bytes(root, tmp_path):
    generate_scenes(tmp_path, 8, size=SIZE, workers=1)
    assert image_bytes(tmp_path) == image_bytes(root)
    index = Path("annotations", "instances.json")
    assert (tmp_path / index).read_bytes() == (root / index).read_bytes()


def test_another_seed_gives_other_scenes(root, tmp_path):
    generate_scenes(tmp_path, 8, seed=1, size=SIZE, workers=1)
    assert not set(image_bytes(tmp_path)) & set(image_bytes(root))


def test_a_smaller_set_is_the_beginning_of_a_larger_one(root, tmp_path):
    generate_scenes(tmp_path, 4, size=SIZE, workers=1)
    assert image_bytes(tmp_path) == image_bytes(root)[:4]
    small, large = (json.loads((r / "annotations" / "instances.json").read_text()) for r in (tmp_path, root))
    assert small["images"] == large["images"][:4]
    assert small["annotations"] == large["annotations"][: len(small["annotations"])]


@pytest.mark.slow
def test_many_processes_write_what_one_writes(tmp_path):
    generate_scenes(tmp_path / "one", 41, size=SIZE, workers=1)
    generate_scenes(tmp_path / "two", 41, size=SIZE, workers=2)
    assert image_bytes(tmp_path / "two") == image_bytes(tmp_path / "one")


def test_pycocotools_finds_every_image(coco, root):
    images = coco.loadImgs(coco.getImgIds())
    assert [image["id"] for image in images] == list(range(1, 9))
    for image in images:
        assert read_rgb(root / "images" / image["file_name"]).size == (image["width"], image["height"]) == (SIZE, SIZE)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools beside numpy 2
def test_masks_agree_with_their_boxes_and_areas(coco):
    assert len(coco.anns) > 8
    for annotation in coco.loadAnns(coco.getAnnIds()):
        mask = coco.annToMask(annotation)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        x, y, width, height = annotation["bbox"]
        assert annotation["area"] == mask.sum() > 0
        assert (x, y) == (columns[0], rows[0])
        assert (x + width, y + height) == (columns[-1] + 1, rows[-1] + 1)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools beside numpy 2
def test_masks_lie_on_what_was_drawn(coco):
    scene = draw_scene(seed=0, number=2, size=SIZE)
    names = {i: category["name"] for i, category in coco.cats.items()}
    drawn = [(name, scene.owner == i) for i, name in enumerate(scene.regions)]
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=3))
    assert annotations
    for annotation in annotations:
        mask = coco.annToMask(annotation).astype(bool)
        assert any(name == names[annotation["category_id"]] and (mask == where).all() for name, where in drawn)


def test_every_category_and_setting_appears_in_100_scenes(scenes):
    visible = {scene.regions[i] for scene in scenes[:100] for i in np.unique(scene.owner)}
    assert set(CATEGORIES) <= visible
    assert len({scene.setting for scene in scenes[:100]}) == 6
    assert {scene.time for scene in scenes[:100]} == {"day", "sunset", "night"}


def test_no_scene_is_near_grey(scenes):
    assert not any(is_near_grey(scene.rgb) for scene in scenes)


def test_lightness_alone_does_not_tell_the_color(labs):
    known, unseen = labs[::2].reshape(-1, 3), labs[1::2].reshape(-1, 3)
    levels = known[:, 0].round().astype(int)
    counts = np.bincount(levels, minlength=101).clip(1)
    mean_ab = np.stack([np.bincount(levels, known[:, c], minlength=101) / counts for c in (1, 2)], axis=1)
    guess = mean_ab[unseen[:, 0].round().astype(int)]
    assert np.abs(guess - unseen[:, 1:]).mean() > 0.85 * np.abs(unseen[:, 1:]).mean()


def test_what_and_where_tell_the_color(scenes, labs):
    by_context = defaultdict(list)
    for scene, lab in list(zip(scenes, labs, strict=True))[::2]:
        for i, name in enumerate(scene.regions):
            by_context[name, scene.setting, scene.time].append(lab[scene.owner == i, 1:])
    mean_ab = {context: np.concatenate(ab).mean(axis=0) for context, ab in by_context.items() if sum(map(len, ab))}
    off = total = 0.0
    for scene, lab in list(zip(scenes, labs, strict=True))[1::2]:
        for i, name in enumerate(scene.regions):
            ab = lab[scene.owner == i, 1:]
            off += np.abs(ab - mean_ab.get((name, scene.setting, scene.time), 0)).sum()
            total += np.abs(ab).sum()
    assert off < 0.4 * total


def test_scenes_are_as_colorful_as_photographs(scenes):
    colorfulness = []
    for scene in scenes:
        red, green, blue = np.moveaxis(scene.rgb.astype(float), -1, 0)
        opponents = np.stack([np.abs(red - green), np.abs((red + green) / 2 - blue)])
        colorfulness.append(np.sqrt(opponents.var(axis=(1, 2)).sum()) + 0.3 * np.hypot(*opponents.mean(axis=(1, 2))))
    assert 35 < np.mean(colorfulness) < 60  # photographs: about 38


def test_a_worker_of_a_launcher_draws_by_itself(tmp_path) -> None:
    draw = joblib.delayed(generate_scenes)
    jobs = (draw(tmp_path / str(n), 2 * SCENES_PER_WORKER, size=16, workers=2) for n in range(2))
    joblib.Parallel(n_jobs=2)(jobs)
    pictures = [{path.name: path.read_bytes() for path in (tmp_path / n / "images").iterdir()} for n in "01"]
    assert len(pictures[0]) == 2 * SCENES_PER_WORKER and pictures[0] == pictures[1]
