"""Fuzz testing: colorize a batch of pictures of all kinds with randomly damaged files, ICC profiles and EXIF.

python -m benchmarks.mutated_photos --count 5000
"""

import io
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms
from skimage.color import rgb2lab

from benchmarks import corpora, harness
from colorize.images import QUIET, make_upright
from colorize.photos.profiles import NO_FIT

KINDS = ("pictures", "ICC profiles", "EXIF blocks")
PART = 500  # files that one process colors: if it dies, the count tells of how many
LIMIT = 900  # seconds that it may take
NEAR = 2.0  # L*, mean: lossy formats change it by 0.5 and an unheeded profile of gamma 1.8 by 5
OUTCOMES = ("colored", "colored, and told what is lost", "refused in a line", "silent", "aborted")


def make(folder: Path, kind: str, count: int, seed: int) -> None:
    """Write so many damaged files; each is a function of the kind, the seed and its number."""
    folder.mkdir()
    if kind == "pictures":
        with tempfile.TemporaryDirectory() as whole:
            sources = [(path.suffix, path.read_bytes()) for path in (*corpora.written(Path(whole)), *corpora.brought())]
    else:
        held, blocks = {"ICC profiles": ("icc_profile", corpora.profiles()), "EXIF blocks": ("exif", corpora.exif())}[
            kind
        ]
    for number in range(count):
        rng = np.random.default_rng([seed, KINDS.index(kind), number])
        if kind == "pictures":
            suffix, content = sources[number % len(sources)]
            content = corpora.mutated(content, rng)
        else:
            name, block = corpora.CARRIERS[number % len(corpora.CARRIERS)], blocks[rng.integers(len(blocks))]
            suffix, content = f".{name.lower()}", carried(name, held, corpora.mutated(block, rng))
        (folder / f"{number:05d}{suffix}").write_bytes(content)


def carried(name: str, held: str, block: bytes) -> bytes:
    """Return a picture that holds a damaged block; as PNG, which looks at none, where its own format refuses it."""
    try:
        with QUIET:
            return corpora.carrier(name, **{held: block})
    except Exception:  # the encoder looks at it
        return corpora.carrier("PNG", **({held: block} if held == "icc_profile" else {held: b"Exif\0\0" + block}))


def judge(source: Path, target: Path | None, said: list[str]) -> str:
    """Return what became of a file, by what lies on the disk and what was said.

    Silent is what is neither colored nor told; colored in another lightness; or without EXIF or a profile that
    could be read in the file and of which nothing was said.
    """
    if target is None:
        return OUTCOMES[2] if said else "silent"
    with QUIET, Image.open(source) as before, Image.open(target) as after:
        after.load()
        kept = tags(before) <= tags(after) and (not before.info.get("icc_profile") or "icc_profile" in after.info)
        if not said and not kept:
            return "silent"
        if source.suffix in (".jpeg", ".png", ".webp", ".tiff", ".avif") and before.mode == after.mode == "RGB":
            make_upright(before)
            left_out = any(NO_FIT in line for line in said)
            L = [lightness(before, not left_out), lightness(after)]
            if L[0].shape == L[1].shape and np.abs(L[0] - L[1]).mean() > NEAR:
                return "silent"
    return OUTCOMES[1] if said else OUTCOMES[0]


def tags(image: Image.Image) -> set[tuple[int, int]]:
    """Return the EXIF tags that Pillow reads, without those that are a place, or about how pixels lie."""
    try:
        exif = image.getexif()
        found = {(0, tag) for tag in exif if image.format != "TIFF" or tag in (0x010E, 0x010F, 0x0110, 0x0132)}
        found |= {(ifd, tag) for ifd in (0x8769, 0x8825) for tag in exif.get_ifd(ifd)}
    except Exception:  # what cannot be read cannot be missed
        return set()
    return {(ifd, tag) for ifd, tag in found if tag not in (0x0112, 0x8769, 0x8825, 0xA005)}


def lightness(image: Image.Image, heeded: bool = True) -> np.ndarray:
    """Return L* of a picture, as its profile says, if that is to be heeded and can be."""
    profile = image.info.get("icc_profile")
    if profile and heeded:
        try:
            image = ImageCms.profileToProfile(image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), 1)
        except Exception:  # lcms does not take it
            return np.zeros(0)
    return rgb2lab(np.asarray(image))[..., 0]


def campaign(kind: str, count: int, seed: int) -> tuple[Counter[str], Counter[str], list[str]]:
    """Return the outcomes, the reasons that were told, and what else was printed."""
    outcomes, reasons, leaked = Counter(dict.fromkeys(OUTCOMES, 0)), Counter(), []
    with tempfile.TemporaryDirectory() as temporary:
        whole, out = Path(temporary) / "whole", Path(temporary) / "out"
        make(whole, kind, count, seed)
        files = sorted(whole.iterdir())
        for start in range(0, count, PART):
            part = Path(temporary) / f"part {start}"
            part.mkdir()
            for file in files[start : start + PART]:
                file.rename(part / file.name)
            given = sorted(part.iterdir())
            command = [sys.executable, "-m", "benchmarks.color_folder", str(part), str(out / part.name)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
                told = json.loads(done.stdout.splitlines()[-1])
            except (subprocess.TimeoutExpired, IndexError, ValueError) as error:
                outcomes["aborted"] += len(given)
                leaked.append(f"{part.name}: {error!r}")
                continue
            leaked += done.stderr.splitlines()
            for file in given:
                said = [line.removeprefix(f"{file}: ") for line in told["said"] if line.startswith(f"{file}: ")]
                target = told["written"].get(str(file))
                outcome = judge(file, target and Path(target), said)
                outcomes[outcome] += 1
                reasons.update(said)
                if outcome == "silent":
                    leaked.append(f"silent: seed {seed}, {kind}, {file.name}")
    return outcomes, reasons, leaked


def main() -> None:
    """Run the campaign and print; the status is 1 if anything was aborted, silent or leaked."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--count", type=int, default=5000, help="files of each kind")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    report, rows, told = harness.Report("mutated_photos"), [], []
    wrong = 0
    for kind in KINDS:
        outcomes, reasons, leaked = campaign(kind, 60 if args.quick else args.count, args.seed)
        rows.append({"damaged": kind, "files": outcomes.total(), **outcomes, "lines that leaked": len(leaked)})
        told += [{"damaged": kind, "reason": reason[:100], "files": files} for reason, files in reasons.most_common(12)]
        wrong += outcomes["silent"] + outcomes["aborted"] + len(leaked)
        print("\n".join(leaked[:40]), file=sys.stderr)
    report.table(f"What became of damaged files, seed {args.seed}", rows)
    report.table("What was told most often", told)
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main())
