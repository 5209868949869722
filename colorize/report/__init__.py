"""One HTML page, whole in itself, that says what a sweep or a run found."""

from pathlib import Path

from colorize.base.errors import UserError, missing_extra


def write_report(folder: Path, out: Path | None = None, metric: str = "val/l1") -> Path:
    """Write the page of all runs in and below a folder; return its path.

    Args:
        folder: of a run, of a sweep, or of many.
        out: the page; ``report.html`` in the folder if nothing is named.
        metric: that runs are ranked by.
    Raises:
        UserError: if there are no runs, the metric will not do, the page cannot be written, or plotly and jinja2 are
            missing.
    """
    try:
        from colorize.report.page import render
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("plotly", "jinja2"):
            raise
        raise UserError(missing_extra("the report needs plotly and jinja2", "report")) from None
    from colorize.base.files import replacing
    from colorize.report.runs import read_runs

    page = render(read_runs(folder), metric, str(folder))
    out = out or folder / "report.html"
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file such as {out / 'report.html'}")
    try:
        with replacing(out) as temporary:
            temporary.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {out} cannot be written: {error.strerror}") from None
    return out
