"""Read frames and sound of video files, even damaged ones, and write them to any supported container."""

import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from colorize.base.errors import UserError, missing_extra

# Suffix to container, video encoder, and audio encoder for sound that the container does not support
FORMATS = {
    ".mp4": ("mp4", "libx264", "aac"),
    ".m4v": ("ipod", "libx264", "aac"),  # mp4 with the brand that Apple's players expect
    ".mov": ("mov", "libx264", "aac"),
    ".mkv": ("matroska", "libx264", "aac"),
    ".webm": ("webm", "libvpx-vp9", "libopus"),
}
# Visually near-lossless; the two codecs have different crf scales
ENCODERS = {"libx264": {"crf": "18"}, "libvpx-vp9": {"crf": "24", "b": "0", "row-mt": "1", "cpu-used": "4"}}
BREAK = 0.5  # seconds by which the video may end before the file, whose length is that of the longest stream
HD = 576  # rows; as in players, a video without a matrix is decoded as BT.709 above this, else as BT.601
UNNAMED, BT709, LIMITED = 2, 1, 1  # FFmpeg's codes: unspecified matrix, BT.709, range 16 to 235
EXACT = 0x2 | 0x2000 | 0x40000  # swscale's bilinear, full_chroma_int, accurate_rnd; colors are else 2 of 255 off


class Reader:
    """Reads frames and sound of a file, skipping damaged parts.

    Args:
        path: path of the file.
        first: its first frame, whose size and rotation apply to all frames; needed by `pixels`.
    Raises:
        UserError: if the file cannot be opened or has no video.
    """

    def __init__(self, path: Path, first: Any = None) -> None:
        av = av_of()
        self.path, self.first, self.notes, self.damaged = path, first, [], 0
        self.shown, self.end = 0, None  # number of frames read, and the end of the latest in seconds
        try:  # "file:", because a name like a:b would be a protocol; "replace", because old tags are not UTF-8
            self.container = av.open(f"file:{path}", metadata_errors="replace")
        except av.FFmpegError as error:
            raise UserError(f"{path}: {error.strerror}") from None
        covers = av.stream.Disposition.attached_pic  # album covers in audio files
        films = [film for film in self.container.streams.video if not film.disposition & covers]
        if not films or films[0].codec_context is None:
            raise UserError(f"{path}: " + ("PyAV cannot decode its video" if films else "has no video"))
        self.film, self.rate = films[0], films[0].average_rate or films[0].guessed_rate or 25
        times = self.container.start_time, self.container.duration
        self.start, self.length = ((value or 0) / av.time_base for value in times)  # seconds
        if "mov" not in self.container.format.name:  # not for mov and mp4, where edit lists hide frames
            self.length = max(self.length, float(self.film.frames / self.rate))
        self.total = self.film.frames or round(self.length * self.rate) or None

    def frames(self, sound: Callable[[Any], None] = lambda packet: None) -> Iterator[Any]:
        """Yield the decoded frames; call ``sound`` with the packets of sound."""
        packets = self.container.demux()
        while (packet := self.tried(next, packets, None)) is not None:
            if packet.size and packet.stream.type == "audio":
                sound(packet)
            elif packet.size and packet.stream is self.film:
                yield from self._counted(self.tried(self.film.decode, packet))
        yield from self._counted(self.tried(self.film.decode, None))

    def _counted(self, frames: Iterable[Any] | None) -> Iterator[Any]:
        for frame in frames or ():
            self.shown += 1
            if frame.pts is not None:
                end = (frame.pts + (frame.duration or 0)) * self.film.time_base + (
                    0 if frame.duration else 1 / self.rate
                )
                self.end = max(self.end or 0, float(end))
            yield frame

    def missing(self) -> int:
        """Return, after the last frame, about how many frames fewer there were than the file's metadata says."""
        tag = re.fullmatch(r"(\d+):(\d+):(\d+\.\d+)", self.film.metadata.get("DURATION", ""))  # in Matroska
        if self.end is None:
            return 0
        if tag:
            hours, minutes, seconds = map(float, tag.groups())
            gap, least = 3600 * hours + 60 * minutes + seconds - self.end, 0.6 / self.rate
        elif self.film.duration and "mov" in self.container.format.name:
            gap = float(((self.film.start_time or 0) + self.film.duration) * self.film.time_base) - self.end
            least = 0.6 / self.rate
        else:
            gap, least = self.length - (self.end - self.start), BREAK
        return max(round(gap * self.rate), self.film.frames - self.shown) if gap > least else 0

    def tried(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function; if it fails because the file is damaged, count that and return None."""
        try:
            return function(*args)
        except (av_of().FFmpegError, ValueError):  # ValueError: the format of the sound changes
            self.damaged += 1

    def pixels(self, frame: Any) -> np.ndarray:
        """Convert a frame to upright RGB, ``(H, W, 3)`` uint8, at the size of the first frame."""
        matrix = ("ITU709" if frame.height > HD else "ITU601") if frame.colorspace == UNNAMED else None
        size, turn = (self.first.width, self.first.height), self.first.side_data.get("DISPLAYMATRIX")
        try:
            rgb = frame.reformat(*size, "rgb24", src_colorspace=matrix, interpolation=EXACT).to_ndarray()
        except av_of().FFmpegError as error:
            raise UserError(f"{self.path}: cannot read {frame.format.name} pixels: {error.strerror}") from None
        a, b, _, c, d, *_ = (1, 0, 0, 0, 1) if turn is None else np.frombuffer(turn, np.int32)  # x, y: ax + cy, bx + dy
        if abs(b) + abs(c) > abs(a) + abs(d):  # rounded to quarter turns and mirroring
            rgb, a, d = rgb.swapaxes(0, 1), c, b
        return rgb[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


class Writer:
    """Writes the colored video: encodes frames, and copies sound or re-encodes it if the container requires that."""

    def __init__(self, path: Path, reader: Reader, width: int, height: int) -> None:
        av, suffix, left_out = av_of(), path.suffix.lower(), Counter(stream.type for stream in reader.container.streams)
        container, codec, sound_codec = FORMATS[suffix]
        if codec not in av.codecs_available:
            raise UserError(f"{suffix} needs {codec}, which this PyAV lacks; use another of {', '.join(FORMATS)}")
        index = {"movflags": "+faststart"} if container in ("mp4", "ipod", "mov") else {}  # for streaming
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
            if copied := _accepts(container, stream):
                out = self.output.add_stream_from_template(stream)
            elif stream.codec_context and sound_codec in av.codecs_available:
                out = self.output.add_stream(sound_codec, rate=48000, bit_rate=192_000)
                name = stream.codec_context.codec.canonical_name
                reader.notes.append(f"{suffix} does not support {name} sound: re-encoded as {sound_codec}, stereo")
            else:
                continue
            out.metadata.update({key: stream.metadata[key] for key in {"language", "title"} & stream.metadata.keys()})
            self.sounds[stream.index] = out, copied
        left_out -= Counter(video=1, audio=len(self.sounds))
        reader.notes += [f"left out: {number} {kind} stream(s)" for kind, number in left_out.items()]
        self.output.start_encoding()

    def frame(self, pixels: np.ndarray, like: Any) -> None:
        """Write a frame with the time of ``like``, or after the last frame if that time is missing or goes back."""
        rgb, pix_fmt = av_of().VideoFrame.from_ndarray(pixels, "rgb24"), self.film.codec_context.pix_fmt
        frame = rgb.reformat(format=pix_fmt, dst_colorspace="ITU709", dst_color_range="MPEG", interpolation=EXACT)
        frame.time_base = self.reader.film.time_base
        frame.duration = like.duration or max(1, round(1 / (self.reader.rate * frame.time_base)))
        behind = like.pts is None or like.pts <= self.last - frame.duration
        frame.pts = self.free if behind else max(like.pts, self.last + 1)
        self.last, self.free = frame.pts, frame.pts + frame.duration
        self.output.mux(self.film.encode(frame))

    def sound(self, packet: Any) -> None:
        """Write a packet of sound, if its stream is kept."""
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
        """Flush the encoders."""
        for stream in (self.film, *(out for out, copied in self.sounds.values() if not copied)):
            self.output.mux(stream.encode(None))


def _accepts(container: str, stream: Any) -> bool:
    """Test whether a container accepts a stream without re-encoding; some refuse only when the header is written."""
    try:
        with av_of().open(io.BytesIO(), "w", format=container) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (av_of().FFmpegError, ValueError):
        return False
    return True


def av_of() -> Any:
    """Import PyAV.

    Raises:
        UserError: if it is missing.
    """
    try:
        import av
    except ImportError:
        raise UserError(missing_extra("coloring videos needs PyAV", "video")) from None
    return av
