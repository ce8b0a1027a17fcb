"""What another machine says is not trusted: it names no files here, and steers no terminal."""

import argparse
import asyncio

from core.ops.config import Config
from core.remote import managing
from core.remote.link import MOST_LOGS, Link
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
