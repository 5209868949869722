"""The command `colorize score`, which scores the pictures of any method."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from colorize.cli.shared import Device, bar, mistakes_in_one_line, named, say


def score(
    truth: Annotated[Path, typer.Argument(help="Folder of the true pictures, in color.", show_default=False)],
    outputs: Annotated[
        list[str],
        typer.Argument(
            metavar="OUTPUT...",
            help="Folders of a method's pictures; or checkpoints, exported folders or ONNX files, which first color "
            "the truth. NAME=OUTPUT names the row.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the scores.")] = Path("scores"),
    protocol: Annotated[
        Literal["coco", "imagenet-val5k", "as-is", "full-size"],
        typer.Option(
            help="coco: at 256x256, with the truth's lightness. imagenet-val5k: the same for the central square. "
            "as-is: pictures are not changed. full-size: at the truth's size, with its lightness."
        ),
    ] = "coco",
    learned: Annotated[
        bool, typer.Option(help="Also scores by networks with weights available: LPIPS, FID, KID, recognizability.")
    ] = True,
    weights_dir: Annotated[
        Path | None,
        typer.Option(help="Weights of FID, KID and LPIPS. Default: torch.hub's folder.", show_default=False),
    ] = None,
    device: Device = "auto",
    stores: Annotated[
        Path, typer.Option(help="Folder of image stores; images that they list as trained on are left out.")
    ] = Path("data/stores"),
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Keep pictures colored by models in OUT/pictures.")
    ] = False,
    matched: Annotated[
        bool,
        typer.Option("--matched", help="Also score each method with its chroma scaled to the truth's CF."),
    ] = False,
    resamples: Annotated[int, typer.Option(min=100, help="Number of bootstrap resamples.")] = 1000,
) -> None:
    """Score the pictures of any method under one protocol, together with rows that test the scores themselves.

    Pictures are matched by their path below the folder, ignoring suffix and case; if the folders have no path in
    common, by file name. All rows use the same images: those that every method has. Images that are missing, damaged,
    grey or of another size are listed.

    A second call continues where the first one stopped; each additional OUTPUT costs one more pass.
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
