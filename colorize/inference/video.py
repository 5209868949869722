"""Color videos frame by frame: chroma is smoothed over time, sound is copied, and the result is written atomically."""

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
STILL = 1.0  # L*: smaller changes are hardly visible, so the pixel counts as still
# Both must be exceeded, as by 99% of pairs of different photographs. A picture shifted by 8% of its width exceeds the
# first and reaches 0.12 in the second; a picture made 10% brighter exceeds the second and reaches 7.8 in the first.
CUT_CHANGE = 8.0  # L*, mean absolute change of the small pixels
CUT_HISTOGRAM = 0.15  # share of the small pixels that change the bin of L*'s histogram
CODECS = 220  # bytes a pixel for decoder and encoder together, measured at 1080p on 2 cores
FRAME = 12  # bytes a pixel for one frame, decoded and as RGB
BINS = 32  # bins of that histogram, 3.1 L* each


@dataclass(frozen=True)
class VideoResult:
    """The result of coloring a video; see `Smoother` for the definition of flicker."""

    frames: int  # number of frames written
    scenes: int  # number of scenes between cuts
    flicker: float  # of the written chroma, in Lab units a frame
    flicker_unsmoothed: float  # of the predicted chroma
    seconds: float  # wall-clock time
    limited_share: float  # share of all pixels that lost chroma to fit sRGB
    notes: list[str]  # what its owner should know, such as that subtitles are left out
    whole: bool  # whether the source has, by its metadata, no missing frames and no damaged packets


class Smoother:
    """A causal running mean of the chroma of small frames; also measures the flicker of still pixels.

    Per pixel, the past has the weight ``smoothing * exp(-(change of L*)**2 / (2 * GATE**2))``, and 0 at a cut.

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
        """Mean change of smoothed and unsmoothed ab over `STILL` pixels, in Lab units a frame; 0 if there are none."""
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
    """Detect a cut between two small frames: L* and its histogram both change, while motion changes L* only."""
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
    """Color a video; the result is 8-bit H.264 or VP9 in BT.709, 4:2:0, or 4:4:4 if the width or height is odd.

    Size, frame times and sound are kept; a rotated video is made upright. Sound is re-encoded if the container does
    not support its codec. At most ``colorizer.batch_size`` frames are in memory, besides those in the codecs.

    Args:
        source: any video that FFmpeg reads; a truncated one is colored as far as it can be read.
        target: .m4v, .mkv, .mov, .mp4 or .webm file; replaced if it exists.
        colorizer: predicts the frames.
        options: see `Options`.
        smoothing: see `Smoother`.
        progress: called with the number of frames written and the approximate total, or None if that is unknown.
        memory: memory limit of this process in bytes, see `colorize.inference.many.BulkColorizer`.
    Raises:
        UserError: if PyAV is missing, the source cannot be read, the target cannot be written or is the source,
            smoothing is out of range, or there is not enough memory.
    """
    started, smoother, suffixes = time.monotonic(), Smoother(smoothing), ", ".join(sorted(FORMATS))
    if target.suffix.lower() not in FORMATS:
        raise UserError(f"{target}: cannot write {target.suffix or 'a file without a suffix'}; use one of {suffixes}")
    if source.exists() and target.exists() and source.samefile(target):
        raise UserError(f"{target} is the source, which is never overwritten; choose another name")
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
        reader.notes.append(f"the video is truncated: {written} of about {written + missing} frames are colored")
    if reader.damaged:
        reader.notes.append(f"left out: {reader.damaged} damaged packet(s)")
    seconds, share = time.monotonic() - started, limited / (written * width * height)
    whole = not missing and not reader.damaged
    return VideoResult(written, smoother.scenes, *smoother.flicker, seconds, share, reader.notes, whole)


def _frames_at_once(source: Path, first: Any, colorizer: Colorizer, options: Options, limit: Limit) -> int:
    """Return how many frames fit into memory at once, at most the batch size."""
    room, network = colorizer.fit_into(limit, options)
    pixels = first.width * first.height
    each = FRAME * pixels + network
    together = (room - CODECS * pixels) // each
    if together < 1:
        needed = format_size(limit.size - room + CODECS * pixels + each)
        raise UserError(f"{source}: {first.width}x{first.height} frames need about {needed}, over {limit}; allow more")
    return min(together, colorizer.batch_size)
