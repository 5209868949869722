"""Learning rate factors, by hand."""

import pytest
import torch

from colorize.base.errors import UserError
from colorize.training.schedules import constant, cosine, linear, one_cycle, position, schedule_of


def test_constant_is_one_in_every_epoch() -> None:
    assert [constant(epoch, 3) for epoch in range(3)] == [1, 1, 1]


def test_linear_holds_the_smaller_half_of_an_odd_number_of_epochs() -> None:
    assert [linear(epoch, 7) for epoch in range(7)] == pytest.approx([1, 1, 1, 0.8, 0.6, 0.4, 0.2])


def test_a_schedule_is_found_by_its_name() -> None:
    assert schedule_of("linear") is linear


def test_an_unknown_schedule_is_told_with_those_that_exist() -> None:
    with pytest.raises(
        UserError, match=r"unknown optim.schedule 'step'; choose one of \['constant', 'linear', 'cosine', 'one_cycle'\]"
    ):
        schedule_of("step")


@pytest.mark.parametrize("schedule", [linear, cosine])
def test_a_rate_an_epoch_stays_within_it(schedule) -> None:
    assert schedule(5.75, 8) == schedule(5, 8) != schedule(6, 8)


def test_one_cycle_is_torchs() -> None:
    batches = 4000
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    torchs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=batches, cycle_momentum=False)
    expected = []
    for _ in range(batches):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        torchs.step() if len(expected) < batches else None
    found = [one_cycle(8 * batch / batches, 8) for batch in range(batches)]
    assert found == pytest.approx(expected, abs=2e-3)  # torch's peak is a batch earlier, and its end is the last batch
    assert found[0] == pytest.approx(expected[0], rel=1e-9) and found[1200] == 1
    assert one_cycle(8, 8) == pytest.approx(expected[-1], rel=1e-6)


def test_without_a_clock_the_position_is_the_epoch_of_all() -> None:
    assert position(2.5, 8, None) == (2.5, 8)


def test_with_a_clock_a_hundredth_of_the_time_is_an_epoch() -> None:
    assert position(7.5, -1, 0.255) == (pytest.approx(25.5), 100)
