"""What waits to be sent to each client: one that does not read costs neither all the memory nor the others' time."""

import contextlib
import functools
import weakref
from typing import Any

import flask
import flask_socketio
import socketio

from core.api import rooms
from core.library import plain
from core.ops.config import Config
from core.rest import packets

LONG_PACKETS, LONG_BYTES = 200, 1_000_000  # from here on progress and previews are left out: later ones follow
MAX_PACKETS, MAX_BYTES = 50_000, 48_000_000  # from here on a client is cut off; it comes back and asks for the rest
NAMESPACE = "/"


class Outgoing:
    """Counts the packets in the send queue of each socket of `sio`."""

    def __init__(self, sio: socketio.Server):
        self._sio, self._eio = sio, sio.eio
        self._long: weakref.WeakSet[Any] = weakref.WeakSet()  # queues
        self._cut: set[str] = set()  # Engine.IO's ids of those that are being cut off
        sio.eio.create_queue = self._counted(sio.eio._async["queue"])
        self._send = sio.eio.send_packet
        sio.eio.send_packet = self._send_packet

    def _counted(self, kind: type) -> type:
        long = self._long

        class Counted(kind):
            size_bytes = 0

            def _put(self, packet: Any) -> None:
                super()._put(packet)
                self._count(packet, 1)

            def _get(self) -> Any:
                packet = super()._get()
                self._count(packet, -1)
                return packet

            def _count(self, packet: Any, sign: int) -> None:
                data = packet.data if packet else None
                self.size_bytes += sign * (len(data) if isinstance(data, str | bytes) else 0)
                if len(self.queue) > LONG_PACKETS or self.size_bytes > LONG_BYTES:
                    long.add(self)
                else:
                    long.discard(self)

        return Counted

    def behind(self) -> list[str]:
        """The sockets that should not be sent what may be left out."""
        if not self._long:
            return []
        slow = [eio_sid for eio_sid, each in list(self._eio.sockets.items()) if each.queue in self._long]
        return [self._sio.manager.sid_from_eio_sid(eio_sid, NAMESPACE) for eio_sid in slow]

    def publish(self, event: dict[str, Any], socket: str | None = None) -> None:
        """Send a stored event to everybody it is for, or to one socket."""
        self._sio.emit(event["type"], event["body"] | {"seq": event["seq"]}, to=socket or rooms(event))

    def tell(self, event: str, data: dict[str, Any], row: dict[str, Any]) -> None:
        """Send what is not stored to those who follow the job `row`."""
        slow = None if event == "log" else self.behind()
        self._sio.emit(event, data, to=rooms(row | {"job": row["id"]}), skip_sid=slow)

    def wait(self, socket: str) -> None:
        """Returns when a socket has been sent most of what waits for it, or has ended: for who has much to send."""
        eio_sid = self._sio.manager.eio_sid_from_sid(socket, NAMESPACE)
        while (each := self._eio.sockets.get(eio_sid)) and each.queue in self._long and not each.closed:
            self._sio.sleep(0.01)

    def _send_packet(self, eio_sid: str, packet: Any) -> None:
        self._send(eio_sid, packet)
        each = self._eio.sockets.get(eio_sid)
        if (
            each
            and eio_sid not in self._cut
            and (len(each.queue.queue) > MAX_PACKETS or each.queue.size_bytes > MAX_BYTES)
        ):
            self._cut.add(eio_sid)
            self._sio.start_background_task(self._cut_off, eio_sid, each)

    def _cut_off(self, eio_sid: str, each: Any) -> None:
        try:
            each.close(wait=False, abort=True, reason=self._eio.reason.SERVER_DISCONNECT)
            with contextlib.suppress(self._eio.get_queue_empty_exception()):
                while True:  # a writer that waits for the client would hold all of it
                    each.queue.get(block=False)
        finally:
            each.queue.put(None)  # ends the writer
            self._cut.discard(eio_sid)


def sockets(app: flask.Flask, config: Config) -> socketio.Server:
    """The Socket.IO server of `app`."""
    sio = flask_socketio.SocketIO(
        app, async_mode=config.async_mode, async_handlers=False, cors_allowed_origins="*",  # SameSource checks
        max_http_buffer_size=config.max_message_bytes, ping_interval=10, ping_timeout=20,
        json=plain.Json, serializer=packets.Packet,
    ).server  # fmt: skip
    if config.async_mode == "threading":  # eventlet's limit is mended in core/rest/serving.py
        make = sio.eio._async["websocket"]
        sio.eio._async["websocket"] = functools.partial(make, max_message_size=config.max_message_bytes)
    return packets.guarded(sio)
