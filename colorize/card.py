"""The model card of an exported model, and the training facts recorded with a model."""

import json
from collections.abc import Mapping
from typing import Any

from torch import nn

from colorize.base.errors import DISTRIBUTION, install_lines
from colorize.checkpoint import ONNX, Model


def model_card(model: Model, generator: nn.Module, name: str, parity: list[tuple[str, float]]) -> str:
    """Return the model card as Markdown: what the model is, how to use it, its training data, and its metrics.

    Args:
        model: the model.
        generator: its network.
        name: heading of the card, also the checkpoint name in its commands.
        parity: shape and largest difference from PyTorch for each compared ONNX input; empty without ONNX.
    """
    provenance = model.about.get("provenance", {})
    in_clone, from_wheel = install_lines("onnx" if parity else "")
    parameters = sum(value.numel() for value in generator.parameters())
    lines = [
        "---",
        "library_name: colorize",
        "pipeline_tag: image-to-image",
        "tags: [colorization, gan, pix2pix]",
        "license: other",
        "---",
        "",
        f"# {name}",
        "",
        f"A generator that colors grey photographs: CIE Lab lightness in, chroma out. {parameters:,} parameters, "
        f"trained at {model.image_size}x{model.image_size}.",
        "",
        "```bash",
        f"{in_clone}    # in a clone of {DISTRIBUTION}; or {from_wheel}",
        f"colorize image photo.jpg --checkpoint {name}",
        "```",
        "",
        "```python",
        "from colorize import Colorizer",
        "",
        f'Colorizer.from_pretrained("{name}").colorize(picture)',
        "```",
        "",
        "## Trained on",
        "",
        *(f"- {key}: {value}" for key, value in training_facts(model).items()),
        "",
        "## License",
        "",
        "The code is under the MIT license. The weights depend on the images that they were trained on: whoever",
        "publishes this model must state what the licenses of those images allow.",
        "",
        "## Metrics",
        "",
        "On the validation images, measured in training when the checkpoint was saved.",
        *_baseline(model.about.get("metrics", {})),
        "",
        "| Metric | Value |",
        "|---|---|",
        *(f"| {key} | {value:.4g} |" for key, value in sorted(model.about.get("metrics", {}).items())),
    ]
    if "gain" in model.about:
        lines += ["", _vividness(model.about["gain"], model.about.get("metrics", {}))]
    if parity:
        worst = max(difference for _, difference in parity)
        lines += [
            "",
            f"`{ONNX}` differs from PyTorch by at most {worst:.1g} in normalized ab, over {len(parity)} shapes.",
        ]
    lines += ["", "## Config", "", "```json", json.dumps(provenance.get("config", {}), indent=2), "```", ""]
    return "\n".join(lines)


def _vividness(gain: float, metrics: Mapping[str, float]) -> str:
    from colorize.metrics.gain import CALIBRATED  # torchmetrics takes a second to import

    calibrated = (
        f", the gain at which the mean colorfulness of the validation images is {CALIBRATED:.0%} of the truth's"
        if gain == metrics.get("val/calibrated_gain")
        else ""
    )
    return f"Vividness: its chroma is multiplied by {gain:.3g}{calibrated}. `--strength` multiplies it."


def _baseline(metrics: Mapping[str, float]) -> list[str]:
    """Compare the L1 with that of predicting no chroma, if validation measured both."""
    if not {"val/l1", "val/l1_grey"} <= metrics.keys() or not metrics["val/l1_grey"]:
        return []
    grey = metrics["val/l1_grey"]
    share = metrics["val/l1"] / grey
    return [f"The baseline is grey, no chroma at all: its L1 is {grey:.4g}; this model's is {share:.2f} times that."]


def training_facts(model: Model) -> dict[str, Any]:
    """Return the data and settings that a model was trained with, as far as they are recorded."""
    provenance = model.about.get("provenance", {})
    config = provenance.get("config", {})
    data = config.get("data", {})
    facts = {
        "data": data.get("name"),
        "data root": data.get("root"),
        "training images": data.get("num_train"),
        "validation images": data.get("num_val"),
        "mean of": f"{len(model.about['mean_of'])} models" if "mean_of" in model.about else None,
        "epochs": model.about.get("epochs"),
        "batches": model.about.get("batches"),
        "weights": model.about.get("weights"),
        "gain": model.about.get("gain"),
        **{key: config.get(key) for key in ("batch_size", "gan_mode", "lr", "betas", "lambda_L1", "seed")},
        "colorize version": provenance.get("version"),
        "commit": provenance.get("commit"),
    }
    return {key: value for key, value in facts.items() if value is not None}
