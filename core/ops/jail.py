"""The program beside a sandbox: `python core/ops/jail.py SPEC` has bubblewrap make it, and ends it.

Inside there is no network, no home, no other process, nothing of our environment, and nothing that can be written but
what the SPEC names and a scratch folder in memory. All of it ends when stdin closes or this program ends. Nothing is
imported that is not Python's own, so it starts at once."""

import contextlib
import ctypes
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FILES_BYTES = 2 << 30  # in /tmp, and in /dev/shm; at most a quarter of the memory, which they are in
PROCESSES = 1_000  # threads count, too
END_SECONDS = 3  # that a worker has to unload when its stdin has closed
GROUPS = "/sys/fs/cgroup"
NEW_MOUNTS, PRIVATE = 0x20000, 0x44000  # CLONE_NEWNS; MS_REC | MS_PRIVATE
SYSTEM = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime", "/etc/mime.types", "/nix/store")
CARDS = ("/dev/nvidia*", "/dev/dri", "/dev/kfd")
# What a process is told of the environment: never a token, a password of a proxy, or somebody's home.
TOLD = ("CUDA_", "HIP_", "ROCR_", "HSA_", "NVIDIA_", "OMP_", "MKL_", "OPENBLAS_", "PYTORCH_", "LC_", "LANG", "TZ")
OWN = {
    "HOME": "/tmp", "USER": "plugin", "PATH": "/usr/local/bin:/usr/bin:/bin", "HF_HUB_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1",
}  # fmt: skip
APART = ["--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"]
APART += ["--hostname", "sandbox", "--clearenv", "--cap-drop", "ALL"]


def main() -> int:
    wanted = json.loads(sys.argv[1])
    group = _limit(wanted["file_bytes"])
    inside = subprocess.Popen(["bwrap", *_options(wanted), "--", *wanted["words"]])  # has our stdin, stdout and stderr
    events = select.poll()
    events.register(0, 0)  # only its end: what is in it is for the worker
    events.register(os.pidfd_open(inside.pid), select.POLLIN)
    while inside.poll() is None:
        if 0 in dict(events.poll()):
            _end(inside)
    code = inside.wait()
    if group:
        _leave(group)
    if signal := -code if code < 0 else code - 128 if code > 128 else 0:  # that bubblewrap ended by, or tells of
        os.kill(os.getpid(), signal)
    return code


def _limit(file_bytes: int | None) -> Path | None:
    """Bound what this process and those it will start can take; returns the control group that does it, if one does."""
    import resource  # Windows has none

    Path("/proc/self/oom_score_adj").write_text("1000")  # the first to go where the machine's memory is over
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    if os.getuid() == 0:  # for whom a limit of processes would not hold
        return _group()
    mine = sum(len(os.listdir(task)) for task in _of_user(os.getuid()))
    _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    most = mine + PROCESSES if hard == resource.RLIM_INFINITY else min(mine + PROCESSES, hard)
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
    return None


def _of_user(user: int) -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid == user and os.listdir(process / "task"):
                yield f"{process}/task"
        except OSError:  # it has just ended
            continue


def _group() -> Path:
    """A control group for this process and those it will start, below a mount that nobody else sees. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.unshare(NEW_MOUNTS) or libc.mount(b"none", b"/", None, PRIVATE, None)
    for type, options in ((b"cgroup", b"pids"), (b"cgroup2", None)):
        if not done and libc.mount(b"none", GROUPS.encode(), type, 0, options) == 0:
            for left in Path(GROUPS).glob("stable-core-*"):
                with contextlib.suppress(OSError):  # it is not left
                    left.rmdir()
            if type == b"cgroup2":
                Path(GROUPS, "cgroup.subtree_control").write_text("+pids")
            group = Path(GROUPS, f"stable-core-{os.getpid()}")
            group.mkdir()
            (group / "pids.max").write_text(str(PROCESSES))
            (group / "cgroup.procs").write_text(str(os.getpid()))
            return group
    raise OSError(ctypes.get_errno(), "root can bound processes with a control group only, and there is none")


def _leave(group: Path) -> None:
    with contextlib.suppress(OSError):  # what is inside may take a moment to end; whoever comes next removes it
        (group.parent / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def _end(inside: subprocess.Popen) -> None:
    try:
        inside.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        inside.kill()  # and with it, all that is inside
        inside.wait()


def _options(wanted: dict[str, Any]) -> list[str]:
    told = OWN | {name: value for name, value in os.environ.items() if name.startswith(TOLD)}
    options = APART + [word for name, value in told.items() for word in ("--setenv", name, value)]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    sized = ["--size", str(min(FILES_BYTES, memory // 4)), "--tmpfs"]
    options += ["--ro-bind", "/usr", "/usr"]
    for path in map(Path, ("/bin", "/sbin", "/lib", "/lib32", "/lib64")):
        if path.is_symlink():
            options += ["--symlink", os.readlink(path), str(path)]
        else:
            options += _shown(path)
    for path in (*SYSTEM, "/sys" if wanted["card"] else "/sys/devices/system"):
        options += _shown(path)
    options += ["--proc", "/proc", "--dev", "/dev", *sized, "/dev/shm"]
    for path in [path for pattern in CARDS for path in Path("/").glob(pattern[1:]) if wanted["card"]]:
        options += ["--dev-bind-try", str(path), str(path)]
    options += [*sized, "/tmp"]
    read = [f"{ROOT}/core", f"{sys.base_prefix}/bin", f"{sys.base_prefix}/lib", *wanted["read"], *wanted["models"]]
    for path in read:
        options += [] if path.startswith("/usr/") else _shown(path)
    for link, target in _led_to(wanted["models"], [*read, *wanted["write"]], wanted["write"] + wanted["strange"]):
        options += _shown(target, link)
    for path in wanted["write"]:
        options += ["--bind", path, path]
    for inside, outside in wanted["at"].items():
        options += ["--ro-bind", outside, inside]
    return [*options, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", str(ROOT)]


def _shown(path: Path | str, inside: str = "") -> list[str]:
    return ["--ro-bind-try", str(path), inside or str(path)]


def _led_to(models: list[str], seen: list[str], writable: list[str]) -> Iterator[tuple[str, str]]:
    """(where a link leads to, by its words; the file or folder that is there), for links out of the models that people
    have put there. What plugins in sandboxes can write to may hold links of theirs, which count for nothing, as do
    those to a home."""
    folders, home = [*models], os.path.expanduser("~")
    writable = [os.path.realpath(folder) for folder in writable]
    while folders:
        for inside, names, files in os.walk(folders.pop()):
            real = os.path.realpath(inside)
            if any(_within(real, folder) for folder in writable):
                names.clear()
                continue
            for path in (os.path.join(inside, name) for name in (*names, *files)):
                if os.path.islink(path) and os.path.exists(path):
                    target = os.path.realpath(path)
                    link = os.path.normpath(os.path.join(os.path.dirname(path), os.readlink(path)))
                    if any(_within(each, place) for each in (link, target) for place in seen) or _within(home, target):
                        continue
                    seen.append(link)
                    yield link, target
                    if os.path.isdir(target):
                        folders.append(target)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


if __name__ == "__main__":
    sys.exit(main())
