"""Shares of the learning rate, by hand."""

import pytest

from colorize.errors import UserError
from colorize.training.schedules import constant, linear, schedule_of


def test_constant_is_one_in_every_epoch() -> None:
    assert [constant(epoch, 3) for epoch in range(3)] == [1, 1, 1]


def test_linear_holds_the_smaller_half_of_an_odd_number_of_epochs() -> None:
    assert [linear(epoch, 7) for epoch in range(7)] == pytest.approx([1, 1, 1, 0.8, 0.6, 0.4, 0.2])


def test_a_schedule_is_found_by_its_name() -> None:
    assert schedule_of("linear") is linear


def test_an_unknown_schedule_is_told_with_those_that_exist() -> None:
    with pytest.raises(
        UserError, match=r"unknown optim.schedule 'step'; choose one of \['constant', 'linear', 'cosine'\]"
    ):
        schedule_of("step")
