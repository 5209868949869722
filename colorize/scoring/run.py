"""Score methods against the truth: match, pass over the images, sum up, write."""

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from colorize.errors import UserError
from colorize.files import replacing
from colorize.machine import keep_freed_memory
from colorize.metrics.judge import own_encoder
from colorize.predictors.pytorch import choose_device
from colorize.provenance import commit, versions
from colorize.scoring.checks import checks
from colorize.scoring.images import ImageTable, read_lines
from colorize.scoring.matching import listed, matched
from colorize.scoring.methods import (
    GREY,
    REFERENCES,
    STORES,
    TRUTH,
    Folder,
    Method,
    Model,
    Reference,
    formats,
    is_model,
)
from colorize.scoring.networks import Networks
from colorize.scoring.passes import Pass
from colorize.scoring.protocols import Protocol, protocol
from colorize.scoring.result import Result
from colorize.scoring.scores import CURVES, GAINS
from colorize.scoring.summary import (
    COLUMNS,
    Values,
    bootstrapped,
    distances,
    interval,
    paired,
    read_values,
    scores_of_means,
)
from colorize.scoring.tables import latex, markdown

TABLES = "images"  # folder of the per-image tables
REFERENCE_IMAGES = 1000  # at most, of the rows that only test the judge; grey and truth are of all


@dataclass(frozen=True)
class Setup:
    """How methods are scored.

    Attributes:
        protocol: name of it.
        learned: also by networks, as far as their weights are here.
        weights_dir: of FID, KID and LPIPS; None is where torch.hub keeps weights.
        device: of models and networks.
        stores: folder of image stores, from which the images that models were trained on are known.
        resamples: of the bootstrap.
        seed: the same.
    """

    protocol: str = "coco"
    learned: bool = True
    weights_dir: Path | None = None
    device: str = "auto"
    stores: Path = STORES
    resamples: int = 1000
    seed: int = 0


def score(
    truth: Path | str,
    outputs: Sequence[str],
    out: Path | str,
    setup: Setup | None = None,
    advance: Callable[[int, int | None], None] = lambda done, total: None,
) -> Result:
    """Score methods against the truth, and write ``scores.json``, ``scores.md``, ``scores.tex`` and per-image tables.

    A second call goes on where the first stopped: images that have a line are not scored again unless a file changed.

    Args:
        truth: folder of true pictures.
        outputs: folders of a method's pictures, or models; ``NAME=PATH`` gives a row another name than the path's last
            part.
        out: folder of the scores.
        setup: how.
        advance: is told how many images are done, of how many.
    Raises:
        UserError: if something that was typed will not do, or the folder holds scores by another protocol.
    """
    setup, out = setup or Setup(), Path(out)
    rules = protocol(setup.protocol)
    true = listed(Path(truth), out)
    names = rules.selected(list(true.files))
    files = {name: true.files[name] for name in names}
    methods = [*_references(files, rules), *_methods(outputs, names, rules, setup, out)]
    networks = _networks(methods, setup) if setup.learned else None
    out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    try:
        with FileLock(out / ".lock", timeout=0):
            tables = {}
            for method in methods:
                path = out / TABLES / f"{_file_name(method.name)}.jsonl"
                judges = networks.names if networks else ()
                tables[method.name] = method, ImageTable(path, method.name, rules.told(), judges)
            try:
                Pass(files, tables, rules, networks, advance).run()
            finally:
                for _, table in tables.values():
                    table.close()
            result = _summed_up(tables, names, files, rules, setup)
            result.truth |= {"doubled": sorted(true.doubled), "left out": true.notes}
            result.notes += networks.missing if networks else []
            _write(result, out)
    except Timeout:
        raise UserError(f"{out}: another process is scoring into it; wait for it, or name another --out") from None
    return result


def _references(files: Mapping[str, Path], rules: Protocol) -> list[Method]:
    step = -(-len(files) // REFERENCE_IMAGES)
    few = dict(list(files.items())[::step])  # spread over the list
    return [Reference(name, files if name in (GREY, TRUTH) else few, rules) for name in REFERENCES]


def _methods(outputs: Sequence[str], names: Sequence[str], rules: Protocol, setup: Setup, out: Path) -> list[Method]:
    found: dict[str, Method] = {}
    for given in outputs:
        name, equals, path = given.partition("=")
        if not equals or Path(given).exists():
            path, name = given, Path(given).stem if Path(given).is_file() else Path(given).resolve().name
        if name in found or name in REFERENCES:
            raise UserError(f"{given}: another row is called {name}; give it a name, as OTHER={path}")
        if is_model(path):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found[name] = Model(name, path, rules, setup.device, setup.stores)
        else:
            found[name] = Folder(name, Path(path), matched(names, listed(Path(path), out)), rules)
    return list(found.values())


def _networks(methods: Sequence[Method], setup: Setup) -> Networks:
    own = [method.name for method in methods if isinstance(method, Model) and own_encoder(method.generator)]
    networks = Networks(setup.weights_dir, choose_device(setup.device), judge=not own)
    if own:
        networks.missing.append(f"EfficientNet-Lite2 does not judge: it is the encoder of {', '.join(own)}")
    return networks


def _file_name(row: str) -> str:
    """Return a name that any file system takes, another for every row."""
    plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in row)
    return plain if plain == row else f"{plain}-{hashlib.sha256(row.encode()).hexdigest()[:6]}"


def _summed_up(
    tables: Mapping[str, tuple[Method, ImageTable]],
    names: Sequence[str],
    files: Mapping[str, Path],
    rules: Protocol,
    setup: Setup,
) -> Result:
    truth_path = tables[TRUTH][1].path
    classes = read_values(truth_path, names).classes
    values = {row: read_values(table.path, names, classes) for row, (_, table) in tables.items()}
    common = _common(tables, values, names)
    rows: dict[str, dict[str, Any]] = {}
    subsets = {row: [image for image in common if image in set(each.images)] for row, each in values.items()}
    picked = {row: values[row].of(images) for row, images in subsets.items() if images}
    full = {row: table for row, table in picked.items() if len(table) == len(common)}
    draws = bootstrapped(full, setup.resamples, setup.seed)
    for row, table in picked.items():
        if row not in draws:
            draws |= bootstrapped({row: table}, setup.resamples, setup.seed)
    for row, (method, table) in tables.items():
        if row in picked:
            rows[row] = _row(method, values[row], picked[row], draws[row])
            rows[row]["scores"] |= distances(table.path, truth_path, subsets[row])
            rows[row]["scores"] = {name: value for name, value in rows[row]["scores"].items() if np.isfinite(value)}
    damaged = values[TRUTH].errors
    result = Result(
        protocol=rules.told(),
        truth={
            "images": len(common), "list": _digest(truth_path, common), "formats": formats(files),
            "of": len(names), "damaged": damaged, "grey": values[TRUTH].notes.get("grey truth", []),
            "complete": rules.complete(common) if rules.images else None,
        },
        rows=rows,
        paired=_paired(tables, rows, draws),
        about={"commit": commit(), "versions": versions(), "resamples": setup.resamples, "seed": setup.seed},
    )  # fmt: skip
    same = [image for image in common if all(image in set(subsets[row]) for row in REFERENCES if row in subsets)]
    means = {row: _scores(values[row].of(same)) for row in REFERENCES if same and row in rows}
    result.checks = checks(means, rows[TRUTH]["scores"]["colorfulness_abs"], rules, bool(result.truth["complete"]))
    result.notes = _notes(tables, rules, result)
    return result


def _common(
    tables: Mapping[str, tuple[Method, ImageTable]], values: Mapping[str, Values], names: Sequence[str]
) -> list[str]:
    """Return the images that every method has, and no model was trained on."""
    kept = set(values[TRUTH].images)
    for row, (method, _) in tables.items():
        if method.kind != "reference":
            kept &= set(values[row].images)
            kept -= set(values[row].notes.get("trained on", []))
    if not kept:
        raise UserError("no image is left that every method has a picture of: score them apart, or name other folders")
    return [name for name in names if name in kept]


def _scores(table: np.ndarray) -> dict[str, float]:
    return {name: value.item() for name, value in scores_of_means(table.mean(0, keepdims=True)).items()}


def _row(method: Method, values: Values, table: np.ndarray, draws: Mapping[str, np.ndarray]) -> dict[str, Any]:
    scores = _scores(table)
    ends = {name: interval(draws[name]) for name in scores}
    means = dict(zip(COLUMNS, table.mean(0).tolist(), strict=True))
    curve = {"gain": list(GAINS)} | {name: [means[f"{name}@{at}"] for at in range(len(GAINS))] for name in CURVES}
    curve["truth"] = means["reference"]
    noted = {what: values.notes[what] for what in ("resized", "grey", "trained on") if what in values.notes}
    return {
        "kind": method.kind, "images": len(table), "scores": scores,
        "ci95": {name: both for name, both in ends.items() if both}, "curve": curve,
        "damaged": values.errors if method.kind != "reference" else {},
        **(noted if method.kind != "reference" else {}), **method.about(),
    }  # fmt: skip


def _paired(
    tables: Mapping[str, tuple[Method, ImageTable]],
    rows: Mapping[str, Mapping[str, Any]],
    draws: Mapping[str, Mapping[str, np.ndarray]],
) -> list[dict[str, Any]]:
    methods = [row for row, (method, _) in tables.items() if method.kind != "reference"]
    found = []
    for one, two in [*combinations(methods, 2), *((method, GREY) for method in methods)]:
        for name, value in rows[one]["scores"].items():
            if name in rows[two]["scores"] and name in draws[one]:
                pair = paired(draws[one][name], draws[two][name], value - rows[two]["scores"][name])
                found += [{"first": one, "second": two, "score": name} | pair] if pair else []
    return found


def _digest(truth: Path, images: Sequence[str]) -> str:
    """Return the digest of a list of images, by their names and contents."""
    contents = {line["image"]: line["truth"] for line in read_lines(truth)}
    return hashlib.sha256("".join(f"{image} {contents[image]}\n" for image in images).encode()).hexdigest()


def _notes(tables: Mapping[str, tuple[Method, ImageTable]], rules: Protocol, result: Result) -> list[str]:
    images, of = result.truth["images"], result.truth["of"]
    notes = (
        [f"{images} of {of} images are scored: those that every method has, and no model was trained on"]
        if images < of
        else []
    )
    if result.truth["complete"] is False:
        notes.append(f"not the {rules.images} images of published figures: do not put these beside them")
    for row, (method, table) in tables.items():
        if table.renewed:
            notes.append(f"{row}: {table.renewed}")
        if isinstance(method, Model) and method.trained_on is None:
            notes.append(f"which images {row} was trained on is not known: some of these may be among them")
    return notes


def _write(result: Result, out: Path) -> None:
    result.write(out)
    for name, text in (("scores.md", markdown(result)), ("scores.tex", latex(result))):
        with replacing(out / name) as temporary:
            temporary.write_text(text)
