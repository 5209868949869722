"""Train one colorization model, or a sweep of them: ``colorize train --help``, or ``python train.py --help``."""

import hydra
from omegaconf import DictConfig

from colorize import console
from colorize.sweeps import job


@hydra.main(version_base="1.3", config_path=str(console.CONF), config_name="train")
@job
def main(cfg: DictConfig) -> float | None:
    """Train one model; return the metric that a sweep optimizes."""
    from colorize.experiments.experiment import train

    return train(cfg).get(cfg.optimized_metric)


if __name__ == "__main__":
    console.run(main)
