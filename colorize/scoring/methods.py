"""Methods to score: folders of pictures, models, and reference rows with known scores."""

import io
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from colorize.checkpoint import CONFIG, load_generator
from colorize.data.store import training_pictures
from colorize.inference import Colorizer, Options
from colorize.inference.manifest import digest_of_model
from colorize.inference.onnx import OnnxPredictor
from colorize.inference.painting import ArrayPicture, Chroma
from colorize.inference.pytorch import TorchPredictor, choose_device
from colorize.scoring import protocols
from colorize.scoring.matching import Matched
from colorize.scoring.pictures import Colored, Truth, joined, read_output, read_truth, short_digest
from colorize.srgb import join, lab
from colorize.upsampling import GuidedUpsampler
from colorize.weights import SHIPPED

STORES = Path("data/stores")
JPEG_QUALITY = 90


class Method(Protocol):
    """Interface of methods that colorize true pictures.

    Attributes:
        name: Name of the row.
        kind: ``folder``, ``model`` or ``reference``.
        gain: Factor that chroma is multiplied by.
    """

    name: str
    kind: str
    gain: float

    def has(self, image: str) -> bool:
        """Return whether the method has a picture of an image."""

    def digest(self, image: str) -> str:
        """Return a digest that changes when the output for an image changes."""

    def color(self, image: str, truth: Truth, predicted: Chroma | None) -> Colored:
        """Return the colors of an image; called in a worker thread.

        Args:
            image: Name of the image.
            truth: The true picture.
            predicted: Chroma predicted by a model; None for other methods.
        Raises:
            ImageError: If the picture is damaged.
            ValueError: If the picture cannot be compared.
        """

    def about(self) -> dict[str, Any]:
        """Return the metadata that a result records."""


class Folder:
    """A folder of pictures.

    Args:
        name: Name of the row.
        path: Path of the folder.
        matched: Pictures of the folder, matched with the truth.
        protocol: Protocol of the comparison.
    """

    kind, gain = "folder", 1.0

    def __init__(self, name: str, path: Path, matched: Matched, protocol: protocols.Protocol) -> None:
        self.name, self.path, self.matched, self.protocol = name, path, matched, protocol

    def has(self, image: str) -> bool:
        """See `Method`."""
        return image in self.matched.files

    def digest(self, image: str) -> str:
        """See `Method`."""
        return short_digest(self.matched.files[image])

    def color(self, image: str, truth: Truth, predicted: Chroma | None) -> Colored:
        """See `Method`."""
        return read_output(self.matched.files[image], truth, self.protocol)

    def about(self) -> dict[str, Any]:
        """See `Method`."""
        matched = self.matched
        doubled = {name: [path.name for path in paths] for name, paths in matched.doubled.items()}
        return {
            "folder": str(self.path), "gain": self.gain, "formats": formats(matched.files), "matched by": matched.by,
            "missing": matched.missing, "extra": matched.extra, "doubled": doubled, "left out": matched.notes,
        }  # fmt: skip


class Model:
    """A checkpoint, an exported folder or an ONNX file that colorizes the truth's L as ``colorize image`` does.

    Args:
        name: Name of the row.
        path: Model, see `colorize.inference.predictor.load_predictor`.
        protocol: Protocol of the comparison.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        stores: Folder of image stores that is searched for training pictures.
    Attributes:
        generator: Arguments of the generator.
        trained_on: Digests of the training pictures, see `colorize.data.decode.digest_of_picture`; None if unknown.
    """

    kind, gain = "model", 1.0

    def __init__(
        self, name: str, path: str, protocol: protocols.Protocol, device: str = "auto", stores: Path = STORES
    ) -> None:
        self.name, self.path, self.protocol = name, path, protocol
        if Path(path).suffix == ".onnx":
            predictor = OnnxPredictor(Path(path), device)
            self.generator = predictor.generator
        else:
            generator, model = load_generator(path)
            predictor = TorchPredictor(generator, model.image_size, choose_device(device), about=model.about)
            self.generator = model.generator
        self.colorizer = Colorizer(predictor)
        self._digest = digest_of_model(path)[:32]
        about = predictor.about
        own = about.get("provenance", {}).get("config", {}).get("data", {})
        folders = {stores, Path(own.get("store_dir", stores))}
        self.trained_on = training_pictures(about["trained_on"], folders) if about.get("trained_on") else None

    def has(self, image: str) -> bool:
        """See `Method`."""
        return True

    def digest(self, image: str) -> str:
        """See `Method`."""
        return self._digest

    def predict(self, truths: Sequence[Truth]) -> list[Chroma]:
        """Predict chroma from the lightness of true pictures."""
        pictures = [ArrayPicture(np.ascontiguousarray(truth.rgb.transpose(1, 2, 0))) for truth in truths]
        return self.colorizer.predict(pictures, Options(tint="keep"))

    def color(self, image: str, truth: Truth, predicted: Chroma | None) -> Colored:
        """See `Method`."""
        height, width = truth.size
        L = truth.lab[0]
        ab = GuidedUpsampler(predicted.L, predicted.ab, (width, height)).block((0, 0, width, height), L)
        if self.protocol.truth_L:
            return joined(truth, np.stack(ab))
        painted, limited = join(L, *ab, np.dtype(np.uint8))
        own = lab(painted)
        error = float(np.abs(own[0] - L).mean())
        return Colored(own[0], own[1:], np.ascontiguousarray(painted.transpose(2, 0, 1)), limited / L.size, error)

    def about(self) -> dict[str, Any]:
        """See `Method`."""
        return {
            "model": self.path, "digest": self._digest, "gain": self.gain * self.colorizer.gain,
            "sees": self.colorizer.predictor.image_size, "training images known": self.trained_on is not None,
        }  # fmt: skip


class Reference:
    """A reference row with known scores.

    Args:
        name: One of `REFERENCES`.
        files: True pictures, by name; the colors of another image are those of the next one.
        protocol: Protocol of the comparison.
    """

    kind, gain = "reference", 1.0

    def __init__(self, name: str, files: Mapping[str, Path], protocol: protocols.Protocol) -> None:
        self.name, self.protocol = name, protocol
        names = list(files)
        self._next = {image: files[names[(at + 1) % len(names)]] for at, image in enumerate(names)}

    def has(self, image: str) -> bool:
        """See `Method`."""
        return image in self._next

    def digest(self, image: str) -> str:
        """See `Method`."""
        return short_digest(self._next[image]) if self.name == ANOTHER else ""

    def color(self, image: str, truth: Truth, predicted: Chroma | None) -> Colored:
        """See `Method`."""
        if self.name == JPEG:
            return self._saved(truth)
        if self.name == ANOTHER:
            other = read_truth(self._next[image], self.protocol)
            rgb = protocols.resized(other.rgb.transpose(1, 2, 0), *truth.size)
            return joined(truth, lab(rgb.transpose(1, 2, 0))[1:])
        return joined(truth, truth.lab[1:] * np.float32(CHROMA[self.name]))

    def _saved(self, truth: Truth) -> Colored:
        saved = io.BytesIO()
        Image.fromarray(truth.rgb.transpose(1, 2, 0)).save(saved, "JPEG", quality=JPEG_QUALITY)
        rgb = np.asarray(Image.open(saved)).transpose(2, 0, 1)
        own = lab(rgb.transpose(1, 2, 0))
        error = float(np.abs(own[0] - truth.lab[0]).mean())
        if self.protocol.truth_L:
            return joined(truth, own[1:], error)
        return Colored(own[0], own[1:], np.ascontiguousarray(rgb), 0.0, error)

    def about(self) -> dict[str, Any]:
        """See `Method`."""
        return {}


GREY, TRUTH, ANOTHER, HALF, MORE, JPEG = (
    "grey", "truth", "another image's colors", "truth, chroma x0.5", "truth, chroma x1.5",
    f"truth, JPEG {JPEG_QUALITY}",
)  # fmt: skip
CHROMA = {GREY: 0.0, TRUTH: 1.0, HALF: 0.5, MORE: 1.5}  # factor of chroma
MATCHED = ", at the truth's CF"  # suffix of a row name
REFERENCES = GREY, TRUTH, HALF, MORE, JPEG, ANOTHER


def at_colorfulness(method: Method, gain: float) -> Method:
    """Return a copy of a method with its chroma multiplied by a gain, as a separate row."""
    other = copy(method)
    other.name, other.gain = f"{method.name}{MATCHED}", gain
    return other


def is_model(path: str) -> bool:
    """Return whether a path names a model rather than a folder of pictures."""
    folder = Path(path)
    return (
        folder.suffix in (".ckpt", ".onnx") or (folder / CONFIG).is_file() or (path in SHIPPED and not folder.is_dir())
    )


def formats(files: Mapping[str, Path]) -> dict[str, int]:
    """Count the file extensions."""
    counts: dict[str, int] = {}
    for path in files.values():
        ending = path.suffix.lower().lstrip(".")
        counts[ending] = counts.get(ending, 0) + 1
    return dict(sorted(counts.items()))
