"""Scores by a network that took no part in training: EfficientNet-Lite2, which recognizes things in photographs."""

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
    """What the judge makes of images, on the CPU."""

    features: Tensor  # (B, 1280) float32, of the last pooling layer
    classes: Tensor  # (B,) int64, the likeliest of ImageNet's


class Judge(nn.Module):
    """EfficientNet-Lite2 in evaluation mode; it sees images at their own size (it was trained at 260x260).

    `judge_missing` says whether it can be built.
    """

    def __init__(self) -> None:
        super().__init__()
        import timm  # here: it takes a second

        self.network = timm.create_model(NETWORK)
        load_weights(self.network, weights_file(NETWORK), "judge")
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, rgb: Tensor) -> Verdict:
        """Judge images.

        Args:
            rgb: ``(B, 3, H, W)`` uint8.
        Raises:
            ValueError: if they are not uint8 images.
        """
        check_rgb(rgb)
        with torch.autocast(rgb.device.type, enabled=False):  # half precision would move the distances
            maps = self.network.forward_features((rgb.float() - 127) / 128)
            features = self.network.forward_head(maps, pre_logits=True)
            classes = self.network.get_classifier()(features).argmax(1)
        return Verdict(features.cpu(), classes.cpu())


def judge_missing() -> str | None:
    """Return the line that says what the judge lacks; ``None`` if it can be built."""
    return None if weights_file(NETWORK) else missing_extra(f"{SCORES}: need {PACKAGES[NETWORK]}", "encoder")


def own_encoder(generator: dict[str, object]) -> bool:
    """Tell whether the judge is the encoder of a generator, by its arguments: it would judge its own work."""
    return generator.get("encoder") == NETWORK


class JudgeScores:
    """Compares the judge's verdicts on outputs and on the truth; those on the truth are kept when it starts anew.

    Args:
        judge: uint8 RGB to `Verdict`.
    """

    def __init__(self, judge: Callable[[Tensor], Verdict]) -> None:
        self.judge = judge
        self._truth: dict[tuple[int, ...], Verdict] = {}  # by the ids of a batch
        self._pairs: list[tuple[Verdict, Verdict]] = []

    def restart(self) -> None:
        """Forget the outputs so far."""
        self._pairs = []

    def update(self, L: Tensor, ab_pred: Tensor, ab_true: Tensor, ids: Tensor) -> None:
        """Take in a batch.

        Args:
            L: ``(B, 1, H, W)`` in [-1, 1].
            ab_pred: ``(B, 2, H, W)`` in [-1, 1].
            ab_true: the same.
            ids: ``(B,)`` of the images; a batch of the same ids has the same truth.
        """
        key = tuple(ids.tolist())
        if key not in self._truth:
            self._truth[key] = self.judge(to_uint8(l_ab_to_rgb(L, ab_true)))
        self._pairs.append((self.judge(to_uint8(l_ab_to_rgb(L, ab_pred))), self._truth[key]))

    def compute(self, fid: bool = True) -> dict[str, float]:
        """Compare all images since the start.

        Args:
            fid: also the Frechet distance, of 1,280 features: of fewer images than that its covariances are singular.
        Returns:
            ``kid_lite2`` as `PerceptualScores` estimates KID, ``kid_lite2_std``, its standard error, ``fid_lite2``, and
            ``recognizability``, the share of images whose class in generated colors is that in true ones. Of one image
            the last alone.
        """
        outputs, truth = (Verdict(*map(torch.cat, zip(*side, strict=True))) for side in zip(*self._pairs, strict=True))
        scores = {"recognizability": (outputs.classes == truth.classes).float().mean().item()}
        if len(outputs.classes) > 1:
            scores["kid_lite2"], scores["kid_lite2_std"] = kernel_distance(outputs.features, truth.features)
            if fid:
                scores["fid_lite2"] = frechet_distance(outputs.features, truth.features)
        return scores
