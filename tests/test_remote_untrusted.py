"""What another machine says is not trusted: it names no files here, and steers no terminal."""

import argparse
import asyncio

import pytest

from core.errors import Conflict, Timeout
from core.ops.config import Config
from core.remote import command, connection, managing
from core.remote.link import MOST_LOGS, Device, Link
from core.remote.records import Records, Remote, State


class Liar:
    """A host that answers whatever is asked for."""

    async def ask(self, do, **more):
        return {"text": "written by somebody else\n", "next": 25}


def fetched(tmp_path, names):
    """The files that a link makes of the logs that a machine says it has."""
    link = Link.__new__(Link)
    link.data, link._name, link._log_at = tmp_path / "data", "gpu1", {}
    asyncio.run(link._fetch_logs(Liar(), dict.fromkeys(names, 25)))
    return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())


def test_a_machine_cannot_say_where_its_logs_are_kept_here(tmp_path):
    names = ["../../jobs", "..", f"{tmp_path}/absolute", ".hidden", "a/b", "a\0b", "", "x" * 300, "text-cpu", "host"]
    assert fetched(tmp_path, names) == ["data/logs/gpu1/host.log", "data/logs/gpu1/text-cpu.log"]


def test_a_machine_cannot_fill_the_disk_with_logs(tmp_path):
    for begin in (0, 500):
        assert len(fetched(tmp_path, map(str, range(begin, begin + 1_000)))) == MOST_LOGS


def test_a_machine_cannot_steer_the_terminal_that_shows_it(tmp_path, capsys):
    evil, records = "\x1b]0;owned\x07\x1b[2J", Records(tmp_path)
    error = {"code": "conflict", "message": f"It said: {evil}\nand more.", "hint": ""}
    about = {"step": evil, "error": error, "devices": {evil: {"title": evil}}, "workers": [{"plugin": evil}]}
    records.write(Remote(name="gpu1", host="h", user="me", folder="/srv", on=True))
    records.write_state("gpu1", State(state="failed", **about))
    (tmp_path / "logs").mkdir()
    assert managing.status(argparse.Namespace(name="gpu1", json=False), Config(data=tmp_path)) == 0
    out = capsys.readouterr().out
    assert "owned" in out and "\x1b" not in out and "\x07" not in out
    assert "It said: ?]0;owned??[2J and more." in out


class Silent:
    """A connection whose other end is alive and answers nothing."""

    async def create_process(self, command, **options):
        await asyncio.Event().wait()

    def start_sftp_client(self):
        return self

    async def __aenter__(self):
        await asyncio.Event().wait()

    async def __aexit__(self, *error):
        pass


@pytest.mark.parametrize("ask", [lambda it: connection.run(it, ["true"]), lambda it: connection.authorize(it, "a b c")])
def test_a_machine_that_answers_nothing_is_not_waited_for(monkeypatch, ask):
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.01)
    with pytest.raises(Timeout, match="within 0.01 s"):
        asyncio.run(ask(Silent()))


def test_of_what_a_machine_says_without_end_only_some_is_kept(monkeypatch):
    monkeypatch.setattr(connection, "MOST_SAID", 10)
    pieces = iter(["abc"] * 1000)

    class Talker:
        async def read(self, size):
            return next(pieces, "")

    assert asyncio.run(connection.text_of(Talker())) == "abcabcabca" and next(pieces, None) is None


@pytest.mark.parametrize("more", [{"free_bytes": 10**400}, {"total_bytes": -1}, {"title": "x" * 10_000}])
def test_a_machine_cannot_have_more_memory_than_there_is(more):
    with pytest.raises(ValueError):
        Device(**{"title": "x", "free_bytes": None, "total_bytes": None} | more)


BROKEN = [b"", b"\xff", b"[]", b'{"name": "gpu1"}', b'{"name": "gpu2", "host": "h", "user": "u"}']
BROKEN += [b'{"name": "gpu1", "host": "h", "user": "u", "port": 99999}']
BROKEN += [b'{"name": "gpu1", "host": "h", "user": "u", "idle_minutes": 1e999}']


@pytest.mark.parametrize("text", BROKEN)
def test_a_record_that_makes_no_sense_is_named_and_can_be_forgotten(tmp_path, capsys, text):
    records = Records(tmp_path)
    records.write(Remote(name="good", host="h", user="me"))
    records.of("gpu1").mkdir()
    (records.of("gpu1") / "record.json").write_bytes(text)
    (records.of("gpu1") / "state.json").write_bytes(b"\xff")
    assert records.state("gpu1") == State()
    with pytest.raises(Conflict, match="record.json cannot be read"):
        records.read("gpu1")
    assert command.main(["--data", str(tmp_path), "list"]) == 1
    told = capsys.readouterr()
    assert "good" in told.out and "destroy gpu1 --forget" in told.err
    assert command.main(["--data", str(tmp_path), "destroy", "gpu1", "--forget", "--yes"]) == 0
    assert records.names() == ["good"]


def test_a_host_key_in_a_record_that_is_none_is_said_to_be_so():
    with pytest.raises(Conflict, match="is no host key"):
        connection.fingerprint("nonsense")
