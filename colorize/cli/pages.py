"""Commands that make pages: the demo in a browser, a sweep's report, a W&B project's layout."""

from pathlib import Path
from typing import Annotated

import typer

from colorize.cli.shared import CHECKPOINT_VARIABLE, Device, mistakes_in_one_line, named
from colorize.report import MEGABYTES, METRIC
from colorize.weights import DEFAULT


def demo(
    checkpoint: Annotated[
        list[str], typer.Option(envvar=CHECKPOINT_VARIABLE, help="May be repeated: the page offers them.")
    ] = (DEFAULT,),
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
        from colorize.web import serve

        serve([named(name) for name in checkpoint], host, port, device, max_megabytes, max_megapixels, name or ())


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...",
            help="A run, a sweep, or a folder of them; or results of `colorize score` and `colorize bias`, any number.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page; without it DIR/report.html.", show_default=False)
    ] = None,
    metric: Annotated[str, typer.Option(help="What runs are ranked by; of validation.")] = METRIC,
    megabytes: Annotated[
        float,
        typer.Option(min=0, help="Of thumbnails in a page of scores; pictures beyond that are linked to."),
    ] = MEGABYTES,
) -> None:
    """Make one HTML page of what a sweep or the judges of pictures found, which needs nothing beside itself.

    Of runs: ranking with confidence intervals, what each factor did, curves with the states of training, samples side
    by side, failures and why, cost, and the command of each row.

    Of `colorize score`: scores with intervals and paired differences, curves over gains of chroma, pictures of all
    methods side by side, cost of training, and tables to paste. Of `colorize bias`: colors of categories, the curve of
    rare objects, skin. Results of several folders stand on one page if their protocol and images are the same.
    """
    with mistakes_in_one_line():
        from colorize.report import write_report

        typer.echo(str(write_report(folders, out, metric, megabytes)))


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
        from colorize.tracking.dashboard import save, write

        if file is None:
            typer.echo(save(project))
        else:
            write(project, file)
            typer.echo(str(file))
