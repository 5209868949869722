"""Describe the results of a sweep in sentences, and format numbers."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from math import floor, isnan, log10

from markupsafe import Markup, escape

from colorize.report.configurations import Configuration, Design, lower_is_better
from colorize.report.effects import Decomposition, Share
from colorize.report.runs import Run
from colorize.vocabulary import STATES

LEVEL = 0.05  # significance level: probability of a false positive in a sweep without effects


def sentences(
    runs: Sequence[Run],
    configurations: Sequence[Configuration],
    design: Design,
    decomposition: Decomposition,
    metric: str,
) -> list[str]:
    """Summarize outcomes, the best configuration, the most important factor, and the training states."""
    told = [_outcomes(runs)]
    ranked = [one for one in configurations if one.values]
    if ranked:
        told += _best(ranked, metric)
    if decomposition.shares:
        told.append(_mattered(decomposition, metric))
    elif len(design.factors) and len(ranked) > 1 and len(set(design.values)) == 1:
        told.append(f"No setting has an effect: {metric} is the same in all runs.")
    elif len(design.factors) and len(ranked) > 1:
        told.append(f"There are too few runs to decompose the variance of {metric} by factors.")
    told.append(_states(runs))
    return told


def number(value: float | None) -> str:
    """Format four significant digits; a dash for unknown values."""
    if value is None or isnan(value):
        return "–"
    return _minus(f"{value:.0f}" if 1e3 <= abs(value) < 1e6 else f"{value:#.4g}")


def with_interval(interval: tuple[float, float, float] | None, signed: bool = False) -> str:
    """Format a mean and its interval, such as ``0.071 [0.067, 0.075]``, with two digits of the half-width."""
    if interval is None:
        return "–"
    mean, low, high = interval
    plus = "+" if signed and mean > 0 else ""
    if isnan(low):
        return plus + number(mean)
    if high - mean <= 1e-6 * abs(mean):  # no spread: do not show digits of rounding errors
        return f"{plus}{number(mean)} [{number(low)}, {number(high)}]"
    digits = max(1 - floor(log10(high - mean)), 0)
    return _minus(f"{plus}{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]")


def percent(share: float) -> str:
    """Format a share as a percentage, with one decimal below 10%."""
    return f"{share:.1%}" if 0 < share < 0.0995 else f"{share:.0%}"


def duration(seconds: float | None) -> str:
    """Format a duration in seconds, such as ``2 h 05 min``."""
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def memory(count: float | None) -> str:
    """Format bytes in GiB, or in MiB below 1 GiB."""
    if count is None:
        return "–"
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def states(counts: dict[str, int]) -> str:
    """Format the share of observations in each state, such as ``healthy 96%, D wins 4.0%``."""
    total = sum(counts.values())
    return ", ".join(f"{state} {percent(counts[state] / total)}" for state in STATES if counts.get(state)) or "–"


def summed(runs: Iterable[Run]) -> dict[str, int]:
    """Return the number of observations in each state over several runs."""
    return dict(sum((Counter(run.states) for run in runs), Counter()))


def term(share: Share) -> str:
    """Format the factors of a term of the decomposition."""
    return " × ".join(share.term)


def breakable(name: str) -> Markup:
    """Format the name of a metric without its stage, with line breaks allowed after underscores."""
    return escape(name.removeprefix("val/")).replace("_", Markup("_<wbr>"))


def _minus(text: str) -> str:
    """Replace hyphens that are minus signs by U+2212."""
    return re.sub(r"(?<!e)-", "−", text)


def _outcomes(runs: Sequence[Run]) -> str:
    counts = Counter(run.status for run in runs)
    completed = counts.pop("completed", 0)
    if len(runs) == 1:
        return f"One run, {runs[0].status}."
    others = "".join(f", {count} {status}" for status, count in counts.most_common())
    return f"{completed} of {len(runs)} jobs completed{others}."


def _best(ranked: Sequence[Configuration], metric: str) -> list[str]:
    best = ranked[0]
    over = f", mean and 95% interval over {len(best.values)} runs" if len(best.values) > 1 else ", of a single run"
    if len(ranked) == 1:
        return [f"{metric} is {with_interval((best.mean, best.low, best.high))}{over}."]
    end = "lowest" if lower_is_better(metric) else "highest"
    value = with_interval((best.mean, best.low, best.high))
    told = [f"Best configuration by {metric} ({end}): {best.label} with {value}{over}."]
    if isnan(best.low):
        return [*told, "Without several seeds, differences may be due to chance."]
    overlapping = sum(one.low <= best.high and best.low <= one.high for one in ranked[1:])
    if overlapping == 1:
        return [*told, "The interval of one other row overlaps with it, so that row may be as good."]
    if overlapping:
        return [*told, f"The intervals of {overlapping} other rows overlap with it, so they may be as good."]
    return [*told, "No other row's interval overlaps with it."]


def _mattered(decomposition: Decomposition, metric: str) -> str:
    """Name the significant term with the largest share, by F tests at `LEVEL` with Bonferroni correction."""
    shares = decomposition.shares
    if isnan(shares[0].p):
        return (
            f"{term(shares[0])} has the largest share of the variance of {metric}, {percent(shares[0].share)}; "
            "without residual degrees of freedom, its significance is unknown."
        )
    found = [share for share in shares if share.p * len(shares) < LEVEL]
    if not found:
        p = f"smallest p {min(share.p for share in shares):.2g}" + f" of {len(shares)} terms" * (len(shares) > 1)
        return f"No setting has a significant effect on {metric} ({p})."
    rest = f"; {percent(decomposition.residual)} is unexplained" if decomposition.residual > 0 else ""
    return (
        f"The most important factor is {term(found[0])}: {percent(found[0].share)} of the variance of {metric}{rest}."
    )


def _states(runs: Sequence[Run]) -> str:
    seen = summed(runs)
    if not seen:
        return "Training states were not recorded."
    ill = sum(run.state not in (None, "healthy") for run in runs)
    ended = f"; {ill} of {len(runs)} did not end healthy" if ill else "; all runs with recorded states ended healthy"
    return f"Training states by share of observations: {states(seen)}{ended}."
