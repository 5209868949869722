"""Run as `python -m colorize.cli`."""

from colorize.cli import app

app()
