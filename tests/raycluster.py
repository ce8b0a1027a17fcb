"""A Ray cluster for tests, all of it on this machine: `with Cluster(3) as cluster:`."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile

import psutil

from tests.serving import ROOT, wait_until

STORE_BYTES = 80_000_000
QUICK = {  # a node is given up after some seconds, not half a minute
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "4",
}
SMALL = {"RAY_prestart_worker_first_driver": "0", "RAY_enable_worker_prestart": "0", "RAY_USAGE_STATS_ENABLED": "0"}


class Cluster:
    """Nodes with one processor each; `options` are words for `ray start`, by the number of the node; 0 is the head."""

    def __init__(self, nodes, options=None, **environ):
        self._count, self._options = nodes, options or {}
        self.folder = tempfile.mkdtemp(prefix="sc-ray-")
        self.environ = QUICK | SMALL | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self._more = environ
        self.nodes = []

    def __enter__(self):
        self._before = {name: os.environ.get(name) for name in self.environ}
        os.environ.update(self.environ)  # for servers that join
        try:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            self.address = f"127.0.0.1:{port}"
            self.start("--head", f"--port={port}", *self._options.get(0, ()))
            for number in range(1, self._count):
                self.start(self.address, *self._options.get(number, ()))
        except BaseException:
            print(*map(self.log, range(len(self.nodes))), sep="\n")
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        for number in range(len(self.nodes)):
            self.kill(number)
        for name, value in self._before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, *words):
        """As docs/cluster.md says, but small. One after the other: they look for free ports."""
        small = ["--num-cpus=1", f"--object-store-memory={STORE_BYTES}"]
        place = [f"--temp-dir={self.folder}"] if "--head" in words else []
        command = [sys.executable, "-m", "core.remote.node", "--envs", str(ROOT / ".envs"), *words, *small, *place]
        with open(f"{self.folder}/node{len(self.nodes)}.log", "wb") as log:
            environ = os.environ | {"TMPDIR": self.folder} | self._more
            environ.pop("PYTHONPATH", None)  # tests/lean hides a library that Ray brings with it
            self.nodes.append(
                subprocess.Popen(
                    command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ,
                    start_new_session=True,
                )
            )  # fmt: skip
        wait_until(lambda: "Ray runtime started" in self.log(len(self.nodes) - 1), 60)

    def log(self, number):
        with open(f"{self.folder}/node{number}.log") as file:
            return file.read()

    def processes(self, number):
        """Of a node, with those of its workers."""
        try:
            node = psutil.Process(self.nodes[number].pid)
            return [node, *node.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def node_of(self, pid):
        """The number of the node that a worker's process is on."""
        return next(number for number in range(len(self.nodes)) if pid in [each.pid for each in self.processes(number)])

    def kill(self, number):
        """As a power cut."""
        for process in self.processes(number):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.nodes[number].wait()
