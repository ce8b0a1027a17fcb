"""Indexes of plugins: what a name leads to, what is kept of one that cannot be read, and how one is kept in order."""

import http.server
import json
import os
import re
import subprocess
import threading

import pytest

from core.errors import Conflict, NotFound
from core.ops.config import ROOT, Config
from core.ops.packages import indexes
from core.ops.packages.command import main
from core.ops.packages.indexes import Indexes
from core.ops.packages.inspection import inspect
from tests.test_inspection import make

ENTRY = {"repo": "https://example.org/paint.git", "commit": "a" * 40, "hash": "b" * 64, "api": 1, "licence": "MIT"}
ENTRY |= {"publisher": "someone", "description": "Paints.", "jobs": {"paint": {"inputs": {}, "output": "Image"}}}


def entry(name="paint", version="1.2.0", **more):
    return {"name": name, "version": version, **ENTRY, **more}


def write(path, *entries, **more):
    path.write_text(json.dumps({"index": 1, "title": "Ours", "plugins": entries} | more))
    return path


def git(folder, *words):
    identity = {f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = ["git", "-c", "init.defaultBranch=main", "-C", str(folder), *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | identity)
    return done.stdout.strip()


def commit(folder, *tag):
    """All that is in the folder, in its repository."""
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "x")
    for name in tag:
        git(folder, "tag", name)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def known(tmp_path):
    """Makes Indexes of addresses."""
    return lambda *addresses: Indexes(
        Config(packages=tmp_path / "packages", plugin_indexes=[str(a) for a in addresses])
    )


@pytest.fixture
def plugins(tmp_path, capsys):
    """Runs a command of plugins: (exit code, stdout, stderr)."""

    def run(*words):
        code = main(["--config", str(tmp_path / "config.toml"), *map(str, words)])
        return code, *capsys.readouterr()

    (tmp_path / "config.toml").write_text(
        f"packages = {str(tmp_path / 'packages')!r}\nplugin_indexes = ['{tmp_path}/i.json']\n"
    )
    return run


def silent(line):
    pass


def test_a_name_means_the_newest_version_that_works_here_and_name_at_version_that_one(tmp_path, known):
    others = [entry(version="2.0.0", api=2), entry(version="1.11.0", withdrawn="It steals.")]
    there = known(write(tmp_path / "i.json", entry(version="1.10.0"), entry(version="1.9.0"), *others))
    assert there.find("paint").version == "1.10.0"
    assert there.find("paint@1.9.0").source.ref == "a" * 40
    with pytest.raises(Conflict, match="paint 1.11.0 was withdrawn from its index: It steals"):
        there.find("paint@1.11.0")
    with pytest.raises(Conflict, match="paint 2.0.0 is written for api = 2, this server has 1"):
        there.find("paint@2.0.0")
    with pytest.raises(NotFound, match="paint has no version 3. There are 2.0.0, 1.11.0, 1.10.0, 1.9.0"):
        there.find("paint@3")
    with pytest.raises(NotFound, match="no index has a plugin 'paimt'. Did you mean paint?"):
        there.find("paimt")
    with pytest.raises(NotFound, match="no index of plugins is set"):
        known().find("paint")


def test_the_first_index_that_has_a_name_decides_what_it_means(tmp_path, known):
    ours, theirs = tmp_path / "ours.json", tmp_path / "theirs.json"
    write(ours, entry(version="1.0.0"))
    write(theirs, entry(version="99.0.0", commit="c" * 40), entry("other"))
    there = known(ours, theirs)
    assert there.find("paint").commit == "a" * 40
    with pytest.raises(NotFound, match="paint has no version 99.0.0"):
        there.find("paint@99.0.0")
    assert [str(each) for each in indexes.search(there.books(), [])] == ["other 1.2.0", "paint 1.0.0"]


def test_an_index_is_found_by_words_of_its_entries_and_by_the_types_of_jobs(tmp_path, plugins):
    jobs = {"cut": {"inputs": {"video": "Video"}, "output": "list[Image]"}}
    write(tmp_path / "i.json", entry(), entry("film", jobs=jobs, description="Cuts films.", api=2))
    assert plugins("search", "video", "CUTS") == (0, "film 1.2.0  Cuts films. (needs api = 2)\n", "")
    assert plugins("search", "pant") == (0, "No plugin has pant. Did you mean paint?\n", "")
    assert plugins("search")[1] == "film 1.2.0   Cuts films. (needs api = 2)\npaint 1.2.0  Paints.\n"


def test_an_index_in_git_is_read_again_and_what_it_said_counts_while_it_cannot_be(tmp_path, known):
    folder = tmp_path / "keeper"
    folder.mkdir()
    write(folder / "index.json", entry())
    commit(folder)
    there = known(folder.as_uri())
    assert there.known()[0].notes == [f"The index {folder.as_uri()} has not been read yet."]
    assert there.find("paint", silent).version == "1.2.0"
    write(folder / "index.json", entry(version="1.3.0"))
    commit(folder)
    assert there.books(say=silent)[0].entries[0].version == "1.2.0"  # it was read a moment ago
    assert there.find("paint", silent).version == "1.3.0"
    (folder / "index.json").write_text('{"index": 1, "plug')
    commit(folder)
    notes = []
    assert there.find("paint", notes.append).version == "1.3.0"
    assert re.search(r"cannot be read: it is no JSON: .*\nWhat it said on .* counts until it can be.", notes[-1])
    folder.rename(tmp_path / "gone")
    assert there.find("paint", notes.append).version == "1.3.0"
    assert f"there is no {folder}." in notes[-1]
    assert [path.suffix for path in (tmp_path / "packages" / ".indexes").iterdir()] == [".json"]


def test_an_index_at_an_address_is_read_within_limits_and_never_without_encryption(tmp_path, known, monkeypatch):
    write(tmp_path / "i.json", entry())
    (tmp_path / "large.json").write_text("[" + " " * 5000 + "]")
    handler = lambda *given: http.server.SimpleHTTPRequestHandler(*given, directory=str(tmp_path))  # noqa: E731
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    at = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(indexes, "MAX_BYTES", 4000)
    books = known(f"{at}/i.json", f"{at}/large.json", f"{at}/none.json", "http://example.org/i.json").books(say=silent)
    server.shutdown()
    server.server_close()
    thread.join()
    assert [str(each) for each in books[0].entries] == ["paint 1.2.0"]
    said = " ".join(note for book in books for note in book.notes)
    assert "larger than 4 kB" in said and "404" in said and "use https" in said


def test_the_document_shows_an_index():
    text = re.search(r"```json\n(.*?)```", (ROOT / "docs" / "indexes.md").read_text("utf-8"), re.DOTALL)[1]
    assert (len(indexes.read(text.encode(), "https://example.org/i.json")[1]), json.loads(text)["index"]) == (1, 1)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("[]", "it is no index of plugins: it: Input should be"),
        ('{"index": 2, "plugins": []}', "it is no index of plugins: index: Input should be 1"),
        ("[" * 100_000, "it is no JSON"),
        ("\x1b[2J", "it is no JSON"),
    ],
)
def test_what_is_no_index_is_refused(tmp_path, known, data, problem):
    (tmp_path / "i.json").write_text(data)
    (note,) = known(tmp_path / "i.json").books()[0].notes
    assert problem in note and note.isprintable()


@pytest.mark.parametrize(
    "wrong",
    [
        {"commit": "main"},
        {"commit": "A" * 40},
        {"hash": ""},
        {"name": "../x"},
        {"version": "1 2"},
        {"repo": "--upload-pack=touch x"},
        {"repo": "ext::sh -c touch"},
        {"repo": "https://example.org/x.git#subdirectory=.."},
        {"repo": "http://example.org/x.git"},
        {"within": "a\x1b[2Jb"},
        {"description": "a\x1b[2Jb"},
        {"description": "a\nb"},
        {"homepage": "javascript:alert(1)"},
        {"jobs": {"a\x1b": {"inputs": {}, "output": "Image"}}},
        {"jobs": {"a": {"inputs": {"x": "\x1b"}, "output": "Image"}}},
        {"licence": ""},
        {"api": "one"},
        {"title": "x" * 5000},
    ],
    ids=str,
)
def test_an_entry_that_is_wrong_is_left_out_and_the_others_count(tmp_path, known, wrong):
    book = known(write(tmp_path / "i.json", entry() | wrong, entry("good"))).books()[0]
    assert [each.name for each in book.entries] == ["good"]
    assert book.notes[0].startswith("plugins.0") and book.notes[0].isprintable()


def test_an_index_from_elsewhere_cannot_name_what_is_on_this_machine(tmp_path):
    data = json.dumps({"index": 1, "plugins": [entry(repo=tmp_path.as_uri()), entry(repo=str(tmp_path))]}).encode()
    _, entries, notes = indexes.read(data, "https://example.org/plugins.git")
    assert not entries and all("an index names https://" in note for note in notes)


def test_what_is_not_what_the_index_names_is_refused(tmp_path):
    report = inspect(make(tmp_path))
    right = indexes.Entry.model_validate(entry(hash=report.hash))
    indexes.verify(right, report)
    with pytest.raises(Conflict, match="is not what the index names"):
        indexes.verify(right.model_copy(update={"hash": "b" * 64}), report)


def test_a_keeper_adds_an_entry_checks_it_and_is_told_of_what_is_changed_later(tmp_path, plugins):
    folder, index = tmp_path / "paint", tmp_path / "i.json"
    first = commit(make(folder, 'author = "me"'), "v1")
    code, printed, _ = plugins("index", "entry", f"{folder.as_uri()}@v1")
    assert code == 0 and json.loads(printed) | {"size_bytes": 0} == {
        "name": "paint", "version": "1.2.0", "repo": folder.as_uri(), "commit": first, "hash": inspect(folder).hash,
        "api": 1, "licence": "MIT", "publisher": "me", "title": "Paint", "size_bytes": 0,
        "jobs": {
            "paint": {"inputs": {"image": "Image", "masks": "list[Mask]", "note": "Text | None"}, "output": "Image"},
            "count": {"output": "Text", "light": True},
        },
    }  # fmt: skip
    assert plugins("index", "entry", folder.as_uri(), "--into", index)[:2] == (0, f"write  {index}\n")
    assert plugins("index", "check", index, "--fetch")[:2] == (0, "passed  paint 1.2.0\n")
    make(folder, 'author = "me"', files={"more.py": "x = 1"})
    second = commit(folder)
    code, _, said = plugins("index", "entry", folder.as_uri(), "--into", index)
    assert (code, "has paint 1.2.0 already, and it is another commit or hash" in said) == (1, True)
    before = tmp_path / "before.json"
    before.write_bytes(index.read_bytes())
    index.write_text(index.read_text().replace(first, second).replace('"MIT"', '"GPL-3.0"'))
    code, printed, said = plugins("index", "check", index, "--fetch")
    assert code == 1 and said.endswith(f"{index}: 1 of 1 are wrong.\n")
    assert "failed  paint 1.2.0: licence is GPL-3.0 here, and MIT in the plugin.\n" in printed
    assert f"failed  paint 1.2.0: hash is {json.loads(before.read_text())['plugins'][0]['hash']} here, and" in printed
    code, printed, _ = plugins("index", "check", index, "--fetch", "--base", before)
    assert f"failed  paint 1.2.0: it was the commit {first} with the hash" in printed
    write(index)
    assert "it is gone. Keep it" in plugins("index", "check", index, "--base", before)[1]
    assert plugins("index", "check", before, "--fetch", "--base", before)[1] == "passed  paint 1.2.0, as it was\n"


def test_the_example_of_an_index_that_is_kept_in_order_works(tmp_path):
    example = ROOT / "docs" / "examples" / "index"
    keeper, paint = tmp_path / "keeper", tmp_path / "paint"
    keeper.mkdir()
    commit(make(paint, 'author = "me"'))
    for name in ("check.sh", "index.json"):
        (keeper / name).write_bytes((example / name).read_bytes())
    assert "sh check.sh" in (example / "check.yml").read_text()
    commit(keeper)
    program = [
        str(ROOT / ".venv" / "bin" / "python"),
        str(ROOT / "server.py"),
        "plugins",
        "index",
        "entry",
        paint.as_uri(),
    ]
    environment = os.environ | {"STABLE_CORE": str(ROOT), "BASE": "main"}
    git(keeper, "switch", "-q", "-c", "add-paint")
    subprocess.run([*program, "--into", str(keeper / "index.json")], check=True, capture_output=True)
    done = subprocess.run(["sh", "check.sh"], cwd=keeper, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "passed  paint 1.2.0\n"), done.stderr
    text = (keeper / "index.json").read_text()
    (keeper / "index.json").write_text(text.replace('"licence": "MIT"', '"licence": "GPL"'))
    assert subprocess.run(["sh", "check.sh"], cwd=keeper, env=environment, capture_output=True).returncode == 1
