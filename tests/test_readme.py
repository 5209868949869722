"""Every command in the README and docs/ is accepted by the programs."""

import importlib
import json
import re
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import typer
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from PIL import Image
from typer.testing import CliRunner

from colorize.cli import app
from colorize.experiments.adapt import Adapted
from colorize.experiments.check_config import check
from colorize.export import export
from colorize.scoring import Setup, score
from tests.coco_folder import box, write_coco
from tests.conftest import ROOT, colorful_image
from tests.fake_runs import write_run, write_sweep
from tests.inference.test_video import greys, record
from tests.test_packaging import KNOWN as INSTALL_LINES

README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
TEXTS = [
    README,
    *(path.read_text() for path in sorted((ROOT / "docs").glob("*.md"), key=lambda path: path.stem != "coloring")),
]
BLOCKS = [block for text in TEXTS for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)]
LINES = [line for block in BLOCKS for line in block.splitlines() if line.strip()]
COMMANDS = list({tuple(shlex.split(line, comments=True)): line for line in reversed(LINES)}.values())[::-1]  # each once


def compose_all(config: str, overrides: list[str]) -> list:
    """Compose every job that the overrides make; the intervals of a search at their ends."""
    hydra = [override for override in overrides if override.startswith("hydra.")]
    parsed = OverridesParser.create().parse_overrides([o for o in overrides if o not in hydra])
    ends = [
        f"{o.get_key_element()}={o.value().start},{o.value().end}" if o.is_interval_sweep() else o.input_line
        for o in parsed
    ]
    jobs = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(ends), None)[0]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return [compose(config, [*job, *hydra, "run_dir=x"]) for job in jobs]


@pytest.mark.parametrize("line", COMMANDS)
def test_command_is_understood(line, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # some commands are for machines that have a GPU
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)  # and some for people who have an account
    words = shlex.split(line, comments=True)
    match words:
        case ["pip", "install", *_]:
            assert line.startswith(INSTALL_LINES)
        case ["make", target, *variables]:
            assert all(re.search(rf"\b{word.partition('=')[0]}\b", MAKEFILE) for word in variables)
            assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)
        case ["source", script]:
            assert script == ".venv/bin/activate"
        case ["python", "train.py", *overrides] | ["colorize", "train", *overrides]:
            for cfg in compose_all("train", [o for o in overrides if o not in ("-m", "--help")]):
                OmegaConf.to_container(cfg, resolve=True)
                check(cfg)
        case ["python", "eval.py", *overrides] | ["colorize", "eval", *overrides]:
            for cfg in compose_all("eval", overrides):
                OmegaConf.to_container(cfg, resolve=True)
                assert all(key.startswith("data.") for key in OmegaConf.missing_keys(cfg))  # the checkpoint has these
        case ["colorize", option] if option.startswith("--"):
            assert option in {name for parameter in typer.main.get_command(app).params for name in parameter.opts}
        case ["colorize", subcommand, *args]:
            typer.main.get_command(app).commands[subcommand].make_context("colorize", args)
        case ["python", "-m", module, *args]:
            monkeypatch.setattr("sys.argv", [module, *args, "--help"])
            with pytest.raises(SystemExit, match="0"):
                importlib.import_module(module).main()
        case ["wandb", subcommand, *_]:
            from wandb.cli.cli import cli

            assert subcommand in cli.commands
        case _:
            pytest.fail(f"no test for {line!r}")


def test_wandb_sweep_names_options_that_exist() -> None:
    sweep = OmegaConf.load(ROOT / "conf/wandb_sweep.yaml")
    for name, parameter in sweep.parameters.items():
        values = list(parameter["values"]) if "values" in parameter else [parameter["min"], parameter["max"]]
        for value in values:
            for cfg in compose_all("train", [f"{name}={value}"]):
                check(cfg)
    assert sweep.metric.name == "val/l1"


@pytest.fixture
def workplace(tmp_path, monkeypatch, checkpoint) -> Path:
    """Go into a folder that holds all that the commands of `colorize` name."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "photo.jpg",
        "old.png",
        "a.jpg",
        "b.png",
        "scans/1.png",
        "cyanotypes/1.png",
        "more/deep/2.tif",
        "data/coco/train2017/1.jpg",
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        colorful_image(0).save(name)
    trained = Path("outputs/DATE/TIME/checkpoints/best.ckpt")
    trained.parent.mkdir(parents=True)
    content = torch.load(checkpoint, weights_only=True)
    content["metrics"]["val/calibrated_gain"] = 1.2
    torch.save(content, trained)
    write_run(Path("outputs/DATE/TIME"), ["gan_mode=lsgan"])
    write_sweep(Path("multirun/DATE/TIME"))
    index = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 48, "height": 40}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 18, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0}],
        "categories": [{"id": 18, "name": "dog"}],
    }
    Path("data/coco/annotations").mkdir()
    Path("data/coco/annotations/instances_train2017.json").write_text(json.dumps(index))
    pictures = [np.asarray(colorful_image(number, 64, 64)) for number in range(3)]
    write_coco(Path("mini"), pictures, [box(number, 1, 0, 0, 32, 32) for number in (1, 2, 3)], ("dog",))
    shutil.copytree("mini/images", "others")
    for method, out in (("others", "scores"), ("mine=others", "other-scores")):
        score("mini/images", [method], out, Setup("full-size", learned=False, resamples=100))
    for name in ("film.mp4", "film.mkv"):
        record(Path(name), greys(3))
    return tmp_path


def adapted(folder: Path, out: Path, checkpoint: str, minutes: float) -> Adapted:
    """Stand in for minutes of training."""
    export("outputs/DATE/TIME/checkpoints/best.ckpt", out)
    return Adapted(40, 10, minutes, 0.09, 0.08, (-0.02, -0.01))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools beside numpy 2
def test_every_command_of_colorize_runs_in_its_order(workplace, monkeypatch) -> None:
    served = []
    monkeypatch.setattr("colorize.web.serve", lambda checkpoints, *rest: served.append(list(checkpoints)))
    monkeypatch.setattr("colorize.experiments.adapt.adapt", adapted)
    monkeypatch.setattr("colorize.tracking.dashboard.save", lambda project: project)  # else it would ask W&B
    scored = []
    monkeypatch.setattr("colorize.scoring.score", lambda *given: scored.append(given) or SimpleNamespace(checks=[]))
    monkeypatch.setattr("colorize.scoring.markdown", lambda result: "")
    for line in COMMANDS:
        words = shlex.split(line, comments=True)
        if words[0] == "colorize" and words[1] != "--install-completion":
            if words[1] == "export" and Path("model").exists():
                shutil.rmtree("model")  # the next line makes it anew
            result = CliRunner().invoke(app, words[1:])
            assert result.exit_code == 0, f"{line}: {result.output}"
    assert {path.name for path in Path("colored").iterdir()} >= {"photo.jpg", "old.png", "1.png", "deep", "images"}
    assert Path("colored.mp4").exists() and Path("colored.webm").exists() and Path("model/model.onnx").exists()
    assert [(str(truth), setup.protocol) for truth, _, _, setup, _ in scored] == [
        ("coco/val2017", "coco"), ("truth", "full-size"), ("ILSVRC2012_val", "imagenet-val5k"), ("truth", "as-is"),
    ]  # fmt: skip
    assert served == [["photographs"], ["model", "outputs/DATE/TIME/checkpoints/best.ckpt"]]


def test_the_python_example_runs(workplace) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(example.replace("working_size=512", "working_size=64"), {})
    with Image.open("colored.png") as colored:
        assert colored.size == (48, 40)


def test_the_picture_is_there() -> None:
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / path).stat().st_size < 1_000_000
