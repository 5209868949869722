"""The `colorize` command: color photographs, videos and data sets; train, score, adapt and export models."""

from typing import Annotated

import typer

from colorize import __version__
from colorize.cli.coloring import coco, image, video
from colorize.cli.experiments import HYDRA, evaluate, train
from colorize.cli.measuring import bias
from colorize.cli.models import adapt, export, info
from colorize.cli.pages import dashboard, demo, report
from colorize.cli.scoring import score

ABOUT_CHECKPOINTS = (
    "A checkpoint is `photographs`, which ships with the package; `best`, the newest `best.ckpt` of the runs in "
    "`outputs`, `multirun` and `demo`; a training checkpoint (`RUN/checkpoints/best.ckpt`); a folder made by "
    "`colorize export`, or its `model.onnx`; or the `owner/name` of such a folder on the Hugging Face hub."
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Color photographs of any size with a trained generator. Their lightness is preserved.",
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"colorize {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Handle the options that precede a command; the help text is in `app`."""


for command in (image, coco, video, bias):
    app.command(epilog=ABOUT_CHECKPOINTS)(command)
for name, command in (("train", train), ("eval", evaluate)):
    app.command(name, add_help_option=False, context_settings=HYDRA)(command)
for command in (score, adapt, export, demo, report, dashboard, info):
    app.command()(command)
