"""Measure the startup time of commands, and the time to the first optimizer step, each in its own process.

python -m benchmarks.start
"""

import os
import subprocess
import sys
import tempfile
import time
from statistics import median

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from benchmarks import harness


class FirstStep(Callback):
    """Ends the process where the first optimizer would step."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Wait for it."""
        torch.optim.Adam.step = lambda optimizer: os._exit(0)


def main() -> None:
    """Measure and print."""
    args = harness.arguments(__doc__).parse_args()
    rounds = 1 if args.quick else args.rounds
    report = harness.Report("start")
    with tempfile.TemporaryDirectory() as folder:
        data = ["data=scenes", f"data.root={folder}/scenes", f"data.store_dir={folder}/stores"]
        data += ["data.num_train=64", "data.num_val=16", f"hydra.run.dir={folder}/run"]
        commands = {
            "train.py --help": ["--help"],
            "train.py --cfg job": ["--cfg", "job"],
            "train.py data=scenes, to the first step, store already built": [
                *data, "+callbacks.first._target_=benchmarks.start.FirstStep",
            ],
        }  # fmt: skip

        def run(overrides: list[str]) -> list[float]:
            start = time.perf_counter()
            command = [sys.executable, "train.py", *overrides]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            return [time.perf_counter() - start]

        turns = {name: lambda overrides=overrides: run(overrides) for name, overrides in commands.items()}
        for turn in turns.values():
            turn()
        seconds = harness.in_turns(turns, rounds)
    rows = [{"": n, "seconds": median(found), "spread": harness.spread(found)} for n, found in seconds.items()]
    report.table(f"Whole processes, {rounds} rounds in turns", rows)


if __name__ == "__main__":
    main()
