"""Commands for models: adapt, export, info."""

import json
from pathlib import Path
from typing import Annotated

import typer

from colorize.base.errors import printable
from colorize.cli.shared import Checkpoint, mistakes_in_one_line, named, say
from colorize.weights import DEFAULT


def export(
    checkpoint: Annotated[
        list[str],
        typer.Argument(
            help="Such as RUN/checkpoints/best.ckpt. Of several, the mean of their weights is exported.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to create.", show_default=False)],
    onnx: Annotated[bool, typer.Option("--onnx", help="Also write model.onnx and compare it with PyTorch.")] = False,
    half: Annotated[bool, typer.Option("--half", help="Write the weights in float16, for half the size.")] = False,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Store the gain that gives 90% of the truth's colorfulness in validation."),
    ] = False,
    gain: Annotated[
        float | None, typer.Option(min=0.01, help="Store this gain, by which chroma is multiplied.", show_default=False)
    ] = None,
) -> None:
    """Export a checkpoint: weights as safetensors, config, model card, checksums, and optionally ONNX."""
    with mistakes_in_one_line():
        from colorize.export import export as write

        for shape, difference in write([named(each) for each in checkpoint], out, onnx, half, calibrate, gain):
            typer.echo(f"model.onnx at {shape}: differs from PyTorch by at most {difference:.2g}")
        typer.echo(str(out))


def adapt(
    folder: Annotated[
        Path, typer.Argument(help="At least 50 color photographs, searched recursively.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to create.", show_default=False)],
    checkpoint: Checkpoint = DEFAULT,
    minutes: Annotated[float, typer.Option(help="Maximum training time in minutes.")] = 10.0,
) -> None:
    """Fine-tune a model for minutes on your own photographs, and keep it if it colors held-out ones better.

    A fifth of the photographs is held out. The criterion is their L1 in ab, with the chroma of each model scaled to the
    truth's colorfulness; without that, greyer results would score better. If the 95% interval of the change is not
    below 0, nothing is written and the exit status is 1.
    """
    with mistakes_in_one_line():
        from colorize.experiments.adapt import adapt as train_on

        done = train_on(folder, out, named(checkpoint), minutes)
        low, high = done.interval
        typer.echo(
            f"{done.held_out} held-out photographs: L1 at the truth's colorfulness {done.before:.4f}, adapted "
            f"{done.after:.4f}, change {done.after - done.before:+.4f} [{low:+.4f}, {high:+.4f}]; "
            f"{done.trained_on} trained on, {done.minutes:.1f} minutes"
        )
        if not done.better:
            say(f"not better than {checkpoint} on these photographs: {out} is not written")
            raise typer.Exit(1)
        typer.echo(str(out))


def info(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint of any kind.", show_default=False)],
    config: Annotated[bool, typer.Option("--config", help="Also print the training config.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, including the config.")] = False,
) -> None:
    """Print what a checkpoint is: its training data, config, commit, metrics and sha256."""
    with mistakes_in_one_line():
        from colorize.export import describe

        found = describe(named(checkpoint))
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
