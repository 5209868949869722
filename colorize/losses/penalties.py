"""Penalties on the gradient of a patch discriminator with respect to chroma.

In the papers, D has one score per image; a PatchGAN has one score per patch. The penalty is therefore the mean over
patches of the squared gradient norm of each score, which makes its weight independent of the image size. It is
estimated in one backward pass with random signs: the expected squared norm of the gradient of sum(sign_i * score_i) is
the sum of the squared gradient norms of the scores (Hutchinson 1989).
"""

from collections.abc import Callable

import torch
from torch import Tensor


def squared_gradient(logits: Tensor, ab: Tensor) -> Tensor:
    """Estimate each image's mean over patches of ``|d logit / d ab|^2``; differentiable.

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
    """Compute R1 (for real images) or R2 (for generated ones) with gamma 1 (Mescheder et al. 2018).

    Args:
        logits: ``(B, 1, H', W')``.
        ab: ``(B, 2, H, W)`` chroma that they were computed from.
    """
    return 0.5 * squared_gradient(logits, ab).mean()


def one_centred(score: Callable[[Tensor], Tensor], fake_ab: Tensor, ab: Tensor) -> Tensor:
    """Compute the gradient penalty of WGAN-GP with weight 1 (Gulrajani et al. 2017).

    Args:
        score: maps chroma ``(B, 2, H, W)`` to logits.
        fake_ab: ``(B, 2, H, W)`` generated chroma.
        ab: ``(B, 2, H, W)`` true chroma.
    """
    share = torch.rand(len(ab), 1, 1, 1, device=ab.device)
    between = torch.lerp(ab, fake_ab.float(), share).detach().requires_grad_()
    norm = (squared_gradient(score(between), between) + 1e-12).sqrt()  # avoids the infinite gradient of sqrt at 0
    return (norm - 1).square().mean()
