"""Runs many images at once on one device: each is a plain function in its own greenlet, their calls are run together.

One thread owns the device. A function that works on an image asks for device work with `call`, which puts its
greenlet to sleep. When all are asleep, the calls that may share are run as one, and their greenlets go on with
the answers. So each image keeps its own sampler, step and seed, and joins and leaves whenever it likes."""

import atexit
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import greenlet
import torch

from core.plugin import Cancelled

from .rows import Rows

PICTURES = 4  # that wait for the same count as so many at most when it is decided whose turn it is


@dataclass(eq=False)
class Member:
    """One image in flight: `work` runs in `routine`, `stopped` tells whether somebody wants it to end."""

    work: Callable[[], Any]
    stopped: Callable[[], bool]
    future: Future | None = field(default_factory=Future)  # None when it has left
    routine: greenlet.greenlet | None = None
    told: bool = False  # that it should stop: said once, so that it can still decode what there is


@dataclass(eq=False)
class Call:
    """A member asks for `function([value])[0]`. Calls with the same function and `alike` run as one function(values),
    to which this one adds `rows`. How many are best at once is found out, up to `most`; with 1, it is run alone."""

    function: Callable[[list[Any]], list[Any]]
    value: Any
    alike: Hashable
    rows: int
    most: int
    member: Member | None = None


class Batcher:
    """`relieve()` is asked when memory did not suffice for one call alone: if it could make room, it returns True, and
    the call is run again. `clock` tells seconds.

    Groups of calls that cannot be run together share the device by time, not by calls: next is always the one that had
    least of it, for each of its pictures. So one that takes long waits for others at most PICTURES times as long as it
    takes itself, and one that is quick waits for one call of the others."""

    def __init__(self, relieve: Callable[[], bool] = lambda: False, clock: Callable[[], float] = time.perf_counter):
        self._relieve, self._clock = relieve, clock
        self._rows = Rows()
        self._fits: dict[Hashable, int] = {}  # rows for which memory sufficed where it did not for more
        self._inbox: queue.SimpleQueue[Member | None] = queue.SimpleQueue()
        self._waiting: dict[Hashable, deque[Call]] = {}  # groups of calls, of equals the one whose turn it is first
        self._had: dict[Hashable, float] = {}  # how much of the device each group had, see `_turn`
        self._now = 0.0  # what the group had whose turn it is, so that those that come have no less
        self._hub: greenlet.greenlet | None = None
        self._lock = threading.Lock()  # of the next two
        self._flying: set[Member] = set()
        self._ended: BaseException | None = None  # why there will be no more answers
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        self._thread.start()
        atexit.register(self.close)  # a thread that is inside torch when Python ends would abort the process

    def submit(self, work: Callable[[], Any], stopped: Callable[[], bool] = lambda: False) -> Future:
        """Run `work` on the device's thread together with all others; from any thread.

        As soon as `stopped()` is true, the call in which `work` waits raises Cancelled, once."""
        member = Member(work, stopped)
        future = member.future
        with self._lock:
            if self._ended:
                raise self._ended
            self._flying.add(member)
            self._inbox.put(member)
        return future

    def call(
        self, function: Callable[[list[Any]], list[Any]], value: Any, alike: Hashable = (), rows: int = 1, most: int = 1
    ) -> Any:
        """Inside a work: `function([value])[0]`, maybe computed together with others. With most=1, always alone."""
        return self._hub.switch(Call(function, value, alike, rows, most))

    def close(self) -> None:
        """Cancel all that is in flight and end the thread."""
        atexit.unregister(self.close)
        self._inbox.put(None)
        self._thread.join()

    @torch.inference_mode()  # holds for this thread, so for all greenlets in it
    def _run(self) -> None:
        self._hub, reason = greenlet.getcurrent(), Cancelled("the plugin is being unloaded.")
        try:
            while self._join():
                self._tell_stopped()
                if self._waiting:
                    self._turn()
        except BaseException as error:  # a mistake in this class: nobody shall wait for ever because of it
            reason = error
        with self._lock:
            self._ended = reason
        for member in self._flying:
            member.future.set_exception(reason)

    def _join(self) -> bool:
        """Start the members that came in; with nothing else to do, wait for one. False: it is time to end."""
        while not self._inbox.empty() or not self._waiting:
            if not self._flying:
                self._fits.clear()  # whatever else took the memory may be gone
            if (member := self._inbox.get()) is None:
                return False
            member.routine = greenlet.greenlet(member.work)
            self._resume(member, member.routine.switch)
        return True

    def _tell_stopped(self) -> None:
        for call in [call for calls in self._waiting.values() for call in calls]:
            if not call.member.told and call.member.stopped():
                call.member.told = True
                self._waiting[group_of(call)].remove(call)
                self._resume(call.member, call.member.routine.throw, Cancelled("the job was cancelled."))
        self._waiting = {group: calls for group, calls in self._waiting.items() if calls}

    def _turn(self) -> None:
        """Run calls of the group that had least of the device, and put what they ask for next behind its equals."""
        had = {group: self._had.get(group, self._now) for group in self._waiting}
        group = min(had, key=had.__getitem__)
        self._now, started = had[group], self._clock()
        waiting = self._waiting.pop(group)
        pictures = min(len(waiting), PICTURES)
        calls = [waiting.popleft()]
        kind, rows = kind_of(calls[0]), calls[0].rows
        most = self._rows.best(kind, calls[0].most)
        most = min(most, self._fits.get(kind, most))
        while waiting and rows + waiting[0].rows <= most:
            rows += waiting[0].rows
            calls.append(waiting.popleft())
        if waiting:
            self._waiting[group] = waiting
        for call, answer, error in self._answers(calls):
            if error:
                self._resume(call.member, call.member.routine.throw, error)
            else:
                self._resume(call.member, call.member.routine.switch, answer)
        call = answer = error = None  # an error knows the frames that it came through, this one among them
        # All of it: some devices are still at work when a call returns, and done when who asked goes on with it.
        seconds = self._clock() - started
        self._rows.took(kind, rows, seconds)
        had[group] += seconds / pictures
        self._had = {group: each for group, each in had.items() if group in self._waiting}

    def _answers(self, calls: list[Call]) -> list[tuple[Call, Any, Exception | None]]:
        """Run the calls as one; if that fails, each alone, so that only the guilty ones get the error. If it is for
        want of memory, by halves, and one alone again as long as there is a relief."""
        try:
            answers = calls[0].function([call.value for call in calls])
            return [(call, answer, None) for call, answer in zip(calls, answers, strict=True)]
        except Exception as error:
            exhausted = is_out_of_memory(error)
            if len(calls) == 1 and not exhausted:
                return [(calls[0], None, error)]
            why = str(error)
        # By now the error is gone, with all that its frames had on the device.
        if exhausted and len(calls) == 1:
            return self._answers(calls) if self._relieve() else [(calls[0], None, torch.OutOfMemoryError(why))]
        half = (len(calls) + 1) // 2 if exhausted else 1
        parts = [calls[k : k + half] for k in range(0, len(calls), half)]
        if exhausted:
            self._fits[kind_of(calls[0])] = sum(call.rows for call in parts[0])
        return [answer for part in parts for answer in self._answers(part)]

    def _resume(self, member: Member, go: Callable[..., Any], *values: Any) -> None:
        """Let a member run until its next call, its end or its error."""
        try:
            said = go(*values)
        except BaseException as error:  # whatever a work raises is its own affair
            self._leave(member).set_exception(error)
            del values  # the error knows this frame: if that knew it, too, both would stay, and tensors with them
            return
        if member.routine.dead:
            self._leave(member).set_result(said)
        else:
            said.member = member
            self._waiting.setdefault(group_of(said), deque()).append(said)

    def _leave(self, member: Member) -> Future:
        """The future, which the member forgets: it may hold an error that knows the member."""
        with self._lock:
            self._flying.remove(member)
        future, member.future = member.future, None
        return future


def group_of(call: Call) -> tuple[Callable, Hashable, Member | None]:
    """What calls have in common that can be run as one."""
    return call.function, call.alike, call.member if call.most == 1 else None


def kind_of(call: Call) -> tuple[str, Hashable, Hashable]:
    """What calls have in common that take as long, and as much memory, a row."""
    owner = getattr(call.function, "__self__", None)
    return getattr(call.function, "__qualname__", ""), getattr(owner, "architecture", None), call.alike


def is_out_of_memory(error: Exception) -> bool:
    """Each kind of device says it in its own words."""
    words = ("out of memory", "ALLOC_FAILED", "DefaultCPUAllocator")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )
