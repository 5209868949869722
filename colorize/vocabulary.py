"""Names of states and scores, and which way a score is better."""

STATES = (
    "healthy",
    "D wins",
    "D fooled",
    "colour collapse",
    "over-saturation",
    "diverging",
)  # `diag/state` is the index

LOWER = ("l1", "delta_", "loss_", "out_of_gamut", "fid", "kid", "lpips")  # starts of names that are better when lower
HIGHER = ("psnr", "ssim", "recognizability")


def better_when(metric: str) -> str | None:
    """Return whether lower or higher values of a metric are better.

    Args:
        metric: a logged name, such as ``val/psnr`` or ``val/raw_l1``.
    Returns:
        ``min`` or ``max``; ``None`` where neither is known, as of ``val/colorfulness``.
    """
    name = metric.rpartition("/")[2].removeprefix("raw_")
    return "min" if name.startswith(LOWER) else "max" if name.startswith(HIGHER) else None
