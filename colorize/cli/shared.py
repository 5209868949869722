"""Shared by the commands: options, a progress bar, and error reporting in one line."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from colorize.base.errors import UserError, in_one_line, printable
from colorize.weights import DEFAULT

if TYPE_CHECKING:  # imported where they are used, so that --help answers at once
    from colorize.inference import Colorizer, Options

CHECKPOINT_VARIABLE = "COLORIZE_CHECKPOINT"
BEST = "best"  # checkpoint name: `best.ckpt` of the newest run
RUNS = ("outputs/*/*", "multirun/*/*/*", "demo/train")

Checkpoint = Annotated[str, typer.Option(envvar=CHECKPOINT_VARIABLE, help="The model, see below.")]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="auto uses a GPU if there is one.")]


@contextmanager
def mistakes_in_one_line() -> Iterator[None]:
    """Report a user's mistake as one line with exit status 2, and Ctrl-C with status 130."""
    try:
        yield
    except Exception as error:
        line = in_one_line(error)
        if line is None:
            raise
        say(line)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        say("stopped; files already written are complete")
        raise typer.Exit(130) from None


def say(line: str) -> None:
    """Print one line to stderr, with control characters (as in file names) escaped."""
    typer.echo(printable(line), err=True)


def named(checkpoint: str) -> str:
    """Resolve the name `BEST` to the newest ``best.ckpt`` of the local runs; return any other name unchanged.

    Raises:
        UserError: if there is no such checkpoint.
    """
    if checkpoint != BEST:
        return checkpoint
    found = [path for run in RUNS for path in Path().glob(f"{run}/checkpoints/best.ckpt")]
    if not found:
        raise UserError(f"checkpoint {BEST}: no run in outputs, multirun or demo has a best.ckpt; name a file")
    newest = max(found, key=lambda path: path.stat().st_mtime)
    say(f"checkpoint: {newest}")
    return str(newest)


@dataclass(frozen=True)
class ColoringSettings:
    """Options shared by the commands that color."""

    checkpoint: Checkpoint = DEFAULT
    strength: Annotated[
        float, typer.Option(help="Factor of the chroma, 0 to 1.5; 1 uses the model's own gain, see `colorize info`.")
    ] = 1.0
    working_size: Annotated[
        int | None,
        typer.Option(
            help="Longer side of the network's input in pixels: larger gives finer colors, but less context. "
            "Default: the training size.",
            show_default=False,
        ),
    ] = None
    fit: Annotated[
        Literal["pad", "stretch"],
        typer.Option(help="pad keeps the aspect ratio; stretch makes the picture square, as in training."),
    ] = "pad"
    ensemble: Annotated[
        Literal["none", "flip"],
        typer.Option(help="flip averages with the prediction for the mirrored picture; none does not."),
    ] = "none"
    device: Device = "auto"
    batch_size: Annotated[int, typer.Option(help="Pictures per forward pass.")] = 8
    precision: Annotated[Literal["32", "bf16", "16"], typer.Option(help="Precision of the network.")] = "32"

    def load(self) -> tuple[str, "Colorizer", "Options"]:
        """Check the options and load the checkpoint; return its resolved name, the colorizer and the options."""
        from colorize.inference import Colorizer, Options
        from colorize.inference.predictor import load_predictor

        options = Options(self.strength, self.working_size, self.fit, self.ensemble)
        name = named(self.checkpoint)
        colorizer = Colorizer(load_predictor(name, self.device, self.precision), self.batch_size)
        if colorizer.caution:
            say(f"checkpoint {name} {colorizer.caution}")
        return name, colorizer, options


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command: replace its argument ``settings`` by the options of `ColoringSettings`."""
    shared = [field.name for field in fields(ColoringSettings)]

    @wraps(command)
    def run(**given: Any) -> None:
        command(settings=ColoringSettings(**{name: given.pop(name) for name in shared}), **given)

    own = [p for p in signature(command).parameters.values() if p.name != "settings"]
    parameters = [p.replace(kind=p.KEYWORD_ONLY) for p in (*own, *signature(ColoringSettings).parameters.values())]
    run.__signature__ = signature(command).replace(parameters=parameters)
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a progress bar with rate and time left, on a terminal only; yield its ``advance(done, total)``."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn()
    console, start = Console(stderr=True), time.perf_counter()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None, rate="")

        def advance(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total, rate=f"{done / (time.perf_counter() - start):.2f}/s")

        yield advance
