"""Processes that start in a fraction of the time: servers and workers that are forked, for tests, from a process which
has already imported what they import.

`python -m tests.warm server|unwatched|worker FD` is such a process, a starter; pytest has one of each that it needs.
What it forks runs the same program from its first line on, with arguments, environment, input and output of its own."""

import atexit
import contextlib
import functools
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from select import select
from socket import AF_UNIX, recv_fds, send_fds, socket
from types import SimpleNamespace

from core.ops import bootstrap
from tests import hub

ROOT = Path(__file__).resolve().parents[1]
allowed = sys.platform == "linux"
addresses = {}  # of the starters of this process
# Taken before eventlet replaces them by its own.
fork, close, dup2, pipe, waitpid = os.fork, os.close, os.dup2, os.pipe, os.waitpid


class Process:
    """What subprocess.Popen offers, of a process that the starter at `address` forks. `files` are its stdin and its
    output."""

    def __init__(self, address, files, environment, arguments=(), **more):
        self.args, self.returncode, self.stdin = arguments, None, None
        self._connection = socket(AF_UNIX)
        self._connection.connect(address)
        request = {"environment": environment, "arguments": [*arguments], **more}
        send_fds(self._connection, [json.dumps(request).encode() + b"\n"], files)
        self.pid = int(line(self._connection))

    def poll(self):
        return self.wait() if self.returncode is None and self._ended(0) else self.returncode

    def wait(self, timeout=None):
        if self.returncode is None:
            if not self._ended(timeout):
                raise subprocess.TimeoutExpired(self.args, timeout)
            self.returncode = int(line(self._connection))
            self._connection.close()
        return self.returncode

    def _ended(self, timeout):
        return bool(select([self._connection], [], [], timeout)[0])

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def line(connection):
    text = b""
    while not text.endswith(b"\n"):
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("the starter of tests/warm.py has ended")
        text += piece
    return text


def server(arguments, log, environment, kind="server"):
    """`server.py ARGUMENTS`, whose workers are forked, too. One that is "unwatched" does without tests/hub.py."""
    with open(os.devnull) as nothing:
        files = [nothing.fileno(), log.fileno()]
        return Process(address(kind, bootstrap.PYTHON, environment), files, environment, ["server.py", *arguments],
                       workers=workers(environment))  # fmt: skip


@functools.cache
def descriptions():
    """A folder for what plugins announce, which is named after their code and environment: no need to ask twice."""
    shared = tempfile.TemporaryDirectory(prefix="stable-core-descriptions-")
    atexit.register(shared.cleanup)
    return Path(shared.name)


def copy_descriptions(source, target):
    target.mkdir(parents=True, exist_ok=True)
    for path in source.glob("*.json"):
        with contextlib.suppress(OSError):
            os.link(path, target / path.name)


def workers(environment):
    """(the Python of plugins that have no environment of their own, the address of its starter); None if that
    environment is not there yet."""
    from core.ops import environments

    recipe = environments.Recipe("worker", environments.WORKER.with_suffix(".lock"), environments.WORKER)
    python = environments.complete(recipe.folder(ROOT / ".envs"))
    return python and (str(python), address("worker", python, environment | {"PYTHONUNBUFFERED": "1"}))


def address(kind, python, environment):
    """That of a starter, which ends as this process does."""
    key = kind, os.getpid(), environment.get("PYTHONPATH")
    if key not in addresses:
        name = f"\0stable-core-tests-{kind}-{os.getpid()}-{len(addresses)}"
        with socket(AF_UNIX) as listener:
            listener.bind(name)
            listener.listen(64)
            process = subprocess.Popen(
                [str(python), "-m", "tests.warm", kind, str(listener.fileno())],
                cwd=ROOT, env=environment, stdin=subprocess.PIPE, pass_fds=[listener.fileno()],
            )  # fmt: skip
        atexit.register(process.communicate)
        addresses[key] = name
    return addresses[key]


def main():
    kind, listener, keepers = sys.argv[1], socket(fileno=int(sys.argv[2])), set()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, which stops the servers
    prepare_worker() if kind == "worker" else prepare_server(watched=kind == "server")
    gc.collect()
    gc.freeze()  # looking through it for garbage would copy it into each process
    while listener in select([listener, 0], [], [])[0]:
        connection = socket(fileno=listener._accept()[0])  # accept() would make one of eventlet's
        text, files, _, _ = recv_fds(connection, 65536, 2)
        request = json.loads(text if text.endswith(b"\n") else text + line(connection))
        reap(keepers)
        keeper = fork()
        if not keeper:
            listener.close()
            keep(kind, connection, files, request)
        keepers.add(keeper)
        for file in (*files, connection.detach()):
            close(file)
    reap(keepers)


def reap(keepers):
    """Also so that what they have worked is known."""
    while keepers and (ended := waitpid(-1, os.WNOHANG)[0]):
        keepers.remove(ended)


def prepare_server(watched):
    from core.rest import serving

    serving.patch()
    serving.patch = lambda: None  # for start.patch() in server.py
    if watched:
        hub.watch()
    import server  # noqa: F401, it is what takes time


def prepare_worker():
    import core.worker

    del sys.modules["core.worker"], core.worker


def keep(kind, connection, files, request):
    """Start the process, tell its id and, when it has ended, its exit code, as Popen does."""
    pid = fork()
    if pid:
        with contextlib.suppress(OSError):
            connection.sendall(b"%d\n" % pid)
        for file in files:
            close(file)
        code = os.waitstatus_to_exitcode(waitpid(pid, 0)[1])
        with contextlib.suppress(OSError):  # who has started it may have been killed
            connection.sendall(b"%d\n" % code)
        os._exit(0)
    connection.close()
    for file, targets in zip(files, ([0], [1, 2]), strict=True):
        for target in targets:
            dup2(file, target)
        close(file)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    sys.argv = request["arguments"]
    sys.orig_argv = [sys.executable, *(["-m"] if kind == "worker" else []), *sys.argv]
    if kind == "worker":
        os.setsid()
        runpy.run_module("core.worker", run_name="__main__", alter_sys=True)
    else:
        hub.HUB_TASK = hub.threading.get_native_id()
        fork_workers(request["workers"])
        runpy.run_path(sys.argv[0], run_name="__main__")
    sys.exit()


def fork_workers(known):
    """In a server: workers of the plain environment are not started but forked."""
    from core.ops import processes

    def popen(command, **options):
        if known and command == [known[0], "-m", "core.worker"]:
            return start_warm(known[1], **options)
        return subprocess.Popen(command, **options)

    processes.subprocess = SimpleNamespace(PIPE=subprocess.PIPE, Popen=popen)


def start_warm(address, stdin, stdout, stderr, cwd, start_new_session, env):
    its, ours = pipe()
    process = Process(address, [its, stdout.fileno()], env, ["core.worker"])
    close(its)
    process.stdin = open(ours, "wb")
    return process


if __name__ == "__main__":
    main()
