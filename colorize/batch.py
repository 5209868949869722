"""Colour many photographs: one is read and one written while another is coloured; one that fails holds up no other."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from colorize.errors import UserError
from colorize.images import ImageError, pixels_of
from colorize.inference import Colorizer, Options
from colorize.inputs import Job
from colorize.machine import cores
from colorize.photos import FORMATS, Photo, name_for, read_photo, write_photo

Member = tuple[Job, Path, Photo]  # with the path of its coloured version
GROUP_PIXELS = 32_000_000  # of photographs that are in memory at once; a larger one is alone


@dataclass
class Tally:
    """What came of the photographs.

    Attributes:
        written: source to coloured version.
        there: those whose coloured version was there already.
        failed: how many have none.
        pixels: of the coloured ones.
        limited: how many of these pixels lost chroma to fit sRGB.
    """

    written: dict[Path, Path] = field(default_factory=dict)
    there: dict[Path, Path] = field(default_factory=dict)
    failed: int = 0
    pixels: int = 0
    limited: int = 0


class Batch:
    """Colours photographs into a folder.

    Args:
        colorizer: that colours them.
        options: how.
        out: the folder; nothing is written elsewhere.
        overwrite: colour anew what is there already. An input is never overwritten.
        say: is told, in one line each, what went wrong or is worth knowing.
        advance: is called once for each photograph, when it is done with.
    """

    def __init__(
        self,
        colorizer: Colorizer,
        options: Options,
        out: Path,
        overwrite: bool = False,
        say: Callable[[str], None] = print,
        advance: Callable[[], None] = lambda: None,
    ) -> None:
        self.colorizer, self.options, self.out, self.overwrite = colorizer, options, out, overwrite
        self.say, self.advance = say, advance
        self.tally = Tally()
        self._inputs: set[Path] = set()
        self._claimed: set[Path] = set()

    def run(self, jobs: Sequence[Job]) -> Tally:
        """Colour them all; those that fail are told and counted."""
        self._inputs = {job.source.resolve() for job in jobs}
        groups = self._groups(jobs)
        with ThreadPoolExecutor(cores()) as pool:
            reading = self._start_reading(pool, next(groups, []))
            writing: list[tuple[Job, Path, Future[None]]] = []
            while reading:
                coming = self._start_reading(pool, next(groups, []))
                colored = self._colored(list(self._read(reading)))
                started = [
                    (job, target, pool.submit(write_photo, photo, image, target))
                    for job, target, photo, image in colored
                ]
                self._finish(writing)
                reading, writing = coming, started
            self._finish(writing)
        return self.tally

    def _groups(self, jobs: Sequence[Job]) -> Iterator[list[Job]]:
        """Yield what is to be done, as many together as the network and the memory take."""
        group, pixels = [], 0
        for job in jobs:
            if self._is_there(job):
                continue
            own = pixels_of(job.source)
            if group and (len(group) == self.colorizer.batch_size or pixels + own > GROUP_PIXELS):
                yield group
                group, pixels = [], 0
            group.append(job)
            pixels += own
        if group:
            yield group

    def _is_there(self, job: Job) -> bool:
        named = self.out / job.folder / job.source.name
        others = [named.with_name(named.name + endings[0]) for endings, _ in FORMATS.values()]
        there = next((path for path in (named, *others) if path.exists()), None)
        if there is None or self.overwrite or there.resolve() in self._inputs:
            return False  # an input in its place is told when the format, and so the name, is known
        self.tally.there[job.source] = there
        self.advance()
        return True

    def _start_reading(self, pool: ThreadPoolExecutor, group: list[Job]) -> list[tuple[Job, Future[Photo]]]:
        return [(job, pool.submit(read_photo, job.source)) for job in group]

    def _read(self, group: list[tuple[Job, Future[Photo]]]) -> Iterator[Member]:
        for job, reading in group:
            try:
                photo = reading.result()
                yield job, self._target(job, photo), photo
            except (ImageError, UserError, MemoryError) as error:
                self._fail(job, error)

    def _target(self, job: Job, photo: Photo) -> Path:
        target = self.out / job.folder / name_for(job.source, photo)
        if target.resolve() in self._inputs:
            raise UserError(f"{target} is an input, which is never overwritten; choose another --out")
        if not target.parent.resolve().is_relative_to(self.out.resolve()):
            raise UserError(f"{target.parent} is a link that leads out of {self.out}; nothing is written there")
        if target in self._claimed:
            raise UserError(f"another input is written to {target}; colour them apart")
        self._claimed.add(target)
        return target

    def _colored(self, members: list[Member]) -> Iterator[tuple[Job, Path, Photo, Image.Image]]:
        colored = self.colorizer.colorize_photos([photo for _, _, photo in members], self.options)
        for index, (job, target, photo) in enumerate(members):
            try:
                image, limited = next(colored)
            except (UserError, MemoryError) as error:
                if len(members) > 1:  # for want of memory: the others may do alone
                    for member in members[index:]:
                        yield from self._colored([member])
                else:
                    self._fail(job, error)
                return
            for note in photo.notes:
                self.say(f"{job.source}: {note}")
            self.tally.pixels += image.width * image.height
            self.tally.limited += limited
            yield job, target, photo, image

    def _finish(self, writing: list[tuple[Job, Path, Future[None]]]) -> None:
        for job, target, written in writing:
            try:
                written.result()
                self.tally.written[job.source] = target
                self.advance()
            except Exception as error:  # each format's encoder raises types of its own
                self._fail(job, error)

    def _fail(self, job: Job, error: Exception) -> None:
        reason = "not enough memory" if isinstance(error, MemoryError) else str(error) or type(error).__name__
        self.say(f"{job.source}: {reason.removeprefix(f'{job.source}: ').splitlines()[0]}")
        self.tally.failed += 1
        self.advance()
