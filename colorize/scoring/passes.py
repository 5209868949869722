"""Score images in one pass: read each image once for all rows that need it, score it, append its lines."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from colorize.base.files import replacing
from colorize.base.machine import cores, end_with_parent, network_threads
from colorize.data.decode import digest_of_picture
from colorize.images import ImageError
from colorize.inference.painting import Chroma
from colorize.scoring.images import ImageTable
from colorize.scoring.methods import Method, Model
from colorize.scoring.networks import Networks
from colorize.scoring.pictures import Colored, Truth, gained, read_truth, short_digest
from colorize.scoring.protocols import Protocol
from colorize.scoring.scores import curves_of, scores_of

TOGETHER = 8  # pictures per forward pass, and per write
MANY = 400  # images; scoring fewer in this process is faster than starting others
AHEAD = 4  # queued images per thread; more only use memory
DIGITS = 7  # significant digits of numbers in a line, the precision of float32


@dataclass
class _Job:
    """An image being processed."""

    name: str
    path: Path
    wanted: list[Method] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)  # digest of the output, by row
    truth: Truth | None = None
    error: str | None = None  # why the truth cannot be read
    digest: str = ""  # digest of the truth
    predicted: dict[str, Chroma] = field(default_factory=dict)
    scored: list[tuple[str, dict[str, Any], Colored | None]] = field(default_factory=list)  # row, line


class Images(Dataset):
    """The images of a pass; item i is image i with the lines of all rows, without scores of networks.

    Args:
        files: True pictures, by name.
        methods: Method and table of each row.
        protocol: Protocol of the comparison.
        pictures: Folder for the pictures of models; None does not save them.
    """

    def __init__(
        self,
        files: Mapping[str, Path],
        methods: Mapping[str, tuple[Method, ImageTable]],
        protocol: Protocol,
        pictures: Path | None = None,
    ) -> None:
        self.files, self.methods, self.protocol, self.pictures = files, methods, protocol, pictures
        self.names = list(files)
        self.models = [method for method, _ in methods.values() if isinstance(method, Model)]
        self.digested = any(model.trained_on is not None for model in self.models)  # whether pixel digests are needed

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> _Job:
        image = self.score(self.read(self.names[index]))
        lines = [(row, line, None) for row, line, _ in image.scored]
        return replace(image, wanted=[], truth=None, scored=lines)  # little to send to another process

    def read(self, name: str) -> _Job:
        """Determine the rows that need an image, and read the image if there are any."""
        image = _Job(name, self.files[name])
        try:
            image.digest = short_digest(image.path)
        except OSError as error:
            image.error = error.strerror or str(error)
        for row, (method, table) in self.methods.items():
            if not method.has(name):
                continue
            try:
                image.digests[row] = method.digest(name) + (f" x{method.gain:g}" if method.gain != 1 else "")
            except OSError as error:
                image.digests[row] = f"unreadable: {error.strerror}"
            picture = self._picture(method, name)
            if not table.holds(name, image.digest, image.digests[row]) or (picture and not picture.exists()):
                image.wanted.append(method)
        if image.wanted and image.error is None:
            try:
                image.truth = read_truth(image.path, self.protocol, keep=self.digested)
            except ImageError as error:
                image.error = _reason(error)
        return image

    def score(self, image: _Job) -> _Job:
        """Score an image for all rows that need it."""
        for method in image.wanted:
            line = {"image": image.name, "truth": image.digest, "output": image.digests[method.name]}
            if image.truth is None:
                image.scored.append((method.name, line | {"error": f"the truth: {image.error}"}, None))
                continue
            try:
                colored = method.color(image.name, image.truth, image.predicted.pop(method.name, None))
                if method.gain != 1:
                    colored = gained(colored, method.gain)
                line |= _line(image.truth, colored)
            except (ImageError, ValueError, OSError) as error:
                line["error"] = _reason(error)
                colored = None
            if colored and (
                picture := self._picture(method, image.name)
            ):  # outside the try block, so that a full disk is not reported as a damaged picture
                with replacing(picture) as temporary:
                    Image.fromarray(colored.rgb.transpose(1, 2, 0)).save(temporary)
            if colored and self._trained_on(method, image.truth):
                line["notes"] = [*line["notes"], "trained on"]
            image.scored.append((method.name, line, colored))
        return image

    def _picture(self, method: Method, name: str) -> Path | None:
        """Return the path for the picture of a model; None if it is not saved."""
        kept = self.pictures and isinstance(method, Model)
        return self.pictures / method.name / f"{name}.png" if kept else None

    def _trained_on(self, method: Method, truth: Truth) -> bool:
        known = method.trained_on if isinstance(method, Model) else None
        return bool(known) and digest_of_picture(truth.pixels) in known


class Pass:
    """A pass over images, which appends the lines of all rows to their tables.

    Args:
        images: Images and rows.
        networks: Networks that also score the pictures.
        advance: Called with the number of processed images and their total.
    """

    def __init__(
        self,
        images: Images,
        networks: Networks | None = None,
        advance: Callable[[int, int | None], None] = lambda done, total: None,
    ) -> None:
        self.images, self.networks, self.advance = images, networks, advance

    def run(self) -> int:
        """Score images that have no line yet; return their number."""
        done = fresh = 0
        with closing(self._batches()) as batches:
            for batch in batches:
                self._write(batch)
                done += len(batch)
                fresh += sum(bool(image.scored) for image in batch)
                self.advance(done, len(self.images))
        return fresh

    def _batches(self) -> Iterator[list[_Job]]:
        """Yield scored images in order, in batches.

        Without networks, processes score many images: threads would wait for each other between operations, and be a
        quarter slower on 2 cores.
        """
        threads = cores()
        if not self.images.models and not (self.networks and self.networks.names):
            workers = threads if threads > 1 and len(self.images) >= MANY else 0
            yield from DataLoader(
                self.images, TOGETHER, num_workers=workers, collate_fn=list, worker_init_fn=_start_worker
            )
            return
        with ThreadPoolExecutor(threads, initializer=network_threads, initargs=(1,)) as pool:
            try:
                yield from _batches(self._in_threads(pool, threads * AHEAD), TOGETHER)
            finally:
                pool.shutdown(cancel_futures=True)

    def _in_threads(self, pool: ThreadPoolExecutor, ahead: int) -> Iterator[_Job]:
        """Yield scored images in order while others are read and scored in threads, and models predict."""
        names, models = iter(self.images.names), self.images.models
        reading: deque[Future[_Job]] = deque()
        scoring: deque[Future[_Job]] = deque()
        while True:
            while len(reading) + len(scoring) < ahead and (name := next(names, None)) is not None:
                reading.append(pool.submit(self.images.read, name))
            if not reading and not scoring:
                return
            batch = [reading.popleft().result() for _ in range(min(len(reading), TOGETHER if models else 1))]
            for model in models:
                self._predict(model, [image for image in batch if image.truth and model in image.wanted])
            scoring.extend(pool.submit(self.images.score, image) for image in batch)
            while scoring and (len(scoring) >= ahead // 2 or not reading):
                yield scoring.popleft().result()

    def _predict(self, model: Model, images: Sequence[_Job]) -> None:
        if images:
            for image, chroma in zip(images, model.predict([image.truth for image in images]), strict=True):
                image.predicted[model.name] = chroma

    def _write(self, batch: Sequence[_Job]) -> None:
        if self.networks and self.networks.names:
            self._judge(batch)
        lines: dict[str, list[dict[str, Any]]] = {}
        for image in batch:
            for row, line, _ in image.scored:
                lines.setdefault(row, []).append(line)
        for row, each in lines.items():
            self.images.methods[row][1].append(each)

    def _judge(self, batch: Sequence[_Job]) -> None:
        pairs = [
            (line, colored.rgb, image.truth.rgb) for image in batch for _, line, colored in image.scored if colored
        ]
        for _, alike in groupby(pairs, key=lambda pair: pair[1].shape):
            for part in _batches(alike, TOGETHER):
                outputs, targets = (torch.stack([torch.from_numpy(pair[side]) for pair in part]) for side in (1, 2))
                for (line, _, _), found in zip(part, self.networks.look_at(outputs, targets), strict=True):
                    line |= found


def _start_worker(number: int) -> None:
    end_with_parent()  # a worker whose result nobody reads would wait forever


@torch.inference_mode()  # a twentieth faster
def _line(truth: Truth, colored: Colored) -> dict[str, Any]:
    scores = {name: _rounded(value) for name, value in scores_of(truth, colored).items() if value == value}
    curves, reference = curves_of(truth, colored)
    notes = [*colored.notes, *(["grey truth"] if truth.grey else [])]
    rounded = {name: [_rounded(value) for value in values] for name, values in curves.items()}
    return {"notes": notes, "scores": scores, "curves": rounded, "reference": [_rounded(value) for value in reference]}


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _reason(error: Exception) -> str:
    """Return the reason of an error without the path of the file, because tables should not depend on paths."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text.rpartition(": ")[2] if isinstance(error, ImageError) else getattr(error, "strerror", None) or text


def _batches(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
