"""Color hints sampled from the ground truth, simulating a user ("Real-Time User-Guided", Zhang et al. 2017)."""

import torch
from torch import Tensor

STOP = 1 / 8  # parameter of the geometric distribution of the number of hints: one image in eight has none
MOST = 32  # maximum number of hints per image; one image in 72 would have more
LARGEST = 9 / 256  # largest side of a patch over that of the image


def draw_hints(ab: Tensor, number: int | None = None) -> Tensor:
    """Sample hints: the mean chroma of random patches.

    Positions are normally distributed around the center, with a quarter of the side as standard deviation; sides are
    uniform. Overlapping patches are averaged. Random numbers come from the device's global generator.

    Args:
        ab: ``(B, 2, H, W)`` true chroma in [-1, 1].
        number: patches per image; ``None`` draws it from a geometric distribution, as in the paper's training.
    Returns:
        ``(B, 3, H, W)``: ab at the hints and 0 elsewhere, and a mask of 1 and 0.
    """
    count, device = len(ab), ab.device
    if number is None:
        log_uniform = torch.rand(count, 1, device=device).clamp(min=1e-12).log()
        numbers = (log_uniform / torch.tensor(1 - STOP, device=device).log()).floor()
        points = MOST
    else:
        numbers, points = torch.full((count, 1), number, device=device), number
    given = torch.arange(points, device=device) < numbers  # (B, M)
    down, across = (_stripes(count, points, side, device) for side in ab.shape[2:])
    down = down * given[..., None]
    area = (down.sum(2) * across.sum(2)).clamp(min=1)  # (B, M)
    means = torch.einsum("bmh,bchw,bmw->bmc", down, ab.float(), across) / area[..., None]
    covered = torch.einsum("bmh,bmw->bhw", down, across)[:, None]  # number of patches at each pixel
    sums = torch.einsum("bmh,bmw,bmc->bchw", down, across, means)
    return torch.cat([sums / covered.clamp(min=1), (covered > 0).float()], dim=1)


def _stripes(count: int, points: int, side: int, device: torch.device) -> Tensor:
    """Draw the rows, or columns, that each patch covers: ``(B, M, side)`` of 1 and 0."""
    middle = (0.5 + 0.25 * torch.randn(count, points, 1, device=device)) * side
    largest = max(1, round(LARGEST * side))
    length = torch.randint(1, largest + 1, (count, points, 1), device=device)
    start = (middle - length / 2).round().clamp(min=0).minimum(side - length)
    place = torch.arange(side, device=device)
    return ((place >= start) & (place < start + length)).float()
