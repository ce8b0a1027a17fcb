import json
import os
import signal
import subprocess
import sys

import pytest

from core.errors import InvalidParams
from core.ops.config import ROOT
from core.remote import command, deploying, steps
from core.remote.address import Address
from core.remote.records import Records, Remote
from tests import sshd
from tests.serving import toml, wait_until

PLUGIN = 'name = "plain"\nversion = "1"\napi = 1\n'


@pytest.fixture(scope="module")
def machine():
    with sshd.machine(size="300m") as machine:
        yield machine


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with settings, a plugin and a model, and nobody's keys or settings of ssh."""
    (tmp_path / "plugins" / "plain").mkdir(parents=True)
    (tmp_path / "plugins" / "plain" / "plugin.toml").write_text(PLUGIN)
    (tmp_path / "plugins" / "plain" / "__init__.py").write_text("")
    (tmp_path / "models" / "checkpoint").mkdir(parents=True)
    (tmp_path / "models" / "checkpoint" / "dream.safetensors").write_bytes(b"x" * 100)
    own = {name: tmp_path / name for name in ("data", "outputs", "models", "packages")} | {
        "plugins": [tmp_path / "plugins"]
    }
    (tmp_path / "config.toml").write_text("".join(f"{key} = {toml(value)}\n" for key, value in own.items()))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return tmp_path


@pytest.fixture
def deploy(here, machine, monkeypatch, capsys):
    """The command, which gives back (exit code, what it printed). Nothing is installed there but a link to Python."""

    async def install(connection, python, folder, name, record, tell):
        machine.run("sh", "-c", f"mkdir -p {folder}/code/.venv/bin; ln -sf {python} {folder}/code/.venv/bin/python")
        machine.run("touch", f"{folder}/code/.venv/installed.txt")
        return steps.Place(f"{folder}/code/plugins/{name}", f"{folder}/code/.venv/bin/python")

    monkeypatch.setattr(steps, "_install", install)

    def run(*words):
        try:
            code = command.main(["--config", str(here / "config.toml"), *map(str, words)])
        except SystemExit as ended:
            code = ended.code
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    yield run
    machine.run("sh", "-c", "rm -rf /home/artist/.stable-core")


def of(machine):
    return f"ssh://{machine.user}@{machine.host}:{machine.port}"


def record_of(here, name):
    return Records(here / "data").read(name)


def test_a_machine_is_deployed_to_used_no_more_and_cleared(deploy, here, machine):
    words = [
        "--name",
        "gpu",
        "--key",
        machine.key,
        "--plugins",
        "plain",
        "--models",
        "checkpoint/dr*",
        "--when",
        "busy",
    ]
    code, said = deploy(of(machine), *words, "--host-key", machine.fingerprint, "--priorities", "batch")
    assert code == 0, said
    assert f"host key  {machine.fingerprint} (as expected)" in said
    assert "deployed  gpu in /home/artist/.stable-core/gpu\nNext: python3 server.py; it connects by itself." in said
    assert (machine.home / ".stable-core/gpu/models/checkpoint/dream.safetensors").stat().st_size == 100
    record = record_of(here, "gpu")
    assert (record.on, record.host_key, record.rule.when) == (True, machine.host_key, "busy")
    code, said = deploy(*f"ssh -p {machine.port} {machine.user}@{machine.host} -L 80:localhost:80 --when only".split())
    assert code == 0 and "copied" not in said, said  # with the key that it has left there
    code, said = deploy(of(machine), "--folder", "elsewhere")
    assert code == 1 and "gpu is in /home/artist/.stable-core/gpu there, and stays in that folder." in said
    assert "idle_minutes cannot be" in deploy(of(machine), "--idle-minutes", "-1")[1]
    rule = record_of(here, "gpu").rule
    assert (rule.when, rule.priorities, record_of(here, "gpu").plugins) == ("only", ["batch"], ["plain"])
    assert f"gpu          no server    {machine.user}@{machine.host}:22" in deploy("list")[1]
    assert json.loads(deploy("list", "--json")[1])[0]["record"]["name"] == "gpu"
    code, said = deploy("status", "gpu")
    assert f"host key  {machine.fingerprint}" in said and "rule      batch jobs run there only" in said
    code, said = deploy("stop", "gpu")
    assert (code, record_of(here, "gpu").on) == (0, False), said
    assert deploy("start", "gpu")[0] == 0 and record_of(here, "gpu").on
    code, said = deploy("destroy", "gpu")
    assert code == 1 and "nobody was there to be asked. --yes agrees beforehand." in said
    code, said = deploy("destroy", "gpu", "--yes")
    assert (code, said) == (0, "removed   /home/artist/.stable-core/gpu there\nforgot    gpu\n")
    assert not (machine.home / ".stable-core/gpu").exists() and not (here / "data/remotes/gpu").exists()
    assert "stable-core" not in (machine.home / ".ssh/authorized_keys").read_text()
    assert deploy("list")[1].startswith("No machines. Next: ")


def test_another_host_key_is_refused_until_it_is_trusted(deploy, here, machine):
    deploy(of(machine), "--name", "gpu", "--key", machine.key, "--plugins", "plain")
    before = machine.fingerprint
    machine.new_host_key()
    code, said = deploy(of(machine))
    assert code == 1 and f"it was {before} and is {machine.fingerprint} now. Nothing was sent" in said
    assert said.endswith("python3 server.py deploy trust gpu\n")
    code, said = deploy("trust", "gpu")
    assert code == 1 and f"before    {before}\nnow       {machine.fingerprint}\n" in said
    assert record_of(here, "gpu").host_key != machine.host_key
    code, said = deploy("trust", "gpu", "--host-key", before)
    assert code == 1 and f"gpu shows {machine.fingerprint}, not {before}: nothing was changed." in said
    machine.run("sh", "-c", "rm -rf /home/artist/.stable-core; sed -i /stable-core/d /home/artist/.ssh/authorized_keys")
    assert deploy("trust", "gpu", "--host-key", machine.fingerprint)[0] == 0  # it was made anew
    assert deploy(of(machine), "--key", machine.key)[0] == 0
    assert deploy("trust", "gpu")[1] == f"same key  {machine.fingerprint}\n"


def test_a_first_contact_with_another_key_than_expected_leaves_nothing(deploy, here, machine):
    code, said = deploy(of(machine), "--key", machine.key, "--plugins", "plain", "--host-key", "SHA256:" + "A" * 43)
    assert code == 1 and f"is {machine.fingerprint}, not SHA256:AAAA" in said
    assert Records(here / "data").names() == [] and not (machine.home / ".stable-core").exists()


def test_a_password_in_the_environment_lets_in(deploy, machine, monkeypatch):
    code, said = deploy(of(machine), "--name", "gpu", "--plugins", "plain")
    assert code == 1 and "does not let artist in with nothing" in said and sshd.PASSWORD not in said
    monkeypatch.setenv("STABLE_CORE_SSH_PASSWORD", sshd.PASSWORD)
    code, said = deploy(of(machine), "--name", "gpu", "--plugins", "plain")
    assert code == 0 and sshd.PASSWORD not in said
    monkeypatch.delenv("STABLE_CORE_SSH_PASSWORD")
    assert deploy(of(machine))[0] == 0  # its own key is there by now


@pytest.mark.parametrize(("what", "code"), [("ctrl-c", 130), ("closed", 1)])
def test_a_terminal_is_as_before_when_it_ends_while_a_password_is_asked_for(here, machine, what, code):
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    terminal, side = pty.openpty()
    words = ["deploy", "--config", here / "config.toml", of(machine), "--plugins", "plain"]
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), side)
    process = subprocess.Popen([sys.executable, "server.py", *words], cwd=ROOT, start_new_session=True, **streams)
    said = b""
    while b"Password of artist@" not in said:
        said += os.read(terminal, 1000)
    wait_until(lambda: not termios.tcgetattr(side)[3] & termios.ECHO)
    process.send_signal(signal.SIGINT) if what == "ctrl-c" else machine.drop()
    assert process.wait(20) == code
    assert termios.tcgetattr(side)[3] & termios.ECHO
    os.close(terminal)
    os.close(side)


def test_a_full_disk_is_found_before_anything_is_copied(deploy, here, machine):
    machine.fill(3_000_000)
    try:
        code, said = deploy(of(machine), "--name", "gpu", "--key", machine.key, "--plugins", "plain")
    finally:
        machine.free()
    assert code == 1 and "/home/artist/.stable-core/gpu has 3 MB free, and" in said and "Free some space there" in said
    assert "not deployed" in deploy("list")[1] and "is not deployed to the end" in deploy("start", "gpu")[1]
    code, said = deploy(of(machine))
    assert code == 1 and "does not let artist in" in said  # that has not come so far
    assert deploy(of(machine), "--key", machine.key)[0] == 0


def test_a_command_that_was_killed_is_gone_on_with(deploy, here, machine):
    (here / "models/checkpoint/large.ckpt").write_bytes(os.urandom(1 << 20) * 40)
    words = [of(machine), "--name", "gpu", "--key", machine.key, "--plugins", "plain", "--models", "checkpoint/large*"]
    start = [sys.executable, "server.py", "deploy", "--config", here / "config.toml", *words]
    process = subprocess.Popen(start, cwd=ROOT, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    part = machine.home / ".stable-core/gpu/models/checkpoint/large.ckpt.part"
    wait_until(lambda: part.exists() and part.stat().st_size > 3_000_000)
    process.send_signal(signal.SIGKILL)
    process.wait()
    code, said = deploy(*words)
    assert code == 0, said
    sent = float(said.partition("copied ")[2].split()[0])
    assert 1 < sent < 40, said  # of 42 MB
    assert part.with_suffix("").stat().st_size == 40 << 20


def test_a_folder_that_holds_other_things_is_not_removed(deploy, machine):
    deploy(of(machine), "--name", "gpu", "--key", machine.key, "--plugins", "plain")
    machine.run("touch", "/home/artist/.stable-core/gpu/thesis.tex")
    code, said = deploy("destroy", "gpu", "--yes")
    assert code == 1 and "could not be removed there: it also holds thesis.tex." in said and "--forget" in said
    assert (machine.home / ".stable-core/gpu/code/core/worker.py").exists()
    assert deploy("destroy", "gpu", "--yes", "--forget")[1] == "forgot    gpu\n"


@pytest.mark.parametrize(
    "words, said",
    [
        ("statsu gpu", "there is no action statsu. Did you mean status? A machine of that name is ssh://statsu."),
        ("status gpu", "there is no machine 'gpu'. There are none."),
        ("--plugins plian ssh://h", "there is no plugin 'plian'. Did you mean plain?"),
        ("ssh://h --plugins plain --name GPU", "name cannot be 'GPU'"),
        ("ssh://h --plugins plain --priorities hurry", "priorities can be interactive, normal, batch, not hurry."),
        ("ssh://h --plugins plain --when never", "invalid choice: 'never'"),
        ("ssh://h --plugins plain --idle-minutes -1", "idle_minutes cannot be"),
        ("ssh://h --plugins plain --devices cuda0", "'cuda0' is no device: say auto, cpu, cuda:0, xpu:0, mps ..."),
        ("ssh://h --plugins plain --models lora/x", "no model fits 'lora/x'."),
        ("", "ADDRESS is ssh://user@host:port"),
        ("to --plugins plain", "no machine is named."),
        ("--name", "expected one argument"),
        ("ssh://h:port", "is no address: Port could not be cast"),
        ("h ls", "'h' is followed by 'ls'"),
        ("ssh://127.0.0.1:1 --plugins plain", "cannot be reached"),
    ],
)
def test_what_makes_no_sense_is_told(deploy, words, said):
    code, printed = deploy(*words.split())
    assert (code or not words) and said in printed, printed
    assert "Traceback" not in printed


def test_names_come_from_addresses(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    records = Records(tmp_path)
    names = {"gpu.example.org": "gpu", "1.2.3.4": "gpu1", "::1": "gpu1", "Box_7.lan": "box-7", "7up": "gpu1"}
    assert {host: deploying.name_for(Address(host), records) for host in names} == names
    records.write(Remote(name="gpu", host="gpu.example.org", port=22, user="me"))
    assert deploying.name_for(Address("gpu.example.org", 22, "me"), records) == "gpu"
    assert deploying.name_for(Address("gpu.example.org", 23, "me"), records) == "gpu1"


def test_settings_of_ssh_count(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/one").write_text("")
    box = "Host box\n  HostName gpu.example.org\n  Port 2222\n  User me\n  IdentityFile ~/.ssh/one\n"
    (tmp_path / ".ssh/config").write_text(box + "Host far\n  ProxyJump hop\n")
    assert deploying.resolved(Address("box")) == Address("gpu.example.org", 2222, "me", tmp_path / ".ssh/one")
    assert deploying.resolved(Address("box", 22, "you")).port == 22
    with pytest.raises(InvalidParams, match="leads to far over hop, which is not supported"):
        deploying.resolved(Address("far"))
    (tmp_path / ".ssh/config").write_text("Port many\n")
    with pytest.raises(InvalidParams, match="config cannot be read: .*Invalid Port"):
        deploying.resolved(Address("box"))


def test_chosen_are_the_plugins_that_have_pytorch(here):
    from core.ops.config import Config

    assert {"stable_diffusion", "upscale", "diffusers"} <= {*deploying.plugins_for(Config())}
    assert not {"color", "batch", "script", "text"} & {*deploying.plugins_for(Config())}
