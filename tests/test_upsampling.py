"""Chroma upsampled to the size of the picture."""

import numpy as np
from PIL import Image
from skimage.color import rgb2lab

from colorize.upsampling import GuidedUpsampler
from tests.conftest import colorful_image

BICUBIC = Image.Resampling.BICUBIC


def resized(plane: np.ndarray, size: tuple[int, int], method: Image.Resampling = BICUBIC) -> np.ndarray:
    return np.asarray(Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32)).resize(size, method))


def upsampler(lab: np.ndarray, small: tuple[int, int]) -> GuidedUpsampler:
    """Make one of the true chroma of a picture ``(H, W, 3)``, made small."""
    planes = np.stack([resized(plane, small) for plane in np.moveaxis(lab, -1, 0)])
    return GuidedUpsampler(planes[0], planes[1:], (lab.shape[1], lab.shape[0]))


def whole(lab: np.ndarray, small: tuple[int, int]) -> np.ndarray:
    """Return the chroma ``(H, W, 2)`` that comes back."""
    height, width = lab.shape[:2]
    return np.stack(upsampler(lab, small).block((0, 0, width, height), lab[..., 0]), axis=-1)


def patches() -> np.ndarray:
    """Draw Lab patches whose edges are those of lightness as well: ``(H, W, 3)`` float32."""
    rng = np.random.default_rng(1)
    cells = np.concatenate([rng.uniform(20, 80, (5, 7, 1)), rng.uniform(-50, 50, (5, 7, 2))], axis=-1)
    return cells.repeat(30, axis=0).repeat(30, axis=1).astype(np.float32)


def test_blocks_join_without_seams() -> None:
    lab = rgb2lab(np.asarray(colorful_image(3, 210, 150))).astype(np.float32)
    made, parts = upsampler(lab, (64, 48)), np.zeros((150, 210, 2), np.float32)
    for top in range(0, 150, 37):
        for left in range(0, 210, 64):
            box = (left, top, min(left + 64, 210), min(top + 37, 150))
            L = lab[box[1] : box[3], box[0] : box[2], 0]
            parts[box[1] : box[3], box[0] : box[2]] = np.stack(made.block(box, L), axis=-1)
    assert np.abs(parts - whole(lab, (64, 48))).max() < 1e-3


def test_edges_bleed_less_than_bilinear_and_bicubic() -> None:
    lab = patches()
    errors = {}
    for method in (Image.Resampling.BILINEAR, BICUBIC):
        planes = [resized(resized(lab[..., i], (56, 40)), (210, 150), method) for i in (1, 2)]
        errors[method] = np.abs(np.stack(planes, axis=-1) - lab[..., 1:]).mean()
    own = np.abs(whole(lab, (56, 40)) - lab[..., 1:]).mean()
    assert own < 0.75 * errors[BICUBIC] < 0.75 * errors[Image.Resampling.BILINEAR]


def test_the_small_chroma_stays_what_it_was() -> None:
    lab = rgb2lab(np.asarray(colorful_image(5, 300, 200))).astype(np.float32)
    back = np.stack([resized(plane, (60, 40)) for plane in np.moveaxis(whole(lab, (60, 40)), -1, 0)])
    before = np.stack([resized(plane, (60, 40)) for plane in np.moveaxis(lab[..., 1:], -1, 0)])
    assert np.abs(back - before).mean() < 0.1


def test_at_its_own_size_nothing_changes() -> None:
    lab = patches()
    assert np.abs(whole(lab, (210, 150)) - lab[..., 1:]).max() < 1e-4


def test_a_flat_picture_gets_no_edges() -> None:
    L, ab = np.full((8, 8), 50, np.float32), np.full((2, 8, 8), 20, np.float32)
    a, b = GuidedUpsampler(L, ab, (64, 64)).block((0, 0, 64, 64), np.full((64, 64), 50, np.float32))
    assert np.abs(a - 20).max() < 1e-3 and np.abs(b - 20).max() < 1e-3


def test_a_picture_smaller_than_the_network_sees() -> None:
    L, ab = np.full((64, 48), 50, np.float32), np.full((2, 64, 48), 20, np.float32)
    a, _ = GuidedUpsampler(L, ab, (1, 1)).block((0, 0, 1, 1), np.full((1, 1), 50, np.float32))
    assert abs(a.item() - 20) < 1e-3
