"""The faces plugin at a real server: what its README types, and that it tells which weights it lacks."""

import json
import re
import shutil
from pathlib import Path

import pytest

from core.library.media import decode_image
from tests.serving import serve

FACES = Path(__file__).resolve().parents[1] / "plugins" / "faces"
pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def server():
    with serve({"faces": FACES}) as server:
        yield server


@pytest.fixture
def run(cli, tmp_path, monkeypatch):
    """run(job) types the job's line of the README, in a folder with family.png."""
    lines = re.findall(r"^python3 -m clients\.cli (run (\w+) .*)$", (FACES / "README.md").read_text("utf-8"), re.M)
    monkeypatch.chdir(tmp_path)
    shutil.copy(FACES / "tests/data/two.png", "family.png")
    return lambda job: cli(*next(line for line, name in lines if name == job).split())


def test_faces_are_found_and_cut_out(run):
    found = run("find_faces")
    assert found.returncode == 0, found.stderr
    faces = json.loads(found.stdout)["faces"]
    assert len(faces) == 2 and faces[0]["box"][0] < 90 < faces[0]["box"][2]
    cut = run("cut_faces")
    assert cut.returncode == 0, cut.stderr
    assert [decode_image(path.read_bytes()).size for path in Path("faces").iterdir()] == [(256, 256)] * 2


def test_weights_that_are_not_there_are_told_in_one_message(run):
    refused = run("restore_faces")
    assert refused.returncode != 0 and not Path("restored.png").exists()
    for part in ("349 MB", "licence Apache-2.0", "server.py plugins fetch face_restorer/GFPGANv1.4.pth"):
        assert re.search(part, refused.stderr), part
