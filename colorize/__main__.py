"""Run as `python -m colorize`."""

from colorize.cli import app

app(prog_name="colorize")
