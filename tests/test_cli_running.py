"""Running from the command line: pipes, forms, flows, plans, retries, and what a session remembers."""

import json
import re

import PIL.Image
import pytest

from clients.python.stable_core import ARTIFACT_ID
from tests.serving import serve, wait_until
from tests.test_cli import DEMO, pixel

PLANNER = """
class Wish(Params):
    prompt: str = param(help="What to draw.")
    count: int = param(1, ge=1, le=8, help="How many.")
    seed: int = param(7, help="Of the first.")

class Planner(Plugin):
    @job()
    def paint(self, params: Wish) -> list[Image]:
        "Paint."
        import PIL.Image
        return [PIL.Image.new("RGB", (4, 4), (params.seed + k, 0, 0)) for k in range(params.count)]

    def plan(self, job: str, params: Wish, inputs: dict) -> dict:
        return {"outputs": [{"seed": params.seed + k} for k in range(params.count)]}

    @job(light=True)
    def tell(self, image: Image) -> Json:
        "Tell how a picture was made."
        return {"form": {"job": "paint", "params": {"prompt": "from inside", "seed": image.getpixel((0, 0))[0]}}}
"""


@pytest.fixture(scope="module")
def server():
    with serve({"demo": DEMO, "planner": PLANNER}) as server:
        yield server


@pytest.fixture
def record(server):
    """record(id) is what the server keeps about a job."""
    with server.client() as client:
        yield lambda id: client.job(id).record


def test_run_prints_ids_for_the_next_command_in_a_pipe(cli, tmp_path):
    drawn = cli("run", "paint", "--prompt", "x", "--count", 2).stdout
    assert all(ARTIFACT_ID.fullmatch(line) for line in drawn.splitlines()) and drawn.count("\n") == 2
    turned = cli("run", "turn", stdin=drawn).stdout
    assert turned.count("\n") == 2 and not set(turned.split()) & set(drawn.split())
    saved = cli("download", "--out", tmp_path, stdin=turned).stdout.split()
    assert [pixel(path, (0, 0)) for path in saved] == [(7, 0, 0), (8, 0, 0)]


def test_a_needed_input_comes_from_the_pipe_as_a_file_or_a_text(cli, tmp_path):
    PIL.Image.new("RGB", (3, 1), "blue").save(tmp_path / "in.png")
    out = tmp_path / "out.png"
    assert cli("run", "turn", "--out", out, stdin=(tmp_path / "in.png").read_bytes()).returncode == 0
    assert pixel(out, (0, 0)) == (0, 0, 255)
    assert cli("run", "say", stdin="two words").stdout == "TWO WORDS\n"
    assert "required: --image" in cli("run", "turn", stdin="").stderr


def test_listings_can_be_piped_into_what_takes_ids(cli, record):
    cli("run", "paint", "--prompt", "x", "--count", 2, "--session", "piped")
    listed = cli("artifacts", "--session", "piped").stdout
    assert listed.startswith("id ")
    assert cli("review", "--pick", stdin=listed).stdout.count("picked") == 2
    assert cli("review", "--reject", stdin="what?\n").returncode == 2
    assert cli("run", "turn", "--no-wait", stdin=listed).returncode == 0
    assert "Give ids, or pipe them in" in cli("cancel").stderr
    assert cli("cancel", stdin="").returncode == 0, "a listing may be empty"


def test_what_a_picture_says_is_run_again_with_changes(cli, record):
    picture = cli("run", "paint", "--prompt", "x", "--seed", 11).stdout.strip()
    form = cli("run", "tell", "--image", picture).stdout
    answer = json.loads(cli("run", "-", "--count", 2, "--json", stdin=form).stdout)
    assert answer["job"]["params"] == {"prompt": "from inside", "seed": 11, "count": 2}
    assert "it has to hold a submission" in cli("run", "-", stdin="[]").stderr
    assert "it is not JSON" in cli("run", "-", stdin="{").stderr


def test_a_flow_is_run_whole_and_its_results_are_printed(cli, tmp_path):
    jobs = [
        {"id": "a", "job": "paint", "params": {"prompt": "x", "seed": 40}},
        {"job": "turn", "inputs": {"image": {"job": "a"}}},
    ]
    (tmp_path / "flow.json").write_text(json.dumps({"jobs": jobs}))
    done = cli("flow", tmp_path / "flow.json", "--session", "flowing", "--out", tmp_path / "made.png")
    assert done.stdout.split() == [str(tmp_path / "made-1.png"), str(tmp_path / "made-2.png")]
    assert pixel(tmp_path / "made-2.png", (0, 0)) == (40, 0, 0)
    failing = cli("flow", "-", "--json", stdin=json.dumps([*jobs, {"job": "fail"}]))
    assert failing.returncode == 1
    assert [job["state"] for job in json.loads(failing.stdout)["jobs"]] == ["done", "done", "failed"]


@pytest.mark.parametrize("line", ["flow gone.json", "run gone.json", "upload gone.png", "batch paint gone.csv"])
def test_a_file_that_is_not_there_is_bad_usage(cli, line):
    done = cli(*line.split())
    assert done.returncode == 2 and line.split()[-1] in done.stderr


def test_a_plan_tells_every_picture_and_makes_none(cli, server):
    with server.client() as client:
        before = len(client.jobs(limit=1000))
        shown = cli("run", "paint", "--prompt", "a circle", "--count", 3, "--plan").stdout
        assert [line.split()[1] for line in shown.splitlines()[:4]] == ["seed", "7", "8", "9"]
        assert "1 job would give 3 results" in shown and shown.endswith("Nothing was submitted.\n")
        form = {"job": "paint", "params": {"prompt": "x"}}
        assert json.loads(cli("flow", "-", "--plan", "--json", stdin=json.dumps([form, form])).stdout)["count"] == 2
        assert len(client.jobs(limit=1000)) == before


def test_parameters_come_back_only_where_they_are_asked_for(cli):
    own = ("--session", "remembering", "--json")
    made = lambda *words: json.loads(cli("run", "paint", *words, *own).stdout)["job"]["params"]  # noqa: E731
    assert made("--prompt", "a star", "--seed", 3) == {"prompt": "a star", "seed": 3, "count": 1}
    assert made("--memorised", "--count", 2) == {"prompt": "a star", "seed": 3, "count": 2}
    assert made("--prompt", "x") == {"prompt": "x", "seed": 7, "count": 1}
    cli("run", "paint", "--memorise", "--prompt", "kept", "--seed", 1, *own)
    assert made("--memorised") == {"prompt": "kept", "seed": 1, "count": 1}
    assert "kept" in cli("session", "remembering").stdout


def test_a_retry_takes_changes(cli, record):
    id = json.loads(cli("run", "paint", "--prompt", "x", "--json").stdout)["job"]["id"]
    again = cli("retry", id, "--seed", 9).stdout.strip()
    assert record(again)["params"] == {"prompt": "x", "seed": 9, "count": 1}
    wait_until(lambda: record(again)["state"] == "done")
    listed = "\n".join((id, again))
    assert len(json.loads(cli("retry", "--json", stdin=listed).stdout)) == 2
    assert "--count must be 1 to 8" in cli("retry", id, "--count", 9).stderr


def test_jobs_are_held_released_and_moved(cli, record):
    wait_until(lambda: json.loads(cli("jobs", "--state", "queued", "--json").stdout) == [])  # of the tests before
    cli("queue", "pause")
    first, second, third = (cli("run", "draw", "--no-wait").stdout.strip() for _ in range(3))
    places = lambda: [record(id)["position"] for id in (first, second, third)]  # noqa: E731
    assert cli("hold", first).stdout == f"hold    {first}\n" and record(first)["state"] == "held"
    assert cli("release", first).returncode == 0
    assert cli("move", second, third).stdout == f"move    {second}\nmove    {third}\n" and places() == [2, 0, 1]
    assert json.loads(cli("move", second, "--to", "back", "--json").stdout)[0]["position"] == 2
    assert cli("move", first, second, "--before", third).returncode == 0 and places() == [0, 1, 2]
    assert cli("move", second, third, "--after", first).returncode == 0 and places() == [0, 1, 2]
    refused = cli("move", first, "--before", second, "--after", third)
    assert refused.returncode == 2 and "not allowed with argument --before" in refused.stderr
    cli("queue", "resume")
    wait_until(lambda: record(first)["state"] == record(second)["state"] == record(third)["state"] == "done")


def test_uploads_lineage_comparison_and_deletion(cli, tmp_path):
    PIL.Image.new("RGB", (5, 5), "red").save(tmp_path / "red.png")
    upload = cli("upload", tmp_path / "red.png", "--session", "kept").stdout.strip()
    turned = cli("run", "turn", "--image", upload).stdout.strip()
    assert upload in cli("lineage", turned).stdout
    assert [each["id"] for each in json.loads(cli("lineage", upload, "--direction", "descendants", "--json").stdout)["artifacts"]] == [turned]  # fmt: skip # noqa: E501
    a, b = (cli("run", "paint", "--prompt", "x", "--seed", seed).stdout.strip() for seed in (1, 2))
    assert re.search(r"seed +1 +2", cli("compare", a, b).stdout) and upload in cli("lineage", stdin=turned).stdout
    assert cli("compare", stdin=f"{a}\n{b}").stdout == cli("compare", a, b).stdout
    assert "compare: takes 2 artifacts, got 1." in cli("compare", stdin=a).stderr
    assert re.search(r"turn +image", cli("accepts", upload).stdout) and "why not" not in cli("accepts", upload).stdout
    assert re.search(r"paint +It takes no input\.", cli("accepts", upload, "--why-not").stdout)
    assert "there is nobody to ask" in cli("delete", stdin=a).stderr
    assert cli("delete", "--yes", stdin=a).stdout == f"delete  {a}\n"
    assert "there is no artifact" in cli("download", a).stderr


def test_sessions_are_listed_and_renamed(cli):
    cli("run", "paint", "--prompt", "x", "--session", "named")
    assert cli("session", "named", "--rename", "Portraits").returncode == 0
    assert re.search(r"named .*Portraits", cli("sessions").stdout)


def test_any_event_of_the_protocol_can_be_sent(cli):
    assert json.loads(cli("send", "hello").stdout)["server"] == "stable-core"
    assert json.loads(cli("send", "jobs", '{"limit": 1}').stdout)["jobs"]
    assert "there is no event" in cli("send", "helo").stderr


def test_a_plugin_that_is_added_is_there_at_once(cli, server):
    assert cli("run", "hey").returncode == 2
    server.write_plugin("late", 'class Late(Plugin):\n    @job()\n    def hey(self) -> Text:\n        return "hey"\n')
    wait_until(lambda: cli("run", "hey").stdout == "hey\n")
    assert "late.hey" in cli("plugins").stdout
