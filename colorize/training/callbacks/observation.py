"""What a look at one batch tells about the state of training, measured on small samples."""

import torch
from torch import Tensor, nn

from colorize.data import Batch
from colorize.lab import l_ab_to_rgb, out_of_gamut, to_uint8
from colorize.metrics import colorfulness
from colorize.metrics.regions import blob_energy
from colorize.training.step import Outcome

PIXELS = 32  # a side, that colours are judged on, taken at equal distances: colorfulness knows no neighbours
SATURATED = 0.95  # of tanh's reach, beyond which it hardly learns
SAMPLE = 65_536  # weights of each tensor that the ratio of update to weight is taken from

MEASURES = (
    "D_acc_real",  # share of real patches that D judges real
    "D_acc_fake",  # share of generated patches that D judges generated
    "margin",  # mean logit of real patches minus that of generated ones
    "grad_norm_D",  # before clipping
    "grad_norm_G",
    "update_ratio_D",  # norm of the step over the norm of the weights
    "update_ratio_G",
    "saturated",  # share of outputs beyond SATURATED
    "colorfulness",  # Hasler & Süsstrunk 2003, mean over the batch
    "colorfulness_real",
    "chroma_spread",  # standard deviation of ab over the images of the batch, mean over pixels
    "chroma_spread_real",
    "blob_energy",  # squared error of ab at 8x8 cells over that of grey: 1 is as wrong as no colour
    "out_of_gamut",  # share of pixels that sRGB cannot show
    "l1",  # mean absolute error of ab
    "l1_grey",  # the same of no colour
)


@torch.no_grad()
def observe(outcome: Outcome, batch: Batch, boundary: float | None, update_ratios: dict[str, Tensor]) -> Tensor:
    """Measure a batch after its step.

    Args:
        outcome: of a step that took gradient norms.
        batch: what it stepped on.
        boundary: logit between fake and real; ``None`` compares each fake patch with its real one.
        update_ratios: by network, "D" and "G", as `Weights.update_ratio` gives them.
    Returns:
        ``(len(MEASURES),)`` on the device; NaN where something was not there to be measured.
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
    """Measure generated colours beside true ones.

    Args:
        L: ``(B, 1, H, W)`` in [-1, 1].
        fake_ab: ``(B, 2, H, W)`` in [-1, 1].
        ab: the same of true chroma.
    Returns:
        scalars by name, those of ``MEASURES`` that follow from colours.
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
    """A sample of a network's weights, to see how far a step moves them."""

    @torch.no_grad()
    def __init__(self, network: nn.Module) -> None:
        self.now = [_sample(parameter.detach()) for parameter in network.parameters()]
        self.before = [part.clone() for part in self.now]

    @torch.no_grad()
    def update_ratio(self) -> Tensor:
        """Return the norm of what changed since over the norm of the weights."""
        changes = [now - before for now, before in zip(self.now, self.before, strict=True)]
        whole = torch.nn.utils.get_total_norm(self.before)
        return torch.nn.utils.get_total_norm(changes) / whole.clamp(min=1e-12)


def _sample(weights: Tensor) -> Tensor:
    """Return a view of the first rows, about ``SAMPLE`` weights."""
    rows = max(1, SAMPLE * len(weights) // max(1, weights.numel())) if weights.ndim else 0
    return weights[:rows] if rows else weights
