"""The strengths of a loopback go from the first to the last along A1111's curves."""

import pytest
from sd.curves import CURVES, loopback_strength


@pytest.mark.parametrize("curve", CURVES)
def test_a_loopback_begins_and_ends_where_it_should(curve):
    for loops in (2, 3, 10):
        strengths = [loopback_strength(0.8, 0.2, loop, loops, curve) for loop in range(loops)]
        assert strengths[0] == 0.8 and strengths[-1] == pytest.approx(0.2)
        assert strengths == sorted(strengths, reverse=True)


@pytest.mark.parametrize("curve", CURVES)
def test_a_single_round_has_the_initial_strength(curve):
    assert loopback_strength(0.8, 0.2, 0, 1, curve) == 0.8


def test_half_way_the_curves_differ():
    # sin(45 degrees) = 0.70711
    expected = {"linear": 0.5, "aggressive": 0.70711, "lazy": 0.29289}
    assert {curve: round(loopback_strength(0, 1, 1, 3, curve), 5) for curve in CURVES} == expected
