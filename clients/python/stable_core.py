"""Uses a stable-core server from Python: submits jobs, follows them through broken connections, fetches results.

    with Client() as client:
        client.run("txt2img", prompt="a red circle on a blue background")[0].save("circle.png")

    async with AsyncClient() as client:
        await (await client.run("txt2img", prompt="a red circle on a blue background"))[0].save("circle.png")

This file works alone; it needs python-socketio[client] and requests. Everything in it may be used from many threads,
but what begins with Async."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import hashlib
import hmac
import inspect
import io
import json
import logging
import math
import os
import queue
import random
import re
import sys
import threading
import time
import uuid
import weakref
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict, TypeVar
from urllib.parse import SplitResult, parse_qs, urlsplit

import engineio
import requests
import socketio

if TYPE_CHECKING:
    import PIL.Image
    from typing_extensions import NotRequired

log = logging.getLogger("stable_core")
log.addHandler(logging.NullHandler())
ARTIFACT_ID = re.compile(r"[0-7][0-9a-hjkmnp-tv-z]{25}(\.\d+)?")
LOCAL = ("localhost", "127.0.0.1", "::1")
TERMINAL = ("done", "failed", "cancelled")
UNTOLD = ("children", "children_ended", "position", "eta_seconds", "waits_for")  # by events; as asked for last
ANSWER_SECONDS = 30  # without an answer, a call is sent again
SILENCE_SECONDS = 15  # without an event, a wait asks how its job is
HTTP_SECONDS = (10, 300)  # for a connection or a piece of a body; for an answer
TICK_SECONDS = 0.5  # how long Ctrl-C may take where Python cannot interrupt a wait
CHUNK_BYTES = 65_536
RESUMED_BYTES = 1_000_000  # a larger upload goes on where it was cut; a smaller one is quicker sent again
OFFSET_BYTES = "application/offset+octet-stream"
BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
THREADS = 32  # calls of an AsyncClient at the same time; waits for jobs need none
T = TypeVar("T")
SUFFIXES = {"image": ".png", "mask": ".png", "text": ".txt", "json": ".json", "audio": ".wav", "video": ".mp4"}


class ServerError(Exception):
    """What went wrong, as the server tells it: branch on the class or on `code`; `message` and `hint` are for people.

    `field` is the first bad field, `errors` lists all of them as {"field", "message"}, `job` is the job's id."""

    code = "error"

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        field: str | None = None,
        hint: str | None = None,
        job: str | None = None,
        errors: list[BadField] | None = None,
    ):
        super().__init__(message)
        self.message, self.code = message, code or self.code
        self.field, self.hint, self.job, self.errors = field, hint, job, errors or []

    def __init_subclass__(cls) -> None:
        cls.code = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()

    @staticmethod
    def from_wire(body: Problem) -> ServerError:
        kinds = {kind.code: kind for kind in ServerError.__subclasses__()}
        code, field, hint, job = body["code"], body.get("field"), body.get("hint"), body.get("job")
        kind = kinds.get(code, ServerError)
        return kind(body["message"], code=code, field=field, hint=hint, job=job, errors=body.get("errors"))


class InvalidParams(ServerError): ...


class UnknownJob(ServerError): ...


class UnknownArtifact(ServerError): ...


class TypeMismatch(ServerError): ...


class BadImage(ServerError): ...


class TooLarge(ServerError): ...


class ModelNotFound(ServerError): ...


class DependencyFailed(ServerError): ...


class QueueFull(ServerError): ...


class Unauthorized(ServerError): ...


class Forbidden(ServerError): ...


class NotFound(ServerError): ...


class Conflict(ServerError): ...


class PluginError(ServerError): ...


class OutOfMemory(ServerError): ...


class WorkerDied(ServerError): ...


class Timeout(ServerError): ...


class Cancelled(ServerError): ...


class Internal(ServerError): ...


class Unreachable(ServerError):
    """No server answers: the one error here that no server sends."""


class Event(NamedTuple):
    """`type`: job (a new state), artifact (a result), progress, preview, log. `data`: what the server sent with it: an
    ArtifactRecord, a Progress, a preview's `image` (JPEG), a log's `text`."""

    type: str
    data: Any


class Artifact:
    """A result or an upload. Give it to another job as an input, or fetch its content."""

    def __init__(self, client: Client, id: str, record: ArtifactRecord | None = None):
        self._client, self.id, self._record = client, id, record

    def __repr__(self) -> str:
        return f"<Artifact {self.id}>"

    @property
    def record(self) -> ArtifactRecord:
        """What the server keeps about it: kind, mime, size_bytes, name, job, session, facts (seed, width ...)."""
        if self._record is None:
            self._record = self._client.call("artifact", {"id": self.id})["artifact"]
        return self._record

    @property
    def kind(self) -> Kind:
        return self.record["kind"]

    def bytes(self, format: Literal["jpeg", "webp"] | None = None, quality: int = 80) -> bytes:
        """The file's content: PNG for an image of a job, what was uploaded for an upload. A picture can also be had in
        another `format`: "jpeg" or "webp", in a `quality` from 1 to 100."""
        wanted = {"format": format, "quality": quality} if format else None
        return self._client._fetch(f"/artifacts/{self.id}", wanted)

    def link(self, seconds: float = 3600) -> str:
        """An address that opens without the token, in any browser, for so long; others' artifacts it does not open."""
        expires = int(time.time() + seconds)
        message = f"artifact {self.id} {expires}".encode()
        signature = hmac.new(self._client._token.encode(), message, hashlib.sha256).hexdigest()
        return f"{self._client.url}/artifacts/{self.id}?expires={expires}&signature={signature}"

    def image(self) -> PIL.Image.Image:
        """A PIL image; needs Pillow."""
        import PIL.Image

        return PIL.Image.open(io.BytesIO(self.bytes()))

    def text(self) -> str:
        return self.bytes().decode("utf-8")

    def save(self, path: str | os.PathLike[str] = ".") -> Path:
        """Write the file, or one named after it in the folder `path`, with its id if another is called the same;
        returns where it is."""
        path, content = Path(path), self.bytes()
        if path.is_dir():  # a name from elsewhere must not lead out of the folder
            name, suffix = Path(self.record.get("name") or "").name, SUFFIXES.get(self.kind, "")
            name += suffix if name and self.record.get("job") else ""  # what a program has named; an upload has its own
            path /= name if name.strip(". ") else f"{self.id}{suffix}"
            if path.is_file() and path.read_bytes() != content:
                path = path.with_name(f"{path.stem} {self.id}{path.suffix}")
        part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
        part.write_bytes(content)
        part.replace(path)
        return path


class Job:
    """A submitted job. Its `state` and `record` follow the server's while the client is open."""

    def __init__(self, client: Client):
        self._client, self._lock = client, threading.RLock()
        self._listeners: list[Callable[[Event | ServerError], None]] = []
        self._artifacts: dict[str, ArtifactRecord] = {}
        self.record: JobRecord = {}  # type: ignore[typeddict-item]  # until the submission is answered

    def __repr__(self) -> str:
        return f"<Job {self.id} {self.record.get('name')} {self.state}>"

    @property
    def id(self) -> str:
        return self.record["id"]

    @property
    def state(self) -> State:
        """held, waiting, queued, running, done, failed or cancelled."""
        return self.record["state"]

    @property
    def error(self) -> ServerError | None:
        """Why it failed or was cancelled."""
        return ServerError.from_wire(self.record["error"]) if self.record.get("error") else None

    @property
    def outputs(self) -> list[Artifact]:
        """The results in order; while it runs, those that are there already."""
        if self.state in TERMINAL and "outputs" not in self.record:
            self.refresh()
        ids = self.record["outputs"] if self.state in TERMINAL else list(self._artifacts)
        return [Artifact(self._client, id, self._artifacts.get(id)) for id in ids]

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """What happens to this job, beginning with its present state and ending with its last.

        Goes on through broken connections and restarts of the server; raises TimeoutError after `timeout` seconds."""
        inbox: queue.SimpleQueue[Event | ServerError | None] = queue.SimpleQueue()
        watch = _Watch(self, timeout)
        with self._listen(inbox.put):
            while not watch.over:
                try:
                    heard = inbox.get(timeout=min(TICK_SECONDS, watch.seconds))
                except queue.Empty:
                    heard = None
                if event := watch.take(heard):
                    yield event
                if watch.is_silent():
                    self._reconcile()

    def wait(
        self,
        on_progress: Callable[[Progress], object] | None = None,
        on_preview: Callable[[bytes], object] | None = None,
        timeout: float | None = None,
    ) -> list[Artifact]:
        """The outputs, once it is done; raises what made it fail, Cancelled, or TimeoutError.

        `on_progress` gets {"step", "total", "phase"}, `on_preview` the bytes of a JPEG."""
        for event in self.events(timeout):
            if event.type == "progress" and on_progress:
                on_progress(event.data)
            elif event.type == "preview" and on_preview:
                on_preview(event.data["image"])
        self._raise_unless_done()
        return self.outputs

    def cancel(self, keep_partial: bool = False) -> None:
        """Stop it; no error if it is cancelled already. With `keep_partial`, the outputs so far stay."""
        try:
            self._client.call("cancel", {"id": self.id, "keep_partial": keep_partial})
        except Conflict:
            if self.refresh().state != "cancelled":
                raise

    def skip(self) -> None:
        """Leave the rest of the picture that it is at, and go on with the next. Raises Conflict if it does not run."""
        self._client.call("skip", {"id": self.id}, repeat=False)

    def retry(
        self, params: dict[str, Any] | None = None, inputs: dict[str, Any] | None = None, *, extend: bool = False
    ) -> Job:
        """The same again, as a new job; with `params` and `inputs` over those that it had. With `extend`, a program
        keeps those of its jobs that are done and still wanted; one that has not ended goes on as the same job."""
        client, job = self._client, Job(self._client)
        message: dict[str, Any] = {"id": self.id, "client_ref": uuid.uuid4().hex, "params": params or {}}
        message["inputs"] = client._inputs(self.record["name"], inputs)
        message |= {"extend": True} if extend else {}
        client._jobs[message["client_ref"]] = job  # its first event may come before the answer
        return client._attach(client.call("retry", message)["job"], job)

    def refresh(self) -> Job:
        """Ask the server how it is now."""
        self._learn(self._client.call("job", {"id": self.id})["job"])
        return self

    def _raise_unless_done(self) -> None:
        if self.state != "done":
            raise self.error or Internal(f"job {self.id} is {self.state} without a reason.")

    @contextlib.contextmanager
    def _listen(self, tell: Callable[[Event | ServerError], None]) -> Iterator[None]:
        """Tell what is known and then, inside the block, what happens; an error is the last that there is to tell."""
        with self._lock:
            known = [Event("artifact", record) for record in self._artifacts.values()]
            known.insert(len(known) if self.state in TERMINAL else 0, Event("job", dict(self.record)))
            for event in known:
                tell(event)
            self._listeners.append(tell)
        if self._client._fatal:
            tell(self._client._fatal)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(tell)

    def _reconcile(self) -> None:
        """Catch up on what events did not tell. A job that the server does not know any more has failed."""
        try:
            if self._client.online and self.record:
                self.refresh()
        except Unreachable:
            pass  # asked again when the connection is back
        except ServerError as error:
            self._tell(error)

    def _receive(self, type: str, body: Any) -> None:
        with self._lock:
            if type == "job":
                return self._learn(body)
            if type == "artifact":
                self._artifacts[body["id"]] = body
            self._tell(Event(type, body))

    def _learn(self, record: JobRecord, newest: bool = True) -> None:
        """Take over a record. Not the `newest`, or after the end: what events have told meanwhile counts more."""
        with self._lock:
            known = self.record.get("state")
            newest = newest and known not in TERMINAL
            told: Any = {key: value for key, value in self.record.items() if key not in UNTOLD}
            self.record = self.record | record if newest else record | told
            if self.state != known:
                self._tell(Event("job", dict(self.record)))

    def _tell(self, event: Event | ServerError) -> None:
        with self._lock:
            for tell in self._listeners:
                tell(event)


class _Watch:
    """What whoever waits for a job has to think of besides its events: when to give up, and when to ask."""

    def __init__(self, job: Job, timeout: float | None):
        self._job, self._timeout, self.over = job, timeout, False
        self._start = self._heard = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long there is nothing to do but to wait."""
        last = min(self._heard + SILENCE_SECONDS, self._start + (math.inf if self._timeout is None else self._timeout))
        return max(0, last - time.monotonic())

    def take(self, event: Event | ServerError | None) -> Event | None:
        """What there is to tell. Raises TimeoutError, and the error that nothing comes after."""
        if isinstance(event, ServerError):
            raise event
        now = time.monotonic()
        if event:
            self._heard = now
            self.over = event.type == "job" and event.data["state"] in TERMINAL
        late = self._timeout is not None and now >= self._start + self._timeout
        if late and (event is None or event.type not in ("job", "artifact")):  # what may be the end counts more
            raise TimeoutError(f"job {self._job.id} is {self._job.state} after {self._timeout:g} s, and goes on.")
        return event

    def is_silent(self) -> bool:
        """Whether it is time to ask; then it is not for a while."""
        now = time.monotonic()
        if now < self._heard + SILENCE_SECONDS:
            return False
        self._heard = now
        return True


class Client:
    """A connection to a server, made now and again whenever it breaks. `with Client() as client:` closes it.

    `url` (or STABLE_CORE_URL, else http://127.0.0.1:7777) may hold ?token=, as the server prints it. `token` (or
    STABLE_CORE_TOKEN) is found in this user's settings where the server is on this machine. `session` is the one
    that jobs and uploads go to. A call waits `patience` seconds for a lost server before it raises Unreachable; a
    job's `wait` and `events` wait for as long as it takes."""

    limits: Limits

    def __init__(
        self, url: str | None = None, token: str | None = None, *, session: str = "default", patience: float = 60
    ):
        parts = urlsplit(url or os.environ.get("STABLE_CORE_URL") or "http://127.0.0.1:7777")
        self.url, self.session, self.patience = f"{parts.scheme}://{parts.netloc}", session, patience
        self._token = token or find_token(parts)
        self._requests = requests.Session()
        self._requests.trust_env = parts.hostname not in LOCAL  # no proxy is of use on the way to oneself
        self._requests.headers["Authorization"] = f"Bearer {self._token}"
        self._lock, self._online, self._closed = threading.Lock(), threading.Event(), threading.Event()
        self._socket: Any = None  # the _Socket of the connection that there is
        self._pending: set[queue.SimpleQueue[dict[str, Any] | None]] = set()
        self._fatal: ServerError | None = None
        self._seq: int | None = None  # of the newest event heard: where a replay begins
        self._replayed: list[int] = []  # of the events heard while a connection catches up
        self._jobs: weakref.WeakValueDictionary[str, Job] = weakref.WeakValueDictionary()  # by id and client_ref
        self._listeners: list[Callable[[str, dict[str, Any]], object]] = []
        self._plugins: list[PluginRecord] | None = None
        self._connect()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def online(self) -> bool:
        return self._online.is_set() and not self._fatal

    def close(self) -> None:
        """Leave. Jobs go on without us; waits for them raise Unreachable."""
        self._closed.set()
        self._fail(Unreachable("the client was closed."))
        if socket := self._socket:
            socket.disconnect()
        self._requests.close()

    def plugins(self) -> list[PluginRecord]:
        """The plugins with the jobs they announce: their inputs, output, and parameters as a JSON Schema."""
        plugins = self._plugins or self.call("plugins")["plugins"]
        self._plugins = plugins if all(each["status"] != "installing" for each in plugins) else None
        return plugins

    def describe(self, job: str, wait: bool = True) -> AnnouncedJob | None:
        """The announcement of `plugin.job` or `job`; None if there is none or it is not the only one.

        A server that has just started may be loading it still: with `wait`, it gets `patience` seconds."""
        deadline = time.monotonic() + self.patience * wait
        while True:
            plugins = self.plugins()
            announced: list[AnnouncedJob] = [
                {**about, "name": f"{plugin['name']}.{about['name']}"}
                for plugin in plugins
                for about in plugin["jobs"]
                if job in (f"{plugin['name']}.{about['name']}", about["name"])
            ]
            loading = any(plugin["status"] == "installing" for plugin in plugins)
            if announced or not loading or time.monotonic() > deadline:
                return announced[0] if len(announced) == 1 else None
            time.sleep(TICK_SECONDS)

    def choices(self, list: str, search: str = "") -> list[str]:
        """All entries of a list that a parameter's `choices_from` names."""
        found: Any = []
        total = 1
        while len(found) < total:
            answer = self.call("choices", {"list": list, "search": search, "offset": len(found), "limit": 1000})
            found, total = found + answer["choices"], answer["total"] if answer["choices"] else 0
        return found

    def submit(
        self,
        job: str,
        params: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        *,
        priority: Priority | None = None,
        session: str | None = None,
        hold: bool = False,
        fresh: bool = False,
        embed_metadata: Embed | None = None,
        client_ref: str | None = None,
    ) -> Job:
        """Put a job into the queue. Once this returns, it is not lost, whatever crashes.

        An input is an Artifact or its id, a Job (its outputs), {"job": id, "index": k}, or something to upload: a PIL
        image, bytes, a Path, a text, a file name where the job takes no text; or a list of these. With `hold` it waits
        for a release; `fresh` runs it even if the results of an equal job are there; of several submissions with one
        `client_ref`, only the first makes a job."""
        request: Submission = {
            "job": job, "params": params, "inputs": inputs, "priority": priority, "session": session, "hold": hold,
            "fresh": fresh, "embed_metadata": embed_metadata, "client_ref": client_ref,
        }  # fmt: skip
        return self._submit("submit", [request])[0]

    def flow(self, jobs: Iterable[Submission]) -> list[Job]:
        """Submit several jobs as one: all or none. Each is a dict of `submit`'s arguments.

        With an "id", later ones can use its outputs: {"job": "upscale", "inputs": {"image": {"job": "first"}}}."""
        return self._submit("flow", list(jobs))

    def plan(self, job: str, params: dict[str, Any] | None = None, inputs: dict[str, Any] | None = None) -> Plan:
        """What a submit would make, without making it: params as they would be used, count, outputs, eta_seconds."""
        return self._light("plan", job, params, inputs)["plan"]

    def accepts(self, artifact: str | Artifact) -> Accepts:
        """Which jobs take a result or an upload, at which inputs, as it is or through a converter that the server puts
        in between; and why the others do not."""
        id = artifact if isinstance(artifact, str) else artifact.id
        answer: Any = self.call("accepts", {"id": id})
        return answer

    def light(self, job: str, params: dict[str, Any] | None = None, inputs: dict[str, Any] | None = None) -> list[Any]:
        """What a light job returns, at once and without the queue: texts and JSON values."""
        return self._light("call", job, params, inputs)["outputs"]

    def run(
        self,
        job: str,
        /,
        *,
        on_progress: Callable[[Progress], object] | None = None,
        on_preview: Callable[[bytes], object] | None = None,
        timeout: float | None = None,
        fresh: bool = False,
        **values: Any,
    ) -> list[Artifact]:
        """Submit, wait, and return the outputs. `values` are parameters and inputs together, told apart by name.
        `fresh` runs the job even if the results of an equal one are there."""
        return self._start(job, values, fresh).wait(on_progress, on_preview, timeout)

    def upload(
        self, value: Any, *, kind: str | None = None, name: str | None = None, source: str | Artifact | None = None
    ) -> Artifact:
        """Store a PIL image, bytes, a text or the file at a Path; `kind` (image, text ...) is guessed if not given.
        `source` is the artifact that it was made from, where the file itself does not say so."""
        if isinstance(value, str):
            value = value.encode()
        elif isinstance(value, os.PathLike):
            value, name = Path(value).read_bytes(), name or Path(value).name
        elif hasattr(value, "save"):
            out = io.BytesIO()
            (value if value.mode in ("1", "L", "LA", "I;16", "P", "RGB", "RGBA") else value.convert("RGB")).save(
                out, "PNG"
            )
            value = out.getvalue()
        elif not isinstance(value, bytes | bytearray):
            value = json.dumps(value).encode()
        if len(value) > self.limits["upload_bytes"]:
            raise TooLarge(f"{len(value):,} bytes are over the server's limit of {self.limits['upload_bytes']:,}.")
        made_from = source.id if isinstance(source, Artifact) else source
        query = {"kind": kind, "name": name, "session": self.session, "source": made_from}
        if len(value) > RESUMED_BYTES:
            id = self._send(bytes(value), {key: each for key, each in query.items() if each})
            return Artifact(self, id, self.call("artifact", {"id": id})["artifact"])
        record = self._http("PUT", "/artifacts", params=query, data=bytes(value)).json()["artifact"]
        return Artifact(self, record["id"], record)

    def download(self, artifact: str | Artifact, path: str | os.PathLike[str] = ".") -> Path:
        """Save an artifact as the file `path`, or into the folder `path`; returns where it is."""
        return (Artifact(self, artifact) if isinstance(artifact, str) else artifact).save(path)

    def cancel(self, job: str | Job, keep_partial: bool = False) -> None:
        (self.job(job) if isinstance(job, str) else job).cancel(keep_partial)

    def skip(self, job: str | Job) -> None:
        (self.job(job) if isinstance(job, str) else job).skip()

    def job(self, id: str) -> Job:
        """A job that was submitted before, by anyone with our token; follow it like one's own."""
        job = self._jobs.setdefault(id, Job(self))  # what happens while it is asked for counts, too
        return self._attach(self.call("job", {"id": id})["job"], job)

    def jobs(
        self, *, state: State | None = None, session: str | None = None, limit: int = 50, order: Order = "newest",
        parent: str | None = None,
    ) -> list[Job]:  # fmt: skip
        """The newest first; with `order` "queue" the unfinished ones as they run, 1,000 at most. `parent` lists the
        jobs of a program, and with "" those that no program has submitted."""
        wanted = {"state": state, "session": session, "order": order if order != "newest" else None, "parent": parent}
        return [self._attach(record) for record in self._listed("jobs", limit, **wanted)]

    def artifact(self, artifact: str | ArtifactRecord) -> Artifact:
        """A result or an upload of anyone with our token, by its id or its record. Asks nothing of the server."""
        return Artifact(self, artifact) if isinstance(artifact, str) else Artifact(self, artifact["id"], artifact)

    def artifacts(
        self, *, job: str | None = None, session: str | None = None, limit: int = 50, kind: Kind | None = None,
        review: Review | None = None, origin: Origin | None = None, search: str | None = None,
    ) -> list[Artifact]:  # fmt: skip
        """The newest first. `search` finds those that have all its words in their name, prompt or infotext."""
        wanted = {"job": job, "session": session, "kind": kind, "review": review, "origin": origin, "search": search}
        return [self.artifact(record) for record in self._listed("artifacts", limit, **wanted)]

    def queue(self, action: Literal["status", "pause", "resume"] = "status") -> Queue:
        """How the queue is after the `action`."""
        answer: Any = self.call("queue", {"action": action})
        return answer

    def models(self) -> list[ModelKind]:
        """The model files of the server, by kind."""
        kinds: list[ModelKind] = self.call("models")["kinds"]
        return kinds

    def fetch_model(self, id: str, licence: str | None = None, *, plugin: str | None = None) -> Fetch:
        """Have a model fetched that a plugin names, under the licence that `models` tells; or go on with it. The event
        `fetching` tells how far it is."""
        fetch: Fetch = self.call("fetch_model", {"id": id, "licence": licence, "plugin": plugin})["fetch"]
        return fetch

    def settings(self) -> Settings:
        """The admin's own defaults and bounds beside those that plugins declare, and the settings of plugins."""
        answer: Any = self.call("settings")
        return answer

    def configure(
        self, *, overrides: dict[str, Any] | None = None, plugin_settings: dict[str, Any] | None = None
    ) -> Settings:
        """Change them, in the server's config.toml and at once: {"plugin.job": {"steps": {"default": 30}}}. None gives
        back what the plugin declares."""
        answer: Any = self.call("configure", {"overrides": overrides, "plugin_settings": plugin_settings})
        return answer

    def logs(self, *, job: str | None = None, limit: int = 200) -> list[LogLine]:
        """The newest lines that our jobs, or one, have written, the newest last."""
        wanted = {"limit": limit} if job is None else {"limit": limit, "job": job}
        lines: list[LogLine] = self.call("logs", wanted)["lines"]
        return lines

    def document(self) -> dict[str, Any]:
        """The server's OpenAPI document: what there is under plain HTTP, and the parameters of all announced jobs."""
        return self._http("GET", "/api/v1/openapi.json").json()

    def call(self, event: str, data: dict[str, Any] | None = None, *, repeat: bool = True) -> dict[str, Any]:
        """The answer to any event of the protocol, or the error it names as an exception.

        If the connection breaks before the answer, it is sent again once there is a new one, unless `repeat` is False:
        then nobody knows whether it was heard, and Unreachable says so."""
        if (size := len(json.dumps(data)) + 1000) > self.limits["message_bytes"]:
            limit = self.limits["message_bytes"]
            raise TooLarge(f"{event}: a message of {size:,} bytes is over the server's limit of {limit:,}.")
        deadline = time.monotonic() + self.patience
        while True:
            self._online.wait(max(0, deadline - time.monotonic()))
            if self._fatal:
                raise self._fatal
            answer = self._ask(self._socket, event, data)
            if answer:
                break
            if not repeat or time.monotonic() > deadline:
                raise Unreachable(f"the connection to {self.url} broke before {event} was answered.")
        if not answer["ok"]:
            raise ServerError.from_wire(answer["error"])
        return answer

    def on_event(self, function: Callable[[str, dict[str, Any]], object]) -> Callable[[], None]:
        """Call `function(type, data)` for each event from now on, in order, also where no job of ours is concerned:
        job, artifact, session, queue, plugins, models, progress, preview, log, as the protocol describes them, and
        resync, when some were missed while there was no connection. Of the connection itself: lost; connected, after
        the events that it had `missed` (so many) and was told now, with `resync` where not all are kept; and refused,
        with the error, after which nothing comes. Call what is returned to hear no more.

        It runs in a thread of the client's: it must not wait, nor call the server."""
        self._listeners = [*self._listeners, function]

        def stop() -> None:
            self._listeners = [each for each in self._listeners if each is not function]

        return stop

    def _start(self, job: str, values: dict[str, Any], fresh: bool) -> Job:
        ports = self._ports(job)
        inputs = {name: value for name, value in values.items() if name in ports}
        params = {name: value for name, value in values.items() if name not in ports}
        return self.submit(job, params, inputs, fresh=fresh)

    def _submit(self, event: str, requests: Sequence[Submission]) -> list[Job]:
        """Every request has a reference of its own: sent again after a lost answer, it gives the same job."""
        jobs = [Job(self) for _ in requests]
        messages = []
        for job, request in zip(jobs, requests, strict=True):
            message: dict[str, Any] = {"session": self.session, "client_ref": uuid.uuid4().hex, "params": {}}
            message |= {key: value for key, value in request.items() if value is not None}
            message["inputs"] = self._inputs(request["job"], request.get("inputs"))
            messages.append(message)
            self._jobs[message["client_ref"]] = job  # its first event may come before the answer
        deadline, answer = time.monotonic() + self.patience, None
        while not answer:
            try:
                answer = self.call(event, messages[0] if event == "submit" else {"jobs": messages})
            except UnknownJob:  # was the server started anew meanwhile?
                if time.monotonic() > deadline or not all(self.describe(each["job"]) for each in messages):
                    raise
                time.sleep(TICK_SECONDS)
        records: list[JobRecord] = [answer["job"]] if event == "submit" else answer["jobs"]
        return [self._attach(record, job) for record, job in zip(records, jobs, strict=True)]

    def _light(
        self, event: str, job: str, params: dict[str, Any] | None, inputs: dict[str, Any] | None
    ) -> dict[str, Any]:
        return self.call(event, {"job": job, "params": params or {}, "inputs": self._inputs(job, inputs)})

    def _ports(self, job: str) -> dict[str, Port]:
        """What it takes; nothing if it is unknown, for then the server says which jobs are known."""
        about = self.describe(job)
        return about["inputs"] if about else {}

    def _inputs(self, job: str, inputs: dict[str, Any] | None) -> dict[str, Any]:
        ports = self._ports(job) if inputs else {}
        return {name: self._input(value, ports.get(name)) for name, value in (inputs or {}).items()}

    def _input(self, value: Any, port: Port | None) -> Any:
        if isinstance(value, list | tuple):
            return [self._input(each, port) for each in value]
        if value is None or port is None or (isinstance(value, dict) and value.keys() <= {"job", "index", "review"}):
            return value
        if isinstance(value, Artifact | AsyncArtifact):
            return value.id
        if isinstance(value, Job | AsyncJob):
            return {"job": value.id}
        if isinstance(value, str) and ARTIFACT_ID.fullmatch(value):
            return value
        if isinstance(value, str) and port["kind"] not in ("text", "json"):
            value = Path(value)
        return self.upload(value, kind=port["kind"]).id

    def _attach(self, record: JobRecord, job: Job | None = None) -> Job:
        """The one Job object of a record; events find it from now on."""
        job = self._jobs.setdefault(record["id"], job or Job(self))
        job._learn(record, newest=False)
        return job

    def _listed(self, event: str, limit: int, **wanted: Any) -> list[Any]:
        found: list[Any] = []
        wanted = {key: value for key, value in wanted.items() if value is not None}
        while len(found) < limit:
            before = {"before": found[-1]["id"]} if found else {}
            page = self.call(event, wanted | before | {"limit": min(1000, limit - len(found))})[event]
            found += page
            if not page or wanted.get("order") == "queue":  # which moves, so it has no pages
                break
        return found

    def _http(self, method: str, path: str, **options: Any) -> requests.Response:
        """A request over HTTP, sent again while the server is away; raises what the server answers as an error."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                answer = self._requests.request(method, self.url + path, timeout=HTTP_SECONDS, **options)
                break
            except BROKEN as error:
                self._pause(deadline, f"{method} {path}", error)
        if not answer.ok:
            raise http_error(answer)
        return answer

    def _pause(self, deadline: float, what: str, error: Exception) -> None:
        """Before something is tried again; raises Unreachable instead once patience is at its end."""
        if self._fatal or time.monotonic() > deadline:
            raise self._fatal or Unreachable(f"{self.url} does not answer {what}.") from error
        time.sleep(TICK_SECONDS)

    def _fetch(self, path: str, wanted: dict[str, Any] | None) -> bytes:
        """What is there; a download that was cut goes on where it was. Patience counts from the last byte."""
        data, headers = bytearray(), {"Accept-Encoding": "identity"}
        deadline = time.monotonic() + self.patience
        while True:
            try:
                with self._requests.get(
                    self.url + path, params=wanted, headers=headers, timeout=HTTP_SECONDS, stream=True
                ) as answer:
                    if not answer.ok:
                        raise http_error(answer)
                    if answer.status_code != requests.codes.partial_content:
                        data.clear()
                    headers["If-Range"] = answer.headers.get("ETag", "")
                    for chunk in answer.iter_content(CHUNK_BYTES):
                        data += chunk
                        deadline = time.monotonic() + self.patience
                return bytes(data)
            except BROKEN as error:
                self._pause(deadline, f"GET {path}", error)
                headers["Range"] = f"bytes={len(data)}-"

    def _send(self, data: bytes, about: dict[str, str]) -> str:
        """The id of a new artifact; an upload that was cut goes on where it was: the protocol is tus 1.0.0."""
        metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in about.items())
        headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(data)), "Upload-Metadata": metadata}
        state = self._http("POST", "/api/v1/uploads", headers=headers)
        path, deadline = state.headers["Location"], time.monotonic() + self.patience
        while "Upload-Artifact" not in state.headers:
            offset = state.headers["Upload-Offset"]
            headers = {"Tus-Resumable": "1.0.0", "Upload-Offset": offset, "Content-Type": OFFSET_BYTES}
            rest = io.BytesIO(data[int(offset) :])  # sent in pieces: all at once would have to be gone in one timeout
            try:
                state = self._requests.patch(self.url + path, headers=headers, data=rest, timeout=HTTP_SECONDS)
            except BROKEN as error:
                self._pause(deadline, f"PATCH {path}", error)
                state = self._http("HEAD", path, headers={"Tus-Resumable": "1.0.0"})
                if state.headers.get("Upload-Offset") != offset:
                    deadline = time.monotonic() + self.patience
            if not state.ok:
                raise http_error(state)
        return state.headers["Upload-Artifact"]

    def _connect(self) -> None:
        """Make a connection and catch up on the events since the last one."""
        refusals: list[Any] = []
        socket = _Socket(reconnection=False, handle_sigint=False, logger=log, engineio_logger=log)
        socket.on("*", self._received)
        socket.on("connect_error", refusals.append)
        socket.on("disconnect", lambda reason: self._lost(socket))
        with self._lock:
            self._socket = socket
        try:
            socket.connect(self.url, auth={"token": self._token}, transports=["websocket"], wait_timeout=10)
        except socketio.exceptions.ConnectionError as error:
            raise self._refusal(refusals) from error
        first, self._replayed = self._seq is None, []
        since = {} if first else {"since": self._seq}
        hello = self._ask(socket, "hello", None) or {"ok": False}
        answer = (hello["ok"] and self._ask(socket, "subscribe", since)) or {"ok": False}
        with self._lock:
            stands = answer["ok"] and self._socket is socket and not self._closed.is_set()
            if stands:
                self.limits, self._plugins = hello["limits"], None
                self._seq = answer["seq"] if answer["resync"] else max(self._seq or 0, answer["seq"])
                missed = len({seq for seq in self._replayed if seq <= answer["seq"]})  # not the live ones that follow
                self._online.set()
        if not stands:
            socket.disconnect()  # it may be there still, and only be silent
            raise Unreachable(f"the connection to {self.url} broke at once.")
        if not first:
            self._announce("connected", {"missed": missed, "resync": answer["resync"]})
        if answer["resync"]:  # the server does not know all events since the last one any more
            self._announce("resync", {"seq": answer["seq"]})
            for job in self._known_jobs():
                job._reconcile()

    def _refusal(self, refusals: list[Any]) -> ServerError:
        """Why no connection came about; the socket's library does not tell."""
        for refusal in refusals:
            if isinstance(refusal, dict) and isinstance(refusal.get("data"), dict) and "code" in refusal["data"]:
                return ServerError.from_wire(refusal["data"])
        try:
            answer = self._requests.get(self.url + "/healthz", timeout=5)
        except requests.RequestException:
            hint = "Start one with: python3 server.py - or say where it is with STABLE_CORE_URL or url."
            return Unreachable(f"no server answers at {self.url}.", hint=hint)
        if answer.ok and "version" in answer.text:
            return Unreachable(f"the server at {self.url} did not accept the connection.")
        return http_error(answer)

    def _ask(self, socket: Any, event: str, data: Any) -> dict[str, Any] | None:
        """Send and wait for the answer; None if the connection broke or stayed silent."""
        box: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        try:
            with self._lock:
                if socket is None or socket is not self._socket:
                    return None
                self._pending.add(box)
                socket.emit(event, data, callback=box.put)
            return box.get(timeout=ANSWER_SECONDS)
        except (socketio.exceptions.SocketIOError, queue.Empty):
            return None
        finally:
            self._pending.discard(box)

    def _received(self, event: str, body: Any = None) -> None:
        if not isinstance(body, dict):
            return
        key = str(body.get("job") if event == "artifact" else body.get("id"))
        job = self._jobs.get(key) or self._jobs.get(str(body.get("client_ref")))
        if event == "plugins":
            self._plugins = None
        elif job and event in ("job", "artifact", "progress", "preview", "log"):
            self._jobs.setdefault(key, job)._receive(event, body)
        if "seq" in body and self._seq is not None:
            self._seq = max(self._seq, body["seq"])
            if not self._online.is_set():
                self._replayed.append(body["seq"])
        self._announce(event, body)

    def _announce(self, event: str, body: dict[str, Any]) -> None:
        for function in self._listeners:
            try:
                function(event, body)
            except Exception:  # told as Python tells of any thread's error; the next events come all the same
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))

    def _known_jobs(self) -> set[Job]:
        """Those that somebody still holds. Copied in one step, for other threads submit meanwhile."""
        return {job for reference in self._jobs.valuerefs() if (job := reference())}

    def _lost(self, socket: socketio.Client) -> None:
        with self._lock:
            if self._socket is not socket:
                return
            self._socket, was_online = None, self._online.is_set()
            if not self._fatal:  # which those who wait are to see
                self._online.clear()
            for box in tuple(self._pending):  # who is told goes, while others are still being told
                box.put(None)
        if was_online and not self._closed.is_set():
            self._announce("lost", {})
            threading.Thread(target=self._reconnect, name="stable-core reconnect", daemon=True).start()

    def _reconnect(self) -> None:
        delay = 0.1
        while not self._closed.wait(delay * random.uniform(0.5, 1)):
            try:
                return self._connect()
            except Unreachable:
                delay = min(delay * 2, 2)
            except ServerError as error:  # a new token, for example: waiting does not help
                self._fail(error)
                return self._announce("refused", {"code": error.code, "message": error.message, "hint": error.hint})

    def _fail(self, error: ServerError) -> None:
        self._fatal = self._fatal or error
        self._online.set()  # whoever waits for the connection is to see the error instead
        for job in self._known_jobs():
            job._tell(self._fatal)


class AsyncArtifact:
    """As Artifact, for asyncio."""

    def __init__(self, client: AsyncClient, artifact: Artifact):
        self._client, self._artifact, self.id = client, artifact, artifact.id

    def __repr__(self) -> str:
        return f"<AsyncArtifact {self.id}>"

    @property
    def record(self) -> ArtifactRecord:
        """As Artifact.record. Outputs of a job that was waited for and uploads have it, others after `await load()`."""
        if self._artifact._record is None:
            raise RuntimeError(f"the record of {self.id} is not here yet: await its load() first.")
        return self._artifact._record

    @property
    def kind(self) -> Kind:
        return self.record["kind"]

    async def load(self) -> ArtifactRecord:
        """The record, asked for if it is not here yet."""
        return await self._client._run(lambda: self._artifact.record)

    async def bytes(self, format: Literal["jpeg", "webp"] | None = None, quality: int = 80) -> bytes:
        return await self._client._run(self._artifact.bytes, format, quality)

    def link(self, seconds: float = 3600) -> str:
        return self._artifact.link(seconds)

    async def image(self) -> PIL.Image.Image:
        return await self._client._run(self._artifact.image)

    async def text(self) -> str:
        return await self._client._run(self._artifact.text)

    async def save(self, path: str | os.PathLike[str] = ".") -> Path:
        return await self._client._run(self._artifact.save, path)


class AsyncJob:
    """As Job, for asyncio. Waiting for it takes no thread: one program can wait for thousands."""

    def __init__(self, client: AsyncClient, job: Job):
        self._client, self._job = client, job

    def __repr__(self) -> str:
        return repr(self._job).replace("<Job", "<AsyncJob", 1)

    @property
    def id(self) -> str:
        return self._job.id

    @property
    def record(self) -> JobRecord:
        return self._job.record

    @property
    def state(self) -> State:
        return self._job.state

    @property
    def error(self) -> ServerError | None:
        return self._job.error

    @property
    def outputs(self) -> list[AsyncArtifact]:
        """As Job.outputs. Of a job that a list told of, known after `await wait()` or `refresh()`."""
        if self.state in TERMINAL and "outputs" not in self.record:
            raise RuntimeError(f"the outputs of {self.id} are not here yet: await its wait() or refresh() first.")
        return [AsyncArtifact(self._client, each) for each in self._job.outputs]

    async def events(self, timeout: float | None = None) -> AsyncGenerator[Event, None]:
        """As Job.events."""
        loop = asyncio.get_running_loop()
        inbox: asyncio.Queue[Event | ServerError | None] = asyncio.Queue()
        watch = _Watch(self._job, timeout)
        with self._job._listen(lambda event: _soon(loop, inbox.put_nowait, event)):
            while not watch.over:
                nothing = loop.call_later(watch.seconds, inbox.put_nowait, None)
                try:
                    heard = await inbox.get()
                finally:
                    nothing.cancel()
                if event := watch.take(heard):
                    yield event
                if watch.is_silent():
                    self._client._threads.submit(self._job._reconcile)  # the inbox gets what it learns

    async def wait(
        self,
        on_progress: Callable[[Progress], object] | None = None,
        on_preview: Callable[[bytes], object] | None = None,
        timeout: float | None = None,
    ) -> list[AsyncArtifact]:
        """As Job.wait; the functions may be coroutines. Cancelling the task that waits leaves the job alone."""
        async with contextlib.aclosing(self.events(timeout)) as events:
            async for event in events:
                done = None
                if event.type == "progress" and on_progress:
                    done = on_progress(event.data)
                elif event.type == "preview" and on_preview:
                    done = on_preview(event.data["image"])
                if inspect.isawaitable(done):
                    await done
        if self.state == "done" and "outputs" not in self.record:
            await self.refresh()
        self._job._raise_unless_done()
        return self.outputs

    async def cancel(self, keep_partial: bool = False) -> None:
        await self._client._run(self._job.cancel, keep_partial)

    async def skip(self) -> None:
        await self._client._run(self._job.skip)

    async def retry(
        self, params: dict[str, Any] | None = None, inputs: dict[str, Any] | None = None, *, extend: bool = False
    ) -> AsyncJob:
        retry = functools.partial(self._job.retry, extend=extend)
        return AsyncJob(self._client, await self._client._run(retry, params, inputs))

    async def refresh(self) -> AsyncJob:
        await self._client._run(self._job.refresh)
        return self


class AsyncClient:
    """As Client, for asyncio: `async with AsyncClient() as client:` connects and closes, or `connect` and `close` do.

    It drives a Client in threads of its own, so that it comes through broken connections and restarts as that does."""

    def __init__(
        self, url: str | None = None, token: str | None = None, *, session: str = "default", patience: float = 60
    ):
        self._connect = lambda: Client(url, token, session=session, patience=patience)
        self._connected: Client | None = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="stable-core")

    async def __aenter__(self) -> AsyncClient:
        return await self.connect()

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def connect(self) -> AsyncClient:
        """Raises Unreachable if no server answers. Call it once, before anything else."""
        connecting = self._threads.submit(self._connect)
        try:
            self._connected = await asyncio.wrap_future(connecting)
        except asyncio.CancelledError:  # then nobody will close what may still come
            connecting.add_done_callback(_close)
            raise
        return self

    async def close(self) -> None:
        """Leave. Jobs go on without us; waits for them raise Unreachable."""
        if self._connected:
            await asyncio.to_thread(self._connected.close)  # our own threads may be in the calls that this ends
        self._threads.shutdown(wait=False, cancel_futures=True)

    @property
    def _client(self) -> Client:
        if self._connected is None:
            raise RuntimeError(
                "not connected: use `async with AsyncClient() as client:`, or await its connect() first."
            )
        return self._connected

    @property
    def url(self) -> str:
        return self._client.url

    @property
    def session(self) -> str:
        return self._client.session

    @property
    def patience(self) -> float:
        return self._client.patience

    @property
    def limits(self) -> Limits:
        return self._client.limits

    @property
    def online(self) -> bool:
        return self._client.online

    async def plugins(self) -> list[PluginRecord]:
        return await self._run(self._client.plugins)

    async def describe(self, job: str, wait: bool = True) -> AnnouncedJob | None:
        return await self._run(self._client.describe, job, wait)

    async def choices(self, list: str, search: str = "") -> list[str]:
        return await self._run(self._client.choices, list, search)

    async def submit(
        self,
        job: str,
        params: dict[str, Any] | None = None,
        inputs: dict[str, Any] | None = None,
        *,
        priority: Priority | None = None,
        session: str | None = None,
        hold: bool = False,
        fresh: bool = False,
        embed_metadata: Embed | None = None,
        client_ref: str | None = None,
    ) -> AsyncJob:
        submit = functools.partial(
            self._client.submit, job, params, inputs, priority=priority, session=session, hold=hold, fresh=fresh,
            embed_metadata=embed_metadata, client_ref=client_ref,
        )  # fmt: skip
        return AsyncJob(self, await self._run(submit))

    async def flow(self, jobs: Iterable[Submission]) -> list[AsyncJob]:
        return [AsyncJob(self, job) for job in await self._run(self._client.flow, jobs)]

    async def plan(self, job: str, params: dict[str, Any] | None = None, inputs: dict[str, Any] | None = None) -> Plan:
        return await self._run(self._client.plan, job, params, inputs)

    async def accepts(self, artifact: str | AsyncArtifact) -> Accepts:
        return await self._run(self._client.accepts, artifact if isinstance(artifact, str) else artifact._artifact)

    async def light(
        self, job: str, params: dict[str, Any] | None = None, inputs: dict[str, Any] | None = None
    ) -> list[Any]:
        return await self._run(self._client.light, job, params, inputs)

    async def run(
        self,
        job: str,
        /,
        *,
        on_progress: Callable[[Progress], object] | None = None,
        on_preview: Callable[[bytes], object] | None = None,
        timeout: float | None = None,
        fresh: bool = False,
        **values: Any,
    ) -> list[AsyncArtifact]:
        submitted = AsyncJob(self, await self._run(self._client._start, job, values, fresh))
        return await submitted.wait(on_progress, on_preview, timeout)

    async def upload(
        self, value: Any, *, kind: str | None = None, name: str | None = None, source: str | AsyncArtifact | None = None
    ) -> AsyncArtifact:
        made_from = source if isinstance(source, str | None) else source.id
        upload = self._client.upload
        return AsyncArtifact(self, await self._run(lambda: upload(value, kind=kind, name=name, source=made_from)))

    async def download(self, artifact: str | AsyncArtifact, path: str | os.PathLike[str] = ".") -> Path:
        found = Artifact(self._client, artifact) if isinstance(artifact, str) else artifact._artifact
        return await self._run(found.save, path)

    async def cancel(self, job: str | AsyncJob, keep_partial: bool = False) -> None:
        await self._run(self._client.cancel, job if isinstance(job, str) else job._job, keep_partial)

    async def skip(self, job: str | AsyncJob) -> None:
        await self._run(self._client.skip, job if isinstance(job, str) else job._job)

    async def job(self, id: str) -> AsyncJob:
        return AsyncJob(self, await self._run(self._client.job, id))

    async def jobs(
        self, *, state: State | None = None, session: str | None = None, limit: int = 50, order: Order = "newest",
        parent: str | None = None,
    ) -> list[AsyncJob]:  # fmt: skip
        find = functools.partial(
            self._client.jobs, state=state, session=session, limit=limit, order=order, parent=parent
        )
        found = await self._run(find)
        return [AsyncJob(self, job) for job in found]

    def artifact(self, artifact: str | ArtifactRecord) -> AsyncArtifact:
        return AsyncArtifact(self, self._client.artifact(artifact))

    async def artifacts(
        self, *, job: str | None = None, session: str | None = None, limit: int = 50, kind: Kind | None = None,
        review: Review | None = None, origin: Origin | None = None, search: str | None = None,
    ) -> list[AsyncArtifact]:  # fmt: skip
        find = functools.partial(
            self._client.artifacts, job=job, session=session, limit=limit, kind=kind, review=review, origin=origin,
            search=search,
        )  # fmt: skip
        found = await self._run(find)
        return [AsyncArtifact(self, artifact) for artifact in found]

    async def queue(self, action: Literal["status", "pause", "resume"] = "status") -> Queue:
        return await self._run(self._client.queue, action)

    async def models(self) -> list[ModelKind]:
        return await self._run(self._client.models)

    async def fetch_model(self, id: str, licence: str | None = None, *, plugin: str | None = None) -> Fetch:
        return await self._run(lambda: self._client.fetch_model(id, licence, plugin=plugin))

    async def settings(self) -> Settings:
        return await self._run(self._client.settings)

    async def configure(
        self, *, overrides: dict[str, Any] | None = None, plugin_settings: dict[str, Any] | None = None
    ) -> Settings:
        return await self._run(lambda: self._client.configure(overrides=overrides, plugin_settings=plugin_settings))

    async def logs(self, *, job: str | None = None, limit: int = 200) -> list[LogLine]:
        return await self._run(lambda: self._client.logs(job=job, limit=limit))

    async def document(self) -> dict[str, Any]:
        return await self._run(self._client.document)

    async def call(self, event: str, data: dict[str, Any] | None = None, *, repeat: bool = True) -> dict[str, Any]:
        return await self._run(lambda: self._client.call(event, data, repeat=repeat))

    def on_event(self, function: Callable[[str, dict[str, Any]], object]) -> Callable[[], None]:
        """As Client.on_event, but that `function` runs in the loop that this is called in."""
        loop = asyncio.get_running_loop()
        return self._client.on_event(lambda type, data: _soon(loop, function, type, data))

    async def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        """What may wait, in a thread of ours."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)


def _close(connecting: Future[Client]) -> None:
    if not connecting.cancelled() and not connecting.exception():
        connecting.result().close()


def _soon(loop: asyncio.AbstractEventLoop, function: Callable[..., Any], *arguments: Any) -> None:
    """Call it in the loop's thread; not at all if the loop has been closed."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)


class _InOrder(engineio.Client):
    """Handles messages one after the other. By default each gets a thread: then events overtake each other, and a
    preview's header and its bytes may be swapped."""

    def _trigger_event(self, event: str, *args: Any, **options: Any) -> Any:
        return super()._trigger_event(event, *args, **options | {"run_async": False})


class _Socket(socketio.Client):
    def _engineio_client_class(self) -> type[engineio.Client]:
        return _InOrder


def http_error(answer: requests.Response) -> ServerError:
    try:
        return ServerError.from_wire(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return Unreachable(
            f"what answers at {answer.url.split('?')[0]} is not a stable-core server (status {answer.status_code})."
        )


def find_token(url: SplitResult) -> str:
    """The token for the server at `url`: in the URL, in STABLE_CORE_TOKEN, or the one of this user on this machine,
    which is for this machine's server: no other may get to see it."""
    in_url = parse_qs(url.query).get("token", [""])[0]
    return in_url or os.environ.get("STABLE_CORE_TOKEN") or (read_token() if url.hostname in LOCAL else "")


def read_token() -> str:
    """What a server of this user on this machine wrote down, "" if there was none yet."""
    if sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "stable-core"
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    else:
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    try:
        return (folder / "stable-core" / "token").read_text().strip()
    except OSError:
        return ""


# What the server's records hold. A field that is NotRequired is left out where it does not apply.

State = Literal["held", "waiting", "queued", "running", "done", "failed", "cancelled"]
Priority = Literal["interactive", "normal", "batch"]
Order = Literal["newest", "queue"]
Embed = Literal["full", "minimal", "none"]
Kind = Literal["image", "mask", "text", "json", "audio", "video"]
Review = Literal["new", "picked", "rejected"]
Origin = Literal["job", "first", "upload"]


class JobRecord(TypedDict):
    """A job. Lists and events leave out `outputs`; `Job.outputs` knows them all the same."""

    id: str
    name: str
    state: State
    priority: Priority
    owner: str
    session: str
    client_ref: NotRequired[str]
    parent: NotRequired[str]
    key: NotRequired[str]
    children: NotRequired[int]
    children_ended: NotRequired[int]
    extends: NotRequired[str]
    params: dict[str, Any]
    inputs: dict[str, list[Any]]
    embed_metadata: Embed
    version: NotRequired[str]
    created: float
    queued: float
    started: NotRequired[float]
    finished: NotRequired[float]
    attempt: int
    worker: NotRequired[str]
    cancel: NotRequired[Literal["discard", "keep"]]
    error: NotRequired[Problem]
    metrics: NotRequired[dict[str, Any]]
    outputs: NotRequired[list[str]]
    position: NotRequired[int]
    eta_seconds: NotRequired[float]
    waits_for: NotRequired[list[dict[str, str | float]]]
    converters: NotRequired[dict[str, str]]


class ArtifactRecord(TypedDict):
    """A result or an upload; `facts` are width, seed, infotext and so on."""

    id: str
    job: NotRequired[str]
    idx: int
    kind: Kind
    sha256: str
    size_bytes: int
    mime: str
    name: NotRequired[str]
    owner: str
    session: str
    review: Review
    facts: dict[str, Any]
    created: float
    source: NotRequired[str]
    path: NotRequired[str]
    parents: NotRequired[list[str]]


class Progress(TypedDict):
    """How far a running job is; `eta_seconds` until the end of this phase."""

    id: str
    step: float
    total: float
    phase: str
    eta_seconds: float | None
    next_output: NotRequired[dict[str, Any]]


class Problem(TypedDict):
    """A ServerError as data."""

    code: str
    message: str
    field: NotRequired[str]
    hint: NotRequired[str]
    job: NotRequired[str]
    errors: NotRequired[list[BadField]]


class BadField(TypedDict):
    field: str
    message: str


class PluginRecord(TypedDict):
    """A plugin; `error` says why it was refused."""

    name: str
    status: Literal["installing", "ready", "disabled", "refused"]
    error: str | None
    jobs: list[AnnouncedJob]
    settings: dict[str, Any]
    notes: list[str]
    sandbox: bool
    version: NotRequired[str]
    title: NotRequired[str]
    description: NotRequired[str]
    author: NotRequired[str]
    licence: NotRequired[str]
    homepage: NotRequired[str]


class AnnouncedJob(TypedDict):
    """What a plugin says of a job; `params` is a JSON Schema."""

    name: str
    help: str
    inputs: dict[str, Port]
    output: Port
    params: dict[str, Any]
    affinity: str | None
    concurrency: int
    light: bool
    program: bool
    memory: int
    reuse: bool
    converts: bool
    plans: bool


class Port(TypedDict):
    """An input or the output of a job."""

    kind: Kind
    list: bool
    optional: bool
    help: NotRequired[str]


class AcceptingPort(Port):
    """An input that takes a result, maybe through a `converter`; `needs` are the others that have to be given then."""

    converter: NotRequired[str]
    needs: list[str]


class AcceptingJob(TypedDict):
    job: str
    light: bool
    inputs: dict[str, AcceptingPort]


class OtherJob(TypedDict):
    job: str
    reason: str


class Accepts(TypedDict):
    """Which jobs take a result, and why the others do not."""

    kind: Kind
    jobs: list[AcceptingJob]
    others: list[OtherJob]


class Plan(TypedDict):
    """What a submit would make."""

    job: str
    params: dict[str, Any]
    count: int | None
    outputs: NotRequired[list[dict[str, Any]]]
    jobs: NotRequired[list[dict[str, Any]]]
    eta_seconds: float | None


class Queue(TypedDict):
    paused: bool
    queued: int
    workers: list[dict[str, Any]]


class ModelFile(TypedDict):
    """`source` is "folder", or the plugin that ships it."""

    name: str
    size_bytes: int
    modified: float
    source: str


class Fetch(TypedDict):
    """How far the fetch of a model is: queued, running, done, failed (then `error` says why) or cancelled."""

    id: str
    state: str
    phase: str
    done_bytes: int
    total_bytes: int | None
    error: dict[str, Any] | None


class FetchableModel(TypedDict):
    """A model that a plugin names; `there` once a file of that name is."""

    id: str
    plugin: str
    url: str
    repo: str | None
    size_bytes: int | None
    licence: str | None
    sha256: str | None
    there: bool
    part_bytes: int
    fetch: Fetch | None


class ModelKind(TypedDict):
    kind: str
    files: list[ModelFile]
    fetchable: list[FetchableModel]


class Settings(TypedDict):
    """`overrides` and `declared` are default, minimum, maximum and step, by plugin.job and parameter. The last two are
    for the admin."""

    overrides: dict[str, dict[str, dict[str, Any]]]
    declared: dict[str, dict[str, dict[str, Any]]]
    plugin_settings: NotRequired[dict[str, dict[str, Any]]]
    file: NotRequired[str]


class LogLine(TypedDict):
    """What a job has written; without a `job`, what the server says of the plugin `name`."""

    time: float
    job: NotRequired[str]
    name: str
    text: str


class Limits(TypedDict):
    message_bytes: int
    upload_bytes: int
    pixels: int
    attachments: int


class Submission(TypedDict):
    """A job of a `flow`: what `submit` takes, and an `id` by which later ones name it."""

    job: str
    params: NotRequired[dict[str, Any] | None]
    inputs: NotRequired[dict[str, Any] | None]
    priority: NotRequired[Priority | None]
    session: NotRequired[str | None]
    client_ref: NotRequired[str | None]
    hold: NotRequired[bool]
    fresh: NotRequired[bool]
    embed_metadata: NotRequired[Embed | None]
    id: NotRequired[str | None]
