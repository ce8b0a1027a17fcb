"""The job that waits."""

import time

import pytest
from flow_world import module

from core.plugin import Cancelled
from tests.inside import context_of


def waiting(tmp_path, seconds, begun):
    """What a run of `wait` gives that began `begun` seconds ago, and how long it took."""
    ctx = context_of(tmp_path, None)
    ctx._children.ask = lambda event, body: {"value": time.time() - begun}
    started = time.monotonic()
    return module.Flows(tmp_path).wait(module.Wait(seconds=seconds), ctx), time.monotonic() - started, ctx


def test_it_waits_and_tells_how_far_it_is(tmp_path):
    value, took, ctx = waiting(tmp_path, 0.3, begun=0)
    assert value == {"seconds": 0.3} and took >= 0.25
    assert [event for event, _ in ctx.told][:1] == ["progress"]


def test_what_has_gone_by_before_a_restart_is_not_waited_for_again(tmp_path):
    _, took, _ = waiting(tmp_path, 3600, begun=3600)
    assert took < 5


def test_it_stops_when_it_is_cancelled(tmp_path):
    ctx = context_of(tmp_path, None)
    ctx._children.ask = lambda event, body: {"value": time.time()}
    ctx._cancelled.set()
    with pytest.raises(Cancelled):
        module.Flows(tmp_path).wait(module.Wait(seconds=3600), ctx)
