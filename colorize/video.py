"""Colour videos frame by frame: chroma steadied over time, sound copied, the result written whole or not at all."""

import io
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from colorize.errors import UserError, missing_extra
from colorize.files import replacing
from colorize.inference import Colorizer, Options
from colorize.painting import ArrayPicture, Chroma, blank, paint

# By suffix: container, encoder, and the encoder of sound that the container cannot hold as it is
FORMATS = {
    ".mp4": ("mp4", "libx264", "aac"),
    ".m4v": ("ipod", "libx264", "aac"),  # mp4 under the brand that Apple's players ask for
    ".mov": ("mov", "libx264", "aac"),
    ".mkv": ("matroska", "libx264", "aac"),
    ".webm": ("webm", "libvpx-vp9", "libopus"),
}
# Near the point where no loss is seen; the scales of crf differ
ENCODERS = {"libx264": {"crf": "18"}, "libvpx-vp9": {"crf": "24", "b": "0", "row-mt": "1", "cpu-used": "4"}}
GATE = 3.0  # L*: at this change the past's weight falls to 61%; noise changes a small pixel by about 1, an edge by 10
STILL = 1.0  # L*: a smaller change is hardly seen, so the pixel counts as still
# 99% of pairs of unlike photographs pass both. A picture moved by 8% of its width passes the first and reaches 0.12
# in the second; a picture made 10% brighter passes the second and reaches 7.8 in the first.
CUT_CHANGE = 8.0  # L*, mean absolute change of the small pixels
CUT_HISTOGRAM = 0.15  # share of the small pixels that change the bin of L*'s histogram
BINS = 32  # of that histogram, 3.1 L* each
BREAK = 0.5  # seconds by which a whole file may end before its header says: streams differ in length by less
HD = 576  # rows; a video that does not name its matrix is taken for BT.709 above, for BT.601 up to this, as players do
UNNAMED, BT709, LIMITED = 2, 1, 1  # FFmpeg's numbers of matrices, and of the range 16 to 235
EXACT = 0x2 | 0x2000 | 0x40000  # swscale's bilinear, full_chroma_int, accurate_rnd: else colours are 2 of 255 off


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


class Smoother:
    """A causal running mean of small frames' chroma, and how much the chroma of still pixels flickers.

    The past weighs ``smoothing * exp(-(change of L*)**2 / (2 * GATE**2))``, pixel by pixel, and nothing at a cut.

    Args:
        smoothing: 0 (none) up to, but not including, 1; a still pixel is the mean of about 1 / (1 - smoothing) frames.
    Raises:
        UserError: if it is out of range.
    """

    def __init__(self, smoothing: float) -> None:
        if not 0 <= smoothing < 1:
            raise UserError(f"smoothing={smoothing} is out of range; use 0 up to, but not including, 1")
        self.smoothing, self.scenes = smoothing, 0
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
) -> VideoResult:
    """Colour a video: 8-bit H.264 or VP9 in BT.709, 4:2:0, or 4:4:4 where the size is odd.

    Size, times of frames, and sound stay; a turned video is made upright. Sound is copied, or encoded anew where the
    container cannot hold it. Memory holds ``colorizer.batch_size`` frames, and what the codecs keep.

    Args:
        source: any video that FFmpeg reads; of one that breaks off, what is there.
        target: .m4v, .mkv, .mov, .mp4 or .webm; replaced if it exists.
        colorizer: predicts the frames.
        options: see `Options`.
        smoothing: see `Smoother`.
        progress: called with the frames written and about how many there are, or None if that is not known.
    Raises:
        UserError: if PyAV is missing, the source cannot be read, the target cannot be written or is the source, or
            smoothing is out of range.
    """
    started, smoother, suffixes = time.monotonic(), Smoother(smoothing), ", ".join(sorted(FORMATS))
    if target.suffix.lower() not in FORMATS:
        raise UserError(f"{target}: cannot write {target.suffix or 'without a suffix'}; use one of {suffixes}")
    if source.exists() and target.exists() and source.samefile(target):
        raise UserError(f"{target} is the video itself, which is never overwritten; choose another name")
    with (reader := _Reader(source)).container:
        first = next(reader.frames(), None)
    if first is None:
        raise UserError(f"{source}: none of its frames can be decoded")
    written, limited = 0, 0
    try:
        with (reader := _Reader(source, first)).container, replacing(target) as temporary:
            height, width = reader.pixels(first).shape[:2]
            with (writer := _Writer(temporary, reader, width, height)).output:
                frames = reader.frames(writer.sound)
                while group := list(islice(frames, colorizer.batch_size)):
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
    except (_av().FFmpegError, OSError) as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from None
    if reader.length - (reader.end - reader.start) > BREAK:
        reader.notes.append(f"it breaks off: of about {reader.total} frames, {written} are there and coloured")
    if reader.damaged:
        reader.notes.append(f"left out: {reader.damaged} damaged packet(s)")
    seconds, share = time.monotonic() - started, limited / (written * width * height)
    return VideoResult(written, smoother.scenes, *smoother.flicker, seconds, share, reader.notes)


class _Reader:
    """A file's frames and sound, as far as it can be read; its ``first`` frame says how all are sized and turned."""

    def __init__(self, path: Path, first: Any = None) -> None:
        av = _av()
        self.path, self.first, self.notes, self.damaged, self.end = path, first, [], 0, 0.0
        try:  # "file:", because a name like a:b would be a protocol; replace, because old tags are not UTF-8
            self.container = av.open(f"file:{path}", metadata_errors="replace")
        except av.FFmpegError as error:
            raise UserError(f"{path}: {error.strerror}") from None
        covers = av.stream.Disposition.attached_pic  # of an album, in a file of sound
        films = [film for film in self.container.streams.video if not film.disposition & covers]
        if not films or films[0].codec_context is None:
            raise UserError(f"{path}: " + ("PyAV cannot decode its video" if films else "holds no video"))
        self.film, self.rate = films[0], films[0].average_rate or films[0].guessed_rate or 25
        times = self.container.start_time, self.container.duration
        self.start, self.length = ((value or 0) / av.time_base for value in times)  # seconds
        if "mov" not in self.container.format.name:  # there, edit lists hide frames
            self.length = max(self.length, float(self.film.frames / self.rate))
        self.total = self.film.frames or round(self.length * self.rate) or None

    def frames(self, sound: Callable[[Any], None] = lambda packet: None) -> Iterator[Any]:
        """Yield the decoded frames; hand packets of sound to ``sound``."""
        packets = self.container.demux()
        while (packet := self.tried(next, packets, None)) is not None:
            if packet.pts is not None:
                self.end = max(self.end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.size and packet.stream.type == "audio":
                sound(packet)
            elif packet.size and packet.stream is self.film:
                yield from self.tried(self.film.decode, packet) or ()
        yield from self.tried(self.film.decode, None) or ()

    def tried(self, function: Callable[..., Any], *args: Any) -> Any:
        """Do what fails where the file is damaged; then count that, and return None."""
        try:
            return function(*args)
        except (_av().FFmpegError, ValueError):  # ValueError: sound that changes its format
            self.damaged += 1

    def pixels(self, frame: Any) -> np.ndarray:
        """Return a frame upright, ``(H, W, 3)`` uint8, as large as the first."""
        matrix = ("ITU709" if frame.height > HD else "ITU601") if frame.colorspace == UNNAMED else None
        size, turn = (self.first.width, self.first.height), self.first.side_data.get("DISPLAYMATRIX")
        try:
            rgb = frame.reformat(*size, "rgb24", src_colorspace=matrix, interpolation=EXACT).to_ndarray()
        except _av().FFmpegError as error:
            raise UserError(f"{self.path}: cannot read {frame.format.name} pixels: {error.strerror}") from None
        a, b, _, c, d, *_ = (1, 0, 0, 0, 1) if turn is None else np.frombuffer(turn, np.int32)  # x, y: ax + cy, bx + dy
        if abs(b) + abs(c) > abs(a) + abs(d):  # the quarter turn or mirror image that it comes closest to
            rgb, a, d = rgb.swapaxes(0, 1), c, b
        return rgb[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


class _Writer:
    """The coloured video: frames encoded, sound copied, or encoded anew where the container cannot hold it."""

    def __init__(self, path: Path, reader: _Reader, width: int, height: int) -> None:
        av, suffix, left_out = _av(), path.suffix.lower(), Counter(stream.type for stream in reader.container.streams)
        container, codec, sound_codec = FORMATS[suffix]
        if codec not in av.codecs_available:
            raise UserError(f"{suffix} needs {codec}, which this PyAV lacks; use another of {', '.join(FORMATS)}")
        index = {"movflags": "+faststart"} if container in ("mp4", "ipod", "mov") else {}  # first, for the web
        self.output = av.open(f"file:{path}", "w", format=container, container_options=index)
        self.output.metadata.update(reader.container.metadata)
        self.film = self.output.add_stream(codec, rate=reader.rate, options=ENCODERS[codec])
        film = self.film.codec_context
        film.width, film.height, film.time_base = width, height, reader.film.time_base
        aspect = Fraction(reader.film.sample_aspect_ratio or 1)
        film.sample_aspect_ratio = aspect if width == reader.first.width else 1 / aspect
        film.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        film.color_range, film.colorspace, film.color_primaries, film.color_trc = LIMITED, BT709, BT709, BT709
        self.reader, self.last, self.free, self.sounds, self.heard = reader, -np.inf, 0, {}, Counter()
        for stream in reader.container.streams.audio:
            if copied := _holds(container, stream):
                out = self.output.add_stream_from_template(stream)
            elif stream.codec_context and sound_codec in av.codecs_available:
                out = self.output.add_stream(sound_codec, rate=48000, bit_rate=192_000)
                name = stream.codec_context.codec.canonical_name
                reader.notes.append(f"{suffix} cannot hold {name} sound: now {sound_codec}, stereo")
            else:
                continue
            out.metadata.update({key: stream.metadata[key] for key in {"language", "title"} & stream.metadata.keys()})
            self.sounds[stream.index] = out, copied
        left_out -= Counter(video=1, audio=len(self.sounds))
        reader.notes += [f"left out: {number} {kind} stream(s)" for kind, number in left_out.items()]
        self.output.start_encoding()

    def frame(self, pixels: np.ndarray, like: Any) -> None:
        """Write a frame at the time of another; after the last if that is unknown, or goes back as in joined films."""
        rgb, pix_fmt = _av().VideoFrame.from_ndarray(pixels, "rgb24"), self.film.codec_context.pix_fmt
        frame = rgb.reformat(format=pix_fmt, dst_colorspace="ITU709", dst_color_range="MPEG", interpolation=EXACT)
        frame.time_base = self.reader.film.time_base
        frame.duration = like.duration or max(1, round(1 / (self.reader.rate * frame.time_base)))
        behind = like.pts is None or like.pts <= self.last - frame.duration
        frame.pts = self.free if behind else max(like.pts, self.last + 1)
        self.last, self.free = frame.pts, frame.pts + frame.duration
        self.output.mux(self.film.encode(frame))

    def sound(self, packet: Any) -> None:
        """Write a packet of sound, if its stream is one that is kept."""
        out, copied = self.sounds.get(packet.stream.index, (None, None))
        if copied and packet.dts is not None:
            if packet.dts <= self.heard.get(out, -np.inf):
                packet.pts = packet.dts = self.heard[out] + max(1, packet.duration or 0)
            packet.stream, self.heard[out] = out, packet.dts
            self.reader.tried(self.output.mux, packet)
        elif out and not copied:
            for frame in self.reader.tried(packet.decode) or ():
                pts = max(self.heard[out], round((frame.time or 0) * frame.sample_rate))
                frame.pts, frame.time_base = pts, Fraction(1, frame.sample_rate)
                self.heard[out] = pts + frame.samples
                self.output.mux(self.reader.tried(out.encode, frame) or ())

    def finish(self) -> None:
        """Write what the encoders still hold."""
        for stream in (self.film, *(out for out, copied in self.sounds.values() if not copied)):
            self.output.mux(stream.encode(None))


def _holds(container: str, stream: Any) -> bool:
    """Tell by trying whether a container takes a stream as it is: some refuse only when their header is written."""
    try:
        with _av().open(io.BytesIO(), "w", format=container) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (_av().FFmpegError, ValueError):
        return False
    return True


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise UserError(missing_extra("coloring videos needs PyAV", "video")) from None
    return av
