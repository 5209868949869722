"""Train one colorization model, or a sweep of them: ``python train.py --help``. The same as ``colorize train``."""

from colorize import console
from colorize.cli.train import main

if __name__ == "__main__":
    console.run(main)
