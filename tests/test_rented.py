"""A machine that is rented (from a double) and deployed to over a real sshd."""

import pytest

from core.remote import command, providers, rental, steps
from core.remote.ledger import Ledger
from core.remote.records import Records
from core.remote.steps import Ready
from tests import sshd
from tests.providers import KEYS, double
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
            machine.authorize(key)
            return make(label, body)

        made.machine, made.make = machine, begin
        made.end = lambda identity: machine.stop() or end(identity)
        monkeypatch.setenv("STABLE_CORE_TEST_RUNPOD_URL", made.url)
        monkeypatch.setenv(providers.VARIABLES["runpod"], KEYS["runpod"])
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
