"""A plugin's environment is exactly its lock, is repaired when half there, and says clearly why it cannot be made."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from core.ops import bootstrap, environments
from core.ops.bootstrap import ROOT
from tests import tiny


class Index:
    """A package index on a loopback port of tiny wheels. It sets `asked` and waits for `go_on` before it sends one."""

    def __init__(self, folder):
        index = self
        self.asked, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.strip("/").split("/")[-1]
                if name.endswith(".whl"):
                    index.asked.set()
                    index.go_on.wait(30)
                    body, kind = (folder / name).read_bytes(), "application/octet-stream"
                else:
                    wheels = [wheel.name for wheel in folder.glob(f"{name}-*.whl")]
                    body, kind = "".join(f'<a href="/{wheel}">{wheel}</a>' for wheel in wheels).encode(), "text/html"
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Place:
    """A folder of plugins, a folder of environments and a package index of tiny wheels, all temporary."""

    def __init__(self, folder):
        self.folder, self.envs, self.index, self.said = folder, folder / "envs", folder / "index", []
        self.worker = folder / "worker-requirements.txt"
        self.worker.write_text("tinyworker>=1\n")
        for name in ("tinyworker", "tinymodel"):
            tiny.make_wheel(self.index, name)

    def plugin(self, requirements=None, toml="", name="paint"):
        plugin = self.folder / "plugins" / name
        plugin.mkdir(parents=True)
        (plugin / "plugin.toml").write_text(f'name = "{name}"\n[environment]\n{toml}\n')
        if requirements is not None:
            (plugin / "requirements.txt").write_text(requirements)
        return plugin

    def forget(self):
        """Empty uv's cache: what locking has fetched would be installed from there without a word."""
        shutil.rmtree(self.folder / "cache")

    def ensure(self, plugin, **options):
        return environments.ensure(plugin, self.envs, self.said.append, **options)

    def spawn(self, plugin):
        """`ensure` in a process of its own, which prints what is said and then the interpreter."""
        code = (
            "import sys; from pathlib import Path; from core.ops import environments\n"
            "environments.WORKER, plugin, envs = map(Path, sys.argv[1:])\n"
            "print(environments.ensure(plugin, envs, lambda text: print(text, flush=True)))"
        )
        command = [sys.executable, "-c", code, self.worker, plugin, self.envs]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def place(tmp_path, monkeypatch):
    place = Place(tmp_path)
    index = Index(place.index)
    settings = tiny.clean_environment(UV_DEFAULT_INDEX=index.url, UV_CACHE_DIR=str(tmp_path / "cache"))
    for name in os.environ.keys() | settings.keys():
        monkeypatch.setenv(name, settings[name]) if name in settings else monkeypatch.delenv(name)
    monkeypatch.setattr(environments, "WORKER", place.worker)
    place.server = index
    yield place
    index.go_on.set()
    index.server.shutdown()
    index.server.server_close()


def modules(python):
    """Names and versions of the tiny packages that an interpreter can import."""
    code = "import importlib.metadata as m; print(*sorted(f'{d.name} {d.version}' for d in m.distributions()), sep=',')"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_environment_is_the_plugin_s_lock_and_the_worker_s_runtime(place):
    plugin = place.plugin("tinymodel\n")
    assert environments.python_of(plugin, place.envs) is None
    python = place.ensure(plugin)
    assert environments.python_of(plugin, place.envs) == python
    assert modules(python) == "tinymodel 1.0,tinyworker 1.0"


def test_complete_environment_is_answered_in_silence(place):
    plugin = place.plugin("tinymodel\n", 'download = "1 MB"')
    environments.lock(plugin)
    place.forget()
    python = place.ensure(plugin)
    assert "Installing the packages of paint (once; to fetch: 1 MB; on disk: 2 MB)." in place.said
    place.said.clear()
    assert place.ensure(plugin) == python and place.said == []


def test_what_other_environments_have_is_perhaps_not_fetched_again(place):
    place.ensure(place.plugin("tinymodel\n"))
    twin = place.plugin("tinymodel\n", 'download = "1 MB"', name="twin")
    environments.lock(twin)
    place.forget()
    place.ensure(twin)
    assert "Installing the packages of twin (once; to fetch: at most 1 MB; on disk: 2 MB)." in place.said


def test_second_environment_needs_no_network(place, monkeypatch):
    place.ensure(place.plugin("tinymodel\n"))
    place.said.clear()
    monkeypatch.setenv("UV_OFFLINE", "1")
    place.ensure(place.plugin("tinymodel\n", name="twin"))
    assert [line.split()[0] for line in place.said] == ["Locking", "Making", "Compiling", "Installed"]


def test_lock_has_hashes_and_applies_overrides(place):
    tiny.make_wheel(place.index, "tinytrainer", requires=["tinyhuge", "tinymodel<1"])
    plugin = place.plugin("tinytrainer\n")
    (plugin / "requirements-override.txt").write_text('tinyhuge; python_version < "3"\ntinymodel>=1\n')
    lines = environments.lock(plugin).read_text().splitlines()
    names = [line.split("==")[0] for line in lines if "==" in line]
    assert names == ["tinymodel", "tinytrainer", "tinyworker"]
    assert sum("--hash=sha256:" in line for line in lines) == 3


@pytest.mark.slow
def test_old_environment_stays_when_a_new_one_is_made(place):
    plugin = place.plugin("tinymodel\n")
    old = place.ensure(plugin)
    tiny.make_wheel(place.index, "tinymodel", "2.0")
    environments.lock(plugin)
    assert environments.python_of(plugin, place.envs) is None
    assert (modules(place.ensure(plugin)), modules(old)) == (
        "tinymodel 2.0,tinyworker 1.0",
        "tinymodel 1.0,tinyworker 1.0",
    )


def test_plugins_without_requirements_share_one_bare_environment(place):
    environments.compile_lock([place.worker], place.worker.with_suffix(".lock"))
    pythons = {place.ensure(place.plugin(name=name)) for name in ("one", "two")}
    assert [modules(python) for python in pythons] == ["tinyworker 1.0"]


def test_plugin_can_use_another_s_environment(place):
    paint = place.plugin("tinymodel\n")
    assert place.ensure(place.plugin(toml='share = "paint"', name="brush")) == place.ensure(paint)


@pytest.mark.slow
def test_half_made_environment_is_made_again(place):
    plugin = place.plugin("tinymodel\n")
    python = place.ensure(plugin)
    (python.parents[1] / "complete").unlink()
    next(python.parents[1].glob("[Ll]ib/**/tinymodel.py")).unlink()
    assert environments.python_of(plugin, place.envs) is None
    subprocess.run([place.ensure(plugin), "-c", "import tinymodel"], check=True)


@pytest.mark.slow
def test_environment_whose_python_is_gone_is_made_again(place):
    plugin = place.plugin("tinymodel\n")
    python = place.ensure(plugin)
    python.unlink()
    assert environments.python_of(plugin, place.envs) is None
    assert modules(place.ensure(plugin)) == "tinymodel 1.0,tinyworker 1.0"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and its orphans are POSIX")
def test_killed_installer_s_orphan_is_waited_for_and_its_work_repaired(place):
    plugin = place.plugin("tinymodel\n")
    environments.lock(plugin)
    place.forget()
    place.server.asked.clear()
    place.server.go_on.clear()
    killed = place.spawn(plugin)
    assert place.server.asked.wait(30)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert environments.python_of(plugin, place.envs) is None

    second = place.spawn(plugin)
    assert "waiting for it to end" in second.stdout.readline()
    place.server.go_on.set()
    output, _ = second.communicate()
    assert modules(Path(output.splitlines()[-1])) == "tinymodel 1.0,tinyworker 1.0"


@pytest.mark.slow
def test_two_installers_at_once_make_one_environment(place):
    plugin = place.plugin("tinymodel\n")
    environments.lock(plugin)
    outputs = [process.communicate()[0].splitlines() for process in [place.spawn(plugin), place.spawn(plugin)]]
    assert outputs[0][-1] == outputs[1][-1] == str(environments.python_of(plugin, place.envs))
    assert sum(line.startswith("Making") for output in outputs for line in output) == 1


def refusal(place, plugin, **options):
    with pytest.raises(environments.InstallError) as caught:
        place.ensure(plugin, **options)
    return str(caught.value)


def test_changed_requirements_ask_for_a_new_lock(place):
    plugin = place.plugin("tinymodel\n")
    environments.lock(plugin)
    (plugin / "requirements.txt").write_text("tinymodel  # a comment changes nothing\n")
    place.ensure(plugin)
    (plugin / "requirements.txt").write_text("tinymodel>=1\n")
    assert environments.python_of(plugin, place.envs) is None
    assert f"python -m core.ops.environments lock {plugin}" in refusal(place, plugin)


def test_plugin_that_contradicts_the_worker_is_refused_with_the_reason(place):
    message = refusal(place, place.plugin("tinymodel\ntinyworker<1\n"))
    assert message.startswith("paint: ") and "worker-requirements.txt" in message and "tinyworker<1" in message


def test_unreachable_index_names_the_ways_out(place, monkeypatch):
    plugin = place.plugin("tinymodel\n")
    environments.lock(plugin)
    place.forget()
    monkeypatch.delenv("UV_DEFAULT_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    message = refusal(place, plugin)
    assert "index cannot be reached" in message and "HTTPS_PROXY" in message and "127.0.0.1:9" in message


def test_way_out_when_pytorch_s_own_index_is_away_is_the_usual_one():
    said = "error: Request failed\n  cause: Failed to fetch: `https://download.pytorch.org/whl/cpu/torchvision/`"
    assert "Without --torch-backend" in bootstrap.explain(said)


def test_wrong_hash_is_refused(place):
    plugin = place.plugin("tinymodel\n")
    lock = environments.lock(plugin)
    lock.write_text(re.sub("sha256:.{8}", "sha256:00000000", lock.read_text()))
    assert "not the one that the lock file names" in refusal(place, plugin)


def test_package_without_a_build_for_this_system_is_named(place):
    tiny.make_wheel(place.index, "tinyold", tag="cp27-cp27m-win32")
    plugin = place.plugin("tinymodel\n")
    lock = environments.lock(plugin)
    wheel = place.index / "tinyold-1.0-cp27-cp27m-win32.whl"
    lock.write_text(lock.read_text() + tiny.locked(wheel))
    message = refusal(place, plugin)
    assert "no such package for this system" in message and "tinyold" in message


def test_too_small_a_disk_is_told_before_the_fetch(place):
    plugin = place.plugin("tinymodel\n", 'download = "900000 GB"')
    environments.lock(plugin)
    place.forget()
    message = refusal(place, plugin)
    assert f"the disk of {place.envs}" in message and "the installation needs 1800000000000000" in message
    assert not any("Installing" in line for line in place.said)


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ('download = "some"', 'paint: its plugin.toml must say download like "2.5 GB"'),
        ('share = "nobody"', "shares the environment of 'nobody', and there is no such plugin"),
        ('share = "brush"', "shares the environment of 'brush', which shares another's"),
        ('requirements = "absent.txt"', "names absent.txt, and there is no such file"),
        ("= =", "is not TOML"),
    ],
)
def test_mistakes_in_plugin_toml_are_named(place, toml, words):
    place.plugin(toml='share = "paint"', name="brush")
    named = toml.startswith(("share", "requirements"))
    assert words in refusal(place, place.plugin(None if named else "tinymodel\n", toml))


def test_unknown_torch_backend_names_the_known_ones(place):
    message = refusal(place, place.plugin("tinymodel\n"), torch_backend="gpu")
    assert "torch_backend" in message and "cpu, cu" in message


def test_committed_locks_belong_to_their_requirements():
    for requirements in [
        ROOT / "requirements.txt",
        ROOT / "requirements-test.txt",
        environments.WORKER,
        environments.NODE,
        environments.RAY,
    ]:
        header = requirements.with_suffix(".lock").read_text().splitlines()[0]
        assert header.endswith(f"inputs {environments.digest([requirements])}"), f"lock {requirements.name} again"
    for plugin in sorted(ROOT.glob("plugins/*/requirements.txt")):
        assert environments.matches(environments.recipe_of(plugin.parent)), f"lock {plugin.parent.name} again"


def test_no_code_of_a_package_runs_while_the_environment_is_made(place):
    """Its plugin may run in a sandbox only; a .pth file would be run by every start of the environment's Python."""
    ran = place.folder / "ran"
    wheel = tiny.make_wheel(place.index, "startup")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("startup.pth", f"import os; open({str(ran)!r}, 'w').close()\n")
        record = archive.read("startup-1.0.dist-info/RECORD").decode()
    python = place.ensure(place.plugin(f"startup @ {wheel.as_uri()}\n"))
    assert record and not ran.exists()
    assert [*python.parents[1].rglob("startup.*.pyc")]
    modules(python)
    assert ran.exists()  # so it would have been seen


def test_a_package_that_has_to_be_built_is_refused_where_its_code_may_run_in_a_sandbox_only(place):
    ran, source = place.folder / "ran", place.folder / "source-1.0"
    source.mkdir()
    (source / "setup.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    plugin = place.plugin(f"source @ {source.as_uri()}\n")
    with pytest.raises(environments.InstallError, match="would have to be built"):
        place.ensure(plugin, build=False)
    assert not ran.exists()


def bytecode(python, module="tinymodel"):
    return next(python.parents[1].rglob(f"{module}.*.pyc"))


def ensure_twin(place):
    """The environment of another plugin with the lock of `one`: locking again would fetch the packages again."""
    twin = place.plugin("tinymodel\n", name="twin")
    shutil.copy(place.folder / "plugins" / "one" / "requirements.lock", twin)
    return place.ensure(twin)


def test_byte_code_of_the_same_files_is_linked_from_an_environment_beside_and_stays_when_that_goes(place):
    one, two = place.ensure(place.plugin("tinymodel\n", name="one")), ensure_twin(place)
    assert bytecode(one).samefile(bytecode(two))
    shutil.rmtree(one.parents[1])
    code = "import tinymodel; print(tinymodel.version, tinymodel.path())"
    said = subprocess.run([two, "-v", "-c", code], capture_output=True, text=True, check=True)
    assert f"code object from '{bytecode(two)}'" in said.stderr
    assert said.stdout.split() == ["1.0", str(bytecode(two).parents[1] / "tinymodel.py")]


@pytest.mark.parametrize("change", ["another file", "no stamp"])
def test_byte_code_of_other_files_is_not_taken(place, change):
    one = place.ensure(place.plugin("tinymodel\n", name="one"))
    source = bytecode(one).parents[1] / "tinymodel.py"
    times = source.stat()
    if change == "another file":  # as long and as old
        source.with_suffix(".new").write_bytes(source.read_bytes().replace(b"1.0", b"6.6"))
        source.with_suffix(".new").replace(source)
        os.utime(source, ns=(times.st_mtime_ns, times.st_mtime_ns))
    else:
        (one.parents[1] / environments.COMPILED).unlink()
    assert not bytecode(one).samefile(bytecode(ensure_twin(place)))


def test_byte_code_is_taken_for_copies_of_a_file_that_have_its_times(place):
    one = place.ensure(place.plugin("tinymodel\n", name="one"))
    copy = place.folder / "envs" / "copy"
    shutil.copytree(one.parents[1], copy, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    environments.take_bytecode(copy)
    assert bytecode(one).samefile(bytecode(copy / "bin/python"))


def test_byte_code_that_a_package_brings_is_not_kept(place):
    """Nobody knows what it was made of, and it could be linked into the environments of other plugins."""
    wheel = tiny.make_wheel(place.index, "bringer")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(f"__pycache__/brought.{sys.implementation.cache_tag}.pyc", b"")
    python = place.ensure(place.plugin(f"bringer @ {wheel.as_uri()}\n"))
    assert bytecode(python, "bringer") and not [*python.parents[1].rglob("brought.*")]
