"""A Socket.IO client that handles messages one after the other."""

from typing import Any

import engineio
import socketio


class _InOrder(engineio.Client):
    """By default each message gets a thread, so that a cancel may overtake its run."""

    def _trigger_event(self, event: str, *args: Any, **options: Any) -> Any:
        return super()._trigger_event(event, *args, **options | {"run_async": False})


class OrderedClient(socketio.Client):
    def _engineio_client_class(self) -> type[engineio.Client]:
        return _InOrder
