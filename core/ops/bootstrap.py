"""How a fresh clone installs itself: makes .venv, fills it from lock files and starts the same command inside it.

Standard library only, and no syntax newer than Python 3.6: an old Python must get as far as its message."""

import contextlib
import hashlib
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "installed.txt"  # written last: what it names is completely there
MEGABYTE = 10**6
# Megabytes to fetch and on disk (bytecode included), measured on Linux; for the messages and the check of free space.
SIZES = {"requirements.lock": (47, 187), "requirements-test.lock": (178, 630)}


class InstallError(Exception):
    """What went wrong and the way out, for a person."""


def ensure(requirements: "list[Path]") -> None:
    """Return at once inside a .venv that holds these lock files; otherwise make it so and start over in it.

    Ends the process with one message and exit code 1 if that is impossible."""
    if sys.version_info < (3, 10):
        stop(old_python())
    inside = VENV.is_dir() and os.path.samefile(sys.prefix, str(VENV))
    wanted = ["%s %s" % (path.name, fingerprint(path)) for path in requirements]
    if is_installed(wanted, inside):
        if inside:
            os.environ.pop("STABLE_CORE_RESTARTED", None)
            return
    else:
        try:
            install(requirements, wanted, inside)
        except InstallError as error:
            stop(str(error))
        except OSError as error:
            stop(explain(str(error)))
        except KeyboardInterrupt:
            stop("stopped before the installation was complete. Run the same command again to go on.")
    restart()


def stop(message: str) -> None:
    print("stable-core: " + message, file=sys.stderr)
    sys.exit(1)


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def old_python() -> str:
    return (
        "this is Python %d.%d.%d (%s), and 3.10 or newer is needed.\n" % (sys.version_info[:3] + (sys.executable,))
        + "Install a newer one (python.org/downloads; Debian, Ubuntu: apt install python3 python3-venv; "
        + "macOS: brew install python) and start with it, for example: python3.12 "
        + " ".join(sys.argv)
    )


def fingerprint(path: Path) -> str:
    """The hash of a text file, the same whatever its line endings became in a checkout."""
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()[:16]


def is_installed(wanted: "list[str]", inside: bool) -> bool:
    if not PYTHON.exists() or not STAMP.exists():
        return False
    if inside:  # the system's Python may have moved on under its .venv
        wanted = wanted + ["python %d.%d" % sys.version_info[:2]]
    return set(wanted) <= set(STAMP.read_text().splitlines())


def install(requirements: "list[Path]", wanted: "list[str]", inside: bool) -> None:
    with only_one(ROOT / ".venv.lock", say) as held:
        if is_installed(wanted, inside):
            return  # by the process that we waited for
        python = "python %d.%d" % sys.version_info[:2]
        there = STAMP.read_text().splitlines() if PYTHON.exists() and STAMP.exists() else []
        usable = python in there
        missing = [SIZES.get(line.split()[0], (0, 0)) for line in wanted if not usable or line not in there]
        fetch, disk = sum(pair[0] for pair in missing), sum(pair[1] for pair in missing)
        check_space(ROOT, disk * MEGABYTE)
        if not usable:
            make_venv(inside, held)
        with contextlib.suppress(FileNotFoundError):
            STAMP.unlink()
        say("Installing packages into .venv: about %d MB to fetch, %d MB on disk." % (fetch, disk))
        fill_venv(requirements, held)
        STAMP.write_text("\n".join([python] + wanted) + "\n")
        say("Installed.")


def make_venv(inside: bool, held) -> None:
    import importlib.util

    if not all(importlib.util.find_spec(module) for module in ("venv", "ensurepip")):
        version = "%d.%d" % sys.version_info[:2]
        raise InstallError(
            "this Python (%s) came without its modules venv and ensurepip, which make the environment.\n"
            "Debian, Ubuntu: apt install python%s-venv. Elsewhere: install Python from python.org/downloads. "
            "Then run the same command again." % (sys.executable, version)
        )
    say("Making %s with Python %d.%d.%d." % ((VENV,) + sys.version_info[:3]))
    # A .venv that is replaced from inside must be made by the Python that it was made from.
    base = sys.executable if not inside else getattr(sys, "_base_executable", "")
    if inside and os.name != "nt":
        base = os.path.realpath(sys.executable)
    run([base, "-m", "venv", "--clear", str(VENV)], say, held)


def fill_venv(requirements: "list[Path]", held) -> None:
    """By uv, in a tenth of the time, once pip has brought it; by pip alone where uv is not, or cannot: pip has settings
    of its own."""
    pip = [str(PYTHON), "-I", "-m", "pip", "--disable-pip-version-check", "--no-input"]
    pip += ["install", "--require-hashes", "--progress-bar", "off"]
    sources = [part for path in requirements for part in ("-r", str(path))]
    uv = re.search(r"^uv==.*(?:\n .*)*", requirements[0].read_text("utf-8"), re.MULTILINE)
    if uv:
        alone = VENV / "uv.txt"
        alone.write_text(uv.group(0) + "\n")
        with contextlib.suppress(InstallError):
            run(pip + ["-r", str(alone)], say, held)
            quickly = ["install", "--require-hashes", "--compile-bytecode", "--python", str(PYTHON)]
            return run([str(PYTHON), "-I", "-m", "uv", "pip"] + quickly + sources, say, held)
    run(pip + sources, say, held)


def restart() -> None:
    """Run the same command line again with .venv's Python."""
    if os.environ.get("STABLE_CORE_RESTARTED"):
        stop("%s does not start as it should. Unset PYTHONHOME, delete that folder and try again." % VENV)
    os.environ["STABLE_CORE_RESTARTED"] = "1"
    command = [str(PYTHON)] + sys.orig_argv[1:]
    sys.stdout.flush()
    if os.name != "nt":
        os.execv(command[0], command)
    import subprocess  # on Windows execv would hand the console back before the program has ended

    process = subprocess.Popen(command)
    while True:
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C reaches the program as well, which ends by itself
            sys.exit(process.wait())


@contextlib.contextmanager
def only_one(path: Path, say):
    """Hold the lock file at `path`, waiting for another process that does; yields it, to be handed to `run`.

    The system frees the lock when the last holder ends, so none is ever stale. Installers hold it with us: if we are
    killed, the next one waits until the orphan has written its last file."""
    import time

    path.parent.mkdir(parents=True, exist_ok=True)
    with open(str(path), "a+") as file:
        waiting = False
        while not try_lock(file):
            if not waiting:
                say("Another process is installing here; waiting for it to end.")
            waiting = True
            time.sleep(0.2)
        yield file


def try_lock(file) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def check_space(folder: Path, needed: int) -> None:
    """InstallError unless the disk of `folder` (which need not exist yet) has `needed` bytes free."""
    import shutil

    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(str(folder)).free
    if free < needed:
        raise InstallError(
            "the disk of %s has %d bytes free, and the installation needs %d (%s).\n"
            "Free some space there, or move the folder to a larger disk, and run the same command again."
            % (folder, free, needed, size(needed))
        )


def size(number: float) -> str:
    if number < MEGABYTE:
        return "%d kB" % -(-number // 1000)
    return "%.1f GB" % (number / 10**9) if number >= 10**9 else "%.0f MB" % (number / MEGABYTE)


DOWNLOADING = re.compile(r"\s*Downloading (\S+) \(([\d.]+) ?([kKMG]i?B)\)")
DOWNLOADED = re.compile(r"\s*Downloaded (\S+)$")
UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def run(command: "list[str]", say, held=None) -> None:
    """Run pip or uv, telling of its larger downloads as they start; InstallError explains a failure."""
    import subprocess

    process = subprocess.Popen(
        command,
        cwd=str(ROOT),
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        encoding="utf-8",
        errors="replace",
        pass_fds=[held.fileno()] if held and os.name != "nt" else (),
    )
    lines, sizes, done, told = [], {}, 0, 0
    try:
        for line in process.stdout:
            lines.append(line)
            start, end = DOWNLOADING.match(line), DOWNLOADED.match(line)
            if start:
                sizes[start.group(1)] = float(start.group(2)) * UNITS[start.group(3)]
                if sizes[start.group(1)] >= 10 * MEGABYTE:
                    say("  fetching %s, %s" % (start.group(1), size(sizes[start.group(1)])))
            elif end:
                done += sizes.get(end.group(1), 0)
                if done >= told + max(sum(sizes.values()) / 10, 10 * MEGABYTE):
                    told = done
                    say("  fetched %s of %s" % (size(done), size(sum(sizes.values()))))
        if process.wait() != 0:
            raise InstallError(explain("".join(lines)))
    finally:
        process.stdout.close()
        if process.poll() is None:
            process.kill()
            process.wait()


def environment() -> "dict[str, str]":
    """The caller's environment, so that proxies, mirrors and certificates count; those set for pip count for uv too."""
    env = dict(os.environ, PIP_USER="0")
    same = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX", "PIP_CERT": "SSL_CERT_FILE"}
    for pip, uv in same.items():
        if env.get(pip):
            env.setdefault(uv, env[pip])
    return env


# What the words of pip and uv mean, most telling first, and the way out.
PROBLEMS = [
    (
        r"No space left|Errno 28\b|os error 28\b|not enough space|os error 112\b",
        "The disk is full. Free some space and run the same command again; what has been fetched is kept.",
    ),
    (
        r"THESE PACKAGES DO NOT MATCH THE HASHES|Hash mismatch",
        "A package is not the one that the lock file names: a mirror or proxy has changed it, or a download broke. "
        "Run again; if it persists, use another package index.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|invalid peer certificate|UnknownIssuer",
        "The package index's certificate was not accepted. Behind a company proxy, set SSL_CERT_FILE and PIP_CERT to "
        "its certificate file; otherwise check this machine's clock.",
    ),
    (
        r"(error sending request|Failed to fetch).*download\.pytorch\.org",
        "PyTorch's own index, which --torch-backend takes packages from, cannot be reached. Check the network; behind "
        "a proxy set HTTPS_PROXY. Without --torch-backend (or with auto) they come from the usual package index.",
    ),
    (
        r"NewConnectionError|ConnectTimeout|Connection refused|Max retries|ProxyError|dns error|error sending request"
        r"|client error \(Connect\)|name resolution|ReadTimeout|operation timed out|Connection reset|Failed to fetch",
        "The package index cannot be reached. Check the network; behind a proxy set HTTPS_PROXY, for a mirror set "
        "PIP_INDEX_URL. Then run the same command again; what has been fetched is kept.",
    ),
    (
        r"Permission denied|Errno 13\b|os error 13\b|Read-only file system|Access is denied|os error 5\b|WinError 32",
        "The folder cannot be written, or a running program holds files in it. Stop what runs from it, and give your "
        "user the right to write there or put the project into a folder of your own.",
    ),
    (
        r"invalid value '.*' for '--torch-backend",
        "Choose one of these for torch_backend, or auto for the tested set.",
    ),
    (
        r"No matching distribution|no wheels|platform tag|there is no version of|was not found in the package registry",
        "There is no such package for this system and Python %d.%d. If its name and version are right, try another "
        "Python: 3.10 to 3.13 are tested." % sys.version_info[:2],
    ),
    (
        r"No solution found|ResolutionImpossible|conflicting dependencies",
        "The requirements contradict each other, those of the worker (worker-requirements.txt) or the Python versions "
        "3.10 and newer. Loosen one of those named above.",
    ),
]
NOISE = re.compile(r"\s*($|WARNING|warning:|Looking in|Collecting|Download|\[notice|Resolved |Using )")


def explain(output: str) -> str:
    """What an installer's output means, the way out, and its decisive lines."""
    lines = [line.rstrip() for line in output.splitlines()]
    errors = [i for i, line in enumerate(lines) if re.match(r"\s*(ERROR:|error:|×|\w*Error\b)", line)]
    decisive = [line[:400] for line in lines[errors[0] if errors else 0 :] if not NOISE.match(line)]
    unknown = "The installation failed. Run the same command again; if it fails again, the lines below say why."
    meaning = next((meaning for words, meaning in PROBLEMS if re.search(words, output)), unknown)
    return "\n  ".join([meaning] + decisive[:3] + decisive[3:][-2:])
