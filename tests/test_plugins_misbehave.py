"""Plugins that hang, crash, print garbage or announce nonsense: each costs only itself."""

import time

import pytest

from tests.serving import serve, wait_until
from tests.wire import Wire, alive

GOOD = """
class Good(Plugin):
    @job()
    def work(self) -> Text:
        return "fine"
"""
BAD = """
import os, sys, ctypes

class Bad(Plugin):
    @job()
    def raises(self) -> Text:
        raise ValueError("no such luck")

    @job()
    def exits(self) -> Text:
        sys.exit(3)

    @job()
    def dies(self) -> Text:
        os._exit(11)

    @job()
    def segfaults(self) -> Text:
        ctypes.string_at(0)

    @job()
    def wrong_type(self) -> Image:
        return "not a picture"

    @job()
    def nothing(self) -> Text:
        return None

    @job()
    def not_a_list(self) -> list[Text]:
        return 7

    @job()
    def bad_facts(self) -> Text:
        return Result("text", {"when": object()})

    @job()
    def prints(self) -> Text:
        for _ in range(3000):
            print("garbage \\x00\\xff" * 500)
            print("{not json", file=sys.stderr)
        return "printed"

    @job()
    def recursion(self) -> Text:
        return self.recursion()

    @job()
    def ignores_cancel(self, ctx: Context) -> Text:
        ctx.log("started")
        while True:
            time.sleep(0.05)

    @job()
    def listens(self, ctx: Context) -> Text:
        ctx.log("started")
        for step in range(10_000):
            ctx.progress(step, 10_000, "listen")
            if ctx.cancelled and ctx.keep_partial:
                return f"partial"
            ctx.raise_if_cancelled()
            time.sleep(0.01)

    @job()
    def spawns(self, ctx: Context) -> Text:
        import subprocess
        child = subprocess.Popen(["sleep", "300"])
        ctx.log(str(child.pid))
        time.sleep(300)
"""
ONE = "class {}(Plugin):\n    @job()\n    def work(self) -> Text: ...\n"
REFUSED = {
    "no_import": "import a_module_that_is_nowhere",
    "leaves": "import sys; sys.exit(0)",
    "silent": "x = 1",
    "two": ONE.format("A") + ONE.format("B"),
    "untyped": "class U(Plugin):\n    @job()\n    def a(self, number: int) -> Text: ...",
    "no_return": "class U(Plugin):\n    @job()\n    def a(self): ...",
    "no_jobs": "class U(Plugin):\n    pass",
    "affinity": "class U(Plugin):\n    @job(affinity='model')\n    def a(self) -> Text: ...",
    "syntax": "def (:",
}


@pytest.fixture(scope="module")
def server():
    plugins = {"good": GOOD, "bad": BAD} | REFUSED
    with serve(plugins, cancel_grace_seconds=1, stall_seconds=60) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire
        assert wire.text(wire.ended(wire.submit("work"))["outputs"][0]) == "fine"  # nobody else is harmed


def plugin(wire, name):
    return next(each for each in wire.call("plugins")["plugins"] if each["name"] == name)


@pytest.mark.parametrize(
    "name, says",
    [
        ("no_import", "No module named 'a_module_that_is_nowhere'"),
        ("leaves", "exit code 0"),
        ("silent", "must define one subclass of Plugin, it defines 0"),
        ("two", "must define one subclass of Plugin, it defines 2"),
        ("untyped", "cannot flow between jobs"),
        ("no_return", "say what it returns"),
        ("no_jobs", "announces no job"),
        ("affinity", "affinity names model, which is not a parameter"),
        ("syntax", "SyntaxError"),
    ],
)
def test_a_plugin_that_cannot_be_described_is_refused_with_the_reason(wire, server, name, says):
    found = plugin(wire, name)
    assert found["status"] == "refused" and says in found["error"]
    assert f"refused   {name}: " in server.log


@pytest.mark.parametrize(
    "job, code, says",
    [
        ("raises", "plugin_error", "ValueError: no such luck"),
        ("exits", "plugin_error", "SystemExit: 3"),
        ("wrong_type", "type_mismatch", "expected a PIL image, got str"),
        ("nothing", "type_mismatch", "expected text, got NoneType"),
        ("not_a_list", "plugin_error", "not iterable"),
        ("bad_facts", "plugin_error", "not JSON serializable"),
        ("recursion", "plugin_error", "RecursionError"),
    ],
)
def test_an_error_in_a_job_fails_that_job_with_a_short_message(wire, job, code, says):
    ended = wire.ended(wire.submit(job))
    assert ended["state"] == "failed" and ended["error"]["code"] == code and says in ended["error"]["message"]
    assert "Traceback" not in ended["error"]["message"]


def test_the_traceback_is_in_the_log_of_the_job(wire):
    job = wire.submit("raises")
    wire.ended(job)
    logs = [body["text"] for name, body in wire.received if name == "log" and body["id"] == job]
    assert any("Traceback" in text and "no such luck" in text for text in logs)


@pytest.mark.parametrize("job", ["dies", "segfaults"])
def test_a_job_that_kills_its_worker_three_times_fails_and_keeps_its_inputs(wire, job):
    job = wire.submit(job)
    ended = wire.ended(job)
    assert ended["error"]["code"] == "worker_died" and "3 times" in ended["error"]["message"]
    assert wire.states(job) == ["queued", "running"] * 3 + ["failed"]
    assert wire.call("retry", {"id": job})["ok"]


def test_garbage_on_stdout_is_only_garbage(wire, server):
    assert wire.text(wire.ended(wire.submit("prints"))["outputs"][0]) == "printed"
    log = server.folder / "data" / "logs" / "bad-cpu.log"
    wait_until(lambda: log.stat().st_size < 12_000_000)


def started(wire, job):
    """Wait until the job has said something; returns what."""
    return wire.until(
        lambda: next((body["text"] for name, body in wire.received if name == "log" and body["id"] == job), None)
    )


def test_a_job_that_listens_is_cancelled_at_once(wire):
    job = wire.submit("listens")
    started(wire, job)
    before = time.monotonic()
    assert wire.call("cancel", {"id": job})["ok"]
    ended = wire.ended(job)
    assert ended["state"] == "cancelled" and ended["outputs"] == [] and time.monotonic() - before < 1
    assert wire.call("cancel", {"id": job})["error"]["code"] == "conflict"


def test_a_cancel_can_keep_what_is_there(wire):
    job = wire.submit("listens")
    started(wire, job)
    wire.call("cancel", {"id": job, "keep_partial": True})
    ended = wire.ended(job)
    assert ended["state"] == "cancelled" and wire.text(ended["outputs"][0]) == "partial"


def test_a_job_that_ignores_its_cancel_is_stopped_with_its_worker(wire):
    job, next_ = wire.submit("ignores_cancel"), wire.submit("raises")
    started(wire, job)
    wire.call("cancel", {"id": job})
    assert wire.ended(job)["state"] == "cancelled"
    assert wire.ended(next_)["error"]["code"] == "plugin_error"
    assert wire.states(job) == ["queued", "running", "cancelled"]


def test_what_a_job_started_ends_with_it(wire):
    job = wire.submit("spawns")
    child = int(started(wire, job))
    wire.call("cancel", {"id": job})
    wire.ended(job)
    wait_until(lambda: not alive(child))


def test_a_job_without_progress_times_out():
    with serve({"bad": BAD}, stall_seconds=1) as server, Wire(server) as wire:
        ended = wire.ended(wire.submit("ignores_cancel"))
        assert ended["error"]["code"] == "timeout" and "no progress for 1 s" in ended["error"]["message"]


def test_a_plugin_whose_worker_cannot_start_is_refused_and_its_jobs_fail():
    source = """
    import os
    class Once(Plugin):
        @job()
        def work(self) -> Text:
            return ""
    if "core.worker" in " ".join(__import__("sys").orig_argv):
        os._exit(5)
    """
    with serve({"once": source, "good": GOOD}) as server, Wire(server) as wire:
        ended = wire.ended(wire.submit("once.work"))
        assert ended["error"]["code"] == "plugin_error" and "exit code 5" in ended["error"]["message"]
        assert plugin(wire, "once")["status"] == "refused"
        assert wire.ended(wire.submit("good.work"))["state"] == "done"


def test_a_load_that_fails_fails_the_job_and_the_next_one_tries_again():
    source = """
    class Loads(Plugin):
        tries = 0
        def load(self, device):
            self.tries += 1
            if self.tries < 2:
                raise RuntimeError(f"no {device} today")
        @job()
        def work(self) -> Text:
            return f"loaded at try {self.tries}"
    """
    with serve({"loads": source}) as server, Wire(server) as wire:
        ended = wire.ended(wire.submit("work"))
        assert "no cpu today" in ended["error"]["message"]
        assert wire.text(wire.ended(wire.submit("work"))["outputs"][0]) == "loaded at try 2"


def test_a_hanging_load_can_be_cancelled():
    source = """
    class Hangs(Plugin):
        def load(self, device):
            time.sleep(300)
        @job()
        def work(self) -> Text:
            return ""
    """
    with serve({"hangs": source}, cancel_grace_seconds=0.5) as server, Wire(server) as wire:
        job = wire.submit("work")
        wire.until(lambda: "running" in wire.states(job))
        wire.call("cancel", {"id": job})
        assert wire.ended(job)["state"] == "cancelled"
