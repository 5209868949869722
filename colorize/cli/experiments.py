"""Commands whose options are parsed by Hydra: train and eval."""

import runpy
import sys
from collections.abc import Sequence

import typer

HYDRA = {"ignore_unknown_options": True, "allow_extra_args": True}  # Hydra parses the options, including --help


def train(context: typer.Context) -> None:
    """Train a model, or a sweep of them: `colorize train gan_mode=lsgan`. `--help` lists all options."""
    _run("colorize.cli.train", context.args)


def evaluate(context: typer.Context) -> None:
    """Score checkpoints on held-out images: `colorize eval ckpt_path=FILE`. `--help` lists all options."""
    _run("colorize.cli.eval", context.args)


def _run(module: str, options: Sequence[str]) -> None:
    """Run a module like ``python -m MODULE OPTIONS``, so that child processes of Lightning and joblib can import it."""
    sys.argv[1:] = options
    runpy.run_module(module, run_name="__main__", alter_sys=True)
