"""Attention against the formulas of the papers, written out position by position."""

import math

import pytest
import torch
import torch.nn.functional as F

from colorize.base.errors import UserError
from colorize.export import export
from colorize.networks import build_generator
from colorize.networks.attention import Attend, SelfAttention, TransformerBlock
from colorize.networks.queries import ColorQueries, QueryLayer


def test_self_attention_is_sagans_equation() -> None:
    torch.manual_seed(0)
    layer, x = SelfAttention(16), torch.randn(2, 16, 3, 5)
    torch.nn.init.constant_(layer.gamma, 0.7)
    flat = x.flatten(2)  # (B, C, N)
    f, g, h = (conv.weight[:, :, 0, 0] @ flat for conv in (layer.key, layer.query, layer.value))
    beta = torch.einsum("bci,bcj->bji", f, g).softmax(-1)  # how much place j attends to place i (SAGAN, eq. 1)
    o = torch.einsum("bci,bji->bcj", h, beta)
    torch.testing.assert_close(layer(x), x + 0.7 * o.view_as(x), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_unet_with_self_attention_is_exported_to_onnx(tmp_path) -> None:
    settings = {"name": "unet", "n_down": 5, "num_filters": 4, "attention": [2]}
    weights = {f"generator.{key}": value for key, value in build_generator(**settings).state_dict().items()}
    weights["generator.model.1.model.3.model.7.gamma"] = torch.ones(1)  # else it is the identity
    content = {"state_dict": weights, "hyper_parameters": {"generator": settings, "image_size": 32}}
    torch.save(content, tmp_path / "x.ckpt")
    parity = export(tmp_path / "x.ckpt", tmp_path / "model", onnx=True)
    assert len(parity) == 5 and max(difference for _, difference in parity) < 1e-4


def test_self_attention_starts_as_the_identity() -> None:
    x = torch.randn(1, 16, 4, 4)
    assert torch.equal(SelfAttention(16)(x), x)


def test_attend_is_scaled_dot_product_attention_head_by_head() -> None:
    torch.manual_seed(0)
    layer = Attend(64)  # two heads of 32
    x, to, place = torch.randn(2, 3, 64), torch.randn(2, 5, 64), torch.randn(1, 5, 64)
    (key_weight, value_weight), (key_bias, value_bias) = layer.key_value.weight.chunk(2), layer.key_value.bias.chunk(2)
    q, k, v = layer.query(x), (to + place) @ key_weight.T + key_bias, to @ value_weight.T + value_bias
    heads = []
    for head in (slice(0, 32), slice(32, 64)):
        scores = q[..., head] @ k[..., head].mT / math.sqrt(32)
        heads.append(scores.softmax(-1) @ v[..., head])
    torch.testing.assert_close(layer(x, to, place), layer.out(torch.cat(heads, -1)), rtol=1e-4, atol=1e-5)


def test_a_transformer_block_lets_every_place_see_every_other() -> None:
    torch.manual_seed(0)
    block, x = TransformerBlock(32), torch.randn(1, 32, 7, 9, requires_grad=True)
    block(x)[0, :, 0, 0].square().sum().backward()
    assert (x.grad.abs().sum(1) > 0).all()  # corner to corner, where a 3x3 convolution sees one place


def test_a_query_layer_is_cross_then_self_attention_then_feed_forward() -> None:
    torch.manual_seed(0)
    layer, queries, features, place = (
        QueryLayer(64),
        torch.randn(2, 4, 64),
        torch.randn(2, 6, 64),
        torch.randn(2, 6, 64),
    )
    x = F.layer_norm(queries + layer.cross(queries, features, place), (64,))
    x = F.layer_norm(x + layer.own(x, x), (64,))
    first, _, second = layer.feed
    x = F.layer_norm(x + second(F.gelu(first(x))), (64,))
    torch.testing.assert_close(layer(queries, features, place), x)


def test_queries_give_a_map_each_and_all_of_them_learn() -> None:
    torch.manual_seed(0)
    decoder = ColorQueries({16: 24, 8: 12}, 6, number=5, layers=3, width=32)
    maps = decoder({16: torch.randn(2, 24, 4, 6), 8: torch.randn(2, 12, 8, 12)}, torch.randn(2, 6, 16, 24))
    assert maps.shape == (2, 5, 16, 24)
    maps.square().sum().backward()
    still = [name for name, p in decoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not still


def test_a_pixel_of_a_query_map_is_the_product_of_query_and_pixel() -> None:
    torch.manual_seed(0)
    decoder = ColorQueries({16: 8}, 6, number=3, layers=1, width=32)
    features, pixels = {16: torch.randn(1, 8, 2, 2)}, torch.randn(1, 6, 4, 4)
    seen = decoder.inputs[0](features[16])
    place = decoder.places[0](seen).flatten(2).mT
    query = decoder.layers[0](decoder.queries[None], seen.flatten(2).mT + decoder.scale[0], place)
    pixel = decoder.pixels.weight[:, :, 0, 0] @ pixels[0, :, 1, 2] + decoder.pixels.bias
    torch.testing.assert_close(decoder(features, pixels)[0, :, 1, 2], query[0] @ pixel, rtol=1e-4, atol=1e-4)


def test_unet_attention_joins_where_it_is_asked_for_and_starts_from_the_same_unet() -> None:
    def built(**how: object) -> torch.nn.Module:
        torch.manual_seed(0)
        return build_generator("unet", n_down=5, num_filters=8, **how).eval()

    plain, attending, free = built(), built(attention=[2, 3]), built(attention=[2], attention_spectral_norm=False)
    found = [module for module in attending.modules() if isinstance(module, SelfAttention)]
    assert [layer.value.weight.shape[0] for layer in found] == [32, 16]  # channels of strides 8 and 4
    assert len([m for m in free.modules() if isinstance(m, SelfAttention)]) == 1
    norms = [torch.linalg.matrix_norm(layer.value.weight[:, :, 0, 0], 2).item() for layer in found]
    assert norms == pytest.approx([1, 1], rel=0.15)  # by power iteration
    assert "model.1" in dict(plain.named_modules())
    x = torch.rand(1, 1, 64, 64) * 2 - 1
    for layer in found:
        torch.nn.init.constant_(layer.gamma, 1.0)
    assert not torch.allclose(attending(x), plain(x))


def test_a_level_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match=r"generator.attention must be levels from 1 to 4; got \[5\]"):
        build_generator("unet", n_down=5, num_filters=8, attention=[5])
