"""Protocols."""

import numpy as np
import pytest
from PIL import Image

from colorize.base.errors import UserError
from colorize.scoring.protocols import protocol
from tests.conftest import colorful_image


def pixels(width: int, height: int) -> np.ndarray:
    return np.array(colorful_image(3, width, height))


def test_coco_stretches_to_256_as_pillow_does() -> None:
    image = colorful_image(1, 400, 300)
    expected = np.asarray(image.resize((256, 256), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert np.abs(protocol("coco").fitted(np.array(image)).astype(int) - expected).max() <= 1


def test_a_picture_of_the_protocols_size_stays_as_it_is() -> None:
    given = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    assert (protocol("coco").fitted(given) == given.transpose(2, 0, 1)).all()


def test_imagenet_takes_the_square_in_the_middle() -> None:
    given = np.zeros((256, 300, 3), np.uint8)
    given[:, 22:278] = 200  # of 300, 256 in the middle
    assert (protocol("imagenet-val5k").fitted(given) == 200).all()


def test_imagenet_is_the_first_5000_by_name() -> None:
    names = [f"ilsvrc2012_val_{number:08d}" for number in (1, 4999, 5000, 5001, 50000)]
    assert protocol("imagenet-val5k").selected(names) == names[:3]
    with pytest.raises(UserError, match="protocol imagenet-val5k: it includes none of the pictures; the first is a;"):
        protocol("imagenet-val5k").selected(["a"])


@pytest.mark.parametrize(
    ("name", "size", "shape", "odd"),
    [
        ("coco", (400, 300), (3, 256, 256), False),  # of the truth's own size
        ("coco", (256, 256), (3, 256, 256), False),
        ("coco", (399, 300), (3, 256, 256), True),
        ("coco", (255, 256), (3, 256, 256), True),
        ("full-size", (400, 300), (3, 300, 400), False),
        ("full-size", (401, 301), (3, 300, 400), True),
    ],
)
def test_a_methods_picture_comes_to_the_truths_size(name, size, shape, odd) -> None:
    rules = protocol(name)
    truth = rules.fitted(pixels(400, 300)).shape[1:]
    fitted, resized = rules.fitted_to(pixels(*size), (300, 400), truth)
    assert (fitted.shape, resized) == (shape, odd)


def test_as_is_resizes_nothing() -> None:
    rules = protocol("as-is")
    given = pixels(400, 300)
    assert (rules.fitted_to(given, (300, 400), (300, 400))[0] == given.transpose(2, 0, 1)).all()
    with pytest.raises(ValueError, match="is 400x301, but the truth is 400x300, and protocol as-is does not resize"):
        rules.fitted_to(pixels(400, 301), (300, 400), (300, 400))


def test_complete_are_the_5000_of_the_published_names() -> None:
    names = [f"{number:012d}" for number in range(5000)]
    assert protocol("coco").complete(names)
    assert not protocol("coco").complete(names[:-1]) and not protocol("coco").complete([*names[:-1], "a"])


def test_an_unknown_protocol_names_the_choices() -> None:
    with pytest.raises(UserError, match=r"unknown protocol 'x'; choose one of \['coco', 'imagenet-val5k', 'as-is'"):
        protocol("x")
