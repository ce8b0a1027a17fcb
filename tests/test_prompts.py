"""The prompts plugin as its users have it: through a server and the command line."""

import os
import re
import subprocess
import sys

import pytest

from tests.serving import ROOT, serve
from tests.test_cli import environment
from tests.wire import Wire

pytestmark = pytest.mark.torch
README = (ROOT / "plugins/prompts/README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def server():
    with serve({"prompts": ROOT / "plugins/prompts"}) as server:
        yield server


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


@pytest.mark.skipif(os.name != "posix", reason="the examples are for a Unix shell")
def test_the_examples_of_the_readme_run(server):
    script = re.search(r"```sh\n(.*?)```", README, re.DOTALL)[1].replace("python3 ", f"{sys.executable} ")
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=environment(server), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    *listed, one, other = done.stdout.splitlines()
    assert listed == ["a red circle", "a red square", "a blue circle", "a blue square"]
    assert all(re.fullmatch(r"castle, [\w ]+, [\w ]+, (oil painting|watercolor)", text) for text in (one, other))


def test_a_model_that_is_not_here_is_told_with_size_licence_and_how_to_fetch_it(wire):
    text = wire.upload(b"a castle", kind="text")["artifact"]["id"]
    ended = wire.ended(wire.submit("expand_prompt", inputs={"text": text}))
    how = "512 MB, licence MIT. To fetch it: python3 server.py plugins fetch prompt_expander/magicprompt"
    assert ended["error"]["code"] == "model_not_found" and how in ended["error"]["message"]


def test_related_tags_become_choices_that_the_next_job_draws_from(wire, server):
    folder = server.folder / "models/related_tags"
    folder.mkdir(parents=True)
    (folder / "mine.csv").write_text("cat,paws,fur\n")
    text = wire.upload(b"!cat:1", kind="text")["artifact"]["id"]
    chain = [
        {"id": "tags", "job": "expand_tags", "inputs": {"text": text}},
        {"job": "dynamic_prompts", "params": {"mode": "all"}, "inputs": {"text": {"job": "tags"}}},
    ]
    jobs = [job["id"] for job in wire.call("flow", {"jobs": chain})["jobs"]]
    _, drawn = wire.ended(*jobs)
    assert [wire.download(output).text for output in drawn["outputs"]] == ["cat, paws", "cat, fur"]
