"""Runs many images at once on one device: each is a plain function in its own greenlet, their calls are run together.

One thread owns the device. A function that works on an image asks for device work with `call`, which puts its
greenlet to sleep. When all are asleep, the calls that may share are run as one, and their greenlets go on with
the answers. So each image keeps its own sampler, step and seed, and joins and leaves whenever it likes."""

import atexit
import queue
import threading
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import greenlet
import torch

from core.plugin import Cancelled


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
    """A member asks for `function([value])[0]`. Calls with the same function and `alike` run as one function(values)
    of at most `most` rows, of which this one has `rows`."""

    function: Callable[[list[Any]], list[Any]]
    value: Any
    alike: Hashable
    rows: int
    most: int
    member: Member | None = None


class Batcher:
    """`relieve()` is asked when memory did not suffice for one call alone: if it could make room, it returns True, and
    the call is run again."""

    def __init__(self, relieve: Callable[[], bool] = lambda: False):
        self._relieve = relieve
        self._fits: dict[tuple[str, Hashable], int] = {}  # rows for which memory sufficed where it did not for more
        self._inbox: queue.SimpleQueue[Member | None] = queue.SimpleQueue()
        self._waiting: dict[Hashable, deque[Call]] = {}  # groups of calls, the one whose turn it is first
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
                self._waiting[call.function, call.alike].remove(call)
                self._resume(call.member, call.member.routine.throw, Cancelled("the job was cancelled."))
        self._waiting = {group: calls for group, calls in self._waiting.items() if calls}

    def _turn(self) -> None:
        """Run the calls of the first group, and put what they ask for next behind all other groups."""
        group = next(iter(self._waiting))
        waiting = self._waiting.pop(group)
        calls = [waiting.popleft()]
        most = min(calls[0].most, self._fits.get(kind(calls[0]), calls[0].most))
        while waiting and sum(call.rows for call in calls) + waiting[0].rows <= most:
            calls.append(waiting.popleft())
        if waiting:
            self._waiting[group] = waiting
        for call, answer, error in self._answers(calls):
            if error:
                self._resume(call.member, call.member.routine.throw, error)
            else:
                self._resume(call.member, call.member.routine.switch, answer)
        call = answer = error = None  # an error knows the frames that it came through, this one among them

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
            self._fits[kind(calls[0])] = sum(call.rows for call in parts[0])
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
            self._waiting.setdefault((said.function, said.alike), deque()).append(said)

    def _leave(self, member: Member) -> Future:
        """The future, which the member forgets: it may hold an error that knows the member."""
        with self._lock:
            self._flying.remove(member)
        future, member.future = member.future, None
        return future


def kind(call: Call) -> tuple[str, Hashable]:
    """What calls have in common that take as much memory a row."""
    return getattr(call.function, "__qualname__", ""), call.alike


def is_out_of_memory(error: Exception) -> bool:
    """Each kind of device says it in its own words."""
    words = ("out of memory", "ALLOC_FAILED", "DefaultCPUAllocator")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )
