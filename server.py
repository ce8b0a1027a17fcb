#!/usr/bin/env python3
"""Starts the server: installs what is missing, assembles the kernel, listens, and stops cleanly."""

import os
import signal
import sys

from core.ops import bootstrap

if __name__ == "__main__":
    bootstrap.ensure([bootstrap.ROOT / "requirements.lock"])
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `main` listens: a KeyboardInterrupt inside an import is lost
    from core.ops import start

    start.patch()

from core.api import Api
from core.artifacts import Blobs
from core.auth import OWNER, Guard
from core.jobs import Store
from core.library.catalogue import Catalogue
from core.library.events import Library
from core.library.exports import Exports
from core.library.following import Following
from core.library.light import Light
from core.library.logs import Logs
from core.library.machines import Machines
from core.library.programs import Programs
from core.library.queue import Queue
from core.library.reuse import Reuse
from core.ops import devices, processes
from core.ops.config import Config
from core.ops.detached import Detached
from core.ops.memory import Memory
from core.ops.plugins import Plugins
from core.ops.tokens import read_token
from core.ops.watchdog import Watchdog
from core.ops.webclient import WebClient
from core.rest import serving
from core.rest.bridges import Bridges
from core.rest.door import Door
from core.rest.http import create_app
from core.rest.outgoing import Outgoing, sockets
from core.rest.source import SameSource
from core.scheduler import Scheduler
from core.workers import Pool


class Server:
    """Everything of a running server. `start` listens and returns; `stop` ends it and its workers."""

    def __init__(self, config: Config):
        self.config, self.token, self.running = config, read_token(), True
        self.run_blocking = run_blocking = serving.blocking_runner(config.async_mode)
        power_safe = config.durability == "power"
        self._lock = processes.lock(config.data)
        blobs = Blobs(config.data / "blobs", power_safe)
        publish = lambda event: self.logs.publish(event)  # noqa: E731, it is made later
        self.store = Store(config.data / "jobs.db", power_safe, run_blocking, publish)
        self.catalogue = Catalogue(run_blocking)
        self.scheduler = Scheduler(config, self.store, self.catalogue)
        self.web = WebClient(config, run_blocking)
        self.app = create_app(config, self.store, blobs, self.web, run_blocking, lambda: self.api)
        self.bridges = Bridges(config, lambda: self.api, lambda: self.address)
        self.bridges.mount(self.app)
        self.sio = sockets(self.app, config)
        self.outgoing = Outgoing(self.sio)
        self.logs = Logs(self.store, self.outgoing)
        exports = Exports(config, self.store, blobs, run_blocking)
        exported = lambda row, outputs: self.sio.start_background_task(exports.export, row, outputs)  # noqa: E731
        self.memory = Memory(config, self.store, self.catalogue)
        self.pool = Pool(
            config, self.store, self.catalogue, self.scheduler, self.memory, blobs, self.sio,
            devices.find(config.devices, config.torch_backend), self.logs.tell, exported,
        )  # fmt: skip
        self.watchdog = Watchdog(config, self.store, self.catalogue, self.scheduler, self.pool, self.memory)
        self.door = Door(config, self.store, self.pool, blobs, self.app, run_blocking)
        self.api = Api(self.sio, self.store, self.scheduler)
        self.queue = Queue(self.store, self.catalogue, self.scheduler, self.pool)
        following = Following(self.sio, config, self.store, self.catalogue, self.outgoing)
        light = Light(self.store, self.catalogue, self.pool, self.sio, run_blocking)
        self.library = Library(
            config, self.store, self.catalogue, self.scheduler, blobs, run_blocking, light.call, self.pool.placing
        )
        Reuse(config, self.store, self.catalogue, self.scheduler, self.pool, blobs, self.sio, run_blocking, exported)
        Programs(
            self.store, self.catalogue, self.scheduler, self.pool, self.sio, self.outgoing.tell, exports,
            self.library.lineage,
        )  # fmt: skip
        self.detached = Detached(config, self.store, self.catalogue, self.pool, blobs, self.sio)
        self.machines = Machines(
            config, self.store, self.catalogue, self.pool, self.memory, self.detached, self.sio, self.token,
            run_blocking,
        )  # fmt: skip
        self.plugins = Plugins(config, self.catalogue, self.store, self.scheduler, self.pool, self.sio, run_blocking)
        self.plugins.note = self.logs.of_plugin
        for part in (following, self.library, self.queue, light, self.detached, self.machines, self.logs, self.plugins):
            for handler in part.handlers:
                self.api.bind(handler)

    def start(self) -> None:
        """Listen and take up the stored queue; raises Internal if the port is taken."""
        listener, self.address, port = serving.listen(self.config.host, self.config.port)
        self.api.guard = Guard(self.config.tokens | {OWNER: self.token}, port)
        self.app.wsgi_app = SameSource(self.app.wsgi_app)
        self.door.open(self.sio)
        self.plugins.discover()
        self.unfinished = self.scheduler.recover(self.detached.restore())
        self.pool.url = self.address
        self.sio.start_background_task(serving.serve, listener, self.app, self.config.async_mode)
        often = ((0.2, self.watchdog.watch), (0.5, self.plugins.look), (0.5, self.logs.keep), (0.5, self.machines.look))
        for seconds, function in (*often, (5, self._maintain), (5, self.library.maintain)):
            self.sio.start_background_task(serving.repeat, self, seconds, function)

    def _maintain(self) -> None:
        self.queue.age()
        self.store.maintain(self.config.events_kept)

    def stop(self) -> None:
        self.running = False
        self.bridges.stop()
        self.machines.stop()
        self.pool.stop()
        self._maintain()
        self.logs.keep()
        self.store.close()
        self._lock.close()


if __name__ == "__main__":
    code = start.main(Server)
    sys.stdout.flush()
    os._exit(code)  # threads of the thread pool would be waited for
