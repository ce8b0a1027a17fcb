"""How the server waits for sockets, with eventlet or with threads. No other file knows eventlet."""

import contextlib
import gc
import logging
import os
import socket
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from core.errors import Internal
from core.library.fair import Pause

if TYPE_CHECKING:
    from server import Server

READ_BYTES, LARGE_PIECE = 65_536, 16_384  # at once from a socket
BUNDLE_BYTES = 65_536  # sent at once
CHUNK_LINE = 1000  # bytes of the line that begins a chunk
CONNECTIONS = 20_000  # eventlet's default of 1,000 would make the next client wait without a word


def patch() -> None:
    """Make waiting cooperative. Has to come before any import that could wait.

    Seven things are mended: eventlet's WebSocket takes the mask off byte by byte, which stops everybody for 0.4 s a
    megabyte; it compresses for browsers, 0.02 s a megabyte and 0.3 MB for each; it limits the size of fragments but not
    of the message they make, and nothing at all in the versions before RFC 6455; it asks the system four times for each
    frame; what is ready for a client at the same time was sent packet by packet, each of which wakes the client; and
    the line that begins a chunk of HTTP may be as long as the memory."""
    os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")  # nobody here asks for names, and it takes 0.3 s to load
    with warnings.catch_warnings():  # it says that it is in maintenance mode, which is known
        warnings.simplefilter("ignore")
        import eventlet
    eventlet.monkey_patch()
    import engineio.exceptions
    import engineio.socket
    import eventlet.websocket
    import eventlet.wsgi

    class Message(eventlet.websocket.RFC6455WebSocket.Message):
        size = 0

        def push(self, data: bytes, final: bool = False) -> None:
            self.size += len(data)
            if self.size > self.max_frame_length:
                raise eventlet.websocket.FailedConnectionError(1009, "message too large")
            super().push(data, final)

    class WebSocket(eventlet.websocket.RFC6455WebSocket):
        _apply_mask = staticmethod(unmask)

        def __init__(self, sock: Any, *arguments: Any, **options: Any):
            super().__init__(Buffered(sock), *arguments, **options)

        def _pack_message(self, message: Any, **options: Any) -> bytes:
            pack = super()._pack_message
            parts = message if isinstance(message, Bundle) else [message]
            return b"".join([pack(part, **options) for part in parts])

    class Input(eventlet.wsgi.Input):
        def _chunked_read(self, rfile: Any, *arguments: Any, **options: Any) -> bytes:
            return super()._chunked_read(Lines(rfile), *arguments, **options)

    def refuse(self: Any, environ: Any) -> None:
        raise eventlet.websocket.BadRequest()

    WebSocket.Message = Message
    eventlet.wsgi.Input = Input
    eventlet.websocket.RFC6455WebSocket = WebSocket
    eventlet.websocket.WebSocketWSGI._handle_legacy_request = refuse
    eventlet.websocket.WebSocketWSGI._negotiate_permessage_deflate = lambda self, extensions: None
    poll = engineio.socket.Socket.poll

    def poll_many(self: Any) -> list[Any]:
        """Not all of a long queue: what has left it is not counted any more, and is copied several times."""
        if not self.upgraded:
            return poll(self)
        packets: list[Any] = []
        size, empty = 0, self.server.get_queue_empty_exception()
        try:
            packets.append(self.queue.get(timeout=self.server.ping_interval + self.server.ping_timeout))
        except empty:
            raise engineio.exceptions.QueueEmpty from None
        self.queue.task_done()
        if packets == [None]:
            return []
        while size < BUNDLE_BYTES:
            size += len(packets[-1].data or "")
            try:
                packet = self.queue.get(block=False)
            except empty:
                break
            self.queue.task_done()
            if packet is None:
                self.queue.put(None)
                break
            packets.append(packet)
        return [Bundle(packets)] if len(packets) > 1 else packets

    engineio.socket.Socket.poll = poll_many


class Bundle(list):
    """Packets of Engine.IO that leave in one call, as frames of their own, back to back."""

    def encode(self) -> "Bundle":
        return Bundle(packet.encode() for packet in self)


class Lines:
    """A request's bytes, whose lines are short."""

    def __init__(self, file: Any):
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def readline(self) -> bytes:
        line = self._file.readline(CHUNK_LINE)
        return line if len(line) < CHUNK_LINE else b"a line that is too long"  # so it is no number


class Buffered:
    """A socket that is read in larger pieces than it is asked for."""

    def __init__(self, sock: Any):
        self._socket, self._data, self._at, self._pause = sock, b"", 0, Pause()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def shutdown(self, how: int) -> None:
        """What a client left is closed twice, and eventlet would print of each, into one line, that it was closed."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(how)

    def recv(self, size: int) -> bytes:
        if self._at == len(self._data):
            self._data, self._at, self._pause = self._socket.recv(READ_BYTES), 0, Pause()
        self._pause()  # many small messages are there at once, and each asks for work
        start, self._at = self._at, min(self._at + size, len(self._data))
        return self._data[start : self._at]


def unmask(data: bytes, mask: tuple[int, ...], length: int | None = None, offset: int = 0) -> bytes:
    """RFC 6455, section 5.3: `data` xor the 4-byte `mask`, which is at position `offset`; as one large integer."""
    count, shift, key = len(data), offset % 4, bytes(mask)
    if count > LARGE_PIECE:  # the next one may be there already, so that reading it would not let the others run
        time.sleep(0)
    pad = ((key[shift:] + key[:shift]) * (count // 4 + 1))[:count]
    return (int.from_bytes(data, "little") ^ int.from_bytes(pad, "little")).to_bytes(count, "little")


def blocking_runner(async_mode: str) -> Callable[..., Any]:
    """`run_blocking(function, *args)`: runs what takes over a millisecond without stopping the other sockets."""
    if async_mode == "threading":
        return lambda function, *args: function(*args)
    from eventlet import tpool

    tpool.setup()  # starts its threads, which would keep the first one who needs them waiting
    return tpool.execute


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


def repeat(server: "Server", seconds: float, function: Callable[[], None]) -> None:
    """Call `function` again and again while the server runs."""
    while server.running:
        try:
            function()
        except Exception:  # a full disk, say: the next round may go well
            logging.exception("%s failed", function.__qualname__)
        server.sio.sleep(seconds)


def serve(listener: socket.socket, app: Any, async_mode: str) -> None:
    """Answer requests until the process ends."""
    gc.collect()
    gc.freeze()  # what is loaded stays: looking through it for garbage now and then would stop everybody for 70 ms
    if async_mode == "eventlet":
        import eventlet.wsgi

        # minimum_chunk_size: else a stream of events would be kept back until there are 16 kB of it
        eventlet.wsgi.server(listener, app, log_output=False, max_size=CONNECTIONS, debug=False, minimum_chunk_size=1)
    else:
        import werkzeug.serving

        class Chunks(werkzeug.serving.DechunkedInput):
            def read_chunk_len(self) -> int:
                """By itself it takes a line of any length, and any number for a size."""
                line = self._rfile.readline(CHUNK_LINE)
                try:
                    size = int(line.split(b";")[0], 16)
                except ValueError as error:
                    raise OSError("the request's chunks make no sense") from error
                if not line.endswith(b"\n") or not 0 <= size < 1 << 40:
                    raise OSError("the request's chunks make no sense")
                return size

            def readinto(self, buffer: bytearray) -> int:
                """By itself it says that it read all of a chunk that broke off, and Python reads beyond the buffer."""
                size, read = len(buffer), super().readinto(buffer)
                if len(buffer) != size:
                    raise OSError("the request broke off")
                return read

        class Handler(werkzeug.serving.WSGIRequestHandler):
            def make_environ(self) -> dict[str, Any]:
                environ = super().make_environ()
                if environ.get("wsgi.input_terminated"):
                    environ["wsgi.input"] = Chunks(self.rfile)
                return environ

            def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
                """How a WebSocket ends. Its last frame would be read as HTTP, and its client wait 3 s for an answer."""
                self.close_connection = True

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        host = f"unix://{listener.getsockname()}" if listener.family.name == "AF_UNIX" else ""
        werkzeug.serving.make_server(
            host, 0, app, threaded=True, fd=listener.fileno(), request_handler=Handler
        ).serve_forever()
