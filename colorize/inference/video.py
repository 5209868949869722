"""Colour videos frame by frame: chroma steadied over time, sound copied, the result written whole or not at all."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from colorize.base.checks import within
from colorize.base.errors import UserError
from colorize.base.files import replacing
from colorize.inference.colorizer import Colorizer, Options
from colorize.inference.painting import ArrayPicture, Chroma, blank, paint
from colorize.inference.video_files import FORMATS, Reader, Writer, av_of
from colorize.photos.memory import Limit, format_size

GATE = 3.0  # L*: at this change the past's weight falls to 61%; noise changes a small pixel by about 1, an edge by 10
STILL = 1.0  # L*: a smaller change is hardly seen, so the pixel counts as still
# 99% of pairs of unlike photographs pass both. A picture moved by 8% of its width passes the first and reaches 0.12
# in the second; a picture made 10% brighter passes the second and reaches 7.8 in the first.
CUT_CHANGE = 8.0  # L*, mean absolute change of the small pixels
CUT_HISTOGRAM = 0.15  # share of the small pixels that change the bin of L*'s histogram
CODECS, FRAME = (
    220,
    12,
)  # bytes a pixel, at 1080p on 2 cores: of decoder and encoder; of a frame, decoded and as RGB
BINS = 32  # of that histogram, 3.1 L* each


@dataclass(frozen=True)
class VideoResult:
    """What became of a video; flicker as `Smoother` defines it."""

    frames: int  # written
    scenes: int  # between cuts
    flicker: float  # of the written chroma, Lab units a frame
    flicker_unsmoothed: float  # of the predicted chroma
    seconds: float  # that it took
    limited_share: float  # of all pixels, those that lost chroma to fit sRGB
    notes: list[str]  # what its owner should know, such as that subtitles are left out
    whole: bool  # the source, as far as its file tells: no frame is missing and nothing of it is damaged


class Smoother:
    """A causal running mean of small frames' chroma, and how much the chroma of still pixels flickers.

    The past weighs ``smoothing * exp(-(change of L*)**2 / (2 * GATE**2))``, pixel by pixel, and nothing at a cut.

    Args:
        smoothing: 0 (none) up to, but not including, 1; a still pixel is the mean of about 1 / (1 - smoothing) frames.
    Raises:
        UserError: if it is out of range.
    """

    def __init__(self, smoothing: float) -> None:
        self.smoothing, self.scenes = within("smoothing", smoothing, 0, 1, "[)"), 0
        self._last: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None  # L, smoothed ab, ab
        self._changes, self._pixels = np.zeros(2), 0

    @property
    def flicker(self) -> tuple[float, float]:
        """Mean change of ab, smoothed and not, in Lab units a frame, over the `STILL` pixels of scenes; 0 if none."""
        return tuple((self._changes / max(1, self._pixels)).tolist())

    def __call__(self, chroma: Chroma) -> Chroma:
        """Return the next frame with smoothed chroma."""
        L, ab, smooth = chroma.L, chroma.ab, chroma.ab
        if self._last is None or _is_cut(self._last[0], L):
            self.scenes += 1
        else:
            last_L, last_smooth, last_ab = self._last
            change = np.abs(L - last_L)
            smooth = ab + self.smoothing * np.exp(-((change / GATE) ** 2) / 2) * (last_smooth - ab)
            still = change < STILL
            steps = np.hypot(*(smooth - last_smooth)), np.hypot(*(ab - last_ab))
            self._changes += [step[still].sum(dtype=np.float64) for step in steps]
            self._pixels += int(still.sum())
        self._last = L, smooth, ab
        return Chroma(L, smooth)


def _is_cut(before: np.ndarray, after: np.ndarray) -> bool:
    """Tell by the L* of two small frames if a cut is between: pixels change, and their histogram, unlike in motion."""
    counts = [np.histogram(L, BINS, (0, 100))[0] for L in (before, after)]
    moved = np.abs(counts[0] - counts[1]).sum() / (2 * before.size)
    return bool(np.abs(after - before).mean() >= CUT_CHANGE and moved >= CUT_HISTOGRAM)


def colorize_video(
    source: Path,
    target: Path,
    colorizer: Colorizer,
    options: Options,
    smoothing: float = 0.8,
    progress: Callable[[int, int | None], None] | None = None,
    memory: int | None = None,
) -> VideoResult:
    """Colour a video: 8-bit H.264 or VP9 in BT.709, 4:2:0, or 4:4:4 where the size is odd.

    Size, times of frames, and sound stay; a turned video is made upright. Sound is copied, or encoded anew where the
    container cannot hold it. Memory holds ``colorizer.batch_size`` frames or fewer, and what the codecs keep.

    Args:
        source: any video that FFmpeg reads; of one that breaks off, what is there.
        target: .m4v, .mkv, .mov, .mp4 or .webm; replaced if it exists.
        colorizer: predicts the frames.
        options: see `Options`.
        smoothing: see `Smoother`.
        progress: called with the frames written and about how many there are, or None if that is not known.
        memory: bytes that this process is to stay below, as for `colorize.inference.many.BulkColorizer`.
    Raises:
        UserError: if PyAV is missing, the source cannot be read, the target cannot be written or is the source,
            smoothing is out of range, or memory is too little.
    """
    started, smoother, suffixes = time.monotonic(), Smoother(smoothing), ", ".join(sorted(FORMATS))
    if target.suffix.lower() not in FORMATS:
        raise UserError(f"{target}: cannot write {target.suffix or 'without a suffix'}; use one of {suffixes}")
    if source.exists() and target.exists() and source.samefile(target):
        raise UserError(f"{target} is the video itself, which is never overwritten; choose another name")
    with (reader := Reader(source)).container:
        first = next(reader.frames(), None)
    if first is None:
        raise UserError(f"{source}: none of its frames can be decoded")
    together = _frames_at_once(source, first, colorizer, options, Limit(memory))
    written, limited = 0, 0
    try:
        with (reader := Reader(source, first)).container, replacing(target) as temporary:
            height, width = reader.pixels(first).shape[:2]
            with (writer := Writer(temporary, reader, width, height)).output:
                frames = reader.frames(writer.sound)
                while group := list(islice(frames, together)):
                    pictures = [ArrayPicture(reader.pixels(frame)) for frame in group]
                    chromas = colorizer.predict(pictures, options)
                    for frame, picture, chroma in zip(group, pictures, chromas, strict=True):
                        canvas = blank(picture.size, np.uint8)
                        limited += paint(picture, smoother(chroma), canvas)
                        writer.frame(canvas, frame)
                        written += 1
                        if progress:
                            progress(written, reader.total)
                writer.finish()
            missing = reader.missing()
    except (av_of().FFmpegError, OSError) as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from None
    if missing:
        reader.notes.append(f"it breaks off: of about {written + missing} frames, {written} are there and coloured")
    if reader.damaged:
        reader.notes.append(f"left out: {reader.damaged} damaged packet(s)")
    seconds, share = time.monotonic() - started, limited / (written * width * height)
    whole = not missing and not reader.damaged
    return VideoResult(written, smoother.scenes, *smoother.flicker, seconds, share, reader.notes, whole)


def _frames_at_once(source: Path, first: Any, colorizer: Colorizer, options: Options, limit: Limit) -> int:
    """Return how many frames the network and the memory take together."""
    room, network = colorizer.fit_into(limit, options)
    pixels = first.width * first.height
    each = FRAME * pixels + network
    together = (room - CODECS * pixels) // each
    if together < 1:
        needed = format_size(limit.size - room + CODECS * pixels + each)
        raise UserError(f"{source}: {first.width}x{first.height} frames need about {needed}, over {limit}; allow more")
    return min(together, colorizer.batch_size)
