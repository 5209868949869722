"""Perceptual distances: FID, KID and LPIPS, with weights files from one folder; nothing is downloaded."""

import importlib.util
import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from colorize.base.errors import UserError, missing_extra
from colorize.metrics.image import PEAK, check_rgb

# Metrics by the network that they need: the file of its weights, and its source.
INCEPTION = "fid, kid"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
SOURCES = {
    INCEPTION: (
        INCEPTION_FILE,
        f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}",
    ),
    "lpips_alex": ("alexnet-owt-7be5be79.pth", "torchvision.models.AlexNet_Weights.IMAGENET1K_V1.url"),
    "lpips_vgg": ("vgg16-397923af.pth", "torchvision.models.VGG16_Weights.IMAGENET1K_V1.url"),
}
FEATURES = 2048  # channels of Inception's last pooling layer
KID_BLOCK = 512  # images whose kernel rows are in memory at once: 20 MB each for 5,000 images


class PerceptualNetworks:
    """The networks of FID, KID and LPIPS whose weights are available; built on first use.

    Args:
        weights_dir: folder of the weights files; by default torch.hub's. Nothing is downloaded.
        device: device of the networks.
    Attributes:
        absent: for each network that cannot be built, a line per missing requirement.
        present: names of the other networks, see ``SOURCES``.
    """

    def __init__(self, weights_dir: Path | str | None = None, device: torch.device | str = "cpu") -> None:
        self._folder = Path(weights_dir) if weights_dir else Path(torch.hub.get_dir()) / "checkpoints"
        self._device = torch.device(device)
        self._paths = {name: self._folder / file for name, (file, _) in SOURCES.items()}
        self.absent = self._find_missing()
        self.present = sorted(self._paths.keys() - self.absent.keys())
        self._networks: dict[str, nn.Module] = {}

    def _find_missing(self) -> dict[str, list[str]]:
        absent = {}
        for name, path in self._paths.items():
            lines = []
            if name == INCEPTION and importlib.util.find_spec("torch_fidelity") is None:
                lines.append(missing_extra(f"{name}: torch-fidelity is not installed", "fid"))
            if not path.is_file():
                lines.append(f"{name}: no {path.name}; get it from {SOURCES[name][1]} and put it into {self._folder}")
            if lines:
                absent[name] = lines
        return absent

    def _network(self, name: str) -> nn.Module:
        if name not in self._networks:
            self._networks[name] = _build(name, self._paths[name]).to(self._device)
        return self._networks[name]

    @torch.no_grad()
    def features(self, rgb: Tensor) -> Tensor:
        """Compute Inception's features ``(B, FEATURES)`` of ``(B, 3, H, W)`` uint8, on the CPU.

        Raises:
            UserError: if the weights file is damaged or holds another network.
        """
        with torch.autocast(self._device.type, enabled=False):  # half precision would change the distances
            return self._network(INCEPTION)(rgb.to(self._device))[0].cpu()

    @torch.no_grad()
    def lpips(self, name: str, output: Tensor, target: Tensor) -> Tensor:
        """Compute LPIPS ``(B,)`` of pairs of images ``(B, 3, H, W)`` uint8, on the CPU.

        Raises:
            UserError: if the weights file is damaged or holds another network.
        """
        with torch.autocast(self._device.type, enabled=False):
            distances = self._network(name)(_signed(output.to(self._device)), _signed(target.to(self._device)))
        return distances.flatten().cpu()


class PerceptualScores:
    """FID, KID and LPIPS of outputs against their targets, for the networks whose weights are available.

    Nothing is downloaded: a network whose file is not in the folder is skipped and listed in ``missing``. Networks are
    built at the first ``update``. For FID and KID, images are resized to 299x299 as in torch-fidelity (TensorFlow 1's
    resizing); LPIPS (version 0.1) takes them at their size, at least 31x31.

    Args:
        weights_dir: folder of the weights files; by default torch.hub's.
        device: device of the networks.
    """

    def __init__(self, weights_dir: Path | str | None = None, device: torch.device | str = "cpu") -> None:
        self._networks = PerceptualNetworks(weights_dir, device)
        self._lpips: dict[str, list[Tensor]] = {name: [] for name in SOURCES if name != INCEPTION}
        self._outputs: list[Tensor] = []  # (B, FEATURES) each, like the next, on the CPU
        self._targets: list[Tensor] = []
        self._count = 0

    @property
    def missing(self) -> list[str]:
        """Return a line per reason why a metric is skipped; empty if none is."""
        lines = [line for reasons in self._networks.absent.values() for line in reasons]
        if self._count == 1 and INCEPTION not in self._networks.absent:
            lines.append(f"{INCEPTION}: need at least 2 images; got 1")
        return lines

    def update(self, output: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            output: ``(B, 3, H, W)`` uint8 RGB.
            target: the true images, same as ``output``.
        Raises:
            ValueError: if the two are not uint8 images of the same shape.
            UserError: if a weights file is damaged or holds another network.
        """
        check_rgb(output, target)
        for name in self._networks.present:
            if name == INCEPTION:
                self._outputs.append(self._networks.features(output))
                self._targets.append(self._networks.features(target))
            else:
                self._lpips[name].append(self._networks.lpips(name, output, target))
        self._count += len(output)

    def compute(self) -> dict[str, float]:
        """Compute the distances of all images so far.

        Returns:
            the available ones of ``fid``, ``kid``, ``kid_std`` (the standard error of ``kid``), ``lpips_alex``,
            ``lpips_vgg``; all 0 for identical images. KID is an unbiased estimate from all images at once, not from
            random subsets, so it may be negative when outputs and targets have the same distribution.
        """
        scores = {}
        if self._outputs and self._count > 1:
            outputs, targets = torch.cat(self._outputs), torch.cat(self._targets)
            scores["fid"] = frechet_distance(outputs, targets)
            scores["kid"], scores["kid_std"] = kernel_distance(outputs, targets)
        for name, values in self._lpips.items():
            if values:
                scores[name] = torch.cat(values).mean().item()
        return scores


def frechet_distance(outputs: Tensor, targets: Tensor) -> float:
    """Compute the Frechet distance of the Gaussians fitted to two sets of features (Heusel et al. 2017).

    The trace of the square root of the product of the covariances is computed as the sum of the singular values of the
    product of their factors, which is exact even for few images, whose covariances are singular.
    """
    outputs, targets = outputs.double(), targets.double()
    shift = (outputs.mean(0) - targets.mean(0)).square().sum()
    factor_o, factor_t = _covariance_factor(outputs), _covariance_factor(targets)
    overlap = torch.linalg.svdvals(factor_o @ factor_t.T).sum()
    distance = shift + factor_o.square().sum() + factor_t.square().sum() - 2 * overlap
    return distance.clamp(min=0).item()  # rounding may leave -1e-13


def _covariance_factor(features: Tensor) -> Tensor:
    """Return ``R`` ``(min(N, F), F)`` for features ``(N, F)``; ``R.T @ R`` is their sample covariance."""
    centered = (features - features.mean(0)) / (len(features) - 1) ** 0.5
    return torch.linalg.qr(centered, mode="r").R


def kernel_distance(outputs: Tensor, targets: Tensor) -> tuple[float, float]:
    """Compute the squared MMD of two sets of features with KID's kernel (Binkowski et al. 2018) and its standard error.

    Output i and target i show the same content, so the two sets are not independent: an estimate that includes
    ``k(x_i, y_i)`` is too low. The unbiased one is a mean over pairs of images (Gretton et al. 2012, Lemma 6):
    ``h_ij = k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(y_i, x_j)`` over all ``i != j``.

    The standard error is that of a U-statistic of order 2 (Hoeffding 1948): twice the standard deviation over ``i`` of
    the mean of ``h_ij`` over ``j``, divided by the root of the number of images. If both distributions are equal, it
    is up to 1.4 times too large.
    """
    outputs, targets = outputs.double(), targets.double()
    count = len(outputs)
    per_image = torch.empty(count, dtype=torch.float64)
    for start in range(0, count, KID_BLOCK):
        rows = slice(start, start + KID_BLOCK)
        x, y = outputs[rows], targets[rows]
        h = _kernel(x, outputs) + _kernel(y, targets) - _kernel(x, targets) - _kernel(y, outputs)
        h.diagonal(start).zero_()
        per_image[rows] = h.sum(1) / (count - 1)
    return per_image.mean().item(), (2 * per_image.std() / count**0.5).item()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3  # (len(x), len(y))


def _signed(images: Tensor) -> Tensor:
    return images.float() / (PEAK / 2) - 1  # [-1, 1]


def _build(name: str, path: Path) -> nn.Module:
    """Build a network in evaluation mode with the weights of a file."""
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
        return _inception(path) if name == INCEPTION else _lpips(name.removeprefix("lpips_"), weights)
    except (pickle.UnpicklingError, EOFError, KeyError, RuntimeError) as error:
        reason = (str(error).splitlines() or ["it is empty"])[0]
        raise UserError(
            f"{path} does not hold the weights for {name} ({reason}); get it from {SOURCES[name][1]}"
        ) from None


def _inception(path: Path) -> nn.Module:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # It unpickles the file without restriction, which is safe only because the caller has read it with weights_only.
    return FeatureExtractorInceptionV3("inception-v3-compat", [str(FEATURES)], feature_extractor_weights_path=str(path))


def _lpips(backbone: str, weights: dict[str, Tensor]) -> nn.Module:
    # The public class always downloads the backbone; this one builds it without weights if pnet_rand=True.
    from torchmetrics.functional.image.lpips import _NoTrainLpips

    network = _NoTrainLpips(net=backbone, pnet_rand=True)
    names = {name: "features." + name.partition(".")[2] for name in network.net.state_dict()}  # slice2.3.bias: 3.bias
    network.net.load_state_dict({name: weights[source] for name, source in names.items()})
    return network
