"""Another machine for tests: a real OpenSSH sshd in namespaces of its own, with a user, a home, a disk, and a cable.

    with sshd.machine() as machine:         # skips where the system cannot: Linux, root, unshare, ip, an sshd
        connect(machine.host, machine.port, machine.user, machine.key)  # or sshd.PASSWORD, or sshd.agent(machine.key)
        machine.home / "x"                  # its files, as this process sees them while the machine is there
        machine.run("ps", "aux")            # a command there, as its user (root=True: as root): what it printed
        machine.drop()                      # its ends of all SSH connections are killed; what they started goes on
        machine.cut(); machine.mend()       # the cable: nothing arrives, nothing is told
        machine.stop(); machine.boot()      # power cut, and on again: the same home and address, /tmp and /run empty
        machine.new_host_key()              # it shows another one from now on; machine.fingerprint
        machine.configure(AllowStreamLocalForwarding="no")  # for connections made from now on; configure() undoes it
        machine.fill(); machine.free()      # its disk is full, and has room again
        machine.link_environments(folder, "stable_diffusion")  # .envs here, so that torch is not installed again
        machine.log                         # what sshd has to say, as a path

It sees this machine's programs, read-only, but neither the checkout nor anybody's home or /tmp, and it reaches package
indexes through a proxy. What it installs it keeps in .envs/sshd, so that the next machine is quick. A machine costs
0.3 s, a boot 0.1 s; all of it ends with this process, however that ends.

`machine(user="root")` is as rented ones are. An sshd that is not installed is fetched with apt-get into .envs/sshd."""

import contextlib
import itertools
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from pathlib import Path

import psutil
import pytest

from core.ops import bootstrap
from tests.serving import ROOT, wait_until

FOLDER = ROOT / ".envs" / "sshd"
PASSWORD = "correct horse"
HASH = "$6$stablecore$tsl9p.kNPtaLBhmSQTOsqXkBKZ3MEzt.SsbbfBoiTO4ukngmIVCQtGvtgR4y0sImTTTpr17B6w9V2rFLpcQu90"
UID = 31000
PACKAGES = "openssh-server", "libwrap0"
NEEDED = "unshare", "nsenter", "ip", "mount", "ssh-keygen"
NUMBERS = itertools.count(os.getpid() * 8)
QUIET = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
# Once, by a shell that lives as long as the machine: what is on its disks. {words} are filled in.
PREPARE = """set -eu
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/python /mnt/tools /mnt/machine /mnt/disk /mnt/cache /mnt/envs
mount --bind {python} /mnt/python
mount --bind {tools} /mnt/tools
mount --bind {envs} /mnt/envs
mount --bind {folder} /mnt/machine
awk '$1 ~ "^/dev/" {{print $2}}' /proc/mounts | while read place; do mount -o remount,bind,ro "$place"; done
mount --bind {cache} /mnt/cache
mount -o remount,bind,rw /mnt/cache
mount -t tmpfs -o size={size},mode=700,uid={uid},gid={uid} disk /mnt/disk
mount -t tmpfs -o mode=755 tmpfs {checkout}
mount -t tmpfs -o mode=755 tmpfs /root
mount -t tmpfs -o mode=755 tmpfs /home
mkdir -p {home} /mnt/disk/.ssh /mnt/disk/.cache
mount --bind /mnt/disk {home}
mount --bind /mnt/cache {home}/.cache
cp /mnt/machine/authorized_keys {home}/.ssh/
mkdir -p {python}
mount --bind /mnt/python {python}
for file in passwd group shadow; do mount --bind /mnt/machine/$file /etc/$file; done
chown -R {uid}:{uid} {home}/.ssh
chmod 700 {home}/.ssh
hostname {name}
ip link set lo up
ip address add {inside}/30 dev eth0
ip link set eth0 up
exec sh -c 'echo ready; while read line; do eval "$line" & done; kill -9 -$$'
"""
# At each boot, by the shell that becomes sshd and is process 1 there: when it dies, everything does.
BOOT = """set -eu
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd
mount --bind /mnt/machine/boot_id /proc/sys/kernel/random/boot_id
cd /
export LD_LIBRARY_PATH=/mnt/tools/lib
exec {sshd} -D -e -f /mnt/machine/sshd_config
"""


@contextlib.contextmanager
def machine(user="artist", size="8g", name="rented"):
    """A machine that is on; `size` is that of its disk, which takes memory only as it fills."""
    here = Machine(program(), user, size, name)
    try:
        here.boot()
        yield here
    finally:
        here.end()


def program():
    """An sshd, as a path; skips the test where there can be no machine."""
    if sys.platform != "linux" or os.geteuid():
        pytest.skip("a machine in namespaces needs Linux and root")
    if missing := [name for name in NEEDED if not shutil.which(name)]:
        pytest.skip(f"a machine in namespaces needs {', '.join(missing)}: apt-get install util-linux iproute2")
    if subprocess.run(["unshare", "-mnpiu", "--fork", "true"], **QUIET).returncode:
        pytest.skip("this system makes no namespaces: in a container, run it with --privileged")
    FOLDER.mkdir(parents=True, exist_ok=True)
    if installed := shutil.which("sshd", path="/usr/sbin:/usr/local/sbin"):
        return installed
    with bootstrap.only_one(FOLDER / "lock", print):
        if not (FOLDER / "tools" / "sshd").exists():
            fetch()
    return "/mnt/tools/sshd"


def fetch():
    """Unpack, not install, what has sshd: it would be started, and is for nobody else."""
    if not shutil.which("apt-get"):
        pytest.skip("no sshd was found: install OpenSSH's server")
    with tempfile.TemporaryDirectory() as folder:
        download = ["apt-get", "-o", "APT::Sandbox::User=root", "download", *PACKAGES]
        if subprocess.run(download, cwd=folder, **QUIET).returncode:
            subprocess.run(["apt-get", "update"], **QUIET)
            if (failed := subprocess.run(download, cwd=folder, **QUIET)).returncode:
                pytest.skip(f"no sshd was found, and apt-get cannot fetch it: {failed.stderr.strip()}")
        for package in Path(folder).glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, folder], check=True)
        library = next(Path(folder).rglob("libwrap.so.0")).resolve()
        (FOLDER / "tools" / "lib").mkdir(parents=True, exist_ok=True)
        shutil.copy(library, FOLDER / "tools" / "lib" / "libwrap.so.0")
        shutil.copy(Path(folder) / "usr/sbin/sshd", FOLDER / "tools" / "sshd.part")
        (FOLDER / "tools" / "sshd.part").replace(FOLDER / "tools" / "sshd")  # last: now it is complete


class Machine:
    """See the top of this file. `host`, `port`, `user`, `key` (a private key that may log in) and `home`."""

    port = 22

    def __init__(self, sshd, user, size, name):
        self.user, self._sshd, self._size = user, sshd, size
        self._uid, self._place = (0, "/root") if user == "root" else (UID, f"/home/{user}")
        self._temporary = tempfile.TemporaryDirectory(prefix="stable-core-machine-")
        self.folder = Path(self._temporary.name)
        self.log = self.folder / "log"
        self.key = new_key(self.folder / "key")
        number = next(NUMBERS) % 16384 * 4
        self._outside, self.host = (f"198.18.{number >> 8}.{(number & 255) + i}" for i in (1, 2))
        self._link = f"sc{number}"
        self._proxy = None
        self._process, self._keeper = None, self._prepare(name)
        self.home = Path(f"/proc/{self._keeper.pid}/root/mnt/disk")

    def _prepare(self, name):
        cache, tools = FOLDER / f"cache-{self._uid}", FOLDER / "tools"
        for folder in (cache, tools):
            folder.mkdir(exist_ok=True)
        os.chown(cache, self._uid, self._uid)
        self.folder.chmod(0o755)
        self._write_accounts()
        self.new_host_key()
        words = {
            "python": Path(sys.base_prefix).resolve(), "tools": tools, "envs": (ROOT / ".envs").resolve(), "name": name,
            "folder": self.folder, "cache": cache.resolve(), "size": self._size, "uid": self._uid, "checkout": ROOT,
            "home": self._place, "inside": self.host,
        }  # fmt: skip
        script = PREPARE.format_map({key: shlex.quote(str(value)) for key, value in words.items()})
        with self.log.open("ab") as log:
            keeper = subprocess.Popen(
                ["unshare", "-mnu", "sh", "-c", f"read start\n{script}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, start_new_session=True,
            )  # fmt: skip
        own = os.readlink("/proc/self/ns/net")
        wait_until(lambda: keeper.poll() is not None or os.readlink(f"/proc/{keeper.pid}/ns/net") != own)
        ip(f"link add {self._link} type veth peer name eth0 netns {keeper.pid}")
        ip(f"address add {self._outside}/30 dev {self._link}")
        ip(f"link set {self._link} up")
        self._proxy = Proxy(self._outside)
        self.configure()
        keeper.stdin.write(b"start\n")
        keeper.stdin.flush()
        assert keeper.stdout.readline() == b"ready\n", self.log.read_text()
        return keeper

    def _write_accounts(self):
        user = f"{self.user}:x:{self._uid}:{self._uid}::{self._place}:/bin/bash"
        root = [] if self.user == "root" else ["root:x:0:0::/nowhere:/bin/false"]
        texts = {
            "passwd": [user, "sshd:x:30999:30999::/run/sshd:/bin/false", *root],
            "group": [f"{self.user}:x:{self._uid}:", "sshd:x:30999:"],
            "shadow": [f"{self.user}:{HASH}:19000:0:99999:7:::"], "boot_id": [],
            "authorized_keys": [self.key.with_suffix(".pub").read_text().strip()],
        }  # fmt: skip
        for name, lines in texts.items():
            (self.folder / name).write_text("".join(f"{line}\n" for line in lines))
        (self.folder / "shadow").chmod(0o600)
        (self.folder / "authorized_keys").chmod(0o600)

    def boot(self):
        """On. Returns when sshd answers."""
        (self.folder / "boot_id").write_text(f"{uuid.uuid4()}\n")
        (self.folder / "boot").write_text(BOOT.format(sshd=self._sshd))
        self._keeper.stdin.write(b"exec unshare -mpi --fork --kill-child --mount-proc sh /mnt/machine/boot\n")
        self._keeper.stdin.flush()
        self._process = wait_until(self._first)
        wait_until(self._answers)

    def _first(self):
        """Process 1 there."""
        with contextlib.suppress(psutil.NoSuchProcess):
            shells = psutil.Process(self._keeper.pid).children()
            return next((each for shell in shells for each in shell.children()), None)

    def _answers(self):
        assert self._process.is_running(), f"sshd did not start:\n{self.log.read_text()}"
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 5) as connection:
            return connection.recv(4) == b"SSH-"

    def stop(self):
        """A power cut: everything that runs there is gone, nobody is told."""
        if self._process and self._process.is_running():
            ip("link set eth0 down", self._keeper.pid)  # or the kernel would close connections politely
            self._process.kill()
            wait_until(lambda: not self._first())
            ip("link set eth0 up", self._keeper.pid)

    def end(self):
        self._keeper.kill() if self._process is None else self.stop()
        self._keeper.stdin.close()
        self._keeper.wait()
        self._keeper.stdout.close()
        self._proxy.close()
        subprocess.run(["ip", "link", "delete", self._link], **QUIET)
        self._temporary.cleanup()

    def run(self, *command, root=False, check=True):
        """What a command there prints."""
        as_user = [] if root else ["setpriv", f"--reuid={self._uid}", f"--regid={self._uid}", "--clear-groups"]
        words = ["nsenter", "-a", "-t", str(self._process.pid), *as_user, *command]
        return subprocess.run(words, check=check, **QUIET).stdout

    def processes(self, words=""):
        """What runs there (psutil's, by this machine's ids) whose command line has `words`."""
        found = []
        for each in self._process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if words in " ".join(each.cmdline()):
                    found.append(each)
        return found

    def drop(self):
        """Kill its ends of all connections, but neither sshd itself nor what was started through them."""
        for each in self._process.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if each.name() == "sshd":
                    for process in [*each.children(), each]:
                        if process.name() == "sshd":
                            process.kill()

    def cut(self):
        ip("link set eth0 down", self._keeper.pid)

    def mend(self):
        ip("link set eth0 up", self._keeper.pid)

    def fill(self, left=0):
        """No more than `left` bytes can be written to its disk."""
        disk = os.statvfs(self.home)
        used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
        self._resize(used + left)

    def free(self):
        self._resize(self._size)

    def _resize(self, size):
        words = ["nsenter", "-m", "-t", str(self._keeper.pid), "mount", "-o", f"remount,size={size}", "/mnt/disk"]
        subprocess.run(words, check=True, **QUIET)

    def new_host_key(self):
        for path in self.folder.glob("host_key*"):
            path.unlink()
        new_key(self.folder / "host_key")
        self._reload()

    @property
    def host_key(self):
        """As records keep it: "ssh-ed25519 AAAA..."."""
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    @property
    def fingerprint(self):
        """As ssh shows it: "SHA256:..."."""
        words = ["ssh-keygen", "-lf", self.folder / "host_key.pub"]
        return subprocess.run(words, check=True, **QUIET).stdout.split()[1]

    def authorize(self, public_key):
        """Let this key, a path, log in as well."""
        with (self.home / ".ssh" / "authorized_keys").open("a") as file:
            file.write(public_key.read_text())

    def configure(self, **options):
        """Options of sshd_config."""
        passed = {name: os.environ[name] for name in ("SSL_CERT_FILE", "PIP_CERT") if name in os.environ}
        path = f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin"
        passed |= {"PATH": path, "HTTPS_PROXY": self._proxy.url, "UV_LINK_MODE": "copy", "PYTHONDONTWRITEBYTECODE": "1"}
        given = {
            "Port": self.port, "HostKey": "/mnt/machine/host_key", "PidFile": "none", "UsePAM": "no", "UseDNS": "no",
            "PermitRootLogin": "yes", "PrintMotd": "no", "PrintLastLog": "no", "Subsystem": "sftp internal-sftp",
            "MaxStartups": "100", "MaxSessions": "100", "LogLevel": "VERBOSE",
            "SetEnv": " ".join(f'"{name}={value}"' for name, value in passed.items()),
        } | options  # fmt: skip
        lines = "".join(f"{name} {value}\n" for name, value in given.items())
        (self.folder / "sshd_config").write_text(lines)
        self._reload()

    def _reload(self):
        if getattr(self, "_process", None):
            starts = lambda: self.log.read_text().count("Server listening on 0.0.0.0")  # noqa: E731
            before = starts()
            self._process.send_signal(signal.SIGHUP)
            wait_until(lambda: starts() > before)

    def link_environments(self, folder, *names):
        """Put what .envs here has of these plugins into `folder` there, as links."""
        target = self.home / folder
        self.run("mkdir", "-p", f"{self._place}/{folder}")
        for name in names:
            for made in (ROOT / ".envs").glob(f"{name}-*/complete"):
                (target / made.parent.name).symlink_to(f"/mnt/envs/{made.parent.name}")


class Proxy:
    """Lets machines that have no network of their own reach package indexes: CONNECT host:443, no more."""

    def __init__(self, host):
        self._listener = socket.create_server((host, 0))
        self.url = f"http://{host}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._relay, args=(self._listener.accept()[0],), daemon=True).start()

    def _relay(self, client):
        with client, contextlib.suppress(OSError, ValueError, IndexError):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                piece = client.recv(1)
                if not piece:
                    return
                head += piece
            host, _, port = head.split()[1].decode().rpartition(":")
            with socket.create_connection((host, int(port)), 30) as server:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=pump, args=(server, client), daemon=True)
                back.start()
                pump(client, server)
                back.join()


def pump(source, target):
    with contextlib.suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def ip(words, of=None):
    """Carry out a command of ip, in the namespace of process `of`."""
    inside = ["nsenter", "-n", "-t", str(of)] if of else []
    subprocess.run([*inside, "ip", *words.split()], check=True, **QUIET)


def new_key(path, passphrase="", kind="ed25519"):
    """A private key; path.pub is the public one."""
    words = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", path]
    subprocess.run(words, check=True, **QUIET)
    return path


@contextlib.contextmanager
def agent(*keys):
    """An ssh-agent that holds these keys: {"SSH_AUTH_SOCK": ...}."""
    with tempfile.TemporaryDirectory() as folder:
        socket_of = Path(folder) / "agent"
        process = subprocess.Popen(["ssh-agent", "-D", "-a", socket_of], stdout=subprocess.DEVNULL)
        try:
            wait_until(socket_of.exists)
            environment = {"SSH_AUTH_SOCK": str(socket_of)}
            subprocess.run(["ssh-add", "-q", *keys], env=os.environ | environment, check=True, **QUIET)
            yield environment
        finally:
            process.kill()
            process.wait()
