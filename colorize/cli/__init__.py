"""The `colorize` command: colour photographs, videos and data sets, and hand trained models on."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from colorize.cli.shared import (
    CHECKPOINT_VARIABLE,
    Device,
    Settings,
    bar,
    mistakes_in_one_line,
    newest_checkpoint,
    say,
    with_settings,
)
from colorize.errors import UserError, printable

if TYPE_CHECKING:  # imported where they are used, so that --help answers at once
    from colorize.batch import Tally
    from colorize.inputs import Job

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Colour photographs with a trained generator. Their lightness stays their own, at any size.",
)

ABOUT_CHECKPOINTS = (
    "A checkpoint is one of training (`RUN/checkpoints/best.ckpt`), a folder that `colorize export` made, its "
    "`model.onnx`, or the `owner/name` of such a folder on the Hugging Face hub."
)

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.", show_default=False)]
Inputs = Annotated[list[str], typer.Argument(help="Files, folders, globs.", show_default=False)]
Quality = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=100,
        help="Of JPEG, WebP and AVIF, 1 to 100; without it 96, 98 and 95.",
        show_default=False,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Colour anew what is there already.")]


@app.command(epilog=ABOUT_CHECKPOINTS)
@with_settings
def image(
    settings: Settings,
    inputs: Inputs,
    out: Out,
    tint: Annotated[
        Literal["auto", "keep", "remove"],
        typer.Option(
            help="Of toned prints: auto removes the tint where color follows from lightness, as in sepia; keep removes "
            "none; remove takes all for toned prints, such as blue ones."
        ),
    ] = "auto",
    quality: Quality = None,
    overwrite: Overwrite = False,
) -> None:
    """Colour photographs, of any size, mode and format.

    Each is written in its own format where that can hold colour, otherwise as PNG, with its EXIF, its colour profile
    and its transparency. Folders keep their structure. A second call goes on where the first one stopped: what is there
    already is known by the photograph's contents, the checkpoint and the options.

    A file that cannot be coloured is told in one line; the others go on, and the exit status is 1.
    """
    from colorize.inputs import collect

    with mistakes_in_one_line():
        found = collect(inputs, out)
        for line in (*found.complaints, *found.skipped):
            say(line)
        tally = _color(found.jobs, out, settings, overwrite, quality, tint)
        if found.complaints or tally.failed:
            raise typer.Exit(1)


@app.command(epilog=ABOUT_CHECKPOINTS)
@with_settings
def coco(
    settings: Settings,
    out: Out,
    root: Annotated[
        str | None,
        typer.Argument(help="COCO-layout folder; without it data/coco, fetched as needed.", show_default=False),
    ] = None,
    split: Annotated[str, typer.Option(help="Part of COCO: train2017 or val2017.")] = "val2017",
    category: Annotated[
        list[str] | None, typer.Option(help="Only images with such a thing; may be repeated.", show_default=False)
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="As many, validation images of training first.", show_default=False),
    ] = None,
    quality: Quality = None,
    overwrite: Overwrite = False,
) -> None:
    """Colour the images of a COCO data set, and keep its annotations, so that detectors can be run on them."""
    from colorize.coco import CocoFolder

    with mistakes_in_one_line():
        folder = CocoFolder(root, split, category or (), limit)
        for path, reason in folder.missing.items():
            say(f"{path}: {reason}")
        tally = _color(folder.jobs(), out, settings, overwrite, quality)
        typer.echo(f"annotations: {folder.write_annotations(out, tally.written | tally.there)}")
        if folder.missing or tally.failed:
            raise typer.Exit(1)


@app.command(epilog=ABOUT_CHECKPOINTS)
@with_settings
def video(
    settings: Settings,
    source: Annotated[Path, typer.Argument(help="A video.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="The coloured video: .mp4, .m4v, .mov, .mkv or .webm.", show_default=False),
    ],
    smoothing: Annotated[float, typer.Option(help="How much colour stays from frame to frame, 0 to below 1.")] = 0.8,
    overwrite: Overwrite = False,
) -> None:
    """Colour a video; its sound, size and timing are kept.

    Colours are smoothed over time and start anew at a cut. The flicker, before and after smoothing, is told: the mean
    change of colour from frame to frame where the picture stands still, in units of CIE Lab.

    Of a video that breaks off or is damaged, what is there is coloured, what is missing is told, and the status is 1.
    """
    from colorize.video import colorize_video

    with mistakes_in_one_line():
        if out.exists() and not overwrite:
            raise UserError(f"--out {out} exists already; name another, or --overwrite it")
        _, colorizer, options = settings.load()
        with bar("frames") as advance:
            done = colorize_video(source, out, colorizer, options, smoothing, advance)
        for note in done.notes:
            say(f"{source}: {note}")
        typer.echo(
            f"{done.frames} frames in {done.scenes} scenes coloured into {out} in {done.seconds:.1f} s; "
            f"flicker {done.flicker:.3f}, without smoothing {done.flicker_unsmoothed:.3f}"
        )
        if not done.whole:
            raise typer.Exit(1)


@app.command()
def export(
    checkpoint: Annotated[str, typer.Argument(help="Such as RUN/checkpoints/best.ckpt.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to make.", show_default=False)],
    onnx: Annotated[bool, typer.Option("--onnx", help="Also write model.onnx, and compare it with PyTorch.")] = False,
    half: Annotated[bool, typer.Option("--half", help="Write the weights in float16: half the size.")] = False,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="As vivid as to reach 90% of the truth's colorfulness in validation."),
    ] = False,
) -> None:
    """Make of a checkpoint what others load: weights as safetensors, config, model card, checksums, and ONNX."""
    with mistakes_in_one_line():
        from colorize.export import export as write

        for shape, difference in write(checkpoint, out, onnx, half, calibrate):
            typer.echo(f"model.onnx at {shape}: differs from PyTorch by at most {difference:.2g}")
        typer.echo(str(out))


@app.command()
def demo(
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(envvar=CHECKPOINT_VARIABLE, help="May be repeated: the page offers them.", show_default=False),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to serve at; other machines see only 0.0.0.0.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 7860,
    device: Device = "auto",
    max_megabytes: Annotated[int, typer.Option(min=1, help="Largest upload.")] = 25,
    max_megapixels: Annotated[int, typer.Option(min=1, help="Largest picture.")] = 50,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Name that it is also reached by, as behind a proxy; may be repeated.", show_default=False),
    ] = None,
) -> None:
    """Serve a web page that colours photographs; what is uploaded is kept for minutes, at most an hour.

    Requests by other names, and of other pages, are refused.
    """
    with mistakes_in_one_line():
        from colorize.demo import serve

        serve(checkpoint or [newest_checkpoint()], host, port, device, max_megabytes, max_megapixels, name or ())


@app.command()
def report(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="A run, a sweep, or a folder of them.", show_default=False),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page; without it DIR/report.html.", show_default=False)
    ] = None,
    metric: Annotated[str, typer.Option(help="What runs are ranked by; of validation.")] = "val/l1",
) -> None:
    """Make one HTML page of what a sweep found, which needs nothing beside itself.

    Ranking with confidence intervals, what each factor did, curves with the states of training, samples side by side,
    failures and why, cost, and the command of each row.
    """
    with mistakes_in_one_line():
        from colorize.report import write_report

        typer.echo(str(write_report(folder, out, metric)))


@app.command()
def dashboard(
    project: Annotated[str, typer.Argument(metavar="ENTITY/PROJECT", help="Of W&B.", show_default=False)],
    file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the layout there, and ask no network.", show_default=False),
    ] = None,
) -> None:
    """Lay out a W&B project: sweep, scores, states of training, losses, samples, cost.

    Each call makes a new view of the project and prints its address. It needs a key of W&B, as training does.
    """
    with mistakes_in_one_line():
        from colorize.dashboard import save, write

        if file is None:
            typer.echo(save(project))
        else:
            write(project, file)
            typer.echo(str(file))


@app.command()
def info(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint of any kind.", show_default=False)],
    config: Annotated[bool, typer.Option("--config", help="Also print the config that it was trained by.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with the config.")] = False,
) -> None:
    """Tell what a checkpoint is, what it was trained on, by which config and commit, its metrics and its sha256."""
    with mistakes_in_one_line():
        from colorize.export import describe

        found = describe(checkpoint)
        if as_json:
            typer.echo(json.dumps(found, indent=2))
            return
        settings = found.pop("config")
        for name, value in found.items():
            rows = sorted(value.items()) if isinstance(value, dict) else []
            value = "" if rows else "none" if value == {} else value
            typer.echo(printable(f"{name:24} {value}".rstrip()))
            for key, number in rows:
                typer.echo(printable(f"  {key:24} {number:.4g}"))
        if config:
            typer.echo(json.dumps(settings, indent=2))


def _color(
    jobs: Sequence["Job"], out: Path, settings: Settings, overwrite: bool, quality: int | None, tint: str = "auto"
) -> "Tally":
    """Colour photographs with a bar, and sum up in one line."""
    from colorize.batch import Batch
    from colorize.manifest import digest_of_model, digest_of_settings

    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is no folder")
    name, colorizer, options = settings.load()
    options = replace(options, tint=tint)
    digest = digest_of_settings(
        {**asdict(options), "quality": quality, "precision": settings.precision, "checkpoint": digest_of_model(name)}
    )
    start = time.perf_counter()
    with bar("photographs") as advance:
        done = count(1)
        batch = Batch(colorizer, options, out, overwrite, say, lambda: advance(next(done), len(jobs)), digest, quality)
        tally = batch.run(jobs)
    seconds, written = time.perf_counter() - start, len(tally.written)
    parts = [
        f"{written} coloured into {out} in {seconds:.1f} s ({written / seconds:.2g}/s)" if written else "none coloured"
    ]
    parts += [f"{len(tally.there)} there already"] if tally.there else []
    parts += [f"{tally.failed} failed"] if tally.failed else []
    parts += [f"{tally.limited / tally.pixels:.2%} of the pixels lost chroma to fit sRGB"] if tally.limited else []
    typer.echo("; ".join(parts))
    return tally
