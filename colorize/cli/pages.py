"""Commands that make pages: the demo in a browser, a sweep's report, a W&B project's layout."""

from pathlib import Path
from typing import Annotated

import typer

from colorize.cli.shared import CHECKPOINT_VARIABLE, Device, mistakes_in_one_line, named
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
