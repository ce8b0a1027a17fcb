"""The command line on a real terminal: completion in real shells, pictures, review by keys, watching."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys

import PIL.Image
import PIL.ImageDraw
import pytest

from tests.serving import ROOT, serve, wait_until
from tests.shell import in_process
from tests.test_cli import DEMO, environment

pexpect = pytest.importorskip("pexpect")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a pseudo terminal")
SHELLS = {"bash": "bash --norc --noprofile -i", "zsh": "zsh -f -i", "fish": "fish --no-config -i"}
ZSH = "autoload -U compinit; compinit -u; "


ECHO = """
class Echo(Plugin):
    @job(light=True)
    def echo(self) -> Text:
        return "from a picture: \\x1b]0;owned\\x07 \\x9b31m"

    @job(light=True)
    def told(self) -> Json:
        return {"from a picture": "\\x9b31m"}
"""


@pytest.fixture(scope="module")
def server():
    with serve({"demo": DEMO, "echo": ECHO}) as server:
        yield server


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


@pytest.fixture
def spawn(server, tmp_path):
    """spawn(command) starts something on a terminal of 24 rows."""
    started = []

    def start(command, **options):
        variables = environment(server) | {
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "XDG_CACHE_HOME": str(tmp_path),
            "PYTHONPATH": "",
        }
        variables.pop("COLUMNS")
        started.append(
            pexpect.spawn(command, cwd=ROOT, env=variables, dimensions=(24, 120), encoding="utf-8", timeout=60)
        )
        return started[-1]

    yield start
    for process in started:
        process.close(force=True)


def cli(words):
    return f"{sys.executable} -m clients.cli {words}"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_tab_completes_jobs_flags_and_choices(spawn, shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    code = cli(f"completion {shell}")
    screen = spawn(SHELLS[shell])
    screen.sendline((ZSH if shell == "zsh" else "") + (f"{code} | source" if shell == "fish" else f'eval "$({code})"'))
    screen.sendline("echo rea''dy")
    screen.expect("ready")
    screen.send("stable-core run dra\t")
    screen.expect(r"draw")
    screen.send("--colo\t")
    screen.expect("--colour")
    screen.send("bl\t")
    screen.expect("blue")
    screen.send("\x03")
    screen.send("python3 -m clients.cli queue pau\t")
    screen.expect("pause")


def test_what_follows_a_pipe_is_completed_too(spawn):
    screen = spawn(SHELLS["bash"])
    screen.sendline(f'eval "$({cli("completion bash")})"; echo rea""dy')
    screen.expect("ready\r")
    screen.send("cat x.png | stable-core run tur\t--im\t")
    screen.expect("turn --image")


def test_ids_and_lists_of_the_server_are_offered(server, client, tmp_path, monkeypatch):
    from clients.cli.completion import Server, parser_for

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    job = client.submit("draw", {"prompt": "a fox"})
    known = Server(["--url", server.url, "--token", server.token])
    assert known.ids("jobs")[job.id].endswith("demo.draw a fox")
    parser, at = parser_for(known, ["stable-core", "--url", server.url, "batch", "draw", "x.csv"], 0)
    flags = {flag for action in parser._actions for flag in action.option_strings}
    assert at == 5 and {"--colour", "--watch", "--no-tidy"} <= flags and "--show" not in flags
    gone = Server(["--url", "http://127.0.0.1:1"]).tree()
    assert gone["jobs"] == {} and "cancel" in gone["commands"], "without a server, the commands are known"


def test_help_tells_every_command_and_how_it_ends(spawn):
    screen = spawn(cli("--help"))
    screen.expect(pexpect.EOF)
    assert "130" in screen.before


@pytest.mark.parametrize("job", ["echo.echo", "echo.told"])
def test_no_answer_of_a_light_job_steers_the_terminal(spawn, job):
    screen = spawn(cli(f"run {job}"))
    screen.expect(pexpect.EOF)
    assert "from a picture" in screen.before and not {"\x1b", "\x07", "\x9b"} & {*screen.before}


@pytest.fixture
def circle(tmp_path):
    picture = PIL.Image.new("RGB", (60, 40), (0, 0, 120))
    PIL.ImageDraw.Draw(picture).ellipse((20, 10, 40, 30), fill=(250, 0, 0))
    picture.save(tmp_path / "circle.png")
    return tmp_path / "circle.png"


def test_results_and_previews_are_shown_as_pictures(spawn, circle):
    screen = spawn(cli(f"run turn --image {circle} --show"))
    screen.expect(pexpect.EOF)
    assert screen.before.count("▀") > 500 and "38;2;250;0;0" in screen.before and "Traceback" not in screen.before
    screen = spawn(cli(f"run turn --image {circle} --show --out {circle.parent / 'turned.png'}"))
    screen.expect(pexpect.EOF)
    assert screen.before.count("▀") > 500 and screen.before.rstrip().endswith("turned.png")
    screen = spawn(cli("run draw --steps 20 --delay 0.1 --show"))
    screen.expect("▀")
    screen.expect(r"sample.*\d+ previews?")


def reviewed(client, session):
    return [(each.record["review"]) for each in reversed(client.artifacts(session=session)) if each.record.get("job")]


def test_results_are_reviewed_with_one_key_each(spawn, client):
    client.session = "looking"
    for prompt in ("a fox", "a hen", "an owl"):
        client.run("draw", prompt=prompt, fresh=True)
    screen = spawn(cli("review --session looking"))
    for keys, seen in (("", r"1/3.*a fox"), ("p", r"2/3.*a hen"), ("r", r"3/3.*an owl"), ("uu", r"1/3.*a fox")):
        screen.send(keys)
        screen.expect(seen)
        screen.expect("p pick, r reject")  # below each, for a picture fills the screen
    screen.send("r\r\r")
    screen.expect("0 picked, 1 rejected, 2 new")
    assert reviewed(client, "looking") == ["rejected", "new", "new"]


def test_without_a_terminal_a_review_is_a_list_and_flags(client):
    client.session = "listed"
    ids = [client.run("draw", prompt=prompt, fresh=True)[0].id for prompt in ("one", "two")]
    listed = in_process(client, "review", "--session", "listed").stdout
    assert [line.split()[0] for line in listed.splitlines()] == ids and listed.splitlines()[1].endswith("two")
    assert in_process(client, "review", ids[0], "--pick").stdout == f"picked    {ids[0]}\n"
    assert in_process(client, "review", "--reject", stdin=ids[1]).returncode == 0
    assert in_process(client, "review", "--session", "listed", stdin="").stdout == ""
    picked = in_process(client, "review", "--session", "listed", "--state", "picked", "--json")
    assert [each["id"] for each in json.loads(picked.stdout)] == ids[:1]


def test_a_watch_shows_what_runs_and_what_comes_out(spawn, client):
    client.session = "watched"
    screen = spawn(cli("watch --session watched"))
    screen.expect("0 queued")
    client.submit("draw", {"prompt": "a fox", "steps": 40, "delay": 0.1})
    client.submit("draw", {"prompt": "a hen"})
    screen.expect(r"demo.draw.*sample \d+/40.*a fox")
    screen.expect(r"next.*a hen")
    screen.expect(r"image 6x4")
    screen.sendintr()
    screen.expect(pexpect.EOF)
    assert "Traceback" not in screen.before and screen.wait() == 0


def test_a_watch_that_is_piped_prints_lines(server, client):
    command = [*cli("watch --json").split()]
    with subprocess.Popen(command, cwd=ROOT, env=environment(server), stdout=-1, stderr=-1, text=True) as watching:
        wait_until(lambda: client.run("draw", fresh=True) and select.select([watching.stdout], [], [], 0.1)[0])
        event = json.loads(watching.stdout.readline())
        assert event["event"] in ("job", "artifact", "progress")
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 0 and watching.stderr.read() == ""
