"""A fresh clone installs itself, repairs itself and says clearly why it cannot."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.ops import bootstrap
from tests import __main__ as of_tests
from tests import tiny
from tests.__main__ import ROOT, code_lines, run

PYTEST = [sys.executable, "-m", "pytest", "-q"]
SERVER = """
import sys, time
from pathlib import Path
from core.ops import bootstrap
start = time.perf_counter()
bootstrap.ensure([Path(__file__).parent / "requirements.lock"])
milliseconds = 1000 * (time.perf_counter() - start)
import tinyserver
print(sys.prefix, tinyserver.version, *sys.argv[1:])
print(milliseconds, file=open("milliseconds.txt", "w"))
"""
# The Python below .venv, as a person who starts the server would use it.
BASE = os.path.realpath(sys.executable)


class Clone:
    """A repository in a temporary folder whose server needs one tiny package."""

    def __init__(self, folder):
        tiny.copy_ops(folder)
        self.folder, self.venv, self.stamp = folder, folder / ".venv", folder / ".venv/installed.txt"
        self.lock = folder / "requirements.lock"
        self.index = folder.parent / "index"  # PIP_FIND_LINKS may not contain spaces, a clone may
        self.lock.write_text(tiny.locked(tiny.make_wheel(self.index, "tinyserver")))
        (folder / "server.py").write_text(SERVER)
        self.environment = tiny.clean_environment(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(self.index))

    def command(self, *arguments, python=BASE):
        return [str(python), "server.py", *arguments]

    def start(self, *arguments, python=BASE, **environment):
        return subprocess.run(
            self.command(*arguments, python=python),
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
        )

    def spawn(self):
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.command(), cwd=self.folder, env=self.environment, stdout=pipe, stderr=pipe, text=True
        )


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path / "a clone")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A clone that is installed already; tests leave its .venv usable, if not its stamp."""
    clone = Clone(tmp_path_factory.mktemp("shared") / "a clone")
    clone.first = clone.start("--flag", "a b")
    clone.stamp_text, clone.lock_text = clone.stamp.read_text(), clone.lock.read_text()
    return clone


@pytest.fixture
def installed(shared):
    yield shared
    shared.stamp.write_text(shared.stamp_text)
    shared.lock.write_text(shared.lock_text)


def test_first_start_installs_and_runs_the_same_command_in_venv(installed):
    assert installed.first.stdout == f"{installed.venv} 1.0 --flag a b\n"
    assert "Making" in installed.first.stderr and installed.first.stderr.endswith("Installed.\n")


def test_second_start_is_silent_and_takes_milliseconds(installed):
    again = installed.start(python=installed.venv / "bin/python" if os.name != "nt" else BASE)
    assert (again.stdout, again.stderr) == (f"{installed.venv} 1.0\n", "")
    assert float((installed.folder / "milliseconds.txt").read_text()) < 20


def test_changed_lock_is_installed_into_the_same_venv(installed):
    (installed.venv / "keep").touch()
    installed.lock.write_text(tiny.locked(tiny.make_wheel(installed.index, "tinyserver", "2.0")))
    started = installed.start()
    assert started.stdout == f"{installed.venv} 2.0\n" and "Making" not in started.stderr
    assert (installed.venv / "keep").exists()


def test_other_line_endings_are_the_same_lock(installed):
    installed.lock.write_bytes(installed.lock_text.replace("\n", "\r\n").encode())
    assert installed.start().stderr == ""


@pytest.mark.slow
def test_killed_installation_is_repaired_once_by_the_next_starts(clone):
    first = clone.spawn()
    first.stderr.readline()  # "Making ...": the environment is half there
    first.send_signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
    first.communicate()
    assert not clone.stamp.exists()
    starts = [clone.spawn(), clone.spawn()]
    outputs = [start.communicate() for start in starts]
    assert [output for output, _ in outputs] == [f"{clone.venv} 1.0\n"] * 2
    messages = "".join(errors for _, errors in outputs)
    assert messages.count("Making") == 1 and "waiting for it" in messages
    assert clone.start().stderr == ""


@pytest.mark.network
def test_uv_installs_where_the_lock_has_it_and_pip_what_uv_cannot(installed):
    """As from a wheel that only pip is told of."""
    uv = re.search(r"^uv==.*(\n .*)*\n", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE)[0]
    for version, options, installer in [("5.0", {"UV_FIND_LINKS": str(installed.index)}, "uv"), ("6.0", {}, "pip")]:
        installed.lock.write_text(tiny.locked(tiny.make_wheel(installed.index, "tinyserver", version)) + uv)
        assert installed.start(PIP_NO_INDEX="0", **options).stdout == f"{installed.venv} {version}\n"
        by = next(installed.venv.glob(f"[Ll]ib/**/tinyserver-{version}.dist-info/INSTALLER"))
        assert by.read_text().strip() == installer


@pytest.mark.slow
def test_broken_venv_is_rebuilt(installed):
    shutil.rmtree(next(installed.venv.glob("[Ll]ib/**/site-packages/pip")))
    if os.name == "nt":
        installed.stamp.unlink()
    else:  # the Python that it was made from has been removed
        (installed.venv / "bin/python").unlink()
        (installed.venv / "bin/python").symlink_to("/gone/python")
    assert installed.start().stdout == f"{installed.venv} 1.0\n"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows locks the running python.exe")
def test_venv_of_another_python_is_rebuilt_from_inside(installed):
    installed.stamp.write_text(installed.stamp.read_text().replace("python 3", "python 2"))
    started = installed.start(python=installed.venv / "bin/python")
    assert started.stdout == f"{installed.venv} 1.0\n" and "Making" in started.stderr


def refusal(process):
    """The message of a start that failed as it should: code 1, no traceback, nothing on stdout."""
    assert (process.returncode, process.stdout) == (1, "")
    assert "Traceback" not in process.stderr and process.stderr.count("stable-core: ") == 1
    return process.stderr


@pytest.mark.parametrize("version", ["3.6", "3.8", "3.9"])
def test_old_python_is_told_to_be_too_old(clone, version):
    found = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    if not found:
        pytest.skip(f"no Python {version} in pyenv")
    message = refusal(clone.start(python=found[0]))
    assert f"this is Python {version}" in message and "3.10 or newer" in message and "server.py" in message


def test_python_without_ensurepip_names_the_package_to_install(clone):
    hide = "import runpy, sys; sys.modules['ensurepip'] = None; runpy.run_path('server.py', run_name='__main__')"
    command = [BASE, "-c", hide]
    process = subprocess.run(command, cwd=clone.folder, env=clone.environment, capture_output=True, text=True)
    assert "apt install python3" in refusal(process) and not clone.venv.exists()


def test_unreachable_index_names_the_ways_out(installed):
    installed.lock.write_text(installed.lock_text.replace("1.0", "3.0"))
    nowhere = {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"}
    message = refusal(installed.start(**nowhere))
    assert "index cannot be reached" in message and "HTTPS_PROXY" in message and "PIP_INDEX_URL" in message


def test_wrong_hash_is_refused(installed):
    installed.lock.write_text(f"tinyserver==1.0 --hash=sha256:{'0' * 64}\n")
    # A package that is there already is not fetched and not compared.
    subprocess.run([installed.venv / "bin/python", "-m", "pip", "uninstall", "-qy", "tinyserver"], check=True)
    assert "not the one that the lock file names" in refusal(installed.start())


def test_package_without_a_build_for_this_python_is_named(installed):
    wheel = tiny.make_wheel(installed.index, "tinyold", tag="cp27-cp27m-win32")
    installed.lock.write_text(tiny.locked(wheel))
    message = refusal(installed.start())
    assert "tinyold==1.0" in message and "no such package for this system" in message


def test_full_disk_is_told_before_anything_is_written(clone):
    script = 'mount -t tmpfs -o size=9m tmpfs "$2"; cp -r "$1"/* "$2"; cd "$2"; "$3" server.py; exit $?'
    disk = clone.folder.parent / "disk"
    disk.mkdir()
    process = tiny.in_mount_namespace(script, clone.folder, disk, BASE, env=clone.environment)
    needed = bootstrap.SIZES["requirements.lock"][1] * bootstrap.MEGABYTE
    assert f"the disk of {disk} has " in refusal(process) and f"the installation needs {needed} " in process.stderr
    assert "Making" not in process.stderr


def test_folder_that_cannot_be_written_is_named(clone):
    script = 'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; cd "$1"; exec "$2" server.py'
    message = refusal(tiny.in_mount_namespace(script, clone.folder, BASE, env=clone.environment))
    assert str(clone.folder) in message and "cannot be written" in message


def test_code_lines_leave_out_blanks_comments_and_docstrings(tmp_path):
    file = tmp_path / "some.py"
    file.write_text(
        '"""Doc\nstring."""\n\n# comment\nx = """two\nlines"""\n\n\ndef f():\n    """Doc."""\n    return x  # two\n'
    )
    assert code_lines(file) == 4


@pytest.fixture
def alone(monkeypatch):
    """pytest starts without others' plugins, of which some take seconds."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def test_counts_of_a_run_are_those_of_pytest(tmp_path, alone):
    file = tmp_path / "test_some.py"
    file.write_text("import pytest\ndef test_a(): pass\ndef test_b(): assert 0\ndef test_c(): pytest.skip('why')\n")
    assert run(PYTEST, [str(file)], []) == (1, 1, 1, [])
    file.write_text("import nothing_of_that_name\n")
    assert run(PYTEST, [str(file)], []) == (0, 1, 0, [])


UNSTEADY = """
import pathlib, pytest

def first_time(name):
    file = pathlib.Path(__file__).with_name(name)
    new = not file.exists()
    file.touch()
    return new

@pytest.fixture(params=["a::b[c]"])
def ends_badly():
    yield
    assert not first_time("fixture"), "it hung"

def test_steady(): pass
def test_fixture(ends_badly): pass
def test_broken(): assert 0
class TestIn:
    def test_chance(self): assert not first_time("chance")
"""


def test_what_fails_in_a_whole_run_is_run_again_and_counted_apart(tmp_path, monkeypatch, alone):
    monkeypatch.setattr(of_tests, "ROOT", tmp_path)
    (tmp_path / "test_some.py").write_text(UNSTEADY)
    passed, failed, _, unsteady = run(PYTEST, ["test_some.py"], [], whole=True)
    assert (passed, failed) == (1, 1)
    hung, chance = unsteady
    assert hung.startswith("test_some.py::test_fixture[a::b[c]]: ") and "it hung" in hung
    assert chance.startswith("test_some.py::TestIn::test_chance: ") and "assert not True" in chance


def test_plugins_are_tested_beside_each_other_and_what_fails_again_when_all_have_ended(
    tmp_path, monkeypatch, alone, capfd
):
    monkeypatch.setattr(of_tests, "ROOT", tmp_path)
    monkeypatch.setattr(of_tests, "command_of", lambda plugin: None if plugin.name == "none" else PYTEST)
    plugins = [tmp_path / name for name in ("good", "none", "odd")]
    for plugin in plugins:
        (plugin / "tests").mkdir(parents=True)
        source = UNSTEADY if plugin.name == "odd" else "def test_fine(): print('fine')"
        (plugin / "tests" / f"test_{plugin.name}.py").write_text(source)
    parts = [(plugin.name, plugin, [str(plugin / "tests")]) for plugin in plugins]
    counts = list(of_tests.run_all(parts, []))
    assert sorted((each.passed, each.failed, len(each.unsteady)) for each in counts) == [
        (0, 1, 0),
        (1, 0, 0),
        (1, 1, 2),
    ]
    said = capfd.readouterr().out
    assert said.index("once more, alone") > max(said.index("\ngood\n"), said.index("\nodd\n"))
