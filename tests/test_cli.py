"""The command line, run as people and scripts run it: what it prints where, and how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import PIL.Image
import pytest

from clients.cli import commands
from tests.serving import ROOT, serve, wait_until
from tests.shell import in_process

DEMO = """
from collections.abc import Iterator
from typing import Annotated, Literal
import PIL.Image

class Layer(Params):
    depth: int = param(1, ge=1, help="How deep.", order=2)
    name: str = param(help="Which.", order=1)

class DrawParams(Params):
    layers: list[Layer] = param([], max_length=2, help="What lies above it.")
    prompt: str = param("", help="What to draw.")
    steps: int = param(3, ge=1, le=150, help="How often to improve it.", group="sampling in RGB", order=1)
    tags: list[Literal["new", "best"]] = param(["new"], help="Some tags.")
    delay: float = param(0.01, ge=0, lt=10, unit="seconds", help="Time for a step.", advanced=True)
    colour: Literal["red", "blue"] = param("red", help="Of the picture.")
    model: str = param("small", choices_from="models/checkpoint", help="Who draws.")
    tidy: bool = param(False, help="Whether to tidy up.")
    sizes: list[int] | None = param(None, help="Some sizes.")
    out: str = param("", help="A parameter called like a flag of ours.")

class Demo(Plugin):
    @job()
    def draw(self, params: DrawParams, ctx: Context) -> Image:
        "Draw a picture."
        for step in range(params.steps):
            ctx.raise_if_cancelled()
            ctx.preview(PIL.Image.new("RGB", (8, 8)))
            time.sleep(params.delay)
            ctx.progress(step + 1, params.steps, "sample")
        return PIL.Image.new("RGB", (6, 4), params.colour)

    @job()
    def stack(self, params: DrawParams, above: Annotated[list[Image], "What lies on top."] | None = None) -> Json:
        "Tell what is stacked."
        return [layer.model_dump() for layer in params.layers] + [picture.width for picture in above or []]

    @job()
    def turn(self, image: Image) -> Image:
        "Turn a picture."
        return image.rotate(180)

    @job()
    def say(self, texts: list[Text]) -> Iterator[Text]:
        "Say texts in capitals."
        yield from (text.upper() for text in texts)

    @job(light=True)
    def words(self, texts: list[Text]) -> Json:
        "Count words."
        return {"words": sum(len(text.split()) for text in texts)}

    @job()
    def warn(self, ctx: Context) -> Text:
        "Warn."
        time.sleep(0.7)  # until somebody listens
        ctx.log("There is no such colour.")
        ctx.progress(1.14, 3, "sample")
        return "done"

    @job()
    def fail(self) -> Text:
        "Fail."
        raise ValueError("no way")
"""
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


@pytest.fixture(scope="module")
def server():
    with serve({"demo": DEMO, "broken": "import nothing_of_that_name"}) as server:
        yield server


@pytest.fixture
def program(server):
    """program(words) runs a command on the server; returns the finished process."""
    return lambda *words, **options: run(server, *words, **options)


def environment(server):
    return os.environ | {"STABLE_CORE_URL": server.url, "STABLE_CORE_TOKEN": server.token, "COLUMNS": "100"}


def run(server, *words, stdin=None):
    command = [sys.executable, "-m", "clients.cli", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env=environment(server), input=stdin, capture_output=True, timeout=120)
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in done.stderr
    return done


def on_terminal(server, *words, interrupt_at=None):
    """What a command shows on a terminal, without colours, and its exit code; Ctrl-C once `interrupt_at` is seen."""
    import pty

    terminal, screen = pty.openpty()
    command = [sys.executable, "-m", "clients.cli", *words]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(server), stdin=screen, stdout=screen, stderr=screen, start_new_session=True
    )
    os.close(screen)
    shown = ""
    while data := read_terminal(terminal):
        shown += data
        if interrupt_at and interrupt_at in shown:
            process.send_signal(signal.SIGINT)
            interrupt_at = None
    os.close(terminal)
    return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", shown), process.wait()


def read_terminal(terminal):
    try:
        return os.read(terminal, 4096).decode("utf-8", "replace")
    except OSError:  # how Linux says that the last process has left
        return ""


def pixel(path, at):
    with PIL.Image.open(path) as picture:
        return picture.convert("RGB").getpixel(at)


def test_run_saves_the_result_and_prints_its_path(program, tmp_path):
    done = program("run", "draw", "--colour", "blue", "--out", tmp_path / "new" / "a.png")
    assert (done.stdout, done.returncode) == (f"{tmp_path / 'new' / 'a.png'}\n", 0)
    assert pixel(tmp_path / "new" / "a.png", (0, 0)) == (0, 0, 255)


def test_texts_are_printed_as_they_are(cli):
    done = cli("run", "say", "--texts", "one", "two")
    assert done.stdout == "ONE\nTWO\n"


def test_a_light_job_is_answered_at_once(cli):
    assert cli("run", "words", "--texts", "one two", "three").stdout == '{"words": 3}\n'


def test_several_results_are_numbered(cli, tmp_path):
    done = cli("run", "say", "--texts", "a", "b", "--out", tmp_path / "said.txt")
    assert done.stdout.split() == [str(tmp_path / "said-1.txt"), str(tmp_path / "said-2.txt")]
    assert (tmp_path / "said-2.txt").read_text() == "B"


def test_piped_progress_is_a_few_plain_lines(program):
    done = program("run", "draw", "--steps", "150", "--delay", "0.005")
    lines = done.stderr.splitlines()
    assert "running: demo.draw" in lines and "sample 150/150" in lines
    assert re.fullmatch(r"done: demo.draw in [\d.]+ s, \d+ previews?", lines[-1])
    assert len(lines) < 12 and not CONTROL.search(done.stdout + done.stderr)


def test_inputs_come_from_files_ids_and_pipes(program, tmp_path):
    path = tmp_path / "in.png"
    picture = PIL.Image.new("RGB", (2, 1), "red")
    picture.putpixel((0, 0), (0, 0, 255))
    picture.save(path)
    uploaded = json.loads(program("run", "turn", "--image", path, "--json").stdout)["job"]["inputs"]["image"][0]
    for given, stdin in ((path, None), (uploaded, None), ("-", path.read_bytes())):
        assert program("run", "turn", "--image", given, "--out", tmp_path / "out.png", stdin=stdin).returncode == 0
        assert pixel(tmp_path / "out.png", (1, 0)) == (0, 0, 255)


@pytest.mark.parametrize("given", ["a red\nsquare", "a red\nsquare\n", "a red\nsquare\r\n"])
def test_a_text_from_a_pipe_is_without_its_last_end_of_a_line(server, given):
    with server.client() as client:
        assert in_process(client, "run", "say", stdin=given).stdout == "A RED\nSQUARE\n"


def test_one_picture_after_the_other_runs_once_for_each(cli, tmp_path):
    paths = [tmp_path / "1.png", tmp_path / "2.png"]
    for path in paths:
        PIL.Image.new("RGB", (2, 2)).save(path)
    assert len(cli("run", "turn", "--image", *paths, "--out", tmp_path / "both").stdout.split()) == 2


def test_help_shows_groups_bounds_units_and_defaults(cli):
    help = cli("run", "draw", "--help")
    assert help.returncode == 0 and not CONTROL.search(help.stdout)
    lines = [" ".join(line.split()) for line in help.stdout.splitlines()]
    assert lines[0] == "run demo.draw Draw a picture."
    assert lines[lines.index("Sampling in RGB") + 1] == "--steps N How often to improve it. 1 to 150; default 3"
    assert (
        lines[lines.index("Advanced") + 1]
        == "--delay X Time for a step. at least 0, less than 10 seconds; default 0.01"
    )
    assert "--colour CHOICE Of the picture. red, blue; default red" in lines
    assert "--tidy Whether to tidy up. or --no-tidy; default off" in lines
    assert "--param-out TEXT A parameter called like a flag of ours." in lines
    assert "--tags TEXT ... Some tags. new, best; default new" in lines
    assert "--priority CHOICE Which jobs come first. interactive, normal, batch" in lines
    assert lines.index("Sampling in RGB") < lines.index("Parameters"), "by the order of the form"


def test_help_of_a_light_job_has_no_flags_of_the_queue(cli):
    lines = cli("run", "words", "--help").stdout.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("--")] == ["--texts", "--url", "--token", "--json"]
    assert "there is no flag --out" in cli("run", "words", "--texts", "one", "--out", "here.txt").stderr


def test_needed_inputs_are_named(program):
    done = program("run", "turn")
    assert (done.returncode, done.stdout) == (2, "")
    assert "demo.turn: the following flags are required: --image" in done.stderr


@pytest.mark.parametrize(
    ("flag", "value", "says"),
    [
        ("--steps", "151", "--steps must be 1 to 150, got 151."),
        ("--steps", "many", "--steps must be a whole number, got 'many'."),
        ("--delay", "10", "--delay must be at least 0, less than 10, got 10."),
        ("--colour", "pink", "--colour must be one of red, blue, got 'pink'."),
        ("--sizes", "[1", "--sizes must be JSON"),
        ("--tags", "old", "--tags must be one of new, best, got 'old'."),
        ("--tidy", "up", "'up' belongs to no flag. Put quotes around a text with spaces."),
        ("--step", "1", "there is no flag --step. Did you mean --steps?"),
        ("--out", "a.jpg", "--out a.jpg: results of demo.draw are PNG files."),
    ],
)
def test_what_is_out_of_bounds_is_refused_before_it_is_sent(server, cli, flag, value, says):
    with server.client() as client:
        before = len(client.jobs(limit=1000))
        done = cli("run", "draw", flag, value)
        assert (done.returncode, done.stdout) == (2, "")
        assert says in done.stderr
        assert len(client.jobs(limit=1000)) == before


def test_what_the_server_refuses_is_bad_usage(cli):
    done = cli("run", "draw", "--sizes", '["x"]')
    assert done.returncode == 2 and "sizes" in done.stderr


def test_given_flags_are_the_parameters(cli):
    flags = ("--sizes", "[1, 2]", "--tags", "best", "new", "--tidy", "--param-out", "there", "--json")
    answer = json.loads(cli("run", "draw", *flags).stdout)
    params = answer["job"]["params"]
    assert params["tags"] == ["best", "new"]
    assert (params["sizes"], params["tidy"], params["out"], params["steps"]) == ([1, 2], True, "there", 3)
    assert [output["kind"] for output in answer["outputs"]] == ["image"]


def test_a_list_of_tables_is_json_with_their_fields_in_the_help(cli, tmp_path):
    help = " ".join(cli("run", "stack", "--help").stdout.split())
    assert re.search(r"--layers JSON .*\[\{name, depth\}, ...\]", help)
    assert "What lies on top. Image file" in help
    PIL.Image.new("RGB", (3, 2)).save(tmp_path / "a.png")
    above = ("--above", tmp_path / "a.png", tmp_path / "a.png")
    out = tmp_path / "told.json"
    assert cli("run", "stack", "--layers", '[{"name": "a"}]', *above, "--out", out).returncode == 0
    assert json.loads(out.read_text()) == [{"depth": 1, "name": "a"}, 3, 3]
    assert cli("run", "stack").returncode == 0
    for given, says in (
        ('[{"depth": 0, "name": "a"}]', "layers.0.depth: 0 is less"),
        ("[{}]", "'name' is a required"),
        ('[{"name": "a", "hue": 1}]', "layers.0.*'hue' was unexpected"),
        ('[{"name": "a"}, {"name": "a"}, {"name": "a"}]', "too long"),
    ):
        refused = cli("run", "stack", "--layers", given)
        assert refused.returncode == 2 and re.search(says, refused.stderr), refused.stderr


def test_an_unknown_job_is_bad_usage(cli):
    done = cli("run", "drwa")
    assert done.returncode == 2 and "Did you mean draw?" in done.stderr


def test_an_unknown_command_is_bad_usage_and_a_near_one_is_named(server):
    with server.client() as client:
        done = in_process(client, "jbos")
    assert (
        done.returncode == 2 and done.stderr.splitlines()[0] == "error  there is no command 'jbos'. Did you mean jobs?"
    )


def test_a_line_without_a_command_tells_which_there_are(program):
    done = program()
    assert (done.returncode, done.stderr) == (0, "") and "\n    review " in done.stdout


def test_what_a_job_says_while_it_runs_goes_to_stderr(cli):
    done = cli("run", "warn")
    assert done.stdout == "done\n" and "There is no such colour.\nsample 1/3\n" in done.stderr


def test_a_failed_job_is_exit_code_1(program):
    done = program("run", "fail")
    assert (done.returncode, done.stdout) == (1, "")
    assert "ValueError: no way" in done.stderr


def test_logs_are_there_after_the_job(cli):
    cli("run", "fail", "--session", "logged")
    (job,) = json.loads(cli("jobs", "--session", "logged", "--json").stdout)
    told = cli("logs", "--job", job["id"]).stdout
    assert re.match(rf"\d{{4}}-\d\d-\d\d [\d:]{{8}}  demo.fail {job['id']}  ", told) and "ValueError: no way" in told
    (line,) = json.loads(cli("logs", "--limit", 1, "--json").stdout)
    assert line["text"] in told and (line["job"], line["name"]) == (job["id"], "demo.fail")
    assert "there is no job" in cli("logs", "--job", "nowhere").stderr


def test_errors_are_json_for_scripts(cli):
    done = cli("run", "fail", "--json")
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, done.stdout, error["code"]) == (1, "", "plugin_error")
    assert json.loads(cli("jobs", "--limit", "x", "--json").stderr)["error"]["code"] == "invalid_params"


def test_every_listing_is_json_for_scripts(cli):
    id = cli("run", "draw", "--session", "lists", "--no-wait").stdout.strip()
    wait_until(lambda: json.loads(cli("job", id, "--json").stdout)["state"] == "done")
    assert [job["id"] for job in json.loads(cli("jobs", "--session", "lists", "--json").stdout)] == [id]
    assert [each["job"] for each in json.loads(cli("artifacts", "--session", "lists", "--json").stdout)] == [id]
    assert {plugin["name"] for plugin in json.loads(cli("plugins", "--json").stdout)} == {"demo", "broken"}
    assert json.loads(cli("queue", "--json").stdout)["paused"] is False
    assert [each["name"] for each in json.loads(cli("devices", "--json").stdout)["devices"]][:1] == ["cpu"]
    assert ["on", "cpu"] in [line.split() for line in cli("job", id).stdout.splitlines()]


def test_listings_are_whole_where_they_are_piped(cli):
    id = cli("run", "draw", "--prompt", "x" * 50, "--no-wait").stdout.strip()
    line = next(line for line in cli("jobs").stdout.splitlines() if id in line)
    assert "demo.draw" in line and "x" * 50 in line
    assert id in cli("job", id).stdout


def test_plugins_lists_jobs_and_what_is_refused(cli):
    shown = cli("plugins").stdout
    assert re.search(r"demo\.say +texts → texts +Say texts in capitals\.", shown)
    assert "nothing_of_that_name" in shown


def test_a_queue_is_paused_and_a_job_cancelled_and_retried(cli):
    assert cli("queue", "pause").stdout.startswith("paused")
    id = cli("run", "draw", "--no-wait").stdout.strip()
    assert cli("cancel", id).stdout == f"cancel  {id}\n"
    again = cli("retry", id).stdout.strip()
    assert cli("queue", "resume").stdout.startswith("running")
    assert json.loads(cli("job", id, "--json").stdout)["state"] == "cancelled"
    wait_until(lambda: json.loads(cli("job", again, "--json").stdout)["state"] == "done")


def test_a_running_job_is_told_to_skip(cli):
    id = cli("run", "draw", "--steps", "150", "--delay", "0.05", "--no-wait").stdout.strip()
    wait_until(lambda: json.loads(cli("job", id, "--json").stdout)["state"] == "running")
    assert cli("skip", id).stdout == f"skip    {id}\n"
    cli("cancel", id)
    wait_until(lambda: json.loads(cli("job", id, "--json").stdout)["state"] == "cancelled")
    refused = cli("skip", id)
    assert refused.returncode == 1 and "skip is for jobs that run" in refused.stderr


def test_a_paused_queue_is_told_to_whom_it_keeps_waiting(server, cli):
    cli("queue", "pause")
    with server.client() as client:
        resume = threading.Timer(0.5, client.queue, ["resume"])
        resume.start()
        assert "The queue is paused." in cli("run", "draw").stderr
        resume.join()


def test_download_saves_an_artifact(cli, tmp_path):
    artifact = json.loads(cli("run", "draw", "--json").stdout)["outputs"][0]["id"]
    assert cli("download", artifact, "--out", tmp_path).stdout == f"{tmp_path / artifact}.png\n"
    assert pixel(tmp_path / f"{artifact}.png", (5, 3)) == (255, 0, 0)


def test_unknown_ids_are_errors(cli):
    assert cli("job", "nonsense").returncode == 1
    assert cli("cancel", "nonsense").returncode == 1
    assert "there is no artifact" in cli("download", "nonsense").stderr


def test_no_server_is_one_message_with_the_way_out(program):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    done = program("jobs", "--url", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"no server answers at {url}" in done.stderr and "python3 server.py" in done.stderr


def test_a_reader_that_leaves_early_gets_no_traceback(server):
    command = f"{sys.executable} -m clients.cli jobs --json | true"
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, env=environment(server), capture_output=True)
    assert done.stderr == b""


def test_a_line_of_words_runs_on_a_connection_that_is_there(server, capsys):
    with server.client() as client:
        assert commands.execute(client, ["run", "say", "--texts", "one"]) == 0
        assert capsys.readouterr().out == "ONE\n"
        assert commands.execute(client, ["run", "draw", "--steps", "0"]) == 2
        assert "--steps must be 1 to 150" in capsys.readouterr().err
        assert commands.execute(client, ["jobs", "--help"]) == 0 and client.online
        for elsewhere in (["queue", "--url", "http://127.0.0.1:1"], ["run", "say", "--token", "x"]):
            assert commands.execute(client, elsewhere) == 2
            assert "are for a line with a connection of its own" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo terminal")
def test_a_terminal_gets_a_bar_with_what_is_left(server):
    shown, code = on_terminal(server, "run", "draw", "--steps", "30", "--delay", "0.05")
    assert code == 0
    assert re.search(r"sample.*━.* \d+/30.* s, [\d.]+ s left", shown)
    assert re.search(r"done.*━.* 30/30.* \d+ preview", shown)


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo terminal")
def test_ctrl_c_cancels_the_job(server):
    words = ("run", "draw", "--steps", "150", "--delay", "0.1", "--session", "ctrl-c")
    shown, code = on_terminal(server, *words, interrupt_at="sample")
    assert code == 130 and "Ctrl-C again leaves at once" in shown
    with server.client() as client:
        assert [job.state for job in client.jobs(session="ctrl-c")] == ["cancelled"]


@pytest.mark.slow
def test_a_job_goes_on_while_the_server_is_killed_and_started():
    with serve({"demo": DEMO}) as server:
        results = []
        words = ("run", "draw", "--steps", "100", "--delay", "0.02", "--json")
        running = threading.Thread(target=lambda: results.append(run(server, *words)))
        running.start()
        with server.client() as client:
            wait_until(lambda: client.jobs(state="running"))
        server.kill()
        server.start()
        running.join()
        assert results[0].returncode == 0
        assert json.loads(results[0].stdout)["job"]["state"] == "done"


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_the_demo_draws_and_can_be_stopped(tmp_path):
    command = [
        sys.executable,
        "server.py",
        "--demo",
        "--out",
        str(tmp_path / "a.png"),
        "--data",
        str(tmp_path / "data"),
    ]
    command += ["--outputs", str(tmp_path / "outputs")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert (done.stdout, done.returncode) == (f"{tmp_path / 'a.png'}\n", 0), done.stderr
    middle, corner = pixel(tmp_path / "a.png", (64, 64)), pixel(tmp_path / "a.png", (4, 4))
    assert middle[0] > 150 > max(middle[1:]) and corner[2] > 150 > corner[0]
    assert "Traceback" not in done.stderr and not CONTROL.search(done.stderr)
    running = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=-1, stderr=-1)
    for line in running.stderr:
        if b"running" in line:
            os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to all processes of the command
    with running:
        assert running.wait(20) == 130
    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path / "a.png") not in shown  # its client has ended, too
