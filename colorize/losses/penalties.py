"""Penalties on the discriminator's gradient with respect to chroma, for patches.

The papers' D gives an image one score; a PatchGAN gives many, each a discriminator of its patch. What is penalised
is therefore the mean over patches of each score's squared gradient norm. Random signs estimate it without bias in
one backward pass: the squared norm of the gradient of sum(sign_i * score_i) is, on average over the signs, the sum of
the scores' own (Hutchinson 1989). So a weight means the same at every image size.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def squared_gradient(logits: Tensor, ab: Tensor) -> Tensor:
    """Estimate each image's mean over patches of ``|d logit / d ab|^2``; it can be differentiated.

    Args:
        logits: ``(B, 1, H', W')`` scores that depend on ``ab``.
        ab: ``(B, 2, H, W)`` chroma that requires a gradient.
    Returns:
        ``(B,)`` float32, at least 0.
    """
    signs = torch.randint(0, 2, logits.shape, device=logits.device) * 2 - 1
    (gradient,) = torch.autograd.grad((logits.float() * signs).sum(), ab, create_graph=True)
    return gradient.float().square().sum((1, 2, 3)) / logits[0].numel()


def zero_centred(logits: Tensor, ab: Tensor) -> Tensor:
    """R1 on real images, R2 on generated ones, for a weight of 1 (Mescheder et al. 2018): half the mean square.

    Args:
        logits: ``(B, 1, H', W')``.
        ab: ``(B, 2, H, W)`` that they were computed from.
    """
    return 0.5 * squared_gradient(logits, ab).mean()


def one_centred(score: Callable[[Tensor], Tensor], fake_ab: Tensor, ab: Tensor) -> Tensor:
    """The gradient penalty of WGAN-GP, for a weight of 1 (Gulrajani et al. 2017): how far norms are from 1.

    Args:
        score: chroma ``(B, 2, H, W)`` to logits.
        fake_ab: ``(B, 2, H, W)`` generated chroma.
        ab: ``(B, 2, H, W)`` true chroma.
    """
    share = torch.rand(len(ab), 1, 1, 1, device=ab.device)
    between = torch.lerp(ab, fake_ab.float(), share).detach().requires_grad_()
    norm = (squared_gradient(score(between), between) + 1e-12).sqrt()  # the root's slope at 0 is infinite
    return (norm - 1).square().mean()
