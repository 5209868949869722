"""Colorizing videos: what is kept, what is smoothed, and messages about unreadable files."""

import sys
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from skimage.color import rgb2lab
from typer.testing import CliRunner

from colorize.base.errors import UserError, missing_extra
from colorize.cli import app
from colorize.inference import Colorizer, Options
from colorize.inference.painting import Chroma
from colorize.inference.video import Smoother, colorize_video
from tests.conftest import colorful_image

av = pytest.importorskip("av")


class Constant:
    """Paints everything in one color, given as normalized ab."""

    image_size, factor, about = 32, 8, MappingProxyType({})

    def __init__(self, a: float = 0.1, b: float = 0.1) -> None:
        self.ab, self.seen = (a, b), []

    def __call__(self, L: np.ndarray) -> np.ndarray:
        self.seen.append(len(L))
        return np.stack([self.one(picture) for picture in L])

    def one(self, L: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.float32(self.ab)[:, None, None], (2, *L.shape[1:]))


class Flickering(Constant):
    """Changes its mind with every frame: a is 11 more or less in Lab units."""

    count = 0

    def one(self, L: np.ndarray) -> np.ndarray:
        self.count += 1
        return super().one(L) + np.float32([0.05 * (-1) ** self.count, 0])[:, None, None]


class ByLightness(Constant):
    """Paints dark frames red and bright ones blue."""

    def one(self, L: np.ndarray) -> np.ndarray:
        return (0.3 if L.mean() < 0 else -0.3) * np.stack([np.ones_like(L[0])] * 2)


def greys(count: int = 12, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Return grey pictures of one scene, in which something moves; between 70 and 180, where the gamut is wide."""
    still = np.asarray(colorful_image(0, width, height).convert("L"), np.float32) * (90 / 255) + 70
    films = []
    for number in range(count):
        grey = still.copy()
        grey[4:12, 2 * number : 2 * number + 8] = 180
        films.append(np.repeat(grey.round().astype(np.uint8)[..., None], 3, axis=2))
    return films


def record(path: Path, pictures=None, *, times=None, sound=None, turn=None, codec="libx264", tags=(), **more) -> Path:
    """Write a video almost without loss: ``times`` in milliseconds, ``turn`` as `set_display_rotation` takes it."""
    pictures = greys() if pictures is None else pictures
    times = times or [40 * number for number in range(len(pictures))]
    with av.open(str(path), "w", container_options=more) as output:
        options = {"crf": "4", "bf": "2", "g": "5"} if codec == "libx264" else {}
        film = output.add_stream(codec, rate=25, options=options)
        film.height, film.width = pictures[0].shape[:2]
        odd = film.height % 2 or film.width % 2
        film.pix_fmt = "yuv444p" if odd else "yuv420p"
        film.codec_context.time_base = Fraction(1, 1000)
        for name, value in tags:
            setattr(film.codec_context, name, value)
        if turn:
            film.set_display_rotation(*turn)
        track = output.add_stream(sound, rate=48000) if sound else None
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            if tags:
                frame = frame.reformat(format=film.pix_fmt, dst_colorspace=1, dst_color_range=2)
            frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            output.mux(film.encode(frame))
            if track:
                output.mux(track.encode(noise(number)))
        for stream in filter(None, (film, track)):
            output.mux(stream.encode(None))
    return path


def noise(number: int, samples: int = 1920) -> "av.AudioFrame":
    values = np.random.default_rng(number).normal(0, 0.1, (2, samples)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(values, "fltp", "stereo")
    frame.sample_rate, frame.pts, frame.time_base = 48000, number * samples, Fraction(1, 48000)
    return frame


def color(source: Path, target: Path, predictor=None, batch_size: int = 4, **options):
    return colorize_video(source, target, Colorizer(predictor or Constant(), batch_size), Options(), **options)


def pictures_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def packets_of(path: Path, kind: str) -> list[tuple[float, float, bytes]]:
    """Return time, duration and contents of the packets of a file's first stream of a kind, in the order of times."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(**{kind: 0}) if packet.size]
        seconds = [
            (float(packet.pts * packet.time_base), float(packet.duration * packet.time_base)) for packet in packets
        ]
        return sorted((*times, bytes(packet)) for times, packet in zip(seconds, packets, strict=True))


@pytest.mark.parametrize(
    ("suffix", "unit"), [(".mp4", 1e-9), (".mov", 1e-9), (".m4v", 1e-9), (".mkv", 1e-3), (".webm", 1e-3)]
)
def test_frames_keep_their_number_size_and_uneven_times(tmp_path, suffix, unit) -> None:
    times = [0, 40, 90, 100, 230, 270, 310, 380, 400, 470, 480, 600]
    source, target = record(tmp_path / "x.mp4", times=times), tmp_path / f"y{suffix}"
    result = color(source, target)
    assert result.frames == 12
    assert [picture.shape for picture in pictures_of(target)] == [(48, 64, 3)] * 12
    found = [time for time, _, _ in packets_of(target, "video")]
    assert np.abs(np.array(found) - np.array(times) / 1000).max() <= unit


def test_where_recordings_were_joined_times_go_on(tmp_path) -> None:
    one = record(tmp_path / "one.ts", sound="aac")
    (tmp_path / "x.ts").write_bytes(one.read_bytes() * 2)
    assert color(tmp_path / "x.ts", tmp_path / "y.mp4").notes == []
    times, heard = ([time for time, _, _ in packets_of(tmp_path / "y.mp4", kind)] for kind in ("video", "audio"))
    assert np.allclose(np.diff(times), 0.04, atol=1e-4) and len(times) == 24
    assert len(heard) == 2 * len(packets_of(one, "audio")) and np.diff(heard).max() < 0.03


def test_the_duration_stays(tmp_path) -> None:
    source = record(tmp_path / "x.mp4")
    color(source, tmp_path / "y.mp4")
    with av.open(str(source)) as before, av.open(str(tmp_path / "y.mp4")) as after:
        assert after.duration == before.duration


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_odd_sizes_stay(tmp_path, suffix) -> None:
    color(record(tmp_path / "x.mp4", greys(3, 33, 27)), tmp_path / f"y{suffix}")
    assert [picture.shape for picture in pictures_of(tmp_path / f"y{suffix}")] == [(27, 33, 3)] * 3


def test_pixels_that_are_not_square_stay_so(tmp_path) -> None:
    source = record(tmp_path / "x.mp4", tags=[("sample_aspect_ratio", Fraction(16, 15))])
    color(source, tmp_path / "y.mp4")
    with av.open(str(tmp_path / "y.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 15)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_is_copied_byte_for_byte(tmp_path, suffix) -> None:
    source = record(tmp_path / f"x{suffix}", sound="aac")
    result = color(source, tmp_path / f"y{suffix}")
    assert packets_of(tmp_path / f"y{suffix}", "audio") == packets_of(source, "audio")
    assert result.notes == []


@pytest.mark.parametrize(("source", "target", "codec"), [("x.mp4", "y.webm", "opus"), ("x.avi", "y.m4v", "aac")])
def test_sound_that_the_container_cannot_hold_is_encoded_anew(tmp_path, source, target, codec) -> None:
    kind = {"x.mp4": {"sound": "aac"}, "x.avi": {"sound": "libmp3lame", "codec": "mpeg4"}}[source]
    result = color(record(tmp_path / source, **kind), tmp_path / target)
    assert len(result.notes) == 1 and f"{Path(target).suffix} does not support" in result.notes[0]
    with av.open(str(tmp_path / target)) as container:
        assert container.streams.audio[0].codec_context.codec.canonical_name == codec
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert abs(len(heard) / 48000 - 12 * 0.04) < 0.1
    assert 0.05 < heard[4800:-4800].std() < 0.2  # of noise of 0.1


def test_subtitles_are_left_out_and_that_is_said(tmp_path) -> None:
    with av.open(str(tmp_path / "x.mkv"), "w") as output:
        film, titles = (
            output.add_stream("libx264", rate=25),
            output.add_mux_stream("subrip", time_base=Fraction(1, 1000)),
        )
        film.width, film.height = 64, 48
        for number, picture in enumerate(greys(3)):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts = number
            output.mux(film.encode(frame))
        output.mux(film.encode(None))
        line = av.Packet(b"hello")
        line.stream, line.pts, line.dts, line.duration, line.time_base = titles, 0, 0, 50, Fraction(1, 1000)
        output.mux(line)
    assert color(tmp_path / "x.mkv", tmp_path / "y.mkv").notes == ["left out: 1 subtitle stream(s)"]


@pytest.mark.parametrize("tags", [(), [("color_range", 2), ("colorspace", 1)]], ids=["limited", "full"])
def test_lightness_stays_and_color_comes(tmp_path, tags) -> None:
    color(record(tmp_path / "x.mp4", tags=tags), tmp_path / "y.mp4")
    for grey, colored in zip(greys(), pictures_of(tmp_path / "y.mp4"), strict=True):
        before, after = rgb2lab(grey), rgb2lab(colored)
        assert np.abs(after[..., 0] - before[..., 0]).mean() < 0.7
        assert np.abs(after[8:-8, 8:-8, 0] - before[8:-8, 8:-8, 0]).max() < 6
        assert np.abs(after[..., 1:].mean(axis=(0, 1)) - 11).max() < 1.5  # 0.1 * 110


def test_the_result_says_how_its_colors_are_meant(tmp_path) -> None:
    color(record(tmp_path / "x.mp4"), tmp_path / "y.mp4")
    with av.open(str(tmp_path / "y.mp4")) as container:
        found = container.streams.video[0].codec_context
        assert (found.colorspace, found.color_primaries, found.color_trc, found.color_range) == (1, 1, 1, 1)


@pytest.mark.skipif(
    not hasattr(av.VideoStream, "set_display_rotation"), reason="PyAV before 18 writes no turned videos"
)
@pytest.mark.parametrize("turn", [(90,), (180,), (-90,), (0, True), (90, True)])
def test_turned_videos_are_made_upright(tmp_path, turn) -> None:
    quarters = np.uint8([[60, 100], [140, 180]]).repeat(24, axis=0).repeat(32, axis=1)
    pictures = [np.repeat(quarters[..., None], 3, axis=2)] * 2
    source = record(tmp_path / "x.mp4", pictures, turn=turn)
    color(source, tmp_path / "y.mp4", Constant(0, 0))
    # A display matrix turns counter-clockwise, then mirrors
    upright = np.rot90(pictures[0], turn[0] // 90)
    upright = upright[:, ::-1] if turn[1:] == (True,) else upright
    colored = pictures_of(tmp_path / "y.mp4")[0]
    assert colored.shape == upright.shape
    assert np.abs(colored.astype(int) - upright).mean() < 3
    with av.open(str(tmp_path / "y.mp4")) as container:
        assert next(container.decode(video=0)).rotation == 0


def lab_film(*frames: tuple[float, float, float]) -> list[Chroma]:
    """Return small uniform frames of the given L, a and b."""
    return [
        Chroma(np.full((4, 6), L, np.float32), np.full((2, 4, 6), [[[a]], [[b]]], np.float32)) for L, a, b in frames
    ]


def test_flicker_is_the_mean_change_of_still_pixels() -> None:
    first, second, third = lab_film((50, 0, 0), (50, 3, 4), (50, 3, 10))
    second.L[:, :3] = 60  # half of the pixels change, so only the others count: a change of 5
    third.L[:, :3] = 60  # and then all of 6
    smoother = Smoother(0.5)
    for chroma in (first, second, third):
        smoother(chroma)
    assert smoother.flicker[1] == pytest.approx((12 * 5 + 24 * 6) / 36)
    # Half of the past: still pixels go from (0, 0) to (1.5, 2) to (2.25, 6); the others, which hardly remember
    # (0.5 * exp(-(10 / 3)**2 / 2) = 0.0019), from (2.994, 3.992) to half way to (3, 10)
    past = 0.5 * np.exp(-((10 / 3) ** 2) / 2)
    moved = np.array([3, 4]) * (1 - past)
    steps = [12 * 2.5, 12 * np.hypot(0.75, 4), 12 * np.hypot(*((np.array([3, 10]) - moved) / 2))]
    assert smoother.flicker[0] == pytest.approx(sum(steps) / 36)


@pytest.mark.parametrize("change", [0, 1.5, 3, 6])  # 8 would be a cut
def test_the_past_weighs_less_where_lightness_changes(change) -> None:
    smoother = Smoother(0.8)
    first, second = lab_film((50, 20, -10), (50 + change, 0, 0))
    smoother(first)
    weight = 0.8 * np.exp(-(change**2) / (2 * 3.0**2))
    assert np.allclose(smoother(second).ab, weight * np.array([20, -10])[:, None, None], atol=1e-5)


def test_motion_is_no_cut_and_another_picture_is() -> None:
    rng, smoother = np.random.default_rng(0), Smoother(0.8)
    a, b = (rng.uniform(*span, (60, 80)).astype(np.float32) for span in ((20, 60), (40, 90)))  # every pixel changes
    for L in (a[:48, :64], a[4:52, 3:67], a[8:56, 6:70], b[:48, :64], b[2:50, 2:66]):
        smoother(Chroma(L, np.zeros((2, 48, 64), np.float32)))
    assert smoother.scenes == 2


def test_no_color_of_the_scene_before_is_left_after_a_cut(tmp_path) -> None:
    dark, bright = (np.full((48, 64, 3), level, np.uint8) for level in (80, 150))
    dark[8:32, 8:32] = bright[8:32, 8:32] = 115  # where lightness stays, only the cut can tell
    source = record(tmp_path / "x.mp4", [dark] * 6 + [bright] * 6)
    result = color(source, tmp_path / "y.mp4", ByLightness(), smoothing=0.95)
    assert result.scenes == 2
    found = [rgb2lab(picture)[12:28, 12:28, 1:].mean() for picture in pictures_of(tmp_path / "y.mp4")]
    assert min(found[:6]) > 15 and max(found[6:]) < -15


def test_smoothing_lowers_the_flicker_of_the_written_colors(tmp_path) -> None:
    source, written = record(tmp_path / "x.mp4", [greys()[0]] * 12), {}
    for smoothing in (0, 0.8):
        result = color(source, tmp_path / "y.mp4", Flickering(), smoothing=smoothing)
        seen = [rgb2lab(picture)[..., 1].mean() for picture in pictures_of(tmp_path / "y.mp4")]
        written[smoothing] = np.abs(np.diff(seen)).mean()
        means = [5.5]  # 0.1 * 110 / 2, and its sign changes
        for number in range(1, 12):
            means.append(smoothing * means[-1] + (1 - smoothing) * 5.5 * (-1) ** number)
        assert result.flicker == pytest.approx(np.abs(np.diff(means)).mean(), rel=0.02)
        assert result.flicker_unsmoothed == pytest.approx(11, rel=0.001)
    assert written[0] > 10 and written[0.8] < 2


def test_the_share_of_limited_pixels_is_counted(tmp_path) -> None:
    source = record(tmp_path / "x.mp4", [np.repeat(np.full((48, 64, 1), 20, np.uint8), 3, axis=2)] * 3)
    assert color(source, tmp_path / "y.mp4", Constant(0, 0)).limited_share == 0
    assert color(source, tmp_path / "y.mp4", Constant(0, 0.9)).limited_share == 1


def test_frames_go_in_batches_and_progress_is_told(tmp_path) -> None:
    predictor, told = Constant(), []
    color(record(tmp_path / "x.mp4"), tmp_path / "y.mp4", predictor, 5, progress=lambda *done: told.append(done))
    assert predictor.seen == [1, 5, 5, 2]  # the first is the trial of what the network takes
    assert told == [(number, 12) for number in range(1, 13)]


def test_a_video_that_breaks_off_is_colored_up_to_there(tmp_path) -> None:
    for name, more in (("x.mp4", {"movflags": "+faststart"}), ("x.mkv", {})):
        source = record(tmp_path / name, greys(30), **more)
        source.write_bytes(source.read_bytes()[: source.stat().st_size * 6 // 10])
        result = color(source, tmp_path / "y.mp4")
        assert 5 < result.frames < 25
        assert len(pictures_of(tmp_path / "y.mp4")) == result.frames
        assert f"the video is truncated: {result.frames} of about 30 frames are colored" in result.notes


@pytest.mark.parametrize("sound", [None, "aac"])
@pytest.mark.parametrize("cut", [0.9, 0.95])
@pytest.mark.parametrize(("name", "more"), [("x.mp4", {"movflags": "+faststart"}), ("x.mkv", {})])
def test_a_video_that_lacks_its_last_frames_says_so(tmp_path, name, more, cut, sound) -> None:
    source = record(tmp_path / name, greys(60), sound=sound, **more)
    assert (whole := color(source, tmp_path / "y.mp4")).whole and not whole.notes
    source.write_bytes(source.read_bytes()[: int(source.stat().st_size * cut)])
    result = color(source, tmp_path / "y.mp4")
    assert result.frames < 60 and not result.whole
    assert result.notes[0] == f"the video is truncated: {result.frames} of about 60 frames are colored"


def test_the_status_of_a_video_that_lacks_frames_is_1(tmp_path, checkpoint) -> None:
    source = record(tmp_path / "x.mkv", greys(60))
    arguments = ["video", str(source), "-o", str(tmp_path / "y.mp4"), "--checkpoint", str(checkpoint), "--overwrite"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 9 // 10])
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1 and f"{source}: the video is truncated: " in result.stderr


def test_damage_in_the_middle_is_passed_over(tmp_path) -> None:
    source = record(tmp_path / "x.mkv", greys(30))
    contents = bytearray(source.read_bytes())
    contents[len(contents) // 2 : len(contents) // 2 + 60] = bytes(60)
    source.write_bytes(contents)
    assert color(source, tmp_path / "y.mp4").frames >= 20


def test_the_source_is_never_overwritten(tmp_path) -> None:
    source = record(tmp_path / "x.mp4")
    before = source.read_bytes()
    (tmp_path / "link.mp4").symlink_to(source)
    for target in (source, tmp_path / "link.mp4", tmp_path / "." / "x.mp4"):
        with pytest.raises(UserError, match="is the source, which is never"):
            color(source, target)
    assert source.read_bytes() == before


def test_a_failure_leaves_what_was_there(tmp_path) -> None:
    class Failing(Flickering):
        def one(self, L: np.ndarray) -> np.ndarray:
            if self.count == 6:
                raise RuntimeError("no more")
            return super().one(L)

    source, target = record(tmp_path / "x.mp4"), tmp_path / "y.mp4"
    target.write_text("of old")
    with pytest.raises(RuntimeError, match="no more"):
        color(source, target, Failing())
    assert target.read_text() == "of old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.mp4", "y.mp4"]


def test_a_target_that_cannot_be_written_is_named(tmp_path) -> None:
    source = record(tmp_path / "x.mp4")
    with pytest.raises(UserError, match=r"x\.mp4/y\.mp4: cannot be written: "):
        color(source, source / "y.mp4")


def test_files_that_are_no_videos_are_named_with_the_reason(tmp_path) -> None:
    (tmp_path / "damaged.mp4").write_bytes(record(tmp_path / "x.mp4").read_bytes()[:300])
    (tmp_path / "text.mp4").write_text("no video")
    with av.open(str(tmp_path / "sound.m4a"), "w", format="mp4") as output:
        track = output.add_stream("aac", rate=48000)
        output.mux([*track.encode(noise(0)), *track.encode(None)])
    for name, reason in (
        ("damaged.mp4", "Invalid data"),
        ("text.mp4", "Invalid data"),
        ("missing.mp4", "No such file"),
        ("sound.m4a", "has no video"),
    ):
        with pytest.raises(UserError) as raised:
            color(tmp_path / name, tmp_path / "y.mp4")
        message = str(raised.value)
        assert message.startswith(f"{tmp_path / name}: {reason}") and len(message.splitlines()) == 1
    assert not (tmp_path / "y.mp4").exists()


@pytest.mark.parametrize("name", ["y.gif", "y"])
def test_an_unknown_suffix_names_those_that_would_do(tmp_path, name) -> None:
    with pytest.raises(UserError, match=r"use one of \.m4v, \.mkv, \.mov, \.mp4, \.webm$"):
        color(record(tmp_path / "x.mp4"), tmp_path / name)


@pytest.mark.parametrize("smoothing", [-0.1, 1, float("nan")])
def test_smoothing_out_of_range_is_named(tmp_path, smoothing) -> None:
    with pytest.raises(UserError, match=f"smoothing must be a number of at least 0 and below 1; got {smoothing}"):
        color(tmp_path / "x.mp4", tmp_path / "y.mp4", smoothing=smoothing)


def test_without_pyav_it_is_said_what_to_install(tmp_path, monkeypatch) -> None:
    source = record(tmp_path / "x.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError) as raised:
        color(source, tmp_path / "y.mp4")
    assert str(raised.value) == missing_extra("coloring videos needs PyAV", "video")
