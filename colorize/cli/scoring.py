"""Commands that judge: scores of any method's pictures."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from colorize.cli.shared import Device, bar, mistakes_in_one_line, named, say


def score(
    truth: Annotated[Path, typer.Argument(help="Folder of true pictures, in color.", show_default=False)],
    outputs: Annotated[
        list[str],
        typer.Argument(
            metavar="OUTPUT...",
            help="Folders of a method's pictures; or checkpoints, exported folders, ONNX files, which color the truth "
            "first. NAME=OUTPUT names the row.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the scores.")] = Path("scores"),
    protocol: Annotated[
        Literal["coco", "imagenet-val5k", "as-is", "full-size"],
        typer.Option(
            help="coco: at 256x256, with the truth's lightness. imagenet-val5k: the same of the square in the middle. "
            "as-is: nothing is changed. full-size: at the truth's size, with its lightness."
        ),
    ] = "coco",
    learned: Annotated[
        bool, typer.Option(help="Also by networks, as far as their weights are here: LPIPS, FID, KID, recognizability.")
    ] = True,
    weights_dir: Annotated[
        Path | None,
        typer.Option(help="Of FID, KID and LPIPS; without it where torch.hub keeps weights.", show_default=False),
    ] = None,
    device: Device = "auto",
    stores: Annotated[
        Path, typer.Option(help="Of image stores: what a model was trained on is known from these, and left out.")
    ] = Path("data/stores"),
    pictures: Annotated[bool, typer.Option("--pictures", help="Keep what models color in OUT/pictures.")] = False,
    matched: Annotated[
        bool,
        typer.Option("--matched", help="Also each method with the gain of chroma that gives it the truth's CF."),
    ] = False,
    resamples: Annotated[int, typer.Option(min=100, help="Of the bootstrap.")] = 1000,
) -> None:
    """Score any method's pictures under one protocol, beside rows that test the scores themselves.

    Pictures are matched by their path below the folder, without their ending and whatever their case; where no path is
    in both folders, by their names alone. All rows are of the same images: those that every method has. What is
    missing, damaged, of another size or grey is named.

    A second call goes on where the first stopped, and one more OUTPUT costs one more pass.
    """
    with mistakes_in_one_line():
        from colorize.scoring import Setup, markdown
        from colorize.scoring import score as run

        setup = Setup(protocol, learned, weights_dir, device, stores, pictures, matched, resamples)
        given = [named(output) for output in outputs]
        with bar("images") as advance:
            result = run(truth, given, out, setup, advance)
        typer.echo(markdown(result))
        typer.echo(f"scores: {out / 'scores.json'}, scores.md, scores.tex; of each image: {out / 'images'}")
        if failed := [check["check"] for check in result.checks if not check["passed"]]:
            say(f"not as expected: {'; '.join(failed)}")
            raise typer.Exit(1)
