"""Commands that make web pages: the demo, the report of a sweep, the dashboard of a W&B project."""

from pathlib import Path
from typing import Annotated

import typer

from colorize.cli.shared import CHECKPOINT_VARIABLE, Device, mistakes_in_one_line, named
from colorize.report import MEGABYTES, METRIC
from colorize.weights import DEFAULT


def demo(
    checkpoint: Annotated[
        list[str], typer.Option(envvar=CHECKPOINT_VARIABLE, help="May be repeated: the page offers a choice.")
    ] = (DEFAULT,),
    host: Annotated[str, typer.Option(help="Address to serve at; 0.0.0.0 allows other machines.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 chooses a free one.")] = 7860,
    device: Device = "auto",
    max_megabytes: Annotated[int, typer.Option(min=1, help="Maximum size of an upload.")] = 25,
    max_megapixels: Annotated[int, typer.Option(min=1, help="Maximum size of a picture.")] = 50,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Additional host name, such as that of a proxy; may be repeated.", show_default=False),
    ] = None,
) -> None:
    """Serve a web page that colors photographs; uploads are deleted after minutes, at most an hour.

    Requests under other host names or from other web pages are refused.
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
        Path | None, typer.Option("--out", "-o", help="Output file. Default: DIR/report.html.", show_default=False)
    ] = None,
    metric: Annotated[str, typer.Option(help="Validation metric by which runs are ranked.")] = METRIC,
    megabytes: Annotated[
        float,
        typer.Option(min=0, help="Size limit of the thumbnails in a page of scores; further pictures are linked."),
    ] = MEGABYTES,
) -> None:
    """Write the results of a sweep, of `colorize score` or of `colorize bias` as one self-contained HTML page.

    For runs: a ranking with confidence intervals, the effect of each factor, curves with the states of training,
    samples side by side, failures and their causes, cost, and the command of each row.

    For `colorize score`: scores with intervals and paired differences, curves over chroma gains, the pictures of all
    methods side by side, cost of training, and tables to paste. For `colorize bias`: colors of categories, the curve of
    rare objects, skin. Results of several folders share a page if their protocol and images are the same.
    """
    with mistakes_in_one_line():
        from colorize.report import write_report

        typer.echo(str(write_report(folders, out, metric, megabytes)))


def dashboard(
    project: Annotated[str, typer.Argument(metavar="ENTITY/PROJECT", help="The W&B project.", show_default=False)],
    file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the layout to this file, without network access.", show_default=False),
    ] = None,
) -> None:
    """Create a dashboard for a W&B project: sweep, scores, states of training, losses, samples, cost.

    Each call creates a new view of the project and prints its URL. It needs a W&B API key, as training does.
    """
    with mistakes_in_one_line():
        from colorize.tracking.dashboard import save, write

        if file is None:
            typer.echo(save(project))
        else:
            write(project, file)
            typer.echo(str(file))
