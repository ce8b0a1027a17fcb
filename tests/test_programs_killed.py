"""Every program, killed in its middle with the server and all workers, ends with what it would have made anyway."""

import contextlib
import hashlib
import itertools
import json
import os
import re
import shlex
import signal

import PIL.Image
import pytest

from clients.python.stable_core import TERMINAL, Conflict
from tests.serving import ROOT, serve, wait_until
from tests.shell import in_process

pytestmark = [pytest.mark.slow, pytest.mark.torch]
PLUGINS = ["stable_diffusion", "color", "explore", "flows", "sequence", "isi", "sweeps", "batch", "sheets"]
SMALL = ["--width", "64", "--height", "64", "--steps", "1"]
STYLES = [{"style": "on blue", "file_tag": "b", "weight": 0.7}, {"style": "on white", "file_tag": "w", "weight": 0.9}]
TALE = "Chapter 1\na circle\na star\na ring\nChapter 2\na square\n"
AXES = [{"parameter": "steps", "values": "1,2"}, {"parameter": "cfg_scale", "values": "1-3"}]
STAR = {"prompt": "a star", "width": 64, "height": 64, "seed": 9}
CHAINS = {
    "vary": ["vary", "--prompt", "a star", "--transform", "beast", "--seed", "7", "--steps", "2"],
    "isi": [
        "isi",
        "--prompt",
        "{on blue}a star;(a square:1.21);((a ring));a cross",
        "--seed",
        "5",
        "--no-sheet",
        *SMALL,
    ],
    "sequence": [
        "sequence",
        "--text",
        TALE,
        "--max-chapters",
        "2",
        "--styles",
        json.dumps(STYLES),
        "--seed",
        "3",
        *SMALL,
    ],
    "flow": ["flows.refine", "--prompt", "a star", "--seed", "100", *SMALL],
}
HEAPS = {
    "explore": ["explore", "--prompt", "a  red star", "--count", "4", *SMALL],
    "sweep": ["sweep", "--job", "txt2img", "--params", json.dumps(STAR), "--axes", json.dumps(AXES)],
    "batch": ["rounds", "--prompt", "a star", "--count", "3", "--variations", "2", "--sizes", "64x64", "--seed", "11",
              "--steps", "1", "--no-finish"],
}  # fmt: skip


def test_programs_that_are_killed_in_their_middle_end_and_do_nothing_twice():
    with serve({name: ROOT / "plugins" / name for name in PLUGINS}) as server:
        with server.client() as client:
            picture = client.upload(PIL.Image.new("RGB", (64, 64), "red"))
            for name in ("vary", "isi"):
                CHAINS[name] += ["--image", picture.id]
            ids = {name: start(client, words) for name, words in HEAPS.items()}
            held = {
                name: [part["id"] for part in drawings(client, ids[name])[1:] if hold(client, part)] for name in ids
            }
            assert all(held.values())
            ids |= {name: start(client, words) for name, words in CHAINS.items()}
            check_terminal(client, ids)
            wait_until(lambda: all(done(client, id) for id in ids.values()), 200)
            assert not [name for name, id in ids.items() if client.call("job", {"id": id})["job"]["state"] in TERMINAL]
            pids = [worker["pid"] for worker in client.queue()["workers"]]
            before = {part["id"]: part for id in ids.values() for part in done(client, id)}
            server.kill()
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        server.restart()
        with server.client() as client:
            for part in itertools.chain(*held.values()):
                client.call("release", {"id": part})
            asked = [artifact for id in ids.values() for artifact in answered(client, id)]
            assert len(asked) == len(set(asked)) == 3 + 6
            made = {name: parts(client, id) for name, id in ids.items()}
            again = {part["id"]: part for some in made.values() for part in some}
            assert before == {id: again[id] for id in before}
            assert {part["state"] for part in again.values()} == {"done"}
            assert all(part["attempt"] <= 2 for part in again.values())
        check_chains(made)
        check_heaps(made)
        check_files(server.folder / "outputs")


def check_terminal(client, ids):
    """Programs are listed without their parts, and the examples of docs/programs.md tell what they would run."""
    assert {job["id"] for job in json.loads(in_process(client, "jobs", "--json").stdout)} == {*ids.values()}
    listed = in_process(client, "jobs", "--parent", ids["sweep"]).stdout
    assert listed.count("stable_diffusion.txt2img") == 6
    assert re.search(r"parts +\d of 6 ended", in_process(client, "job", ids["sweep"]).stdout)
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "programs.md").read_text("utf-8"), re.DOTALL)
    for line in blocks:
        plan = in_process(client, *shlex.split(line)[3:], "--plan")
        assert plan.returncode == 0 and "Nothing was submitted" in plan.stdout, line + plan.stderr


def start(client, words):
    job = in_process(client, "run", *words, "--no-wait")
    assert job.returncode == 0, job.stderr
    id = job.stdout.strip()
    wait_until(lambda: drawings(client, id), 60)
    return id


def hold(client, part):
    """Whether it could be: it may run already."""
    with contextlib.suppress(Conflict):
        return client.call("hold", {"id": part["id"]})["ok"]


def parts(client, program):
    """In the order in which they were asked for."""
    return sorted(client.call("jobs", {"parent": program, "limit": 100})["jobs"], key=lambda part: part["id"])


def drawings(client, program):
    return [part for part in parts(client, program) if part["name"].endswith("2img")]


def done(client, program):
    return [part for part in drawings(client, program) if part["state"] == "done"]


def answered(client, program):
    """Everything is picked that it asks for, until it has ended; returns what it has asked for."""
    asked = []

    def ended():
        job = client.call("job", {"id": program})["job"]
        wanted = [wait["artifact"] for wait in job.get("waits_for", []) if "artifact" in wait]
        asked.extend(wanted)
        if wanted:
            client.call("review", {"ids": wanted, "state": "picked"})
        return job["state"] in TERMINAL and job

    job = wait_until(ended, 200)
    assert job["state"] == "done" and job["outputs"], job
    return asked


def told(made, *names):
    """What the drawings of a program were told, one by one."""
    return [tuple(part["params"].get(name) for name in names) for part in made if part["name"].endswith("2img")]


def check_chains(made):
    assert told(made["vary"], "cfg_scale", "denoising_strength", "seed") == [(6, 0.35, 7)] * 3
    redrawn = [part for part in made["vary"] if part["name"] == "stable_diffusion.img2img"]
    corrected = [part for part in made["vary"] if part["name"] == "color.match_colors"]
    assert all(
        before["id"] in str(part["inputs"]["image"]) for before, part in zip(corrected, redrawn[1:], strict=False)
    )
    assert told(made["isi"], "prompt", "cfg_scale", "seed") == [
        ("on blue,a star", 7, 5), ("on blue,a square", 8.47, 6), ("on blue,a ring", 8.47, 7), ("on blue,a cross", 7, 8),
    ]  # fmt: skip
    what = [
        f"{what} {where}" for what in ("a circle", "a star", "a ring", "a square") for where in ("on blue", "on white")
    ]
    assert [prompt for (prompt,) in told(made["sequence"], "prompt")] == what
    names = [part["name"].split(".")[1] for part in made["sequence"] if part["name"].endswith("2img")]
    assert names == ["txt2img"] * 2 + ["img2img"] * 6
    assert [strength for (strength,) in told(made["sequence"], "denoising_strength")][2:] == [0.7, 0.9] * 3
    assert told(made["flow"], "denoising_strength", "seed")[1:] == [(0.5, 100), (0.35, 101), (0.2, 102)]


def check_heaps(made):
    assert len({seed for (seed,) in told(made["explore"], "seed")}) == 4
    cells = [(steps, scale, 9) for scale in (1, 2, 3) for steps in (1, 2)]
    assert told(made["sweep"], "steps", "cfg_scale", "seed") == cells
    drawn = told(made["batch"], "seed", "cfg_scale")
    assert drawn[:3] == [(11, 7), (12, 7), (13, 7)] and len(set(drawn)) == len(drawn) == 3 + 6
    assert {scale for _, scale in drawn[3:]} == {5}


def check_files(outputs):
    def below(folder):
        return sorted(
            str(path.relative_to(outputs / folder)) for path in (outputs / folder).rglob("*") if path.is_file()
        )

    folder = hashlib.md5(b"a red star\n").hexdigest()
    *pictures, prompt = below(f"explore/{folder}")
    assert prompt == "prompt.txt" and len(pictures) == 4
    assert all(re.fullmatch(r"[\dT-]+-00\d_scale-6_steps-1_seed-\d+\.png", name) for name in pictures)
    roots = {name.split("@")[0] for name in below("batch")}
    assert len(roots) == 1 and [name.split("@")[1] for name in below("batch")] == [
        name for root in "012" for name in (f"{root}.png", f"{root}_0.png", f"{root}_1.png")
    ]
    names = [name.rsplit("/", 1)[1] for name in below("sequence/progresive/b w")]
    pages = [f"{tag} {page}.png" for tag in "bw" for page in ("0-0", "0-1", "0-2", "1-0", "grid-0", "grid-1")]
    assert names == pages
