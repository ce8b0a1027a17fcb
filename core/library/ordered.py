"""A worker's connection to the server: messages are handled one after the other, and questions asked until answered."""

import queue
import threading
from typing import Any

import engineio
import socketio

from core.errors import from_wire

NAMESPACE = "/worker"
ASK_AGAIN_SECONDS = 5


class _InOrder(engineio.Client):
    """By default each message gets a thread, so that a cancel may overtake its run."""

    def _trigger_event(self, event: str, *args: Any, **options: Any) -> Any:
        return super()._trigger_event(event, *args, **options | {"run_async": False})


class OrderedClient(socketio.Client):
    def __init__(self, **options: Any):
        super().__init__(**options)
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
        """The server's answer, asked again until it comes; raises the error that it is."""
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
