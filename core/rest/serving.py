"""How the server waits for sockets, with eventlet or with threads. No other file knows eventlet."""

import contextlib
import logging
import os
import socket
import warnings
from collections.abc import Callable
from typing import Any

from core.errors import Internal

CONNECTIONS = 20_000  # eventlet's default of 1,000 would make the next client wait without a word


def patch() -> None:
    """Make waiting cooperative. Has to come before any import that could wait.

    Two things of eventlet's WebSocket are mended: it takes the mask off byte by byte, which stops everybody for 0.4 s
    a megabyte, and it limits the size of fragments but not of the message they make."""
    with warnings.catch_warnings():  # it says that it is in maintenance mode, which is known
        warnings.simplefilter("ignore")
        import eventlet
    eventlet.monkey_patch()
    import eventlet.websocket

    class Message(eventlet.websocket.RFC6455WebSocket.Message):
        size = 0

        def push(self, data: bytes, final: bool = False) -> None:
            self.size += len(data)
            if self.size > self.max_frame_length:
                raise eventlet.websocket.FailedConnectionError(1009, "message too large")
            super().push(data, final)

    eventlet.websocket.RFC6455WebSocket.Message = Message
    eventlet.websocket.RFC6455WebSocket._apply_mask = staticmethod(unmask)


def unmask(data: bytes, mask: tuple[int, ...], length: int | None = None, offset: int = 0) -> bytes:
    """RFC 6455, section 5.3: `data` xor the 4-byte `mask`, which is at position `offset`; as one large integer."""
    count, shift, key = len(data), offset % 4, bytes(mask)
    pad = ((key[shift:] + key[:shift]) * (count // 4 + 1))[:count]
    return (int.from_bytes(data, "little") ^ int.from_bytes(pad, "little")).to_bytes(count, "little")


def blocking_runner(async_mode: str) -> Callable[..., Any]:
    """`run_blocking(function, *args)`: runs what takes over a millisecond without stopping the other sockets."""
    if async_mode == "threading":
        return lambda function, *args: function(*args)
    from eventlet.tpool import execute

    return execute


def _allow_many_files() -> None:
    """Each socket is a file; the usual limit of 256 or 1,024 would end the accepting of new ones."""
    if os.name == "posix":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = CONNECTIONS if hard == resource.RLIM_INFINITY else min(CONNECTIONS, hard)
        with contextlib.suppress(ValueError, OSError):  # macOS has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def listen(host: str, port: int) -> tuple[socket.socket, str, int]:
    """A listening socket without Nagle's delay, which would cost 44 ms a round trip; its address and port.

    Raises Internal if the port is taken."""
    _allow_many_files()
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if os.name == "posix":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        text = f"cannot listen on {host} port {port}: {error.strerror}."
        raise Internal(text, hint="Is another server running there? Choose another port with --port.") from error
    port = listener.getsockname()[1]
    local = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return listener, f"http://{local}:{port}", port


def serve(listener: socket.socket, app: Any, async_mode: str) -> None:
    """Answer requests until the process ends."""
    if async_mode == "eventlet":
        import eventlet.wsgi

        # minimum_chunk_size: else a stream of events would be kept back until there are 16 kB of it
        eventlet.wsgi.server(listener, app, log_output=False, max_size=CONNECTIONS, debug=False, minimum_chunk_size=1)
    else:
        import werkzeug.serving

        class Handler(werkzeug.serving.WSGIRequestHandler):
            def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
                """How a WebSocket ends. Its last frame would be read as HTTP, and its client wait 3 s for an answer."""
                self.close_connection = True

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        werkzeug.serving.make_server(
            "", 0, app, threaded=True, fd=listener.fileno(), request_handler=Handler
        ).serve_forever()
