"""Commands that measure: what data teach, and what models do with it."""

from pathlib import Path
from typing import Annotated

import typer

from colorize.cli.shared import CHECKPOINT_VARIABLE, Device, bar, mistakes_in_one_line, named, say
from colorize.weights import DEFAULT


def bias(
    root: Annotated[
        str,
        typer.Argument(
            help="COCO-layout folder whose annotations have outlines; `scenes` draws some.", show_default=False
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
            help="Folder of pictures that another method has colored, named as the photographs are, beside the "
            "checkpoints; may be repeated.",
            show_default=False,
        ),
    ] = None,
    data_only: Annotated[bool, typer.Option("--data-only", help="Look at the photographs alone, color none.")] = False,
    split: Annotated[str, typer.Option(help="Picks instances_SPLIT.json where the folder has several.")] = "val2017",
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="As many, validation images of training first; of scenes 500.", show_default=False),
    ] = None,
    training: Annotated[
        str | None,
        typer.Option(
            help="COCO-layout folder of the training photographs, of which only the index is read: how often each "
            "category was seen. Without it those of ROOT that a checkpoint was trained on, or all of ROOT.",
            show_default=False,
        ),
    ] = None,
    training_split: Annotated[str, typer.Option(help="As --split, of --training.")] = "train2017",
    stores: Annotated[
        list[Path],
        typer.Option(help="Folder of image stores, which know what was trained on; may be repeated."),
    ] = (Path("data/stores"),),
    band: Annotated[int, typer.Option(min=1, max=32, help="Pixels beside an outline, for spill.")] = 4,
    device: Device = "auto",
) -> None:
    """Measure what photographs teach about color, and what models make of it: by category, across outlines, on skin.

    Photographs that a checkpoint was trained on are looked at, but not colored. The findings, with 95% intervals, are
    told in sentences and written as bias.md, bias.json and tables in CSV.
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
            methods += [Pictures(path) for path in dict.fromkeys(pictures or ())]
        with bar("photographs") as advance:
            found = measure_bias(folder, methods, seen, band, advance)
        for line in write_results(found, out):
            typer.echo(line)
        for line in found.summary["notes"]:
            say(line)
        if folder.left_out:
            say(f"left out: {len(folder.left_out)} photographs, the first {': '.join(folder.left_out[0])}")
        typer.echo(f"results: {out / 'bias.md'}")
