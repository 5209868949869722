"""The command `colorize bias`, which measures what data teach about color and what models make of it."""

from pathlib import Path
from typing import Annotated

import typer

from colorize.cli.shared import CHECKPOINT_VARIABLE, Device, bar, mistakes_in_one_line, named, say
from colorize.weights import DEFAULT


def bias(
    root: Annotated[
        str,
        typer.Argument(
            help="COCO-layout folder whose annotations have outlines; `scenes` generates one.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.", show_default=False)],
    checkpoint: Annotated[
        list[str],
        typer.Option(envvar=CHECKPOINT_VARIABLE, help="May be repeated: all color the same photographs."),
    ] = (DEFAULT,),
    pictures: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of pictures colored by another method, with the photographs' file names, to be compared with "
            "the checkpoints; may be repeated.",
            show_default=False,
        ),
    ] = None,
    data_only: Annotated[bool, typer.Option("--data-only", help="Measure only the photographs; color none.")] = False,
    split: Annotated[str, typer.Option(help="Selects instances_SPLIT.json if the folder has several.")] = "val2017",
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Maximum number of images, validation images of training first; 500 for scenes.",
            show_default=False,
        ),
    ] = None,
    training: Annotated[
        str | None,
        typer.Option(
            help="COCO-layout folder of the training photographs; only its index is read, to count how often each "
            "category was seen. Default: the photographs in ROOT that a checkpoint was trained on, or all of ROOT.",
            show_default=False,
        ),
    ] = None,
    training_split: Annotated[str, typer.Option(help="Like --split, for --training.")] = "train2017",
    stores: Annotated[
        list[Path],
        typer.Option(help="Folder of image stores, which record what was trained on; may be repeated."),
    ] = (Path("data/stores"),),
    band: Annotated[int, typer.Option(min=1, max=32, help="Pixels along outlines in which spill is measured.")] = 4,
    device: Device = "auto",
) -> None:
    """Measure what photographs teach about color and what models make of it: by category, across outlines, on skin.

    Photographs that a checkpoint was trained on are measured, but not colored. The findings, with 95% intervals, are
    printed as sentences and written as bias.md, bias.json and CSV tables.
    """
    with mistakes_in_one_line():
        from colorize.bias.methods import Checkpoint, Method, Pictures
        from colorize.bias.run import measure_bias
        from colorize.bias.tables import write_results
        from colorize.bias.things import AnnotatedFolder

        folder = AnnotatedFolder(root, split, limit)
        seen = AnnotatedFolder(training, training_split) if training else None
        methods: list[Method] = []
        if not data_only:
            methods += [Checkpoint(name, device, stores) for name in dict.fromkeys(map(named, checkpoint))]
            methods += [Pictures(path, folder.files(), out) for path in dict.fromkeys(pictures or ())]
        with bar("photographs") as advance:
            found = measure_bias(folder, methods, seen, band, advance)
        for line in write_results(found, out):
            typer.echo(line)
        for line in found.summary["notes"]:
            say(line)
        if folder.left_out:
            say(f"left out: {len(folder.left_out)} photographs, the first {': '.join(folder.left_out[0])}")
        typer.echo(f"results: {out / 'bias.md'}")
