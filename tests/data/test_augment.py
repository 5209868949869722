"""Augmentations of training images, against SciPy or scikit-image, as pure functions of (seed, epoch, position)."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.stats import chisquare, kstest
from skimage.color import lab2rgb, rgb2lab
from skimage.exposure import adjust_gamma

from colorize.base.errors import UserError
from colorize.data import Batch, ColorizationDataModule
from colorize.data.augment import Augment, Drawn
from colorize.data.damage import fade, jpeg, scratch
from colorize.data.feed import DevicePixels, LabCache, StreamedPixels
from colorize.data.module import EpochSampler
from colorize.lab import grey_to_l, rgb_to_l_ab
from tests.conftest import colorful_image

CPU = torch.device("cpu")
FIRST = {"crop": 0.6, "grey_weights": 20, "L_blur": 1.5, "L_gamma": 1.5, "L_noise": 5}
ALL = FIRST | {"orthochromatic": 0.4, "L_fade": 30, "L_scratches": 2, "L_jpeg": 40}
# Columns of what is drawn; then the corners' shares of the fading, quality, and marks
SIDE, TOP, LEFT, RED, GREEN, BLUE, SIGMA, GAMMA, NOISE, FILM, BLACK, WHITE = range(12)
CORNERS, QUALITY, MARKS = slice(12, 16), 16, slice(17, None)
X, Y, LENGTH, SLANT, WIDTH, TONE = range(6)  # columns of a mark


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor]:
    """L and ab of three pictures of 24x32."""
    rgb = np.stack([np.asarray(colorful_image(number, 32, 24)) for number in range(3)])
    return rgb_to_l_ab(torch.from_numpy(rgb).permute(0, 3, 1, 2) / 255)


def changed(images, **augment) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Return L and ab after a change, and what was drawn."""
    values = Augment(**augment).draw(3, seed=1, epoch=2)
    return *Augment(**augment)(*images, Drawn(values, 7)), values.double().numpy()


def test_a_crop_is_a_window_of_lightness_and_truth_enlarged_bilinearly(images) -> None:
    L, ab, drawn = changed(images, crop=0.6)
    before, after = (torch.cat(pair, dim=1).double().numpy() for pair in (images, (L, ab)))
    for picture, found, (side, top, left) in zip(before, after, drawn[:, :3], strict=True):
        rows = (top + side * (np.arange(24) + 0.5) / 24) * 24 - 0.5
        columns = (left + side * (np.arange(32) + 0.5) / 32) * 32 - 0.5
        places = np.meshgrid(rows, columns, indexing="ij")
        for channel, cropped in zip(picture, found, strict=True):
            expected = map_coordinates(channel, places, order=1, mode="nearest")
            np.testing.assert_allclose(cropped, expected, atol=1e-4)


def test_lightness_is_that_of_a_weighted_sum_of_the_channels(images) -> None:
    L, ab, drawn = changed(images, grey_weights=20)
    assert torch.equal(ab, images[1])
    for number in range(3):
        lab = np.concatenate([(images[0][number] + 1) * 50, images[1][number] * 110]).transpose(1, 2, 0)
        grey = lab2rgb(lab) @ drawn[number, RED : BLUE + 1]
        expected = rgb2lab(np.repeat(grey[..., None], 3, axis=-1))[..., 0]
        np.testing.assert_allclose((L[number, 0] + 1) * 50, expected, atol=0.01)


def test_the_lightness_of_every_grey_is_that_of_skimage() -> None:
    grey = np.arange(256) / 255
    expected = rgb2lab(np.repeat(grey[:, None], 3, axis=1))[:, 0]
    np.testing.assert_allclose((grey_to_l(torch.from_numpy(grey)) + 1) * 50, expected, atol=1e-3)


def test_blur_is_scipys_gaussian_of_each_images_width(images) -> None:
    L, ab, drawn = changed(images, L_blur=2)
    assert torch.equal(ab, images[1]) and len(set(drawn[:, SIGMA])) == 3
    for picture, found, sigma in zip(images[0].double().numpy(), L, drawn[:, SIGMA], strict=True):
        expected = gaussian_filter(picture[0], sigma, radius=6, mode="mirror")
        np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_gamma_is_a_power_of_lightness(images) -> None:
    L, ab, drawn = changed(images, L_gamma=1.5)
    assert torch.equal(ab, images[1])
    for picture, found, gamma in zip(images[0].double().numpy(), L, drawn[:, GAMMA], strict=True):
        np.testing.assert_allclose((found + 1) / 2, adjust_gamma((picture + 1) / 2, gamma), atol=1e-5)


def test_noise_is_gaussian_of_the_drawn_width_in_units_of_l() -> None:
    L, ab = torch.zeros(2, 1, 200, 200), torch.zeros(2, 2, 200, 200)
    values = Augment(L_noise=5).draw(2, seed=0, epoch=0)
    noisy, same = Augment(L_noise=5)(L, ab, Drawn(values, 7))
    assert torch.equal(same, ab)
    for found, width in zip(noisy.double().numpy() * 50, values[:, NOISE].tolist(), strict=True):
        assert kstest(found.ravel() / width, "norm").pvalue > 0.01
    again, _ = Augment(L_noise=5)(L, ab, Drawn(values, 7))
    other, _ = Augment(L_noise=5)(L, ab, Drawn(values, 8))
    assert torch.equal(again, noisy) and not torch.equal(other, noisy)


def test_orthochromatic_film_sees_green_and_blue_alone(images) -> None:
    L, ab, drawn = changed(images, orthochromatic=0.7)
    assert torch.equal(ab, images[1]) and drawn[:, FILM].tolist() == [1, 1, 0]
    for number in range(3):
        lab = np.concatenate([(images[0][number] + 1) * 50, images[1][number] * 110]).transpose(1, 2, 0)
        grey = lab2rgb(lab)[..., 1:] @ drawn[number, GREEN : BLUE + 1]
        expected = rgb2lab(np.repeat(grey[..., None], 3, axis=-1))[..., 0] if drawn[number, FILM] else lab[..., 0]
        np.testing.assert_allclose((L[number, 0] + 1) * 50, expected, atol=0.01)


def test_an_image_has_weights_of_either_kind() -> None:
    plain, mixed = (
        Augment(**how).draw(5000, 0, 0).double().numpy()
        for how in ({"grey_weights": 20}, {"grey_weights": 20, "orthochromatic": 0.4})
    )
    film = mixed[:, FILM] == 1
    assert film.mean() == pytest.approx(0.4, abs=0.03)
    np.testing.assert_array_equal(mixed[~film], plain[~film])
    red, green, blue = mixed[film, RED : BLUE + 1].T
    np.testing.assert_allclose(green + blue, 1, atol=1e-6)
    assert not red.any() and kstest(green / (0.587 / 0.701), "uniform").pvalue > 0.001


def test_age_comes_after_the_picture_was_taken_and_before_it_was_scanned(images) -> None:
    together, ab, drawn = changed(images, **ALL)
    values = torch.from_numpy(drawn).float()
    L, _, _ = changed(images, **{key: ALL[key] for key in (*FIRST, "orthochromatic")})
    L = scratch(fade(L, values[:, BLACK], values[:, WHITE], values[:, CORNERS]), values[:, MARKS].unflatten(1, (-1, 6)))
    assert torch.equal(together, jpeg(L, values[:, QUALITY])) and not torch.equal(ab, images[1])


def test_nothing_is_read_from_the_device() -> None:
    augment = Augment(**ALL | {"L_noise": None})  # whose generator must be on a device
    shapes = torch.empty(3, 1, 24, 32, device="meta"), torch.empty(3, 2, 24, 32, device="meta")  # without numbers
    L, ab = augment(*shapes, Drawn(augment.draw(3, 0, 0).to("meta"), 0))
    assert (L.shape, ab.shape) == (shapes[0].shape, shapes[1].shape)


def test_lightness_stays_in_its_range(images) -> None:
    L, ab, _ = changed(images, **ALL | {"L_noise": 100})
    assert (L.shape, ab.shape) == (images[0].shape, images[1].shape)
    assert L.min() == -1 and L.max() == 1


def test_what_is_drawn_has_the_distribution_that_is_documented() -> None:
    values = Augment(**ALL).draw(5000, seed=0, epoch=0).double().numpy().T
    side = values[SIDE]
    uniform = {
        "side": (side - 0.6) / 0.4,
        "top": values[TOP] / (1 - side),
        "left": values[LEFT] / (1 - side),
        "sigma": values[SIGMA] / 1.5,
        "gamma": (np.log(values[GAMMA]) / np.log(1.5) + 1) / 2,
        "noise": values[NOISE] / 5,
        "black": values[BLACK] / 30,
        "white": values[WHITE] / 15,
        **{f"corner {number}": 2 * share - 1 for number, share in enumerate(values[CORNERS])},
    }
    assert {name: p for name, column in uniform.items() if (p := kstest(column, "uniform").pvalue) < 0.001} == {}
    quality = np.bincount(values[QUALITY].astype(int), minlength=101)
    assert chisquare(quality[40:]).pvalue > 0.001 and not quality[:40].any() and len(quality) == 101
    weights, mean = values[RED : BLUE + 1, values[FILM] == 0], np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-6)
    np.testing.assert_allclose(weights.mean(1), mean, atol=0.006)
    np.testing.assert_allclose(weights.std(1), np.sqrt(mean * (1 - mean) / 21), rtol=0.05)  # Dirichlet's


def test_marks_have_the_distribution_that_is_documented() -> None:
    marks = Augment(L_scratches=2).draw(5000, seed=0, epoch=0)[:, MARKS].unflatten(1, (-1, 6)).double().numpy()
    assert marks.shape == (5000, 10, 6)
    counts = [np.bincount((kind[..., TONE] != 0).sum(1)) for kind in (marks[:, :2], marks[:, 2:])]
    assert [len(count) for count in counts] == [3, 9] and min(chisquare(count).pvalue for count in counts) > 0.001
    scratches, specks = (kind[kind[..., TONE] != 0].T for kind in (marks[:, :2], marks[:, 2:]))
    uniform = {
        "columns": scratches[X],
        "rows": specks[Y],
        "lengths": scratches[LENGTH],
        "leaning": scratches[SLANT] * 5 + 0.5,
        "width of scratches": (scratches[WIDTH] - 0.5) / 1.5,
        "width of specks": (specks[WIDTH] - 1) / 3,
        "opaqueness": (np.abs(specks[TONE]) - 0.3) / 0.7,
    }
    assert {name: p for name, column in uniform.items() if (p := kstest(column, "uniform").pvalue) < 0.001} == {}
    assert not specks[LENGTH].any() and not specks[SLANT].any()
    assert (scratches[TONE] > 0).mean() == pytest.approx(0.5, abs=0.03)


def test_runs_without_the_later_changes_go_on_with_the_draws_that_they_had() -> None:
    first = [0.6719, 0.1178, 0.2552, 0.3486, 0.6056, 0.0458, 1.1845, 0.9538, 4.6502]
    assert Augment(**FIRST).draw(2, 3, 4)[0, : NOISE + 1].tolist() == pytest.approx(first, abs=1e-4)


def test_one_change_is_drawn_whichever_others_are_on() -> None:
    both = Augment(**ALL).draw(9, 3, 4)
    for key, columns in (("L_gamma", GAMMA), ("L_fade", slice(BLACK, 16)), ("L_jpeg", QUALITY), ("L_scratches", MARKS)):
        assert torch.equal(both[:, columns], Augment(**{key: ALL[key]}).draw(9, 3, 4)[:, columns])


def sampler(**changes) -> EpochSampler:
    fixed = {"rows": torch.arange(10, 30), "batch_size": 3, "seed": 0, "augment": Augment(**ALL)}
    return EpochSampler(**(fixed | changes))


def picked(epoch_sampler: EpochSampler, epoch: int) -> list[tuple[list[list[float]], int]]:
    epoch_sampler.set_epoch(epoch)
    return [(picks.drawn.values.tolist(), picks.drawn.noise_seed) for picks in epoch_sampler]


def test_draws_are_functions_of_seed_epoch_and_position() -> None:
    assert picked(sampler(), 4) == picked(sampler(), 4)
    assert picked(sampler(batches_done=lambda: 4), 4) == picked(sampler(), 4)[4:]
    for other in (picked(sampler(), 5), picked(sampler(seed=1), 4)):
        for (values, seed), (others, other_seed) in zip(picked(sampler(), 4), other, strict=True):
            assert seed != other_seed and not set(map(tuple, values)) & set(map(tuple, others))


def test_devices_share_an_epochs_draws() -> None:
    whole = [row for values, _ in picked(sampler(), 0) for row in values]
    parts = [picked(sampler(rank=rank, world_size=2), 0) for rank in range(2)]
    assert [row for values, _ in parts[1] for row in values] == whole[1::2][:9]
    assert len({seed for part in parts for _, seed in part}) == 6


def test_augmentation_changes_neither_order_nor_flips() -> None:
    for with_it, without in zip(sampler(), sampler(augment=None), strict=True):
        assert torch.equal(with_it.rows, without.rows) and torch.equal(with_it.flips, without.flips)
        assert without.drawn is None


@pytest.fixture
def make_data(folder, tmp_path):
    def make(**augment) -> ColorizationDataModule:
        how = {"image_size": 16, "batch_size": 4, "num_train": 7, "num_val": 3, "store_dir": str(tmp_path / "s")}
        data = ColorizationDataModule("folder", **how, root=str(folder), augment=augment)
        data.setup("validate")
        return data

    return make


def batch_of(data: ColorizationDataModule, kind: type) -> Batch:
    """Return the first training batch, by a feed."""
    data._feed = kind(data.store, CPU)
    picks = next(iter(EpochSampler(data.store.train_rows, 4, 0, augment=data.augment)))
    return data.transfer_batch_to_device(picks, CPU, 0)


def test_every_feed_gives_the_same_changed_batch(make_data) -> None:
    data = make_data(**ALL | {"L_jpeg": None})  # which would make large differences of small ones, near half a step
    streamed, kept, cached = (batch_of(data, kind) for kind in (StreamedPixels, DevicePixels, LabCache))
    assert torch.equal(streamed.L, kept.L) and torch.equal(streamed.ab, kept.ab)
    torch.testing.assert_close(cached.L, streamed.L, atol=2e-3, rtol=0)
    torch.testing.assert_close(cached.ab, streamed.ab, atol=1e-3, rtol=0)
    assert (batch_of(make_data(), StreamedPixels).L - streamed.L).abs().max() > 0.1


def test_off_is_the_batch_of_the_feed_bit_for_bit(make_data) -> None:
    data = make_data(**dict.fromkeys(ALL))
    assert not data.augment
    picks = next(iter(EpochSampler(data.store.train_rows, 4, 0)))
    batch = batch_of(data, StreamedPixels)
    assert torch.equal(torch.cat([*batch[:2]], 1), torch.cat([*StreamedPixels(data.store, CPU).take(picks)[:2]], 1))


def test_validation_sees_images_as_they_are(make_data) -> None:
    data, plain = make_data(**ALL), make_data()
    assert all(picks.drawn is None for picks in data.val_dataloader())
    rows = data.store.val_rows
    assert torch.equal(data.val_batch(rows, CPU).L, plain.val_batch(rows, CPU).L)


@pytest.mark.parametrize("name", ["coco", "folder", "scenes"])
def test_every_data_set_has_the_same_keys_and_all_are_off(make_config, name) -> None:
    augment = OmegaConf.to_container(make_config(f"data={name}").data.augment)
    assert augment == dict.fromkeys(ALL)


@pytest.mark.parametrize(
    ("key", "value", "least"),
    [
        ("crop", 1.2, "a number above 0 and at most 1"),
        ("crop", 0, "a number above 0 and at most 1"),
        ("L_gamma", 0.5, "a number of at least 1"),
        ("L_noise", 0, "a number above 0"),
        ("L_blur", "soft", "a number above 0"),
        ("grey_weights", True, "a number above 0"),
        ("orthochromatic", 1.5, "a number above 0 and at most 1"),
        ("L_fade", 70, "a number above 0 and at most 60"),
        ("L_scratches", 2.5, "a whole number of at least 1"),
        ("L_jpeg", 101, "a whole number from 1 to 100"),
    ],
)
def test_a_value_that_will_not_do_is_named(key, value, least) -> None:
    with pytest.raises(UserError, match=rf"data.augment.{key} must be null or {least}; got {value!r}"):
        Augment(**{key: value})
