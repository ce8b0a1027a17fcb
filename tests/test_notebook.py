"""The notebook finds its files, starts its own server and draws; it is committed without what it drew."""

import base64
import io
import re
import shutil
import subprocess
import sys
import zipfile

import nbclient
import nbformat
import PIL.Image
import pytest
import requests

from tests.serving import ROOT, wait_until

RED, GREEN, BLUE, YELLOW = (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0)


class Listening(nbclient.NotebookClient):
    """Keeps what the kernel said, also what later replaced it."""

    def process_message(self, message, *others):
        self.heard.append(message)
        return super().process_message(message, *others)


def read():
    return nbformat.read(ROOT / "clients" / "notebook.ipynb", as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def pictures(cell):
    found = [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]
    return [PIL.Image.open(io.BytesIO(base64.b64decode(each))).convert("RGB") for each in found]


def colour(picture, x, y):
    return tuple(round(value / 255) for value in picture.getpixel((x, y)))


def find(folder, repository=""):
    """What the cells say that find a clone, when the notebook is in `folder`."""
    source = "\n".join([code(read())[0].source, f"REPOSITORY = {repository!r}", code(read())[1].source])
    done = subprocess.run([sys.executable, "-c", source], cwd=folder, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def test_it_is_committed_without_outputs():
    assert not [cell for cell in code(read()) if cell.outputs or cell.execution_count]


def test_it_finds_the_clone_it_is_in_or_makes_one_or_says_what_to_do(tmp_path):
    assert find(ROOT / "clients") == f"stable-core is in {ROOT}.\n"
    assert "This is not a clone of stable-core. Set REPOSITORY above" in find(tmp_path)
    origin = tmp_path / "origin"
    shutil.copytree(ROOT / "clients/python", origin / "clients/python")
    author = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for words in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=origin, check=True)
    assert find(tmp_path, f"file://{origin}") == f"stable-core is in {tmp_path / 'stable-core'}.\n"


@pytest.mark.torch
def test_it_starts_a_server_and_draws(tmp_path, monkeypatch):
    notebook = read()
    flags = [f"--{name}={tmp_path / name}" for name in ("data", "outputs", "models")]
    code(notebook)[0].source += f"\nFLAGS = {[*flags, '--web', 'off', '--environments', str(ROOT / '.envs')]}"
    (tmp_path / "stable-core").symlink_to(ROOT)
    monkeypatch.setenv("STABLE_CORE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("PYTHONPATH")  # its kernel needs tornado
    client = Listening(notebook, timeout=250, resources={"metadata": {"path": str(tmp_path)}})
    client.heard = []
    client.execute()
    cells = code(notebook)

    (circle,), (star,), (first, second) = (pictures(cells[number]) for number in (3, 4, 6))
    assert [colour(circle, 64, 64), colour(circle, 4, 4), colour(star, 64, 64)] == [RED, BLUE, YELLOW]
    assert [colour(each, 64, 64) for each in (first, second)] == [GREEN, RED]
    updates = [each["content"]["data"] for each in client.heard if each["msg_type"] == "update_display_data"]
    assert any(re.match("<progress value=[0-9.]+ max=30>", each.get("text/html", "")) for each in updates)
    assert [each for each in updates if "image/jpeg" in each and "image/png" not in each]  # previews; pictures are both
    assert "Steps: 30" in cells[5].outputs[0].text and "text.edit" in cells[7].outputs[0].text
    assert "| `steps` | 20 |" in cells[8].outputs[0].data["text/markdown"]
    assert "'count': 4" in cells[9].outputs[0].data["text/plain"]
    assert [colour(pictures(cells[10])[0], x, 64) for x in (64, 192, 320, 448)] == [RED, GREEN, BLUE, YELLOW]
    assert pictures(cells[11])[0].size == (256, 128)
    with zipfile.ZipFile(tmp_path / "pictures.zip") as archive:
        assert [PIL.Image.open(archive.open(name)).size for name in archive.namelist()] == [(128, 128)] * 2
    url = re.search(r"http://\S+\d", cells[2].outputs[-1].data["text/plain"])[0]
    wait_until(lambda: not answers(url))  # it ends with the notebook


def answers(url):
    try:
        return requests.get(f"{url}/healthz", timeout=5).ok
    except requests.ConnectionError:
        return False
