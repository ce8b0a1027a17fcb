"""A worker's connection to the server: messages are handled one after the other, and questions asked until answered."""

import contextlib
import queue
import socket
import threading
from typing import Any

import engineio
import engineio.packet
import socketio
import websocket

from core.errors import TooLarge, from_wire
from core.library import plain

NAMESPACE = "/worker"
ASK_AGAIN_SECONDS = 5


class _InOrder(engineio.Client):
    def _trigger_event(self, event: str, *args: Any, **options: Any) -> Any:
        """By default each message gets a thread, so that a cancel may overtake its run."""
        return super()._trigger_event(event, *args, **options | {"run_async": False})

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
    def __init__(self, max_message_bytes: int):
        super().__init__(reconnection_delay=0.2, reconnection_delay_max=2, handle_sigint=False)
        self._max_message_bytes = max_message_bytes
        self._sending = threading.Lock()  # a packet with an attachment is several frames, which must not interleave

    def _engineio_client_class(self) -> type[engineio.Client]:
        return _InOrder

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
