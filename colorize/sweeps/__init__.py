"""Sweeps: jobs that go on where they stopped, a table of them all, statistics over seeds, and a Bayesian search."""

from colorize.sweeps.callback import SweepTable
from colorize.sweeps.jobs import job

__all__ = ["SweepTable", "job"]
