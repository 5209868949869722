"""Checks of user input."""

import math

import pytest

from colorize.base.checks import above, at_least, one_of, true_or_false, within
from colorize.base.errors import UserError


@pytest.mark.parametrize("value", [1, 1.5, 10**9])
def test_at_least_lets_numbers_from_its_end_on_pass(value) -> None:
    assert at_least("x", value, 1) == value


@pytest.mark.parametrize("value", [0.999, "2", True, None, math.nan, math.inf])
def test_at_least_refuses_others(value) -> None:
    with pytest.raises(UserError, match=r"^x must be a number of at least 1; got "):
        at_least("x", value, 1)


def test_a_whole_number_is_an_integer() -> None:
    with pytest.raises(UserError, match=r"^x must be a whole number of at least 1; got 2\.0$"):
        at_least("x", 2.0, 1, whole=True)


@pytest.mark.parametrize("value", [None, "auto", 3])
def test_other_values_can_be_allowed(value) -> None:
    assert at_least("x", value, 1, also=(None, "auto")) == value


def test_other_values_are_named_as_they_are_typed() -> None:
    with pytest.raises(UserError, match=r"^x must be null or auto or a number above 0; got 'no'$"):
        above("x", "no", 0, also=(None, "auto"))


@pytest.mark.parametrize(
    ("ends", "low_fits", "high_fits", "words"),
    [
        ("[]", True, True, "from 0 to 1"),
        ("(]", False, True, "above 0 and at most 1"),
        ("[)", True, False, "of at least 0 and below 1"),
        ("()", False, False, "above 0 and below 1"),
    ],
)
def test_an_interval_has_ends_that_belong_to_it_or_not(ends, low_fits, high_fits, words) -> None:
    assert within("x", 0.5, 0, 1, ends) == 0.5
    for value, fits in ((0, low_fits), (1, high_fits), (-0.1, False), (1.1, False)):
        if fits:
            assert within("x", value, 0, 1, ends) == value
        else:
            with pytest.raises(UserError, match=f"^x must be a number {words}; got {value}$"):
                within("x", value, 0, 1, ends)


def test_above_excludes_its_end() -> None:
    assert above("x", 1e-9, 0) == 1e-9
    with pytest.raises(UserError, match=r"^x must be a number above 0; got 0$"):
        above("x", 0, 0)


def test_one_of_names_the_choices() -> None:
    assert one_of("mode", "a", ["a", "b"]) == "a"
    with pytest.raises(UserError, match=r"^unknown mode 'c'; choose one of \['a', 'b'\]$"):
        one_of("mode", "c", {"a": 1, "b": 2})


@pytest.mark.parametrize("value", ["yes please", "maybe", 1, None])
def test_a_text_is_neither_true_nor_false(value) -> None:
    assert true_or_false("x", False) is False
    with pytest.raises(UserError, match=r"^x must be true or false; got "):
        true_or_false("x", value)
