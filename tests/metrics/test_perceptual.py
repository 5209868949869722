import importlib.util
import socket

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from colorize.base.errors import UserError, missing_extra
from colorize.metrics import PerceptualScores, perceptual
from colorize.metrics.perceptual import frechet_distance, kernel_distance

INCEPTION = "weights-inception-2015-12-05-6726825d.pth"
ALEXNET = "alexnet-owt-7be5be79.pth"
VGG = "vgg16-397923af.pth"


def images(count, seed=0):
    return torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def save_random_features(model, path):
    """Save what LPIPS reads of a torchvision network."""
    torch.save({f"features.{name}": value for name, value in model.features.state_dict().items()}, path)


@pytest.fixture(scope="module")
def alexnet_only(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alexnet")
    torch.manual_seed(0)
    save_random_features(torchvision.models.alexnet(weights=None), folder / ALEXNET)
    return folder


@pytest.fixture(scope="module")
def inception_only(tmp_path_factory):
    from torch_fidelity import feature_extractor_inceptionv3 as inception

    folder = tmp_path_factory.mktemp("inception")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(inception.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = inception.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    torch.manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)  # the default shrinks the features to nothing
    torch.save(network.state_dict(), folder / INCEPTION)
    return folder


@pytest.fixture(scope="module")
def all_weights(alexnet_only, inception_only, tmp_path_factory):
    folder = tmp_path_factory.mktemp("all")
    (folder / ALEXNET).symlink_to(alexnet_only / ALEXNET)
    (folder / INCEPTION).symlink_to(inception_only / INCEPTION)
    torch.manual_seed(0)
    save_random_features(torchvision.models.vgg16(weights=None), folder / VGG)
    return folder


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_an_empty_folder_names_every_file_and_where_to_put_it(tmp_path):
    lines = PerceptualScores(tmp_path).missing
    for name, file in (("fid, kid", INCEPTION), ("lpips_alex", ALEXNET), ("lpips_vgg", VGG)):
        assert any(line.startswith(name) and file in line and str(tmp_path) in line for line in lines)


def test_the_default_folder_is_that_of_torch_hub(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert str(tmp_path / "checkpoints") in PerceptualScores().missing[0]


def test_without_torch_fidelity_the_extra_is_named(tmp_path, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch_fidelity" else find_spec(name))
    assert missing_extra("fid, kid: torch-fidelity is not installed", "fid") in PerceptualScores(tmp_path).missing


def test_an_empty_folder_scores_nothing(tmp_path):
    scores = PerceptualScores(tmp_path)
    scores.update(images(2), images(2))
    assert scores.compute() == {}


def test_only_the_metric_whose_weights_are_there_is_scored(alexnet_only):
    scores = PerceptualScores(alexnet_only)
    scores.update(images(2), images(2, seed=1))
    assert list(scores.compute()) == ["lpips_alex"]


def test_lpips_is_the_mean_over_images_of_all_batches(alexnet_only):
    together, first, rest = (PerceptualScores(alexnet_only) for _ in range(3))
    outputs, targets = images(3), images(3, seed=1)
    together.update(outputs[:1], targets[:1])
    together.update(outputs[1:], targets[1:])
    first.update(outputs[:1], targets[:1])
    rest.update(outputs[1:], targets[1:])
    expected = (first.compute()["lpips_alex"] + 2 * rest.compute()["lpips_alex"]) / 3
    assert together.compute()["lpips_alex"] == pytest.approx(expected, rel=1e-5)


def test_lpips_is_that_of_torchmetrics_with_the_same_backbone(alexnet_only, monkeypatch):
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    saved = torch.load(alexnet_only / ALEXNET, weights_only=True)
    model = torchvision.models.alexnet(weights=None)
    model.load_state_dict(saved, strict=False)
    monkeypatch.setattr(torchvision.models, "alexnet", lambda weights: model)
    reference = LearnedPerceptualImagePatchSimilarity("alex", normalize=True)
    outputs, targets = images(2), images(2, seed=1)
    scores = PerceptualScores(alexnet_only)
    scores.update(outputs, targets)
    assert scores.compute()["lpips_alex"] == pytest.approx(reference(outputs / 255, targets / 255).item(), rel=1e-4)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / ALEXNET).write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match=ALEXNET):
        PerceptualScores(tmp_path).update(images(1), images(1))


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / ALEXNET).touch()
    with pytest.raises(UserError, match=ALEXNET):
        PerceptualScores(tmp_path).update(images(1), images(1))


def test_a_file_of_another_network_is_named(tmp_path):
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / VGG)
    with pytest.raises(UserError, match=VGG):
        PerceptualScores(tmp_path).update(images(1), images(1))


def test_float_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match="uint8"):
        PerceptualScores(tmp_path).update(images(1) / 255, images(1) / 255)


@pytest.mark.parametrize("count", [8, 100])  # fewer and more than the 32 features
def test_fid_is_that_of_torchmetrics(count):
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Features(nn.Identity):
        num_features = 32

    generator = torch.Generator().manual_seed(0)
    outputs = torch.rand(count, 32, generator=generator)
    targets = 0.5 + 2 * torch.rand(count, 32, generator=generator)
    reference = FrechetInceptionDistance(Features())
    reference.update(targets, real=True)
    reference.update(outputs, real=False)
    assert frechet_distance(outputs, targets) == pytest.approx(reference.compute().item(), rel=1e-5)


def kid_by_loops(x, y):
    """Compute the estimate of Gretton et al. 2012 for pairs, term by term; return the mean of each image too."""

    def kernel(a, b):
        return (np.dot(a, b) / len(a) + 1) ** 3

    count = len(x)
    h = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            if i != j:
                h[i, j] = kernel(x[i], x[j]) + kernel(y[i], y[j]) - kernel(x[i], y[j]) - kernel(x[j], y[i])
    return h.sum() / (count * (count - 1)), h.sum(1) / (count - 1)


def features(count, size, seed):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("block", [3, 7, 100])
def test_kid_is_that_of_loops_over_pairs_of_images(monkeypatch, block):
    monkeypatch.setattr(perceptual, "KID_BLOCK", block)
    outputs, targets = 1.5 * features(7, 5, 0) + 0.3, features(7, 5, 1)
    mean, per_image = kid_by_loops(outputs.double().numpy(), targets.double().numpy())
    assert kernel_distance(outputs, targets) == pytest.approx((mean, 2 * np.std(per_image, ddof=1) / 7**0.5), rel=1e-12)


def test_kid_of_a_set_against_itself_is_zero():
    outputs = 2 * features(100, 32, 0).abs()
    assert kernel_distance(outputs, outputs) == pytest.approx((0, 0), abs=1e-12)


@pytest.mark.parametrize("shared", [0.0, 0.95], ids=["two halves", "pairs that share their content"])
def test_kid_of_one_distribution_is_zero_on_average(shared):
    found = []
    for seed in range(200):
        content = shared * features(20, 16, 3 * seed)
        own = (1 - shared**2) ** 0.5
        found.append(kernel_distance(*(content + own * features(20, 16, 3 * seed + k) for k in (1, 2)))[0])
    assert abs(np.mean(found)) < 3 * np.std(found) / len(found) ** 0.5


def test_kids_standard_error_is_its_spread_over_draws():
    draws = [kernel_distance(features(60, 16, 2 * seed) + 0.5, features(60, 16, 2 * seed + 1)) for seed in range(300)]
    values, errors = np.array(draws).T
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)  # 300 draws tell a spread to 4%


def distances(folder, output, target):
    scores = PerceptualScores(folder)
    scores.update(output, target)
    return scores.compute()


@pytest.fixture(scope="module")
def against_itself(all_weights):
    return distances(all_weights, images(8), images(8))


@pytest.fixture(scope="module")
def against_brighter(inception_only):
    return distances(inception_only, images(8) // 2 + 128, images(8))


@pytest.mark.slow
def test_with_all_weights_nothing_is_missing(all_weights):
    assert PerceptualScores(all_weights).missing == []


@pytest.mark.slow
def test_with_all_weights_every_distance_is_there(against_itself):
    assert sorted(against_itself) == ["fid", "kid", "kid_std", "lpips_alex", "lpips_vgg"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lpips_alex", "lpips_vgg"])
def test_lpips_of_identical_images_is_zero(against_itself, name):
    assert against_itself[name] == 0


@pytest.mark.slow
def test_fid_of_a_set_against_itself_is_zero(against_itself, against_brighter):
    assert against_itself["fid"] < 1e-6 * against_brighter["fid"]


@pytest.mark.slow
def test_kid_of_a_set_against_itself_is_near_zero(against_itself, against_brighter):
    assert abs(against_itself["kid"]) < 0.1 * against_brighter["kid"]


@pytest.mark.slow
def test_one_image_leaves_fid_and_kid_out_and_says_so(inception_only):
    scores = PerceptualScores(inception_only)
    scores.update(images(1), images(1))
    assert scores.compute() == {}
    assert "fid, kid: need at least 2 images; got 1" in scores.missing


@pytest.mark.slow
def test_two_images_are_enough_for_fid_and_kid(inception_only):
    assert list(distances(inception_only, images(2), images(2, seed=1))) == ["fid", "kid", "kid_std"]


@pytest.mark.slow
def test_computing_twice_gives_the_same_and_leaves_the_global_generator_alone(inception_only):
    scores = PerceptualScores(inception_only)
    scores.update(images(4), images(4, seed=1))
    before = torch.get_rng_state()
    assert scores.compute() == scores.compute()
    assert torch.equal(before, torch.get_rng_state())
