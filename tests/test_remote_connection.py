"""Connections over SSH, with a real sshd: who is let in, whose key is taken, and what is said when it does not work."""

import asyncio
import re
import socket
import threading
import time

import pytest

from core.errors import Conflict, Forbidden, InvalidParams, Timeout, Unauthorized
from core.remote import connection
from core.remote.connection import Login, authorize, connect, fingerprint, host_key, own_key, revoke, run_json
from core.remote.records import Remote
from tests import sshd


@pytest.fixture(scope="module")
def machine():
    with sshd.machine() as machine:
        yield machine


def record(machine, **columns):
    known = {"name": "gpu1", "host": machine.host, "port": machine.port, "user": machine.user}
    return Remote(**(known | {"host_key": machine.host_key} | columns))


def run(record, login, act=None, expected=None):
    """What `act(connection)` returns; without it the machine's host key."""

    async def connected():
        async with await connect(record, login, expected) as there:
            return await act(there) if act else host_key(there)

    return asyncio.run(connected())


def fails(error, match, record, login, **more):
    """The hint of the error that connecting ends with."""
    with pytest.raises(error, match=re.escape(match) if "+" in match else match) as raised:
        run(record, login, **more)
    return raised.value.extra["hint"]


def answering(*answers):
    """As somebody at a terminal: the questions that were asked."""
    questions, left = [], list(answers)

    def ask(question):
        questions.append(question)
        return left.pop(0)

    return questions, ask


def test_the_first_contact_tells_a_key_that_is_held_from_then_on(machine):
    first = run(record(machine, host_key=None), Login(machine.key))
    assert (first, fingerprint(first)) == (machine.host_key, machine.fingerprint)
    assert run(record(machine), Login(machine.key)) == first


def test_a_fingerprint_that_was_told_before_is_compared_at_the_first_contact(machine):
    new = record(machine, host_key=None)
    assert run(new, Login(machine.key), expected=machine.fingerprint) == machine.host_key
    wrong = "SHA256:" + "A" * 43
    hint = fails(Forbidden, f"is {machine.fingerprint}, not {wrong}", new, Login(machine.key), expected=wrong)
    assert "another machine" in hint


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa"])  # of the key that it had before
def test_a_machine_with_another_host_key_gets_no_password_and_says_how_to_accept_it(machine, tmp_path, kind):
    old = sshd.new_key(tmp_path / "old", kind=kind).with_suffix(".pub").read_text()
    old = " ".join(old.split()[:2])
    questions, ask = answering()
    text = f"another host key than at the first contact: it was {fingerprint(old)} and is {machine.fingerprint} now"
    hint = fails(Forbidden, text, record(machine, host_key=old), Login(ask=ask))
    assert hint.endswith("server.py deploy trust gpu1") and not questions


def test_a_password_is_taken_from_the_environment_or_asked_for(machine):
    run(record(machine), Login(password=sshd.PASSWORD))
    questions, ask = answering("wrong", sshd.PASSWORD)
    run(record(machine), Login(ask=ask))
    assert questions == [f"Password of artist@{machine.host}:22: "] * 2


def test_who_types_a_password_may_take_longer_than_the_machine_to_answer(machine, monkeypatch):
    monkeypatch.setattr(connection, "CONNECT_SECONDS", typing := 1)
    run(record(machine), Login(ask=lambda question: time.sleep(typing + 0.5) or sshd.PASSWORD))


def test_a_machine_that_does_not_wait_for_what_is_typed_is_told(machine):
    typed = threading.Event()
    ask = lambda question: machine.drop() or typed.wait(60) and ""  # noqa: E731
    hint = fails(Unauthorized, "closed the connection while it waited", record(machine), Login(ask=ask))
    assert "two minutes" in hint
    typed.set()


def test_a_key_with_a_passphrase_asks_for_it(machine, tmp_path):
    key = sshd.new_key(tmp_path / "key", "open sesame")
    machine.authorize(key.with_suffix(".pub"))
    questions, ask = answering("wrong", "open sesame")
    run(record(machine), Login(key, ask=ask))
    assert questions == [f"Passphrase of {key}: "] * 2
    assert "ssh-add" in fails(Unauthorized, "has a passphrase", record(machine), Login(key))


def test_an_agent_logs_in_with_what_it_holds(machine, monkeypatch):
    with sshd.agent(machine.key) as environment:
        monkeypatch.setenv("SSH_AUTH_SOCK", environment["SSH_AUTH_SOCK"])
        run(record(machine), Login(agent=True))


def test_who_is_not_let_in_is_told_what_was_tried(machine, tmp_path):
    stranger = sshd.new_key(tmp_path / "key")
    hint = fails(Unauthorized, f"does not let artist in with the key {stranger}", record(machine), Login(stranger))
    assert connection.PASSWORD in hint
    fails(Unauthorized, "in with the password", record(machine), Login(password="wrong"))
    fails(Unauthorized, "let nobody in with nothing", record(machine, user="nobody"), Login())


def test_a_file_that_is_no_private_key_is_named(machine, tmp_path):
    fails(InvalidParams, "is no private key of SSH", record(machine), Login(machine.key.with_suffix(".pub")))
    fails(InvalidParams, "No such file", record(machine), Login(tmp_path / "none"))


def test_what_cannot_be_reached_says_why(machine, monkeypatch):
    closed = record(machine, port=1)
    assert "Rented machines" in fails(Timeout, "gpu1 .* cannot be reached: .*refused", closed, Login(machine.key))
    fails(Timeout, "no such host", record(machine, host="no-such-host.invalid"), Login(machine.key))
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.3)
    machine.cut()
    try:
        fails(Timeout, "no answer within 0.3 s|[Nn]o route", record(machine), Login(machine.key))
    finally:
        machine.mend()
    hint = fails(Conflict, "gives a terminal only", record(machine, host="ssh.runpod.io"), Login(machine.key))
    assert "SSH over exposed TCP" in hint


def test_a_server_that_speaks_something_else_is_no_sshd(machine):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            with listener.accept()[0] as client:
                client.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n" * 200)

        threading.Thread(target=answer, daemon=True).start()
        other = record(machine, host="127.0.0.1", port=listener.getsockname()[1])
        fails(Timeout, "cannot be reached", other, Login(machine.key))


def test_a_key_of_its_own_may_log_in_and_open_no_terminal_until_it_is_taken_back(machine, tmp_path):
    line = own_key(tmp_path / "gpu1", "gpu1")
    mine = Login(tmp_path / "gpu1" / "key")
    assert own_key(tmp_path / "gpu1", "gpu1") == line and line.endswith(" stable-core gpu1")
    assert mine.key.stat().st_mode & 0o777 == 0o600
    kept = machine.home / ".ssh" / "authorized_keys"
    kept.write_text(before := kept.read_text().rstrip("\n"))  # as editors leave it
    for _ in range(2):
        run(record(machine), Login(machine.key), lambda there: authorize(there, line))
    assert kept.read_text() == f"{before}\nrestrict,port-forwarding {line}\n"
    assert run(record(machine), mine, lambda there: run_json(there, ["echo", "[1]"])) == [1]
    assert run(record(machine), mine, lambda there: revoke(there, line))
    assert not run(record(machine), Login(machine.key), lambda there: revoke(there, line))
    assert kept.read_text() == f"{before}\n" and kept.stat().st_mode & 0o777 == 0o600
    fails(Unauthorized, "does not let artist in", record(machine), mine)


def test_what_a_command_prints_last_is_read_and_what_it_complains_of_is_told(machine):
    async def asked(there):
        said = await run_json(there, ["sh", "-c", "echo Welcome!; cat"], '{"a": "ü"}\n')
        with pytest.raises(Conflict, match="code 3, saying: no space left"):
            await run_json(there, ["sh", "-c", "echo no space left >&2; exit 3"])
        with pytest.raises(Conflict, match="saying: Welcome!"):
            await run_json(there, ["echo", "Welcome!"])
        with pytest.raises(Timeout, match="no answer to `sleep 60` within 0.2 s"):
            await run_json(there, ["sleep", "60"], seconds=0.2)
        return said

    assert run(record(machine), Login(machine.key), asked) == {"a": "ü"}
