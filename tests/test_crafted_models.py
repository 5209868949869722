"""Untrusted model files either load or are refused in one line, never with a traceback."""

import hashlib
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from colorize.base.errors import UserError
from colorize.checkpoint import load_generator, read_checkpoint, read_model
from colorize.cli import app
from colorize.experiments.evaluation import _predictors
from colorize.export import describe, export
from colorize.inference.predictor import load_predictor
from colorize.networks import build_generator
from colorize.training.callbacks.checkpoints import AtomicCheckpointIO

L = np.linspace(-1, 1, 32 * 32, dtype=np.float32).reshape(1, 1, 32, 32)
GONE = object()


def edited(content: dict, where: str, value: object) -> dict:
    """Set, or remove, one value of nested dictionaries; ``where`` is its path with slashes."""
    *parents, last = where.split("/")
    found = content
    for key in parents:
        found = found[key]
    if value is GONE:
        del found[last]
    else:
        found[last] = value
    return content


def refused(name: Path) -> str:
    """Return the line that says why a model is not used; both ways in must say one."""
    for use in (load_predictor, describe):
        with pytest.raises(UserError) as raised:
            use(str(name))
    line = str(raised.value)
    assert "\n" not in line and len(line) < 600
    return line


def deep(levels: int) -> list:
    found: list = []
    for _ in range(levels):
        found = [found]
    return found


CLAIMS = [
    ("generator", GONE),
    ("generator", None),
    ("generator", []),
    ("generator/name", GONE),
    ("generator/name", 7),
    ("generator/name", ["unet"]),
    ("generator/n_down", "5"),
    ("generator/n_down", 5.0),
    ("generator/n_down", True),
    ("generator/n_down", None),
    ("generator/n_down", -1),
    ("generator/n_down", 100_000),
    ("generator/num_filters", 10**12),
    ("generator/num_filters", 10**30),
    ("generator/num_filters", [4]),
    ("generator/attention", 3),
    ("generator/attention", ["1"]),
    ("generator/attention", [[1]]),
    ("generator/attention", {}),
    ("generator/attention_spectral_norm", "no"),
    ("generator/input_c", 3),
    ("generator/output_c", 1),
    ("generator/self", 1),
    ("generator/other", 1),
    ("image_size", GONE),
    ("image_size", None),
    ("image_size", "32"),
    ("image_size", 32.5),
    ("image_size", 0),
    ("image_size", -32),
    ("image_size", 10**9),
    ("image_size", True),
]


@pytest.mark.parametrize(("where", "value"), CLAIMS)
def test_a_checkpoint_whose_claims_will_not_do_is_one_line(checkpoint, tmp_path, where, value) -> None:
    content = torch.load(checkpoint, weights_only=True)
    torch.save(edited(content, f"hyper_parameters/{where}", value), tmp_path / "x.ckpt")
    assert f"{tmp_path}/x.ckpt" in refused(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("hyper_parameters", GONE),
        ("hyper_parameters", None),
        ("hyper_parameters", []),
        ("hyper_parameters/provenance", "text"),
        ("hyper_parameters/provenance/config", [1]),
        ("hyper_parameters/provenance/config/data", "folder"),
        ("hyper_parameters/provenance/config/data", {"root": deep(100)}),
        ("epoch", "2"),
        ("metrics", None),
        ("metrics", {"val/l1": "low"}),
        ("metrics", {1: 1.0}),
        ("state_dict", GONE),
        ("state_dict", None),
        ("state_dict", []),
        ("state_dict", {}),
        ("state_dict", {1: torch.zeros(1)}),
        ("state_dict/generator.model.0.weight", GONE),
        ("state_dict/generator.model.0.weight", None),
        ("state_dict/generator.model.0.weight", [1.0]),
        ("state_dict/generator.model.0.weight", torch.zeros(4, 1, 4, 3)),
        ("state_dict/generator.model.0.weight", torch.zeros(4, 1, 4, 4, dtype=torch.complex64)),
        ("state_dict/generator.model.0.weight", torch.zeros(4, 1, 4, 4, dtype=torch.int32)),
        ("state_dict/generator.model.0.weight", torch.zeros(4, 1, 4, 4).to_sparse()),
        ("state_dict/generator.model.0.weight", torch.zeros(4, 1, 4, 4, device="meta")),
        ("state_dict/generator.model.0.weight", torch.full((4, 1, 4, 4), torch.nan)),
        ("state_dict/generator.model.0.weight", torch.full((4, 1, 4, 4), 1e300, dtype=torch.float64)),
        ("state_dict/generator.model.0.weight", torch.zeros(1).expand(2**20, 2**20, 4, 4)),
        ("state_dict/generator.more", torch.zeros(1)),
    ],
)
def test_a_checkpoint_of_other_contents_is_one_line(checkpoint, tmp_path, where, value) -> None:
    torch.save(edited(torch.load(checkpoint, weights_only=True), where, value), tmp_path / "x.ckpt")
    refused(tmp_path / "x.ckpt")


@pytest.mark.parametrize("content", [None, [], "text", 7, torch.zeros(2)])
def test_an_archive_of_something_else_is_one_line(tmp_path, content) -> None:
    torch.save(content, tmp_path / "x.ckpt")
    refused(tmp_path / "x.ckpt")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_precision_load_as_float32(checkpoint, tmp_path, dtype) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"] = {k: v.to(dtype) if v.is_floating_point() else v for k, v in content["state_dict"].items()}
    torch.save(content, tmp_path / "x.ckpt")
    generator, _ = load_generator(tmp_path / "x.ckpt")
    for name, value in generator.state_dict().items():
        expected = content["state_dict"][f"generator.{name}"].numpy(force=True) if dtype != torch.bfloat16 else None
        assert value.dtype == (torch.float32 if value.is_floating_point() else torch.int64)
        assert expected is None or np.array_equal(value.numpy(), expected.astype(value.numpy().dtype))
    assert np.abs(load_predictor(tmp_path / "x.ckpt")(L) - load_predictor(checkpoint)(L)).max() < 0.02


@pytest.mark.parametrize(
    "generator",
    [
        {"name": "unet", "n_down": 100_000},
        {"name": "unet", "n_down": 8, "num_filters": 2**40},
        {"name": "encoder_unet", "width": 10**9},
        {"name": "encoder_unet", "widths": [10**9]},
        {"name": "encoder_unet", "attention": [10**6, 0]},
        {"name": "encoder_unet", "queries": 10**9},
        {"name": "encoder_unet", "queries": 2, "query_layers": 10**6},
        {"name": "encoder_unet", "queries": 2, "query_width": 10**9},
        {"name": "encoder_unet", "queries": 2, "query_width": 65},
        {"name": "encoder_unet", "encoder": "hf-hub:some/where"},
        {"name": "encoder_unet", "encoder": 3},
        {"name": "encoder_unet", "frozen": 2.5},
    ],
)
def test_what_no_machine_could_build_is_refused_at_once(generator) -> None:
    started = time.perf_counter()
    with pytest.raises(UserError):
        build_generator(**generator)
    assert time.perf_counter() - started < 10  # the first needs timm, which takes seconds to import


INFO = """
import resource, sys
from colorize.cli import app
resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30, 12 * 2**30))
app(["info", sys.argv[1]])
"""


def test_info_allocates_nothing_of_what_a_header_claims(tmp_path) -> None:
    """n_down=8 with 1,024 filters: 14 billion parameters, 56 GB."""
    config = {"generator": {"name": "unet", "num_filters": 1024}, "image_size": 256, "about": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"model.0.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    done = subprocess.run([sys.executable, "-c", INFO, tmp_path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr


@pytest.fixture(scope="module")
def model(checkpoint, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    export(checkpoint, folder, onnx=True)
    return folder


@pytest.fixture
def folder(model, tmp_path) -> Path:
    """A copy of an exported model without ONNX, and without the sums that would notice any change."""
    (tmp_path / "model").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "model" / name).write_bytes((model / name).read_bytes())
    return tmp_path / "model"


@pytest.mark.parametrize(("where", "value"), CLAIMS)
def test_a_folder_whose_claims_will_not_do_is_one_line(folder, where, value) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(edited(config, where, value)))
    assert str(folder) in refused(folder)


@pytest.mark.parametrize("gain", [0, -1, 1e9, float("nan"), float("inf"), "2", None, [1], True])
def test_a_gain_that_is_none_is_one_line(folder, gain) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(edited(config, "about/gain", gain)))
    assert "gain must be a number" in refused(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{",
        '"text"',
        "\ud800".encode("utf-16", "surrogatepass").decode("latin-1"),
        "[" * 200_000,
        '{"a":' * 200_000,
        '{"generator": {"name": "unet"}, "image_size": ' + "9" * 5000 + ', "about": {}}',
        '{"generator": {"name": "unet", "n_down": 5, "num_filters": 4}, "image_size": 32, "about": []}',
        '{"generator": {"name": "unet", "n_down": 5, "num_filters": 4}, "image_size": 32, "about": {"provenance": 3}}',
        " " * (32 << 20),
    ],
)
def test_a_config_that_is_none_is_one_line(folder, text) -> None:
    (folder / "config.json").write_text(text, encoding="latin-1")
    refused(folder)


@pytest.mark.parametrize(
    "text", [b"junk", b"\xff\xfe\x00", b"0\n", b"a b c\n", b"\0" * 1000, b"x" * (4 << 20), b"config.json  abc\n"]
)
def test_sums_that_are_none_are_one_line(model, folder, text) -> None:
    (folder / "SHA256SUMS").write_bytes(text)
    assert "SHA256SUMS" in refused(folder)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "SHA256SUMS"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "loop"])
def test_what_lies_in_place_of_a_file_is_one_line(folder, file, kind) -> None:
    path = folder / file
    path.unlink(missing_ok=True)
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "loop": lambda: path.symlink_to(path)}[kind]()
    refused(folder)


def test_safetensors_of_other_shapes_and_types_are_one_line(folder) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    for changed in (
        weights | {"model.0.weight": torch.zeros(4, 1, 4, 4, dtype=torch.int8)},
        weights | {"model.0.weight": torch.zeros(0)},
        weights | {"model.0.weight": torch.full((4, 1, 4, 4), torch.inf)},
        {"model.0.weight": weights["model.0.weight"]},
    ):
        save_file(changed, path)
        refused(folder)


@pytest.mark.parametrize(
    "header", [b"", b"{", b"[]", b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4]}}']
)
def test_a_safetensors_header_that_claims_too_much_is_one_line(folder, header) -> None:
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    refused(folder)


def flipped(path: Path, target: Path, at: int) -> Path:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(content)
    return target


def test_a_flipped_bit_of_a_checkpoints_weights_is_one_line(checkpoint, tmp_path) -> None:
    with zipfile.ZipFile(checkpoint) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    for share in (0.1, 0.5, 0.9):
        at = largest.header_offset + 128 + int(share * (largest.file_size - 128))
        assert "damaged" in refused(flipped(checkpoint, tmp_path / "x.ckpt", at))
        with pytest.raises(UserError, match="damaged"):
            read_checkpoint(tmp_path / "x.ckpt")  # what a run would go on from


def digest_by_hand(weights: dict[str, torch.Tensor]) -> str:
    parts = []
    for name, value in sorted((name, value.numpy()) for name, value in weights.items()):
        parts += [f"{name} torch.{value.dtype} {value.shape}\n".encode(), value.tobytes()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_training_writes_the_digest_of_the_weights(checkpoint, tmp_path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    AtomicCheckpointIO().save_checkpoint(content, tmp_path / "x.ckpt")
    assert read_checkpoint(tmp_path / "x.ckpt")["weights_sha256"] == digest_by_hand(content["state_dict"])


def test_weights_that_are_not_those_of_their_digest_are_one_line(checkpoint, tmp_path) -> None:
    """The archive's own sums are right: it has been written anew."""
    AtomicCheckpointIO().save_checkpoint(torch.load(checkpoint, weights_only=True), tmp_path / "x.ckpt")
    content = torch.load(tmp_path / "x.ckpt", weights_only=True)
    content["state_dict"]["generator.model.3.bias"][0] += 2**-20
    torch.save(content, tmp_path / "x.ckpt")
    assert "its weights do not match their digest" in refused(tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="damaged"):
        read_checkpoint(tmp_path / "x.ckpt")  # what a run would go on from


def test_a_digest_does_not_unfold_what_claims_to_be_huge(checkpoint, tmp_path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content |= {"weights_sha256": "0" * 64, "state_dict": {"generator.x": torch.zeros(1).expand(2**50)}}
    torch.save(content, tmp_path / "x.ckpt")
    assert "claim to be larger" in refused(tmp_path / "x.ckpt")


def test_a_checkpoint_whose_parts_are_packed_is_one_line(checkpoint, tmp_path) -> None:
    """One that unpacks to a thousand times its size would fill the memory."""
    with zipfile.ZipFile(checkpoint) as archive, zipfile.ZipFile(tmp_path / "x.ckpt", "w") as packed:
        for entry in archive.infolist():
            packed.writestr(entry.filename, archive.read(entry), zipfile.ZIP_DEFLATED)
    assert "damaged" in refused(tmp_path / "x.ckpt")


def test_a_flipped_bit_of_onnx_is_one_line_where_the_sums_list_it(model, tmp_path) -> None:
    (tmp_path / "SHA256SUMS").write_bytes((model / "SHA256SUMS").read_bytes())
    path = flipped(model / "model.onnx", tmp_path / "model.onnx", (model / "model.onnx").stat().st_size // 2)
    assert "the sha256 of model.onnx is not the one in SHA256SUMS" in refused(path)


def test_the_sums_of_a_folder_hold_for_its_onnx_only_where_they_list_it(model, tmp_path) -> None:
    (tmp_path / "other.onnx").write_bytes((model / "model.onnx").read_bytes())
    (tmp_path / "SHA256SUMS").write_bytes((model / "SHA256SUMS").read_bytes())
    assert np.array_equal(load_predictor(tmp_path / "other.onnx")(L), load_predictor(model / "model.onnx")(L))


def onnx_with(model: Path, target: Path, **metadata: str | None) -> Path:
    import onnx

    file = onnx.load(model / "model.onnx")
    for entry in list(file.metadata_props):
        if entry.key in metadata:
            file.metadata_props.remove(entry)
    onnx.helper.set_model_props(
        file,
        {entry.key: entry.value for entry in file.metadata_props}
        | {key: value for key, value in metadata.items() if value is not None},
    )
    onnx.save(file, target)
    return target


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("factor", value) for value in ("0", "-1", "1e9", "null", "1000000000", "", None)),
        *(("image_size", value) for value in ("0", "x", "99999999999", None)),
        *(("generator", value) for value in ("[]", "null", "{", "[" * 100_000, '{"name": 3}', None)),
        *(("about", value) for value in ("[]", "null", '{"metrics": 3}', '{"provenance": {"config": []}}', None)),
    ],
)
def test_onnx_whose_claims_will_not_do_is_one_line(model, tmp_path, key, value) -> None:
    refused(onnx_with(model, tmp_path / "x.onnx", **{key: value}))


@pytest.mark.parametrize("change", ["output", "input", "rank", "type"])
def test_onnx_of_other_inputs_or_outputs_is_one_line(model, tmp_path, change) -> None:
    import onnx

    file = onnx.load(model / "model.onnx")
    graph = file.graph
    if change == "output":
        for node in graph.node:
            node.output[:] = ["other" if name == "ab" else name for name in node.output]
        graph.output[0].name = "other"
    elif change == "input":
        graph.input.append(onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1]))
    elif change == "rank":
        squeezed = onnx.helper.make_node("ReduceMean", ["ab"], ["mean"], keepdims=0)
        graph.node.append(squeezed)
        graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("mean", onnx.TensorProto.FLOAT, []))
    else:
        cast = onnx.helper.make_node("Cast", ["ab"], ["half"], to=onnx.TensorProto.FLOAT16)
        graph.node.append(cast)
        graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("half", onnx.TensorProto.FLOAT16, None))
    onnx.save(file, tmp_path / "x.onnx")
    refused(tmp_path / "x.onnx")


def test_onnx_that_fails_at_a_picture_is_one_line(model, tmp_path) -> None:
    """Its output is of another shape than its input: known only when a picture goes through."""
    import onnx

    file = onnx.load(model / "model.onnx")
    for node in file.graph.node:
        node.output[:] = ["all" if name == "ab" else name for name in node.output]
    file.graph.initializer.append(onnx.helper.make_tensor("ends", onnx.TensorProto.INT64, [1], [1]))
    file.graph.initializer.append(onnx.helper.make_tensor("begins", onnx.TensorProto.INT64, [1], [0]))
    file.graph.initializer.append(onnx.helper.make_tensor("axes", onnx.TensorProto.INT64, [1], [1]))
    file.graph.node.append(onnx.helper.make_node("Slice", ["all", "begins", "ends", "axes"], ["ab"]))
    del file.graph.output[0].type.tensor_type.shape.dim[:]
    file.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(file, tmp_path / "x.onnx")
    with pytest.raises(UserError, match=r"x\.onnx"):
        load_predictor(tmp_path / "x.onnx")(L)


def test_info_prints_no_escape_sequence_of_a_model(checkpoint, tmp_path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    config = content["hyper_parameters"]["provenance"]["config"]
    config["data"] |= {"root": "\x1b]0;title\x07\x1b[2Jphotos\u202e\nmore"}
    content["metrics"] = {"\x1b[31mval/l1": 0.5}
    torch.save(content, tmp_path / "x.ckpt")
    for flags in ([], ["--config"], ["--json"]):
        printed = CliRunner().invoke(app, ["info", str(tmp_path / "x.ckpt"), *flags]).stdout
        assert printed.isascii() or "\u202e" not in printed
        assert not [c for c in printed if not c.isprintable() and c != "\n"]
        assert "x1b[2Jphotos" in printed or "u001b[2Jphotos" in printed


def test_a_checkpoint_that_is_not_of_training_is_not_scored(checkpoint) -> None:
    """It colors: a generator is all that is needed for that."""
    with pytest.raises(UserError, match=r"x\.ckpt was not written by colorize's training"):
        _predictors(str(checkpoint), read_model(checkpoint), torch.device("cpu"))


def test_older_checkpoints_say_less_and_load(checkpoint, tmp_path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    for key in ("epoch", "batches", "metrics"):
        del content[key]
    content["hyper_parameters"]["provenance"] = None
    torch.save(content, tmp_path / "x.ckpt")
    assert read_model(tmp_path / "x.ckpt").about["epochs"] == 0
