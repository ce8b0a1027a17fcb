"""A Socket.IO client that costs next to nothing, so that the server is what is measured: one socket, frames by hand.

It speaks just enough of RFC 6455 (WebSocket), Engine.IO 4 and Socket.IO 5 for JSON without attachments."""

import json
import socket
import struct
from urllib.parse import urlsplit


class Light:
    """`call` waits for the answer; `events` are (name, body) in order of arrival. Close it, or use `with`."""

    def __init__(self, server, subscribe=True, timeout=120):
        address = urlsplit(server.url)
        self.socket = socket.create_connection((address.hostname, address.port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.events, self.answers, self._asked = [], {}, 0
        self._buffer = b""
        self._upgrade(address.netloc)
        self._text("40" + json.dumps({"token": server.token}))
        self._connected = False
        while not self._connected:
            self.receive()
        if subscribe:
            self.call("subscribe", {})

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.socket.close()

    def ask(self, event, data):
        """Send a call; its answer will be in `answers` under the number that is returned."""
        self._asked += 1
        self._text(f"42{self._asked}" + json.dumps([event, data]))
        return self._asked

    def call(self, event, data=None):
        number = self.ask(event, data or {})
        while number not in self.answers:
            self.receive()
        answer = self.answers.pop(number)
        if not answer["ok"]:
            raise RuntimeError(f"{event} was answered with {answer['error']}")
        return answer

    def submit(self, job, **params):
        """The id of a submitted job."""
        return self.call("submit", {"job": job, "params": params})["job"]["id"]

    def next_event(self):
        while not self.events:
            self.receive()
        return self.events.pop(0)

    def until(self, state, count=1):
        """The ids of the next `count` jobs that reach `state`; drops all other events. Raises if a job fails."""
        found = []
        while len(found) < count:
            name, body = self.next_event()
            if name == "job" and body["state"] == state:
                found.append(body["id"])
            elif name == "job" and body["state"] == "failed":
                raise RuntimeError(f"a job failed: {body['error']}")
        return found

    def receive(self):
        """Take what has arrived, waiting for something."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server has closed the connection")
        self._buffer += data
        for text in self._frames():
            self._packet(text)

    def _packet(self, text):
        if text == "2":  # Engine.IO's ping
            self._text("3")
        elif text.startswith("42"):
            self.events.append(json.loads(text[2:]))
        elif text.startswith("43"):
            start = text.index("[")
            self.answers[int(text[2:start])] = json.loads(text[start:])[0]
        elif text.startswith("40"):
            self._connected = True
        elif text.startswith("44"):
            raise ConnectionError(f"the server refused the connection: {text[2:]}")

    def _upgrade(self, host):
        request = (
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: bGlnaHQgYnV0IHRydWU=\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self.socket.sendall(request.encode())
        while b"\r\n\r\n" not in self._buffer:
            data = self.socket.recv(4096)
            if not data:
                raise ConnectionError("the server did not answer the upgrade")
            self._buffer += data
        head, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise ConnectionError(f"the server did not upgrade: {head[:200]!r}")

    def _text(self, text):
        """One masked text frame; a mask of zeros leaves the data as it is."""
        data = text.encode()
        size = len(data)
        if size < 126:
            length = bytes([128 | size])
        else:
            length = struct.pack(">BH", 254, size) if size < 65536 else struct.pack(">BQ", 255, size)
        self.socket.sendall(b"\x81" + length + bytes(4) + data)

    def _frames(self):
        """The texts of the frames that are complete."""
        data, at = self._buffer, 0
        while len(data) >= at + 2:
            size, start = data[at + 1] & 127, at + 2
            if size > 125:
                width = 2 if size == 126 else 8
                if len(data) < start + width:
                    break
                size, start = int.from_bytes(data[start : start + width], "big"), start + width
            if len(data) < start + size:
                break
            if data[at] & 15 == 1:  # text; attachments (2) and the rest are not ours
                yield data[start : start + size].decode()
            at = start + size
        self._buffer = data[at:]
