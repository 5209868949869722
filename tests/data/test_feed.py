"""The batch is the same for every way in which images reach the device."""

import pytest
import torch
from skimage.color import rgb2lab

from colorize.data import ColorizationDataModule
from colorize.data.feed import DevicePixels, LabCache, Picks, StreamedPixels, choose_feed, to_batch

CPU = torch.device("cpu")
PICKS = Picks(torch.tensor([4, 0, 4]), torch.tensor([True, False, False]))


@pytest.fixture
def store(folder, tmp_path):
    data = ColorizationDataModule(
        "folder", image_size=16, batch_size=4, num_train=7, num_val=3, store_dir=str(tmp_path / "s"), root=str(folder)
    )
    data.setup("validate")
    return data.store


def test_pixels_kept_on_the_device_are_those_of_the_file(store) -> None:
    kept, streamed = DevicePixels(store, CPU).take(PICKS), StreamedPixels(store, CPU).take(PICKS)
    assert all(torch.equal(a, b) for a, b in zip(kept, streamed, strict=True))


def test_lab_kept_in_memory_is_that_of_skimage(store) -> None:
    """Twice: when it is converted, and when it is read again."""
    cache = LabCache(store, CPU)
    images = store.pixels[PICKS.rows.numpy()].transpose(0, 2, 3, 1).copy()
    images[0] = images[0, :, ::-1]
    lab = torch.from_numpy(rgb2lab(images)).permute(0, 3, 1, 2).float()
    for _ in range(2):
        batch = cache.take(PICKS)
        torch.testing.assert_close((batch.L + 1) * 50, lab[:, :1], atol=0.013, rtol=0)
        torch.testing.assert_close(batch.ab * 110, lab[:, 1:], atol=0.03, rtol=0)
        assert batch.ids.tolist() == store.ids[PICKS.rows].tolist()


def test_lab_kept_in_memory_is_converted_once(store, monkeypatch) -> None:
    cache = LabCache(store, CPU)
    first = cache.take(PICKS)
    monkeypatch.setattr(store, "gather", lambda rows: pytest.fail(f"rows {rows} were read again"))
    assert torch.equal(cache.take(PICKS).ab, first.ab)


def test_a_compiled_conversion_is_the_same(store) -> None:
    compiled = StreamedPixels(store, CPU, torch.compile(to_batch, backend="aot_eager"))
    torch.testing.assert_close(compiled.take(PICKS).ab, StreamedPixels(store, CPU).take(PICKS).ab)


@pytest.mark.parametrize(
    ("resident", "free", "kind"),
    [("auto", 10**9, LabCache), ("auto", 10, StreamedPixels), (True, 10, LabCache), (False, 10**9, StreamedPixels)],
)
def test_main_memory_is_used_where_there_is_enough(store, monkeypatch, resident, free, kind) -> None:
    monkeypatch.setattr("colorize.data.feed.memory_available", lambda: free)
    assert type(choose_feed(store, CPU, resident)) is kind


def test_training_scores_a_sixteenth_after_each_epoch(tmp_path) -> None:
    from tests.data.test_module import sparse_store

    data = ColorizationDataModule("folder")
    data.store = sparse_store(tmp_path / "store", train=8000, val=2000)
    assert data.scored_each_epoch == 500
    data.val_images = 7
    assert data.scored_each_epoch == 7


def test_few_validation_images_are_all_scored(folder, tmp_path) -> None:
    data = ColorizationDataModule(
        "folder", image_size=16, batch_size=4, num_train=7, num_val=3, store_dir=str(tmp_path / "s"), root=str(folder)
    )
    data.setup("validate")
    assert data.scored_each_epoch == 3
