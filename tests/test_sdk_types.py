"""The Python SDK is typed: a checker finds a user's mistakes and nothing else, and the records are the server's."""

import re
import shutil
import subprocess
import sys
from typing import get_args

import pytest

from clients.python import stable_core as sdk
from core import jobs
from core.rest import answers
from tests.serving import ROOT

STRICT = ["--strict", "--ignore-missing-imports", "--allow-subclassing-any", "--no-warn-return-any"]
GOOD = """
from stable_core import Artifact, AsyncClient, Client, Progress, ServerError

def show(progress: Progress) -> None:
    print(progress["step"] / progress["total"], progress["phase"])

def draw(prompt: str) -> list[Artifact]:
    with Client(session="cats") as client:
        pictures = client.run("txt2img", prompt=prompt, steps=4, on_progress=show)
        first, second = client.flow(
            [{"id": "a", "job": "txt2img"}, {"job": "img2img", "inputs": {"image": {"job": "a"}}}]
        )
        print(pictures[0].image().size, pictures[0].record["facts"], first.record["params"], second.id)
        return client.submit("txt2img", {"prompt": prompt}, priority="batch").wait(timeout=10) + pictures

async def draw_async(prompt: str) -> bytes:
    async with AsyncClient() as client:
        job = await client.submit("txt2img", {"prompt": prompt})
        async for event in job.events():
            print(event.type, event.data)
        try:
            return await (await job.wait(show))[0].bytes()
        except ServerError as error:
            print(error.code, error.hint)
            raise
"""
BAD = """
from stable_core import AsyncClient, Client

async def wrong(client: Client, other: AsyncClient) -> None:
    client.submit("txt2img", prompt="a cat")  # wrong
    client.submit("txt2img", priority="high")  # wrong
    client.flow([{"name": "txt2img"}])  # wrong
    client.run("txt2img")[0].save().read_txt()  # wrong
    client.run("txt2img", on_progress=lambda progress: progress["steps"])  # wrong
    client.job("id").record["stat"]  # wrong
    print(client.job("id").state == "finished")  # wrong
    print(client.limits["bytes"])  # wrong
    other.run("txt2img").wait()  # wrong
    (await other.run("txt2img"))[0].bytes().hex()  # wrong
"""


@pytest.mark.slow
def test_a_checker_finds_a_users_mistakes_and_nothing_else(tmp_path):
    shutil.copy(ROOT / "clients/python/stable_core.py", tmp_path)
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "bad.py").write_text(BAD)
    command = [sys.executable, "-m", "mypy", *STRICT, "--python-version", "3.10", "--no-error-summary", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    found = {int(line) for line in re.findall(r"^bad\.py:(\d+): error", done.stdout, re.MULTILINE)}
    assert found == {number for number, line in enumerate(BAD.splitlines(), 1) if "# wrong" in line}, done.stdout
    assert not re.findall(r"^(?!bad\.py).*error.*", done.stdout, re.MULTILINE) and not done.stderr


@pytest.mark.parametrize(
    "ours, theirs",
    [
        (sdk.JobRecord, answers.JobDetail),
        (sdk.ArtifactRecord, answers.ArtifactDetail),
        (sdk.Progress, answers.ProgressEvent),
        (sdk.Problem, answers.Problem),
        (sdk.PluginRecord, answers.PluginRecord),
        (sdk.AnnouncedJob, answers.AnnouncedJob),
        (sdk.Port, answers.PortRecord),
        (sdk.AcceptingPort, answers.AcceptingPort),
        (sdk.AcceptingJob, answers.AcceptingJob),
        (sdk.OtherJob, answers.OtherJob),
        (sdk.Plan, answers.Plan),
        (sdk.LogLine, answers.LogLine),
        (sdk.ModelFile, answers.ModelFile),
        (sdk.FetchableModel, answers.FetchableModel),
        (sdk.ModelKind, answers.ModelKind),
        (sdk.Limits, answers.Limits),
    ],
)
def test_records_have_the_fields_that_the_server_says(ours, theirs):
    optional = {name for name, kind in ours.__annotations__.items() if "NotRequired" in str(kind)}
    absent = {name for name, field in theirs.model_fields.items() if not field.is_required()}
    assert ours.__annotations__.keys() == theirs.model_fields.keys()
    assert optional - absent <= {"outputs", "parents"} and absent <= optional  # lists and events leave these out


def test_words_are_the_servers():
    assert (sdk.State, sdk.Priority) == (jobs.State, jobs.Priority)
    assert {*get_args(sdk.Kind)} == {*get_args(answers.KindName)} and sdk.Review == answers.Review
