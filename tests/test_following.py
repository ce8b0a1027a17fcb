"""A client that follows gets everything once and in order, also after a cut; one that does not read costs nobody."""

import json
import random
import time
from pathlib import Path

import pytest
import websocket

from core.api import room_of
from core.errors import InvalidParams
from core.ops.config import load
from tests.serving import serve
from tests.wire import Wire

CHATTER = """
class P(Params):
    lines: int = param(1, ge=0, help="Lines of 60 kB in the log.")

class Chatter(Plugin):
    @job()
    def chatter(self, params: P, ctx: Context) -> Text:
        for number in range(params.lines):
            ctx.log("€" * 9_990)
            time.sleep(0.01)
        for step in range(20):
            ctx.progress(step, 20)
            time.sleep(0.06)
        return "said"
"""


class Sleeper:
    """A subscribed client that reads only when told to."""

    def __init__(self, server):
        address = server.url.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
        self.socket = websocket.create_connection(address, timeout=20, sockopt=[(1, 8, 65_536)])  # SO_RCVBUF
        self.socket.recv()
        self.socket.send("40" + json.dumps({"token": server.token}))
        self.socket.send('420["subscribe",{}]')
        while not self.socket.recv().startswith("430"):
            pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.socket.shutdown()

    def read(self):
        """The next event; None where the server has closed. Raises if nothing comes."""
        try:
            while frame := self.socket.recv():
                if frame == "2":
                    self.socket.send("3")
                if frame.startswith("42"):
                    return json.loads(frame[2:])
        except (websocket.WebSocketConnectionClosedException, OSError):
            pass
        return None


def memory(server):
    return int(Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]) * 4096


def logged(wire):
    return sum(name == "log" for name, _ in wire.received)


@pytest.mark.slow
def test_a_client_that_never_reads_is_cut_off_and_nobody_else_notices():
    with serve({"chatter": CHATTER}) as server, Wire(server) as wire:
        wire.ended(wire.submit("chatter", {"lines": 1}))
        before = memory(server)
        with Sleeper(server) as sleeper:
            wire.ended(wire.submit("chatter", {"lines": 1_000}), seconds=240)
            assert logged(wire) == 1_001  # 60 MB
            read = 0
            while event := sleeper.read():
                read += event[0] == "log"
            assert read < 300  # what the system has in its buffers; a client that is closed for its silence gets 800
            assert memory(server) - before < 120_000_000
        with Wire(server, since=0) as again:  # what it does when it is back
            again.until(lambda: len(again.state_events()) >= len(wire.state_events()))


@pytest.mark.slow
def test_a_client_that_reads_late_misses_progress_and_nothing_else():
    with serve({"chatter": CHATTER}) as server, Wire(server) as wire, Sleeper(server) as sleeper:
        job = wire.submit("chatter", {"lines": 130})
        wire.ended(job)
        seen, states = {"log": 0, "progress": 0}, []
        while "done" not in states:
            name, body = sleeper.read()
            seen[name] = seen.get(name, 0) + 1
            states += [body["state"]] if name == "job" else []
        assert seen["log"] == logged(wire) == 130 and states == ["queued", "running", "done"]
        assert seen["progress"] < sum(name == "progress" for name, _ in wire.received)


CUT_OFF = """
class Quick(Plugin):
    @job(concurrency=4)
    def quick(self) -> Text:
        return "x"
"""


def test_a_client_that_is_cut_off_again_and_again_sees_what_a_connected_one_saw():
    chance = random.Random(3)
    with serve({"quick": CUT_OFF}) as server, Wire(server) as wire:
        seen, since = [], wire.subscribed["seq"]
        for _ in range(12):
            for _ in range(chance.randint(0, 8)):
                wire.submit("quick", session=chance.choice("ab"))
            with Wire(server, since=since) as other:
                assert not other.subscribed["resync"]
                time.sleep(chance.uniform(0, 0.1))
            new = (
                other.state_events()
            )  # what it had got when it was cut off; a later one may have come before an earlier
            whole = [event for place, event in enumerate(new) if event[0] == since + 1 + place]
            seen, since = seen + whole, since + len(whole)
        wire.ended(wire.submit("quick"))
        with Wire(server, since=since) as other:
            everything = other.until(lambda: (found := seen + other.state_events())[-1][0] >= newest(wire) and found)
        assert everything == wire.until(lambda: [each for each in wire.state_events() if each[0] <= everything[-1][0]])
        numbers = [number for number, _, _ in everything]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def newest(wire):
    return wire.state_events()[-1][0]


def test_a_client_is_told_to_resync_exactly_when_events_it_missed_are_gone():
    with serve({"quick": CUT_OFF}, events_kept=100) as server, Wire(server) as wire:
        wire.ended(*[wire.submit("quick") for _ in range(60)])
        wire.until(lambda: gone(server, 1))
        oldest = next(number for number in range(1, 1_000) if not gone(server, number))
        assert newest(wire) - oldest < 200
        with Wire(server, since=0) as late, Wire(server, since=oldest) as just:
            assert late.subscribed["resync"] and not just.subscribed["resync"]
            just.until(lambda: len(just.state_events()) >= newest(wire) - oldest)
            assert just.state_events()[0][0] == oldest + 1


def gone(server, number):
    with Wire(server, since=number) as wire:
        return wire.subscribed["resync"]


def test_rooms_of_two_people_are_never_the_same():
    assert room_of("a", session="b c") != room_of("a b", session="c")
    for name in ("a b", "", "é", "a\n"):
        with pytest.raises(InvalidParams):
            load(None, {"tokens": {name: "a token that nobody would guess"}})
    assert load(None, {"tokens": {"Bot_2-x": "a token that nobody would guess"}}).tokens


def test_a_slow_client_whose_replay_is_overtaken_by_retention_is_told_to_resync():
    source = """
    class Facts(Plugin):
        @job()
        def facts(self) -> list[Text]:
            for _ in range(250):
                yield Result("x", {"infotext": "y" * 60_000})
    """
    with serve({"facts": source, "quick": CUT_OFF}, events_kept=400) as server, Wire(server) as wire:
        wire.ended(wire.submit("facts"))
        with Sleeper(server) as sleeper:
            sleeper.socket.send('421["subscribe",{"since":0}]')
            time.sleep(1)  # the server has sent what the sockets hold of the first 200
            wire.call("flow", {"jobs": [{"job": "quick", "hold": True}] * 500})
            wire.until(lambda: gone(server, 250))
            numbers = []
            while not (frame := sleeper.socket.recv()).startswith("431"):
                numbers += [json.loads(frame[2:])[1]["seq"]] if frame.startswith("42") else []
            answer = json.loads(frame[3:])[0]
        assert answer["resync"] or numbers == [*range(1, answer["seq"] + 1)]
        assert answer["resync"] and answer["seq"] >= newest(wire)
