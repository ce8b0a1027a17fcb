"""How the server waits for sockets: eventlet's WSGI server or threads, on a listening socket of our own."""

import logging
import os
import socket
from typing import Any

from core.errors import Internal

CONNECTIONS = 20_000  # eventlet's default of 1,000 would make the next client wait without a word


def listen(host: str, port: int) -> socket.socket:
    """A listening socket without Nagle's delay, which would cost 44 ms a round trip. Raises Internal if it is taken."""
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
    return listener


def serve(listener: socket.socket, app: Any, async_mode: str) -> None:
    """Answer requests until the process ends."""
    if async_mode == "eventlet":
        import eventlet.wsgi

        eventlet.wsgi.server(listener, app, log_output=False, max_size=CONNECTIONS, debug=False)
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
