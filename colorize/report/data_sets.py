"""Group runs by the images they were scored on, because scores on different images are not comparable."""

from collections.abc import Sequence

from colorize.report.runs import Run

CHOOSES_IMAGES = (
    "name",
    "root",
    "split",
    "num_val",
    "split_seed",
    "scene_seed",
    "scene_size",
)  # keys of `data` that determine the validation images

Images = tuple[tuple[str, str], ...]  # key of `data` and value


def by_data_set(runs: Sequence[Run]) -> list[tuple[str, list[Run]]]:
    """Group runs by the images that they were scored on.

    Returns:
        Title and runs of each group, largest group first. The title is empty if there is only one group. Runs whose
        config is missing are in the largest group.
    """
    found: dict[Images, list[Run]] = {}
    for run in runs:
        if images := _images(run):
            found.setdefault(images, []).append(run)
    sets = sorted(found.items(), key=lambda one: -len(one[1]))
    if len(sets) < 2:
        return [("", list(runs))]
    known = {id(run) for _, group in sets for run in group}
    of_largest = {id(run) for run in sets[0][1]} | {id(run) for run in runs if id(run) not in known}
    groups = [[run for run in runs if id(run) in of_largest], *(group for _, group in sets[1:])]
    return list(zip(_titles([images for images, _ in sets]), groups, strict=True))


def _images(run: Run) -> Images:
    data = run.config.get("data")
    if not isinstance(data, dict):
        return ()
    return tuple((key, str(data[key])) for key in CHOOSES_IMAGES if data.get(key) is not None)


def _titles(sets: Sequence[Images]) -> list[str]:
    """Return a title for each set with the keys that differ from the others."""
    common = set.intersection(*map(set, sets))
    return [
        " ".join(f"data.{key}={value}" for key, value in images if (key, value) not in common) or "data: defaults"
        for images in sets
    ]
