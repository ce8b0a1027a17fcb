"""The store and the blobs by themselves: groups of changes, errors, order, repair."""

import sqlite3
import threading

import pytest

from core.artifacts import Blobs
from core.errors import Conflict, Internal, TooLarge
from core.jobs import Store, new_id
from core.library.database import MIGRATIONS


def run(function, *args):
    return function(*args)


@pytest.fixture
def published():
    return []


@pytest.fixture(params=[False, True], ids=["process", "power"])
def store(tmp_path, request, published):
    store = Store(tmp_path / "jobs.db", request.param, run, published.append)
    yield store
    store.close()


def job(**columns):
    row = {
        "id": new_id(),
        "name": "a.b",
        "plugin": "a",
        "state": "queued",
        "priority": "normal",
        "class": 1,
        "rank": 1.0,
    }
    row |= {"owner": "me", "session": "s", "params": {"text": "ü"}, "inputs": {}, "embed_metadata": "full"}
    return row | {"created": 1.0, "queued": 1.0, "aged": 1.0} | columns


def test_what_was_written_is_there_after_reopening(tmp_path, store):
    row = job()
    store.write(lambda tx: tx.add_job(row))
    again = Store(tmp_path / "jobs.db", False, run, lambda event: None)
    assert again.job(row["id"])["params"] == {"text": "ü"}
    again.close()


def test_an_error_in_a_change_undoes_that_change_alone(store, published):
    first, second = job(), job()
    store.write(lambda tx: tx.add_job(first))

    def fails(tx):
        tx.add_job(second)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.write(fails)
    assert [event["body"]["id"] for event in published] == [first["id"]]
    assert store.all("SELECT id FROM jobs") == [{"id": first["id"]}]


def test_a_job_ends_only_once(store):
    row = job(state="running")
    store.write(lambda tx: tx.add_job(row))
    store.write(lambda tx: tx.update_job(row["id"], ("running",), state="done", finished=2.0))
    with pytest.raises(Conflict, match="is done; this is possible while running"):
        store.write(lambda tx: tx.update_job(row["id"], ("running",), state="failed", finished=3.0))


def test_events_are_published_once_and_in_order_from_many_threads(store, published):
    def many():
        for _ in range(50):
            store.write(lambda tx: tx.add_job(job()))

    threads = [threading.Thread(target=many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [event["seq"] for event in published] == list(range(1, 401))


def test_changes_that_arrive_during_a_commit_share_the_next_one(tmp_path):
    commits, entered, leave = [], threading.Event(), threading.Event()

    def slow_commit(function, *args):
        commits.append(args)
        entered.set()
        leave.wait(10)
        return function(*args)

    store = Store(tmp_path / "jobs.db", True, slow_commit, lambda event: None)
    first = threading.Thread(target=store.write, args=(lambda tx: tx.add_job(job()),))
    first.start()
    entered.wait(10)
    others = [threading.Thread(target=store.write, args=(lambda tx: tx.add_job(job()),)) for _ in range(10)]
    for thread in others:
        thread.start()
    while len(store._arrivals) < 10:
        pass
    leave.set()
    for thread in [first, *others]:
        thread.join()
    assert len(commits) == 2 and len(store.all("SELECT id FROM jobs")) == 11
    store.close()


def test_old_events_are_dropped_and_new_numbers_go_on(store):
    for _ in range(30):
        store.write(lambda tx: tx.add_job(job()))
    store.maintain(10)
    assert store.one("SELECT min(seq) AS oldest, max(seq) AS newest FROM events") == {"oldest": 21, "newest": 30}


def test_an_artifact_is_replaced_by_its_key_and_not_told_twice(store, published):
    def output(sha256):
        row = {
            "id": "j.0",
            "job": "j",
            "idx": 0,
            "kind": "text",
            "sha256": sha256,
            "size_bytes": 1,
            "mime": "text/plain",
        }
        return row | {"owner": "me", "session": "s", "facts": {}, "created": 1.0, "review": "new"}

    for sha256 in ("a", "a", "b"):
        store.write(lambda tx, sha256=sha256: tx.add_artifact(output(sha256), ["parent"]))
    assert [event["body"]["sha256"] for event in published] == ["a", "b"]
    assert [row["sha256"] for row in store.outputs("j")] == ["b"]


def test_a_file_that_is_no_queue_is_refused_with_a_way_out(tmp_path):
    (tmp_path / "jobs.db").write_bytes(b"this is not a database" * 100)
    with pytest.raises(Internal, match="cannot use the queue") as caught:
        Store(tmp_path / "jobs.db", False, run, lambda event: None)
    assert "move the file away" in caught.value.extra["hint"]


def test_a_queue_of_a_newer_version_is_left_alone(tmp_path):
    db = sqlite3.connect(tmp_path / "jobs.db")
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(Internal, match="written by a newer stable-core"):
        Store(tmp_path / "jobs.db", False, run, lambda event: None)


@pytest.mark.parametrize("fsync", [False, True])
def test_a_blob_is_named_by_its_content_and_written_once(tmp_path, fsync):
    blobs = Blobs(tmp_path, fsync)
    name = blobs.write(b"abc")
    assert name == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert blobs.write(b"abc") == name and blobs.path(name).read_bytes() == b"abc"
    assert not list((tmp_path / "incoming").iterdir())


def test_a_blob_over_the_limit_leaves_nothing_behind(tmp_path):
    blobs = Blobs(tmp_path)
    with pytest.raises(TooLarge, match="over the limit of 5 bytes"):
        with (tmp_path / "source").open("wb+") as source:
            source.write(b"123456")
            source.seek(0)
            blobs.receive(source, 5, run)
    assert not list((tmp_path / "incoming").iterdir())
