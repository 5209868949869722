"""Score one or more checkpoints on held-out images: ``python eval.py --help``. The same as ``colorize eval``."""

from colorize import console
from colorize.cli.eval import main

if __name__ == "__main__":
    console.run(main)
