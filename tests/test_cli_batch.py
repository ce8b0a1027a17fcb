"""Batches from the command line: rows are checked before, run once, and found again after whatever broke."""

import json
import os
import signal
import subprocess
import sys

import PIL.Image
import pytest

from tests.serving import ROOT, serve, wait_until
from tests.test_cli import environment, pixel

STUDIO = """
class Wish(Params):
    prompt: str = param(help="What to draw.")
    red: int = param(0, ge=0, le=255, help="How red.")
    bold: bool = param(False, help="Whether it is bold.")
    tags: list[str] = param([], help="Words.")
    delay: float = param(0, help="Seconds.")

class Studio(Plugin):
    @job()
    def paint(self, params: Wish, above: Image | None = None) -> Image:
        "Paint."
        import PIL.Image
        time.sleep(params.delay)
        if params.prompt == "fail":
            raise ValueError("no way")
        return PIL.Image.new("RGB", (4, 4), (params.red, 255 * params.bold, len(params.tags)))

    @job()
    def turn(self, image: Image) -> Image:
        "Turn."
        return image.rotate(180)
"""


@pytest.fixture(scope="module")
def server():
    with serve({"studio": STUDIO}) as server:
        yield server


@pytest.fixture
def jobs(server):
    """jobs(session) are the prompts and states of its jobs, the oldest first."""
    with server.client() as client:
        yield lambda session: [
            (job.record["params"].get("prompt"), job.state) for job in reversed(client.jobs(session=session, limit=100))
        ]


def written(path, content):
    path.write_text(content, "utf-8")
    return path


def background(server, *words):
    command = [sys.executable, "-m", "clients.cli", *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, env=environment(server), stdout=-1, stderr=-1, text=True)


def test_each_row_of_a_table_is_a_job_and_saved_by_its_number(cli, tmp_path):
    table = written(tmp_path / "three.csv", 'Prompt,red\na star,10\n\n"a, b",20\n')
    done = cli("batch", "paint", table, "--out", tmp_path / "out")
    assert done.stdout.split() == [str(tmp_path / "out" / name) for name in ("0002.png", "0004.png")], done.stderr
    assert "2 done, 0 failed, in session three." in done.stderr


def test_cells_are_read_by_their_announced_types(cli, jobs, tmp_path):
    table = written(tmp_path / "typed.csv", 'prompt;red;bold;tags\na star;10;yes;\n"a;b";;off;["x", "y"]\n')
    assert cli("batch", "paint", table, "--red", 5, "--out", tmp_path / "out").returncode == 0
    found = [pixel(tmp_path / "out" / name, (0, 0)) for name in ("0002.png", "0003.png")]
    assert found == [(10, 255, 0), (5, 0, 2)]
    assert jobs("typed") == [("a star", "done"), ("a;b", "done")]


def test_all_rows_are_checked_before_the_first_is_submitted(cli, jobs, tmp_path):
    table = written(tmp_path / "bad.csv", "prompt,red,above,hue\nok,1,,\nok,300,gone.png,\n,many,,blue\n")
    refused = cli("batch", "paint", table)
    assert refused.returncode == 2 and jobs("bad") == []
    told = " ".join(refused.stderr.split())
    for mistake in (
        "bad.csv, row 3, column red: must be 0 to 255, got 300.",
        "bad.csv, row 3, column above: there is no file",
        "bad.csv, row 4, column red: must be a whole number, got 'many'.",
        "bad.csv, row 4, column hue: there is no such parameter or input.",
        "bad.csv, row 4, column prompt: it is needed.",
    ):
        assert mistake in told, told


def test_lines_of_json_have_their_types_already(cli, jobs, tmp_path):
    lines = ['{"prompt": "x", "red": 7, "tags": ["a"]}', '{"prompt": "y", "red": "7"}', "[1]", "{"]
    refused = cli("batch", "paint", written(tmp_path / "lines.jsonl", "\n".join(lines)), "--json")
    errors = [each["message"] for each in json.loads(refused.stderr)["error"]["errors"]]
    assert len(errors) == 5 and "row 2, column red: '7' is not of type 'integer'" in errors[0]
    assert "row 3, it has to be a JSON object" in errors[1] and "row 4, it is not JSON" in errors[3]
    done = cli("batch", "paint", written(tmp_path / "lines.jsonl", lines[0]), "--json")
    record = json.loads(done.stdout)
    assert record["state"] == "done" and record["seconds"] > 0


def test_the_same_command_again_makes_nothing_twice(cli, jobs, tmp_path):
    table = written(tmp_path / "twice.csv", "prompt\nsame\nsame\nother\n")
    first = cli("batch", "paint", table).stdout.split()
    assert len(set(first)) == 3 and len(jobs("twice")) == 3, "equal rows are two jobs"
    table.write_text("prompt\nsame\nsame\nother\nnew\n")
    assert cli("batch", "paint", table).stdout.split()[:3] == first
    assert [prompt for prompt, _ in jobs("twice")] == ["same", "same", "other", "new"]
    assert cli("batch", "paint", table, "--fresh").returncode == 0 and len(jobs("twice")) == 8


def test_what_failed_is_told_and_tried_again_by_the_next_run(cli, jobs, tmp_path):
    table = written(tmp_path / "failing.csv", "prompt\nfine\nfail\n")
    failed = cli("batch", "paint", table)
    assert failed.returncode == 1 and len(failed.stdout.split()) == 1
    assert "failed  row 3  " in failed.stderr and "no way" in failed.stderr and "1 done, 1 failed" in failed.stderr
    for attempts in (2, 3):
        assert cli("batch", "paint", table).returncode == 1
        assert jobs("failing") == [("fine", "done")] + [("fail", "failed")] * attempts


def test_each_file_of_a_folder_is_a_row(cli, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, colour in (("a.png", "red"), ("b.jpg", "blue"), ("b.png", "white")):
        PIL.Image.new("RGB", (2, 2), colour).save(folder / name)
    written(folder / "notes.txt", "not a picture")
    done = cli("batch", "turn", folder, "--out", folder / "turned")
    assert sorted(line.rpartition("/")[2] for line in done.stdout.split()) == ["a.png", "b.jpg.png", "b.png.png"]
    assert pixel(folder / "turned" / "a.png", (0, 0)) == (255, 0, 0)
    assert "results would be taken for new files" in cli("batch", "turn", folder, "--out", folder).stderr


def test_a_batch_says_what_it_would_make(cli, jobs, tmp_path):
    table = written(tmp_path / "planned.csv", "prompt\na\nb\n")
    assert "2 jobs would give 2 results" in cli("batch", "paint", table, "--plan").stdout
    assert jobs("planned") == []


def test_a_batch_that_is_interrupted_goes_on_where_it_was(server, cli, jobs, tmp_path):
    table = written(tmp_path / "long.csv", "prompt,delay\n" + "".join(f"{k},0.3\n" for k in range(6)))
    with background(server, "batch", "paint", table, "--out", tmp_path / "out") as running:
        assert running.stdout.readline().endswith("0002.png\n")
        running.kill()
    done = cli("batch", "paint", table, "--out", tmp_path / "out")
    assert done.stdout.count("\n") == 6 and len(list((tmp_path / "out").iterdir())) == 6
    assert [state for _, state in jobs("long")] == ["done"] * 6


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_leaves_the_jobs_and_says_how_to_go_on(server, jobs, tmp_path):
    table = written(tmp_path / "left.csv", "prompt,delay\n" + "".join(f"{k},0.5\n" for k in range(4)))
    with background(server, "batch", "paint", table) as running:
        running.stdout.readline()
        running.send_signal(signal.SIGINT)
        assert running.wait(10) == 130 and "The same command goes on from here" in running.stderr.read()
    wait_until(lambda: [state for _, state in jobs("left")] == ["done"] * 4)


@pytest.mark.slow
def test_a_batch_outlives_its_server(tmp_path):
    table = written(tmp_path / "lost.csv", "prompt,delay\n" + "".join(f"{k},0.3\n" for k in range(6)))
    with serve({"studio": STUDIO}) as server, background(server, "batch", "paint", table, "--json") as running:
        running.stdout.readline()
        server.restart()
        out, err = running.communicate(timeout=100)
        assert [json.loads(line)["state"] for line in out.splitlines()] == ["done"] * 5, err
        with server.client() as client:
            assert len(client.jobs(session="lost")) == 6


def test_a_watched_folder_gives_each_file_once_also_after_a_restart(server, jobs, tmp_path):
    folder = tmp_path / "camera"
    folder.mkdir()
    PIL.Image.new("RGB", (2, 2), "red").save(folder / "first.png")
    for name in ("second.png", "third.png"):
        with background(server, "batch", "turn", folder, "--watch", "--out", tmp_path / "out", "--json") as watching:
            assert json.loads(watching.stdout.readline())["row"] == "first"
            PIL.Image.new("RGB", (2, 2), "blue").save(folder / name)
            wait_until((tmp_path / "out" / name).exists)
            watching.kill()
    assert [state for _, state in jobs("camera")] == ["done"] * 3


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_rows_that_are_added_to_a_watched_table_are_run(server, jobs, tmp_path):
    table = written(tmp_path / "growing.csv", "prompt\na\n")
    with background(server, "batch", "paint", table, "--watch", "--json") as watching, table.open("a") as file:
        assert json.loads(watching.stdout.readline())["row"] == "2"
        file.write("b,too many\nc\nhalf a li")
        file.flush()
        assert json.loads(watching.stdout.readline())["row"] == "4"
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 0 and "growing.csv, row 3, 2 cells" in watching.stderr.read()
    assert jobs("growing") == [("a", "done"), ("c", "done")]
