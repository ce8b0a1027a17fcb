"""The batcher alone, on functions that only count."""

import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest
import torch
from sd.batcher import Batcher

from core.plugin import Cancelled


class Device:
    """Doubles numbers, remembers what it was given together, and can be held until all members have come."""

    def __init__(self):
        self.batches = []
        self.free = threading.Event()

    def double(self, values):
        assert self.free.wait(10)
        self.batches.append(list(values))
        if any(value < 0 for value in values):
            raise ValueError("a negative number")
        return [2 * value for value in values]


@pytest.fixture
def batcher():
    batcher = Batcher(clock=lambda: 0)  # everything takes no time, so groups take turns
    yield batcher
    batcher.close()


@pytest.fixture
def device(batcher):
    """A device whose first batch is a 0 that waits for `free`, so that a test's works meet behind it."""
    device = Device()
    batcher.submit(lambda: batcher.call(device.double, 0, "plug"))
    yield device
    device.free.set()


def chain(batcher, device, value, calls, alike="same", **options):
    def work():
        x = value
        for _ in range(calls):
            x = batcher.call(device.double, x, alike, **options)
        return x

    return work


def test_calls_of_works_that_are_alike_run_together_until_each_leaves(batcher, device):
    futures = [
        batcher.submit(chain(batcher, device, value, calls, most=8)) for value, calls in ((1, 1), (10, 3), (100, 2))
    ]
    device.free.set()
    assert [future.result(10) for future in futures] == [2, 80, 400]
    assert device.batches == [[0], [1, 10, 100], [20, 200], [40]]


def test_a_work_joins_between_the_steps_of_another(batcher, device):
    joined = []

    def late(values):
        if not joined:
            joined.append(batcher.submit(chain(batcher, device, 5, 2, most=8)))
        return [None] * len(values)

    def early():
        first = batcher.call(device.double, 1, "same", most=8)
        batcher.call(late, None)
        return batcher.call(device.double, first, "same", most=8)

    future = batcher.submit(early)
    device.free.set()
    assert (future.result(10), joined[0].result(10)) == (4, 20)
    assert [1] in device.batches and [2, 5] in device.batches


def test_no_more_rows_than_the_cap_and_the_rest_has_its_turn_next(batcher, device):
    futures = [batcher.submit(chain(batcher, device, value, 2, rows=2, most=4)) for value in (1, 10, 100)]
    device.free.set()
    assert [future.result(10) for future in futures] == [4, 40, 400]
    assert device.batches == [[0], [1, 10], [100, 2], [20, 200]]


def test_groups_that_cannot_share_take_turns(batcher, device):
    for value, alike in ((1, "a"), (10, "b"), (100, "c")):
        last = batcher.submit(chain(batcher, device, value, 3, alike, most=8))
    device.free.set()
    assert last.result(10) == 800
    assert device.batches == [[0], [1], [10], [100], [2], [20], [200], [4], [40], [400]]


class Clock:
    """Tells the time, which only passes while the device is at work."""

    def __init__(self):
        self.seconds, self.log = 0.0, []

    def work(self, name, seconds):
        def function(values):
            self.seconds += seconds
            self.log.append(name * len(values))
            return values

        return function


def times(batcher, function, count, **options):
    def work():
        for _ in range(count):
            batcher.call(function, None, **options)

    return work


def run_together(clock, works):
    """What the device did for works that come at the same time."""
    batcher = Batcher(clock=lambda: clock.seconds)
    begin = threading.Event()
    batcher.submit(lambda: begin.wait(10))
    futures = [batcher.submit(work(batcher)) for work in works]
    begin.set()
    for future in futures:
        future.result(10)
    batcher.close()
    return " ".join(clock.log)


def test_groups_share_the_device_by_time_not_by_calls():
    clock = Clock()
    slow, quick = clock.work("S", 4), clock.work("q", 1)
    log = run_together(clock, [lambda b: times(b, slow, 3), lambda b: times(b, quick, 9)])
    assert log == "S q q q q S q q q q S q"


def test_a_group_of_more_pictures_gets_more_time_but_others_wait_no_longer_than_a_few_of_their_steps():
    clock = Clock()
    many, one = clock.work("m", 1), clock.work("O", 2)
    works = [lambda b: times(b, many, 40, most=16)] * 10 + [lambda b: times(b, one, 3)]
    log = run_together(clock, works).split()
    at = [place for place, name in enumerate(log) if name == "O"]
    gaps = [later - earlier - 1 for earlier, later in zip(at, at[1:], strict=False)]
    assert len(gaps) == 2 and all(7 <= gap <= 8 for gap in gaps)  # 4 times as long as its own 2 seconds, not 10


def test_a_group_that_comes_late_neither_waits_for_long_nor_catches_up():
    clock = Clock()
    early, late, joined = clock.work("e", 1), clock.work("l", 1), []

    def begin(batcher):
        def work():
            for step in range(9):
                batcher.call(early, None)
                if step == 5:
                    joined.append(batcher.submit(times(batcher, late, 3)))

        return work

    assert run_together(clock, [begin]) == "e e e e e e l e l e l e"


def test_an_error_in_a_shared_call_costs_only_the_guilty(batcher, device):
    futures = [batcher.submit(chain(batcher, device, value, 2, most=8)) for value in (1, -10, 100)]
    device.free.set()
    assert [futures[0].result(10), futures[2].result(10)] == [4, 400]
    with pytest.raises(ValueError, match="negative"):
        futures[1].result(10)


def test_an_error_between_calls_costs_only_that_work(batcher, device):
    def broken():
        batcher.call(device.double, 7, "same", most=8)
        raise SystemExit(3)

    futures = [batcher.submit(broken), batcher.submit(chain(batcher, device, 1, 3, most=8))]
    device.free.set()
    assert futures[1].result(10) == 8
    assert isinstance(futures[0].exception(10), SystemExit)


def test_a_stopped_work_leaves_before_the_next_call_and_the_others_stay_equal(batcher, device):
    stop = threading.Event()

    def stopping():
        batcher.call(device.double, 50, "same", most=8)
        stop.set()
        batcher.call(device.double, 60, "same", most=8)

    stopped = batcher.submit(stopping, stop.is_set)
    other = batcher.submit(chain(batcher, device, 1, 3, most=8))
    device.free.set()
    assert other.result(10) == 8
    assert isinstance(stopped.exception(10), Cancelled)
    assert device.batches == [[0], [50, 1], [2], [4]]


def test_a_stopped_work_is_told_once_and_may_finish_what_it_has(batcher, device):
    def work():
        try:
            batcher.call(device.double, 1)
        except Cancelled:
            return batcher.call(device.double, 21)

    future = batcher.submit(work, lambda: True)
    device.free.set()
    assert future.result(10) == 42


def test_a_work_without_calls_just_runs(batcher):
    assert batcher.submit(lambda: 3).result(10) == 3


def test_an_idle_batcher_uses_no_processor_time(batcher):
    batcher.submit(lambda: None).result(10)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1


def test_close_cancels_what_is_in_flight_and_refuses_more():
    batcher, device = Batcher(), Device()
    device.free.set()

    def endless():
        while True:
            batcher.call(device.double, 1)

    future = batcher.submit(endless)
    batcher.submit(lambda: None).result(10)
    batcher.close()
    assert isinstance(future.exception(10), Cancelled)
    with pytest.raises(Cancelled, match="unloaded"):
        batcher.submit(endless)


def test_a_mistake_of_the_batcher_itself_leaves_nobody_waiting(batcher, device, monkeypatch):
    futures = [batcher.submit(chain(batcher, device, value, 2, most=8)) for value in (1, 10)]
    monkeypatch.setattr(batcher, "_answers", None)
    device.free.set()
    assert all(isinstance(future.exception(10), TypeError) for future in futures)
    with pytest.raises(TypeError):
        batcher.submit(lambda: None)


class Small(Device):
    """Has memory for `room` calls at once."""

    room = 2

    def double(self, values):
        if len(values) > self.room:
            self.batches.append(f"{len(values)} are too many")
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().double(values)


def test_what_does_not_fit_at_once_is_run_by_halves_and_from_then_on_in_smaller_batches():
    batcher, device = Batcher(), Small()
    batcher.submit(lambda: batcher.call(device.double, 0, "plug"))
    futures = [batcher.submit(chain(batcher, device, value, 2, most=8)) for value in (1, 10, 100, 1000)]
    device.free.set()
    assert [future.result(10) for future in futures] == [4, 40, 400, 4000]
    batcher.close()
    assert device.batches == [[0], "4 are too many", [1, 10], [100, 1000], [2, 20], [200, 2000]]


def test_one_that_does_not_fit_alone_runs_again_as_long_as_there_is_relief():
    device, told = Small(), []
    device.room = 0
    device.free.set()

    def relieve():
        told.append("relief")
        device.room = len(told) - 1
        return True

    batcher = Batcher(relieve)
    assert batcher.submit(chain(batcher, device, 1, 2)).result(10) == 4
    batcher.close()
    assert (told, device.batches) == (["relief"] * 2, ["1 are too many", "1 are too many", [1], [2]])


@pytest.mark.parametrize("words", ["MPS backend out of memory", "DefaultCPUAllocator: can't allocate memory"])
def test_without_relief_it_is_out_of_memory_in_whatever_words(words):
    def greedy(values):
        raise RuntimeError(words)

    batcher = Batcher()
    future = batcher.submit(lambda: batcher.call(greedy, 1))
    with pytest.raises(torch.OutOfMemoryError, match=words):
        future.result(10)
    batcher.close()


def test_what_a_failed_call_had_on_the_device_is_gone_when_it_runs_again():
    there = []

    def greedy(values):
        there.append(sum(each() is not None for each in tensors))
        tensor = torch.zeros(1)
        tensors.append(weakref.ref(tensor))
        if len(tensors) < 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return values

    tensors, batcher = [], Batcher(lambda: True)
    batcher.submit(lambda: batcher.call(greedy, 1)).result(10)
    batcher.close()
    assert there == [0, 0, 0]


ENDS_WHILE_DRAWING = """
import conftest, threading, torch
from sd.batcher import Batcher
batcher, begun = Batcher(), threading.Event()
weight = torch.randn(64, 64, 3, 3)
def convolve(values):
    begun.set()
    return [torch.nn.functional.conv2d(value, weight, padding=1) for value in values]
def work():
    while True:
        batcher.call(convolve, torch.randn(1, 64, 64, 64))
batcher.submit(work)
begun.wait()
"""


def test_a_process_that_ends_while_images_are_in_flight_ends_well():
    command = [sys.executable, "-c", f"import sys; sys.path[:] = {[str(Path(__file__).parent), *sys.path]!r}"]
    command[2] += ENDS_WHILE_DRAWING
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
