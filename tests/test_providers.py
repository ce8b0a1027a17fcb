"""Rented machines: found, made, waited for, ended in each way in which it can go wrong. No live service is asked."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from core.auth import OWNER
from core.errors import Conflict, CoreError, Forbidden, InvalidParams, NotFound, Timeout, Unauthorized
from core.ops import bootstrap
from core.ops.config import Config
from core.ops.remotes import Remotes
from core.remote import connection, leaving, providers, rental, spending
from core.remote import renting as terminal
from core.remote.ledger import Ledger
from core.remote.providers import Wish, web
from core.remote.records import STEPS_LOCK, Records, Rented
from core.remote.rental import Limits
from tests.providers import KEYS, double, sshd
from tests.serving import ROOT
from tests.shell import Terminal

WISH = Wish("RTX 4090", max_price=0.60, spend_limit=5)
LIMITS = Limits(found=0.2, scheduling=60, pulling=60, answering=60, login=60, ended=60, pause=0.01)
STUCK = Limits(found=0.2, scheduling=0.1, pulling=0.1, answering=0.1, ended=60, pause=0.01)
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLE stable-core gpu1"
CREATE = {"runpod": ("POST", "/v1/pods$"), "vast": ("PUT", "/asks/")}
LOOK = {"runpod": ("GET", "/v1/pods/"), "vast": ("GET", "/v0/instances/")}
END = {"runpod": ("DELETE", "/v1/pods/"), "vast": ("DELETE", "/v0/instances/")}
pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def address():
    with sshd() as found:
        yield found


@pytest.fixture(params=["runpod", "vast"])
def cloud(request, address, monkeypatch):
    """A double of one provider; its key is in the environment, and pauses are short."""
    with double(request.param, address) as made:
        monkeypatch.setenv(f"STABLE_CORE_TEST_{made.name.upper()}_URL", made.url)
        monkeypatch.setenv(providers.VARIABLES[made.name], KEYS[made.name])
        monkeypatch.setattr(web, "PAUSE_SECONDS", 0.001)
        yield made


class Renting:
    """What a command does, with what it says; the machine is kept if `work` goes well."""

    def __init__(self, data, cloud):
        self.data, self.cloud, self.said = data, cloud, []
        self.ledger, self.records = Ledger(data), Records(data)

    def rent(self, wish=WISH, work=lambda record: None, limits=LIMITS):
        provider = providers.of(self.cloud.name, self.data)
        found = rental.offers(provider, wish)
        say = self.said.append
        with rental.rented(self.data, provider, "gpu1", wish, found, PUBLIC_KEY, say, limits) as record:
            self.records.write(record.model_copy(update={"on": True}))
            work(record)
        return record

    def settle(self):
        return rental.settle(self.data, self.said.append, LIMITS)

    def off(self, record, minutes, **columns):
        """Since so long."""
        self.records.write(record.model_copy(update={"on": False} | columns))
        then = time.time() - minutes * 60
        os.utime(self.records.of(record.name) / "record.json", (then, then))

    @property
    def states(self):
        return [entry.what for entry in self.ledger.entries().values()]


@pytest.fixture
def renting(tmp_path, cloud):
    return Renting(tmp_path, cloud)


def test_a_machine_is_found_made_waited_for_and_kept(renting, cloud, address):
    record = renting.rent()
    assert (record.host, record.port, record.user) == (*address, "root")
    machine = cloud.machines[record.rented.id]
    assert re.fullmatch(r"stable-core-gpu1-[0-9a-f]{8}", machine["label"])
    assert PUBLIC_KEY in json.dumps(machine["body"])
    assert (record.rented.price_per_hour, record.rented.spend_limit) == (0.44, 5)
    assert renting.states == ["kept"] and not cloud.gone
    waits = [line.partition("(")[0].strip() for line in renting.said[1:]]
    assert waits == ["wait      for a host", "wait      for its image", "wait      for its sshd"]


def test_what_is_asked_for_stands_on_the_disk_before(renting, cloud):
    seen = []
    answer = cloud.answer

    def look(method, path, query, body):
        if (method, "asks" in path or path == "/v1/pods") in (("PUT", True), ("POST", True)):
            seen.extend(renting.ledger.open())
        return answer(method, path, query, body)

    cloud.answer = look
    renting.rent()
    assert [(entry.what, entry.name, entry.id) for entry in seen] == [("asked", "gpu1", "")]
    assert seen[0].label == next(iter(cloud.machines.values()))["label"]


def test_no_key_is_written_anywhere(renting, cloud):
    cloud.fail(*CREATE[cloud.name], 403, {"error": f"not with {KEYS[cloud.name]}", "msg": KEYS[cloud.name]})
    with pytest.raises(Forbidden) as caught:
        renting.rent()
    assert "not with ***" in str(caught.value) or "***" in str(caught.value)
    renting.rent()
    text = "".join(path.read_text() for path in renting.data.rglob("*") if path.is_file())
    assert KEYS[cloud.name] not in text + "".join(renting.said) + str(caught.value)


def test_the_key_may_be_in_a_file_that_nobody_else_reads(tmp_path, monkeypatch):
    monkeypatch.delenv("VAST_API_KEY", raising=False)
    with pytest.raises(Unauthorized, match="there is no API key for vast.ai") as caught:
        providers.of("vast", tmp_path)
    path = tmp_path / "remotes" / "vast.key"
    assert str(path) in caught.value.extra["hint"]
    path.parent.mkdir()
    path.write_text("abc\n")
    path.chmod(0o644)
    with pytest.raises(Unauthorized, match="others may read"):
        providers.of("vast", tmp_path)
    path.chmod(0o600)
    assert providers.key_of("vast", tmp_path) == "abc"
    path.write_text("my key")
    with pytest.raises(Unauthorized, match="cannot be an API key"):
        providers.key_of("vast", tmp_path)


@pytest.mark.parametrize("given", ["https://evil.example", "http://127.0.0.1.evil.example:80", "http://10.0.0.1:80"])
def test_no_key_is_led_away_by_the_variable_for_tests(given, monkeypatch):
    monkeypatch.setenv("STABLE_CORE_TEST_VAST_URL", given)
    assert leaving.base("vast") == "https://console.vast.ai"


def test_a_wrong_key_is_told(renting, cloud, monkeypatch):
    monkeypatch.setenv(providers.VARIABLES[cloud.name], "wrong")
    with pytest.raises(Unauthorized, match="answers 401"):
        renting.rent()
    assert not renting.ledger.path.exists()


def test_a_card_that_is_too_dear_is_not_rented(renting, cloud):
    cloud.price = 0.71
    with pytest.raises(NotFound, match=r"no RTX 4090 for up to \$0.60 an hour: the cheapest costs \$0.71"):
        renting.rent()
    assert not cloud.machines and not renting.ledger.path.exists()


def test_money_that_does_not_last_for_an_hour_is_refused_before(renting, cloud):
    with pytest.raises(InvalidParams, match=r"--spend 0.3 does not pay for one hour of RTX 4090 \(\$0.44\)"):
        renting.rent(Wish("RTX 4090", 0.60, 0.30))
    assert not cloud.machines


def test_what_costs_nothing_is_a_mistake(renting, cloud):
    cloud.price = 0.0
    with pytest.raises(NotFound, match="no RTX 4090"):
        renting.rent(Wish("RTX 4090", 0.005, 5))
    assert not cloud.machines


@pytest.mark.parametrize("name", ["rtx_4090", "NVIDIA GeForce RTX 4090", "Rtx 4090"])
def test_cards_are_found_by_each_of_their_names(renting, name):
    assert renting.rent(Wish(name, 0.60, 5)).rented


def test_a_card_that_nobody_has_is_told(renting, cloud):
    text = "Did you mean RTX 4090" if cloud.name == "runpod" else "vast.ai has no RTX 4091 left"
    with pytest.raises(NotFound, match=text):
        renting.rent(Wish("RTX 4091", 0.60, 5))


def test_an_offer_that_is_gone_leads_to_the_next(renting, cloud):
    if cloud.name == "runpod":
        body = {"error": "create pod: There are no longer any instances available with the requested specifications."}
        cloud.fail("POST", "/v1/pods$", 500, body)
    else:
        cloud.fail("PUT", "/asks/1001/", 410, {"success": False, "error": "no_such_ask", "msg": "error 410/3907"})
    wish = Wish("RTX 4090", 0.80, 5)
    assert renting.rent(wish).rented.id in cloud.machines
    assert len(cloud.machines) == 1
    assert renting.states == [("asked" if cloud.name == "runpod" else "ended"), "kept"]


def test_where_nothing_is_left_that_is_told_and_nothing_remains(renting, cloud):
    body = {"success": False, "error": "no_such_ask", "msg": "error 404/3603: no_such_ask is not available"}
    cloud.fail(*CREATE[cloud.name], 404, body, times=9)
    with pytest.raises(NotFound, match="has none left of the"):
        renting.rent(Wish("RTX 4090", 0.80, 5))
    assert set(renting.states) == {"ended"}


def test_a_machine_that_was_made_though_the_answer_was_an_error_is_adopted(renting, cloud):
    cloud.fail(*CREATE[cloud.name], 500, b"<html>oops</html>", after=True)
    record = renting.rent()
    assert list(cloud.machines) == [record.rented.id] and renting.states == ["kept"]
    assert any("may have been made all the same" in line for line in renting.said)


def test_making_is_never_asked_twice(renting, cloud):
    cloud.fail(*CREATE[cloud.name], 0, times=9)
    with pytest.raises(Timeout, match="does not answer"):
        renting.rent()
    asked = [
        each for each in cloud.said if each[0] == CREATE[cloud.name][0] and re.search(CREATE[cloud.name][1], each[1])
    ]
    assert len(asked) == 1
    assert renting.states == ["asked"]  # it may yet appear, so it is looked for by others


def test_what_appears_late_is_found_and_ended(renting, cloud):
    cloud.fail(*CREATE[cloud.name], 504)
    with pytest.raises(Timeout):
        renting.rent()
    entry = renting.ledger.open()[0]
    cloud.make(entry.label, {"imageName": "", "env": {}})
    renting.ledger.note(entry, "asked", pid=0)  # its command has ended
    assert renting.settle() == 0
    assert not cloud.machines and renting.states == ["ended"]


def test_what_never_appears_is_forgotten_after_an_hour(renting, cloud, monkeypatch):
    cloud.fail(*CREATE[cloud.name], 504)
    with pytest.raises(Timeout):
        renting.rent()
    renting.ledger.note(renting.ledger.open()[0], "asked", pid=0)
    assert renting.settle() == 1 and renting.states == ["asked"]
    monkeypatch.setattr(rental, "FORGOTTEN_SECONDS", -1)
    assert renting.settle() == 0 and renting.states == ["ended"]


def test_a_price_that_went_up_ends_the_machine(renting, cloud):
    cloud.dearer = 0.30
    cloud.life = ["pulling"]
    with pytest.raises(Conflict, match=r"costs \$0.74 an hour, not up to \$0.60"):
        renting.rent()
    assert not cloud.machines and renting.states == ["ended"]


@pytest.mark.parametrize(
    ("stage", "text"),
    [("scheduling", "has no host yet after"), ("pulling", "is still fetching its image after")],
)
def test_a_machine_that_is_stuck_is_ended(renting, cloud, stage, text):
    cloud.life = [stage]
    with pytest.raises(Timeout, match=text):
        renting.rent(limits=STUCK)
    assert not cloud.machines and len(cloud.gone) == 1 and renting.states == ["ended"]


def test_a_machine_without_an_sshd_is_ended(renting, cloud):
    with sshd(says=b"HTTP/1.1 400 Bad Request\r\n") as cloud.address, pytest.raises(Timeout, match="no sshd answers"):
        renting.rent(limits=STUCK)
    assert not cloud.machines and renting.states == ["ended"]


def test_a_machine_that_ends_by_itself_is_told_and_ended(renting, cloud):
    cloud.life = ["pulling", "exited"]
    with pytest.raises(Conflict, match="ended by itself"):
        renting.rent()
    assert not cloud.machines and renting.states == ["ended"]


@pytest.mark.parametrize("cloud", ["vast"], indirect=True)
@pytest.mark.parametrize("status", ["unknown", "offline"])
def test_a_machine_that_its_provider_does_not_hear_of_is_left_alone_once_it_was_used(renting, cloud, status):
    record = renting.rent()
    cloud.machines[record.rented.id]["life"] = [status]
    assert renting.settle() == 1 and cloud.machines
    cloud.life = ["pulling", status]
    with pytest.raises(Conflict, match="is lost"):
        renting.rent()
    assert list(cloud.machines) == [record.rented.id]


def test_a_machine_that_somebody_else_ends_is_told(renting, cloud):
    cloud.life = ["scheduling", "pulling", "gone"]
    with pytest.raises(NotFound, match="is gone: somebody else ended it"):
        renting.rent()
    assert renting.states == ["ended"]


def test_looks_are_tried_again_where_the_provider_is_busy(renting, cloud):
    cloud.fail(*LOOK[cloud.name], 503, times=2)
    cloud.fail(*LOOK[cloud.name], 429, {"detail": "API requests too frequent endpoint threshold=4.5"}, times=2)
    cloud.fail(*CREATE[cloud.name], 429, {"detail": "too frequent"}, headers={"Retry-After": "0"})
    assert renting.rent().rented.id in cloud.machines


@pytest.mark.parametrize(
    "body", [b"<html>maintenance</html>", b"", b"null", b"[1, 2", b'"no"', b'{"id": {}, "instances": [3], "offers": 1}']
)
def test_answers_that_nobody_understands_end_in_a_clear_error(renting, cloud, body):
    cloud.fail(*LOOK[cloud.name], 200, body, times=99)
    with pytest.raises((Conflict, NotFound)):  # the latter where it looks as if the machine were gone
        renting.rent()
    cloud.faults.clear()
    for entry in renting.ledger.open():
        renting.ledger.note(entry, "made", pid=0)
    assert renting.settle() == 0 and not cloud.machines


def test_searches_that_nobody_understands_end_in_a_clear_error(renting, cloud):
    path = "/graphql" if cloud.name == "runpod" else "/bundles/"
    for body in (b"<html>", b'{"data": null}', b'{"offers": null}', b'{"errors": [{"message": "bad"}]}', b"[]"):
        cloud.fail("POST", path, 200, body)
        with pytest.raises(Conflict):
            renting.rent()
    assert not renting.ledger.path.exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), Conflict("no disk there"), ZeroDivisionError()])
def test_whatever_goes_wrong_once_it_runs_ends_it(renting, cloud, error):
    def work(record):
        raise error

    with pytest.raises(type(error)):
        renting.rent(work=work)
    assert not cloud.machines and renting.states == ["ended"]


def test_ctrl_c_while_it_is_being_ended_waits(renting, cloud):
    handler = signal.getsignal(signal.SIGINT)

    def end(identity, before=cloud.end):
        os.kill(os.getpid(), signal.SIGINT)
        while not any("a moment" in line for line in renting.said):
            time.sleep(0.01)
        return before(identity)

    cloud.end = end
    with pytest.raises(Conflict, match="no disk"):
        renting.rent(work=lambda record: (_ for _ in ()).throw(Conflict("no disk")))
    assert not cloud.machines and renting.states == ["ended"]
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_terminal_that_is_closed_keeps_no_machine(renting, cloud):
    provider = providers.of(cloud.name, renting.data)
    given = (renting.data, provider, "gpu1", WISH, rental.offers(provider, WISH), PUBLIC_KEY)

    def say(line):
        if not line.startswith(("rent", "wait")):
            raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(KeyboardInterrupt), rental.rented(*given, say, LIMITS):
        raise KeyboardInterrupt
    assert not cloud.machines and renting.states == ["ended"]


def test_an_end_that_fails_is_told_loudly_and_made_good_later(renting, cloud):
    cloud.life = ["pulling"]
    cloud.fail(*END[cloud.name], 500, times=50)
    with pytest.raises(Timeout, match="still fetching"):
        renting.rent(limits=STUCK)
    assert len(cloud.machines) == 1 and renting.states == ["made"]
    assert any("MAY STILL RUN AND COST $0.44 AN HOUR" in line and "https://" in line for line in renting.said)
    cloud.faults.clear()
    assert renting.settle() == 1  # while that command runs it is its own
    renting.ledger.note(renting.ledger.open()[0], "made", pid=0)
    assert renting.settle() == 0 and not cloud.machines


def test_a_kept_machine_is_ended_when_its_money_is_spent(renting, cloud):
    record = renting.rent()
    assert renting.settle() == 1 and cloud.machines
    about = record.rented.model_copy(update={"created": time.time() - 5 / 0.44 * 3600 - 1})
    renting.records.write(record.model_copy(update={"rented": about, "on": True}))
    assert renting.settle() == 0 and not cloud.machines
    now = renting.records.read("gpu1")
    assert not now.on and now.rented.ended == "was ended, as its $5.00 are spent."


def test_a_kept_machine_that_is_off_for_longer_than_it_may_be_idle_is_ended(renting, cloud):
    record = renting.rent()
    for on, idle_minutes, minutes in ((True, 30, 31), (False, 30, 29), (False, 0, 31)):
        renting.off(record, minutes, on=on, idle_minutes=idle_minutes)
        assert renting.settle() == 1 and cloud.machines
    renting.off(record, 31)
    with (renting.records.of("gpu1") / STEPS_LOCK).open("a") as lock:
        assert bootstrap.try_lock(lock)
        assert renting.settle() == 1 and cloud.machines  # while a command prepares it
    assert renting.settle() == 0 and not cloud.machines
    assert renting.records.read("gpu1").rented.ended == "was ended, as it was off for 30 min."


def test_a_kept_machine_that_is_gone_is_told(renting, cloud):
    record = renting.rent()
    cloud.machines.clear()
    assert renting.settle() == 0
    assert "is gone" in renting.records.read(record.name).rented.ended


def test_a_kept_machine_without_a_record_is_ended(renting, cloud):
    renting.rent()
    (renting.records.of("gpu1") / "record.json").unlink()
    assert renting.settle() == 0 and not cloud.machines


def test_a_record_that_cannot_be_read_keeps_its_machine_and_hinders_no_other(renting, cloud):
    kept = renting.rent().rented.id
    (renting.records.of("gpu1") / "record.json").write_text("{")
    left = renting.ledger.ask(cloud.name, "gpu0", 0.44, 5)
    cloud.make(left.label, {"imageName": "", "env": {}})
    renting.ledger.note(left, "asked", pid=0)
    assert renting.settle() == 1 and list(cloud.machines) == [kept]
    assert "gpu1" in renting.said[-2] and "cannot be looked at" in renting.said[-2]


def test_a_price_that_goes_up_later_shortens_the_time(renting, cloud):
    record = renting.rent()
    cloud.machines[record.rented.id]["price"] = 0.55
    assert renting.settle() == 1
    now = renting.records.read("gpu1").rented
    assert now.price_per_hour == 0.55 and spending.seconds_left(now) < spending.seconds_left(record.rented)


def test_destroying_ends_it_and_does_no_harm_twice(renting, cloud):
    record = renting.rent()
    rental.end(renting.data, record)
    rental.end(renting.data, record)
    assert not cloud.machines and renting.states == ["ended"]
    assert [entry.why for entry in renting.ledger.entries().values()] == ["destroyed"]


def test_destroying_that_fails_says_what_to_do(renting, cloud):
    record = renting.rent()
    cloud.fail(*END[cloud.name], 403, {"error": "no", "msg": "no"}, times=9)
    with pytest.raises(Forbidden, match="gpu1 was not ended") as caught:
        rental.end(renting.data, record)
    assert "end it by hand: https://" in caught.value.extra["hint"]


class Commands:
    """python3 server.py deploy runpod|vast|search ..., with another deployment than the real one."""

    def __init__(self, data, monkeypatch):
        self.config, self.deployed, self.work = Config(data=data), [], lambda record: None
        self.parser = argparse.ArgumentParser(prog="deploy", allow_abbrev=False)
        terminal.add_all(
            self.parser.add_subparsers(), lambda flags: flags.add_argument("--name"), lambda *_: self.deploy
        )
        monkeypatch.setattr(rental.rented.__wrapped__, "__defaults__", (LIMITS,))
        monkeypatch.setattr(connection, "own_key", lambda folder, name: PUBLIC_KEY)

    def deploy(self, record):
        Records(self.config.data).write(record.model_copy(update={"on": True}))
        self.deployed.append(record)
        self.work(record)

    def __call__(self, *words):
        arguments = self.parser.parse_args(words)
        return arguments.run(arguments, self.config)


@pytest.fixture
def commands(tmp_path, monkeypatch, cloud):
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield Commands(tmp_path, monkeypatch)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_command_rents_deploys_and_tells_what_it_costs(commands, cloud, capsys):
    commands(cloud.name, "--gpu", "RTX 4090", "--max-price", "0.60", "--spend", "5", "--yes")
    told = capsys.readouterr().out
    assert [record.name for record in commands.deployed] == [f"{cloud.name}1"]
    assert f"rented    {cloud.name}1 for $0.44 an hour; it ends for good after 11 h 21 min, or with:" in told
    assert f"server.py deploy destroy {cloud.name}1" in told and KEYS[cloud.name] not in told
    commands(cloud.name, "--gpu", "RTX 4090", "--max-price", "$0.60", "--spend", "5", "--yes", "--name", "big")
    with pytest.raises(Conflict, match="there is a machine big already"):
        commands(cloud.name, "--gpu", "RTX 4090", "--max-price", "0.60", "--spend", "5", "--yes", "--name", "big")
    commands(
        cloud.name,
        "--gpu",
        "RTX 4090",
        "--max-price",
        "0.60",
        "--spend",
        "5",
        "--yes",
        "--disk",
        "80",
        "--region",
        "de",
    )
    assert [record.name for record in commands.deployed] == [f"{cloud.name}1", "big", f"{cloud.name}2"]


def test_it_asks_before_it_costs(commands, cloud, monkeypatch):
    words, asked = [cloud.name, "--gpu", "RTX 4090", "--max-price", "0.60", "--spend", "5"], []
    with pytest.raises(Conflict, match="nobody was there to be asked"):
        commands(*words)
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda text: asked.append(text) or "")
    with pytest.raises(Conflict, match="as you said no"):
        commands(*words)
    assert asked == [f"Rent it as {cloud.name}1, for $5.00 at the most (11 h 21 min)? [y/N] "]
    assert not cloud.machines


def test_a_deployment_that_fails_ends_the_machine(commands, cloud):
    def work(record):
        raise Conflict("the disk there is too small.")

    commands.work = work
    with pytest.raises(Conflict, match="too small"):
        commands(cloud.name, "--gpu", "RTX 4090", "--max-price", "0.60", "--spend", "5", "--yes")
    assert not cloud.machines


def test_what_a_provider_says_cannot_steer_the_terminal(commands, cloud, capsys):
    cloud.fail(*CREATE[cloud.name], 404, {"msg": "gone \x1b[2J", "error": "gone \x1b[2J"})
    commands(cloud.name, "--gpu", "RTX 4090", "--max-price", "0.80", "--spend", "5", "--yes")
    told = capsys.readouterr().out
    assert "gone ?[2J" in told and "\x1b" not in told


def test_offers_are_listed_for_people_and_programs(commands, cloud, capsys):
    commands("search", cloud.name, "--gpu", "RTX 4090")
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("$0.440   an hour  RTX 4090 (24 GB)") and len(told) == 3
    assert told[-1] == f'Next: python3 server.py deploy {cloud.name} --gpu "RTX 4090" --max-price 0.44 --spend 5'
    commands("search", cloud.name, "--gpu", "RTX 4090", "--json")
    assert [each["price"] for each in json.loads(capsys.readouterr().out)] == pytest.approx(
        [0.44, 0.69 if cloud.name == "runpod" else 0.45]
    )


@pytest.mark.parametrize(
    "words",
    [["--max-price", "free"], ["--max-price", "nan"], ["--spend", "-1"], ["--spend", "inf"], ["--disk", "5"],
     ["--disk", "1e3"], ["--region", "../x"], ["--gp", "x"]],
)  # fmt: skip
def test_flags_that_make_no_sense_are_refused(commands, cloud, words, capsys):
    with pytest.raises(SystemExit):
        commands(cloud.name, "--gpu", "RTX 4090", "--max-price", "0.60", "--spend", "5", "--yes", *words)
    assert words[0] in capsys.readouterr().err and not cloud.said


def test_the_server_ends_what_was_left_and_what_is_spent(renting, cloud):
    left = renting.ledger.ask(cloud.name, "gpu0", 0.44, 5)
    cloud.make(left.label, {"imageName": "", "env": {}})
    renting.ledger.note(left, "asked", pid=0)
    record = renting.rent()
    about = record.rented.model_copy(update={"created": 1000.0})
    renting.records.write(record.model_copy(update={"rented": about}))  # it is off, so no link is started
    pool, store = SimpleNamespace(placing=SimpleNamespace(), url="http://nowhere"), SimpleNamespace(all=lambda *_: [])
    remotes = Remotes(
        Config(data=renting.data), store, pool, SimpleNamespace(), None, None, "token", lambda f, *g: f(*g)
    )
    try:
        until = time.monotonic() + 60
        while renting.ledger.open() or remotes._links:
            remotes.look()
            assert time.monotonic() < until, (renting.data / "logs" / "remote-rented_machines.log").read_text()
            time.sleep(0.05)
    finally:
        remotes.stop()
    assert not cloud.machines
    error = remotes._state("gpu1").error
    assert error["message"] == "gpu1 was ended, as its $5.00 are spent." and "deploy destroy gpu1" in error["hint"]
    with pytest.raises(Conflict, match="are spent"):
        remotes.remote(OWNER, "gpu1", "start")


DYING = """
import os, sys
from pathlib import Path
from core.remote import providers, rental
from tests.test_providers import PUBLIC_KEY, LIMITS, WISH
data, name, moment = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
provider = providers.of(name, data)
found = rental.offers(provider, WISH)
if moment == "making":
    create = provider.create
    provider.create = lambda *given: (create(*given), os.kill(os.getpid(), 9))
with rental.rented(data, provider, "gpu1", WISH, found, PUBLIC_KEY, lambda line: print(line, flush=True), LIMITS):
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("moment", ["making", "using"])
def test_what_a_killed_command_left_is_found_and_ended(renting, cloud, moment):
    command = [sys.executable, "-c", DYING, str(renting.data), cloud.name, moment]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert len(cloud.machines) == 1 and renting.states == ["asked" if moment == "making" else "made"]
    assert renting.settle() == 0 and not cloud.machines


def test_a_ledger_whose_last_line_is_torn_is_read_and_goes_on(tmp_path):
    ledger = Ledger(tmp_path)
    first = ledger.ask("vast", "gpu1", 0.4, 5)
    with ledger.path.open("ab") as file:
        file.write(b'{"label": "stable-core-gpu1')
    second = ledger.ask("runpod", "gpu2", 0.5, 5)
    ledger.note(first, "made", id="4")
    assert [(each.label, each.what, each.id) for each in ledger.open()] == [
        (first.label, "made", "4"), (second.label, "asked", ""),
    ]  # fmt: skip
    with ledger.path.open("ab") as file:
        file.write(b'[1]\n"x"\n\xff\xfe\n{"label": "new", "provider": "vast"}\n')
    assert len(ledger.open()) == 2


def test_a_machine_ends_itself_with_its_own_key(cloud, monkeypatch):
    made = cloud.make("label", {"imageName": "", "env": {}})
    monkeypatch.setenv(leaving.KEYS[cloud.name], KEYS[cloud.name])
    rented = Rented(provider=cloud.name, id=made["id"], price_per_hour=0.4, spend_limit=1, created=time.time())
    command = [sys.executable, *spending.leaving(rented)]
    assert subprocess.run(command, cwd=ROOT, timeout=60).returncode == 0
    assert not cloud.machines


def test_a_machine_that_cannot_end_itself_goes_on_trying(cloud, monkeypatch, capfd):
    monkeypatch.setenv(leaving.KEYS[cloud.name], "withdrawn")
    monkeypatch.setattr(leaving, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(leaving, "TRIES", 3)
    monkeypatch.setitem(leaving.COMMANDS, cloud.name, ["no-such-command"])
    assert leaving.main(cloud.name, "4711") == 1
    assert capfd.readouterr().out.count(f"{cloud.name} answers 401") == 3
    monkeypatch.setitem(leaving.COMMANDS, cloud.name, ["true"])
    assert leaving.main(cloud.name, "4711") == 0


def test_the_environment_of_the_container_is_read(tmp_path):
    path = tmp_path / "environ"
    path.write_bytes(b"CONTAINER_API_KEY=a=b\0PATH=/nowhere\0\xff\0")
    found = leaving.environment(path)
    assert found["CONTAINER_API_KEY"] == "a=b" and found["PATH"] == os.environ["PATH"]


def test_what_a_machine_runs_at_its_start_is_a_script(cloud):
    if cloud.name == "runpod":
        from core.remote.providers.runpod import start_script

        script = start_script(40909)
    else:
        from core.remote.providers.vast import start_script

        script = start_script(40909, PUBLIC_KEY)
    assert "sleep 40909; curl -fsS -X DELETE" in script and len(script) < 4048
    assert subprocess.run(["bash", "-n", "-c", script], timeout=20).returncode == 0


def test_spending_is_counted_from_the_moment_of_asking():
    rented = Rented(provider="vast", id="4", price_per_hour=0.5, spend_limit=2, created=1000)
    assert spending.spent(rented, 1000 + 3600) == 0.5 and spending.seconds_left(rented, 1000) == 4 * 3600
    assert spending.spent(rented, 10) == 0 and spending.seconds_left(rented, 1000 + 5 * 3600) == -3600


def test_every_error_is_one_of_ours():
    for status in (400, 402, 403, 404, 409, 410, 418, 429, 500, 503):
        assert isinstance(web.Web("RunPod", "k")._error(status, "no"), CoreError)
