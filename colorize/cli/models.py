"""Commands about models: export, info."""

import json
from pathlib import Path
from typing import Annotated

import typer

from colorize.cli.shared import mistakes_in_one_line, named
from colorize.errors import printable


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

        for shape, difference in write(named(checkpoint), out, onnx, half, calibrate):
            typer.echo(f"model.onnx at {shape}: differs from PyTorch by at most {difference:.2g}")
        typer.echo(str(out))


def info(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint of any kind.", show_default=False)],
    config: Annotated[bool, typer.Option("--config", help="Also print the config that it was trained by.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with the config.")] = False,
) -> None:
    """Tell what a checkpoint is, what it was trained on, by which config and commit, its metrics and its sha256."""
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
