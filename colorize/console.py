"""Error reporting for ``train.py`` and ``eval.py``: a user's mistake is one line and exit status 2, not a traceback.

Imports nothing heavy, so that ``--help`` answers at once.
"""

import difflib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from colorize.base import errors
from colorize.base.errors import missing_extra

# Exceptions that launchers raise for a killed process; by name, since joblib, submitit and Ray are extras
LOST_JOBS = {"TerminatedWorkerError", "UncompletedJobError", "FailedJobError", "WorkerCrashedError"}
LAUNCHERS = {"joblib": "sweep", "submitit_local": "sweep", "submitit_slurm": "sweep", "ray": "ray", "ray_aws": "ray"}

CONF = Path(__file__).parent / "conf"
LINES = "COLORIZE_ERROR_LINES"  # tells child processes that HYDRA_FULL_ERROR was set by `run`, not by the user
TRACEBACKS = os.environ.get("HYDRA_FULL_ERROR") == "1" and LINES not in os.environ  # requested by the user


def panel(name: str) -> str:
    """Return the options of ``conf/NAME.yaml`` with their comments, for Hydra's ``--help`` template."""
    text = (CONF / f"{name}.yaml").read_text()
    shown = text[text.index("\n\n") : text.index("\nrun_dir:")].strip("\n")
    return shown.replace("$", "$$")  # Hydra fills in the template with string.Template


OmegaConf.register_new_resolver("panel", panel, replace=True)


def run(main: Callable[[], Any]) -> None:
    """Run a program; report a user's mistake as one line and exit with status 2.

    With ``HYDRA_FULL_ERROR=1`` in the environment, the traceback is shown instead.
    """
    if TRACEBACKS:
        main()
        return
    os.environ |= {"HYDRA_FULL_ERROR": "1", LINES: "1"}  # so that Hydra raises errors instead of printing them
    try:
        main()
    except Exception as error:
        leave(error)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None


def leave(error: Exception) -> NoReturn:
    """Exit with one line and status 2 if the user can fix the error; otherwise raise it."""
    line = in_one_line(error)
    if line is None or TRACEBACKS:
        raise error
    print(line, file=sys.stderr)
    raise SystemExit(2) from None


def in_one_line(error: BaseException) -> str | None:
    """Return the line to show to the user, or ``None`` if the error is a bug of the program."""
    line = errors.in_one_line(error)
    if line:
        return line
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _config_error(error)
    if type(error).__name__ in {"MisconfigurationException", "OutOfMemoryError"}:  # by name: their modules import torch
        return " ".join(str(error).split())
    if type(error).__name__ in LOST_JOBS:
        reason = str(error).partition("\n")[0]
        return f"a launcher lost a job: {reason} To continue, run the same command with this hydra.sweep.dir"
    return None


def _missing(key: str) -> str:
    example = "RUN/checkpoints/best.ckpt" if key == "ckpt_path" else "VALUE"
    return f"{key} is not set: python {Path(sys.argv[0]).name} {key}={example}; --help lists all options"


def _config_error(error: BaseException) -> str:
    text = " ".join(str(error).split("Config search path")[0].split())
    launcher = re.search(r"Could not (?:find|load) '?hydra/launcher/(\w+)", text)
    if launcher and launcher[1] in LAUNCHERS:
        return missing_extra(f"hydra/launcher={launcher[1]} is not installed", LAUNCHERS[launcher[1]])
    conf = Path(sys.argv[0]).parent / "conf"
    # For items of a list, such as stabilizers, Hydra's message does not name the choices
    listed = re.search(r"Could not load '(.+)/([^/']+)'", text)
    if listed and (conf / listed[1]).is_dir():
        choices = sorted(path.stem for path in (conf / listed[1]).glob("*.yaml"))
        return f"unknown {listed[1]} {listed[2]!r}; choose from {', '.join(choices)}"
    if isinstance(error, MissingMandatoryValue):
        return _missing(error.full_key)
    unknown = re.match(r"Could not override '([^']+)'", text)
    if not unknown:
        return text
    key = unknown[1]
    panel = conf / f"{Path(sys.argv[0]).stem}.yaml"
    known = [str(name) for name in OmegaConf.load(panel)] if panel.exists() else []
    close = difflib.get_close_matches(key, known, n=1)
    guess = f"did you mean {close[0]}? " if close else ""
    return f"unknown option {key!r}; {guess}--help lists them all"
