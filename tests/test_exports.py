"""The outputs folder: names by pattern, safe on every system; copies that can be edited without harm."""

import errno
import filecmp
import io
import os
import shutil
import subprocess
import sys

import PIL.Image
import pydantic
import pytest

from core.artifacts import Blobs
from core.errors import Internal, InvalidParams
from core.jobs import Store
from core.library import exports
from core.library.exports import copy
from core.library.naming import DEFAULT, PLACEHOLDERS, check_pattern, file_path
from core.ops.config import Config, load
from tests.serving import ROOT, serve, wait_until
from tests.wire import Wire

PAINT = """
class PaintParams(Params):
    prompt: str = param("a red circle", help="What to draw.")
    model: str = param("folder/tiny.safetensors", help="With what.")
    count: int = param(1, ge=1, le=9, help="How many.")

class Paint(Plugin):
    @job()
    def paint(self, params: PaintParams) -> list[Image]:
        import PIL.Image
        for index in range(params.count):
            yield Result(PIL.Image.new("RGB", (8, 6), (index, 0, 0)), {"seed": 40 + index})

    @job()
    def flip(self, image: Image) -> Image:
        return image.rotate(180)
"""


def exported(server, count):
    """The files in the outputs folder, once there are so many."""
    folder = server.folder / "outputs"
    found = wait_until(lambda: len(files := [path for path in folder.rglob("*") if path.is_file()]) >= count and files)
    return sorted(path.relative_to(folder).as_posix() for path in found)


def values(**given):
    return {"date": "2026-01-02", "time": "030405", "job": "txt2img", "id": "abc123", "seed": 7} | given


def test_the_pattern_names_the_files():
    pattern = "{session}/{owner}-{plugin}/{job} {prompt} {seed} {model} {width}x{height} {index} {id}"
    with serve({"paint": PAINT}, filename_pattern=pattern) as server, Wire(server) as wire:
        wire.call("session", {"id": "s", "name": "My Session"})
        job = wire.submit("paint", {"count": 2}, session="s")
        wire.ended(job)
        assert exported(server, 2) == [
            f"My-Session/local-paint/paint a-red-circle 4{index} tiny.safetensors 8x6 {index} {job[-6:]}-{index}.png"
            for index in range(2)
        ]


def test_lineage_names_the_first_ancestor():
    with serve({"paint": PAINT}, filename_pattern="{lineage}/{job}-{id}") as server, Wire(server) as wire:
        out = io.BytesIO()
        PIL.Image.new("RGB", (4, 4)).save(out, "PNG")
        photo = wire.upload(out.getvalue(), name="holiday.png")["artifact"]["id"]
        first = wire.ended(wire.submit("flip", inputs={"image": photo}))
        wire.ended(wire.submit("flip", inputs={"image": first["outputs"][0]}))
        own = wire.submit("paint")
        wire.ended(own)
        folders = [name.split("/")[0] for name in exported(server, 3)]
        assert sorted(folders) == sorted(["holiday", "holiday", f"paint-{own[-6:]}"])


def test_editing_an_exported_file_leaves_the_result_alone():
    with serve({"paint": PAINT}, filename_pattern="picture-{job}") as server, Wire(server) as wire:
        first, second = (wire.ended(wire.submit("paint"))["outputs"][0] for _ in range(2))
        assert exported(server, 2) == ["picture-paint-2.png", "picture-paint.png"]
        before = wire.download(first).content
        (server.folder / "outputs" / "picture-paint.png").write_bytes(b"edited")
        assert wire.download(first).content == before and wire.download(second).content != b"edited"


def test_what_is_there_is_never_overwritten(tmp_path):
    source, mine = tmp_path / "blob", tmp_path / "out" / "picture-1.png"
    mine.parent.mkdir()
    source.write_bytes(b"new")
    mine.write_bytes(b"mine")
    targets = [mine.with_stem(f"picture-{name}") for name in ("1", "1-2", "1-3")]
    names = [copy(source, targets, tmp_path / "part").name for _ in range(2)]
    source.write_bytes(b"another")
    names.append(copy(source, targets, tmp_path / "part").name)
    assert names == ["picture-1-2.png", "picture-1-2.png", "picture-1-3.png"] and mine.read_bytes() == b"mine"


def test_a_copy_that_fails_leaves_no_half_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        copy(tmp_path / "gone", [tmp_path / "picture.png"], tmp_path / "part")
    assert list(tmp_path.iterdir()) == []


def full_disk(*args):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_beside_ours_is_told_and_no_half_file_is_left(tmp_path, monkeypatch):
    source, target, half = tmp_path / "source", tmp_path / "picture.png", shutil.copyfile
    source.write_bytes(b"a picture")
    monkeypatch.setattr(os, "link", full_disk)
    monkeypatch.setattr(shutil, "copyfile", lambda *files: (half(*files), full_disk()))
    with pytest.raises(OSError, match="No space left"):
        copy(source, [target], tmp_path / "part")
    assert [*tmp_path.iterdir()] == [source]


def test_a_name_on_a_full_disk_is_told_as_such(tmp_path, monkeypatch):
    blobs, run = Blobs(tmp_path / "blobs"), lambda function, *args: function(*args)
    store = Store(tmp_path / "jobs.db", False, run, lambda event: None)
    result = {"id": "a", "owner": "local", "session": "s", "kind": "image", "size_bytes": 9, "mime": "image/png"}
    result |= {"sha256": blobs.write(b"a picture"), "facts": {}, "created": 0.0, "idx": 0}
    store.write(lambda tx: tx.insert("artifacts", result))
    monkeypatch.setattr(exports, "copy", full_disk)
    told = exports.Exports(Config(data=tmp_path, outputs=tmp_path / "outputs"), store, blobs, run)
    with pytest.raises(Internal, match="'stars/first' cannot be written into the outputs folder: No space left"):
        told.name(store.one("SELECT * FROM artifacts"), "stars/first")


@pytest.mark.parametrize(
    "pattern, says",
    [
        ("{date}/{sead}", "{sead} is not a placeholder; known are {date}, {time}"),
        ("{date}/{job.name}", "not a placeholder"),
        ("{date}/{seed:08}", "not a placeholder"),
        ("{date}/{}", "not a placeholder"),
        ("{date", "expected '}'"),
        ("/etc/{id}", "outputs folder"),
        ("../{id}", "outputs folder"),
        ("{date}/ .. /{id}", "outputs folder"),
        ("{date}//{id}", "outputs folder"),
        ("{id}/", "outputs folder"),
        ("", "outputs folder"),
        ("C:{id}", "control characters"),
        ("a\\{id}", "control characters"),
        ("a\x00{id}", "control characters"),
        ("a/" * 9 + "{id}", "the limit is 7"),
        ("{date}/result", "called the same"),
    ],
)
def test_a_pattern_that_cannot_name_files_is_refused_at_the_start(pattern, says, tmp_path):
    with pytest.raises(InvalidParams) as caught:
        load(None, {"filename_pattern": pattern, "data": tmp_path})
    assert "filename_pattern" in str(caught.value) and says in str(caught.value)


@pytest.mark.parametrize(
    "prompt, name",
    [
        ("../../etc/passwd", "etc-passwd"),
        ("a/b\\c:d*e", "a-b-c-d-e"),
        ("con", "_con"),
        ("NUL.txt", "_NUL.txt"),
        ("com¹", "_com¹"),
        (".hidden", "hidden"),
        ("trailing. . .", "trailing"),
        ("line\nbreak\x00\x7f", "line-break"),
        ("ein schöner Tag", "ein-schöner-Tag"),
        ("{owner}%s$HOME", "owner-s-HOME"),
        ("", "abc123"),
    ],
)
def test_a_value_cannot_escape_or_break_a_name(prompt, name):
    assert file_path("{prompt}", values(prompt=prompt)) == name


def test_what_has_no_value_leaves_no_gap():
    assert file_path(DEFAULT, values(seed=None, prompt="")) == "2026-01-02/030405-txt2img-abc123"
    assert file_path("{session}/{prompt}/{id}", values(session="..", prompt="//")) == "abc123"
    assert file_path(DEFAULT, values(seed=0, prompt="a cat")) == "2026-01-02/030405-txt2img-0-a-cat-abc123"


def test_long_names_fit_every_file_system():
    pattern = "-".join(f"{{{name}}}" for name in PLACEHOLDERS)
    name = file_path(check_pattern(pattern), dict.fromkeys(PLACEHOLDERS, "猫" * 500))
    assert len(f"{name}.png".encode()) < 200 and name.startswith("猫")


def test_every_placeholder_is_in_the_help():
    with pytest.raises(pydantic.ValidationError):
        Config(filename_pattern="{nothing}")
    assert all(f"{{{name}}}" in Config.model_fields["filename_pattern"].description for name in PLACEHOLDERS)


def test_a_copy_that_goes_while_it_is_looked_at_is_no_error(tmp_path, monkeypatch):
    """By a person, say."""
    early, file = tmp_path / "early.png", tmp_path / "named.png"
    for path in (early, file):
        path.write_bytes(b"a picture")
    compare = filecmp.cmp
    monkeypatch.setattr(filecmp, "cmp", lambda *files, **options: early.unlink() or compare(*files, **options))
    exports._remove_copy(early, file, tmp_path)
    assert [*tmp_path.iterdir()] == [file]


KILLED = """
import itertools, os, signal, sys
from pathlib import Path
from core.artifacts import Blobs
from core.jobs import Store
from core.library.exports import Exports
from core.ops.config import Config

job = {"id": "job", "name": "demo.paint", "plugin": "demo", "state": "done", "priority": "normal", "class": 1,
       "rank": 1, "params": {}, "inputs": {}, "embed_metadata": "full", "aged": 0, "created": 0, "queued": 0,
       "finished": 9}
result = {"id": "job.0", "job": "job", "idx": 0, "kind": "image", "size_bytes": 9, "mime": "image/png", "facts": {}}
owned = {"owner": "local", "session": "s"}

def open_exports(folder):
    config = Config(data=folder / "data", outputs=folder / "outputs")
    blobs, run = Blobs(config.data / "blobs"), lambda function, *args: function(*args)
    store = Store(config.data / "jobs.db", False, run, lambda event: None)
    if not store.all("SELECT id FROM jobs"):
        artifact = result | owned | {"sha256": blobs.write(b"a picture"), "created": 0.0}
        store.write(lambda tx: [tx.insert("jobs", job | owned), tx.insert("artifacts", artifact)])
    return Exports(config, store, blobs, run), store

def forked(act):
    pid = os.fork()
    if not pid:
        act()
        os._exit(0)
    return os.waitpid(pid, 0)[1]

def lives(folder, steps):
    exports, store = open_exports(folder)
    left = itertools.count(steps, -1)
    def step(event, args):
        touches = event in ("open", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.rename", "write")
        if touches and str(args[0]).startswith(str(folder)) and not next(left):
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(step)
    write = store.write
    store.write = lambda change: (step("write", [folder]), write(change), step("write", [folder]))
    exports.export(store.job("job"), store.outputs("job"))
    exports.name(store.outputs("job")[0], "stars/first")

def goes_on(folder):
    exports, store = open_exports(folder)
    exports.name(store.outputs("job")[0], "stars/first")

for steps in itertools.count():
    folder = Path(sys.argv[1]) / str(steps)
    (folder / "data").mkdir(parents=True)
    ended = forked(lambda: lives(folder, steps))
    forked(lambda: goes_on(folder))
    there = sorted(path.relative_to(folder / "outputs").as_posix() for path in (folder / "outputs").rglob("*"))
    assert there == ["stars", "stars/first.png"], (steps, there)
    assert (folder / "outputs" / "stars" / "first.png").read_bytes() == b"a picture"
    if not ended:
        print(steps)
        break
"""


@pytest.mark.skipif(os.name != "posix", reason="forks")
def test_a_server_killed_anywhere_between_export_and_naming_leaves_one_file(tmp_path):
    run = subprocess.run([sys.executable, "-c", KILLED, tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 15
