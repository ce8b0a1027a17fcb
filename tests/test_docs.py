"""What the documents name exists, what exists is named, and what they show runs."""

import inspect
import io
import os
import re
import shlex
import subprocess
import sys

import PIL.Image
import pytest

import server
from core import errors
from core.library import plain
from core.ops.config import Config
from core.rest import outgoing
from tests.serving import ROOT, serve
from tests.shell import in_process
from tests.wire import Wire

DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("plugins/*/README.md")]
DOCUMENTS += ROOT.glob("clients/*/README.md")
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text("utf-8")


def table(heading, text=PROTOCOL):
    """The rows of the first table below a heading, each a list of cells."""
    lines = text.split(f"\n## {heading}\n")[1].split("\n## ")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return rows[2:]


def quoted(text):
    """What stands in backticks, but for whole blocks of code."""
    return re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


@pytest.fixture(scope="module")
def handlers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    config = Config(data=folder / "data", outputs=folder / "outputs", async_mode="threading")
    built = server.Server(config)
    yield built.api.handlers
    built.stop()


def test_the_protocol_names_every_event_and_no_other(handlers):
    assert {name for row in table("You send") for name in quoted(row[0])} == handlers.keys()


def test_the_protocol_names_every_field(handlers):
    from core.api import Submission

    for events, fields, _ in table("You send"):
        for event in quoted(events):
            hidden = {"owner", "socket", "submission"}
            known = set(inspect.signature(handlers[event]).parameters) - hidden
            known |= set(Submission.model_fields) if event == "submit" else set()
            assert {name for name in quoted(fields) if name in known} == known, event


def test_the_protocol_names_every_error_code():
    assert {name for row in table("Errors") for name in quoted(row[0])} == errors.CODES.keys()


def test_the_protocol_names_the_limits_that_there_are():
    for limit in (f"{outgoing.MAX_BYTES // 1_000_000} MB or {outgoing.MAX_PACKETS:,} packets", f"{plain.MAX_VALUES:,}"):
        assert limit in " ".join(PROTOCOL.split()), limit


def test_the_readme_names_every_event(handlers):
    readme = (ROOT / "README.md").read_text("utf-8")
    assert handlers.keys() <= {name for row in table("The socket API", readme) for name in quoted(row[0])}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text("utf-8")):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize(
    "document", [ROOT / "README.md", ROOT / "docs" / "architecture.md"], ids=lambda path: path.name
)
def test_files_and_folders_that_are_named_exist(document):
    found = 0
    for name in quoted(document.read_text("utf-8")):
        if re.fullmatch(r"[\w./-]+/|(core|plugins|clients|tests|docs)/[\w./-]+|[\w-]+\.(py|sh|bat)", name):
            if name in ("models/checkpoint/", "models/pipeline/", "outputs/", "blobs/"):  # by users, or at run time
                continue
            assert (ROOT / name).exists() or "/" not in name and any(ROOT.glob(f"core/**/{name}")), name
            found += 1
    assert found > 10


def test_the_kernel_is_listed_whole_and_in_one_order():
    names = [path.name for path in ROOT.glob("core/*.py") if path.name != "__init__.py"]
    for document in ("README.md", "docs/architecture.md"):
        text = (ROOT / document).read_text("utf-8")
        assert all(f"{name}`" in text for name in names), document


def test_every_file_beside_the_kernel_is_listed():
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    for folder in ("library", "ops", "rest", "remote"):
        rows = "".join(line for line in text.splitlines() if line.startswith(f"| `core/{folder}/`"))
        named = {name for name in quoted(rows) if name.endswith(".py")}
        paths = [path for each in ("", "providers/", "scripts/") for path in ROOT.glob(f"core/{folder}/{each}*.py")]
        assert named == {path.name for path in paths} - {"__init__.py"}, folder


def test_every_action_and_option_for_machines_is_named_and_no_other():
    from core.remote import command

    text = (ROOT / "docs/remote.md").read_text("utf-8").replace("`server.py deploy ...`", "Action")
    actions = next(action.choices for action in command.parser()._actions if action.dest == "action")
    rows = table("What can be done with it", text)
    assert {word.split()[0] for row in rows for word in quoted(row[0])} - {"ADDRESS"} == actions.keys()
    named = {word.split()[0] for row in table("Options", text) for word in quoted(row[0])}
    assert named == {*actions["to"]._option_string_actions} - {"-h", "--help"}


def test_every_action_on_plugins_is_named_and_no_other():
    from core.ops.packages import command

    text = (ROOT / "docs/packages.md").read_text("utf-8").replace("`server.py plugins ...`", "Action")
    rows = table("Install, update and take back plugins", text.replace("# Install", "\n## Install", 1))
    actions = next(action.choices for action in command.parser()._actions if action.dest == "action")
    assert {word.split()[0] for row in rows for word in quoted(row[0])} == actions.keys()


def test_settings_that_are_named_exist():
    for document in DOCUMENTS:
        for name in re.findall(r"`(\w+) = [^`]*`", document.read_text("utf-8")):
            assert name in Config.model_fields or name in ("api", "steps"), f"{name} in {document.name}"


def blocks(document, language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text("utf-8"), re.DOTALL)


def test_the_plugin_of_the_tutorial_runs():
    manifest, source = blocks("docs/plugins.md", "toml")[0], blocks("docs/plugins.md", "python")[0]
    with serve({"frame": source}) as running:
        (running.folder / "plugins" / "frame" / "plugin.toml").write_text(manifest)
        running.restart()
        with Wire(running) as wire:
            out = io.BytesIO()
            PIL.Image.new("RGB", (10, 10), "red").save(out, "PNG")
            picture = wire.upload(out.getvalue())["artifact"]["id"]
            job = wire.submit("frame", {"width": 2, "color": "black"}, inputs={"image": picture})
            framed = PIL.Image.open(io.BytesIO(wire.download(wire.ended(job)["outputs"][0]).content))
    assert framed.size == (14, 14) and framed.getpixel((0, 0)) == (0, 0, 0) and framed.getpixel((7, 7)) == (255, 0, 0)


def test_the_program_of_the_tutorial_runs():
    frame, grid, *_ = (block for block in blocks("docs/plugins.md", "python") if "class" in block)
    drawing = """
class Draw(Params):
    prompt: str = param("", help="What to draw.")
    seed: int = param(0, help="The seed.")

class Drawing(Plugin):
    @job()
    def txt2img(self, params: Draw) -> Image:
        import PIL.Image
        return PIL.Image.new("RGB", (4, 4), (params.seed % 256, 0, 0))
"""
    with serve({"grid": grid, "frame": frame, "drawing": drawing}) as running, Wire(running) as wire:
        ended = wire.ended(wire.submit("variations", {"count": 3}))
        pictures = [PIL.Image.open(io.BytesIO(wire.download(output).content)) for output in ended["outputs"]]
        assert [picture.size for picture in pictures] == [(20, 20)] * 3


def test_the_settings_of_the_tutorial_are_taken():
    source = next(block for block in blocks("docs/plugins.md", "python") if "PoetSettings" in block)
    settings = next(block for block in blocks("docs/plugins.md", "toml") if "plugin_settings" in block)
    with serve({"poet": source}) as running:
        with (running.folder / "config.toml").open("a") as config:
            config.write(settings)
        running.restart()
        with Wire(running) as wire:
            assert wire.text(wire.ended(wire.submit("poem"))["outputs"][0]) == "arma virumque cano"


def test_the_plugin_of_the_readme_runs(tmp_path):
    source = next(block for block in blocks("README.md", "python") if "class Shout" in block)
    text = (ROOT / "README.md").read_text("utf-8")
    said, words, printed = re.search(r"`echo (\w+) \| python3 -m clients.cli (.*?)` prints `(.*?)`", text).groups()
    folder = tmp_path / "shout"
    folder.mkdir()
    (folder / "__init__.py").write_text(source)
    (folder / "plugin.toml").write_text(blocks("README.md", "toml")[0])
    with serve({"shout": folder}) as running, running.client() as client:
        assert in_process(client, *shlex.split(words), stdin=said + "\n").stdout == printed + "\n"


@pytest.mark.torch
def test_the_clients_of_the_readme_draw_the_same_picture(artist, tmp_path):
    source = next(block for block in blocks("README.md", "python") if "Client" in block)
    command = next(line for line in blocks("README.md", "")[2].splitlines() if "--seed 12" in line)
    environment = os.environ | {"STABLE_CORE_URL": artist.url, "STABLE_CORE_TOKEN": artist.token}
    environment["PYTHONPATH"] = str(ROOT)
    subprocess.run([sys.executable, "-c", source], cwd=tmp_path, env=environment, check=True, timeout=200)
    first = PIL.Image.open(tmp_path / "circle.png").tobytes()
    (tmp_path / "circle.png").unlink()
    words = [*shlex.split(command)[1:], "--fresh"]
    subprocess.run([sys.executable, *words], cwd=tmp_path, env=environment, check=True, timeout=200)
    assert PIL.Image.open(tmp_path / "circle.png").tobytes() == first


@pytest.mark.torch
def test_the_examples_of_the_python_sdk_run(artist, tmp_path):
    sources = blocks("clients/python/README.md", "python")
    environment = os.environ | {"STABLE_CORE_URL": artist.url, "STABLE_CORE_TOKEN": artist.token}
    environment["PYTHONPATH"] = str(ROOT / "clients" / "python")
    options = {"cwd": tmp_path, "env": environment, "check": True, "timeout": 200, "stdout": subprocess.PIPE}
    said = [subprocess.run([sys.executable, "-c", source], text=True, **options).stdout for source in sources]
    assert all(words in text for words, text in zip(("Seed: 12", "(128, 128)", "job\n", "steps"), said, strict=True))
    assert PIL.Image.open(tmp_path / "circle.png").convert("RGB").getpixel((64, 64))[0] > 200
    assert {path.name for path in tmp_path.glob("*.png")} >= {"red.png", "a blue circle.png"}


def test_the_python_sdk_names_all_its_words():
    from clients.python import stable_core as sdk

    text = (ROOT / "clients" / "python" / "README.md").read_text("utf-8")
    for kind, heading in ((sdk.Client, "client"), (sdk.Job, "job"), (sdk.Artifact, "artifact")):
        rows = text.split(f"| of {'an' if heading == 'artifact' else 'a'} {heading} |")[1].split("\n\n")[0]
        assert {name for name in dir(kind) if not name.startswith("_")} <= {*quoted(rows)}, kind


def test_nothing_committed_is_larger_than_it_should_be():
    weights = [path for path in ROOT.glob("plugins/stable_diffusion/builtin/**/*") if path.is_file()]
    model = sum(path.stat().st_size for path in weights if "samples" not in path.parts)
    assert model <= 16_000_000
