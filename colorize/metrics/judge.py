"""Scores by an independent ImageNet classifier that is not used in training, the judge: EfficientNet-Lite2."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from colorize.base.errors import missing_extra
from colorize.lab import l_ab_to_rgb, to_uint8
from colorize.metrics.image import check_rgb
from colorize.metrics.perceptual import frechet_distance, kernel_distance
from colorize.networks.backbones import PACKAGES, load_weights, weights_file

NETWORK = "tf_efficientnet_lite2"  # timm's name
SCORES = "kid_lite2, fid_lite2, recognizability"


class Verdict(NamedTuple):
    """The judge's outputs for a batch of images, on the CPU."""

    features: Tensor  # (B, 1280) float32, of the last pooling layer
    classes: Tensor  # (B,) int64, the most likely ImageNet class


class Judge(nn.Module):
    """EfficientNet-Lite2 in evaluation mode; images are not resized (it was trained at 260x260).

    Use `judge_missing` to check whether it can be built.
    """

    def __init__(self) -> None:
        super().__init__()
        import timm  # imported here because it takes a second

        self.network = timm.create_model(NETWORK)
        load_weights(self.network, weights_file(NETWORK), "judge")
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, rgb: Tensor) -> Verdict:
        """Compute features and classes of images.

        Args:
            rgb: ``(B, 3, H, W)`` uint8.
        Raises:
            ValueError: if ``rgb`` has another shape or dtype.
        """
        check_rgb(rgb)
        with torch.autocast(rgb.device.type, enabled=False):  # half precision would change the distances
            maps = self.network.forward_features((rgb.float() - 127) / 128)
            features = self.network.forward_head(maps, pre_logits=True)
            classes = self.network.get_classifier()(features).argmax(1)
        return Verdict(features.cpu(), classes.cpu())


def judge_missing() -> str | None:
    """Return a line that says what the judge lacks; ``None`` if it can be built."""
    return None if weights_file(NETWORK) else missing_extra(f"{SCORES}: need {PACKAGES[NETWORK]}", "encoder")


def own_encoder(generator: dict[str, object]) -> bool:
    """Return whether the judge is the encoder of a generator, by its arguments, and so not independent."""
    return generator.get("encoder") == NETWORK


class JudgeScores:
    """Compares the judge's verdicts on outputs and on true images; `restart` keeps the latter.

    Args:
        judge: maps uint8 RGB to `Verdict`.
    """

    def __init__(self, judge: Callable[[Tensor], Verdict]) -> None:
        self.judge = judge
        self._truth: dict[tuple[int, ...], Verdict] = {}  # by the ids of a batch
        self._pairs: list[tuple[Verdict, Verdict]] = []

    def restart(self) -> None:
        """Discard the outputs so far."""
        self._pairs = []

    def update(self, L: Tensor, ab_pred: Tensor, ab_true: Tensor, ids: Tensor) -> None:
        """Add a batch.

        Args:
            L: ``(B, 1, H, W)`` in [-1, 1].
            ab_pred: ``(B, 2, H, W)`` in [-1, 1].
            ab_true: same as ``ab_pred``.
            ids: ``(B,)`` ids of the images; verdicts on true images are cached by the ids of a batch.
        """
        key = tuple(ids.tolist())
        if key not in self._truth:
            self._truth[key] = self.judge(to_uint8(l_ab_to_rgb(L, ab_true)))
        self._pairs.append((self.judge(to_uint8(l_ab_to_rgb(L, ab_pred))), self._truth[key]))

    def compute(self, fid: bool = True) -> dict[str, float]:
        """Compute the scores of all images since `restart`.

        Args:
            fid: whether to compute the Frechet distance of the 1,280 features, whose covariances are singular for
                fewer images than that.
        Returns:
            ``kid_lite2``, estimated as KID in `PerceptualScores`, ``kid_lite2_std``, its standard error, ``fid_lite2``,
            and ``recognizability``, the fraction of images with the same class in generated and in true colors. A
            single image has only ``recognizability``.
        """
        outputs, truth = (Verdict(*map(torch.cat, zip(*side, strict=True))) for side in zip(*self._pairs, strict=True))
        scores = {"recognizability": (outputs.classes == truth.classes).float().mean().item()}
        if len(outputs.classes) > 1:
            scores["kid_lite2"], scores["kid_lite2_std"] = kernel_distance(outputs.features, truth.features)
            if fid:
                scores["fid_lite2"] = frechet_distance(outputs.features, truth.features)
        return scores
