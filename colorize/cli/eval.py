"""Score one or more checkpoints on held-out images: ``colorize eval --help``, or ``python eval.py --help``."""

import hydra
from omegaconf import DictConfig

from colorize import console
from colorize.sweeps import job


@hydra.main(version_base="1.3", config_path=str(console.CONF), config_name="eval")
@job
def main(cfg: DictConfig) -> None:
    """Print and write the scores."""
    from colorize.experiments.evaluation import evaluate

    evaluate(cfg)


if __name__ == "__main__":
    console.run(main)
