"""A lightweight program with the jobs of `train.py`; $DO sets what a job does besides recording itself."""

import json
import os
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from colorize import console
from colorize.sweeps import job


@hydra.main(version_base="1.3", config_path=None)
@job
def main(cfg: DictConfig) -> float:
    """Note the run, do as told, and leave a summary as training does."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    with (folder.parent.parent / "ran").open("a") as file:
        file.write(f"{cfg.x}{' from last.ckpt' if cfg.ckpt_path else ''}\n")
    exec(os.environ.get("DO", ""), {"cfg": cfg, "folder": folder, "os": os})
    value = (cfg.x - 2) ** 2 + cfg.seed
    (folder / "summary.json").write_text(json.dumps({"metrics": {"val/l1": value}}))
    return value


if __name__ == "__main__":
    console.run(main)
