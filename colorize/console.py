"""Error reporting for ``train.py`` and ``eval.py``: a user's mistake is one line and exit status 2, not a traceback.

Imports nothing heavy, so that ``--help`` answers at once.
"""

import difflib
import os
import re
import select
import signal
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
COMMANDS = Path(__file__).parent / "cli"  # the programs of `colorize train` and `colorize eval`
LINES = "COLORIZE_ERROR_LINES"  # tells child processes that HYDRA_FULL_ERROR was set by `run`, not by the user
TRACEBACKS = os.environ.get("HYDRA_FULL_ERROR") == "1" and LINES not in os.environ  # requested by the user


def panel(name: str) -> str:
    """Return the options of ``conf/NAME.yaml`` with their comments, for Hydra's ``--help`` template."""
    text = (CONF / f"{name}.yaml").read_text()
    shown = text[text.index("\n\n") : text.index("\nrun_dir:")].strip("\n")
    return shown.replace("$", "$$")  # Hydra fills in the template with string.Template


def program(name: str) -> str:
    """Return how the user runs a program: ``colorize train`` if that was typed, else ``python train.py``.

    Args:
        name: ``train`` or ``eval``.
    """
    return f"colorize {name}" if Path(sys.argv[0]).parent == COMMANDS else f"python {name}.py"


OmegaConf.register_new_resolver("panel", panel, replace=True)
OmegaConf.register_new_resolver("program", program, replace=True)


def run(main: Callable[[], Any]) -> None:
    """Run a program; report a user's mistake as one line and exit with status 2.

    With ``HYDRA_FULL_ERROR=1`` in the environment, the traceback is shown instead.
    """
    if TRACEBACKS:
        main()
        return
    os.environ |= {"HYDRA_FULL_ERROR": "1", LINES: "1"}  # so that Hydra raises errors instead of printing them
    try:
        try:
            main()
        finally:
            sys.stdout.flush()  # before the interpreter exits, which would print an error
    except BrokenPipeError as error:
        if not _nobody_reads():
            leave(error)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # discards the rest of the output
        raise SystemExit(128 + signal.SIGPIPE) from None
    except Exception as error:
        leave(error)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None


def _nobody_reads() -> bool:
    """Return whether the reader of standard output has closed it, as ``head`` does after ten lines."""
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in output.poll(0))


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
    if type(error) is ValueError and str(error).startswith("Only one of --run"):  # Hydra's, of its own options
        return str(error)
    if type(error).__name__ in LOST_JOBS:
        reason = str(error).partition("\n")[0]
        return f"a launcher lost a job: {reason} To continue, run the same command with this hydra.sweep.dir"
    return None


def _missing(key: str) -> str:
    example = "RUN/checkpoints/best.ckpt" if key == "ckpt_path" else "VALUE"
    return f"{key} is not set: {program(Path(sys.argv[0]).stem)} {key}={example}; --help lists all options"


def _config_error(error: BaseException) -> str:
    text = " ".join(str(error).split("Config search path")[0].split())
    launcher = re.search(r"Could not (?:find|load) '?hydra/launcher/(\w+)", text)
    if launcher and launcher[1] in LAUNCHERS:
        return missing_extra(f"hydra/launcher={launcher[1]} is not installed", LAUNCHERS[launcher[1]])
    # For items of a list, such as stabilizers, Hydra's message does not name the choices
    listed = re.search(r"Could not load '(.+)/([^/']+)'", text)
    if listed and (CONF / listed[1]).is_dir():
        choices = sorted(path.stem for path in (CONF / listed[1]).glob("*.yaml"))
        return f"unknown {listed[1]} {listed[2]!r}; choose from {', '.join(choices)}"
    if isinstance(error, MissingMandatoryValue):
        return _missing(error.full_key)
    unknown = re.match(r"Could not override '([^']+)'", text)
    if not unknown:
        return text
    key = unknown[1]
    panel = CONF / f"{Path(sys.argv[0]).stem}.yaml"
    known = [str(name) for name in OmegaConf.load(panel)] if panel.exists() else []
    close = difflib.get_close_matches(key, known, n=1)
    guess = f"did you mean {close[0]}? " if close else ""
    return f"unknown option {key!r}; {guess}--help lists them all"
