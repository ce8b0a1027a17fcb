"""A network for tests that can be pulled: `with Cable(server) as cable: Client(cable.url, server.token)`."""

import contextlib
import socket
import threading
from urllib.parse import urlsplit


class Cable:
    """A TCP proxy in front of a server, or of the Unix socket `door`. It can be cut, or made deaf: then nothing comes
    back through it. While it is cut, connections are refused; `cut_after` so many bytes in either direction cuts it in
    the middle of something."""

    def __init__(self, server, door=None):
        self._door, self._target, self._listener = door, urlsplit(server.url), socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.deaf = self.is_cut = False
        self.cut_after, self.passed, self.connections = None, 0, 0
        self._ends, self._threads = [], []
        self._start(self._accept)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.cut()
        hang_up(self._listener)
        for thread in self._threads:
            thread.join()
        for end in (self._listener, *self._ends):
            end.close()

    def _start(self, target, *arguments):
        self._threads.append(threading.Thread(target=target, args=arguments))
        self._threads[-1].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self.is_cut:
                    near.close()
                    continue
                self.connections += 1
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._ends.append(near)
                try:
                    far = self._reach()
                except OSError:  # the server is away
                    hang_up(near)
                    continue
                self._ends.append(far)
                for source, sink in ((near, far), (far, near)):
                    self._start(self._pump, source, sink, far)

    def _reach(self):
        if not self._door:
            return socket.create_connection((self._target.hostname, self._target.port))
        far = socket.socket(socket.AF_UNIX)
        far.connect(str(self._door))
        return far

    def _pump(self, source, sink, far):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.passed += len(data)
                if self.cut_after is not None and len(data) > self.cut_after:
                    data, self.is_cut = data[: self.cut_after], True
                if not (self.deaf and source is far):
                    sink.sendall(data)
                if self.is_cut:
                    self.cut()
                elif self.cut_after is not None:
                    self.cut_after -= len(data)
        hang_up(source, sink)

    def cut(self):
        self.is_cut, self.cut_after = True, None
        hang_up(*self._ends)

    def mend(self):
        self.is_cut = self.deaf = False


def hang_up(*ends):
    """Closing would not do while another thread waits for data: then the peer is not told."""
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
