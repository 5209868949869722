"""Fixtures with results of `colorize score` and `colorize bias`, created once."""

import pytest
import torch

from tests.judged_results import Judged, write_judged


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory, checkpoint) -> Judged:
    """Score and measure a few scenes, and write their page."""
    from colorize.report import write_report

    torch.set_num_threads(1)  # as in tests: this runs before their fixture
    found = write_judged(tmp_path_factory.mktemp("judged"), checkpoint)
    write_report([found.scores, found.bias])
    return found
