"""`python -m tests.hub server.py ...` runs it and writes to its log what blocks eventlet's hub for more than 50 ms.

A heartbeat on the hub is watched by a thread of the system. Machines are shared, so time in which a thread waits for a
processor does not count: work of the hub does, sleep in a system call, and other threads that hold Python's lock."""

import _thread
import os
import runpy
import sys
import threading
import time
from pathlib import Path

LIMIT_SECONDS, BEAT_SECONDS = 0.05, 0.02
IDLE_SECONDS = 0.002  # of processor time, since the threads were looked at
MARK = "the hub was blocked for "
# Taken before eventlet replaces them by its own.
HUB, HUB_TASK, start_thread = _thread.get_ident(), threading.get_native_id(), _thread.start_new_thread
sleep, monotonic, write, open_file = time.sleep, time.monotonic, os.write, os.open


class Watch:
    """`beat` runs on the hub, `switched` whenever it turns to something else, `run` is the thread that watches."""

    def __init__(self):
        self.beat_at, self.longest = monotonic(), 0.0
        self.files = {}  # by task, open: opening them each time takes a twentieth of a processor
        self.worked = self.waiting = 0.0
        self.late = 0.0  # how long this thread has waited while it looked, and so may have held Python's lock
        self.stat = None  # of the hub's thread, open

    def beat(self):
        import eventlet

        while True:
            self.switched()
            eventlet.sleep(BEAT_SECONDS)

    def switched(self, *args):
        now = monotonic()
        self.longest = max(self.longest, now - self.beat_at)
        self.beat_at = now

    def run(self):
        asleep, stack, beat_at = 0.0, "", self.beat_at
        since = before = self.look()
        mine = threading.get_native_id()
        while True:
            sleep(BEAT_SECONDS)
            begun, now = self.waited(mine), self.look()
            asleep += self.slept(now[0] - before[0])
            blocked = self.kept(since, now, asleep)
            if beat_at != self.beat_at:
                blocked = min(blocked, self.longest)  # this thread may not have got on either
                if blocked > LIMIT_SECONDS:
                    text = stack or "a thread that held Python's lock"
                    write(2, f"{MARK}{blocked * 1000:.0f} ms: {text}\n".encode())
                since, asleep, stack, beat_at, self.longest = now, 0.0, "", self.beat_at, 0.0
            elif monotonic() - beat_at > 1.5 * BEAT_SECONDS and blocked > LIMIT_SECONDS / 2 and not stack:
                stack = where()
            before = now
            self.late += self.waited(mine) - begun

    def look(self):
        """(the time, processor time of the process, how long threads have waited for a processor, this one while it
        looked). Of a process that does nothing nobody waits: looking all the same takes a fiftieth of a processor."""
        worked = time.process_time()
        if worked - self.worked > IDLE_SECONDS:
            mine = threading.get_native_id()
            tasks = {task for task in map(int, os.listdir("/proc/self/task")) if task != mine}
            for task in self.files.keys() - tasks - {mine}:
                os.close(self.files.pop(task))
            self.worked, self.waiting = worked, sum(map(self.waited, tasks))
        return monotonic(), worked, self.waiting + self.late

    def waited(self, task):
        try:
            if task not in self.files:
                self.files[task] = open_file(f"/proc/self/task/{task}/schedstat", os.O_RDONLY)
            return int(os.pread(self.files[task], 100, 0).split()[1]) / 1e9
        except OSError:
            return 0.0  # it has ended

    def kept(self, since, now, asleep):
        """For how long something of our own kept the hub from its heartbeat. A long time without any work and any
        waiting is one in which the whole process was stopped. How long a thread has waited is known only once it has
        got on, so this looks at all the time since the last beat, not at parts of it."""
        wall, worked, waiting = (after - earlier for earlier, after in zip(since, now, strict=True))
        return max(0, min(wall - waiting, worked + asleep))

    def slept(self, wall):
        """For how much of `wall` seconds the hub was in a system call, or waited for Python's lock."""
        state = self.state_of_hub()
        return min(wall, 2 * BEAT_SECONDS) if state == "S" or (state == "D" and not commits()) else 0

    def state_of_hub(self):
        if not self.stat:
            self.stat = open_file(f"/proc/self/task/{HUB_TASK}/stat", os.O_RDONLY)
        return os.pread(self.stat, 1000, 0).rpartition(b") ")[2][:1].decode()


def commits():
    """Whether the hub is at a commit. That writes to the system's memory only: if it has to wait for the disk, others
    have filled that."""
    frame = sys._current_frames().get(HUB)
    return bool(frame) and frame.f_code.co_name == "_commit"


def where():
    """What the hub is doing, innermost first, on one line."""
    frame, places = sys._current_frames().get(HUB), []
    while frame:
        code = frame.f_code
        places.append(f"{'/'.join(Path(code.co_filename).parts[-2:])}:{frame.f_lineno} {code.co_name}")
        frame = frame.f_back
    return " < ".join(places)


def blocks(log):
    """The lines of a log that tell of a block."""
    return [line for line in log.splitlines() if line.startswith(MARK)]


def watch():
    """What serves from now on is watched."""
    from core.rest import serving

    serve, watches = serving.serve, []

    def watched(listener, app, async_mode):
        if async_mode == "eventlet" and sys.platform == "linux" and not watches:
            import eventlet
            import greenlet

            watch = Watch()
            watches.append(watch)  # more listeners make no more hubs
            greenlet.settrace(watch.switched)
            eventlet.spawn(watch.beat)
            start_thread(watch.run, ())
        serve(listener, app, async_mode)

    serving.serve = watched


def main():
    watch()
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
