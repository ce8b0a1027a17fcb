"""What stays loaded, on things with a few numbers for weights."""

import functools
import gc
import threading
import time
import weakref

import pytest
import torch
from sd.cache import Cache, bytes_of
from torch import nn


class Thing(nn.ParameterList):
    """Something loaded, of 400 bytes, or sharing the tensors of another."""

    def __init__(self, tensors=None):
        super().__init__(tensors or [torch.zeros(100)])


def thing(cache, name, **options):
    return cache.get(("thing", name), Thing, name, **options)


def names(cache):
    return list(cache.sizes())


def test_what_was_used_last_stays():
    cache = Cache(lambda: 800)
    for name in ("a", "b", "a", "c"):
        thing(cache, name)
    assert names(cache) == ["c", "a"]


def test_room_is_made_before_something_is_loaded():
    cache, there = Cache(lambda: 800), []
    thing(cache, "a")
    thing(cache, "b")
    cache.get(("thing", "c"), lambda: there.extend(names(cache)) or Thing(), "c", size=400)
    assert there == ["b"]


def test_what_is_in_use_is_shared_and_makes_no_room():
    cache = Cache(lambda: 400)
    used = thing(cache, "a")
    thing(cache, "b")
    thing(cache, "c")
    assert thing(cache, "a") is used
    assert cache.bytes == 800
    del used
    thing(cache, "d")
    assert names(cache) == ["d"]


def test_what_is_unloaded_while_it_is_in_use_goes_with_its_last_user():
    cache = Cache(lambda: 4000)
    used = thing(cache, "a")
    cache.unload("a")
    assert (names(cache), cache.bytes) == ([], 400)
    assert thing(cache, "a") is used
    cache.unload()
    del used
    assert cache.bytes == 0


def test_pinned_things_stay():
    cache = Cache(lambda: 400, pinned=["a"])
    for name in ("a", "b", "c"):
        thing(cache, name)
    assert names(cache) == ["c", "a"]
    cache.unload("a")
    assert "a" not in names(cache)


def test_a_variant_counts_by_what_is_its_own_and_goes_with_its_base():
    cache = Cache(lambda: 4000)
    base = thing(cache, "a")
    shared = cache.get(("variant", weakref.ref(base), 1), functools.partial(Thing, [*base, torch.zeros(10)]), "a")
    assert cache.bytes == bytes_of([shared]) == 440
    gone = weakref.ref(base), weakref.ref(shared)
    del base, shared
    gc.disable()
    cache.shrink(0)
    gc.enable()
    assert [each() for each in gone] == [None, None]


def test_what_nobody_uses_for_a_while_is_unloaded_but_not_what_is_pinned_or_in_use():
    cache = Cache(lambda: 4000, pinned=["pinned"], unload_after_seconds=0.2)
    held = thing(cache, "held")
    thing(cache, "pinned")
    thing(cache, "idle")
    deadline = time.monotonic() + 10
    while "idle" in names(cache) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sorted(names(cache)) == ["held", "pinned"]
    assert thing(cache, "held") is held
    cache.close()


def test_a_thing_that_two_want_is_loaded_once():
    cache, loaded, begun = Cache(lambda: 4000), [], threading.Event()

    def load():
        begun.set()
        time.sleep(0.1)
        loaded.append(1)
        return Thing()

    first = threading.Thread(target=lambda: cache.get(("thing", "a"), load))
    first.start()
    begun.wait(10)
    cache.get(("thing", "a"), load)
    first.join()
    assert loaded == [1]


def test_who_waits_for_somebody_elses_load_can_give_up():
    cache, free, begun = Cache(lambda: 4000), threading.Event(), threading.Event()

    def load():
        begun.set()
        free.wait(10)
        return Thing()

    first = threading.Thread(target=lambda: cache.get(("thing", "a"), load))
    first.start()
    begun.wait(10)
    with pytest.raises(InterruptedError):
        thing(cache, "b", check=interrupt)
    free.set()
    first.join()


def interrupt():
    raise InterruptedError


def test_what_is_there_is_found_while_something_else_is_loaded():
    cache, begun, free = Cache(lambda: 4000), threading.Event(), threading.Event()
    there = thing(cache, "a")
    first = threading.Thread(target=lambda: cache.get(("thing", "b"), lambda: [begun.set(), free.wait(10)] and Thing()))
    first.start()
    begun.wait(10)
    assert thing(cache, "a", check=interrupt) is there
    free.set()
    first.join()
