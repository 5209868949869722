"""Score the pictures of any method under one protocol: match by name, score each image, compare on the same images."""

from colorize.scoring.protocols import PROTOCOLS, Protocol, protocol
from colorize.scoring.result import Result, read_result, side_by_side
from colorize.scoring.run import Setup, score
from colorize.scoring.tables import latex, markdown

__all__ = [
    "PROTOCOLS", "Protocol", "Result", "Setup", "latex", "markdown", "protocol", "read_result", "score", "side_by_side",
]  # fmt: skip
