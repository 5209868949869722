"""The `colorize` command: colour photographs with a trained checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from colorize.errors import UserError

app = typer.Typer(no_args_is_help=True, add_completion=True, help="Colour photographs with a trained checkpoint.")


@app.callback()
def _group() -> None:
    """Keep `image` a subcommand while it is the only one."""


@app.command()
def image(
    inputs: Annotated[list[Path], typer.Argument(help="Image files.", show_default=False)],
    checkpoint: Annotated[Path, typer.Option(help="Such as RUN/checkpoints/best.ckpt.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the coloured images, as PNG.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Colour image files. A file that cannot be read is named, and the rest go on; then the status is 1."""
    from colorize.files import replacing
    from colorize.images import ImageError, read_rgb
    from colorize.inference import Colorizer

    try:
        colorizer = Colorizer.from_checkpoint(checkpoint, device)
    except UserError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    failures = 0
    for path in inputs:
        target = out / f"{path.stem}.png"
        if target.exists():
            typer.echo(f"{path}: {target} exists already; choose another --out", err=True)
            failures += 1
            continue
        try:
            picture = colorizer.colorize(read_rgb(path))
            with replacing(target) as temporary:
                picture.save(temporary)
            typer.echo(str(target))
        except (ImageError, OSError) as error:
            typer.echo(str(error), err=True)
            failures += 1
    if failures:
        raise typer.Exit(1)
