"""Images decoded and resized into the rows of one file, in parallel processes that never import torch."""

import hashlib
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from rich.progress import track

from colorize.images import ImageError, is_near_grey, read_rgb
from colorize.machine import cores

PARALLEL_FROM = 64  # images; below it, starting processes takes longer than the work
NEAR_GREY = "near-grey: no colour to learn from"


class Job(NamedTuple):
    """One image and the row it goes to."""

    row: int
    image: Path
    pixels: Path  # the file of rows
    size: int  # pixels a side


class Outcome(NamedTuple):
    """What became of a job: a digest, or a reason why the image cannot be used."""

    row: int
    sha256: str = ""
    reason: str = ""


def reserve(descriptor: int, size: int) -> None:
    """Take disk space now, in bytes: a full disk is an `OSError` here, and would crash the process later."""
    if size and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.truncate(descriptor, size)


def decode_images(jobs: list[Job]) -> list[Outcome]:
    """Do the jobs, on all cores where they are many."""
    shown = {"description": "decoding images", "total": len(jobs), "disable": not sys.stderr.isatty()}
    workers = cores()
    if len(jobs) < PARALLEL_FROM or workers == 1:
        return list(track(map(_decode, jobs), **shown))
    context = multiprocessing.get_context("spawn")  # fork is unsafe once torch runs threads
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        return list(track(pool.map(_decode, jobs, chunksize=16), **shown))


def _decode(job: Job) -> Outcome:
    try:
        image = read_rgb(job.image).resize((job.size, job.size), Image.Resampling.BICUBIC)
    except ImageError as error:
        return Outcome(job.row, reason=str(error))
    array = np.asarray(image)
    if is_near_grey(array):
        return Outcome(job.row, reason=NEAR_GREY)
    with job.pixels.open("r+b") as file:
        file.seek(job.row * array.size)
        file.write(np.ascontiguousarray(array.transpose(2, 0, 1)).data)
    with job.image.open("rb") as file:
        return Outcome(job.row, hashlib.file_digest(file, "sha256").hexdigest())
