"""Built distributions: their files, and a wheel that installs, trains, scores and colorizes by itself."""

import csv
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from colorize.base.errors import install_lines
from tests.conftest import ROOT, SMALL, colorful_image

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # 400 s for the longest where 13 processes wait for 2 cores
OURS = ("colorize_lab", "__editable__")  # what an installation of this project leaves in site-packages
OF_SETUPTOOLS = ("PKG-INFO", "setup.cfg", "colorize_lab.egg-info/")


def run(*words: str, cwd: Path, **env: str) -> str:
    """Run a command far from this checkout and return its output."""
    given = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        words, cwd=cwd, env=given | {"OMP_NUM_THREADS": "1"} | env,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}"
    return done.stdout


def build(kind: str, source: Path, out: Path) -> Path:
    """Build as pip and uv do, without fetching setuptools."""
    code = f"import sys, setuptools.build_meta as backend; print(backend.build_{kind}(sys.argv[1]))"
    return out / run(sys.executable, "-c", code, str(out), cwd=source).splitlines()[-1]


@pytest.fixture(scope="module")
def sources() -> list[str]:
    """List the files of the repository, whether committed or not."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository: nothing says which files are the source")
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines()
    return [name for name in listed if (ROOT / name).exists()]


@pytest.fixture(scope="module")
def dist(sources, tmp_path_factory) -> Path:
    """Build the source distribution from a clean copy, and the wheel from the source distribution alone."""
    folder = tmp_path_factory.mktemp("dist")
    clone = folder / "clone"
    for name in sources:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, clone / name, follow_symlinks=False)
    sdist = build("sdist", clone, folder)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    build("wheel", folder / sdist.name.removesuffix(".tar.gz"), folder)
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """Make a virtual environment that has every dependency that this one has, and not this project."""
    folder = tmp_path_factory.mktemp("environment")
    packages = folder / "packages"
    packages.mkdir()
    for path in filter(os.path.isdir, sys.path):
        if "site-packages" in path or "dist-packages" in path:
            for entry in Path(path).iterdir():
                if not entry.name.startswith(OURS) and not (packages / entry.name).exists():
                    (packages / entry.name).symlink_to(entry)
    venv.create(folder / "venv", with_pip=False)
    (site,) = (folder / "venv").glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(f"{packages}\n")
    return folder / "venv/bin"


def install(line: str, environment: Path, cwd: Path) -> None:
    """Run a line of `install_lines`, as typed, without a package index."""
    pip, *words = shlex.split(line)
    assert pip == "pip"
    run(str(environment / "python"), "-m", *(pip, *words), cwd=cwd, PIP_NO_INDEX="1", PIP_NO_BUILD_ISOLATION="0")


def test_the_source_distribution_is_the_whole_source(dist, sources) -> None:
    (folder,) = (path for path in dist.iterdir() if path.is_dir() and path.name.startswith("colorize_lab-"))
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    linked = {f"colorize/{name}" for name in sources if name.startswith("conf/") and name.endswith(".yaml")}
    assert set(sources) - found == {"colorize/conf"}  # a link, there a folder
    built = {name for name in found if name.startswith((*OF_SETUPTOOLS, "build/"))}
    assert found - built - set(sources) == linked
    for name in linked:
        assert (folder / name).read_bytes() == (ROOT / name).read_bytes()


def test_the_wheel_holds_the_package_and_nothing_else(dist, sources) -> None:
    (wheel,) = dist.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = {name for name in sources if name.startswith(("colorize/", "hydra_plugins/"))} - {"colorize/conf"}
    assert names == package | {f"colorize/{name}" for name in sources if name.startswith("conf/")}


def test_the_wheel_installs_and_trains_resumes_scores_and_colors(dist, environment, photos, tmp_path) -> None:
    install(install_lines("sweep")[1], environment, cwd=dist)
    where = run(str(environment / "python"), "-c", "import colorize; print(colorize.__file__)", cwd=tmp_path)
    assert where.startswith(str(environment.parent))
    assert "OptunaSweeper" in run(str(environment / "colorize"), "train", "--info", "plugins", cwd=tmp_path)

    small = [option for option in SMALL if option != "val_images=25"]
    options = [*small, f"data.root={photos}", "trainer.limit_train_batches=2", "max_epochs=1", "hydra.run.dir=run"]
    run(str(environment / "colorize"), "train", *options, cwd=tmp_path)
    last = tmp_path / "run/checkpoints/last.ckpt"
    run(str(environment / "colorize"), "train", f"ckpt_path={last}", "max_epochs=2", "hydra.run.dir=on", cwd=tmp_path)
    trained = [
        [int(row["step"]) for row in csv.DictReader((tmp_path / name / "metrics.csv").read_text().splitlines())]
        for name in ("run", "on")
    ]
    assert (trained[0][-1], trained[1][-1]) == (2, 4)  # batches
    best = str(tmp_path / "on/checkpoints/best.ckpt")
    run(str(environment / "colorize"), "eval", f"ckpt_path={best}", "judge=false", "hydra.run.dir=scores", cwd=tmp_path)
    assert (tmp_path / "scores/metrics.json").exists()
    colorful_image(0).convert("L").save(tmp_path / "photo.png")
    run(str(environment / "colorize"), "image", "photo.png", "-o", "colored.png", "--checkpoint", best, cwd=tmp_path)
    assert (tmp_path / "colored.png").exists()


def test_a_clone_installs_by_its_line_and_runs_anywhere(dist, environment, tmp_path) -> None:
    install(install_lines("sweep")[0], environment, cwd=dist / "clone")
    where = run(str(environment / "python"), "-c", "import colorize; print(colorize.__file__)", cwd=tmp_path)
    assert where.startswith(str(dist / "clone"))
    assert "OptunaSweeper" in run(str(environment / "colorize"), "train", "--info", "plugins", cwd=tmp_path)
