"""What clients ask first: who is there, what is announced, and the events since they last looked."""

from typing import Annotated

import socketio
from pydantic import Field

from core.api import EVERYONE, VERSION, Handler, Name, room_of, rooms
from core.auth import OWNER
from core.jobs import Row, Store
from core.library.catalogue import Catalogue
from core.library.fair import fairly
from core.library.media import MAX_PIXELS
from core.ops.config import Config
from core.rest.outgoing import Outgoing
from core.rest.packets import ATTACHMENTS

REPLAY_PAGE = 200


class Following:
    """`handlers` are bound by the API: each is called as `handler(owner, **request)`."""

    def __init__(
        self, sio: socketio.Server, config: Config, store: Store, catalogue: Catalogue, outgoing: Outgoing
    ):  # fmt: skip
        self._outgoing = outgoing
        self._sio, self._config, self._store, self._catalogue = sio, config, store, catalogue
        self.handlers: list[Handler] = [self.hello, self.plugins, self.subscribe]

    def hello(self, owner: str) -> Row:
        """The server's version, its limits and the caller's rights."""
        limits = {"message_bytes": self._config.max_message_bytes, "upload_bytes": self._config.max_upload_bytes}
        limits |= {"pixels": MAX_PIXELS, "attachments": ATTACHMENTS}
        about = {"server": "stable-core", "version": VERSION, "api": 1}
        return about | {"owner": owner, "rights": ["admin"] if owner == OWNER else [], "limits": limits}

    def plugins(self, owner: str) -> Row:
        """The plugins and the jobs they announce, with JSON Schemas and types."""
        self._catalogue.renew()
        return {"plugins": [info.wire() for info in list(self._catalogue.plugins.values()) if info.offered_to(owner)]}

    def subscribe(
        self, owner: str, since: Annotated[int | None, Field(ge=0)] = None, session: Name | None = None,
        job: Name | None = None, *, socket: str,
    ) -> Row:  # fmt: skip
        """Follow all jobs, one session or one job. State events after `since` are replayed before the live ones;
        `resync` says that they are not all kept any more (or that the server is another): ask for what you need."""
        room = room_of(owner, session, job)
        for old in self._sio.rooms(socket):
            if old != socket:
                self._sio.leave_room(socket, old)
        since, resync = start_after(self._store, since)
        while start_after(self._store, None)[0] - since > REPLAY_PAGE:  # the long past, page by page
            since = self._replay(since, REPLAY_PAGE, room, socket)
            self._outgoing.wait(socket)
            since, dropped = start_after(self._store, since)  # a slow client may be overtaken by what is dropped
            resync = resync or dropped
        with self._store.quiet():  # nothing is published between the last one replayed and the first live one
            since, dropped = start_after(self._store, since)
            since = self._replay(since, -1, room, socket)
            self._sio.enter_room(socket, room)
            self._sio.enter_room(socket, EVERYONE)
        return {"seq": since, "resync": resync or dropped}

    def _replay(self, since: int, limit: int, room: str, socket: str) -> int:
        page = self._store.all("SELECT * FROM events WHERE seq > ? ORDER BY seq LIMIT ?", since, limit)
        for event in fairly(page):
            if {room, EVERYONE} & {*rooms(event)}:
                self._outgoing.publish(event, socket)
        return page[-1]["seq"] if page else since


def start_after(store: Store, since: int | None) -> tuple[int, bool]:
    """The event after which a replay starts, and whether what was asked for is not (all) kept any more."""
    kept = store.all("SELECT (SELECT min(seq) FROM events) AS oldest, (SELECT max(seq) FROM events) AS newest")[0]
    oldest, newest = kept["oldest"] or 1, kept["newest"] or 0
    resync = since is not None and not oldest - 1 <= since <= newest
    return newest if since is None or resync else since, resync
