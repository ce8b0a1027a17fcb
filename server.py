#!/usr/bin/env python3
"""Starts the server: installs what is missing, assembles the kernel, listens, and stops cleanly."""

import argparse
import sys
import warnings
from pathlib import Path

from core.ops import bootstrap


def patch() -> None:
    """Make waiting cooperative, unless async_mode says threading. Has to come before any import that could wait."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--async-mode")
    parser.add_argument("--config", type=Path, default=bootstrap.ROOT / "config.toml")
    flags, _ = parser.parse_known_args()
    settings = flags.config.read_text("utf-8", "replace").splitlines() if flags.config.is_file() else []
    chosen = flags.async_mode or next((line for line in settings if line.startswith("async_mode")), "")
    if "threading" not in chosen:
        with warnings.catch_warnings():  # eventlet says that it is in maintenance mode, which is known
            warnings.simplefilter("ignore")
            import eventlet
        eventlet.monkey_patch()


if __name__ == "__main__":
    bootstrap.ensure([bootstrap.ROOT / "requirements.lock"])
    patch()

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from core.config import Config, load
from core.errors import CoreError, Internal


class Server:
    """Everything of a running server. `start` listens and returns; `stop` ends it and its workers."""

    def __init__(self, config: Config):
        import flask_socketio

        from core import api, artifacts, auth, catalogue, jobs, scheduler, workers
        from core.library import exports
        from core.ops import devices
        from core.rest import http

        run_blocking = lambda function, *args: function(*args)  # noqa: E731
        if config.async_mode == "eventlet":
            from eventlet.tpool import execute as run_blocking
        self.config, self.run_blocking = config, run_blocking
        self.token = auth.read_token()
        config.data.mkdir(parents=True, exist_ok=True)
        self.blobs = artifacts.Blobs(config.data / "blobs", config.durability == "power")
        self.blobs.sweep()
        self.store = jobs.Store(config.data / "jobs.db", config.durability == "power", run_blocking, self._publish)
        self.catalogue = catalogue.Catalogue(config)
        self.scheduler = scheduler.Scheduler(config, self.store, self.catalogue)
        self.app = http.create_app(config, self.store, self.blobs, run_blocking, lambda: self.guard)
        self.socketio = flask_socketio.SocketIO(
            self.app, async_mode=config.async_mode, async_handlers=False, cors_allowed_origins="*",  # Guard does it
            max_http_buffer_size=config.max_message_bytes, ping_interval=10, ping_timeout=20,
        )  # fmt: skip
        self.sio = self.socketio.server
        self.devices = devices.find(config.devices)
        self.pool = workers.Pool(
            config, self.store, self.catalogue, self.scheduler, self.devices,
            send=lambda event, data, sid: self.sio.emit(event, data, to=sid, namespace=workers.NAMESPACE),
            tell=lambda event, data, row: self.sio.emit(event, data, to=api.rooms(row)),
            exported=lambda job, found: self.sio.start_background_task(
                run_blocking, exports.export, config.outputs, job, found, self.blobs.path
            ),
        )  # fmt: skip
        self.api = api.Api(self.sio, config, self.store, self.catalogue, self.scheduler, self.pool)
        self.pool.listen(self.sio)
        self.rooms, self.make_guard = api.rooms, auth.Guard
        self.running = True

    def _publish(self, event: dict[str, Any]) -> None:
        self.sio.emit(event["type"], event["body"] | {"seq": event["seq"]}, to=self.rooms(event))

    def start(self) -> None:
        """Listen, then load the plugins; raises Internal if the port is taken."""
        self.socket = listen(self.config.host, self.config.port)
        self.port = self.socket.getsockname()[1]
        host = "127.0.0.1" if self.config.host in ("0.0.0.0", "::") else self.config.host
        self.address = f"http://{host}:{self.port}"
        self.guard = self.api.guard = self.make_guard(self.app.wsgi_app, self.token, self.port)
        self.app.wsgi_app = self.guard
        self.unfinished = self.scheduler.recover()
        self.catalogue.discover()
        self.pool.url = self.address
        for task in (self._serve, self._watch, self._maintain):
            self.sio.start_background_task(task)

    def _serve(self) -> None:
        if self.config.async_mode == "eventlet":
            import eventlet.wsgi

            eventlet.wsgi.server(self.socket, self.app, log_output=False, max_size=20_000, debug=False)
        else:
            import werkzeug.serving

            logging.getLogger("werkzeug").setLevel(logging.ERROR)
            werkzeug.serving.make_server(
                self.config.host, self.port, self.app, threaded=True, fd=self.socket.fileno()
            ).serve_forever()

    def _watch(self) -> None:
        while self.running:
            self.pool.watch()
            self.sio.sleep(0.2)

    def _maintain(self) -> None:
        while self.running:
            self.sio.sleep(5)
            self.store.maintain(self.config.events_kept)

    def load_plugins(self, say: Callable[[str], None]) -> None:
        """Install the environments that are missing and announce every plugin's jobs, one after the other."""
        from core.ops import environments

        for info in self.catalogue.plugins.values():
            if info.status == "refused":
                continue
            try:
                python = self.run_blocking(
                    environments.ensure, info.folder, self.config.environments, say, self.config.torch_backend
                )
            except environments.InstallError as error:
                info.status, info.error = "refused", str(error)
            else:
                self.catalogue.describe(info, python, self.run_blocking)
            if info.status == "ready":
                self.scheduler.admit(info.name)
            about = {"name": info.name, "status": info.status, "error": info.error}
            self.store.write(lambda tx, about=about: tx.event("plugins", about))

    def stop(self) -> None:
        self.running = False
        self.pool.stop()
        self.store.maintain(self.config.events_kept)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket without Nagle's delay, which would cost 44 ms a round trip."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if os.name == "posix":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        raise Internal(f"cannot listen on {host} port {port}: {error.strerror}. Choose another with --port.") from error
    return listener


def arguments() -> tuple[argparse.Namespace, dict[str, Any]]:
    """The command line: its own flags, and one flag for each simple setting of Config."""
    parser = argparse.ArgumentParser(description="stable-core: a job server for AI art.")
    parser.add_argument("--demo", action="store_true", help="draw one picture with the built-in model, then stop")
    parser.add_argument("--prompt", default="a red circle on a blue background", help="what the demo draws")
    parser.add_argument("--out", type=Path, default=Path("demo.png"), help="where the demo writes the picture")
    parser.add_argument("--config", type=Path, help="settings file (default: config.toml beside server.py)")
    own = {action.dest for action in parser._actions}
    for name, field in Config.model_fields.items():
        if field.annotation not in (list[Path], list[str]) and name != "overrides":
            parser.add_argument("--" + name.replace("_", "-"), help=f"{field.description} Default: {field.default}")
    flags = parser.parse_args()
    return flags, {name: value for name, value in vars(flags).items() if name not in own and value is not None}


def main() -> int:
    flags, settings = arguments()
    try:
        config = load(flags.config, settings | ({"port": 0} if flags.demo and "port" not in settings else {}))
        server = Server(config)
        server.start()
    except CoreError as error:
        print(f"stable-core cannot start: {error}", error.extra["hint"] or "", file=sys.stderr)
        return 1
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    code = 0
    try:
        if flags.demo:
            from core.ops import demo

            code = demo.run(server, flags.prompt, flags.out)
        else:
            greet(server)
            while not stopped.is_set():
                time.sleep(0.1)
            print("Stopping.", flush=True)
    finally:
        server.stop()
    return code


def greet(server: Server) -> None:
    from core.api import VERSION

    print(f"stable-core {VERSION}  {server.address}/?token={server.token}", flush=True)
    print(f"devices   {', '.join(server.devices)}")
    print(f"outputs   {server.config.outputs}")
    if server.unfinished:
        print(f"queue     {server.unfinished} unfinished jobs go on")
    server.load_plugins(lambda line: print(f"          {line}", flush=True))
    for info in server.catalogue.plugins.values():
        jobs = ", ".join(job["name"] for job in info.jobs)
        print(f"plugin    {info.name}: {jobs}" if info.status == "ready" else f"refused   {info.name}: {info.error}")
    print("Ctrl-C stops.", flush=True)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    code = main()
    sys.stdout.flush()
    os._exit(code)
