"""Commands that color: photographs, data sets, videos."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from colorize.base.errors import UserError
from colorize.cli.shared import ColoringSettings, bar, mistakes_in_one_line, say, with_settings

if TYPE_CHECKING:  # imported where they are used, so that --help answers at once
    from colorize.inference.inputs import InputFile
    from colorize.inference.many import Tally

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.", show_default=False)]
OutOrBeside = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Folder of the results, or, for a single photograph, a file such as new.png. "
        "Default: NAME.colorized.jpg next to each photograph.",
        show_default=False,
    ),
]
Inputs = Annotated[list[str], typer.Argument(help="Files, folders, globs.", show_default=False)]
Quality = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=100,
        help="Quality of JPEG, WebP and AVIF, 1 to 100. Default: 96, 98 and 95.",
        show_default=False,
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        help="Memory limit of the whole process, including libraries and model, such as 2G or 800M (powers of 1,000). "
        "Fewer pictures are then in memory at once; one that alone needs more is an error. Default: what is in use "
        "once the model is loaded, plus three quarters of what is free.",
        show_default=False,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist already.")]


@with_settings
def image(
    settings: ColoringSettings,
    inputs: Inputs,
    out: OutOrBeside = None,
    tint: Annotated[
        Literal["auto", "keep", "remove"],
        typer.Option(
            help="Tint of toned prints: auto removes it from pictures whose color is a function of lightness, such as "
            "sepia; keep never removes it; remove treats all as toned prints, such as blue ones."
        ),
    ] = "auto",
    quality: Quality = None,
    memory: Memory = None,
    overwrite: Overwrite = False,
) -> None:
    """Color photographs of any size, mode and format.

    Each is written in its own format if that supports color, otherwise as PNG, with its EXIF, color profile and
    transparency. Folders keep their structure. A second call continues where the first one stopped: a result is kept
    if the photograph's contents, the checkpoint and the options are the same.

    A file that cannot be colored is reported in one line; the others are still colored, and the exit status is 1.
    """
    with mistakes_in_one_line():
        groups, complaints = _grouped(inputs, out)
        tally = _color(groups, settings, overwrite, quality, memory, tint)
        if complaints or tally.failed:
            raise typer.Exit(1)


@with_settings
def coco(
    settings: ColoringSettings,
    out: Out,
    root: Annotated[
        str | None,
        typer.Argument(help="COCO-layout folder. Default: data/coco, downloaded as needed.", show_default=False),
    ] = None,
    split: Annotated[str, typer.Option(help="COCO split: train2017 or val2017.")] = "val2017",
    category: Annotated[
        list[str] | None, typer.Option(help="Only images with this category; may be repeated.", show_default=False)
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Maximum number of images, validation images of training first.", show_default=False),
    ] = None,
    quality: Quality = None,
    memory: Memory = None,
    overwrite: Overwrite = False,
) -> None:
    """Color the images of a COCO data set and keep its annotations, so that detectors can be run on the result."""
    from colorize.inference.coco import CocoFolder

    with mistakes_in_one_line():
        folder = CocoFolder(root, split, category or (), limit)
        for path, reason in folder.missing.items():
            say(f"{path}: {reason}")
        tally = _color({out: folder.jobs()}, settings, overwrite, quality, memory)
        typer.echo(f"annotations: {folder.write_annotations(out, tally.written | tally.there)}")
        if folder.missing or tally.failed:
            raise typer.Exit(1)


@with_settings
def video(
    settings: ColoringSettings,
    source: Annotated[Path, typer.Argument(help="A video.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="The colored video: .mp4, .m4v, .mov, .mkv or .webm.", show_default=False),
    ],
    smoothing: Annotated[float, typer.Option(help="Smoothing of color over time, from 0 (none) to below 1.")] = 0.8,
    memory: Memory = None,
    overwrite: Overwrite = False,
) -> None:
    """Color a video; its sound, size and timing are kept.

    Colors are smoothed over time, separately for each scene. The flicker before and after smoothing is printed: the
    mean change of color from frame to frame where the picture is still, in units of CIE Lab.

    A truncated or damaged video is colored as far as it can be read; a line says what is missing, and the exit status
    is 1.
    """
    from colorize.inference.video import colorize_video
    from colorize.photos.memory import parse_size

    with mistakes_in_one_line():
        if out.exists() and not overwrite:
            raise UserError(f"--out {out} exists already; choose another, or --overwrite it")
        most = parse_size(memory) if memory else None
        _, colorizer, options = settings.load()
        with bar("frames") as advance:
            done = colorize_video(source, out, colorizer, options, smoothing, advance, most)
        for note in done.notes:
            say(f"{source}: {note}")
        typer.echo(
            f"{done.frames} frames in {done.scenes} scenes colored into {out} in {done.seconds:.1f} s; "
            f"flicker {done.flicker:.3f}, without smoothing {done.flicker_unsmoothed:.3f}"
        )
        if not done.whole:
            raise typer.Exit(1)


def _grouped(inputs: Sequence[str], out: Path | None) -> tuple[dict[Path, list["InputFile"]], list[str]]:
    """Return the photographs by the folder of their results, and errors about the inputs, which are also printed."""
    from colorize.images import readable
    from colorize.inference.inputs import InputFile, beside, collect
    from colorize.photos.photo import FORMATS, format_of

    a_file = out is not None and not out.is_dir() and out.suffix.lower() in readable()
    if a_file and not format_of(out.name):
        endings = ", ".join(names[0] for names, _ in FORMATS.values())
        raise UserError(f"--out {out}: cannot write {out.suffix}; name a folder, or a file that ends in {endings}")
    if a_file and (len(inputs) > 1 or Path(inputs[0]).is_dir()):
        raise UserError(f"--out {out} is a file for a single photograph; for several, name a folder")
    skipped: list[str] = []
    if out is None:
        groups, complaints = beside(inputs)
    elif a_file:
        found = collect(inputs, out.parent)
        groups = {out.parent: [InputFile(job.source, Path(), out.name) for job in found.jobs]}
        complaints = found.complaints
    else:
        found = collect(inputs, out)
        groups, complaints, skipped = {out: found.jobs}, found.complaints, found.skipped
    for line in (*complaints, *skipped):
        say(line)
    return groups, complaints


def _color(
    groups: Mapping[Path, Sequence["InputFile"]],
    settings: ColoringSettings,
    overwrite: bool,
    quality: int | None,
    memory: str | None,
    tint: str = "auto",
) -> "Tally":
    """Color photographs, given by the folder of their results, with a progress bar; print a summary line."""
    from colorize.inference.manifest import digest_of_model, digest_of_settings
    from colorize.inference.many import BulkColorizer, Tally
    from colorize.photos.memory import parse_size

    most = parse_size(memory) if memory else None
    for out in groups:
        if out.exists() and not out.is_dir():
            raise UserError(f"--out {out} is not a folder")
    name, colorizer, options = settings.load()
    options = replace(options, tint=tint)
    digest = digest_of_settings(
        {**asdict(options), "quality": quality, "precision": settings.precision, "checkpoint": digest_of_model(name)}
    )
    start = time.perf_counter()
    with bar("photographs") as advance:
        numbers = count(1)
        total, tally = sum(map(len, groups.values())), Tally()
        step = lambda: advance(next(numbers), total)  # noqa: E731
        for out, jobs in groups.items():
            tally.add(BulkColorizer(colorizer, options, out, overwrite, say, step, digest, quality, most).run(jobs))
    seconds, written = time.perf_counter() - start, len(tally.written)
    named = total == 1 and any(job.name for jobs in groups.values() for job in jobs)
    where = ", ".join(map(str, tally.written.values() if named else groups))
    done = f"{written} colored into {where} in {seconds:.1f} s ({written / seconds:.2g}/s)"
    parts = [done if written else "none colored"]
    parts += [f"{len(tally.there)} existed already"] if tally.there else []
    parts += [f"{tally.failed} failed"] if tally.failed else []
    parts += [f"{tally.limited / tally.pixels:.2%} of the pixels lost chroma to fit sRGB"] if tally.limited else []
    typer.echo("; ".join(parts))
    return tally
