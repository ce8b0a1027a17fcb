"""How many rows a call gets, as the times of calls become known."""

import pytest
from sd.rows import Rows


def asked(rows, seconds_of, most=64, waiting=1000, calls=40):
    """The numbers of rows of calls that each take as many as they may."""
    given = []
    for _ in range(calls):
        given.append(min(waiting, rows.best("kind", most)))
        rows.took("kind", given[-1], seconds_of(given[-1]))
    return given


def test_before_anything_is_known_a_call_gets_sixteen_rows():
    assert Rows().best("kind", 64) == 16 and Rows().best("kind", 7) == 4 and Rows().best("kind", 1) == 1


def test_rows_grow_as_long_as_more_of_them_are_faster():
    given = asked(Rows(), lambda rows: 1 + rows / 100)
    assert given[:3] == [16] * 3 and given[3:6] == [32] * 3 and given[-1] == 64


def test_no_more_rows_than_are_worth_it():
    """A device that is busy with 32 rows: 64 take twice as long."""
    given = asked(Rows(), lambda rows: max(1, rows / 32))
    assert given.count(64) == 3 and given[-1] == 32


def test_rows_shrink_where_fewer_are_faster():
    """A CPU whose cache is full with 8 rows, and that gains nothing up to 4."""
    given = asked(Rows(), lambda rows: rows if rows <= 4 else 2 * rows)
    assert given[:3] == [16] * 3 and given[-1] == 1


def test_one_slow_call_changes_nothing():
    rows = Rows()
    rows.took("kind", 16, 100.0)  # the first one, which makes its plans
    assert asked(rows, lambda count: max(1, count / 16))[-1] == 16


def test_kinds_of_calls_do_not_disturb_each_other():
    rows = Rows()
    asked(rows, lambda count: max(1, count / 32))
    assert rows.best("other", 64) == 16


@pytest.mark.parametrize(("waiting", "expected"), [(2, 16), (16, 32)])
def test_numbers_that_never_wait_are_not_judged(waiting, expected):
    rows = Rows()
    asked(rows, lambda count: 1.0, waiting=waiting)
    assert rows.best("kind", 64) == expected
