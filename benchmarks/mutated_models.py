"""Load randomly changed models: each must be refused in one line, or colorize as before.

A small model is saved as a training checkpoint, as an exported folder and as ONNX. Copies of them get one random change
each, to their bytes or to their contents. A separate process loads each copy, describes it like ``colorize info``, and
colorizes with it.

Aborted: any error other than `UserError`, a message that is too long or has several lines, the end of the process, or
30 seconds without an answer.
Silent: changed or non-finite colors without an error. If the correct weights are unknown (ONNX without SHA256SUMS whose
graph was changed), changed colors are counted separately.

python -m benchmarks.mutated_models                        # 500, seed 0; half a minute
python -m benchmarks.mutated_models --count 2000 --seed 1 --keep folder
"""

import argparse
import copy
import json
import math
import os
import random
import select
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from benchmarks import harness
from colorize.base.digests import SUMS, sha256
from colorize.base.errors import UserError
from colorize.checkpoint import CONFIG, DIGEST, ONNX, WEIGHTS
from colorize.export import describe, export
from colorize.inference.predictor import load_predictor
from colorize.networks import build_generator
from colorize.training.callbacks.checkpoints import AtomicCheckpointIO

SETTINGS = {"name": "unet", "n_down": 5, "num_filters": 4, "attention": []}
SIZE = 32  # pixels a side
PATIENCE = 30  # seconds
MEMORY = 12 << 30  # bytes of address space, so that a claim of terabytes is an error here, too
ALIKE = 0.02  # of normalized ab: what float16 weights may change
LONGEST = 600  # characters of a line

Draw = random.Random
Content = dict[str, Any]


def write_models(folder: Path) -> None:
    """Write one model in all three kinds: ``x.ckpt``, ``model`` and ``model/model.onnx``."""
    torch.manual_seed(0)
    weights = {f"generator.{key}": value for key, value in build_generator(**SETTINGS).state_dict().items()}
    weights["generator.model.3.bias"] = torch.tensor([0.15, -0.1])
    config = {"data": {"name": "folder", "root": "photos", "num_train": 20}, "lr": 2e-4, "betas": [0.5, 0.999]}
    provenance = {"config": config, "commit": "abc", "version": "0", "overrides": ["lr=2e-4"]}
    settings = {"generator": SETTINGS, "image_size": SIZE, "provenance": provenance}
    about = {"epoch": 2, "batches": 15, "metrics": {"val/l1": 0.125, "val/psnr": 20.5}}
    content = {"state_dict": weights, "hyper_parameters": settings, **about}
    AtomicCheckpointIO().save_checkpoint(content, folder / "x.ckpt")
    export(folder / "x.ckpt", folder / "model", onnx=True)


def strange(draw: Draw) -> Any:
    """Return a value that few would write."""
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    many = [None, True, False, -1, 0, 1, 3, 1.5, math.nan, math.inf, 10**6, 10**12, 10**30, "", "text", "\x1b[2J", "0"]
    return draw.choice([*many, [], [1], [None], {}, {"name": "unet"}, deep, [0] * 200_000, "x" * 200_000])


def say_otherwise(draw: Draw, content: Content) -> Content:
    """Change, remove or add one thing that a model says, at any depth."""
    content = copy.deepcopy(content)
    places: list[tuple[Any, Any]] = []
    left: list[Any] = [content]
    while left:
        parent = left.pop()
        for key in parent if isinstance(parent, dict) else range(len(parent)):
            places.append((parent, key))
            if isinstance(parent[key], dict | list):
                left.append(parent[key])
    parent, key = draw.choice(places)
    how = draw.random()
    if how < 0.15:
        del parent[key]
    elif how < 0.25 and isinstance(parent, dict):
        parent[draw.choice(["self", "name", "more", "\x1b[31m", ""])] = strange(draw)
    else:
        parent[key] = strange(draw)
    return content


def other_tensor(draw: Draw, value: torch.Tensor) -> Any:
    """Return something else in place of a tensor of weights."""
    values = value.clone().float()
    if values.numel():
        values.view(-1)[draw.randrange(values.numel())] = draw.choice([math.nan, math.inf, -math.inf])
    return draw.choice(
        [
            values,
            torch.zeros(0),
            value[None],
            value.flatten(),
            value.float().to(torch.complex64),
            value.to(torch.int8),
            value.bool(),
            value.float().to_sparse() if value.ndim else None,
            torch.zeros(1).expand(2**40),
            torch.empty(value.shape, device="meta"),
            torch.full(value.shape, 1e300, dtype=torch.float64),
            7,
            None,
            "text",
        ]
    )


def change_weights(draw: Draw, weights: dict[Any, Any]) -> dict[Any, Any]:
    """Change one tensor, its name, or the precision of all."""
    weights, name = dict(weights), draw.choice(list(weights))
    how = draw.randrange(5)
    if how == 0:
        dtype = draw.choice([torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.int32])
        return {key: value.to(dtype) if value.is_floating_point() else value for key, value in weights.items()}
    if how == 1:
        del weights[name]
    elif how == 2:
        weights[draw.choice([f"{name}.x", "generator_ema.x", 3, "\x1b[2J"])] = weights.pop(name)
    else:
        weights[name] = other_tensor(draw, weights[name])
    return weights


def damage(draw: Draw, path: Path) -> None:
    """Change the bytes of a file as disks, transfers and careless hands do."""
    content, how = bytearray(path.read_bytes()), draw.randrange(7)
    start, count = draw.randrange(len(content)), draw.choice([1, 16, 512, 4096])
    if how <= 2:
        for _ in range(draw.choice([1, 1, 1, 8])):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    elif how == 3:
        del content[start:]
    elif how == 4:
        content[start : start + count] = bytes(len(content[start : start + count]))
    elif how == 5:
        del content[start : start + count]
    else:
        content[start:start] = draw.randbytes(count)
    path.write_bytes(content)


def torch_bytes(draw: Draw, folder: Path) -> str:
    """Damage a checkpoint."""
    damage(draw, folder / "x.ckpt")
    return "x.ckpt"


def torch_says(draw: Draw, folder: Path) -> str:
    """Have a checkpoint say something else."""
    content = torch.load(folder / "x.ckpt", weights_only=True)
    if draw.random() < 0.1:
        torch.save(strange(draw), folder / "x.ckpt")
        return "x.ckpt"
    weights = content.pop("state_dict")
    content = say_otherwise(draw, content)
    torch.save({**content, "state_dict": weights}, folder / "x.ckpt")
    return "x.ckpt"


def torch_weights(draw: Draw, folder: Path) -> str:
    """Give a checkpoint other weights, and no digest: as an older one, or one of somebody who knows how."""
    content = torch.load(folder / "x.ckpt", weights_only=True)
    del content[DIGEST]
    content["state_dict"] = change_weights(draw, content["state_dict"]) if draw.random() < 0.9 else strange(draw)
    torch.save(content, folder / "x.ckpt")
    return "x.ckpt"


def torch_archive(draw: Draw, folder: Path) -> str:
    """Write a checkpoint's archive anew, with parts packed, missing, renamed, doubled, or changed."""
    with zipfile.ZipFile(folder / "x.ckpt") as archive:
        parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    name, how = draw.choice(list(parts)), draw.randrange(5)
    if how == 0:
        del parts[name]
    elif how == 1:
        parts[draw.choice([f"{name}.x", "../../x", "/tmp/x", "x" * 300])] = parts.pop(name)
    elif how == 2:
        pickled = next(key for key in parts if key.endswith("data.pkl"))
        changed = bytearray(parts[pickled])
        changed[draw.randrange(len(changed))] = draw.randrange(256)  # with a CRC-32 that is right
        parts[pickled] = bytes(changed)
    elif how == 3:
        parts[name] = parts[name][: len(parts[name]) // 2]
    method = zipfile.ZIP_DEFLATED if how == 4 else zipfile.ZIP_STORED
    with zipfile.ZipFile(folder / "x.ckpt", "w", method) as archive:
        for key, value in parts.items():
            archive.writestr(key, value)
    return "x.ckpt"


def folder_bytes(draw: Draw, folder: Path) -> str:
    """Damage one of a folder's files."""
    damage(draw, folder / "model" / draw.choice([CONFIG, WEIGHTS, WEIGHTS, SUMS]))
    return "model"


def folder_says(draw: Draw, folder: Path) -> str:
    """Have a folder's config say something else, in JSON or in what is none; its digests are right or gone."""
    path = folder / "model" / CONFIG
    text = json.dumps(say_otherwise(draw, json.loads(path.read_text())))
    if draw.random() < 0.3:
        text = draw.choice(["", "null", "[]", "[" * 300_000, '{"a":' * 300_000, text[:-9], text * 2, "9" * 9999])
    path.write_text(text)
    _sum_up(draw, folder / "model")
    return "model"


def folder_weights(draw: Draw, folder: Path) -> str:
    """Give a folder other weights, or a header that claims something else; its digests are right or gone."""
    path = folder / "model" / WEIGHTS
    if draw.random() < 0.5:
        weights = change_weights(draw, load_file(path))
        plain = {str(k): v for k, v in weights.items() if isinstance(v, torch.Tensor) and v.device.type == "cpu"}
        plain = {k: v.contiguous() for k, v in plain.items() if v.layout == torch.strided and v.numel() < 2**30}
        save_file(plain, path)
    else:
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = json.dumps(say_otherwise(draw, json.loads(content[8 : 8 + length]))).encode()
        claimed = draw.choice([len(header)] * 5 + [0, 2**40, 2**63])
        path.write_bytes(claimed.to_bytes(8, "little") + header + content[8 + length :])
    _sum_up(draw, folder / "model")
    return "model"


def folder_files(draw: Draw, folder: Path) -> str:
    """Put something else in place of one of a folder's files."""
    path = folder / "model" / draw.choice([CONFIG, WEIGHTS, SUMS])
    content = path.read_bytes()
    path.unlink()
    how = draw.randrange(6)
    if how == 0:
        path.mkdir()
    elif how == 1:
        os.mkfifo(path)
    elif how == 2:
        path.symlink_to(path)
    elif how == 3:
        path.write_bytes(draw.choice([b"", b"\0" * 5000, draw.randbytes(5000), b"\xff\xfe", content * 2]))
    elif how == 4:
        path.symlink_to(draw.choice(["/dev/zero", "/etc/hostname", "gone"]))
    return "model"


def _sum_up(draw: Draw, folder: Path) -> None:
    if draw.random() < 0.5:
        (folder / SUMS).unlink()
    else:
        (folder / SUMS).write_text("".join(f"{sha256(folder / file)}  {file}\n" for file in (CONFIG, WEIGHTS)))


def onnx_bytes(draw: Draw, folder: Path) -> str:
    """Damage an ONNX file; its digest is beside it."""
    damage(draw, folder / "model" / ONNX)
    return f"model/{ONNX}"


def onnx_says(draw: Draw, folder: Path) -> str:
    """Have an ONNX file's metadata say something else."""
    import onnx

    path = folder / "model" / ONNX
    file = onnx.load(path)
    said = {entry.key: json.loads(entry.value) for entry in file.metadata_props}
    texts = {str(key): json.dumps(value) for key, value in say_otherwise(draw, said).items()}
    if draw.random() < 0.3:
        texts[draw.choice(list(said))] = draw.choice(["", "[" * 300_000, "{", "nul", "1e400", "9" * 9999])
    del file.metadata_props[:]
    onnx.helper.set_model_props(file, texts)
    onnx.save(file, path)
    (folder / "model" / SUMS).unlink()
    return f"model/{ONNX}"


def onnx_graph(draw: Draw, folder: Path) -> str:
    """Change an ONNX file's graph: nodes, names, shapes, types, weights; nothing tells what they were."""
    import onnx

    path = folder / "model" / ONNX
    file = onnx.load(path)
    graph, how = file.graph, draw.randrange(8)
    node, weight = draw.choice(graph.node), draw.choice(graph.initializer)
    if how == 0:
        node.op_type = draw.choice(["Relu", "Loop", "Unknown", "Reshape", "Conv", ""])
    elif how == 1:
        graph.node.remove(node)
    elif how == 2 and node.input:
        node.input[draw.randrange(len(node.input))] = draw.choice(["L", "ab", "gone", ""])
    elif how == 3:
        weight.dims[:] = draw.choice([[2**40], [2**31, 2**31], [0], [-1], [1]])
    elif how == 4:
        weight.data_type = draw.randrange(0, 25)
    elif how == 5:
        weight.raw_data = draw.choice([b"", weight.raw_data[: len(weight.raw_data) // 2], weight.raw_data * 2])
    elif how == 6:
        info = draw.choice([graph.input[0], graph.output[0]])
        info.name = draw.choice(["L", "ab", "other", ""])
    else:
        file.opset_import[0].version = draw.choice([0, 1, 9, 99, 2**31])
    onnx.save(file, path)
    (folder / "model" / SUMS).unlink()
    return f"model/{ONNX}"


UNKNOWN = onnx_graph.__name__  # what has no digest of its weights, so that other colors cannot be told from right ones
KINDS: dict[str, Callable[[Draw, Path], str]] = {
    kind.__name__: kind
    for kind in (
        *(torch_bytes, torch_says, torch_weights, torch_archive),
        *(folder_bytes, folder_says, folder_weights, folder_files),
        *(onnx_bytes, onnx_says, onnx_graph),
    )
}


def mutate(number: int, seed: int, models: Path, folder: Path) -> tuple[str, Path]:
    """Copy the models into a folder and change one, as a function of seed and number; return how, and its path."""
    draw = random.Random(f"{seed}:{number}")
    kind = list(KINDS)[number % len(KINDS)]
    shutil.copytree(models, folder)
    return kind, folder / KINDS[kind](draw, folder)


class Trier:
    """A process that tries models, and another one when it has died.

    Args:
        models: as `write_models` made them.
    """

    def __init__(self, models: Path) -> None:
        self.command = [sys.executable, "-m", "benchmarks.mutated_models", "--try", str(models)]
        self.process: subprocess.Popen[str] | None = None

    def __call__(self, path: Path) -> tuple[str, str]:
        """Return what became of a model, and what was said."""
        if self.process is None:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            self.process.stdout.readline()  # it has loaded what it compares with
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        answer = self.process.stdout.readline() if ready else ""
        if answer:
            outcome, said = json.loads(answer)
            return outcome, said
        self.close()
        return "aborted", "no answer" if not ready else "the process ended"

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def try_all(models: Path) -> None:
    """Try the models whose paths come by standard input; answer each in a line of JSON."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    torch.set_num_threads(1)
    L = np.random.default_rng(0).uniform(-1, 1, (1, 1, SIZE, SIZE)).astype(np.float32)
    before = load_predictor(models / "x.ckpt", "cpu")(L)
    print(json.dumps(["ready", ""]), flush=True)
    for line in sys.stdin:
        print(json.dumps(_tried(line.removesuffix("\n"), L, before)), flush=True)


def _tried(path: str, L: np.ndarray, before: np.ndarray) -> tuple[str, str]:
    try:
        json.dumps(describe(path))
        ab = load_predictor(path, "cpu")(L)
    except UserError as error:
        said = str(error)
        return ("aborted" if "\n" in said or len(said) > LONGEST else "refused"), said
    except BaseException as error:  # what is counted here
        return "aborted", f"{type(error).__name__}: {error}"[:LONGEST]
    if ab.shape != before.shape or not np.isfinite(ab).all():
        return "silent", f"{ab.shape}, finite: {np.isfinite(ab).all()}"
    return ("colors alike" if np.abs(ab - before).max() <= ALIKE else "silent"), f"{np.abs(ab - before).max():.2g}"


def campaign(count: int, seed: int, keep: Path | None = None) -> tuple[dict[str, Counter[str]], list[str]]:
    """Try changed models.

    Args:
        count: how many.
        seed: of all changes.
        keep: folder for those that were aborted or silent.
    Returns:
        Numbers of outcomes by kind of change, and a line for each that was aborted or silent.
    """
    outcomes: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    wrong = []
    with tempfile.TemporaryDirectory() as temporary:
        models = Path(temporary, "models")
        models.mkdir()
        write_models(models)
        trier = Trier(models)
        try:
            for number in range(count):
                folder = Path(temporary, str(number))
                kind, path = mutate(number, seed, models, folder)
                outcome, said = trier(path)
                if outcome == "silent" and kind == UNKNOWN:
                    outcome = "another model"
                outcomes[kind][outcome] += 1
                if outcome in ("aborted", "silent"):
                    wrong.append(f"{number} {kind} {outcome}: {said}")
                    if keep:
                        shutil.copytree(folder, keep / str(number), symlinks=True, dirs_exist_ok=True)
                shutil.rmtree(folder)
        finally:
            trier.close()
    return outcomes, wrong


def main() -> None:
    """Run a campaign; write its table; leave with 1 if any model was aborted or silent."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--count", type=int, default=500, help="models")
    parser.add_argument("--seed", type=int, default=0, help="of all changes")
    parser.add_argument("--keep", type=Path, help="folder for those that were aborted or silent")
    parser.add_argument("--try", type=Path, dest="models", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.models:
        try_all(args.models)
        return
    report = harness.Report("mutated_models")
    outcomes, wrong = campaign(44 if args.quick else args.count, args.seed, args.keep)
    columns = ("refused", "colors alike", "another model", "aborted", "silent")
    rows = [{"change": kind, **{column: found[column] for column in columns}} for kind, found in outcomes.items()]
    rows.append({"change": "all", **{column: sum(row[column] for row in rows) for column in columns}})
    report.table("Changed models", rows)
    print("\n".join(wrong))
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
