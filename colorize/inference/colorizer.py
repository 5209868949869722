"""Color pictures of any size: predict chroma at a small size, upsample it along edges, and keep the lightness."""

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from PIL import Image

from colorize.base.checks import at_least, one_of, within
from colorize.base.claims import MAX_SIDE
from colorize.base.errors import UserError
from colorize.base.machine import peak_resident, resident, return_freed_memory
from colorize.inference.painting import ArrayPicture, Chroma, PixelSource, blank, paint
from colorize.inference.predictor import Predictor, load_predictor
from colorize.inference.tiles import hat, mirrored, rounded_up, starts
from colorize.inference.tint import REMOVED, TINTS, untinted
from colorize.photos.memory import Limit
from colorize.photos.photo import Photo, photo_of
from colorize.srgb import AB_SCALE, L_SCALE, lightness
from colorize.weights import DEFAULT

FITS = ("pad", "stretch")
ENSEMBLES = ("none", "flip")
MAX_STRENGTH = 1.5
Picture = TypeVar("Picture")  # a Pillow image, an array or a tensor; the result has the type of the input


@dataclass(frozen=True)
class Options:
    """Options for coloring pictures.

    Attributes:
        strength: factor of the model's chroma, on top of the gain that it may have been exported with; 0 to 1.5.
        working_size: longer side of the network's input in pixels; None is the training size.
        fit: ``pad`` keeps the aspect ratio; ``stretch`` makes the picture square, as in training.
        ensemble: ``flip`` averages with the prediction for the mirrored picture; ``none`` does not.
        tint: how to treat the tint of toned prints, such as sepia: ``auto`` detects toned prints and removes their tint
            before the lightness is computed; ``keep`` never removes it; ``remove`` treats any picture as a toned print.
    Raises:
        UserError: if a value is out of range.
    """

    strength: float = 1.0
    working_size: int | None = None
    fit: str = "pad"
    ensemble: str = "none"
    tint: str = "auto"

    def __post_init__(self) -> None:
        within("strength", self.strength, 0, MAX_STRENGTH)
        within("working_size", self.working_size, 16, MAX_SIDE, whole=True, also=(None,))
        for name, choices in (("fit", FITS), ("ensemble", ENSEMBLES), ("tint", TINTS)):
            one_of(name, getattr(self, name), choices)


class Colorizer:
    """Colors pictures of any size and preserves their lightness.

    Args:
        predictor: see `colorize.inference.predictor`.
        batch_size: pictures per forward pass; permanently halved when memory runs out.
    Attributes:
        gain: factor of the chroma stored with the model; 1 unless it was exported with ``--calibrate``.
        most_pixels: largest network input in pixels; larger ones are predicted in tiles.
        caution: a line about why the model does not suit photographs; None if there is no known reason.
    """

    def __init__(self, predictor: Predictor, batch_size: int = 8) -> None:
        self.predictor = predictor
        self.batch_size = at_least("batch_size", batch_size, 1, whole=True)
        self.most_pixels: float = np.inf
        self.gain = float(predictor.about.get("gain", 1.0))
        self.caution = _caution(predictor.about)
        device = getattr(predictor, "device", None)
        self.on_cpu = device is None or device.type == "cpu"  # ONNX predictors name no device and count as on the CPU

    @classmethod
    def from_checkpoint(
        cls, checkpoint: str | Path = DEFAULT, device: str = "auto", precision: str = "32", batch_size: int = 8
    ) -> "Colorizer":
        """Load a checkpoint, an exported folder or its ``model.onnx``, or a name on the hub: see `load_predictor`.

        The default is the model that ships with the package.

        Raises:
            UserError: if it is missing, damaged or not a model of this project, or the device is not available.
        """
        colorizer = cls(load_predictor(checkpoint, device, precision), batch_size)
        if colorizer.caution:
            warnings.warn(f"checkpoint {checkpoint} {colorizer.caution}", stacklevel=2)
        return colorizer

    from_pretrained = from_checkpoint  # the name that is usual for models on the hub

    def colorize(
        self,
        image: Picture,
        *,
        strength: float = 1.0,
        working_size: int | None = None,
        fit: Literal["pad", "stretch"] = "pad",
        ensemble: Literal["none", "flip"] = "none",
        tint: Literal["auto", "keep", "remove"] = "auto",
    ) -> Picture:
        """Color a picture; the result has its size and type. Any colors that it already has are ignored.

        Args:
            image: a Pillow image of any mode; an array ``(H, W)`` or ``(H, W, 3)``; or a torch tensor ``(H, W)``,
                ``(1, H, W)`` or ``(3, H, W)``. Arrays and tensors: uint8, uint16, or floats in [0, 1].
            strength: factor of the model's chroma, 0 to 1.5.
            working_size: longer side of the network's input in pixels; None is the training size.
            fit: ``pad`` keeps the aspect ratio; ``stretch`` makes the picture square, as in training.
            ensemble: ``flip`` averages with the prediction for the mirrored picture.
            tint: treatment of toned prints, ``auto``, ``keep`` or ``remove``, see `Options`.
        Returns:
            A Pillow image ``RGB``, or ``RGBA`` if it is transparent; an array ``(H, W, 3)``; a tensor ``(3, H, W)``.
        Raises:
            UserError: if an option is out of range, or there is not enough memory.
            ValueError: if the image has another type, shape or range.
        """
        options = Options(strength, working_size, fit, ensemble, tint)
        return self._colorized([image], options)[0]

    def colorize_batch(
        self,
        images: Sequence[Picture],
        *,
        strength: float = 1.0,
        working_size: int | None = None,
        fit: Literal["pad", "stretch"] = "pad",
        ensemble: Literal["none", "flip"] = "none",
        tint: Literal["auto", "keep", "remove"] = "auto",
    ) -> list[Picture]:
        """Color several pictures, of any sizes and types; see `colorize`."""
        return self._colorized(images, Options(strength, working_size, fit, ensemble, tint))

    def _colorized(self, images: Sequence[Any], how: Options) -> list[Any]:
        taken = [_taken(image) for image in images]
        sources = [untinted(source, how.tint) for source, _, _ in taken]
        colored = []
        for (_, dtype, give), source, chroma in zip(taken, sources, self.predict(sources, how), strict=True):
            canvas = blank(source.size, dtype)
            paint(source, chroma, canvas)
            colored.append(give(canvas))
        return colored

    def colorize_photos(self, photos: Sequence[Photo], options: Options) -> Iterator[tuple[Image.Image, int]]:
        """Color photographs; yield each result and the number of its pixels that lost chroma to fit sRGB.

        The removal of a tint is added to the photograph's notes.
        """
        for photo, (source, chroma) in zip(photos, self.predict_photos(photos, options), strict=True):
            yield self.painted(photo, source, chroma)

    def predict_photos(self, photos: Sequence[Photo], options: Options) -> list[tuple[PixelSource, Chroma]]:
        """Return, for each photograph, the picture whose lightness is kept, and its predicted chroma."""
        sources = [untinted(photo, options.tint) for photo in photos]
        return list(zip(sources, self.predict(sources, options), strict=True))

    def painted(self, photo: Photo, source: PixelSource, chroma: Chroma) -> tuple[Image.Image, int]:
        """Paint a photograph from the results of `predict_photos`; return it and how many pixels lost chroma."""
        canvas = blank(photo.size)
        limited = paint(source, chroma, canvas)
        if source is not photo:
            photo.notes.append(REMOVED)
        return photo.finished(canvas), limited

    def predict(self, sources: Sequence[PixelSource], options: Options) -> list[Chroma]:
        """Predict the chroma of several pictures.

        Raises:
            UserError: if there is not enough memory even for tiles, or a prediction is not finite.
        """
        size = options.working_size or self.predictor.image_size
        smalls = [lightness(source.small(_working_size(source.size, size, options.fit))) for source in sources]
        alike = defaultdict(list)
        for index, L in enumerate(smalls):
            alike[rounded_up(L.shape, self.predictor.factor)].append(index)
        found: dict[int, Chroma] = {}
        for shape, indices in alike.items():
            canvases = np.stack([mirrored(smalls[index], shape) for index in indices])[:, None] / L_SCALE - 1
            predicted = self._predict(canvases)
            if options.ensemble == "flip":
                predicted = (predicted + self._predict(canvases[..., ::-1].copy())[..., ::-1]) / 2
            for index, ab in zip(indices, predicted, strict=True):
                L = smalls[index]
                top, left = ((full - own) // 2 for full, own in zip(shape, L.shape, strict=True))
                ab = ab[:, top : top + L.shape[0], left : left + L.shape[1]]
                found[index] = Chroma(L, ab * np.float32(options.strength * self.gain * AB_SCALE))
        return [found[index] for index in range(len(sources))]

    @cached_property
    def bytes_per_pixel(self) -> float:
        """Main memory per pixel of the network's input, measured by a trial prediction; 0 on a GPU.

        The trial is at the training size; attention, whose memory grows faster, takes more per pixel at larger sizes.
        """
        shape = rounded_up([self.predictor.image_size] * 2, self.predictor.factor)
        return_freed_memory()
        before = resident()
        filler = np.ones(max(0, peak_resident() - before), np.uint8)  # else the peak of loading would hide the trial's
        with suppress(Exception):  # an error will be raised again, and reported, for each picture
            self.predictor(np.zeros((1, 1, *shape), np.float32))
        taken = peak_resident() - before - len(filler)
        del filler
        return_freed_memory()
        return max(0, taken) / (shape[0] * shape[1]) if self.on_cpu else 0.0

    def fit_into(self, limit: Limit, options: Options) -> tuple[int, int]:
        """Switch to tiles for pictures for which the network would take more than half of the remaining memory.

        Returns:
            The bytes that the loaded model leaves free, and how many of them the network needs for one picture.
        Raises:
            UserError: if none are left.
        """
        each = self.bytes_per_pixel  # first, since some of the trial's memory may stay allocated
        room = limit.room()
        size = self.predictor.image_size
        tile, full = (
            each * np.prod(rounded_up([side] * 2, self.predictor.factor))
            for side in (size, options.working_size or size)
        )
        taken = min(full, max(room / 2, tile))
        self.most_pixels = taken / each if taken < full else np.inf
        return room, int(taken)

    def _predict(self, L: np.ndarray) -> np.ndarray:
        """Predict ab ``(B, 2, h, w)``, in parts if memory requires it."""
        size = self.batch_size  # a copy, since it may be halved during the recursion
        if len(L) > size:
            return np.concatenate([self._predict(L[start : start + size]) for start in range(0, len(L), size)])
        try:
            if L[0].size > self.most_pixels:
                raise MemoryError
            predicted = self.predictor(L)
        except MemoryError:
            if len(L) > 1:
                self.batch_size = len(L) // 2
                return self._predict(L)
            return self._tiled(L)
        if not np.isfinite(predicted).all():  # would be painted black
            raise UserError("the network's prediction is not finite: the weights are damaged, or need --precision 32")
        return predicted

    def _tiled(self, L: np.ndarray) -> np.ndarray:
        """Predict one picture in tiles of half its size, which overlap by half and are blended."""
        shape = L.shape[2:]
        tile = rounded_up([-(-side // 2) for side in shape], self.predictor.factor)
        if tile == shape or max(tile) < self.predictor.image_size:
            raise UserError(
                f"not enough memory to predict at {shape[1]}x{shape[0]}; use a smaller --working-size, "
                "more --memory, or --device cpu"
            )
        total, weights = np.zeros((1, 2, *shape), np.float32), np.zeros(shape, np.float32)
        fade = np.minimum.outer(*(hat(side) for side in tile))
        for top, left in product(*(starts(full, side) for full, side in zip(shape, tile, strict=True))):
            part = np.s_[top : top + tile[0], left : left + tile[1]]
            total[:, :, *part] += fade * self._predict(np.ascontiguousarray(L[:, :, *part]))
            weights[part] += fade
        return total / weights


def _taken(image: Any) -> tuple[PixelSource, Any, Callable[[Any], Any]]:
    """Return a picture as a `PixelSource`, the dtype for `blank`, and a function that converts the result back."""
    if isinstance(image, Image.Image):
        photo = photo_of(image)
        return photo, None, photo.finished
    if type(image).__module__.split(".")[0] == "torch":
        pixels = image.detach().cpu().numpy()
        source = ArrayPicture(np.moveaxis(pixels, 0, -1) if pixels.ndim == 3 else pixels)
        return source, pixels.dtype, lambda canvas: image.new_tensor(np.moveaxis(canvas, -1, 0))
    source = ArrayPicture(np.asarray(image))
    return source, source.pixels.dtype, lambda canvas: canvas


def _caution(about: Mapping[str, Any]) -> str | None:
    data = about.get("provenance", {}).get("config", {}).get("data", {}).get("name")
    if data == "scenes":
        return f"was trained on generated scenes; photographs are colored better by the checkpoint {DEFAULT}"
    return None


def _working_size(size: tuple[int, int], working: int, fit: str) -> tuple[int, int]:
    if fit == "stretch":
        return working, working
    return tuple(max(1, round(side * working / max(size))) for side in size)
