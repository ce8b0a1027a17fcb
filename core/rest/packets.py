"""What becomes of frames that are not Socket.IO: their sender's connection is closed, nobody else notices."""

import logging
import time
from collections.abc import Callable
from typing import Any

import engineio
import engineio.packet
import engineio.socket
import socketio
import socketio.packet

from core.errors import CoreError
from core.library.fair import Pause
from core.library.plain import LARGE

ATTACHMENTS, ATTACHED_BYTES = 10, 16_000_000  # of one message
RESERVED = {"*", "connect", "disconnect"}  # names that the library gives a meaning
log = logging.getLogger(__name__)


class Packet(socketio.packet.Packet):
    """Socket.IO's packet, without surprises: what is not one raises ValueError. Neither reading large data nor looking
    for bytes in it stops the others."""

    def __init__(self, *arguments: Any, encoded_packet: Any = None, **options: Any):
        if encoded_packet is not None and not (isinstance(encoded_packet, str) and encoded_packet):
            raise ValueError("bytes that nobody announced")
        super().__init__(*arguments, encoded_packet=encoded_packet, **options)

    def decode(self, encoded_packet: str) -> int:
        if len(encoded_packet) > LARGE:
            time.sleep(0)  # copying it so far took its time, and so will what follows
        attached = super().decode(encoded_packet)
        binary = self.packet_type in (socketio.packet.BINARY_EVENT, socketio.packet.BINARY_ACK)
        if not 0 <= self.packet_type <= socketio.packet.BINARY_ACK or not binary <= attached <= binary * ATTACHMENTS:
            raise ValueError(f"a packet of type {self.packet_type} with {attached} attachments")
        if self.packet_type in (socketio.packet.EVENT, socketio.packet.BINARY_EVENT):
            if not (isinstance(self.data, list) and self.data and isinstance(self.data[0], str)):
                raise ValueError("an event without a name")
            if self.data[0] in RESERVED:
                self.data = [f"({self.data[0]})"]
        return attached

    def add_attachment(self, attachment: Any) -> bool:
        if not isinstance(attachment, bytes) or sum(map(len, self.attachments)) + len(attachment) > ATTACHED_BYTES:
            raise ValueError("an attachment that is text, or too large")
        return super().add_attachment(attachment)

    @classmethod
    def data_is_binary(cls, data: Any) -> bool:
        """We send bytes only as a field of an event."""
        items = data if isinstance(data, list) else [data]
        return any(isinstance(value, bytes) for item in items if isinstance(item, dict) for value in item.values())

    @classmethod
    def reconstruct_binary(cls, data: Any, attachments: list[bytes]) -> Any:
        try:
            return _with_bytes(data, attachments, Pause())
        except (IndexError, TypeError, RecursionError) as error:
            raise ValueError("a placeholder without its attachment") from error


def _with_bytes(data: Any, attachments: list[bytes], pause: Callable[[], None]) -> Any:
    pause()
    if isinstance(data, list):
        return [_with_bytes(item, attachments, pause) for item in data]
    if isinstance(data, dict):
        if data.get("_placeholder") and "num" in data:
            return attachments[data["num"]]
        return {key: _with_bytes(value, attachments, pause) for key, value in data.items()}
    return data


def guarded(sio: socketio.Server) -> socketio.Server:
    """`sio`, which from now on closes connections that send nonsense. By itself it would write a traceback, leave the
    sender without an answer, and keep attachments of a message that was never completed."""
    handle_message, handle_disconnect, handle_event = (
        sio._handle_eio_message, sio._handle_eio_disconnect, sio._handle_event
    )  # fmt: skip

    def message(socket: str, data: Any) -> None:
        try:
            handle_message(socket, data)
        except ValueError as error:
            log.info("a client sent %s", error)
            if found := sio.eio.sockets.get(socket):
                found.close(wait=False, reason=sio.reason.SERVER_DISCONNECT)

    def event(socket: str, namespace: str | None, id: int | None, data: Any) -> None:
        if not sio.manager.sid_from_eio_sid(socket, namespace or "/"):
            raise ValueError("an event without being connected")
        try:
            handle_event(socket, namespace, id, data)
        except CoreError as error:  # a worker's: a client's are answered
            log.warning("%s: %s", data[0], error)
        except Exception:  # our mistake, not the sender's
            log.exception("the event %s failed", data[0])

    def disconnect(socket: str, reason: str) -> None:
        sio._binary_packet.pop(socket, None)
        handle_disconnect(socket, reason)

    sio._handle_event = event
    sio.eio.on("message", message)
    sio.eio.on("disconnect", disconnect)
    engineio.socket.Socket.handle_post_request = _handle_post_request
    engineio.packet.Packet.decode = _decode
    return sio


def _decode(
    packet: engineio.packet.Packet, encoded: Any, decode: Callable[..., None] = engineio.packet.Packet.decode
) -> None:
    """What is not even a packet of Engine.IO ends the connection; by itself that would be in use until it times out."""
    try:
        decode(packet, encoded)
        known = packet.packet_type < len(engineio.packet.packet_names)
    except ValueError:
        known = False
    if not known:
        packet.packet_type, packet.data = engineio.packet.CLOSE, None


def _handle_post_request(
    socket: engineio.socket.Socket, environ: dict[str, Any],
    handle: Callable[..., None] = engineio.socket.Socket.handle_post_request,
) -> None:  # fmt: skip
    """A body that cannot be read is answered with 400 instead of a traceback here."""
    try:
        if not environ.get("CONTENT_LENGTH", "0").isdecimal():  # a negative one would be read without end
            raise ValueError("no length")
        handle(socket, environ)
    except (ValueError, LookupError, engineio.exceptions.EngineIOError) as error:
        socket.close(wait=False, reason=socket.server.reason.TRANSPORT_ERROR)  # the library would wait for a reader
        raise engineio.exceptions.EngineIOError(str(error)) from error
