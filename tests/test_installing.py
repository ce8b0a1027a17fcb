"""Plugins are installed, updated and taken back beside a server that runs; what fails or is killed changes nothing."""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from core.ops import environments
from core.ops.packages import command, installing
from core.ops.packages.inspection import Report
from core.ops.packages.registry import Registry
from tests.serving import HEADER, ROOT, serve, wait_until
from tests.wire import Wire

WRITTEN, RENAMED = "open .*/.installed.json", "os.rename .*/.installed.json"  # steps of the switch
OWN = re.compile("(early|late)-")  # environments that tests make
SAY = """
class {title}Settings(Params):
    language: str = param("english", help="Of all words.")

class {title}(Plugin):
    settings: {title}Settings

    @job()
    def {name}(self, params: Params) -> Text:
        return {code}
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return tmp_path_factory.mktemp("index") / "index.json"


@pytest.fixture(scope="module")
def server(index):
    with serve({}, plugin_indexes=[str(index)]) as server:
        yield server


@pytest.fixture(autouse=True)
def its_token(server, own_environment, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(server.folder / "config"))


@pytest.fixture
def wire(server):
    with Wire(server) as wire:
        yield wire


def plugins(server, *words, answer=None):
    """A command in this process: what it prints, and its exit code."""
    out, err, before = io.StringIO(), io.StringIO(), sys.stdin
    sys.stdin = io.StringIO(answer or "")
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = command.main(["--config", str(server.folder / "config.toml"), *map(str, words)])
    finally:
        sys.stdin = before
    return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue())


def did(server, *words):
    answer = plugins(server, *words)
    assert answer.code == 0, answer.err
    return answer.out


def source(server, name, version, code=None, requirements=None, toml=""):
    """A plugin's folder, which is written anew; its job says the version, or what `code` gives."""
    folder = server.folder / "sources" / name
    folder.mkdir(parents=True, exist_ok=True)
    text = f'name = "{name}"\nversion = "{version}"\napi = 1\nlicence = "MIT"\n{toml}'
    (folder / "plugin.toml").write_text(text)
    (folder / "__init__.py").write_text(HEADER + SAY.format(title=name.title(), name=name, code=code or f'"{version}"'))
    if requirements:
        (folder / "requirements.txt").write_text(requirements)
    return folder


def about(wire, name):
    return next((each for each in wire.call("plugins")["plugins"] if each["name"] == name), {"status": "none"})


def runs(wire, name, version, job=None):
    """Once the server has that release: whether its job gives what it should."""
    wait_until(lambda: (about(wire, name)["status"], about(wire, name).get("version")) == ("ready", version))
    ended = wire.ended(job or wire.submit(name))
    assert ended["state"] == "done", ended
    return wire.text(ended["outputs"][0]) == version


def left(server, name):
    """The releases on disk, and what else is in the folder of packages."""
    folder = server.folder / "packages"
    other = {path.name for path in folder.rglob("*") if ".staging" in path.parts and path.name != ".staging"} - {
        ".lock"
    }
    return sorted(path.name.split("-")[0] for path in folder.glob(f"{name}/*")), other


def test_a_plugin_is_installed_updated_taken_back_and_removed_while_the_server_runs(server, wire):
    folder = source(server, "tell", "1.0")
    out = did(server, "install", folder, "--yes")
    assert "plugin    tell 1.0\nlicence   MIT\n" in out and "\ninstall   tell 1.0 (1.0-" in out
    assert runs(wire, "tell", "1.0")
    held = wire.submit("tell", hold=True)
    source(server, "tell", "2.0")
    assert "\nupdate    1.0 -> 2.0\n" in did(server, "update", "tell", "--yes")
    assert runs(wire, "tell", "2.0")
    wire.call("release", {"id": held})
    assert runs(wire, "tell", "2.0", held)

    source(server, "tell", "3.0", code="[][0]")
    failed = plugins(server, "update", "tell", "--yes")
    assert failed.code == 1 and "IndexError" in failed.err and "tell 2.0 (2.0-" in failed.err
    assert left(server, "tell") == (["1.0", "2.0"], set())
    assert runs(wire, "tell", "2.0")

    assert did(server, "rollback", "tell").startswith("rollback  tell 1.0 (1.0-")
    assert runs(wire, "tell", "1.0")
    assert "has no release before" in plugins(server, "rollback", "tell").err
    assert "  runs\n" in did(server, "info", "tell") and did(server, "list").startswith("installed tell ")
    did(server, "rollback", "tell", "--to", "2.0")
    assert runs(wire, "tell", "2.0")

    job = wire.submit("tell", hold=True)
    assert did(server, "uninstall", "tell", "--yes").endswith("remove    tell\n")
    wait_until(lambda: about(wire, "tell")["status"] == "none")
    assert left(server, "tell") == ([], set()) and wire.call("job", {"id": job})["job"]["state"] == "held"


def test_what_is_different_is_shown_before_an_update_and_who_says_no_keeps_what_there_is(server):
    did(server, "install", source(server, "differ", "1.0"), "--yes")
    folder = source(server, "differ", "2.0", code="str(eval('3'))")
    (folder / "plugin.toml").write_text((folder / "plugin.toml").read_text().replace("MIT", "GPL-3.0"))
    code = (folder / "__init__.py").read_text().replace("def differ", "def other")
    (folder / "__init__.py").write_text(code)
    answer = plugins(server, "update", "differ", answer="n\n")
    assert answer.code == 1 and answer.err.endswith("stable-core: as you said no, nothing was changed.\n")
    lines = answer.out.splitlines()
    assert "changed   licence: MIT -> GPL-3.0" in lines and "gone      job differ" in lines
    assert any(line.startswith("new       job other") for line in lines)
    assert any(line.startswith("new       warning: __init__.py:") for line in lines)
    assert Registry(server.folder / "packages").read().plugins["differ"].release.version == "1.0"
    assert "nobody was there" in plugins(server, "update", "differ").err
    wrong = plugins(server, "update", "differ", "--yes", "--hash", "0" * 64)
    assert wrong.code == 1 and "this is not what was looked at" in wrong.err
    assert left(server, "differ") == (["1.0"], set())
    did(server, "uninstall", "differ", "--yes")


def test_who_would_take_another_one_s_place_is_refused(server):
    (server.folder / "plugins" / "mine").mkdir(parents=True)
    (server.folder / "plugins" / "mine" / "__init__.py").touch()
    refused = plugins(server, "install", source(server, "mine", "1.0"), "--yes")
    assert refused.code == 1 and "there is a plugin mine in" in refused.err
    did(server, "install", source(server, "Case", "1.0"), "--yes")
    assert "differs from case in capitals only" in plugins(server, "install", source(server, "case", "1"), "--yes").err
    source(server, "Case", "1.0", toml='x = "')
    broken = plugins(server, "update", "Case", "--yes")
    assert broken.code == 1 and "plugin.toml" in broken.err
    assert "is installed." in plugins(server, "rollback", "tale").err
    did(server, "uninstall", "Case", "--yes")


def test_settings_count_at_once_where_a_server_runs(server, wire):
    did(server, "install", source(server, "poet", "1.0", code="self.settings.language"), "--yes")
    wait_until(lambda: about(wire, "poet")["status"] == "ready")
    assert did(server, "settings", "poet") == 'language = "english"  # Of all words.\n'
    assert did(server, "settings", "poet", "language=3") == 'language = "3"  # Of all words.\n'
    assert wire.text(wire.ended(wire.submit("poet"))["outputs"][0]) == "3"
    assert "did you mean" in plugins(server, "settings", "poet", "langage=latin").err.lower()
    did(server, "settings", "poet", "language=")
    assert wire.call("settings")["plugin_settings"] == {}
    did(server, "uninstall", "poet", "--yes")


@pytest.fixture(scope="module")
def dying(server):
    """Carries out a command, and kills it before the step that is named; the steps that it began."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.dying"],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"XDG_CONFIG_HOME": str(server.folder / "config")},
    )

    def carry_out(server, *words, before=None):
        line = [["--config", str(server.folder / "config.toml"), *map(str, words)], before]
        process.stdin.write(json.dumps(line) + "\n")
        process.stdin.flush()
        code, steps = json.loads(process.stdout.readline())
        assert code == (0 if before is None else -9)
        return steps

    yield carry_out
    process.communicate()


def installed(server, name):
    plugin = Registry(server.folder / "packages").read().plugins.get(name)
    return plugin and plugin.release.version


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and fork are POSIX")
def test_killed_at_any_moment_an_installation_an_update_and_a_rollback_leave_a_working_state(server, wire, dying):
    folder = source(server, "live", "1.0")

    def killed(words, before, after, steps, *later):
        """At some of the first steps, and before those named, of which the last is after the switch if there is any."""
        for at in (*steps, *later):
            dying(server, *words, before=at)
            state, _ = installed(server, "live"), plugins(server, "uninstall", "nothing")  # the next command tidies up
            assert (state, left(server, "live")[1]) == (after if at == later[-1] else before, set())
            assert state is None or Registry(server.folder / "packages").folders()["live"].is_dir()

    killed(["install", folder, "--yes"], None, "1.0", range(1, 25, 3), "server.py", RENAMED, "rmtree .*/.staging/")
    assert left(server, "live")[0] == ["1.0"] and runs(wire, "live", "1.0")
    source(server, "live", "2.0")
    killed(["update", "live", "--yes"], "1.0", "2.0", range(2, 25, 3), WRITTEN, RENAMED, "rmtree .*/.staging/")
    assert left(server, "live")[0] == ["1.0", "2.0"] and runs(wire, "live", "2.0")
    killed(["rollback", "live"], "2.0", "2.0", range(1, 7, 2), WRITTEN, RENAMED)
    did(server, "rollback", "live")
    assert runs(wire, "live", "1.0")
    for at in range(1, 16, 2):
        if installed(server, "live"):
            dying(server, "uninstall", "live", "--yes", before=at)
    plugins(server, "uninstall", "nothing")
    assert (installed(server, "live"), *left(server, "live")) == (None, [], set())


@pytest.mark.slow
@pytest.mark.network
def test_plugins_with_contradictory_pins_run_side_by_side_and_chain(server, wire):
    """Also where the first installation is killed while uv makes the environment."""
    made = lambda: {path.parent for path in (ROOT / ".envs").glob("*/pyvenv.cfg") if OWN.match(path.parent.name)}  # noqa: E731
    for folder in made():  # of a run that failed
        shutil.rmtree(folder)
    say = "f\"{__import__('idna').__version__}\""
    one = source(server, "early", "1", say, "idna==2.10\n")
    two = source(server, "late", "1", say.replace('f"', 'f"{text}, '), "idna==3.7\n")
    (two / "__init__.py").write_text((two / "__init__.py").read_text().replace("late(self", "late(self, text: Text"))
    command = [sys.executable, "server.py", "plugins", "--config", str(server.folder / "config.toml"), "install"]
    process = subprocess.Popen([*command, str(one), "--yes"], cwd=ROOT, text=True, stderr=subprocess.PIPE)
    assert any(line.startswith("Making the environment of early") for line in process.stderr)
    process.kill()
    process.communicate()
    assert installed(server, "early") is None

    did(server, "install", one, "--yes")
    did(server, "install", two, "--yes")
    wait_until(lambda: about(wire, "early")["status"] == about(wire, "late")["status"] == "ready")
    flow = [{"id": "a", "job": "early"}, {"job": "late", "inputs": {"text": {"job": "a"}}}]
    ended = wire.ended(wire.call("flow", {"jobs": flow})["jobs"][1]["id"])
    assert wire.text(ended["outputs"][0]) == "2.10, 3.7"

    guest = source(server, "guest", "1", say, toml='[environment]\nshare = "late"\n')
    did(server, "install", guest, "--yes")
    assert len(made()) == 2
    did(server, "uninstall", "early", "--yes")
    assert "warning   guest uses its environment" in did(server, "uninstall", "late", "--yes")
    did(server, "uninstall", "guest", "--yes")
    assert made() == set()


@pytest.mark.network
def test_what_the_worker_cannot_run_is_refused_in_the_resolver_s_words_with_a_way_out(server):
    refused = plugins(server, "install", source(server, "old", "1", requirements="pydantic<2\n"), "--yes")
    assert refused.code == 1 and left(server, "old") == ([], set())
    assert "Because you require pydantic<2 and pydantic>=2" in refused.err and "import pydantic.v1" in refused.err
    folder = source(server, "older", "1", requirements="torch==2.2.2\n")
    environments.lock(folder)  # what it weighs is not fetched here
    assert "\ntorch==2.2.2" in (folder / "requirements.lock").read_text()


def test_an_update_takes_the_highest_tag_a_commit_stays_what_it_is_and_an_index_knows_names(server, index):
    folder = source(server, "tagged", "1.0")
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.example"]

    def commit(version):
        source(server, "tagged", version)
        for words in (["add", "--all"], ["commit", "--quiet", "--message=x"], ["tag", f"v{version}"]):
            subprocess.run([*git, *words], check=True)

    subprocess.run([*git, "init", "--quiet"], check=True)
    commit("1.0")
    assert "install   tagged 1.0" in did(server, "install", f"{folder.as_uri()}@v1.0", "--yes")
    assert "installed already" in plugins(server, "update", "tagged", "--yes").err
    for version in ("1.9", "1.10", "2.0rc1", "0.5"):
        commit(version)
    assert "update    tagged 1.10" in did(server, "update", "--yes")
    release = Registry(server.folder / "packages").read().plugins["tagged"].release
    assert (release.ref, len(release.commit), release.source) == ("v1.10", 40, folder.as_uri())
    did(server, "update", "tagged", "--yes", "--ref", release.commit)
    stays = plugins(server, "update", "tagged", "--yes")
    assert stays.code == 1 and "which stays what it is. Say what to take instead: --ref TAG." in stays.err
    did(server, "update", "tagged", "--yes", "--ref", "v1.10")
    subprocess.run([*git, "tag", "-d", "v1.10"], check=True, capture_output=True)
    gone = plugins(server, "update", "tagged", "--yes")
    assert gone.code == 1 and "no tag, branch or commit 'v1.10'" in gone.err
    entry = {"name": "tagged", "version": "1.10", "repo": folder.as_uri(), "commit": release.commit, "api": 1}
    entry |= {"hash": release.hash, "licence": "MIT", "publisher": "somebody"}
    index.write_text(json.dumps({"index": 1, "plugins": [entry | {"hash": "0" * 64}]}))
    assert "is not what the index names" in plugins(server, "install", "tagged", "--yes").err
    index.write_text(json.dumps({"index": 1, "plugins": [entry]}))
    did(server, "install", "tagged@1.10", "--yes")
    assert "1.10       tagged (" in did(server, "list") and "installed already" in plugins(server, "update").err
    did(server, "uninstall", "tagged", "--yes")


def test_packages_that_an_update_changes_are_named():
    old = Report(version="1", packages={"kept": "1", "gone": "1", "moved": "1"}, locked=True)
    new = Report(version="1", packages={"kept": "1", "come": "2", "moved": "2"}, locked=True)
    assert [*installing.changes(old, new)] == [
        "update    1 with other content",
        "new       package come 2",
        "gone      package gone 1",
        "changed   package moved 1 -> 2",
    ]
