"""A raw Socket.IO client for tests: it sends exactly what it is told and keeps every event in order of arrival."""

import queue
import time
from pathlib import Path

import requests
import socketio

TERMINAL = ("done", "failed", "cancelled")


class Wire:
    """`call` returns the acknowledgement. `events` are (name, body), state events sorted by their seq."""

    def __init__(self, server, token=None, since=None, subscribe=True):
        self.server, self.received, self._arrived = server, [], queue.Queue()
        self.socket = socketio.Client(reconnection=False)
        self.socket.on("*", self._keep)
        auth = {"token": server.token if token is None else token}
        self.socket.connect(server.url, auth=auth, transports=["websocket"], wait_timeout=10)
        if subscribe:
            self.subscribed = self.call("subscribe", {} if since is None else {"since": since})

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.socket.disconnect()

    def _keep(self, name, body=None):
        self.received.append((name, body))
        self._arrived.put(name)

    def call(self, event, data=None, timeout=20):
        return self.socket.call(event, data, timeout=timeout)

    def submit(self, job, params=None, **more):
        """The id of a submitted job."""
        answer = self.call("submit", {"job": job, "params": params or {}, **more})
        assert answer["ok"], answer
        return answer["job"]["id"]

    def upload(self, data, **query):
        headers = {"Authorization": f"Bearer {self.server.token}"}
        answer = requests.put(f"{self.server.url}/artifacts", data=data, params=query, headers=headers, timeout=30)
        return answer.json()

    def download(self, artifact):
        headers = {"Authorization": f"Bearer {self.server.token}"}
        return requests.get(f"{self.server.url}/artifacts/{artifact}", headers=headers, timeout=30)

    def state_events(self):
        """(seq, name, body) of the numbered events, in the order of their numbers."""
        numbered = [
            (body["seq"], name, body) for name, body in self.received if isinstance(body, dict) and "seq" in body
        ]
        return sorted(numbered, key=lambda event: event[0])

    def states(self, job):
        return [body["state"] for _, name, body in self.state_events() if name == "job" and body["id"] == job]

    def ended(self, *jobs, seconds=60):
        """The terminal event of the job (or of each), waited for."""
        deadline = time.monotonic() + seconds
        while True:
            found = {
                body["id"]: body for _, name, body in self.state_events() if name == "job" and body["state"] in TERMINAL
            }
            if found.keys() >= set(jobs):
                return found[jobs[0]] if len(jobs) == 1 else [found[job] for job in jobs]
            assert time.monotonic() < deadline, f"still waiting: {[self.call('job', {'id': job}) for job in jobs]}"
            try:
                self._arrived.get(timeout=0.2)
            except queue.Empty:
                pass

    def until(self, condition, seconds=30):
        """What `condition()` returns once it is true; looked at whenever something arrives."""
        deadline = time.monotonic() + seconds
        while not (result := condition()):
            assert time.monotonic() < deadline, f"not within {seconds} s; received {self.received[-5:]}"
            try:
                self._arrived.get(timeout=0.1)
            except queue.Empty:
                pass
        return result

    def text(self, artifact):
        return self.download(artifact).text


def alive(pid):
    """Whether a process runs: a zombie that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
