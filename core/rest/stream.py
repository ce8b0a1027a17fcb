"""The event stream: GET /api/v1/events, Server-Sent Events with replay. What `subscribe` is on the socket.

Each client reads the stored events page by page as fast as it takes them, so a slow one costs a page of memory and
nobody else's time. Progress and previews are not stored: those are for the socket."""

import json
import time
from collections.abc import Callable, Iterator

import flask

from core.api import EVERYONE, Api, room_of, rooms
from core.errors import InvalidParams
from core.jobs import Store
from core.library.following import start_after
from core.rest.schemas import request_model
from core.rest.twins import BASE, STREAMED, query

PAGE = 20  # events read at once; one may take a megabyte
LARGE = 100_000  # characters; after such an event it is somebody else's turn
NEXT = (  # bodies as the text that they are stored as: to read and write megabytes of JSON would stop the others
    "SELECT seq, type, job, session, owner, body AS text FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
)
POLL_SECONDS = 0.2
QUIET_SECONDS = 15  # then a comment is sent: it shows that the connection is there, or that it is not


class Newest:
    """The number of the newest event, read once for all streams however many wait for it."""

    def __init__(self, store: Store):
        self._store, self._seq, self._read = store, 0, 0.0

    def __call__(self) -> int:
        if time.monotonic() - self._read >= POLL_SECONDS / 2:
            self._read = time.monotonic()
            self._seq = self._store.all("SELECT coalesce(max(seq), 0) AS seq FROM events")[0]["seq"]
        return self._seq


def mount(app: flask.Flask, api: Callable[[], Api], store: Store) -> None:
    newest = Newest(store)

    @app.get(BASE + STREAMED["subscribe"])
    def events() -> flask.Response:
        owner = api().guard.owner(flask.request.environ)
        subscribe = api().handlers["subscribe"]
        given = query(subscribe)
        if last := flask.request.headers.get("Last-Event-ID"):  # an EventSource sends it when it connects again
            given["since"] = last
        if "socket" in given or "owner" in given:
            raise InvalidParams("only since, session and job can be given.")
        follow = request_model("subscribe", subscribe).model_validate(given)
        room = room_of(owner, follow.session, follow.job)
        since, resync = start_after(store, follow.since)
        frames = _frames(store, newest, room, since, resync)
        answer = flask.Response(frames, content_type="text/event-stream")
        answer.headers["Cache-Control"] = "no-store"
        return answer


def _frames(store: Store, newest: Newest, room: str, since: int, resync: bool) -> Iterator[str]:
    yield f"retry: 1000\n{_frame(since, 'subscribed', json.dumps({'seq': since, 'resync': resync}))}"
    sent = time.monotonic()
    while True:
        while since < newest():
            if start_after(store, since)[1]:  # a client so slow that the next events are dropped: it has to start anew
                return
            for event in (page := store.all(NEXT, since, PAGE)):
                if {room, EVERYONE} & {*rooms(event)}:
                    yield _frame(event["seq"], event["type"], f'{event["text"][:-1]}, "seq": {event["seq"]}}}')
                    sent = time.monotonic()
                    if len(event["text"]) > LARGE:
                        time.sleep(0)
            since = page[-1]["seq"] if page else newest()
            time.sleep(0)
        if time.monotonic() - sent > QUIET_SECONDS:
            yield ":\n\n"
            sent = time.monotonic()
        time.sleep(POLL_SECONDS)


def _frame(seq: int, name: str, data: str) -> str:
    return f"id: {seq}\nevent: {name}\ndata: {data}\n\n"
