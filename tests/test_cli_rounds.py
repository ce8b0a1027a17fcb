"""Review rounds from the command line: followed in the terminal, collected, taken over from InuDiffusion."""

import json
import os
import re
import shutil
import subprocess
import sys
import uuid

import PIL.Image
import pytest

from clients.cli.importing import short
from tests.serving import ROOT, serve, wait_until
from tests.test_batch import PLUGINS
from tests.test_cli import environment


@pytest.fixture(scope="module")
def server():
    with serve(PLUGINS) as server:
        yield server


@pytest.fixture
def client(server):
    with server.client() as client:
        yield client


def started(client, **params):
    """A program of rounds that waits for a person, and the ids that it asks about."""
    job = client.submit("rounds", {"prompt": "a fox", "count": 3, "variations": 1, "finish": False} | params)
    return job, waited(client, job)


def waited(client, job, count=None):
    def waits():
        found = [each["artifact"] for each in job.refresh().record.get("waits_for", []) if "artifact" in each]
        return found if len(found) == (count or len(found)) else None

    wait_until(waits, 60)
    rows = [client.call("artifact", {"id": id})["artifact"] for id in waits()]
    return [row["id"] for row in sorted(rows, key=lambda row: row["name"])]


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo terminal")
def test_rounds_are_followed_with_one_key_each_and_the_last_answer_can_be_undone(server, client):
    pexpect = pytest.importorskip("pexpect")
    job, _ = started(client)
    variables = environment(server) | {"TERM": "xterm-256color", "PYTHONPATH": ""}
    words = ["-m", "clients.cli", "review", "--follow", job.id]
    screen = pexpect.spawn(sys.executable, words, cwd=ROOT, env=variables, encoding="utf-8", timeout=60)
    screen.expect("batch.rounds asks about 3 results; waiting, 3 of 3 jobs ended")
    keys = (
        ("", "1/3"),
        ("y", "2/3"),
        ("n", "3/3"),
        ("y", "That was the last"),
        ("u", "3/3"),
        ("n", "That was the last"),
    )
    for key, seen in keys:
        screen.send(key)
        screen.expect(seen)
        screen.expect("u undo, o open, q quit" if "/" in seen else "q quit")
    screen.send("\r")
    screen.expect("1 picked, 2 rejected, 0 new")
    screen.expect("asks about 1 result;")
    screen.expect("o open")
    screen.send("q")
    screen.expect(f"review --follow {job.id}")
    screen.expect(pexpect.EOF)
    screen = pexpect.spawn(sys.executable, words, cwd=ROOT, env=variables, encoding="utf-8", timeout=60)
    screen.expect("1/1")
    screen.send("p\r")
    screen.expect("done, 1 result")
    screen.expect(pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 0 and job.refresh().state == "done"


def test_without_a_terminal_a_round_is_a_list_and_a_flag(cli, client):
    job, ids = started(client)
    listed = cli("review", "--follow", job.id).stdout
    assert sorted(line.split()[0] for line in listed.splitlines()) == sorted(ids)
    assert cli("review", "--follow", job.id, "--reject").stdout.count("rejected") == 3
    assert job.wait() == []
    wrong = cli("review", "--follow", job.id, ids[0])
    assert wrong.returncode == 2 and "leave out ids" in wrong.stderr


def test_a_program_that_waits_for_a_person_says_so_and_what_it_handed_on_is_shown_once(cli, client, server):
    client.session = "told"
    job, ids = started(client, count=2)
    about = cli("job", job.id).stdout
    assert f"a look at 2 results: review --follow {job.id}" in about and "2 of 2 ended" in about
    assert f"{job.id}  waits for you" in cli("jobs").stdout
    client.call("review", {"ids": ids, "state": "rejected"})
    client.run("generate", prompt="a hen", count=2)
    listed = [line.split()[0] for line in cli("review", "--session", "told").stdout.splitlines()]
    assert len(listed) == 2 and not {*listed} & {*ids}

    client.session = "many"
    job, ids = started(client, count=130, rounds=0)
    assert cli("review", "--follow", job.id, "--new").stdout.count("new") == 100, "they stay as they are"
    assert cli("review", "--follow", job.id, "--reject").stdout.count("rejected") == 130 and job.wait() == []

    words = [
        sys.executable,
        "-m",
        "clients.cli",
        "run",
        "rounds",
        "--prompt",
        "an owl",
        "--count",
        "1",
        "--rounds",
        "0",
    ]
    with subprocess.Popen(words, cwd=ROOT, env=environment(server), stderr=subprocess.PIPE, text=True) as running:
        try:
            told = []
            line = next(line for line in running.stderr if told.append(line) or "waits for you" in line)
            assert "1 result" in line
            cli("review", "--follow", line.split()[-1], "--reject")
            told += running.stderr
            assert running.wait(60) == 0 and told.count("running: batch.rounds\n") == 1
        finally:
            running.kill()


def test_what_was_rejected_is_collected_and_never_what_something_kept_was_made_from(cli, client, server, tmp_path):
    client.session = "collected"
    job, (good, bad, worse) = started(client, folder="collected")
    client.call("review", {"ids": [good, bad], "state": "picked"})
    client.call("review", {"ids": [worse], "state": "rejected"})
    of_good, of_bad = waited(client, job, 2)
    running = cli("collect", "--session", "collected", "--delete")
    assert "needed by" in running.stderr and client.call("artifact", {"id": worse})["ok"]
    client.call("review", {"ids": [of_good], "state": "picked"})
    client.call("review", {"ids": [of_bad], "state": "rejected"})
    job.wait()
    client.call("review", {"ids": [good, bad], "state": "rejected"})  # a change of mind, when there are children

    files = server.folder / "outputs" / "collected"
    names = {id: client.call("artifact", {"id": id})["artifact"]["name"] for id in (good, bad, worse, of_good, of_bad)}
    shutil.move(files / f"{names[worse]}.png", files / "renamed.png")
    with PIL.Image.open(files / f"{names[of_bad]}.png") as picture:
        picture.rotate(90).save(files / "edited.png", pnginfo=None)
    asks = ("collect", "--session", "collected", "--files", str(server.folder / "outputs"))
    told = cli(*asks)
    for id, stays in ((good, True), (bad, False), (worse, False), (of_bad, False), (of_good, None)):
        assert (f"stays  {id}" in told.stderr) == (stays is True) and (id in told.stdout) == (stays is False), names[id]
    assert len(list(files.iterdir())) == 6, "nothing was done"
    done = json.loads(cli(*asks, "--trash", str(tmp_path / "trash"), "--json").stdout)
    assert sorted(done["removed"]) == sorted(done["collected"]) and {worse, of_bad} <= {*done["removed"]}
    assert {path.name for path in (tmp_path / "trash").iterdir()} >= {"renamed.png", f"{names[of_bad]}.png"}
    left = {path.name for path in files.iterdir()}
    assert "edited.png" in left and f"{names[good]}.png" in left and "renamed.png" not in left
    assert client.call("artifact", {"id": good})["ok"] and client.call("artifact", {"id": of_good})["ok"]
    assert "Nothing that was rejected can go" in cli(*asks).stderr


def test_the_file_of_a_picked_result_stays_where_an_equal_one_was_rejected(cli, client, server):
    client.session = "equal"
    first, again = [client.run("txt2img", prompt="a wren", seed=5)[0] for _ in range(2)]
    assert first.record["sha256"] == again.record["sha256"]
    client.call("review", {"ids": [first.id], "state": "rejected"})
    client.call("review", {"ids": [again.id], "state": "picked"})
    files = lambda: [*(server.folder / "outputs").rglob(f"*txt2img-5-a-wren-{again.id[20:26]}*")]  # noqa: E731
    wait_until(files)
    asks = ("collect", "--session", "equal", "--delete", "--files", str(server.folder / "outputs"), "--json")
    done = json.loads(cli(*asks).stdout)
    assert done["removed"] == [first.id] and not done["files"] and files()


def test_of_results_that_are_called_the_same_both_are_moved_to_the_trash(cli, client, tmp_path):
    client.session = "namesakes"
    ids = [client.upload(PIL.Image.new("RGB", (8, 8), color), name="fox.png").id for color in ("red", "blue")]
    client.call("review", {"ids": ids, "state": "rejected"})
    done = json.loads(cli("collect", "--session", "namesakes", "--trash", str(tmp_path), "--json").stdout)
    assert sorted(done["removed"]) == sorted(ids)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fox-2.png", "fox.png"]


@pytest.fixture
def inu(tmp_path):
    """A folder as InuDiffusion leaves it: two jobs, a variation, an enlargement; some moved, one gone, one pending."""
    first, second, varied, large, waits = (str(uuid.uuid4()) for _ in range(5))
    folder = tmp_path / "inu"
    for name in ("output", "output/to_delete", "checked_images", "elsewhere"):
        (folder / name).mkdir(parents=True, exist_ok=True)

    def paint(path, color):
        PIL.Image.new("RGB", (8, 8), color).save(folder / path)
        return path

    root = short(first)
    paint(f"checked_images/{root}@0.png", "red")
    paint("output/to_delete/00001.png", "blue")
    paint("output/00007.png", "green")
    paint(f"elsewhere/{root}@0_1.png", "yellow")
    paint(f"checked_images/{root}@0_1_0.png", "white")
    jobs = {
        first: {"job_type": "txt2img", "status": "done", "images_checked": True, "starting_img": "",
                "output_images": [f"output/{root}@0.png", "output\\00001.png", "output/gone.png"]},
        second: {"job_type": "txt2img", "status": "done", "output_images": ["output/00007.png"]},
        large: {"job_type": "img2img", "status": "done", "images_checked": True,
                "starting_img": f"checked_images/{root}@0_1.png", "output_images": [f"{root}@0_1_0.png"]},
        varied: {"job_type": "txt2imgVariations", "status": "done", "images_checked": True,
                 "starting_img": f"checked_images/{root}@0.png", "output_images": [f"output/{root}@0_1.png"]},
        waits: {"job_type": "txt2img", "status": "pending", "output_images": [], "images_checked": False},
    }  # fmt: skip
    (folder / "jobs.json").write_text(json.dumps(jobs))
    return folder, root, short(second), waits


def test_pictures_of_inudiffusion_come_with_their_families_and_only_once(cli, client, inu):
    folder, root, other, waits = inu
    planned = cli("import-jobs", folder / "jobs.json", "--plan")
    assert "5 pictures of 2 jobs: 3 picked, 1 rejected, 1 new. Nothing was taken." in planned.stdout
    assert waits in planned.stderr and "output/gone.png: there is no such file" in planned.stderr
    done = json.loads(cli("import-jobs", folder / "jobs.json", "--json").stdout)
    rows = {name: client.call("artifact", {"id": id})["artifact"] for name, id in done["artifacts"].items()}
    states = {f"{root}@0": "picked", f"{root}@1": "rejected", f"{other}@0": "new", f"{root}@0_1": "picked"}
    assert {name: row["review"] for name, row in rows.items()} == states | {f"{root}@0_1_0": "picked"}
    above = client.call("lineage", {"id": rows[f"{root}@0_1_0"]["id"]})["artifacts"]
    assert [each["name"] for each in above] == [f"{root}@0_1.png", f"{root}@0.png"]
    again = json.loads(cli("import-jobs", folder / "jobs.json", "--json").stdout)
    assert again["taken"] == 0 and again["artifacts"] == done["artifacts"]
    (folder / "output" / "gone.png").write_bytes((folder / "output" / "00007.png").read_bytes() + b"\0")
    assert json.loads(cli("import-jobs", folder / "jobs.json", "--json").stdout)["taken"] == 1


def test_a_name_that_was_given_when_a_picture_was_approved_stays_its_own(cli, tmp_path):
    jobs = {
        "v": {"job_type": "txt2imgVariations", "starting_img": "r@0.png", "output_images": ["00003.png"]},
        "i": {"job_type": "img2img", "starting_img": "r@0.png", "output_images": ["r@0_0.png"], "images_checked": True},
    }
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    for name, color in (("00003.png", "red"), ("r@0_0.png", "blue")):
        PIL.Image.new("RGB", (8, 8), color).save(tmp_path / name)
    planned = cli("import-jobs", tmp_path / "jobs.json", "--plan")
    assert "2 pictures of 1 job: 1 picked, 0 rejected, 1 new." in planned.stdout
    assert re.search(r"r@0_0 +picked .*/r@0_0.png", planned.stdout), planned.stdout
    assert re.search(r"r@0_1 +new .*/00003.png", planned.stdout), planned.stdout


def test_pictures_of_one_name_in_two_folders_are_told_apart(cli, tmp_path):
    jobs = {str(day): {"job_type": "txt2img", "output_images": [f"output\\{day}\\00001.png"]} for day in (2, 1)}
    (tmp_path / "jobs.json").write_text(json.dumps(jobs))
    for day in (1, 2):
        (tmp_path / "output" / str(day)).mkdir(parents=True)
        PIL.Image.new("RGB", (8, 8), (day, 0, 0)).save(tmp_path / "output" / str(day) / "00001.png")
    planned = cli("import-jobs", tmp_path / "jobs.json", "--plan").stdout
    assert re.search(r"1@0 +new .*/1/00001.png", planned) and re.search(r"2@0 +new .*/2/00001.png", planned), planned


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ('{"a": {"b": 1}}', "no jobs.json"),
        ("[]", "no jobs"),
    ],
)
def test_another_file_than_jobs_json_is_told(cli, tmp_path, content, says):
    (tmp_path / "jobs.json").write_text(content)
    told = cli("import-jobs", tmp_path / "jobs.json")
    assert told.returncode == 2 and says in told.stderr
