"""One HTML page, whole in itself, that says what a sweep, a run, or the judges of pictures found."""

from collections.abc import Sequence
from pathlib import Path

from colorize.base.errors import UserError, missing_extra

METRIC = "val/l1"
MEGABYTES = 10.0  # of thumbnails in a page
SCORES, BIAS = "scores.json", "bias.json"  # what tells results of `colorize score` and `colorize bias`


def write_report(
    folders: Path | Sequence[Path],
    out: Path | None = None,
    metric: str = METRIC,
    megabytes: float = MEGABYTES,
) -> Path:
    """Write the page of what folders hold; return its path.

    Args:
        folders: one of a run, of a sweep, or of many; or any number of results of `colorize score` and `colorize bias`.
        out: the page; ``report.html`` in the first folder if nothing is named.
        metric: that runs are ranked by.
        megabytes: of thumbnails in a page of scores, at most; pictures beyond that are linked.
    Raises:
        UserError: if there are neither runs nor results, they do not belong on one page, the metric will not do, the
            page cannot be written, or plotly and jinja2 are missing.
    """
    folders = [folders] if isinstance(folders, Path) else list(folders)
    scores, biases, others = (
        [folder for folder in folders if (folder / SCORES).is_file()],
        [folder for folder in folders if (folder / BIAS).is_file()],
        [folder for folder in folders if not ((folder / SCORES).is_file() or (folder / BIAS).is_file())],
    )
    if others and len(folders) > 1:
        raise UserError(
            f"{others[0]} holds no result of colorize score or colorize bias, and runs have a page of their own: "
            "report it by itself"
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
            temporary.write_text(html, encoding="utf-8", errors="backslashreplace")  # names may be no Unicode
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror}") from None
    return out
