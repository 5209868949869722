"""Color many photographs, reading and writing some while others are predicted; a failure does not stop the others."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from colorize.base.digests import sha256
from colorize.base.errors import UserError, ran_out
from colorize.base.files import replacing
from colorize.base.machine import cores, network_threads, network_threads_kept, return_freed_memory
from colorize.inference.colorizer import Colorizer, Options
from colorize.inference.inputs import InputFile
from colorize.inference.manifest import Entry, Manifest
from colorize.inference.painting import Chroma, PixelSource
from colorize.photos.memory import Limit, cost_of_file, format_size
from colorize.photos.photo import FORMATS, Photo, format_of, name_for, read_photo, save_photo

GROUP_BYTES = 256_000_000  # photographs read together: more are not faster; a larger photograph is its own group
STAGES = 3  # groups in memory at once, each with its share: one is read, one predicted, one painted


@dataclass
class Tally:
    """The results of a run.

    Attributes:
        written: source to colored version.
        there: the same, for photographs whose colored version existed already.
        failed: number of photographs that could not be colored.
        pixels: number of pixels in the colored photographs.
        limited: number of these pixels that lost chroma to fit sRGB.
    """

    written: dict[Path, Path] = field(default_factory=dict)
    there: dict[Path, Path] = field(default_factory=dict)
    failed: int = 0
    pixels: int = 0
    limited: int = 0

    def add(self, other: "Tally") -> None:
        """Add the results of another run."""
        self.written |= other.written
        self.there |= other.there
        self.failed += other.failed
        self.pixels += other.pixels
        self.limited += other.limited


@dataclass
class _Member:
    """A photograph in the pipeline; each stage fills in its results."""

    job: InputFile
    need: int
    digest: str  # sha256 of its file
    photo: Photo
    target: Path = Path()
    source: PixelSource | None = None
    chroma: Chroma | None = None


_Waiting = tuple[InputFile, int]  # a photograph and the bytes of memory that it needs
_Reading = list[tuple[InputFile, int, Future[_Member]]]
_Painting = list[tuple[_Member, Future[int]]]


class BulkColorizer:
    """Colors photographs into a folder and skips results that its manifest lists already.

    Args:
        colorizer: colors the photographs.
        options: how to color them.
        out: output folder; nothing is written elsewhere.
        overwrite: replace existing files, including those not made by this program. An input is never overwritten.
        say: called with each one-line message: errors and notes.
        advance: called once for each finished photograph.
        settings: digest of everything but the photograph that determines a result, see `colorize.inference.manifest`.
        quality: see `colorize.photos.photo.read_photo`.
        memory: memory limit of this process in bytes, including libraries and model; None is a share of what is free,
            see `colorize.photos.memory`.
    Raises:
        UserError: if the manifest cannot be used; from `run`, if the limit leaves no memory for photographs.
    """

    def __init__(
        self,
        colorizer: Colorizer,
        options: Options,
        out: Path,
        overwrite: bool = False,
        say: Callable[[str], None] = print,
        advance: Callable[[], None] = lambda: None,
        settings: str = "",
        quality: int | None = None,
        memory: int | None = None,
    ) -> None:
        self.colorizer, self.options, self.out, self.overwrite = colorizer, options, out, overwrite
        self.say, self.advance, self.settings, self.quality = say, advance, settings, quality
        self.tally, self.limit = Tally(), Limit(memory)
        self.manifest = Manifest(out)
        self._inputs: set[Path] = set()
        self._claimed: dict[Path, Path] = {}  # target to source
        self._network = self._room = 0  # bytes: of the network for one picture; for all photographs, networks included
        self._again: list[_Waiting] | None = []  # ran out of memory next to others, to be retried alone; None on retry
        self._folders: dict[Path, Path] = {}  # cache of resolved folders

    def run(self, jobs: Sequence[InputFile]) -> Tally:
        """Color all photographs; failures are reported and counted."""
        self._inputs = {self._resolved(job.source) for job in jobs}
        # One thread more than there are cores, since some wait for the disk
        with self.manifest, network_threads_kept(), ThreadPoolExecutor(cores() + 1) as self._pool:
            self._run(self._fitting(jobs))
            again, self._again = self._again, None
            for waiting in again:
                return_freed_memory()
                self._run(iter([waiting]))
        return self.tally

    def _run(self, waiting: Iterator[_Waiting]) -> None:
        """Read, predict and paint, with up to three groups in the pipeline as memory allows."""
        self._waiting, self._next = waiting, next(waiting, None)
        reading: _Reading = []
        painting: _Painting = []
        while reading or painting or self._next:
            held = sum(need for _, need, _ in reading) + sum(member.need for member, _ in painting)
            coming = self._start_reading(held)
            predicted = self._predicted(list(self._read(reading)))
            self._finish(painting)
            painting = [(member, self._pool.submit(self._painted, member)) for member in predicted]
            if held > GROUP_BYTES:
                return_freed_memory()
            reading = coming or self._start_reading(sum(member.need for member in predicted))

    def _fitting(self, jobs: Sequence[InputFile]) -> Iterator[_Waiting]:
        """Yield the photographs that are not done yet and that fit into memory at least one at a time."""
        for job in jobs:
            if self._is_there(job):
                continue
            if not self._room:  # only now, so that the network is not measured if there is nothing to do
                self._room, self._network = self.colorizer.fit_into(self.limit, self.options)
            size, cost = cost_of_file(job.source)
            need = cost + self._network
            if need <= self._room:
                yield job, need
                continue
            whole = format_size(need + self.limit.size - self._room)
            self._fail(job, UserError(f"{size} needs about {whole}, over {self.limit}; allow more, or make it smaller"))

    def _is_there(self, job: InputFile) -> bool:
        if self.overwrite:
            return False
        digest = ""
        for ending in ("", *(endings[0] for endings, _ in FORMATS.values())):
            target = self.out / job.folder / ((job.name or job.source.name) + ending)
            entry = self.manifest.get(self._name(target))
            if entry is None or entry.settings != self.settings or not target.is_file():
                continue
            try:
                digest = digest or sha256(job.source)
            except OSError:  # will be reported when it is read
                return False
            if entry.input == digest and target not in self._claimed:
                self._claimed[target] = job.source
                self.tally.there[job.source] = target
                self.advance()
                return True
        return False

    def _start_reading(self, held: int) -> _Reading:
        """Start reading a group as large as the batch size and the free memory allow; ``held`` bytes are in use."""
        group: list[_Waiting] = []
        while self._next and held + self._next[1] <= self._room:
            needs = sum(need for _, need in group) + self._next[1]
            most = min(self._room // STAGES, GROUP_BYTES + self._network * (len(group) + 1))
            if group and (len(group) == self.colorizer.batch_size or needs > most):
                break
            group.append(self._next)
            held += self._next[1]
            self._next = next(self._waiting, None)
        return [(job, need, self._pool.submit(_read, job, need, self.quality)) for job, need in group]

    def _read(self, group: _Reading) -> Iterator[_Member]:
        for job, need, reading in group:
            try:
                member = reading.result()
                member.target = self._target(member)
                yield member
            except Exception as error:  # each format's decoder raises its own types
                self._fail(job, error, need)

    def _target(self, member: _Member) -> Path:
        job = member.job
        folder = self.out / job.folder
        target = folder / name_for(Path(job.name or job.source.name), member.photo)
        resolved = self._resolved(folder)
        if self._resolved(target) in self._inputs:
            raise UserError(f"{target} is an input, which is never overwritten; choose another --out")
        if not resolved.is_relative_to(self._resolved(self.out)):
            raise UserError(f"{folder} is a link that points outside of {self.out}; nothing is written there")
        if self._claimed.setdefault(target, job.source) != job.source:
            raise UserError(f"another input is written to {target}; color them separately")
        if not self.overwrite and target.exists():
            self._check_replaced(target, member)
        return target

    def _check_replaced(self, target: Path, member: _Member) -> None:
        """Refuse to replace a file that is not a result of this photograph, or was changed since."""
        name = self._name(target)
        entry = self.manifest.get(name)
        if name not in self.manifest:
            raise UserError(f"{target} exists, but is not a result; choose another --out, or --overwrite replaces it")
        if entry and entry.input != member.digest and entry.source != str(self._resolved(member.job.source)):
            raise UserError(f"{target} is from {entry.source}; choose another --out, or --overwrite replaces it")
        if entry and target.stat().st_size != entry.size:
            raise UserError(f"{target} was modified after coloring; choose another --out, or --overwrite replaces it")

    def _name(self, target: Path) -> str:
        return target.relative_to(self.out).as_posix()

    def _resolved(self, path: Path) -> Path:
        """Resolve a path; its folder is cached, which is faster for folders of many files."""
        if path.is_symlink() or path.is_dir():
            return path.resolve()
        folder = path.parent
        if folder not in self._folders:
            self._folders[folder] = folder.resolve()
        return self._folders[folder] / path.name

    def _predicted(self, members: list[_Member]) -> list[_Member]:
        """Predict the chroma of a group; if that fails, of each photograph alone."""
        parts = self._parts(members) if members else []
        threads = max(1, cores() // max(1, len(parts)))
        predicting = [(part, self._pool.submit(self._predict, part, threads)) for part in parts]
        done = []
        for part, future in predicting:
            try:
                future.result()
                done += part
            except Exception as error:  # one photograph can raise any type
                if len(members) > 1:
                    done += [member for one in part for member in self._predicted([one])]
                else:
                    self._fail(part[0].job, error, part[0].need)
        return done

    def _parts(self, members: list[_Member]) -> list[list[_Member]]:
        """Split a group among the cores: faster than threads within one prediction, which wait for each other."""
        size = -(-len(members) // (cores() if self.colorizer.on_cpu else 1))
        return [members[start : start + size] for start in range(0, len(members), size)]

    def _predict(self, members: list[_Member], threads: int) -> None:
        network_threads(threads)
        photos = [member.photo for member in members]
        for member, (source, chroma) in zip(members, self.colorizer.predict_photos(photos, self.options), strict=True):
            member.source, member.chroma = source, chroma

    def _painted(self, member: _Member) -> int:
        """Paint and write one photograph; return the number of pixels that lost chroma."""
        image, limited = self.colorizer.painted(member.photo, member.source, member.chroma)
        with replacing(member.target) as temporary:
            save_photo(member.photo, image, temporary)
            size = temporary.stat().st_size
            name = self._name(member.target)
            self.manifest.begin(name)
        source = str(self._resolved(member.job.source))
        self.manifest.add(Entry(name, size, member.digest, self.settings, source))
        return limited

    def _finish(self, painting: _Painting) -> None:
        for member, painted in painting:
            try:
                self._done(member, painted.result())
            except Exception as error:  # each format's encoder raises its own types
                self._fail(member.job, error, member.need)

    def _done(self, member: _Member, limited: int) -> None:
        for note in member.photo.notes:
            self.say(f"{member.job.source}: {note}")
        width, height = member.photo.size
        self.tally.pixels += width * height
        self.tally.limited += limited
        self.tally.written[member.job.source] = member.target
        self.advance()

    def _fail(self, job: InputFile, error: Exception, need: int = 0) -> None:
        if ran_out(error) and self._again is not None:  # may succeed alone
            self._again.append((job, need))
            return
        reason = "not enough memory" if ran_out(error) else str(error) or type(error).__name__
        self.say(f"{job.source}: {reason.removeprefix(f'{job.source}: ').splitlines()[0]}")
        self.tally.failed += 1
        self.advance()


def _read(job: InputFile, need: int, quality: int | None) -> _Member:
    photo = read_photo(job.source, quality, format_of(job.name))
    return _Member(job, need, sha256(job.source), photo)
