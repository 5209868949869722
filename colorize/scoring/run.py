"""Score methods against the truth: match pictures, score each image, summarize, write results."""

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from colorize.base.errors import UserError
from colorize.base.files import replacing
from colorize.base.machine import keep_freed_memory
from colorize.inference.pytorch import choose_device
from colorize.metrics.judge import own_encoder
from colorize.scoring.combined import summed_up
from colorize.scoring.images import ImageTable
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
    at_colorfulness,
    is_model,
)
from colorize.scoring.networks import Networks
from colorize.scoring.passes import Images, Pass
from colorize.scoring.protocols import Protocol, protocol
from colorize.scoring.result import Result
from colorize.scoring.summary import matching_gain
from colorize.scoring.tables import latex, markdown

TABLES, PICTURES = "images", "pictures"  # folders of the per-image tables and of the pictures of models
REFERENCE_IMAGES = 1000  # maximum for reference rows; grey and truth use all images


@dataclass(frozen=True)
class Setup:
    """Settings of scoring.

    Attributes:
        protocol: Name of the protocol.
        learned: Whether to use networks whose weights are available.
        weights_dir: Folder of the weights of FID, KID and LPIPS; None is the folder of torch.hub.
        device: Device of models and networks.
        stores: Folder of image stores that is searched for training pictures of models.
        pictures: Whether to save the pictures of models as ``pictures/NAME/IMAGE.png``.
        matched: Whether to also score each method at the truth's colorfulness with all scores, in one more pass.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
    """

    protocol: str = "coco"
    learned: bool = True
    weights_dir: Path | None = None
    device: str = "auto"
    stores: Path = STORES
    pictures: bool = False
    matched: bool = False
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

    A second call continues where the first stopped: images that have a line are scored again only if a file changed.

    Args:
        truth: Folder of true pictures.
        outputs: Folders of pictures, or models. ``NAME=PATH`` sets the name of a row; the default is the last part of
            the path.
        out: Folder of the scores.
        setup: Settings.
        advance: Called with the number of processed images and their total.
    Returns:
        The scores of all rows.
    Raises:
        UserError: If an argument is invalid, or the folder has scores of another protocol.
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
            tables: dict[str, tuple[Method, ImageTable]] = {}

            def add(methods: Sequence[Method]) -> None:
                """Score the missing images of these rows."""
                judges = networks.names if networks else ()
                new = {}
                for method in methods:
                    path = out / TABLES / f"{_file_name(method.name)}.jsonl"
                    new[method.name] = method, ImageTable(path, method.name, rules.told(), judges)
                try:
                    images = Images(files, new, rules, out / PICTURES if setup.pictures else None)
                    Pass(images, networks, advance).run()
                finally:
                    for _, table in new.values():
                        table.close()
                tables.update(new)

            add(methods)
            if setup.matched:
                add(_at_colorfulness(tables, names))
            result = summed_up(tables, files, rules, setup.resamples, setup.seed)
            result.truth |= {"folder": str(truth), "doubled": sorted(true.doubled), "left out": true.notes}
            result.notes += networks.missing if networks else []
            _write(result, out)
    except Timeout:
        raise UserError(f"another process is writing scores to {out}; wait for it, or use another --out") from None
    return result


def _references(files: Mapping[str, Path], rules: Protocol) -> list[Method]:
    step = -(-len(files) // REFERENCE_IMAGES)
    few = dict(list(files.items())[::step])  # evenly spaced in the list
    return [Reference(name, files if name in (GREY, TRUTH) else few, rules) for name in REFERENCES]


def _methods(outputs: Sequence[str], names: Sequence[str], rules: Protocol, setup: Setup, out: Path) -> list[Method]:
    found: dict[str, Method] = {}
    for given in outputs:
        name, equals, path = given.partition("=")
        if not equals or Path(given).exists():
            path, name = given, Path(given).stem if Path(given).is_file() else Path(given).resolve().name
        if name in found or name in REFERENCES:
            raise UserError(f"{given}: another row has the name {name}; rename this one with OTHER={path}")
        if is_model(path):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found[name] = Model(name, path, rules, setup.device, setup.stores)
        else:
            found[name] = Folder(name, Path(path), matched(names, listed(Path(path), out)), rules)
    return list(found.values())


def _at_colorfulness(tables: Mapping[str, tuple[Method, ImageTable]], names: Sequence[str]) -> list[Method]:
    found = []
    for method, table in tables.values():
        if method.kind != "reference" and (gain := matching_gain(table.path, names)):
            found.append(at_colorfulness(method, gain))
    return found


def _networks(methods: Sequence[Method], setup: Setup) -> Networks:
    own = [method.name for method in methods if isinstance(method, Model) and own_encoder(method.generator)]
    networks = Networks(setup.weights_dir, choose_device(setup.device), judge=not own)
    if own:
        networks.missing.append(
            f"scores of EfficientNet-Lite2 are left out, because it is the encoder of {', '.join(own)}"
        )
    return networks


def _file_name(row: str) -> str:
    """Return a unique file name that is valid on all file systems."""
    plain = "".join(c if c.isalnum() or c in "-_." else "-" for c in row)
    return plain if plain == row else f"{plain}-{hashlib.sha256(row.encode()).hexdigest()[:6]}"


def _write(result: Result, out: Path) -> None:
    result.write(out)
    for name, text in (("scores.md", markdown(result)), ("scores.tex", latex(result))):
        with replacing(out / name) as temporary:
            temporary.write_text(text)
