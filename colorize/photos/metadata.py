"""Metadata of photographs: read EXIF, XMP, resolution and comment, and write them as far as the format allows."""

import io
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin

DAMAGED = "its EXIF is damaged and is left out"
PARTLY = "part of its EXIF is damaged and is left out"
UNWRITABLE = "{} cannot be written and is left out"
EXIF, GPS, INTEROP, ORIENTATION = (
    int(tag) for tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop, ExifTags.Base.Orientation)
)
MAKER_NOTE, XMP = int(ExifTags.IFD.MakerNote), 700  # XMP is tag 700 in a TIFF
DIRECTORIES = EXIF, GPS, INTEROP  # tags whose value is the offset of another directory
# The descriptive tags of a TIFF; its other tags describe how its pixels are stored
TIFF_TAGS = [
    int(getattr(ExifTags.Base, name))
    for name in ("ImageDescription", "Make", "Model", "Software", "DateTime", "Artist", "HostComputer", "Copyright")
]

Tag = tuple[int, int]  # directory, 0 for the first, and tag in it


def read_metadata(image: Image.Image, path: Path | str, exif: bytes | None) -> tuple[dict[str, Any], list[str]]:
    """Read the metadata to be written again, and describe what is lost.

    Args:
        image: the image, already upright: its EXIF orientation is dropped.
        path: path of its file.
        exif: the raw EXIF from the file, if it has any; for a TIFF, the file itself is read.
    Returns:
        Keyword arguments of Pillow's ``save``, and notes for the owner of the photograph.
    """
    kept = {"comment": image.info["comment"]} if isinstance(image.info.get("comment"), bytes) else {}
    dpi = image.info.get("dpi", ())
    with suppress(TypeError, ValueError):  # a damaged one may not be numbers
        if len(dpi) == 2 and all(1 <= value < 65536 for value in dpi):
            kept["dpi"] = dpi
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if isinstance(xmp, str):  # PNG stores it as text
        xmp = xmp.encode(errors="replace")
    if isinstance(xmp, bytes) and xmp:
        kept["xmp"] = xmp
    content = _content(image)
    if content:
        kept["exif"] = content
    tiff = image.format == "TIFF"
    with Path(path).open("rb") if tiff else io.BytesIO((exif or b"").removeprefix(b"Exif\0\0")) as file:
        found = tags_of(file)
    if found is None:
        return kept, [] if tiff or not exif else [PARTLY if content else DAMAGED]
    wanted = {tag for tag in found if not tiff or tag[0] or tag[1] in TIFF_TAGS} - {(0, ORIENTATION)}
    lost = wanted - (tags_of(io.BytesIO(content.removeprefix(b"Exif\0\0"))) or set())
    return kept, [PARTLY if content else DAMAGED] if lost else []


def _content(image: Image.Image) -> bytes:
    """Return EXIF to be written again, without entries that cannot be written; empty if nothing is left."""
    try:
        read = image.getexif()
        if image.format == "TIFF":
            read = _descriptive(read)
        if ORIENTATION in read:
            del read[ORIENTATION]
    except Exception:  # damaged EXIF can raise any type
        return b""
    if not read:
        return b""
    with suppress(Exception):
        return read.tobytes()
    kept = Image.Exif()
    kept.endian = read.endian
    for tag in list(read):
        with suppress(Exception):
            if tag in DIRECTORIES:
                fit = {key: value for key, value in read.get_ifd(tag).items() if _fits(key, value)}
                kept.get_ifd(tag).update(fit)
            elif _fits(tag, read[tag]):
                kept[tag] = read[tag]
    with suppress(Exception):
        return kept.tobytes()
    return b""


def _descriptive(exif: Image.Exif) -> Image.Exif:
    kept = Image.Exif()
    kept.update({tag: exif[tag] for tag in TIFF_TAGS if tag in exif})
    kept.update({ifd: exif.get_ifd(ifd) for ifd in (EXIF, GPS) if exif.get_ifd(ifd)})
    return kept


def _fits(tag: int, value: Any) -> bool:
    trial = Image.Exif()
    trial[tag] = value
    with suppress(Exception):
        return bool(trial.tobytes())
    return False


def tags_of(file: BinaryIO) -> set[Tag] | None:
    """List the tags in the directories of a TIFF or of EXIF, whatever their values; None if it is neither.

    Empty tags and those of the second image, a thumbnail, are not counted.
    """
    head = file.read(8)
    order = {b"II*\0": "little", b"MM\0*": "big"}.get(head[:4])
    if order is None or len(head) < 8:
        return None
    found: set[Tag] = set()
    places = [(0, int.from_bytes(head[4:], order))]
    while places:
        directory, place = places.pop()
        file.seek(place)
        count = int.from_bytes(file.read(2), order)
        entries = file.read(12 * count)
        found |= {(directory, -1)} if len(entries) < 12 * count else set()  # truncated: something is lost
        for start in range(0, len(entries) - 11, 12):
            tag = int.from_bytes(entries[start : start + 2], order)
            if tag in DIRECTORIES and not any(tag == known for known, _ in (*found, *places, (directory, 0))):
                places.append((tag, int.from_bytes(entries[start + 8 : start + 12], order)))
            elif tag not in DIRECTORIES and any(entries[start + 4 : start + 8]):
                found.add((directory, tag))
    return found


def with_less(metadata: dict[str, Any]) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Yield the metadata, then smaller and smaller parts of it, for formats that do not accept all of it.

    Yields:
        The metadata, and notes about what was left out.
    """
    yield metadata, []
    names = {"exif": "its EXIF", "xmp": "its XMP", "comment": "its comment", "dpi": "its resolution"}
    exif = metadata.get("exif")
    with suppress(Exception):
        if exif and (smaller := without_maker_note(exif)) != exif:
            yield metadata | {"exif": smaller}, [UNWRITABLE.format("the maker note of its EXIF")]
    there = [name for name in names if name in metadata]
    for name in there:
        yield {key: metadata[key] for key in metadata if key != name}, [UNWRITABLE.format(names[name])]
    if len(there) > 1:
        lost = [UNWRITABLE.format(names[name]) for name in there]
        yield {key: metadata[key] for key in metadata if key not in names}, lost


def without_maker_note(content: bytes) -> bytes:
    """Return EXIF without the maker note, which only the camera's maker can read and which is often most of it."""
    exif = Image.Exif()
    exif.load(content)
    for directory in (EXIF, GPS):
        if directory in exif:
            exif[directory] = {tag: value for tag, value in exif.get_ifd(directory).items() if tag != MAKER_NOTE}
    return exif.tobytes()


def in_place(metadata: dict[str, Any], format_: str) -> tuple[dict[str, Any], dict[int, dict[int, Any]]]:
    """Return the arguments of Pillow's ``save`` for a format, and the directories for `add_directories` in a TIFF."""
    kept, directories = dict(metadata), {}
    if format_ == "TIFF":
        tags, directories = split_directories(kept.pop("exif", b""))
        if "xmp" in kept:
            tags[XMP] = kept.pop("xmp")
        kept["tiffinfo"] = tags
    elif format_ == "PNG" and "xmp" in kept:
        kept["pnginfo"] = PngImagePlugin.PngInfo()
        kept["pnginfo"].add_itxt("XML:com.adobe.xmp", kept.pop("xmp").decode())
    return kept, directories


def split_directories(content: bytes) -> tuple[dict[int, Any], dict[int, dict[int, Any]]]:
    """Split EXIF into its first directory, with 0 as the offset of the others, and these others."""
    exif = Image.Exif()
    exif.load(content)
    directories = {tag: exif.get_ifd(tag) for tag in (EXIF, GPS) if tag in exif}
    return dict(exif) | dict.fromkeys(directories, 0), directories


def add_directories(path: Path, directories: dict[int, dict[int, Any]]) -> None:
    """Append directories to a TIFF, and write their offsets into the tags of its first directory that are 0.

    This is needed because libtiff, with which Pillow compresses, does not write them.
    """
    with path.open("r+b") as file:
        head = file.read(8)
        order = "little" if head[:2] == b"II" else "big"
        first = int.from_bytes(head[4:], order)
        file.seek(first)
        entries = file.read(2 + 12 * int.from_bytes(file.read(2), order))
        for start in range(0, len(entries) - 13, 12):
            tag = int.from_bytes(entries[start : start + 2], order)
            if tag in directories:
                directory = TiffImagePlugin.ImageFileDirectory_v2(head, group=tag)
                directory.update(directories[tag])
                end = file.seek(0, io.SEEK_END)
                place = end + end % 2  # directories begin at even offsets
                file.write(bytes(place - end) + directory.tobytes(place))
                file.seek(first + 2 + start + 8)
                file.write(place.to_bytes(4, order))
