"""Describe the results in sentences that claim only what the intervals support."""

from typing import Any

from colorize.bias.intervals import Estimate

DIGITS = {"hue_shift": 1, "error": 1, "grey_error": 1, "delta_e": 1, "chroma_shift": 1, "a_shift": 1, "b_shift": 1}


def shown(value: Estimate, digits: int = 2, signed: bool = False) -> str:
    """Format a value with its interval, such as ``0.62 [0.55, 0.70]``; a dash for NaN."""
    if value.value != value.value:
        return "–"
    sign = "+" if signed else ""
    number = f"{sign}z.{digits}f"  # z avoids -0.0
    text = f"{value.value:{number}}"
    return f"{text} [{value.low:{number}}, {value.high:{number}}]" if value.known else text


def percent(value: Estimate) -> str:
    """Format a share as a percentage, such as ``3% [2%, 4%]``; a dash for NaN."""
    if value.value != value.value:
        return "–"
    text = f"{value.value:z.0%}"
    return f"{text} [{value.low:z.0%}, {value.high:z.0%}]" if value.known else text


def findings(summary: dict[str, Any]) -> list[str]:
    """Describe the data, and the results of each method on objects and on people."""
    return [*_of_data(summary), *(line for name in summary.get("models", {}) for line in _of_model(summary, name))]


def _of_data(summary: dict[str, Any]) -> list[str]:
    found, mean = summary["data"]["explained"], summary["data"]["mean"]
    return [
        f"The mean color of {summary['photographs']} photographs is a {shown(mean['a'], 1, signed=True)}, "
        f"b {shown(mean['b'], 1, signed=True)}.",
        f"Lightness explains {percent(found['whole'])} of the variance of chroma. Inside masks, lightness explains "
        f"{percent(found['lightness'])}, the category {percent(found['category'])}, and both together "
        f"{percent(found['both'])}. Each photograph is predicted from the others.",
    ]


def _of_model(summary: dict[str, Any], name: str) -> list[str]:
    model = summary["models"][name]
    everything = model["categories"][0]
    lines = [
        f"{name}: inside the masks of {everything['things']} objects, chroma is "
        f"{shown(everything['chroma_ratio'])} of the truth's, and the error is {shown(everything['relative_error'])} "
        f"of the error of grey.",
        f"{name}: within a category, the spread of object colors is {shown(everything['diversity_ratio'])} of the "
        f"truth's. The slope of output colors on true colors is {shown(everything['followed'])}.",
        f"{name}: {_shift(everything['b_shift'], 'b', 'yellow', 'blue')}; "
        f"{_shift(everything['a_shift'], 'a', 'red', 'green')}.",
        f"{name}: the jump of chroma across outlines is {shown(everything['jump_ratio'])} of the truth's (in a band of "
        f"{summary['band']} pixels). The squared error over large areas is {shown(model['blobs'])} of grey's.",
        _curve(name, model, summary["frequencies"]),
    ]
    return lines + _of_people(name, model["people"])


def _shift(value: Estimate, axis: str, above: str, below: str) -> str:
    text = f"{shown(value, 1, signed=True)} Lab units of {axis}"
    if value.known and value.low > 0:
        return f"objects are shifted toward {above} by {text}"
    if value.known and value.high < 0:
        return f"objects are shifted toward {below} by {text}"
    return f"no significant shift between {above} and {below}: {text}"


def _curve(name: str, model: dict[str, Any], counted: str) -> str:
    curve = model["rare_objects"]
    value, points = curve["correlations"]["relative_error"], len(curve["points"])
    if not value.known:
        return f"{name}: {points} categories have enough objects, too few for a rank correlation with frequency."
    verdict = "do not differ significantly from others"
    if value.high < 0:
        verdict = "are colored worse than others"
    elif value.low > 0:
        verdict = "are colored better than others"
    return (
        f"{name}: rare categories {verdict}: the rank correlation of the relative error with frequency is "
        f"{shown(value, signed=True)} over {points} categories. Frequencies are counted in {counted}."
    )


def _of_people(name: str, people: dict[str, Any]) -> list[str]:
    if not people["bands"]:
        return [f"{name}: these photographs show no person with enough skin."]
    everyone = people["bands"][0]
    if "too_few" in everyone:
        return [f"{name}: skin of {everyone['too_few']}."]
    lines = [
        f"{name}: on the skin of {everyone['people']} people, chroma is {shown(everyone['chroma_ratio'])} of the "
        f"truth's, hue is rotated by {shown(everyone['hue_shift'], 1, signed=True)} degrees (positive is toward "
        "yellow), "
        f"and the error is {shown(everyone['delta_e'], 1)} CIEDE2000."
    ]
    for contrast in people["contrasts"]:
        if "too_few" in contrast:
            lines.append(f"{name}: darker and lighter skin cannot be compared; {contrast['too_few']}.")
        else:
            changes = (
                f"CIEDE2000 {shown(contrast['delta_e'], 1, signed=True)}",
                f"chroma divided by the truth's {shown(contrast['chroma_ratio'], signed=True)}",
                f"hue {shown(contrast['hue_shift'], 1, signed=True)} degrees",
            )
            lines.append(f"{name}: skin of {contrast['contrast']}: {', '.join(changes)}.")
    few = [band["too_few"] for band in people["bands"] if "too_few" in band]
    return lines + [f"{name}: {line}." for line in few]
