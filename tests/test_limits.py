"""What a run may cost: at the limit is within it, over it nothing is sent, and the line says what raises it."""

import pytest

from runway_node import errors
from runway_node.models import Limits, check_limits


def over(limits, seconds=4.0, credits=112.0, today=0.0):
    """The error of an order of four seconds and 112 credits."""
    with pytest.raises(errors.OverLimit) as caught:
        check_limits(Limits(**limits), seconds, credits, "aleph2", lambda: today)
    return caught.value


@pytest.mark.parametrize(
    "limits", [{}, {"max_seconds": 4}, {"max_credits": 112}, {"max_seconds": 4, "max_credits_per_day": 112}]
)
def test_at_the_limit_is_within_it(limits):
    """Four seconds and 112 credits fit limits of just that."""
    check_limits(Limits(**limits), 4.0, 112.0, "aleph2")


@pytest.mark.parametrize(
    "limits", [{"max_seconds": 3.99}, {"max_credits": 111.9}, {"max_seconds": 3, "max_credits": 1000}]
)
def test_over_either_limit_is_refused(limits):
    """OverLimit names the numbers and exits with 3."""
    error = over(limits)
    assert (error.exit_code, error.seconds, error.credits) == (3, 4, 112)


def test_what_was_spent_today_counts():
    """60 credits of today and 112 more are over 171."""
    assert "60" in str(over({"max_credits_per_day": 171}, today=60.0))


@pytest.mark.parametrize("name", ["max_credits", "max_credits_per_day"])
def test_a_credit_limit_with_an_unknown_price_is_refused(name):
    """An unknown price is never let through."""
    assert "unknown" in str(over({name: 1e9}, credits=None))


@pytest.mark.parametrize(
    ("limits", "argument", "flag"),
    [
        ({"max_seconds": 3}, "max_seconds=4", "--max-seconds 4"),
        ({"max_credits": 3}, "max_credits=112", "--max-credits 112"),
        ({"max_credits_per_day": 3}, "max_credits_per_day=112", "--max-credits-per-day 112"),
    ],
)
def test_the_line_says_what_raises_the_limit(limits, argument, flag):
    """Seconds, credits, dollars, and the exact argument, flag and widget."""
    told = str(over(limits))
    assert all(word in told for word in ("4 paid seconds", "112 credits", "$1.12", argument, flag, "widget"))
