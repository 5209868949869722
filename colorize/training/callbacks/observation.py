"""Measurements of one batch for diagnosing the state of training, on small samples."""

import torch
from torch import Tensor, nn

from colorize.data import Batch
from colorize.lab import l_ab_to_rgb, out_of_gamut, to_uint8
from colorize.metrics import colorfulness
from colorize.metrics.regions import blob_energy
from colorize.training.step import Outcome

PIXELS = 32  # side that colors are subsampled to with a stride: colorfulness does not depend on neighbors
SATURATED = 0.95  # absolute output of tanh beyond which its gradient nearly vanishes
SAMPLE = 65_536  # weights of each tensor that the update ratio is computed from

MEASURES = (
    "D_acc_real",  # fraction of real patches that D classifies as real
    "D_acc_fake",  # fraction of generated patches that D classifies as generated
    "margin",  # mean logit of real patches minus that of generated ones
    "grad_norm_D",  # before clipping
    "grad_norm_G",
    "update_ratio_D",  # norm of the step over the norm of the weights
    "update_ratio_G",
    "saturated",  # fraction of outputs beyond SATURATED
    "colorfulness",  # Hasler & Süsstrunk 2003, mean over the batch
    "colorfulness_real",
    "chroma_spread",  # standard deviation of ab over the images of the batch, mean over pixels
    "chroma_spread_real",
    "blob_energy",  # squared error of ab at 8x8 cells over that of grey: 1 is as wrong as grey
    "out_of_gamut",  # fraction of pixels outside the sRGB gamut
    "l1",  # mean absolute error of ab
    "l1_grey",  # mean absolute error of grey
)


@torch.no_grad()
def observe(outcome: Outcome, batch: Batch, boundary: float | None, update_ratios: dict[str, Tensor]) -> Tensor:
    """Measure a batch after its step.

    Args:
        outcome: of a step that computed gradient norms.
        batch: the batch of the step.
        boundary: logit between fake and real; ``None`` compares each fake patch with its real one.
        update_ratios: by network, "D" and "G", see `Weights.update_ratio`.
    Returns:
        ``(len(MEASURES),)`` on the device; NaN for measurements that do not apply to the step.
    """
    fake, real = outcome.fake_logits, outcome.real_logits
    measures: dict[str, Tensor | None] = {
        "grad_norm_D": outcome.grad_norm_D,
        "grad_norm_G": outcome.grad_norm_G,
        "update_ratio_D": update_ratios["D"] if outcome.grad_norm_D is not None else None,
        "update_ratio_G": update_ratios["G"] if outcome.grad_norm_G is not None else None,
    }
    if fake is not None and real is not None:
        fake, real = fake.float(), real.float()
        middle = (real, fake) if boundary is None else (boundary, boundary)
        measures["D_acc_fake"] = (fake < middle[0]).float().mean()
        measures["D_acc_real"] = (real > middle[1]).float().mean()
        measures["margin"] = real.mean() - fake.mean()
    measures |= observe_colors(batch.L, outcome.fake_ab.float(), batch.ab)
    unknown = torch.full((), torch.nan, device=batch.ab.device)
    return torch.stack([unknown if measures.get(name) is None else measures[name].float() for name in MEASURES])


def observe_colors(L: Tensor, fake_ab: Tensor, ab: Tensor) -> dict[str, Tensor]:
    """Measure generated and true colors.

    Args:
        L: ``(B, 1, H, W)`` in [-1, 1].
        fake_ab: ``(B, 2, H, W)`` in [-1, 1].
        ab: ``(B, 2, H, W)`` true chroma.
    Returns:
        scalars by name: those of ``MEASURES`` that depend on colors.
    """
    measures = {"saturated": (fake_ab.abs() > SATURATED).float().mean()}
    measures["l1"], measures["l1_grey"] = (fake_ab - ab).abs().mean(), ab.abs().mean()
    error, truth = (value.mean() for value in blob_energy(fake_ab, ab))
    measures["blob_energy"] = error / truth.clamp(min=1e-8)
    step = max(1, min(L.shape[-2:]) // PIXELS)
    L, fake_ab, ab = (x[..., ::step, ::step] for x in (L, fake_ab, ab))
    for name, chroma in (("", fake_ab), ("_real", ab)):
        measures[f"colorfulness{name}"] = colorfulness(to_uint8(l_ab_to_rgb(L, chroma))).mean()
        if len(chroma) > 1:
            measures[f"chroma_spread{name}"] = chroma.std(dim=0).mean()
    measures["out_of_gamut"] = out_of_gamut(L, fake_ab).float().mean()
    return measures


class Weights:
    """A sample of a network's weights, to measure how much a step changes them."""

    @torch.no_grad()
    def __init__(self, network: nn.Module) -> None:
        self.now = [_sample(parameter.detach()) for parameter in network.parameters()]
        self.before = [part.clone() for part in self.now]

    @torch.no_grad()
    def update_ratio(self) -> Tensor:
        """Return the norm of the change since construction over the norm of the weights."""
        changes = [now - before for now, before in zip(self.now, self.before, strict=True)]
        whole = torch.nn.utils.get_total_norm(self.before)
        return torch.nn.utils.get_total_norm(changes) / whole.clamp(min=1e-12)


def _sample(weights: Tensor) -> Tensor:
    """Return a view of the first rows, about ``SAMPLE`` weights."""
    rows = max(1, SAMPLE * len(weights) // max(1, weights.numel())) if weights.ndim else 0
    return weights[:rows] if rows else weights
