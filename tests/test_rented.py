"""A machine that is rented (from a double) and deployed to over a real sshd."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from core.remote import command, leaving, providers, rental, spending, steps
from core.remote.ledger import Ledger
from core.remote.records import Records, Rented
from core.remote.steps import Ready
from tests import sshd
from tests.providers import KEYS, double
from tests.serving import ROOT, wait_until
from tests.test_providers import LIMITS

ECHO = """from core.plugin import *
class Echo(Plugin):
    @job()
    def echo(self, text: str = "") -> Text:
        return text
"""
WORDS = ["runpod", "--gpu", "RTX 4090", "--max-price", "0.60", "--spend", "5", "--plugins", "echo", "--yes"]


@pytest.fixture
def cloud(monkeypatch, tmp_path):
    """A provider whose only machine is a real one, which lets in the key that it was made with, until it is ended."""
    with sshd.machine(user="root", size="20m") as machine, double("runpod", (machine.host, machine.port)) as made:
        make, end, key = made.make, made.end, tmp_path / "key.pub"
        (machine.home / ".ssh" / "authorized_keys").write_text("")

        def begin(label, body):
            key.write_text(f"{body['env']['PUBLIC_KEY']}\n")
            threading.Timer(1, machine.authorize, [key]).start()
            return make(label, body)

        made.machine, made.make = machine, begin
        made.end = lambda identity: machine.stop() or end(identity)
        monkeypatch.setenv("STABLE_CORE_TEST_RUNPOD_URL", made.url)
        monkeypatch.setenv(providers.VARIABLES["runpod"], KEYS["runpod"])
        monkeypatch.setattr(rental, "LIMITS", LIMITS)
        monkeypatch.setattr(rental.rented.__wrapped__, "__defaults__", (LIMITS,))
        yield made


@pytest.fixture
def config(tmp_path):
    folder = tmp_path / "plugins" / "echo"
    folder.mkdir(parents=True)
    (folder / "plugin.toml").write_text('name = "echo"\nversion = "1"\napi = 1\n')
    (folder / "__init__.py").write_text(ECHO)
    path = tmp_path / "config.toml"
    own = {name: str(tmp_path / name) for name in ("data", "outputs", "models", "packages")}
    path.write_text(
        "".join(f'{name} = "{value}"\n' for name, value in own.items()) + f'plugins = ["{folder.parent}"]\n'
    )
    return path


def test_a_rented_machine_lets_its_key_in_and_one_with_too_small_a_disk_is_ended(cloud, config, monkeypatch, capsys):
    async def bring_up(connection, record, sources, tell):
        assert (await connection.run("whoami")).stdout == "root\n" and list(sources.plugins) == ["echo"]
        return Ready("/root/.stable-core/runpod1", "python3", {}, "code")

    data, real = config.parent / "data", steps.bring_up
    monkeypatch.setattr(steps, "bring_up", bring_up)
    assert command.main(["--config", str(config), *WORDS]) == 0, capsys.readouterr().err
    assert "wait      for it to let our key in" in capsys.readouterr().out
    record = Records(data).read("runpod1")
    assert record.on and record.host_key == cloud.machine.host_key and record.rented.id in cloud.machines
    assert [entry.what for entry in Ledger(data).open()] == ["kept"]

    monkeypatch.setattr(steps, "bring_up", real)
    assert command.main(["--config", str(config), *WORDS]) == 1
    assert "free" in capsys.readouterr().err
    assert len(cloud.machines) == 1 and Records(data).names() == ["runpod1"]
    cloud.machine.boot()
    assert command.main(["--config", str(config), "destroy", "runpod1", "--yes"]) == 0
    assert not cloud.machines and not Records(data).names() and not Ledger(data).open()


def test_a_machine_ends_when_its_money_is_spent_though_nobody_is_connected(cloud, monkeypatch):
    made = cloud.make("label", {"imageName": "", "env": {"PUBLIC_KEY": ""}})
    rented = Rented(provider="runpod", id=made["id"], price_per_hour=0.5, spend_limit=1, created=time.time() - 7199)
    ending = {"idle_minutes": 30, "seconds_left": spending.seconds_left(rented)}
    ending["command"] = [sys.executable, *spending.leaving(rented)]
    hello = {"id": 1, "do": "hello", "server": "me", "devices": ["cpu"], "backend": "cpu", "ending": ending, "code": ""}
    monkeypatch.setenv(leaving.KEYS["runpod"], KEYS["runpod"])
    with tempfile.TemporaryDirectory(prefix="stable-core-") as folder:  # a short path, as of any socket
        command = [sys.executable, "-m", "core.remote.host", folder]
        relay = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True)
        relay.stdin.write(json.dumps(hello | {"wake": True}) + "\n")
        relay.stdin.flush()
        host = json.loads(relay.stdout.readline())["pid"]
        relay.kill()
        try:
            wait_until(lambda: made["id"] in cloud.gone)
        finally:
            os.kill(host, signal.SIGKILL)
            relay.communicate()
