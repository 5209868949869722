"""Exports: safetensors, the hub, ONNX; and the metadata of checkpoints."""

import hashlib
import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from colorize.base.errors import UserError, install_lines
from colorize.checkpoint import load_generator
from colorize.export import describe, export
from colorize.inference import Colorizer
from colorize.inference.predictor import load_predictor
from colorize.networks import GENERATORS, Unet
from tests.conftest import colorful_image

PICTURE = colorful_image(0, 80, 50).convert("L")


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    assert export(checkpoint, folder) == []
    return folder


@pytest.fixture(scope="module")
def with_onnx(checkpoint, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    parity = export(checkpoint, folder, onnx=True)
    assert [shape for shape, _ in parity] == [
        "1 x 1 x 32 x 32", "3 x 1 x 32 x 32", "1 x 1 x 64 x 32", "2 x 1 x 32 x 64", "1 x 1 x 96 x 64"
    ]  # fmt: skip
    assert 0 < max(difference for _, difference in parity) < 1e-5
    return folder


def test_the_weights_are_those_of_the_checkpoint(checkpoint, exported) -> None:
    expected = torch.load(checkpoint, weights_only=True)["state_dict"]
    weights = load_file(exported / "model.safetensors")
    assert {f"generator.{name}" for name in weights} == set(expected)
    assert all(torch.equal(value, expected[f"generator.{name}"]) for name, value in weights.items())


def test_half_the_size_is_read_as_float32_and_colors_alike(checkpoint, exported, tmp_path) -> None:
    export(checkpoint, tmp_path / "half", half=True)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (exported, tmp_path / "half")]
    assert sizes[1] < 0.6 * sizes[0]
    stored = load_file(tmp_path / "half/model.safetensors")
    for name, value in load_generator(checkpoint)[0].state_dict().items():
        expected = value.half().numpy() if value.ndim > 1 else value.numpy()
        assert stored[name].numpy().dtype == expected.dtype and np.array_equal(stored[name].numpy(), expected), name
    pixels = [np.asarray(Colorizer.from_pretrained(f).colorize(PICTURE)) for f in (checkpoint, tmp_path / "half")]
    assert np.abs(np.subtract(*pixels, dtype=int)).max() <= 1


def test_a_calibrated_model_multiplies_its_chroma(checkpoint, tmp_path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["metrics"]["val/calibrated_gain"] = 1.2
    torch.save(content, tmp_path / "x.ckpt")
    export(tmp_path / "x.ckpt", tmp_path / "model", onnx=True, calibrate=True)
    stronger = Colorizer.from_checkpoint(checkpoint, "cpu").colorize(PICTURE, strength=1.2)
    for path in (tmp_path / "model", tmp_path / "model/model.onnx"):
        colored = Colorizer.from_checkpoint(path, "cpu").colorize(PICTURE)
        assert np.abs(np.subtract(colored, stronger, dtype=int)).max() <= 1
    assert "its chroma is multiplied by 1.2," in (tmp_path / "model/README.md").read_text()


@pytest.mark.parametrize("gain", [None, float("nan")])
def test_without_a_gain_from_validation_nothing_is_calibrated(checkpoint, tmp_path, gain) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["metrics"] |= {} if gain is None else {"val/calibrated_gain": gain}
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match=r"--calibrate: .*x.ckpt has no gain from validation"):
        export(tmp_path / "x.ckpt", tmp_path / "model", calibrate=True)
    assert not (tmp_path / "model").exists()


def changed(checkpoint: Path, path: Path, scale: float, **config) -> Path:
    """Save a checkpoint with weights times a scale, and keys of its config."""
    content = torch.load(checkpoint, weights_only=True)
    for value in content["state_dict"].values():
        if value.is_floating_point():
            value *= scale
        else:
            value += int(scale)
    content["hyper_parameters"]["provenance"] = {"commit": "abc", "config": {"seed": 1} | config}
    content["metrics"] = {"val/l1": scale, "val/l1_grey": 0.1}
    torch.save(content, path)
    return path


def test_of_several_checkpoints_the_mean_is_exported(checkpoint, tmp_path) -> None:
    """Its records are what all have in common, and what differs for each."""
    both = [changed(checkpoint, tmp_path / f"{scale}.ckpt", scale, lr=scale) for scale in (1.0, 4.0)]
    export(both, tmp_path / "model", gain=1.2)
    weights = load_file(tmp_path / "model/model.safetensors")
    first = load_generator(both[0])[0].state_dict()
    for name, value in first.items():
        expected = 2.5 * value.numpy() if value.is_floating_point() else value.numpy()
        assert weights[name].numpy() == pytest.approx(expected, rel=1e-6), name
    about = json.loads((tmp_path / "model/config.json").read_text())["about"]
    assert about["provenance"] == {"commit": "abc", "config": {"seed": 1}} and "metrics" not in about
    assert [each["provenance"] for each in about["mean_of"]] == [{"config": {"lr": 1.0}}, {"config": {"lr": 4.0}}]
    assert [each["metrics"]["val/l1"] for each in about["mean_of"]] == [1.0, 4.0]
    card = (tmp_path / "model/README.md").read_text()
    assert "- mean of: 2 models" in card and "multiplied by 1.2. `--strength`" in card
    assert about["gain"] == 1.2 and Colorizer.from_pretrained(tmp_path / "model").gain == 1.2


def test_what_has_no_mean_and_two_gains_are_refused(checkpoint, tmp_path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"]["image_size"] *= 2
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match=r"x\.ckpt has another generator or image size than"):
        export([checkpoint, tmp_path / "x.ckpt"], tmp_path / "model")
    with pytest.raises(UserError, match="a mean of checkpoints was not validated; give the gain by --gain"):
        export([checkpoint, checkpoint], tmp_path / "model", calibrate=True)
    with pytest.raises(UserError, match="--calibrate and --gain both set the gain"):
        export(checkpoint, tmp_path / "model", calibrate=True, gain=1.1)
    assert not (tmp_path / "model").exists()


def test_an_export_tells_no_folders_of_this_machine(checkpoint, tmp_path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"]["provenance"] = {
        "config": {"data": {"name": "folder", "root": "/home/me/photos", "store_dir": "data/stores"}, "lr": 1e-3},
        "overrides": ["data.root=/home/me/photos", "lr=1e-3"],
        "start": {"init_from": {"name": "/home/me/runs/best.ckpt"}},
    }
    content["ColorizationDataModule"] = {"trained_on": "abc"}
    torch.save(content, tmp_path / "x.ckpt")
    export(tmp_path / "x.ckpt", tmp_path / "model")
    about = json.loads((tmp_path / "model/config.json").read_text())["about"]
    assert about["provenance"] == {
        "config": {"data": {"name": "folder", "root": "photos", "store_dir": "data/stores"}, "lr": 1e-3},
        "overrides": ["data.root=photos", "lr=1e-3"],
        "start": {"init_from": {"name": "best.ckpt"}},
    }
    assert about["trained_on"] == "abc"
    assert "/home" not in (tmp_path / "model/README.md").read_text()


def test_channels_last_weights_are_exported(tmp_path) -> None:
    settings = {"name": "unet", "n_down": 3, "num_filters": 2}
    network = Unet(3, 2).to(memory_format=torch.channels_last)
    weights = {f"generator.{name}": value for name, value in network.state_dict().items()}
    content = {"state_dict": weights, "hyper_parameters": {"generator": settings, "image_size": 8}}
    torch.save(content, tmp_path / "x.ckpt")
    export(tmp_path / "x.ckpt", tmp_path / "out")
    loaded = load_generator(tmp_path / "out")[0].state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in network.state_dict().items())


def test_the_folder_colors_as_the_checkpoint(checkpoint, exported) -> None:
    expected = Colorizer.from_checkpoint(checkpoint, "cpu").colorize(PICTURE)
    assert np.array_equal(Colorizer.from_pretrained(exported, "cpu").colorize(PICTURE), expected)


def test_the_checksums_are_those_of_sha256sum(exported) -> None:
    for line in (exported / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((exported / name).read_bytes()).hexdigest() == digest
    assert len((exported / "SHA256SUMS").read_text().splitlines()) == 3


def test_the_card_has_license_install_line_and_baseline(exported, checkpoint, tmp_path) -> None:
    card = (exported / "README.md").read_text()
    header = card.split("---")[1]
    assert "\nlicense: other\n" in header and "## License" in card
    assert card.index(install_lines()[0]) < card.index("colorize image photo.jpg --checkpoint ")
    assert "baseline" not in card  # of a checkpoint from before it was measured
    content = torch.load(checkpoint, weights_only=True)
    torch.save(content | {"metrics": {"val/l1": 0.06, "val/l1_grey": 0.08}}, tmp_path / "y.ckpt")
    export(tmp_path / "y.ckpt", tmp_path / "y")
    assert "its L1 is 0.08; this model's is 0.75 times that." in (tmp_path / "y/README.md").read_text()


def test_the_card_says_what_it_was_trained_on_and_its_metrics(exported) -> None:
    card = (exported / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: colorize\n")
    for fact in (
        "- data: folder",
        "- training images: 20",
        "- commit: abc",
        "| val/l1 | 0.125 |",
        "| val/psnr | 20.5 |",
    ):
        assert fact in card


def test_a_folder_that_exists_is_left_alone(checkpoint, exported) -> None:
    with pytest.raises(UserError, match="exists already; name a new folder"):
        export(checkpoint, exported)


def test_an_export_can_be_exported_again(exported, tmp_path) -> None:
    export(exported, tmp_path / "again")
    assert (tmp_path / "again/config.json").read_text() == (exported / "config.json").read_text()


def damaged(folder: Path, file: str, change, keep_sums: bool = True) -> None:
    (folder / file).write_bytes(change((folder / file).read_bytes()))
    if not keep_sums:
        (folder / "SHA256SUMS").unlink()


@pytest.mark.parametrize(
    ("file", "change", "keep_sums", "message"),
    [
        ("model.safetensors", lambda data: data[:-1] + b"x", True, "the sha256 of model.safetensors is not"),
        ("config.json", lambda data: data + b" ", True, "the sha256 of config.json is not"),
        ("model.safetensors", lambda data: data[:100], False, "model.safetensors is damaged"),
        ("config.json", lambda data: b"{}", False, "is of another project"),
        ("config.json", lambda data: b"no json", False, r"of another project: config\.json is not valid JSON"),
        ("config.json", lambda data: data.replace(b'"unet"', b'"vit"'), False, "unknown generator 'vit'"),
        ("config.json", lambda data: data.replace(b'"num_filters": 4', b'"num_filters": 2'), False, "do not fit"),
        ("config.json", lambda data: data.replace(b'"unet"', b"[1]"), False, "names no generator"),
    ],
)  # fmt: skip
def test_a_damaged_folder_is_one_line(checkpoint, tmp_path, file, change, keep_sums, message) -> None:
    export(checkpoint, tmp_path / "model")
    damaged(tmp_path / "model", file, change, keep_sums)
    with pytest.raises(UserError, match=message) as caught:
        load_predictor(tmp_path / "model", "cpu")
    assert len(str(caught.value).splitlines()) == 1


def test_a_folder_of_something_else_is_one_line(tmp_path) -> None:
    with pytest.raises(UserError, match=r"is not an exported model: it has no config\.json"):
        load_predictor(tmp_path, "cpu")


class Hub(BaseHTTPRequestHandler):
    """Serves ``someone/something`` as the hub does."""

    folder: Path

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        owner, name, _, revision, file = self.path.strip("/").split("/", 4)
        found = (owner, name, revision) == ("someone", "something", "main") and (self.folder / file).is_file()
        content = (self.folder / file).read_bytes() if found else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(content)))
        if found:
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
        else:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *args) -> None:
        pass


@pytest.fixture
def hub(exported, tmp_path):
    """Run a hub on this machine; return what makes a process use it, with a cache of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Hub,), {"folder": exported}))
    Thread(target=server.serve_forever, daemon=True).start()
    yield {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
    server.shutdown()
    server.server_close()


def load_from_hub(name: str, environment: dict[str, str], tmp_path: Path) -> subprocess.CompletedProcess:
    code = (
        "import sys; from PIL import Image; from colorize.inference import Colorizer; "
        f"Colorizer.from_pretrained({name!r}, 'cpu').colorize(Image.open({str(tmp_path / 'x.png')!r}))"
        f".save({str(tmp_path / 'y.png')!r})"
    )
    PICTURE.save(tmp_path / "x.png")
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


def test_a_name_on_the_hub_is_fetched(checkpoint, hub, tmp_path) -> None:
    done = load_from_hub("someone/something", hub, tmp_path)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "y.png") as colored:
        assert np.array_equal(colored, Colorizer.from_checkpoint(checkpoint, "cpu").colorize(PICTURE))


def test_a_name_that_the_hub_does_not_know_is_one_line(hub, tmp_path) -> None:
    done = load_from_hub("someone/else", hub, tmp_path)
    assert "checkpoint someone/else is neither a local path nor on the Hugging Face hub" in done.stderr.splitlines()[-1]
    assert "Retrying" not in done.stderr


def test_onnx_runs_without_torch(checkpoint, with_onnx, tmp_path) -> None:
    PICTURE.save(tmp_path / "x.png")
    code = (
        "import sys; from colorize.cli import app; app("
        f"['image', {str(tmp_path / 'x.png')!r}, '-o', {str(tmp_path / 'out')!r}, "
        f"'--checkpoint', {str(with_onnx / 'model.onnx')!r}], standalone_mode=False); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out/x.png") as colored:
        expected = np.asarray(Colorizer.from_checkpoint(checkpoint, "cpu").colorize(PICTURE)).astype(int)
        assert np.abs(np.asarray(colored) - expected).max() <= 1


def test_onnx_that_computes_something_else_is_not_kept(checkpoint, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("colorize.export.PARITY", 1e-12)
    with pytest.raises(
        UserError, match=r"ONNX differs from PyTorch by .* at 1 x 1 x 32 x 32, over 1e-12: not exported"
    ):
        export(checkpoint, tmp_path / "model", onnx=True)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, r"is not a file; colorize export --onnx makes one"), (b"no model", "is damaged or not an ONNX model")],
)
def test_onnx_that_will_not_do_is_one_line(tmp_path, content, message) -> None:
    if content:
        (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load_predictor(tmp_path / "model.onnx")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "bf16"}, "precision=bf16 cannot be used with model.onnx"),
        ({"device": "mps"}, "device=mps is not available for ONNX"),
    ],
)
def test_what_onnx_cannot_is_named(with_onnx, arguments, message) -> None:
    with pytest.raises(UserError, match=message):
        load_predictor(with_onnx / "model.onnx", **arguments)


@pytest.mark.parametrize("kind", ["training checkpoint", "exported folder", "ONNX export"])
def test_a_checkpoint_says_what_it_is(checkpoint, with_onnx, kind) -> None:
    path = {"training checkpoint": checkpoint, "exported folder": with_onnx, "ONNX export": with_onnx / "model.onnx"}[
        kind
    ]
    found = describe(str(path))
    file = path / "model.safetensors" if path.is_dir() else path
    assert found["kind"] == kind
    assert found["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert found["generator"] == "name=unet n_down=5 num_filters=4" and found["image size"] == 32
    assert found["parameters"] == sum(p.numel() for p in GENERATORS.build("unet", n_down=5, num_filters=4).parameters())
    assert (found["data"], found["epochs"], found["batches"], found["commit"]) == ("folder", 3, 15, "abc")
    assert found["metrics"] == {"val/l1": 0.125, "val/psnr": 20.5}
    assert json.dumps(found["config"])
