"""The W&B workspace of a project: losses, scores, states and their measurements, samples, cost, sweep."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from colorize.base.errors import UserError, missing_extra
from colorize.base.files import write_json
from colorize.vocabulary import AT_CF, STATES, VALIDATED, score_of

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

NAME = "Stability laboratory"
TARGET = "val/l1"
AT_TRUTH = " at the true colorfulness"
# Line plots by section: title to the logged names on one axis
LINES = {
    "Losses": {
        "G": ("train/loss_G", "val/loss_G", "val/raw_loss_G"),
        "G, adversarial": ("train/loss_G_GAN", "val/loss_G_GAN", "val/raw_loss_G_GAN"),
        "G, L1": ("train/loss_G_L1", "val/loss_G_L1", "val/raw_loss_G_L1"),
        "D": ("train/loss_D", "val/loss_D", "val/raw_loss_D"),
        "D on real": ("train/loss_D_real", "val/loss_D_real", "val/raw_loss_D_real"),
        "D on generated": ("train/loss_D_fake", "val/loss_D_fake", "val/raw_loss_D_fake"),
    },
    "Scores": {
        f"{score_of(name).label}{AT_TRUTH if name.endswith(AT_CF) else ''}": (f"val/{name}", f"val/raw_{name}")
        for name in VALIDATED
    },
    "States": {
        f"State: {', '.join(f'{code} {state}' for code, state in enumerate(STATES))}": ("diag/state",),
        "Accuracy of D": ("diag/D_acc_real", "diag/D_acc_fake"),
        "Margin of D's scores": ("diag/margin",),
        "Norms of gradients": ("diag/grad_norm_G", "diag/grad_norm_D"),
        "Updates over weights": ("diag/update_ratio_G", "diag/update_ratio_D"),
        "Colorfulness of a batch": ("diag/colorfulness", "diag/colorfulness_real"),
        "Spread of chroma": ("diag/chroma_spread", "diag/chroma_spread_real"),
        "Saturated outputs": ("diag/saturated",),
        "Energy of blobs": ("diag/blob_energy",),
        "Out of gamut": ("diag/out_of_gamut",),
    },
    "Cost": {
        "Images per second": ("train/images_per_s",),
        "Learning rates": ("train/lr_G", "train/lr_D"),
    },
}
LOGARITHMIC = {"diag/grad_norm_G", "diag/update_ratio_G"}  # first names of plots that span decades
# Columns that sweeps vary, and whether their axis is logarithmic: keys of conf/train.yaml, and the stabilizers. No
# names with dots, which W&B takes for nested keys, while the columns here are flat
KNOBS = {"gan_mode": False, "stabilizer": False, "lr": True, "lr_ratio": True, "betas": False, "lambda_L1": True}
SCATTERED = ("lr", "lr_ratio")  # scatter plots of the target, one each


def lay_out(target: str) -> "Workspace":
    """Build the workspace of a project.

    Args:
        target: ``ENTITY/PROJECT``.
    Raises:
        UserError: if the target has another form, or wandb-workspaces is missing.
    """
    match = re.fullmatch(r"([^/\s]+)/([^/\s]+)", target)
    if not match:
        raise UserError(f"{target!r} is not a W&B project: use ENTITY/PROJECT, such as somebody/colorize")
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ModuleNotFoundError:
        raise UserError(missing_extra("the dashboard needs wandb-workspaces", "dashboard")) from None

    sections = {
        name: [
            wr.LinePlot(title=title, x="Step", y=list(logged), log_y=logged[0] in LOGARITHMIC or None)
            for title, logged in plots.items()
        ]
        for name, plots in LINES.items()
    }
    columns = [
        wr.ParallelCoordinatesPlotColumn(metric=wr.Config(knob), log=logarithmic or None)
        for knob, logarithmic in KNOBS.items()
    ]
    columns.append(wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(TARGET)))
    sections["Samples"] = [wr.MediaBrowser(title="Grey, generated, real", media_keys=["samples"], num_columns=2)]
    sections["Sweep"] = [
        wr.ParallelCoordinatesPlot(title=f"What leads to {TARGET}", columns=columns),
        wr.ParameterImportancePlot(with_respect_to=TARGET),
        *(
            wr.ScatterPlot(title=f"{TARGET} over {knob}", x=wr.Config(knob), y=wr.SummaryMetric(TARGET), log_x=True)
            for knob in SCATTERED
        ),
    ]
    order = ("Sweep", "Scores", "States", "Losses", "Samples", "Cost")
    return ws.Workspace(
        entity=match[1],
        project=match[2],
        name=NAME,
        sections=[ws.Section(name=name, panels=sections[name], is_open=True) for name in order],
        settings=ws.WorkspaceSettings(max_runs=50),
    )


def as_json(workspace: "Workspace") -> dict[str, Any]:
    """Return the data that would be sent to W&B."""
    return workspace._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)  # no public method exists


def write(target: str, path: Path) -> None:
    """Write the workspace as JSON, without network access.

    Raises:
        UserError: as in `lay_out`.
    """
    write_json(path, as_json(lay_out(target)))


def save(target: str) -> str:
    """Create the workspace in W&B, as a new view of the project; return its URL.

    Raises:
        UserError: as in `lay_out`, or if there is no key, no network, or no such project.
    """
    workspace = lay_out(target)
    from colorize.tracking.loggers import wandb_mode

    if wandb_mode("auto") != "online":
        raise UserError("W&B is offline here: run `wandb login` or set WANDB_API_KEY; --json FILE needs neither")
    try:
        return workspace.save().url
    except Exception as error:  # errors of wandb, its service and requests share no base
        raise UserError(f"W&B rejected the dashboard of {target}: {' '.join(str(error).split())}") from None
