"""Results of `colorize score` and `colorize bias` on a few generated scenes, with names that need escaping."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from colorize.bias.methods import Pictures
from colorize.bias.run import measure_bias
from colorize.bias.tables import write_results
from colorize.bias.things import AnnotatedFolder
from colorize.scenes.dataset import generate_scenes
from colorize.scoring import Setup, score
from tests.fake_runs import write_run

SETUP = Setup("full-size", learned=False, pictures=True, resamples=100)
ODD = "<b>50%_x|&[1]"  # of a method
ODD_IMAGE = "ü <img src=x>"
COST = {"seconds": 1234.0, "cpu_seconds": 2345.0, "parameters_G": 54.41e6}


class Judged(NamedTuple):
    """Where the results lie."""

    root: Path
    scores: Path
    bias: Path

    @property
    def result(self) -> dict:
        return json.loads((self.scores / "scores.json").read_text())

    def lines(self, row: str) -> dict[str, dict]:
        """Return a row's scores by image."""
        for path in (self.scores / "images").glob("*.jsonl"):
            header, *lines = map(json.loads, path.read_text().splitlines())
            if header["method"] == row:
                return {line["image"]: line for line in lines}
        raise KeyError(row)


def write_judged(root: Path, checkpoint: Path) -> Judged:
    """Score two folders, one lacking a picture and with a damaged one, and a run's checkpoint; measure their bias."""
    generate_scenes(root / "scenes", 9, size=64)
    truth = root / "scenes/images"
    first = sorted(truth.iterdir())[0]
    Image.open(first).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(truth / f"{ODD_IMAGE}.png")
    for name, scale in (("faded", 0.5), (ODD, 1.3)):
        for number, path in enumerate(sorted(truth.iterdir())):
            image = Image.open(path).convert("RGB")
            (root / name).mkdir(exist_ok=True)
            faded = Image.blend(image.convert("L").convert("RGB"), image, scale - 0.03 * number)
            faded.save(root / name / f"{path.stem}.png")
    run = write_run(root / "run", ["lr=1e-4"], cost=COST)
    (run / "checkpoints").mkdir(exist_ok=True)
    shutil.copy(checkpoint, run / "checkpoints/best.ckpt")
    folder = AnnotatedFolder(str(root / "scenes"))
    methods = [Pictures(root / name, folder.files(), root / "bias") for name in ("faded", ODD)]
    write_results(measure_bias(folder, methods), root / "bias")
    missing, damaged = sorted(truth.iterdir())[1:3]
    (root / "faded" / f"{missing.stem}.png").unlink()
    (root / "faded" / f"{damaged.stem}.png").write_bytes(b"\x89PNG")
    outputs = [str(root / "faded"), str(root / ODD), f"trained={run / 'checkpoints/best.ckpt'}"]
    score(truth, outputs, root / "scores", SETUP)
    return Judged(root, root / "scores", root / "bias")
