"""What a worker in a sandbox or on another machine finds at the other end of its Unix socket: Socket.IO, and the bytes
of its own jobs."""

import logging
import shutil
import socket
from collections.abc import Callable, Iterable
from typing import Any

import flask
import socketio

from core.artifacts import Blobs
from core.errors import Forbidden, Internal, Unauthorized, UnknownArtifact
from core.jobs import Row, Store
from core.library import inside
from core.library.runs import Worker, by_token
from core.ops import sandbox
from core.ops.config import Config
from core.rest import errors, serving
from core.rest.twins import stream
from core.workers import Pool

log = logging.getLogger(__name__)
RESERVE_BYTES = 1_000_000_000  # of the disk, which workers cannot fill through it


class Door:
    """A WSGI application. `app` is the server's own."""

    def __init__(
        self, config: Config, store: Store, pool: Pool, blobs: Blobs, app: flask.Flask, run_blocking: Callable[..., Any]
    ):  # fmt: skip
        self._config, self._store, self._pool, self._blobs = config, store, pool, blobs
        self._app, self._run_blocking, self._own = app, run_blocking, flask.Flask("door", static_folder=None)
        errors.handle(self._own)
        self._own.add_url_rule("/blobs/<sha256>", "read", self._read)
        self._own.add_url_rule("/blobs", "write", self._write, methods=["PUT"])

    def open(self, sio: socketio.Server) -> None:
        """Listen, where there are such sockets for Python: not on Windows."""
        if not hasattr(socket, "AF_UNIX"):
            return
        listener, path = socket.socket(socket.AF_UNIX), sandbox.socket_of(self._config.data)
        path.unlink(missing_ok=True)
        try:
            with inside.short(path) as address:
                listener.bind(address)
        except OSError as error:  # where the system has no short name for a long path
            log.warning("no worker in a sandbox or on another machine can be let in: %s: %s", path, error)
            return
        path.chmod(0o600)
        listener.listen(1024)
        sio.start_background_task(serving.serve, listener, self, self._config.async_mode)

    def __call__(self, environ: Row, start_response: Callable) -> Iterable[bytes]:
        app = self._app if environ["PATH_INFO"].startswith("/socket.io/") else self._own
        return app(environ, start_response)

    def _worker(self) -> Worker:
        """Who asks. Raises Unauthorized or Forbidden."""
        token = flask.request.headers.get("Authorization", "").removeprefix("Bearer ")
        worker = by_token(self._pool.workers, token)
        if worker is None:
            raise Unauthorized("no worker has this token.")
        if not (worker.runs or worker.calls):
            raise Forbidden("a worker that has no job needs no results.")
        return worker

    def _read(self, sha256: str) -> flask.Response:
        """Bytes that one of the worker's jobs may see: its inputs; of a program, also what belongs to its owner."""
        worker = self._worker()
        runs, calls = list(worker.runs.values()), list(worker.calls.values())
        messages = [run.message for run in runs if run.message] + [message for message, _ in calls]
        given = {item["sha256"] for each in messages for items in each["inputs"].values() for item in items}
        owners = {run.job["owner"] for run in runs if run.job["program"]}
        rows = [] if sha256 in given else self._store.all("SELECT owner FROM artifacts WHERE sha256 = ?", sha256)
        if sha256 not in given and {row["owner"] for row in rows}.isdisjoint(owners):
            raise UnknownArtifact(f"no job of this worker may see {sha256[:100]!r}.")
        return flask.send_file(self._blobs.path(sha256), "application/octet-stream")

    def _write(self) -> str:
        self._worker()
        if shutil.disk_usage(self._config.data).free - (flask.request.content_length or 0) < RESERVE_BYTES:
            text = f"the disk of {self._config.data} has less than {RESERVE_BYTES:,} bytes left."
            raise Internal(text, hint="Free some space and retry the job.")
        return self._blobs.receive(stream(), self._config.max_upload_bytes, self._run_blocking)[0]
