"""What is deleted, and what never is: by a person, by the retention settings, and bytes that nothing refers to."""

import contextlib
import os
import sqlite3
import threading
import time

import pytest

from core.artifacts import Blobs
from core.jobs import Store
from core.library.retention import GRACE_SECONDS, Retention
from core.library.review import Review
from core.ops.config import Config
from tests.serving import serve, wait_until
from tests.wire import Wire

STUDIO = """
class DrawParams(Params):
    count: int = param(1, ge=0, le=200, help="How many.")
    name: str = param("a", help="What.")

class Studio(Plugin):
    @job()
    def draw(self, params: DrawParams, ctx: Context) -> list[Text]:
        ctx.log(f"draws {params.name}")
        for index in range(params.count):
            yield f"{params.name} {index} " + "x" * 1000

    @job()
    def upper(self, text: Text) -> Text:
        return text.upper()

    @job(program=True)
    def both(self, params: DrawParams, ctx: Context) -> Text:
        ctx.once("recorded", lambda: params.name)
        ctx.gather([ctx.submit("draw")])
        ctx.gather([ctx.submit("draw", hold=True)])
        return "never"

    @job()
    def slow(self) -> list[Text]:
        yield "first"
        time.sleep(60)
"""


@pytest.fixture(scope="module")
def server():
    with serve({"studio": STUDIO}, cancel_grace_seconds=0) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def draw(wire, count=1, **more):
    job = wire.submit("draw", {"count": count, **more})
    return job, wire.ended(job)["outputs"]


def upper(wire, text, **more):
    job = wire.submit("upper", inputs={"text": text}, **more)
    return job, (wire.ended(job)["outputs"] if not more else [])


def there(wire):
    return {each["id"] for each in wire.call("artifacts", {"limit": 1000})["artifacts"]}


def older(server, seconds, **where):
    """All that is stored, or those with `where`, was made so long before. The server is stopped for it."""
    server.stop()
    with sqlite3.connect(server.folder / "data" / "jobs.db") as db:
        db.execute("UPDATE artifacts SET created = created - ?", (seconds,))
        db.execute("UPDATE jobs SET finished = finished - ?", (seconds,))
    db.close()
    for path in (server.folder / "data" / "blobs").glob("*/*"):
        os.utime(path, (time.time() - seconds,) * 2)


def restarted(server, **settings):
    """The server goes on with other settings."""
    file = server.folder / "config.toml"
    kept = [line for line in file.read_text().splitlines() if line.split(" = ")[0] not in settings]
    file.write_text("\n".join([*kept, *(f"{key} = {value}" for key, value in settings.items())]) + "\n")
    server.start()


def blobs(server):
    return sum(1 for path in (server.folder / "data" / "blobs").glob("??/*"))


# By a person


def test_what_is_deleted_is_gone_for_everybody(wire):
    _, (first, second) = draw(wire, 2)
    assert wire.call("delete", {"ids": [first]}) == {"ok": True, "deleted": [first]}
    told = wire.until(lambda: [body for _, name, body in wire.state_events() if body.get("deleted")])
    assert [each["id"] for each in told] == [first]
    assert wire.call("artifact", {"id": first})["error"]["code"] == "unknown_artifact"
    assert wire.download(first).status_code == 404 and wire.download(second).status_code == 200


def test_deleting_is_all_or_nothing(wire):
    _, outputs = draw(wire)
    assert wire.call("delete", {"ids": [*outputs, "nothing"]})["error"]["code"] == "unknown_artifact"
    assert wire.download(outputs[0]).status_code == 200


def test_what_an_unfinished_job_needs_cannot_be_deleted(wire):
    source, outputs = draw(wire, 2)
    for reference in (outputs[0], {"job": source}, {"job": source, "review": "picked"}):
        user, _ = upper(wire, reference, hold=True)
        answer = wire.call("delete", {"ids": [outputs[0]]})
        assert answer["error"]["code"] == "conflict" and user in answer["error"]["message"]
        wire.call("cancel", {"id": user})
    assert wire.call("delete", {"ids": outputs})["ok"]


def test_the_results_of_a_running_job_cannot_be_deleted(wire):
    running = wire.submit("slow")
    first = wire.until(lambda: [body for name, body in wire.received if name == "artifact" and body["job"] == running])
    assert wire.call("delete", {"ids": [first[0]["id"]]})["error"]["code"] == "conflict"
    wire.call("cancel", {"id": running})
    wire.ended(running)


def test_what_a_program_will_come_back_for_cannot_be_deleted(wire):
    recorded = wire.upload(b"recorded", kind="text")["artifact"]["id"]
    program = wire.submit("both", {"name": recorded})

    def children(state):
        told = [body for name, body in wire.received if name == "job" and body.get("parent") == program]
        return [body for body in told if body["state"] == state]

    wire.until(lambda: children("held"))
    (first,) = children("done")[0]["outputs"]
    for artifact in (recorded, first):
        assert wire.call("delete", {"ids": [artifact]})["error"]["code"] == "conflict"
    wire.call("cancel", {"id": program})
    wire.ended(program)
    assert wire.call("delete", {"ids": [recorded, first]})["ok"]


def test_an_old_deleted_result_leaves_no_bytes_but_shared_ones_stay():
    with serve({"studio": STUDIO}) as server:
        with Wire(server) as wire:
            _, (alone, shared) = draw(wire, 2)
            twin = draw(wire, 2)[1][1]
            wire.call("delete", {"ids": draw(wire, name="young")[1]})
            before = blobs(server)  # what was just written stays for a while
        older(server, 2 * GRACE_SECONDS)
        server.start()
        with Wire(server) as wire:
            wire.call("delete", {"ids": [alone, shared]})
            assert wire.download(twin).status_code == 200 and blobs(server) == before
            wire.call("delete", {"ids": [draw(wire)[1][0]]})
            wire.call("delete", {"ids": [twin]})
            assert blobs(server) == before - 1
            assert wire.text(draw(wire, 2)[1][1]).startswith("a 1")


# By the settings


@pytest.mark.parametrize(
    "settings, left", [({"retention_count": 3}, 3), ({"retention_bytes": 4500}, 4), ({"retention_days": 0.5}, 0)]
)
def test_the_oldest_go_when_there_are_too_many(settings, left):
    with serve({"studio": STUDIO}) as server:
        with Wire(server) as wire:
            made = [draw(wire, name=f"{index}")[1][0] for index in range(6)]
        older(server, 86_400)
        restarted(server, **settings)
        with Wire(server) as wire:
            wait_until(lambda: there(wire) == set(made[6 - left :]))
            assert all(wire.download(each).status_code == 200 for each in made[6 - left :])
            assert wait_until(lambda: blobs(server) == left)


def test_results_may_be_kept_for_centuries(tmp_path):
    store, _, retention = assembled(tmp_path, retention_days=100_000)
    retention.retain()
    store.close()


def test_nothing_goes_by_default_or_while_it_is_new():
    with serve({"studio": STUDIO}) as server:
        with Wire(server) as wire:
            _, old = draw(wire, 3)
        older(server, 400 * 86_400)
        server.start()
        with Wire(server) as wire:
            assert there(wire) == {*old}
        server.stop()
        restarted(server, retention_count=1)
        with Wire(server) as wire:
            wait_until(lambda: not there(wire) & {*old[:2]})
            _, new = draw(wire, 3)
        server.stop()
        server.start()
        with Wire(server) as wire:
            wait_until(lambda: there(wire) == {*new})
            time.sleep(1)
            assert there(wire) == {*new}


def test_picked_results_their_ancestors_and_what_is_needed_never_go():
    with serve({"studio": STUDIO}) as server:
        with Wire(server) as wire:
            upload = wire.upload(b"from outside", kind="text")["artifact"]["id"]
            _, (middle,) = upper(wire, upload)
            _, (picked,) = upper(wire, middle)
            wire.call("review", {"ids": [picked], "state": "picked"})
            _, (needed,) = draw(wire, name="needed")
            source, both = draw(wire, 2, name="source")
            for reference in (needed, {"job": source, "index": 0}):
                upper(wire, reference, hold=True)
            _, others = draw(wire, 20, name="others")
        older(server, 9 * 86_400)
        restarted(server, retention_days=1, retention_count=1, retention_bytes=1)
        with Wire(server) as wire:
            wait_until(lambda: there(wire) == {upload, middle, picked, needed, *both})
            found = wire.call("lineage", {"id": picked})["artifacts"]
            assert [each["id"] for each in found] == [middle, upload] and wire.text(upload) == "from outside"


def test_old_records_go_with_their_results_but_for_what_the_session_remembers():
    with serve({"studio": STUDIO}) as server:
        with Wire(server) as wire:
            old = [draw(wire, name=f"{index}")[0] for index in range(3)]
            kept, (picked,) = upper(wire, draw(wire)[1][0])
            last = wire.submit("draw", {"name": "last"})
            wire.ended(last)
            wire.call("review", {"ids": [picked], "state": "picked"})
        older(server, 9 * 86_400)
        with sqlite3.connect(server.folder / "data" / "jobs.db") as db:  # ids tell the time, too
            for job in old:
                db.execute("UPDATE jobs SET id = '00' || substr(id, 3) WHERE id = ?", (job,))
                for table in ("artifacts", "logs"):
                    db.execute(f"UPDATE {table} SET job = '00' || substr(job, 3) WHERE job = ?", (job,))
        db.close()
        restarted(server, retention_days=1)
        with Wire(server) as wire:
            wait_until(lambda: not {each["id"] for each in wire.call("jobs")["jobs"]} & {f"00{job[2:]}" for job in old})
            assert {kept, last} <= {each["id"] for each in wire.call("jobs")["jobs"]}
            memorised = wire.call("session", {"id": "default"})["session"]["memorised"]
            assert memorised["studio.draw"]["name"] == "last"
            texts = [line["text"] for line in wire.call("logs")["lines"]]
            assert "draws last" in texts and not {"draws 0", "draws 1", "draws 2"} & {*texts}


@pytest.mark.slow
def test_a_kill_while_old_results_go_leaves_nothing_half():
    with serve({"studio": STUDIO}) as server:
        with Wire(server) as wire:
            for index in range(3):
                draw(wire, 200, name=f"{index}")
        older(server, 86_400)
        restarted(server, retention_count=100)
        for delay in (0, 0.02, 0.05, 0.1):
            time.sleep(delay)
            server.restart()
        with Wire(server) as wire:
            wait_until(lambda: len(there(wire)) == 100)
            assert all(wire.download(each).status_code == 200 for each in there(wire))
        server.stop()
        kept = sweep(server.folder / "data")
        assert kept == 100


# Bytes that nothing refers to


def assembled(folder, **settings):
    run = lambda function, *args: function(*args)  # noqa: E731
    store = Store(folder / "jobs.db", False, run, lambda event: None)
    blobs = Blobs(folder / "blobs")
    return store, blobs, Retention(Config(data=folder, **settings), store, blobs, Review(store, None), run)


def sweep(folder):
    """Sweep all folders once; how many files are left."""
    store, _, retention = assembled(folder)
    for number in range(256):
        retention.sweep(f"{number:02x}")
    store.close()
    return sum(1 for path in (folder / "blobs").glob("??/*"))


def make_old(blobs, *names):
    for name in names:
        os.utime(blobs.path(name), (time.time() - 2 * GRACE_SECONDS,) * 2)


def test_a_sweep_takes_old_bytes_that_nothing_refers_to(tmp_path):
    store, blobs, _ = assembled(tmp_path)
    old, young, used = (blobs.write(data) for data in (b"old", b"young", b"used"))
    make_old(blobs, old, used)
    row = {"id": "a", "idx": 0, "kind": "text", "sha256": used, "size_bytes": 4, "mime": "text/plain", "owner": "me"}
    store.write(lambda tx: tx.insert("artifacts", row | {"session": "s", "facts": {}, "created": 0.0}))
    store.close()
    sweep(tmp_path)
    assert not blobs.path(old).exists() and blobs.path(young).exists() and blobs.path(used).exists()


def test_a_sweep_that_was_killed_is_mended_by_the_next(tmp_path):
    store, blobs, _ = assembled(tmp_path)
    store.close()
    lost, twice = blobs.write(b"lost"), blobs.write(b"twice")
    blobs.path(lost).rename(blobs.path(lost).with_suffix(".old"))
    blobs.path(twice).with_suffix(".old").write_bytes(b"twice")
    assert sweep(tmp_path) == 2
    assert blobs.path(lost).read_bytes() == b"lost" and blobs.path(twice).read_bytes() == b"twice"


def test_bytes_that_are_written_again_are_not_swept(tmp_path):
    """A writer and a sweep of the same bytes, many times: what was just written is there afterwards."""
    store, blobs, retention = assembled(tmp_path)
    name, stop = blobs.write(b"again"), threading.Event()

    def sweep_on():
        while not stop.is_set():
            retention.sweep(name[:2])

    sweeping = threading.Thread(target=sweep_on)
    sweeping.start()
    try:
        for _ in range(500):
            with contextlib.suppress(FileNotFoundError):
                make_old(blobs, name)
            blobs.write(b"again")
            assert wait_until(blobs.path(name).exists, 5)
    finally:
        stop.set()
        sweeping.join()
        store.close()
