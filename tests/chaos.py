"""Kills a server and its workers at random moments while all kinds of work are under way, then counts what went wrong.

`Chaos(server, seed).run(rounds)` returns the figures; used by tests/test_chaos.py and by the benchmark of that name."""

import collections
import contextlib
import os
import random
import signal
import sqlite3
import threading
import time

import requests
import socketio

from tests.wire import TERMINAL, Wire

SETTINGS = {"attempts": 100_000, "events_kept": 1_000_000}  # killed workers are nobody's fault here
PLUGIN = """
class P(Params):
    text: str = param("x", help="What to return.")
    seconds: float = param(0, ge=0, le=60, help="How long to work.")

class Chaos(Plugin):
    @job(concurrency=3)
    def say(self, params: P, ctx: Context) -> Text:
        end = time.monotonic() + params.seconds
        while time.monotonic() < end:
            ctx.raise_if_cancelled()
            time.sleep(0.01)
        return params.text

    @job()
    def twice(self, text: Text) -> Text:
        return text * 2

    @job()
    def letters(self, params: P) -> list[Text]:
        for letter in params.text:
            yield letter
            time.sleep(0.05)

    @job(program=True)
    def spell(self, params: P, ctx: Context) -> Text:
        once = ctx.once("mark", lambda: "!")
        spoken = ctx.gather(ctx.submit_all([
            {"job": "say", "params": {"text": letter, "seconds": params.seconds}, "key": f"letter {place}"}
            for place, letter in enumerate(params.text)
        ]))
        doubled = ctx.gather([ctx.submit("twice", inputs={"text": child}, key=f"twice {place}")
                              for place, child in enumerate(spoken)])
        return "".join(ctx.read(child.outputs[0]) for child in doubled) + once
"""
BROKEN_OFF = (OSError, requests.RequestException, socketio.exceptions.SocketIOError)  # the server died under a request


class Chaos:
    def __init__(self, server, seed=1):
        self.server, self.chance = server, random.Random(seed)
        self.patience = 1  # seconds for an answer: a client that waits does not notice the server's death
        self.requests = {}  # client_ref: (the submission, the texts that it has to give, or None if it was cancelled)
        self.jobs = {}  # client_ref: the job, once acknowledged
        self.held, self.cancelled, self.stopped, self.kills = set(), set(), set(), 0  # stopped: perhaps in time

    def run(self, rounds):
        """Figures: jobs, kills, and how many jobs were lost, doubled or wrong."""
        for _ in range(rounds):
            self.round()
        return self.verdict()

    def round(self):
        killer = threading.Timer(self.chance.uniform(0.05, 1), self.server.process.kill)
        killer.start()
        with contextlib.suppress(*BROKEN_OFF, AssertionError):
            with Wire(self.server, subscribe=False) as wire:
                self.settle(wire)
                while self.server.process.poll() is None:
                    self.act(wire)
                    time.sleep(self.chance.uniform(0, 0.08))
        killer.join()
        self.kills += 1
        self.server.restart()

    def settle(self, wire):
        """Ask again for what was not acknowledged: the same client_ref never makes a second job."""
        for ref in [ref for ref in self.requests if ref not in self.jobs]:
            self.submit(wire, ref)

    def act(self, wire):
        actions = [self.say, self.say, self.letters, self.flow, self.spell, self.upload, self.hold, self.release]
        self.chance.choice([*actions, self.cancel, self.stop, self.retry, self.kill_worker])(wire)

    def ask(self, wire, job, texts, **more):
        ref = f"ref {len(self.requests)}"
        self.requests[ref] = ({"job": job, "client_ref": ref, **more}, texts)
        self.submit(wire, ref)
        return ref

    def submit(self, wire, ref):
        request, _ = self.requests[ref]
        if "jobs" in request:
            self.jobs[ref] = wire.call("flow", {"jobs": request["jobs"]}, timeout=self.patience)["jobs"][-1]["id"]
        else:
            self.jobs[ref] = wire.call("submit", request, timeout=self.patience)["job"]["id"]

    def word(self):
        return "".join(self.chance.choice("abcdefgh") for _ in range(self.chance.randint(1, 4)))

    def say(self, wire):
        word = self.word()
        return self.ask(wire, "say", [word], params={"text": word, "seconds": self.chance.uniform(0, 0.4)})

    def letters(self, wire):
        word = self.word()
        self.ask(wire, "letters", list(word), params={"text": word})

    def spell(self, wire):
        word = self.word()
        texts = ["".join(letter * 2 for letter in word) + "!"]
        return self.ask(wire, "spell", texts, params={"text": word, "seconds": self.chance.uniform(0, 0.2)})

    def flow(self, wire):
        word, ref = self.word(), f"ref {len(self.requests)}"
        first = {"id": "a", "job": "say", "params": {"text": word, "seconds": 0.1}, "client_ref": f"{ref} a"}
        last = {"job": "twice", "inputs": {"text": {"job": "a"}}, "client_ref": ref}
        self.requests[ref] = ({"jobs": [first, last]}, [word * 2])
        self.submit(wire, ref)

    def upload(self, wire):
        word = self.word()
        artifact = wire.upload(word.encode(), kind="text")["artifact"]["id"]
        self.ask(wire, "twice", [word * 2], inputs={"text": artifact})

    def hold(self, wire):
        word = self.word()
        self.held.add(f"ref {len(self.requests)}")  # before it is asked: the answer may be lost
        self.ask(wire, "say", [word], params={"text": word}, hold=True)

    def release(self, wire):
        for ref in sorted(self.held & self.jobs.keys())[:1]:
            wire.call("release", {"id": self.jobs[ref]}, timeout=self.patience)
            self.held.discard(ref)

    def cancel(self, wire):
        word = self.word()
        ref = self.ask(wire, self.chance.choice(["say", "spell"]), None, params={"text": word, "seconds": 30})
        time.sleep(self.chance.uniform(0, 0.2))
        if wire.call("cancel", {"id": self.jobs[ref]}, timeout=self.patience)["ok"]:
            self.cancelled.add(ref)

    def stop(self, wire):
        """Cancel what may have ended before."""
        ref = self.chance.choice([self.say, self.spell])(wire)
        self.stopped.add(ref)
        time.sleep(self.chance.uniform(0, 0.3))
        wire.call("cancel", {"id": self.jobs[ref]}, timeout=self.patience)

    def retry(self, wire):
        ref = self.chance.choice([ref for ref in self.jobs if self.requests[ref][1]] or [None])
        again = f"again {self.chance.random()}"  # never used twice: its answer may be lost
        answer = wire.call("retry", {"id": self.jobs.get(ref, ""), "client_ref": again}, timeout=self.patience)
        if answer["ok"]:
            self.requests[again], self.jobs[again] = ({}, self.requests[ref][1]), answer["job"]["id"]

    def kill_worker(self, wire):
        for worker in wire.call("queue", timeout=self.patience)["workers"]:
            if self.chance.random() < 0.6:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker["pid"], signal.SIGKILL)
                self.kills += 1

    def verdict(self, seconds=120):
        self.patience = 30
        with Wire(self.server, since=0) as wire:
            self.settle(wire)
            for ref in self.held:
                wire.call("release", {"id": self.jobs[ref]})
            for ref, (_, texts) in self.requests.items():
                if texts is None and ref not in self.cancelled:  # the server died before it could be asked
                    wire.call("cancel", {"id": self.jobs[ref]})
            with contextlib.suppress(AssertionError):  # then some are lost
                wire.until(lambda: {body["id"] for body in self.ends(wire)} >= {*self.jobs.values()}, seconds)
            ends = self.ends(wire)
            ended = {body["id"]: body for body in ends}
            found = {ref: ended[job] for ref, job in self.jobs.items() if job in ended}
            wrong = {ref: (self.requests[ref], end) for ref, end in found.items() if not self.is_right(wire, ref, end)}
        counts = collections.Counter(body["id"] for body in ends)
        self.server.stop()
        finished = {job for (job,) in self.query("SELECT id FROM jobs WHERE finished IS NOT NULL")}
        return {
            "jobs": len(self.jobs), "kills": self.kills, "ended": len(counts),
            "lost": [ref for ref, job in self.jobs.items() if job not in finished or job not in ended],
            "doubled": [job for job, count in counts.items() if count != 1], "wrong": wrong, "store": self.store(),
        }  # fmt: skip

    def ends(self, wire):
        return [body for _, name, body in wire.state_events() if name == "job" and body["state"] in TERMINAL]

    def is_right(self, wire, ref, end):
        texts = self.requests[ref][1]
        if end["state"] == "cancelled":
            return texts is None or ref in self.stopped
        return end["state"] == "done" and [wire.text(output) for output in end["outputs"]] == texts

    def store(self):
        """What is wrong with the store itself; empty if nothing."""
        checks = {
            "the file": "SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check != 'ok'",
            "jobs that have not ended": "SELECT id, state FROM jobs WHERE finished IS NULL",
            "waits of nobody": "SELECT * FROM waits",
            "wrong counts": "SELECT * FROM lanes WHERE unfinished != 0",
            "children twice": "SELECT parent, key FROM jobs WHERE parent IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1",
            "results twice": "SELECT job, idx FROM artifacts WHERE job IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1",
            "programs with a wrong number of children": """SELECT id, params FROM jobs WHERE name = 'chaos.spell'
                AND state = 'done' AND (SELECT count(*) FROM jobs AS child WHERE child.parent = jobs.id)
                != 2 * length(params ->> 'text')""",
        }
        found = {what: self.query(sql) for what, sql in checks.items()}
        return {what: rows for what, rows in found.items() if rows}

    def query(self, sql):
        with contextlib.closing(sqlite3.connect(self.server.folder / "data" / "jobs.db")) as db:
            return db.execute(sql).fetchall()
