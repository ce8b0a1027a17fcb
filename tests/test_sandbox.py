"""Plugins in a sandbox: they do their work, and what they try against the machine, the server and others fails."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.ops import jail, sandbox
from tests.serving import ROOT, serve, wait_until

ATTACKER = """
    import os, subprocess, sys

    class Attacker(Plugin):
        @job()
        def try_it(self, text: Text, ctx: Context) -> Text:
            \"\"\"Carry out Python code, and tell what it printed or how it failed.\"\"\"
            done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
            return done.stdout + done.stderr

        @job()
        def turn(self, image: Image) -> Image:
            return image.rotate(90, expand=True)

        @job()
        def pry(self, text: Text, ctx: Context) -> Json:
            # What only programs may ask for: other results of the owner, other jobs, lineage, values kept.
            from core.library.children import Artifact

            other = Artifact("x", "text", text)
            tried = {
                "read": lambda: ctx.read(other), "submit": lambda: ctx.submit("turn"),
                "lineage": lambda: ctx.lineage(other), "once": lambda: ctx.once("a", lambda: 1),
            }
            told = {}
            for name, act in tried.items():
                try:
                    told[name] = f"did: {act()}"
                except Exception as error:
                    told[name] = error.code()
            return told

        @job(light=True)
        def count(self, text: Text) -> Json:
            return len(text)

        @job(program=True)
        def twice(self, text: Text, ctx: Context) -> list[Text]:
            first, = ctx.gather([ctx.submit("try_it", inputs={"text": text}, key="a")])
            return [first.outputs[0], "read: " + ctx.read(first.outputs[0])]

        @job()
        def stay(self, ctx: Context) -> Text:
            os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "1234.5")
            ctx.progress(0, 1, "stays")
            time.sleep(600)
"""


@pytest.fixture(scope="module")
def bubblewrap():
    """bubblewrap, installed if this machine has none and can."""
    if not shutil.which("bwrap") and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in ("update", "install -y --no-install-recommends bubblewrap"):
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            subprocess.run(
                ["apt-get", *command.split()], env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, **quiet
            )
    sandbox.problem.cache_clear()
    if problem := sandbox.problem():
        pytest.skip(f"no sandbox can be made: {problem}")


def prepare(folder):
    """A models folder with a model, a link to one elsewhere, and one to where nothing inside should get."""
    models = folder / "models" / "lora"
    models.mkdir(parents=True)
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "far.safetensors").write_text("far")
    (models / "near.safetensors").write_text("near")
    (models / "far.safetensors").symlink_to(folder / "elsewhere" / "far.safetensors")


@pytest.fixture(scope="module")
def server(bubblewrap):
    with serve({"attacker": ATTACKER}, prepare, sandbox="on") as server:
        yield server


@pytest.fixture
def attempt(server):
    """What Python code, which runs inside, says."""
    with server.client() as client:
        yield lambda code: client.run("try_it", text=client.upload(code, kind="text"))[0].text()


def test_jobs_light_jobs_and_programs_work_in_a_sandbox(server):
    import PIL.Image

    with server.client() as client:
        text = client.upload("print(6 * 7)", kind="text")
        assert client.run("turn", image=PIL.Image.new("RGB", (30, 20)))[0].image().size == (20, 30)
        assert client.light("count", inputs={"text": text.id}) == [12]
        assert [each.text() for each in client.run("twice", text=text)] == ["42\n", "read: 42\n"]
        assert client.plugins()[0]["sandbox"] is True
    words = [sys.executable, "-m", "clients.cli", "plugins", "--url", server.url, "--token", server.token]
    assert "ready, in a sandbox" in subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout


def test_nothing_of_the_person_or_the_server_can_be_read(server, attempt):
    secrets = [server.folder / "config" / "stable-core" / "token", server.folder / "data" / "jobs.db"]
    secrets += [server.folder / "config.toml", server.folder / "data" / "blobs", "/etc/passwd", "/etc/shadow"]
    secrets += [os.path.expanduser("~/.ssh"), os.path.expanduser("~/.bashrc"), f"/proc/{server.process.pid}/environ"]
    assert all(os.path.exists(each) for each in secrets[:4])
    assert attempt(f"import os; print([each for each in {[*map(str, secrets)]} if os.path.exists(each)])") == "[]\n"
    told = attempt("import os; print(sorted(os.environ))")
    assert "XDG_CONFIG_HOME" not in told and "PYTEST_CURRENT_TEST" not in told and "PATH" in told


def test_nothing_outside_can_be_reached(server, attempt):
    reach = "import socket; socket.create_connection(({!r}, {}), 2)"
    assert "refused" in attempt(reach.format("127.0.0.1", server.port))
    assert "unreachable" in attempt(reach.format("1.1.1.1", 443))
    assert "resolution" in attempt(reach.format("example.org", 443))


def test_the_door_tells_only_what_belongs_to_the_worker(server, attempt):
    with server.client() as client:
        client.upload("a secret", kind="text")
    ask = """
import socket
door = socket.socket(socket.AF_UNIX)
door.connect("/run/stable-core.sock")
door.sendall(b"GET {} HTTP/1.0\\r\\nHost: localhost\\r\\nAuthorization: Bearer {}\\r\\n\\r\\n")
print(door.recv(4000).decode())
"""
    secret = "0" * 64
    assert "401" in attempt(ask.format(f"/blobs/{secret}", "guessed")).splitlines()[0]
    assert "404" in attempt(ask.format("/api/v1/jobs", "guessed")).splitlines()[0]


def test_a_job_that_is_no_program_gets_nothing_of_its_owner_but_its_inputs(server):
    with server.client() as client:
        secret = client.upload("a secret of the owner", kind="text").record["sha256"]
        told = client.run("pry", text=client.upload(secret, kind="text"))[0].text()
    refused = dict.fromkeys(("submit", "lineage", "once"), "forbidden")
    assert json.loads(told) == {"read": "unknown_artifact"} | refused


def test_nothing_outside_can_be_written(server, attempt):
    near = server.folder / "models" / "lora" / "near.safetensors"
    places = [near, near.parent / "new", server.folder / "plugins" / "attacker" / "__init__.py", "/usr/new", "/new"]
    places += [os.path.abspath("core/worker.py"), "/sys/devices/system/cpu/online", "/proc/sysrq-trigger", "/dev/new"]
    code = """
for place in {}:
    try:
        open(place, "a").close()
        print("opened", place)
    except OSError as error:
        print(error.strerror)
"""
    said = attempt(code.format([*map(str, places)]))
    assert "opened" not in said and len(said.splitlines()) == len(places)
    assert near.read_text() == "near"


def test_models_that_links_lead_to_are_there(server, attempt):
    far = server.folder / "models" / "lora" / "far.safetensors"
    assert attempt(f"print(open({str(far)!r}).read())") == "far\n"
    assert "Read-only" in attempt(f"open({str(far)!r}, 'a')")


def test_links_that_a_plugin_has_left_lead_no_sandbox_anywhere(tmp_path):
    """Whose writes plugin.toml has named once, another release of it, or another plugin, would read there."""
    models = tmp_path / "models"
    for kind in ("lora", "vae"):
        (models / kind).mkdir(parents=True)
        (tmp_path / f"far of {kind}").touch()
        (models / kind / "link").symlink_to(tmp_path / f"far of {kind}")
    sandbox.note_written(models, ["lora"])
    sandbox.note_written(models, ["embedding"])
    spec = json.loads(sandbox.command(["true"], models=[models])[-1])
    assert sorted(Path(each).name for each in spec["strange"]) == ["embedding", "lora"]
    led_to = jail._led_to(spec["models"], [], spec["strange"])
    assert [link for link, _ in led_to] == [str(tmp_path / "far of vae")]


def test_the_disk_cannot_be_filled(attempt):
    ask = "import os; print([(about := os.statvfs(each)).f_blocks * about.f_frsize for each in ('/tmp', '/dev/shm')])"
    assert max(json.loads(attempt(ask))) <= jail.FILES_BYTES


def test_other_processes_are_out_of_reach(server, attempt):
    assert attempt(f"import os; os.kill({server.process.pid}, 9)").strip().endswith("No such process")
    assert attempt("import os; print(len([each for each in os.listdir('/proc') if each.isdigit()]) < 10)") == "True\n"
    assert "Error" in attempt("import os; os.unshare(os.CLONE_NEWUSER)") or not hasattr(os, "unshare")
    assert server.process.poll() is None


def test_processes_are_bounded(bubblewrap):
    fork = f"""
import os, signal, time
try:
    for k in range({jail.PROCESSES}):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
except BlockingIOError:
    print("refused after", k)
os.kill(-1, signal.SIGKILL)
"""
    words = [os.path.realpath(sys.executable), "-I", "-S", "-u", "-c", fork]
    said = subprocess.run(sandbox.command(words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert said.stdout.startswith("refused after"), said


def test_all_inside_ends_with_the_server(server):
    with server.client() as client:
        job = client.submit("stay")
        wait_until(lambda: running("sleep 1234.5"))
        assert job.state in ("queued", "running")
    server.kill()
    wait_until(lambda: not running("sleep 1234.5"))
    server.start()


def running(words):
    return subprocess.run(["pgrep", "-f", words], stdout=subprocess.DEVNULL).returncode == 0
