"""Sweeps: resumable jobs, a table of their results, statistics over seeds, and Bayesian search."""

from colorize.sweeps.callback import SweepTable
from colorize.sweeps.jobs import job

__all__ = ["SweepTable", "job"]
