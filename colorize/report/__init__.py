"""Write a self-contained HTML report of a sweep, a run, scores or bias."""

from collections.abc import Sequence
from pathlib import Path

from colorize.base.errors import UserError, missing_extra

METRIC = "val/l1"
MEGABYTES = 10.0  # default limit of thumbnails per page
SCORES, BIAS = "scores.json", "bias.json"  # files that identify results of `colorize score` and `colorize bias`


def write_report(
    folders: Path | Sequence[Path],
    out: Path | None = None,
    metric: str = METRIC,
    megabytes: float = MEGABYTES,
) -> Path:
    """Write the report of folders; return the path of the page.

    Args:
        folders: One folder of a run, a sweep or many runs; or any number of results of `colorize score` and
            `colorize bias`.
        out: Path of the page; the default is ``report.html`` in the first folder.
        metric: Metric that runs are ranked by.
        megabytes: Maximum size of the thumbnails in a page of scores; further pictures are linked.
    Returns:
        The path of the page.
    Raises:
        UserError: If there are neither runs nor results, the folders cannot be combined, the metric is invalid, the
            page cannot be written, or plotly and jinja2 are not installed.
    """
    folders = [folders] if isinstance(folders, Path) else list(folders)
    scores, biases, others = (
        [folder for folder in folders if (folder / SCORES).is_file()],
        [folder for folder in folders if (folder / BIAS).is_file()],
        [folder for folder in folders if not ((folder / SCORES).is_file() or (folder / BIAS).is_file())],
    )
    if others and len(folders) > 1:
        raise UserError(
            f"{others[0]} has no result of colorize score or colorize bias, and runs need a separate report: "
            "run colorize report on it alone"
        )
    out = out or folders[0] / "report.html"
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file such as {out / 'report.html'}")
    from colorize.base.files import replacing

    try:
        if others:
            from colorize.report import page
            from colorize.report.runs import read_runs

            html = page.render(read_runs(folders[0]), metric, str(folders[0]))
        else:
            from colorize.report.judged import page as judged

            html = judged.render(scores, biases, out, megabytes)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("plotly", "jinja2"):
            raise
        raise UserError(missing_extra("the report needs plotly and jinja2", "report")) from None
    try:
        with replacing(out) as temporary:
            temporary.write_text(
                html, encoding="utf-8", errors="backslashreplace"
            )  # file names may not be valid Unicode
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror}") from None
    return out
