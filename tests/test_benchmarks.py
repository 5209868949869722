"""Every benchmark runs, small; its table stands in its JSON."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from benchmarks import gpu_proof, harness
from tests.conftest import ROOT

TABLES = {
    "train_step": 3,
    "epoch": 1,
    "data_path": 2,
    "inference": 1,
    "edges": 1,
    "lightness": 1,
    "scaling": 2,
    "start": 1,
    "gpu_proof": 4,
    "stability": 2,
    "watch": 1,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_a_benchmark_leaves_its_tables(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    flags = ["--quick", *(["--no-compile"] if name in ("train_step", "gpu_proof") else [])]
    monkeypatch.setattr(sys, "argv", [name, *flags])
    importlib.import_module(f"benchmarks.{name}").main()
    written = json.loads((tmp_path / f"{name}.json").read_text())
    printed = capsys.readouterr().out
    assert len(written["tables"]) == TABLES[name]
    assert written["machine"] in printed and written["commit"] in printed
    for title, rows in written["tables"].items():
        assert title in printed and rows


def test_variants_run_in_turns() -> None:
    order = []
    seconds = harness.in_turns({n: lambda n=n: [order.append(n) or float(len(order))] for n in "ab"}, 2)
    assert order == ["a", "b", "a", "b"]
    assert seconds == {"a": [1.0, 3.0], "b": [2.0, 4.0]}


def test_kernels_are_told_apart() -> None:
    kernels = {
        "sm90_xmma_dgrad_implicit_gemm_indexed_bf16": "convolution",
        "void at::native::batch_norm_backward_kernel<float>": "normalisation",
        "void at::native::multi_tensor_apply_kernel<FusedAdamMathFunctor>": "optimiser",
        "void at::native::vectorized_elementwise_kernel<4>": "elementwise and reduction",
        "Memcpy DtoD": "copy and layout",
    }
    assert {kernel: gpu_proof.kind_of(kernel) for kernel in kernels} == kernels
    kinds, _ = gpu_proof.breakdown({"Memcpy DtoD": 1.0, "sm90_xmma_dgrad": 3.0})
    assert [(row[""], row["share"]) for row in kinds] == [
        ("all", "100.0%"), ("convolution", "75.0%"), ("copy and layout", "25.0%"),
    ]  # fmt: skip
