"""What the commands share: options, a bar, and mistakes in one line."""

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
BEST = "best"  # as a checkpoint: the newest run's
RUNS = ("outputs/*/*", "multirun/*/*/*", "demo/train")

Checkpoint = Annotated[str, typer.Option(envvar=CHECKPOINT_VARIABLE, help="What colors: see below.")]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="auto takes a GPU if there is one.")]


@contextmanager
def mistakes_in_one_line() -> Iterator[None]:
    """Turn a mistake into one line and status 2, and Ctrl-C into status 130."""
    try:
        yield
    except Exception as error:
        line = in_one_line(error)
        if line is None:
            raise
        say(line)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        say("stopped; what is written is whole")
        raise typer.Exit(130) from None


def say(line: str) -> None:
    """Write one line to stderr, whatever characters a file's name has."""
    typer.echo(printable(line), err=True)


def named(checkpoint: str) -> str:
    """Return what `BEST` stands for, the newest ``best.ckpt`` of the runs here, and any other name as it is.

    Raises:
        UserError: if there is none.
    """
    if checkpoint != BEST:
        return checkpoint
    found = [path for run in RUNS for path in Path().glob(f"{run}/checkpoints/best.ckpt")]
    if not found:
        raise UserError(f"checkpoint {BEST}: no run here has one, as {RUNS[0]}/checkpoints/best.ckpt; name a file")
    newest = max(found, key=lambda path: path.stat().st_mtime)
    say(f"checkpoint: {newest}")
    return str(newest)


@dataclass(frozen=True)
class ColoringSettings:
    """What the commands that colour have in common."""

    checkpoint: Checkpoint = DEFAULT
    strength: Annotated[
        float, typer.Option(help="How much colour, 0 to 1.5; 1 is the model's own, see `colorize info`.")
    ] = 1.0
    working_size: Annotated[
        int | None,
        typer.Option(
            help="Pixels of the longer side that the network sees: more are finer colours, and less sense of the "
            "whole. Without it the size of training.",
            show_default=False,
        ),
    ] = None
    fit: Annotated[
        Literal["pad", "stretch"],
        typer.Option(help="pad keeps the picture's shape; stretch makes it square, as in training."),
    ] = "pad"
    ensemble: Annotated[
        Literal["none", "flip"],
        typer.Option(help="flip takes the mean with the mirrored picture's colours; none does not."),
    ] = "none"
    device: Device = "auto"
    batch_size: Annotated[int, typer.Option(help="Pictures that the network sees at once.")] = 8
    precision: Annotated[Literal["32", "bf16", "16"], typer.Option(help="What the network multiplies in.")] = "32"

    def load(self) -> tuple[str, "Colorizer", "Options"]:
        """Load the checkpoint, and return its name, too; what is wrong with the options is told before."""
        from colorize.inference import Colorizer, Options
        from colorize.inference.predictor import load_predictor

        options = Options(self.strength, self.working_size, self.fit, self.ensemble)
        name = named(self.checkpoint)
        colorizer = Colorizer(load_predictor(name, self.device, self.precision), self.batch_size)
        if colorizer.caution:
            say(f"checkpoint {name} {colorizer.caution}")
        return name, colorizer, options


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `ColoringSettings` in place of its argument ``settings``."""
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
    """Show a bar with rate and time left, where someone looks; yield what is told how many are done, of how many."""
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
