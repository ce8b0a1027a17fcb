"""A plugin is fetched from a folder, a git repository or a zip, whole and as it is there; hostile ones are refused."""

import contextlib
import io
import os
import stat
import subprocess
import sys
import threading
import time
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from core.errors import CoreError, InvalidParams, NotFound, TooLarge
from core.ops.packages import sources

FILES = {"plugin.toml": 'name = "echo"\nversion = "1"\napi = 1\n', "__init__.py": "", "data/words.txt": "one two"}


class Place:
    """A temporary folder with a git repository in it; `fetch` fetches from anywhere into a new folder."""

    def __init__(self, folder):
        self.folder, self.repository, self._count = folder, folder / "repository", 0

    def fetch(self, source, ref=None):
        self._count += 1
        source = sources.parse(str(source), ref)
        return sources.fetch(source, self.folder / f"into{self._count}", lambda line: None)

    def git(self, *words):
        who = ("-c", "user.name=a", "-c", "user.email=a@b.example")
        command = ["git", "-C", str(self.repository), *who, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, files):
        if not self.repository.exists():
            self.repository.mkdir()
            self.git("init", "--quiet")
        write(self.repository, files)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=x")
        return self.git("rev-parse", "HEAD")

    def zip(self, entries):
        """`entries` are names or ZipInfos, with their content."""
        path = self.folder / "plugin.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for entry, text in entries:
                archive.writestr(entry, text)
        return path


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_a_zip_and_a_repository_give_the_same_files(place):
    tools = {".github/ci.yml": "x", "__pycache__/x.pyc": "x", ".hidden": "x"}
    place.commit(FILES | tools)
    folder = write(place.folder / "some folder", FILES | tools)
    archive = place.zip([(f"echo-1.0/{name}", text) for name, text in (FILES | tools).items()])
    for source in (folder, archive, place.repository.as_uri()):
        fetched = place.fetch(source)
        assert (fetched.folder.name, content(fetched.folder)) == ("echo", FILES)


def test_a_repository_is_fetched_at_a_tag_a_branch_or_a_commit(place):
    first = place.commit(FILES)
    place.git("tag", "--annotate", "v1.0", "--message=x")
    second = place.commit({"data/words.txt": "three"})
    place.git("branch", "side")
    third = place.commit({"data/words.txt": "four"})
    url = place.repository.as_uri()
    asked = {None: third, "v1.0": first, "side": second, first: first, second[:8]: second, third: third}
    assert {ref: place.fetch(url, ref).commit for ref in asked} == asked
    assert place.fetch(f"git+{url}@v1.0").ref == "v1.0"
    assert content(place.fetch(place.repository, "side").folder)["data/words.txt"] == "three"
    assert sources.tags(url) == ["v1.0"]


def test_a_commit_that_no_branch_holds_is_not_of_the_repository(place):
    place.commit(FILES)
    stranger = place.git("commit-tree", "HEAD^{tree}", "-m", "from a fork")
    with pytest.raises(NotFound, match="no branch or tag"):
        place.fetch(place.repository.as_uri(), stranger)
    with pytest.raises(NotFound, match="no tag, branch or commit 'v2'. It has no tags."):
        place.fetch(place.repository.as_uri(), "v2")


def test_what_a_repository_configures_does_not_act(place):
    place.commit(FILES | {".gitattributes": "*.txt filter=evil export-ignore\n"})
    hook = place.repository / ".git" / "hooks" / "post-checkout"
    write(hook.parent, {hook.name: f"#!/bin/sh\ntouch {place.folder}/pwned\n"})
    hook.chmod(0o755)
    place.git("config", "filter.evil.smudge", f"touch {place.folder}/pwned")
    assert content(place.fetch(place.repository.as_uri()).folder) == FILES
    assert not (place.folder / "pwned").exists()


def test_a_submodule_a_link_and_a_file_of_lfs_are_refused(place):
    inner = place.commit(FILES)
    url = place.repository.as_uri()
    place.git("update-index", "--add", "--cacheinfo", f"160000,{inner},vendored")
    place.git("commit", "--quiet", "--message=x")
    with pytest.raises(InvalidParams, match="vendored in it is a submodule"):
        place.fetch(url)
    place.git("rm", "--cached", "--quiet", "vendored")
    link = place.git("hash-object", "-w", "__init__.py")
    place.git("update-index", "--add", "--cacheinfo", f"120000,{link},link")
    place.git("commit", "--quiet", "--message=x")
    with pytest.raises(InvalidParams, match="link in it is a link"):
        place.fetch(url)
    place.git("rm", "--cached", "--quiet", "link")
    place.commit({"weights.bin": "version https://git-lfs.github.com/spec/v1\n"})
    with pytest.raises(InvalidParams, match="in Git LFS"):
        place.fetch(url)


HOSTILE_SOURCES = [
    "", "-x", "--upload-pack=touch pwned", "ext::sh -c touch% pwned", "fd::7", "ssh://-oProxyCommand=x/y",
    "git@-oProxyCommand:y", "git@host:-y", "http://example.com/x", "git://example.com/x", "ftp://example.com/x.zip",
    "https://me:secret@example.com/x", "https://[::1/x", "\x1b[31m", "nothing/of/that/name", "https://x/y@--output=x",
    "https:///x", "file://host/x", "C:\\x",
]  # fmt: skip


@pytest.mark.parametrize("source", HOSTILE_SOURCES)
def test_what_is_no_source_is_refused_before_anything_is_fetched(source):
    with pytest.raises(InvalidParams):
        sources.parse(source)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders")
def test_a_pipe_and_a_device_are_no_sources(place):
    os.mkfifo(place.folder / "plugin.zip")
    for path in (place.folder / "plugin.zip", "/dev/zero"):
        with pytest.raises(InvalidParams, match="neither a folder nor a file"):
            sources.parse(str(path))


@pytest.mark.parametrize("ref", ["--upload-pack=x", "a..b", "", "@{1}", "a b", "HEAD:x", "+refs/heads/*", "x\n"])
def test_what_is_no_ref_is_refused(place, ref):
    with pytest.raises(InvalidParams, match="no name of a tag"):
        sources.parse("https://example.com/x", ref)


def link(name):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


HOSTILE_NAMES = [
    "../evil", "data/../../evil", "/etc/evil", "C:/evil", "data\\..\\evil", "a\x1b[31m", "CON", "nul.txt", "a./b", "a ",
    "DATA/WORDS.TXT", "data/words.txt/x", "data", "a//b", "\u202egnp.py", "x" * 300, link("link"), "a:stream",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=lambda name: ascii(getattr(name, "filename", name))[:20])
def test_a_zip_with_a_hostile_name_is_refused_and_nothing_is_written_elsewhere(place, name):
    archive = place.zip([*FILES.items(), (name, "evil")])
    with pytest.raises(InvalidParams):
        place.fetch(archive)
    assert {path.name for path in place.folder.iterdir()} == {"plugin.zip", "into1"}


def test_bombs_are_refused_before_they_have_unpacked(place, monkeypatch):
    monkeypatch.setattr(sources, "MAX_BYTES", 2_000_000)
    monkeypatch.setattr(sources, "MAX_FILES", 20)
    with pytest.raises(TooLarge, match="unpacked"):
        place.fetch(place.zip([*FILES.items(), ("zeros", "0" * 20_000_000)]))
    assert sum(path.stat().st_size for path in place.folder.rglob("zeros")) <= 2_000_000
    with pytest.raises(TooLarge, match="over 20 files"):
        place.fetch(place.zip([*FILES.items(), *((f"{n}", "") for n in range(30))]))
    with pytest.raises(TooLarge, match="lists far too many"):
        place.fetch(place.zip([*FILES.items(), *((f"{n}" * 100, "") for n in range(200))]))
    folder = write(place.folder / "many", FILES | {str(n): "" for n in range(30)})
    with pytest.raises(TooLarge, match="over 20 files"):
        place.fetch(folder)
    place.commit(FILES | {"zeros": "0" * 3_000_000})
    with pytest.raises(TooLarge, match="unpacked"):
        place.fetch(place.repository.as_uri())


def test_zips_that_are_cut_or_changed_are_refused_in_words(place):
    path = place.zip(FILES.items())
    whole = path.read_bytes()
    for broken in (b"", b"PK", whole[:-30], whole[: len(whole) // 2]):
        path.write_bytes(broken)
        with pytest.raises(InvalidParams, match="is not a zip that can be read|plugin.toml"):
            place.fetch(path)
    for at in range(0, len(whole), 3):  # one changed byte anywhere: fetched all the same, or told
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            place.fetch(path)
        except CoreError as error:
            assert str(error)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders")
def test_links_and_pipes_in_a_folder_are_refused(place):
    folder = write(place.folder / "echo", FILES)
    (folder / "secret").symlink_to("/etc/passwd")
    with pytest.raises(InvalidParams, match="is a link or no file"):
        place.fetch(folder)
    (folder / "secret").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(InvalidParams, match="is a link or no file"):
        place.fetch(folder)


@pytest.mark.parametrize(
    "name", ["3", '"../x"', '""', '"a b"', '"con"', f'"{"x" * 65}"', '"content"', '"-x"', '"__pycache__"', "[1]"]
)
def test_a_plugin_whose_name_is_no_name_is_refused(place, name):
    folder = write(place.folder / "echo", FILES | {"plugin.toml": f"name = {name}\n"})
    with pytest.raises(InvalidParams, match="name is"):
        place.fetch(folder)


def test_one_of_several_plugins_is_named(place):
    several = {f"plugins/{plugin}/{name}": text for plugin in ("one", "two") for name, text in FILES.items()}
    folder = write(place.folder / "all", several)
    with pytest.raises(NotFound) as raised:
        place.fetch(folder)
    assert "SOURCE#subdirectory=plugins/one" in raised.value.extra["hint"]
    fetched = place.fetch(f"{folder}#subdirectory=plugins/two")
    assert content(fetched.folder) == FILES and fetched.source.endswith("all#subdirectory=plugins/two")
    with pytest.raises(InvalidParams):
        place.fetch(f"{folder}#subdirectory=../all")


def test_a_zip_comes_from_an_address_whole_or_not_at_all(place, monkeypatch):
    place.zip(FILES.items())
    monkeypatch.setattr(sources, "ZIP_SECONDS", 1)

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            super().do_GET() if "slow" not in self.path else self.drip()

        def drip(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(100):
                    self.wfile.write(b"x")
                    time.sleep(0.1)

        def __init__(self, *arguments):
            super().__init__(*arguments, directory=place.folder)

        def send_head(self):
            if "moved" not in self.path:
                return super().send_head()
            self.send_response(302)
            self.send_header("Location", "ftp://example.com/plugin.zip")
            self.end_headers()
            return io.BytesIO()

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        fetched = place.fetch(f"{url}/plugin.zip")
        assert (content(fetched.folder), fetched.source) == (FILES, f"{url}/plugin.zip")
        for path, words in (("none.zip", "404"), ("moved.zip", "ftp"), ("slow.zip", "within 1 s")):
            with pytest.raises(CoreError, match=words):
                place.fetch(f"{url}/{path}")
        server.shutdown()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere such names cannot be")
def test_a_name_that_is_no_text_is_refused(place):
    folder = write(place.folder / "echo", FILES)
    (folder / os.fsdecode(b"\xff")).touch()
    with pytest.raises(InvalidParams, match="not every system"):
        place.fetch(folder)
