"""Keeps workers on the nodes of a Ray cluster: as many of each plugin as its queue wants, each in an actor of its own.

They are attached as the devices ray/0, ray/1 ... and reach the server's door through this process. The actors
(core/remote/bridge.py) outlive it: the next one finds them, with the jobs that they run. How all that is goes into
data/remotes/ray/state.json."""

import asyncio
import contextlib
import itertools
import json
import os
import time
import urllib.error
import urllib.request
import uuid
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
import ray.util
from ray.exceptions import ActorUnavailableError, RayError, RayTaskError

from core.errors import Conflict, CoreError, Internal, NotFound, from_wire
from core.library import inside
from core.ops.bootstrap import InstallError
from core.remote import bridge, packing
from core.remote.bridge import AHEAD, PIECE, Bridge, Frame
from core.remote.ray_settings import RaySettings
from core.remote.records import RAY, Records, State, changed

LOOK_SECONDS = 0.5
ABOUT_SECONDS = 5  # between two looks at the nodes
ANSWER_SECONDS = 20  # after which an actor is given up that does not answer
END_SECONDS = 5
START_SECONDS = 120  # within which a worker has connected
IDLE_PATIENCE, BUSY_PATIENCE = 5, 30  # seconds that a plugin waits for the place of another one's idle, busy worker
LOG = "All that it says is in logs/remote-ray.log in the data folder."
CALLS = 8  # at once to one actor: what is to be said next does not wait for the answer to the last
PAUSES = (5, 15, 60, 300)  # seconds before a plugin is tried again whose worker could not be started


@dataclass(eq=False)
class Slot:
    """One worker, wherever Ray puts it. `state`: placing, preparing, working; leaving when its jobs have ended."""

    number: int
    plugin: str
    actor: Any = None
    state: str = "placing"
    needs: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)  # as its actor says
    since: float = field(default_factory=time.monotonic)  # of `state`
    used: float = field(default_factory=time.monotonic)  # when it had a job
    answered: float = field(default_factory=time.monotonic)  # when its actor did
    seen: float = field(default_factory=time.monotonic)  # when it was connected to the server
    busy: bool = False
    ready: bool = False
    has_begun: bool = False  # its worker has got as far as to connect
    step: str = ""
    session: str = ""
    frames: list[Frame] = field(default_factory=list)  # for its worker
    taken: int = 0  # bytes from its worker that have been handed on
    news: asyncio.Event = field(default_factory=asyncio.Event)
    connections: dict[int, asyncio.StreamWriter] = field(default_factory=dict)
    tasks: set[asyncio.Task] = field(default_factory=set)

    @property
    def device(self) -> str:
        return f"{RAY}/{self.number}"

    def becomes(self, state: str) -> None:
        self.state, self.since = state, time.monotonic()

    def tell(self, frame: Frame) -> None:
        self.frames.append(frame)
        self.news.set()


class Superseded(Exception):
    """Another one of us looks after the actors now."""


class Slots:
    """`settings` are those of a link. This process has joined the cluster."""

    def __init__(self, settings: dict[str, Any]):
        self._settings, self._config = settings, settings["config"]
        self._ray = RaySettings.model_validate(self._config["ray"])
        self._records, self._state = Records(Path(settings["data"])), State()
        self._slots: dict[int, Slot] = {}
        self._waits: dict[str, float] = {}  # plugins with jobs and without a worker, since when
        self._failures: dict[str, tuple[int, float, CoreError]] = {}  # by plugin: in a row, when to try again, why
        self._packed: dict[str, tuple[str, Any]] = {}  # by plugin: the hash of its code, which is in Ray's store
        self._looked_around = 0.0
        self._burying: set[asyncio.Task] = set()

    async def run(self) -> None:
        ray.cloudpickle.register_pickle_by_value(bridge)
        await self._adopt()
        while True:
            try:
                self._decide(await self._ask("GET", "/devices"))
                await self._look_around()
                self._tell_state()
            except (CoreError, OSError, RayError) as error:
                print(f"{type(error).__name__}: {error}", flush=True)
                told = error if isinstance(error, CoreError) else Internal(f"the Ray cluster: {error}")
                self._note(state="lost", error=told.wire())
            await asyncio.sleep(LOOK_SECONDS)

    async def _ask(self, method: str, path: str, **body: Any) -> Any:
        """Of the server. Raises CoreError or OSError."""
        return await asyncio.to_thread(ask, self._settings, method, path, body)

    def _decide(self, told: dict[str, Any]) -> None:
        """Who is to begin and who to leave, by what the server says of its queue and workers."""
        queued, moment = told["queued"], time.monotonic()
        workers = {each["device"]: each for device in told["devices"] for each in device["workers"]}
        for slot in list(self._slots.values()):
            said = workers.get(slot.device, {})
            slot.ready = bool(said.get("ready")) and said["plugin"] == slot.plugin
            slot.busy = bool(said.get("jobs"))
            if slot.ready or slot.state != "working":
                slot.seen = moment
            if slot.busy or not slot.ready:
                slot.used = moment
            if slot.state == "leaving" and not said and moment - slot.since > 2 * LOOK_SECONDS:
                self._end(slot, "elsewhere")
            elif slot.state == "working" and moment - slot.seen > START_SECONDS:
                self._failed(slot.plugin, Internal(f"the worker of {slot.plugin} on {slot.device} has not connected."))
                self._end(slot, "elsewhere")
            elif slot.state in ("placing", "preparing") and slot.plugin not in queued:
                self._end(slot, "elsewhere")  # it came to be of no use
            elif slot.state == "working" and slot.plugin not in queued:
                if moment - slot.used > self._ray.idle_seconds:
                    self._leave(slot)
        self._failures = {name: each for name, each in self._failures.items() if name in queued or each[1] > moment}
        self._begin(queued)
        self._make_room(queued)

    def _begin(self, queued: dict[str, int]) -> None:
        """A worker for each job that no worker takes, as far as there may be more; plugins with few come first."""
        wanted = {}
        for plugin, jobs in queued.items():
            mine = [slot for slot in self._slots.values() if slot.plugin == plugin and slot.state != "leaving"]
            may = self._failures.get(plugin, (0, 0, None))[1] <= time.monotonic()
            if may and (more := jobs - sum(not slot.ready for slot in mine)) > 0:
                wanted[plugin] = (len(mine), more)
        while wanted and len(self._slots) < self._ray.max_workers:
            plugin = min(wanted, key=lambda each: wanted[each][0])
            have, more = wanted.pop(plugin)
            if more > 1:
                wanted[plugin] = have + 1, more - 1
            number = next(number for number in range(self._ray.max_workers) if number not in self._slots)
            self._serve(Slot(number, plugin))

    def _make_room(self, queued: dict[str, int]) -> None:
        """Where plugins wait for a place, of others the worker that is idle for longest leaves; if none is, one that is
        at work does so after its job."""
        working = [slot for slot in self._slots.values() if slot.state == "working"]
        moment = time.monotonic()
        have = {slot.plugin for slot in self._slots.values() if slot.state in ("working", "preparing")}
        for slot in self._slots.values():  # it will have a place in a moment, or never
            if slot.state == "placing" and (moment - slot.since < IDLE_PATIENCE or not self._has_place(slot)):
                have.add(slot.plugin)
        self._waits = {plugin: self._waits.get(plugin, moment) for plugin in queued if plugin not in have}
        waited = max((moment - since for since in self._waits.values()), default=0)
        if waited < IDLE_PATIENCE or any(slot.state == "leaving" for slot in self._slots.values()):
            return
        idle = [slot for slot in working if not slot.busy and slot.plugin not in queued]
        busy = [slot for slot in working if slot.busy] if waited > BUSY_PATIENCE else []
        if idle or busy:
            self._leave(min(idle, key=lambda slot: slot.used) if idle else min(busy, key=lambda slot: slot.since))

    def _leave(self, slot: Slot) -> None:
        slot.becomes("leaving")
        self._do(slot, self._detach(slot, "finish"))

    async def _detach(self, slot: Slot, jobs: str) -> None:
        with contextlib.suppress(NotFound):
            await self._ask("POST", "/workers/detach", plugin=slot.plugin, device=slot.device, jobs=jobs)

    def _do(self, slot: Slot, what: Any) -> None:
        """Beside the rest, until the slot ends."""
        task = asyncio.ensure_future(what)
        slot.tasks.add(task)
        task.add_done_callback(slot.tasks.discard)

    def _serve(self, slot: Slot) -> None:
        self._slots[slot.number] = slot
        self._do(slot, self._live(slot))

    async def _live(self, slot: Slot) -> None:
        """A slot from its beginning to its end."""
        jobs = "elsewhere"
        try:
            if not slot.actor:
                await self._place(slot, await self._attach(slot))
            jobs = await self._carry_on(slot)
            if not slot.has_begun and slot.state != "leaving":
                text = f"the worker of {slot.plugin} on {slot.about['node']} ends at its start."
                self._failed(slot.plugin, Internal(text, hint=LOG))
        except Conflict as error:  # the plugin is not ready, or runs in a sandbox, which there is here only
            print(f"{slot.plugin}: {error}", flush=True)
            self._failures[slot.plugin] = 0, time.monotonic() + PAUSES[0], None
        except RayTaskError as error:
            text = f"{slot.plugin} cannot be started on {slot.about['node']}: {error.cause}"
            self._failed(slot.plugin, Internal(text, hint=LOG))
        except (RayError, TimeoutError, asyncio.TimeoutError) as error:
            text = str(error).strip().partition("\n")[0]
            print(f"{slot.device} {slot.plugin} is lost: {type(error).__name__} {text}", flush=True)
        except (CoreError, OSError, InstallError, ValueError) as error:  # the last: needs that Ray does not take
            self._failed(slot.plugin, error if isinstance(error, CoreError) else Internal(f"{slot.plugin}: {error}"))
        except Superseded:
            print("Another process looks after the workers of this server.", flush=True)
            os._exit(0)
        self._end(slot, jobs)

    def _failed(self, plugin: str, error: CoreError) -> None:
        print(f"{plugin}: {error}", flush=True)
        failures = self._failures.get(plugin, (0,))[0]
        self._failures[plugin] = failures + 1, time.monotonic() + PAUSES[min(failures, len(PAUSES) - 1)], error

    async def _attach(self, slot: Slot) -> dict[str, Any]:
        """The settings of its worker."""
        where = {"plugin": slot.plugin, "device": slot.device}
        try:
            return (await self._ask("POST", "/workers", **where))["settings"]
        except Conflict:
            await self._detach(slot, "elsewhere")  # one that was there before, and is not any more
            return (await self._ask("POST", "/workers", **where))["settings"]

    async def _place(self, slot: Slot, settings: dict[str, Any]) -> None:
        """Have Ray start its actor, wherever there is room, and tell that what to run."""
        code, packed, shipped = await asyncio.to_thread(
            packing.pack, Path(settings["folder"]), settings["shipped_models"]
        )
        if self._packed.get(slot.plugin, ("",))[0] != code:
            self._packed[slot.plugin] = code, ray.put(packed)
        _, packed = self._packed[slot.plugin]
        needs = self._ray.needs(slot.plugin)
        cards = needs.num_gpus
        if cards is None:
            cards = float(ray.cluster_resources().get("GPU", 0) > 0)
        backend = self._config["torch_backend"]
        about = {"number": slot.number, "plugin": slot.plugin, "code": code, "torch_backend": backend}
        about["told"] = "cpu" if not cards else "xpu:0" if backend == "xpu" else "cuda:0"
        slot.needs = {"CPU": needs.num_cpus, "GPU": cards, "memory": needs.memory_gb * 1e9, **needs.resources}
        slot.needs = {name: amount for name, amount in slot.needs.items() if amount}
        slot.actor = (
            ray.remote(Bridge)
            .options(
                name=f"{slot.device} {uuid.uuid4().hex}", lifetime="detached", max_restarts=0, max_concurrency=100,
                num_cpus=needs.num_cpus, num_gpus=cards, memory=int(needs.memory_gb * 1e9) or None,
                resources=needs.resources, scheduling_strategy="SPREAD",
            )
            .remote(about, self._ray.cache, self._config["remote_grace_seconds"])
        )  # fmt: skip
        slot.about = await slot.actor.about.remote()  # as soon as it has a place
        slot.becomes("preparing")
        print(f"{slot.device} {slot.plugin} is on {slot.about['node']}", flush=True)
        if not slot.about["has_code"]:
            await slot.actor.unpack.remote(packed)
        name, models = Path(settings["folder"]).name, self._ray.models or settings["models"]
        changes = {"folder": f"CODE/plugins/{name}", "shipped_models": shipped, "models": models}
        self._do(slot, self._start(slot, settings | changes))

    async def _start(self, slot: Slot, settings: dict[str, Any]) -> None:
        """What goes wrong is told by `_carry`."""
        try:
            await slot.actor.start.remote(settings)
            slot.step = ""
            slot.becomes("working")
            await self._look_at(slot)
        except RayError as error:
            slot.tell(("failed", 0, error))

    async def _carry_on(self, slot: Slot) -> str:
        """As `_carry`, also when its node cannot be reached for a while."""
        while True:
            try:
                return await self._carry(slot)
            except ActorUnavailableError:
                if slot.state == "preparing" or time.monotonic() - slot.answered > ANSWER_SECONDS:
                    raise
            await asyncio.sleep(LOOK_SECONDS)

    async def _carry(self, slot: Slot) -> str:
        """Bytes and words to and from its worker, until that ends; returns what is to become of its jobs. Raises
        RayError or TimeoutError if it is lost, Superseded, or RayTaskError if it cannot be started."""
        slot.session, slot.taken = uuid.uuid4().hex, 0
        slot.frames = [frame for frame in slot.frames if frame[0] == "failed"]
        while slot.connections:  # what was on the way on them may be lost
            slot.connections.popitem()[1].close()
        feeding = asyncio.ensure_future(self._feed(slot))
        said = slot.actor.frames.options(num_returns="streaming").remote(slot.session)
        hearing = asyncio.ensure_future(self._hear(slot, said))
        try:
            done, _ = await asyncio.wait({feeding, hearing}, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            feeding.cancel()
            hearing.cancel()

    async def _feed(self, slot: Slot) -> str:
        calls: deque[asyncio.Future] = deque()
        try:
            for number in itertools.count():
                with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                    await asyncio.wait_for(slot.news.wait(), ABOUT_SECONDS)
                slot.news.clear()
                frames, slot.frames = slot.frames, []
                taken, slot.taken = slot.taken, 0
                for what, _, error in frames:
                    if what == "failed":
                        raise error
                fed = slot.actor.feed.remote(slot.session, number, frames, taken)
                calls.append(asyncio.ensure_future(asyncio.wait_for(fed, ANSWER_SECONDS)))
                while calls and (len(calls) > CALLS or calls[0].done()):
                    if not await calls.popleft():
                        raise Superseded
                    slot.answered = time.monotonic()
        finally:
            for call in calls:
                call.cancel()

    async def _hear(self, slot: Slot, said: Any) -> str:
        async for reference in said:
            for what, number, data in await reference:
                if what == "ended":
                    print(f"{slot.device} {slot.plugin} has ended: {data}", flush=True)
                    return "blame"
                if what == "say":
                    slot.step = data.rpartition("\n")[2][:200]
                    print("\n".join(f"{slot.device} {slot.plugin}: {line}" for line in data.splitlines()), flush=True)
                elif what == "open":
                    await self._open(slot, number)
                elif writer := slot.connections.get(number):
                    await self._hand_on(slot, number, writer, data)
                slot.taken += len(data or "")
                if slot.taken > AHEAD / 4:
                    slot.news.set()
        raise Superseded  # only a new session ends an old one

    async def _open(self, slot: Slot, number: int) -> None:
        """A connection to the server's door for one that its worker has made."""
        try:
            with inside.short(Path(self._settings["door"])) as address:
                reader, writer = await asyncio.open_unix_connection(address)
        except OSError as error:
            print(f"{self._settings['door']}: {error}", flush=True)
            return slot.tell(("close", number, None))
        slot.connections[number], slot.has_begun = writer, True
        self._failures.pop(slot.plugin, None)
        self._do(slot, self._read(slot, number, reader))

    async def _read(self, slot: Slot, number: int, reader: asyncio.StreamReader) -> None:
        """What the server says on one connection."""
        with contextlib.suppress(OSError):
            while data := await reader.read(PIECE):
                slot.tell(("data", number, data))
                while sum(len(piece) for what, _, piece in slot.frames if what == "data") > AHEAD:
                    await asyncio.sleep(0.01)
        if writer := slot.connections.pop(number, None):
            writer.close()
            slot.tell(("close", number, None))

    async def _hand_on(self, slot: Slot, number: int, writer: asyncio.StreamWriter, data: bytes | None) -> None:
        if data is None:
            slot.connections.pop(number).close()
            return
        with contextlib.suppress(OSError):
            writer.write(data)
            await writer.drain()

    def _end(self, slot: Slot, jobs: str) -> None:
        """Its number is free, and its jobs become what `jobs` says (as in `detach`)."""
        if self._slots.get(slot.number) is not slot or slot.state == "ended":
            return
        slot.becomes("ended")
        for task in slot.tasks:
            task.cancel()
        for writer in slot.connections.values():
            writer.close()
        task = asyncio.ensure_future(self._bury(slot, jobs))
        self._burying.add(task)
        task.add_done_callback(self._burying.discard)

    async def _bury(self, slot: Slot, jobs: str) -> None:
        try:
            await self._detach(slot, jobs)
        except (CoreError, OSError) as error:
            print(f"{slot.device}: {error}", flush=True)
        if slot.actor:
            if slot.about:  # it has a place
                with contextlib.suppress(RayError, TimeoutError, asyncio.TimeoutError):
                    await asyncio.wait_for(slot.actor.end.remote(), END_SECONDS)
            ray.kill(slot.actor)
        del self._slots[slot.number]

    async def _adopt(self) -> None:
        """Find the actors that the last one of us has left, and give up what else it had."""
        actors = [ray.get_actor(name) for name in await asyncio.to_thread(ray.util.list_named_actors)]
        asked = [asyncio.wait_for(actor.about.remote(), END_SECONDS) for actor in actors]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for actor, answer in zip(actors, answers, strict=True):
            about = answer if isinstance(answer, dict) else {"running": False, "number": -1}
            if not about["running"] or about["number"] in self._slots:
                ray.kill(actor)
                continue
            print(f"{RAY}/{about['number']} {about['plugin']} goes on on {about['node']}", flush=True)
            self._serve(Slot(about["number"], about["plugin"], actor, "working", about=about, has_begun=True))
        told = await self._ask("GET", "/devices")
        workers = [each for device in told["devices"] for each in device["workers"]]
        for each in workers:
            place, _, number = each["device"].partition("/")
            if place == RAY and int(number) not in self._slots:
                await self._detach(Slot(int(number), each["plugin"]), "elsewhere")

    async def _look_around(self) -> None:
        """How the nodes are; who looks keeps the actors from ending."""
        if time.monotonic() - self._looked_around < ABOUT_SECONDS:
            return
        self._looked_around = time.monotonic()
        for slot in self._slots.values():
            if slot.state == "working":
                self._do(slot, self._look_at(slot))

    async def _look_at(self, slot: Slot) -> None:
        with contextlib.suppress(RayError, TimeoutError, asyncio.TimeoutError):  # `_carry` hears of that, too
            slot.about = await asyncio.wait_for(slot.actor.about.remote(), ANSWER_SECONDS)

    def _tell_state(self) -> None:
        placed = {slot.number: slot for slot in self._slots.values() if slot.about}
        devices = {
            str(number): {
                "title": f"{slot.about['node']}: {slot.about.get('title') or slot.about['told']}",
                "free_bytes": slot.about.get("free_bytes"), "total_bytes": slot.about.get("total_bytes"),
            }
            for number, slot in sorted(placed.items())
        }  # fmt: skip
        workers = [
            {"plugin": slot.plugin, "device": str(number), "pid": slot.about["pid"], "node": slot.about["node"]}
            for number, slot in sorted(placed.items())
            if slot.state in ("working", "leaving")
        ]
        waiting = sorted({slot.plugin for slot in self._slots.values() if slot.state == "placing"})
        steps = [f"waiting for a place in the cluster: {', '.join(waiting)}"] if waiting else []
        preparing = [slot for slot in placed.values() if slot.state == "preparing"]
        steps += [f"{slot.plugin} on {slot.device}: {slot.step.rstrip('.')}" for slot in preparing]
        error = self._impossible() or next((error for *_, error in self._failures.values() if error), None)
        self._note(
            state="connected", devices=devices, workers=workers, step="; ".join(steps), error=error and error.wire()
        )

    def _has_place(self, slot: Slot) -> bool:
        """Whether some node of the cluster, as it is, could ever have it."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return any(all(node.get(name, 0) >= most for name, most in slot.needs.items()) for node in nodes)

    def _impossible(self) -> CoreError | None:
        """Why some worker never finds a place."""
        waiting = [slot for slot in self._slots.values() if slot.state == "placing" and slot.needs]
        for slot in waiting:
            if time.monotonic() - slot.since > IDLE_PATIENCE and not self._has_place(slot):
                needs = ", ".join(f"{name} {amount:g}" for name, amount in slot.needs.items())
                text = f"no node of the cluster has what a worker of {slot.plugin} takes: {needs}."
                return Conflict(text, hint="Add such a node, or let it take less: [ray] in config.toml.")
        return None

    def _note(self, **columns: Any) -> None:
        new = changed(self._state, **columns)
        moment = time.time()
        if new != self._state or moment - new.seen > ABOUT_SECONDS:
            seen = moment if new.state == "connected" else new.seen
            self._state = new.model_copy(update={"seen": seen})
            self._records.write_state(RAY, self._state)


def ask(settings: dict[str, Any], method: str, path: str, body: dict[str, Any]) -> Any:
    """The server's answer. Raises the CoreError that it is, or OSError."""
    headers = {"Authorization": f"Bearer {settings['token']}", "Content-Type": "application/json"}
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(f"{settings['url']}/api/v1{path}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise from_wire(json.load(error)["error"]) from error
