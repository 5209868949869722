"""The encoder U-Net: its parts, sizes, heads, and exports."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from colorize.base.errors import UserError
from colorize.checkpoint import WEIGHTS
from colorize.export import export
from colorize.networks import build_generator
from colorize.networks.guided import enlarged
from colorize.training import ColorizationModule
from colorize.upsampling import GuidedUpsampler

SMALL = {"width": 16, "widths": [16, 8, 8], "encoder_weights": "none"}
CHOICES = {
    "frozen encoder": {"attention": [0, 0]},
    "attention": {"attention": [1, 2]},
    "global context": {"global_context": True},
    "queries": {"queries": 3, "query_width": 32},
    "bins": {"heads": ["bins"]},
    "auxiliary bins": {"heads": ["ab", "bins"]},
    "hints": {"hints": True},
    "full size": {"widths": [8, 8, 8, 8, 8]},
}


def built(**how: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_generator("encoder_unet", **SMALL | how)


def scrambled(generator: torch.nn.Module) -> torch.nn.Module:
    """Draw what starts at 0, so that every part has a say."""
    for parameter in generator.parameters():
        if not parameter.abs().sum():
            torch.nn.init.normal_(parameter, 0, 0.2)
    return generator


@pytest.mark.parametrize("how", CHOICES.values(), ids=CHOICES)
def test_every_choice_keeps_the_size_and_range(how) -> None:
    generator = scrambled(built(**how)).eval()
    with torch.no_grad():
        for size in ((64, 96), (32, 32)):
            ab = generator(torch.rand(2, 1, *size) * 2 - 1)
            assert ab.shape == (2, 2, *size)
            assert 0 < ab.abs().max() <= 1


@pytest.mark.parametrize("how", CHOICES.values(), ids=CHOICES)
def test_everything_that_is_not_frozen_learns(how) -> None:
    generator = scrambled(built(**how)).train()
    logits: list[torch.Tensor] = []
    hints = {"hints": torch.rand(2, 3, 64, 64)} if generator.takes_hints else {}
    ab = generator(torch.rand(2, 1, 64, 64) * 2 - 1, logits=logits, **hints)
    sum([ab.square().sum(), *(found.square().sum() for found in logits)]).backward()
    still = [name for name, p in generator.named_parameters() if p.requires_grad and not p.grad.abs().sum() > 0]
    # What a batch norm or a softmax follows has biases that cannot matter
    assert not [name for name in still if not name.endswith(("key_value.bias", "model.0.bias"))]
    assert not any(p.requires_grad for p in generator.encoder.parameters())


def test_the_standard_network_has_4_and_a_half_million_parameters() -> None:
    generator = build_generator("encoder_unet")
    count = sum(p.numel() for p in generator.parameters())
    assert 4.4e6 < count < 4.6e6


def test_training_starts_from_grey() -> None:
    assert built()(torch.rand(1, 1, 64, 64)).abs().max() == 0


def test_global_context_joins_the_mean_of_the_deepest_features() -> None:
    context = built(global_context=True).context
    x, deepest = torch.randn(2, 16, 2, 3), torch.randn(2, 320, 2, 3)
    first, _, second, _ = context.image
    image = F.relu(second(F.relu(first(deepest.mean((2, 3))))))
    weight = context.fuse.weight[:, :, 0, 0]
    expected = torch.relu(
        torch.einsum("oc,bchw->bohw", weight[:, :16], x)
        + (image @ weight[:, 16:].T)[:, :, None, None]
        + context.fuse.bias[None, :, None, None]
    )
    torch.testing.assert_close(context(x, deepest), expected, rtol=1e-4, atol=1e-5)


def test_bins_are_given_at_the_decoders_stride_and_predict_by_their_annealed_mean() -> None:
    generator, L = scrambled(built(heads=["bins"], temperature=0.5)).eval(), torch.rand(1, 1, 64, 64)
    logits: list[torch.Tensor] = []
    with torch.no_grad():
        ab = generator(L, logits=logits)
    assert logits[0].shape == (1, 261, 16, 16)
    small = torch.einsum("bkhw,kc->bchw", (logits[0] * 2).softmax(1), generator.centers)
    torch.testing.assert_close(ab, enlarged(small, L, 4))


def test_auxiliary_bins_do_not_change_what_is_predicted() -> None:
    generator, L = scrambled(built(heads=["ab", "bins"])).eval(), torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        before = generator(L)
        torch.nn.init.normal_(generator.bins.weight)
        assert torch.equal(generator(L), before)


def test_chroma_is_enlarged_along_edges_as_the_tool_does_it() -> None:
    # A step between two greys, each with a color of its own, 3 pixels off the grid of the small chroma
    L = torch.full((1, 1, 64, 64), -0.4)
    L[..., 35:] = 0.5
    ab = torch.where(L < 0, torch.tensor([0.3, -0.2]).view(1, 2, 1, 1), torch.tensor([-0.1, 0.25]).view(1, 2, 1, 1))
    small = F.avg_pool2d(ab, 4)
    found = enlarged(small, L, 4)
    plain = F.interpolate(small, scale_factor=4.0, mode="bilinear")
    assert (found - ab).abs().max() < 0.15 * (plain - ab).abs().max()
    tool = GuidedUpsampler((F.avg_pool2d(L, 4)[0, 0].numpy() + 1) * 50, small[0].numpy() * 110, (64, 64)).block(
        (0, 0, 64, 64), (L[0, 0].numpy() + 1) * 50
    )
    assert np.stack(tool) / 110 == pytest.approx(found[0].numpy(), abs=0.03)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"widths": []}, "generator.widths must be 1 to 5 numbers"),
        ({"attention": [1, 1, 1]}, "generator.attention must be the blocks at strides 32 and 16"),
        ({"queries": 2, "query_strides": [2]}, r"query_strides must be among \[32, 16, 8, 4\]"),
        ({"heads": ["ab", "ab"]}, r"generator.heads must be \[ab\]"),
        ({"heads": ["rgb"]}, r"generator.heads must be \[ab\]"),
        ({"temperature": 0}, "generator.temperature must be a number above 0"),
    ],
)
def test_a_value_that_will_not_do_is_named(how, reason) -> None:
    with pytest.raises(UserError, match=reason):
        built(**how)


def test_a_size_that_cannot_work_names_one_that_does() -> None:
    with pytest.raises(UserError, match="image is 60x64; this generator needs multiples of 32: use 64x64"):
        built()(torch.zeros(1, 1, 60, 64))


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        {
            **CHOICES["attention"],
            "global_context": True,
            "queries": 3,
            "query_width": 32,
            "heads": ["ab", "bins"],
            "hints": True,
        },
        CHOICES["bins"],
    ],
    ids=["all parts", "bins"],
)
def test_onnx_computes_the_same_at_any_size(how, tmp_path) -> None:
    networks = {
        "generator": {"name": "encoder_unet", **SMALL, **how},
        "discriminator": {"name": "patch", "num_filters": 2},
    }
    optim = {name: {"name": "adam", "lr": 1e-4, "betas": [0.5, 0.999]} for name in networks}
    module = ColorizationModule(**networks, loss={"name": "gan_l1"}, optim=optim, image_size=64)
    scrambled(module.generator)
    checkpoint = {
        "state_dict": copy.deepcopy(module.state_dict()),
        "hyper_parameters": {**module.hparams},
    }
    torch.save(checkpoint, tmp_path / "model.ckpt")
    parity = export(tmp_path / "model.ckpt", tmp_path / "out", onnx=True)  # raises above 1e-3
    assert (tmp_path / "out" / WEIGHTS).is_file()
    assert max(difference for _, difference in parity) < 1e-4
