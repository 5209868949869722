"""Sources of images: a COCO-layout folder, any folder, or generated scenes, with one interface."""

import contextlib
import hashlib
import io
import json
import os
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, NoReturn, Protocol

from filelock import FileLock

from colorize.base.claims import short_repr
from colorize.base.errors import UserError, first_line
from colorize.base.files import replacing, replacing_folder
from colorize.base.registry import Registry
from colorize.data.download import download_file, download_images, is_web
from colorize.images import EXTENSIONS
from colorize.scenes.dataset import SCENES_VERSION, generate_scenes

SOURCES = Registry("data set")
NO_URL = "no file, and no coco_url of http or https in the index"
ANNOTATIONS_URL = "http://images.cocodataset.org/annotations/annotations_trainval2017.zip"


class Candidate(NamedTuple):
    """An image that may become part of the data set."""

    id: int | str  # COCO's image id, or the path relative to the folder
    path: Path
    url: str | None = None


class Source(Protocol):
    """The interface of a data set that the image store uses."""

    def fingerprint(self) -> str:
        """Return a text that changes when the candidates change; fast, reads no image."""

    def candidates(self) -> list[Candidate]:
        """Return every image that may be used, in any order."""

    def fetch(self, candidates: Iterable[Candidate]) -> dict[Path, str]:
        """Fetch missing files; return the reason for each image that is not available."""


@SOURCES.register("folder")
class FolderSource:
    """Every image below a folder, whatever its depth and format.

    Args:
        root: the folder.
    Raises:
        UserError: if the folder does not exist or holds no image.
    """

    def __init__(self, root: str | None = None) -> None:
        if root is None:
            raise UserError("data=folder needs data.root=FOLDER, a folder of images")
        self.root = _existing(root)
        self.paths = sorted(
            Path(folder) / name
            for folder, _, names in os.walk(self.root, onerror=_unreadable)
            for name in names
            if Path(name).suffix.lower() in EXTENSIONS
        )
        if not self.paths:
            raise UserError(f"data.root={root} holds no image ({', '.join(sorted(EXTENSIONS))})")

    def fingerprint(self) -> str:
        """Hash the path, size and modification time of every file."""
        digest = hashlib.sha256(str(self.root.resolve()).encode())
        for path in self.paths:
            try:
                status = path.stat()
            except OSError:  # such as a broken link: the store lists it as skipped
                status = path.lstat()
            digest.update(f"{path}:{status.st_size}:{status.st_mtime_ns}".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def candidates(self) -> list[Candidate]:
        """List the files, named by their path relative to the folder."""
        return [Candidate(path.relative_to(self.root).as_posix(), path) for path in self.paths]

    def fetch(self, candidates: Iterable[Candidate]) -> dict[Path, str]:
        """Do nothing: the files are local."""
        return {}


@SOURCES.register("coco")
class CocoSource:
    """Images of a COCO instances file.

    Args:
        root: an existing folder in COCO layout: ``annotations/*.json`` and images in ``images/``, the folder of
            ``split``, or both; without it, ``data/coco`` is created and downloaded.
        split: the part of COCO: ``train2017`` or ``val2017``; it picks ``instances_<split>.json``.
        download: fetch what is missing; ``None`` does so only where no ``root`` was given.
        annotations_url: zip archive that holds ``annotations/instances_<split>.json``.
    Raises:
        UserError: if the folder, its annotations or the network is missing.
    """

    def __init__(
        self,
        root: str | None = None,
        split: str = "train2017",
        download: bool | None = None,
        annotations_url: str = ANNOTATIONS_URL,
    ) -> None:
        self.root = Path("data/coco") if root is None else _existing(root)
        self.split = split
        self.download = root is None if download is None else download
        self.index = self._find_index() or self._download_index(annotations_url)

    def _find_index(self) -> Path | None:
        named = self.root / "annotations" / f"instances_{self.split}.json"
        if named.is_file():  # opening a pipe would block
            return named
        found = [] if self.download else sorted(p for p in self.root.glob("annotations/*.json") if p.is_file())
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise UserError(f"{named} does not exist; of {names} choose instances_X.json by data.split=X")
        return found[0] if found else None  # a folder's only index is used, whatever its name

    def _download_index(self, url: str) -> Path:
        if not self.download:
            raise UserError(
                f"data.root={self.root} holds no annotations/*.json: name a COCO-layout folder, "
                "use data=folder for images without one, or data.download=true to fetch COCO into it"
            )
        index = self.root / "annotations" / f"instances_{self.split}.json"
        archive = self.root / Path(url).name
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / ".download.lock"):
            if index.exists():
                return index
            download_file(url, archive, verify=zipfile.is_zipfile)
            member = f"annotations/{index.name}"
            with zipfile.ZipFile(archive) as whole:
                if member not in whole.namelist():
                    raise UserError(f"{url} holds no {member}: data.split={self.split!r} is not a part of COCO 2017")
                with replacing(index) as temporary:
                    temporary.write_bytes(whole.read(member))
            archive.unlink()
        return index

    def fingerprint(self) -> str:
        """Return the path, size and modification time of the index."""
        status = self.index.stat()
        return f"{self.index.resolve()}:{status.st_size}:{status.st_mtime_ns}"

    def candidates(self) -> list[Candidate]:
        """Return the images of the index; existing files are found in any of the common layouts."""
        from pycocotools.coco import COCO

        try:
            with contextlib.redirect_stdout(io.StringIO()):  # COCO prints its progress
                coco = COCO(str(self.index))
            images = [(image["id"], image["file_name"], image.get("coco_url")) for image in coco.dataset["images"]]
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError) as error:
            raise UserError(f"{self.index} is not a COCO instances file ({first_line(error)})") from error
        folders = [self.root / self.split, self.root / "images", self.root / "images" / self.split, self.root]
        here = {folder: {path.name for path in folder.iterdir()} if folder.is_dir() else set() for folder in folders}
        found = []
        for number, name, url in images:
            if not isinstance(name, str) or not isinstance(number, int | str):
                raise UserError(
                    f"{self.index} is not a COCO instances file (an image has file_name {short_repr(name)})"
                )
            folder = next((folder for folder in folders if name in here[folder]), folders[0])
            if name not in here[folder] and not _is_below(folder, name):
                raise UserError(f"{self.index} names {short_repr(name)}, which is outside of {folder}: it is not used")
            found.append(Candidate(number, folder / name, url))
        return found

    def fetch(self, candidates: Iterable[Candidate]) -> dict[Path, str]:
        """Download missing files in parallel, if ``download`` allows it."""
        missing = [candidate for candidate in candidates if not candidate.path.exists()]
        if not self.download:
            return {candidate.path: "no such file" for candidate in missing}
        without = {c.path: NO_URL for c in missing if not is_web(c.url)}
        with FileLock(self.root / ".download.lock"):  # stores of several sizes may need the same files
            failed = download_images([(c.url, c.path) for c in missing if is_web(c.url)])
        transient = [path for path, failure in failed.items() if not failure.permanent]
        if transient:  # replacing these would make the split depend on the network
            raise UserError(
                f"{len(transient)} of {len(missing)} images could not be downloaded (the first, {transient[0].name}: "
                f"{failed[transient[0]]}); run again to resume, or use data.download=false to leave them out"
            )
        return without | {path: str(failure) for path, failure in failed.items()}


@SOURCES.register("scenes")
class ScenesSource:
    """Generated scenes, drawn on first use.

    Args:
        root: folder to keep them in.
        num_images: number of scenes.
        scene_seed: seed of the scenes, independent of training.
        scene_size: side in pixels, before the store resizes them.
    Raises:
        UserError: if ``num_images`` is below 1.
    """

    def __init__(
        self, root: str | None = None, num_images: int = 0, scene_seed: int = 0, scene_size: int = 256
    ) -> None:
        if num_images < 1:
            raise UserError("data=scenes draws data.num_train + data.num_val scenes: set both")
        base = Path("data/scenes") if root is None else Path(root)
        self.settings = {"version": SCENES_VERSION, "num_images": num_images, "seed": scene_seed, "size": scene_size}
        self.root = base / "-".join(str(value) for value in self.settings.values())

    def fingerprint(self) -> str:
        """Return the settings, which determine every pixel."""
        return json.dumps(self.settings)

    def candidates(self) -> list[Candidate]:
        """Draw the scenes unless they exist, and list them."""
        self.root.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.root}.lock"):
            if not self.root.exists():
                with replacing_folder(self.root) as temporary:
                    settings = {key: value for key, value in self.settings.items() if key != "version"}
                    generate_scenes(temporary, **settings, show_progress=sys.stdout.isatty())
        return CocoSource(str(self.root)).candidates()

    def fetch(self, candidates: Iterable[Candidate]) -> dict[Path, str]:
        """Do nothing: the files are local."""
        return {}


def _existing(root: str) -> Path:
    path = Path(root).expanduser()
    if not path.is_dir():
        raise UserError(f"data.root={root} is not a folder")
    return path


def _unreadable(error: OSError) -> NoReturn:
    raise UserError(f"cannot read {error.filename}: {error.strerror}") from None


def _is_below(folder: Path, name: str) -> bool:
    """Return whether a file name of an index stays in its folder, with symbolic links resolved."""
    if "\0" in name or Path(name).is_absolute() or Path(name).name in ("", "..") or ".." in Path(name).parts:
        return False
    return (folder / name).parent.resolve().is_relative_to(folder.resolve())
