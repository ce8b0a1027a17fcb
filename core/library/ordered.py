"""A worker's connection to the server: messages are handled one after the other, and questions asked until answered."""

import contextlib
import queue
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import engineio
import engineio.packet
import socketio
import websocket

from core.errors import TooLarge, from_wire
from core.library import inside, plain
from core.library.plain import NAMESPACE

ASK_AGAIN_SECONDS = 5
REFUSED_SECONDS = 60  # then a detached worker believes it


class _InOrder(engineio.Client):
    door: str | None = None  # the Unix socket that stands for the server's address

    def _connect_websocket(self, *args: Any) -> bool:
        if self.door:
            try:
                self.websocket_extra_options = {"socket": inside.dial(self.door)}
            except OSError as error:
                raise engineio.exceptions.ConnectionError(f"{self.door}: {error}") from error
        return super()._connect_websocket(*args)

    def _trigger_event(self, event: str, *args: Any, **options: Any) -> Any:
        """By default each message gets a thread, so that a cancel may overtake its run."""
        return super()._trigger_event(event, *args, **options | {"run_async": False})

    def disconnect(self, abort: bool = False, reason: Any = None) -> None:
        """Where the server ends the connection, the thread that reads calls this, which cannot wait for itself."""
        super().disconnect(abort or threading.current_thread() is self.read_loop_task, reason)

    def _send_packet(self, pkt: engineio.packet.Packet) -> None:
        """By default a thread is woken for each message. (It is still needed: it ends when it hears of no pong.)"""
        if pkt.packet_type != engineio.packet.MESSAGE or not self.write_loop_task:
            super()._send_packet(pkt)
        elif self.state == "connected":
            try:
                (self.ws.send_binary if pkt.binary else self.ws.send)(pkt.encode())
            except (websocket.WebSocketException, OSError):  # half of it may be out, so nothing can follow
                with contextlib.suppress(AttributeError, OSError):
                    self.ws.sock.shutdown(socket.SHUT_RDWR)


class OrderedClient(socketio.Client):
    """`end()` is called when the server says that the process should end, or goes on refusing it."""

    def __init__(self, settings: dict[str, Any], end: Callable[[], None]):
        super().__init__(reconnection_delay=0.2, reconnection_delay_max=2, handle_sigint=False)
        self.eio.door = settings.get("door")
        self._url, self._detached, self._end = settings["url"], settings.get("detached", False), end
        self._auth = {"token": settings["token"], "process": uuid.uuid4().hex}
        self._max_message_bytes = settings["max_message_bytes"]
        self._refused_since: float | None = None
        self.on("end", lambda *message: end(), namespace=NAMESPACE)
        self.on("connect_error", self._refused, namespace=NAMESPACE)
        self._sending = threading.Lock()  # a packet with an attachment is several frames, which must not interleave

    def _engineio_client_class(self) -> type[engineio.Client]:
        return _InOrder

    def reach(self) -> None:
        """Connect. Called now and then: the library does not connect again after the server has ended a connection."""
        if self._reconnect_task or self.connected:  # in this order: it comes to be connected before the task is over
            return
        try:
            self.connect(self._url, auth=self._auth, namespaces=[NAMESPACE], transports=["websocket"], retry=True)
        except ValueError:
            pass  # the last connection is just ending
        except socketio.exceptions.ConnectionError:
            if not self._detached:
                raise

    def _refused(self, why: Any = None) -> None:
        """Called whenever a connection fails; the server's refusal is an object."""
        moment, self._refused_since = time.monotonic(), self._refused_since if isinstance(why, dict) else None
        if self._detached and isinstance(why, dict):
            self._refused_since = self._refused_since or moment
            if moment - self._refused_since > REFUSED_SECONDS:
                print(f"the server refuses this worker: {why.get('message')}", file=sys.stderr, flush=True)
                self._end()

    def send_if_connected(self, event: str, data: Any, callback: Any = None) -> None:
        """What cannot be sent is lost: results are sent again by whoever has them, the rest is not worth it."""
        with self._sending:
            if NAMESPACE in self.namespaces:
                try:
                    self.emit(event, data, namespace=NAMESPACE, callback=callback)
                except socketio.exceptions.BadNamespaceError:
                    pass  # just disconnected

    def ask(self, event: str, body: dict[str, Any]) -> dict[str, Any]:
        """The server's answer, asked again until it comes; raises the error that it is, or TooLarge: the server would
        hang up, again and again."""
        if problem := plain.too_large(body, self._max_message_bytes):
            raise TooLarge(f"{event}: {problem}")
        answers: queue.SimpleQueue = queue.SimpleQueue()
        while True:
            self.send_if_connected(event, body, callback=answers.put)
            try:
                answer = answers.get(timeout=ASK_AGAIN_SECONDS)
            except queue.Empty:
                continue
            if not answer.pop("ok"):
                raise from_wire(answer["error"])
            return answer
