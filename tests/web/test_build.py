"""The full page is built once for each state of its sources, whatever happens; a build that fails says why."""

import contextlib
import json
import os
import signal
import subprocess
import time

import pytest
import requests

from core.ops import environments, webclient
from core.ops.webclient import InstallError, build, find, suffices
from tests.serving import ROOT, serve, wait_until
from tests.test_store_failures import small_disk
from tests.web.npm import BUILD, Npm
from tests.wire import alive

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-in for npm is a shell script")


@pytest.fixture
def npm(tmp_path, monkeypatch):
    return Npm(tmp_path / "npm", monkeypatch)


@pytest.fixture
def root(tmp_path):
    """A repository whose page is one script."""
    files = {
        "clients/web/package.json": json.dumps({"engines": {"node": "^20.19.0 || >=22.12.0"}}),
        "clients/web/package-lock.json": "{}", "clients/web/src/main.ts": "one", "clients/js/stable-core.js": "sdk",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(text)
    return tmp_path / "root"


@pytest.fixture
def envs(tmp_path):
    return tmp_path / "envs"


def script(page):
    return (page / "assets" / "main.ts").read_text()


def test_a_page_is_built_once(npm, root, envs):
    assert find(root, envs) is None
    page = build(root, envs, print)
    assert script(page) == "one" and find(root, envs) == page == build(root, envs, print)
    assert npm.calls == ["ci", "run"]
    assert not [path for path in (root / "clients" / "web").iterdir() if path.name in ("dist", "node_modules")]


@pytest.mark.parametrize(
    "changed, calls",
    [
        ("clients/web/src/main.ts", ["run"]), ("clients/web/src/new.ts", ["run"]), ("clients/web/index.html", ["run"]),
        ("clients/js/stable-core.js", ["run"]), ("clients/web/package-lock.json", ["ci", "run"]),
        ("clients/web/node_modules/x.js", []), ("clients/web/dist/index.html", []), ("clients/web/.vite/x", []),
        ("clients/js/README.md", []),
    ],
)  # fmt: skip
def test_a_page_is_built_anew_when_what_it_is_made_of_has_changed(npm, root, envs, changed, calls):
    before = build(root, envs, print)
    (root / changed).parent.mkdir(parents=True, exist_ok=True)
    (root / changed).write_text("two")
    after = build(root, envs, print)
    assert npm.calls[2:] == calls and (before != after) == bool(calls)
    assert before.exists()  # another server may have it open


def test_sources_that_change_during_a_build_are_built_next(npm, root, envs):
    main = root / "clients/web/src/main.ts"
    npm.does(run=f"{BUILD}echo two > {main}")
    assert script(build(root, envs, print)) == "one"
    npm.does()
    assert find(root, envs) is None and script(build(root, envs, print)) == "two\n"


def test_a_damaged_page_is_built_anew(npm, root, envs):
    page = build(root, envs, print)
    (page / "assets" / "main.ts").write_text("")  # as a power cut leaves it
    assert find(root, envs) is None
    assert script(build(root, envs, print)) == "one" and npm.calls == ["ci", "run", "run"]


def test_old_pages_and_packages_go(npm, root, envs, monkeypatch):
    monkeypatch.setattr(webclient, "KEPT", {"page": 2, "packages": 1})
    pages = []
    for text in ("one", "two", "one", "three"):  # the first is in use again before the third comes
        (root / "clients/web/package-lock.json").write_text(text)
        pages.append(build(root, envs, print))
    assert [page.exists() for page in pages] == [True, False, True, True]
    assert len(list(envs.glob("web/packages-*"))) == 1


def test_npm_is_told_nothing_that_would_leave_out_what_builds(npm, root, envs, monkeypatch):
    monkeypatch.setenv("NODE_ENV", "production")
    npm.does(ci='[ -z "$NODE_ENV" ] && [ "$2" = --ignore-scripts ] && mkdir node_modules')
    assert build(root, envs, print)


@pytest.mark.parametrize(
    "step, words, says",
    [
        ("ci", "npm error code ENOTFOUND", "npm ci failed. npm's registry cannot be reached. Check the network"),
        ("ci", "npm error code ENOSPC", "The disk is full. Free some space"),
        ("ci", "npm error code EINTEGRITY", "A package is not the one that the lock file names"),
        ("ci", "npm error code SELF_SIGNED_CERT_IN_CHAIN", "The certificate of npm's registry was not accepted"),
        ("ci", "npm error code EACCES", "A folder cannot be written"),
        ("ci", "what nobody knows", "npm ci failed."),
        ("run", "src/main.ts(1,1): error TS2304: x", "npm run build failed. The sources in clients/web do not build."),
    ],
)
def test_a_build_that_fails_says_why_and_the_next_one_is_good(npm, root, envs, step, words, says, capsys):
    npm.does(**{step: f"mkdir -p dist node_modules; echo half > dist/index.html; echo '{words}'; exit 1"})
    with pytest.raises(InstallError) as error:
        build(root, envs, print)
    assert says in str(error.value) and words in capsys.readouterr().out
    assert not list(envs.glob("web/page-*")) and find(root, envs) is None
    npm.does()
    assert script(build(root, envs, print)) == "one"


def test_a_build_that_makes_no_page_is_none(npm, root, envs):
    npm.does(run="mkdir dist")
    with pytest.raises(InstallError, match="made no dist/index.html"):
        build(root, envs, print)


def test_versions_of_node_that_suffice():
    wanted = "^20.19.0 || >=22.12.0"
    good, bad = ("v20.19.0", "v20.20.2", "v22.12.0", "v24.0.0"), ("v18.20.0", "v20.18.9", "v21.7.0", "v22.11.9", "")
    assert all(suffices(version, wanted) for version in good)
    assert not any(suffices(version, wanted) for version in bad)
    assert suffices("v22.1.0", "22.1.0") and not suffices("v22.1.0", "~22.1.0")  # is not understood


@pytest.mark.parametrize("problem", ["no npm", "npm does not run", "old node", "no text of node", "no node"])
def test_without_a_node_that_suffices_one_comes_from_pypi(npm, root, envs, monkeypatch, problem):
    monkeypatch.setenv("PATH", str(npm.folder))
    broken = {"no npm": "npm", "no node": "node"}.get(problem)
    if broken:
        (npm.folder / broken).unlink()
    else:
        file = npm.folder / ("npm" if problem.startswith("npm") else "node")
        does = {"old node": "echo v18.1.0", "no text of node": r"printf '\377\n'"}.get(problem, "exit 1")
        file.write_text(f"#!/bin/sh\n{does}\n")
    asked = []

    def ensure_lock(path, *_):
        asked.append(path)
        raise InstallError("the package index cannot be reached.\n  with details")

    monkeypatch.setattr(environments, "ensure_lock", ensure_lock)
    said = []
    with pytest.raises(InstallError, match="Node.js .* was not found, and could not be installed .* be reached.$"):
        build(root, envs, said.append)
    assert said[-1].endswith("with details")
    assert asked == [ROOT / "clients/web/node-requirements.lock"]


@pytest.mark.slow
@pytest.mark.network
def test_without_a_network_it_is_said_soon(root, envs, monkeypatch):
    package = {"name": "page", "version": "1.0.0", "dependencies": {"left-pad": "1.3.0"}}
    packages = {"": package, "node_modules/left-pad": {"version": "1.3.0", "integrity": "sha512-" + "A" * 86 + "=="}}
    package["engines"] = {"node": "^20.19.0 || >=22.12.0"}
    (root / "clients/web/package.json").write_text(json.dumps(package))
    (root / "clients/web/package-lock.json").write_text(json.dumps({"lockfileVersion": 3, "packages": packages}))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    before = time.monotonic()
    with pytest.raises(InstallError, match="npm's registry cannot be reached"):
        build(root, envs, print)
    assert time.monotonic() - before < 40


@pytest.mark.slow
@pytest.mark.network
def test_node_from_pypi_runs_its_npm(root, monkeypatch):
    monkeypatch.setenv("PATH", "/nothing")
    node = webclient.find_node(">=22.12.0", ROOT / ".envs", print)
    done = subprocess.run([*node.npm, "--version"], env={"PATH": str(node.folder)}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and (node.folder / "node").exists()


def test_nothing_is_built_where_the_setting_says_so(npm):
    with serve({}) as server:
        wait_until(lambda: "Ctrl-C stops." in server.log)
        assert "web  " not in server.log and not npm.calls


def test_the_server_answers_while_it_builds_and_says_how_it_went(npm, tmp_path):
    npm.waits()
    with serving(tmp_path) as server:
        wait_until(lambda: web(server) == {"ok": True, "state": "building", "text": "Building the page."})
        assert "<title>stable-core</title>" in get(server, "/").text
        assert get(server, "/web/index.html").status_code == 404
        npm.go()
        wait_until(lambda: web(server)["state"] == "ready")
        assert (
            "<title>Full</title>" in get(server, "/").text
            and "<title>stable-core</title>" in get(server, "/plain/").text
        )
        assert "web       building the full page (once)" in server.log and "web       ready\n" in server.log


def test_a_build_that_fails_leaves_the_plain_page_and_a_line(npm, tmp_path):
    npm.does(ci="echo npm error code ENOTFOUND; exit 1")
    with serving(tmp_path) as server:
        wait_until(lambda: web(server)["state"] == "failed")
        text = "npm ci failed. npm's registry cannot be reached. Check the network"
        assert web(server)["text"].startswith(text)
        assert f"web       the full page cannot be made, so / is the plain one: {text}" in server.log
        assert "<title>stable-core</title>" in get(server, "/").text
        log = server.folder / "data" / "logs" / "web.log"
        assert str(log) in server.log and "ENOTFOUND" in log.read_text()
        npm.does()
        server.restart()
        wait_until(lambda: web(server)["state"] == "ready")


@pytest.mark.slow
def test_a_server_that_is_killed_takes_its_build_along_and_the_next_one_is_good(npm, tmp_path):
    npm.waits()
    with serving(tmp_path) as server:
        wait_until(lambda: "run" in npm.calls)
        server.kill()
        wait_until(lambda: not alive(npm.pid), 5)
        npm.go()
        server.start()
        wait_until(lambda: web(server)["state"] == "ready")
        assert npm.calls == ["ci", "run", "run"]


@pytest.mark.slow
def test_a_server_that_stops_does_not_wait_for_its_build(npm, tmp_path):
    npm.waits()
    with serving(tmp_path) as server:
        wait_until(lambda: "run" in npm.calls)
        assert server.stop() == 0
        wait_until(lambda: not alive(npm.pid), 5)


@pytest.mark.slow
def test_a_build_that_is_killed_says_so(npm, tmp_path):
    npm.waits()
    with serving(tmp_path) as server:
        wait_until(lambda: "run" in npm.calls)
        os.kill(os.getpgid(npm.pid), signal.SIGKILL)  # the process that waits for npm leads their group
        wait_until(lambda: web(server)["state"] == "failed")
        assert web(server)["text"] == "the build was stopped (exit code -9). Its last words: Building the page."
        npm.go()
        server.restart()  # waits until the npm that was left has ended
        wait_until(lambda: web(server)["state"] == "ready")


@pytest.mark.slow
def test_two_servers_at_once_build_once(npm, tmp_path):
    npm.waits()
    with serving(tmp_path) as one, serving(tmp_path) as two:
        wait_until(lambda: "run" in npm.calls)
        wait_until(lambda: "waiting for it to end" in web(two)["text"] + web(one)["text"])
        npm.go()
        wait_until(lambda: {web(one)["state"], web(two)["state"]} == {"ready"})
        assert npm.calls == ["ci", "run"]


@pytest.mark.slow
@pytest.mark.parametrize("step", ["ci", "run"])
def test_a_full_disk_is_told_and_leaves_nothing_half(npm, tmp_path, step):
    npm.does(**{step: "head -c 9000000 /dev/zero > filled"})
    with small_disk(tmp_path / "disk", "5m"), serving(tmp_path, environments=tmp_path / "disk") as server:
        wait_until(lambda: web(server)["state"] == "failed")
        assert "The disk is full. Free some space" in web(server)["text"]
        npm.does()
        server.restart()
        wait_until(lambda: web(server)["state"] == "ready")


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_told(npm, tmp_path):
    with small_disk(tmp_path / "disk", "5m,ro") as disk, serving(tmp_path, environments=disk) as server:
        wait_until(lambda: web(server)["state"] == "failed")
        text = f"Read-only file system: '{disk}/web.lock'. A folder cannot be written. Give your user the right to"
        assert text in web(server)["text"] and text in server.log
        assert get(server, "/").status_code == 200


@contextlib.contextmanager
def serving(tmp_path, **settings):
    """A server that does not wait for its page, which is that of this repository, built by the test's npm."""
    with serve({}, web="auto", wait_for_web=False, **{"environments": tmp_path / "envs"} | settings) as server:
        yield server


def web(server):
    return get(server, "/web").json()


def get(server, path):
    return requests.get(server.url + path, headers={"Authorization": f"Bearer {server.token}"}, timeout=10)
