"""The server process: what it imports, prints, refuses, and how it stops."""

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from core.rest import serving
from tests import warm
from tests.serving import ROOT, serve
from tests.wire import Wire

pytestmark = pytest.mark.usefixtures("cold")
HELLO = """
class Hello(Plugin):
    @job()
    def hello(self) -> Text:
        return "hello"
"""
INSPECT = """
import sys, time
from pathlib import Path
import eventlet
eventlet.monkey_patch()
import server
from core.ops.config import load

config = load(Path(sys.argv[1]), {"port": 0})
running = server.Server(config)
running.start()
running.plugins.load_all(print)
rows = running.scheduler.submit([{"job": "hello", "params": {}, "inputs": {}, "priority": "normal", "session": "s",
                                  "hold": False, "fresh": False, "embed_metadata": "full"}], "local")
while running.store.job(rows[0]["id"])["state"] != "done":
    time.sleep(0.02)
print("ready:", [name for name, each in running.catalogue.plugins.items() if each.status == "ready"])
print("torch:", [name for name in sys.modules if name.partition(".")[0] in ("torch", "numpy", "diffusers")])
print("plugins:", [name for name in sys.modules if "stable_core_plugin" in name or name.startswith("plugins")])
running.stop()
"""


def test_the_running_server_imports_neither_torch_nor_a_plugin():
    with serve({"hello": HELLO}) as server:
        server.stop()
        command = [sys.executable, "-W", "ignore", "-c", INSPECT, str(server.folder / "config.toml")]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "ready: ['hello']" in found.stdout, found.stdout + found.stderr
    assert "torch: []" in found.stdout and "plugins: []" in found.stdout


@pytest.mark.usefixtures("cold")
def test_the_server_loads_no_library_of_torch():
    with serve({"hello": HELLO}) as server, Wire(server) as wire:
        wire.ended(wire.submit("hello"))
        with open(f"/proc/{server.process.pid}/maps") as maps:
            assert "torch" not in maps.read()


@pytest.mark.usefixtures("cold")
def test_it_prints_version_address_devices_outputs_and_plugins():
    with serve({"hello": HELLO, "broken": "import nowhere"}) as server:
        assert f"http://127.0.0.1:{server.port}/?token={server.token}" in server.log
        for line in ("devices   cpu", "outputs   ", "plugin    hello: hello", "refused   broken: "):
            assert f"\n{line}" in server.log


@pytest.mark.usefixtures("cold")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_cleanly_within_five_seconds_with_a_job_running(number):
    source = HELLO.replace('return "hello"', 'time.sleep(60); return ""')
    with serve({"hello": source}) as server:
        with Wire(server) as wire:
            job = wire.submit("hello")
            wire.until(lambda: "running" in wire.states(job))
            before = time.monotonic()
            server.process.send_signal(number)
            assert server.process.wait(10) == 0 and time.monotonic() - before < 5
        assert server.log.rstrip().endswith("Stopping.")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all servers are cold")
def test_servers_that_are_forked_for_tests_are_like_those_that_are_started(monkeypatch):
    found = []
    for allowed in (False, True):
        monkeypatch.setattr(warm, "allowed", allowed)
        with serve({"hello": HELLO}) as server:
            files = os.listdir(f"/proc/{server.process.pid}/fd")
            handled = re.findall("Sig...:.*", Path(f"/proc/{server.process.pid}/status").read_text())
            server.kill()
            killed = server.process.returncode
            server.restart()
            said = re.sub(f"{server.folder}|{server.url}|{server.token}", "", server.log)
            found.append([said, len(files), handled, killed, server.stop()])
        assert warm.allowed == isinstance(server.process, warm.Process)
    assert found[0] == found[1] and found[1][3:] == [-signal.SIGKILL, 0]


def run_server(tmp_path, *flags, config=""):
    (tmp_path / "config.toml").write_text(config)
    command = [sys.executable, "server.py", "--config", str(tmp_path / "config.toml"), "--data", str(tmp_path / "data")]
    return subprocess.run([*command, *flags], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_taken_port_is_one_clear_message(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run_server(tmp_path, "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "cannot listen on 127.0.0.1 port" in done.stderr and "--port" in done.stderr


@pytest.mark.parametrize(
    "config, says",
    [
        ("prot = 1", "prot: Extra inputs are not permitted"),
        ("port = 99999", "port: Input should be less than or equal to 65535, got 99999"),
        ("port = ", "cannot read the settings"),
        ('durability = "maybe"', "durability: Input should be 'process' or 'power'"),
    ],
)
def test_bad_settings_are_told_by_name(tmp_path, config, says):
    done = run_server(tmp_path, config=config)
    assert done.returncode == 1 and says in done.stderr and "Traceback" not in done.stderr


def test_a_second_server_on_the_same_data_is_refused(tmp_path):
    with serve({"hello": HELLO}) as server:
        done = run_server(tmp_path, "--port", "0", "--data", str(server.folder / "data"))
        assert done.returncode == 1 and "another server uses the folder" in done.stderr and "--data" in done.stderr


def test_a_corrupt_queue_stops_the_start_with_a_way_out(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "jobs.db").write_bytes(b"garbage" * 1000)
    done = run_server(tmp_path, "--port", "0")
    assert done.returncode == 1 and "move the file away" in done.stderr and "Traceback" not in done.stderr


def test_a_setting_overrides_defaults_and_bounds_of_a_plugin():
    source = textwrap.dedent("""
    class P(Params):
        size: int = param(1, ge=1, le=8, help="Size.")
    class Sized(Plugin):
        @job()
        def sized(self, params: P) -> Text:
            return str(params.size)
    """)
    with serve({"sized": source}, overrides={"sized.sized": {"size": {"default": 3, "maximum": 4}}}) as server:
        with Wire(server) as wire:
            assert wire.text(wire.ended(wire.submit("sized"))["outputs"][0]) == "3"
            assert wire.call("submit", {"job": "sized", "params": {"size": 5}})["error"]["field"] == "size"


TILED = """
class S(Params):
    tile: int = param(256, ge=64, help="Side of a tile.")
    dtype: Literal["float16", "float32"] = param("float16", help="Kind of numbers.")
class Tiled(Plugin):
    settings: S
    @job()
    def tiled(self) -> Text:
        return f"{self.settings.tile} {self.settings.dtype}"
    @job(light=True)
    def side(self) -> Text:
        return self.tiled()
    def plan(self, job, params, inputs):
        return {"outputs": [{"tile": self.settings.tile}]}
"""


def test_settings_of_a_plugin_are_there_in_all_its_processes():
    source = f"from typing import Literal\n{TILED}"
    with serve({"tiled": source}, plugin_settings={"tiled": {"tile": 512}}) as server, Wire(server) as wire:
        assert wire.text(wire.ended(wire.submit("tiled"))["outputs"][0]) == "512 float16"
        assert wire.call("call", {"job": "side"})["outputs"] == ["512 float16"]
        assert wire.call("plan", {"job": "tiled"})["plan"]["outputs"] == [{"tile": 512}]
        schema = wire.call("plugins")["plugins"][0]["settings"]
        assert schema["properties"]["tile"] == {
            "default": 256, "description": "Side of a tile.", "minimum": 64, "title": "Tile", "type": "integer",
        }  # fmt: skip


def test_wrong_settings_refuse_their_plugin_alone_and_are_told_at_once():
    given = {"tiled": {"tile": 3, "dtipe": "float32"}, "helo": {"x": 1}}
    plugins = {"tiled": f"from typing import Literal\n{TILED}", "hello": HELLO}
    with serve(plugins, plugin_settings=given) as server, Wire(server) as wire:
        ready, refused = wire.call("plugins")["plugins"]
        assert (ready["name"], ready["status"], refused["status"]) == ("hello", "ready", "refused")
        assert refused["error"] == (
            "plugin_settings.tiled in config.toml: dtipe is not a setting. Did you mean dtype? "
            "tile: 3 is less than the minimum of 64."
        )
        assert "config.toml has settings for helo, which is no plugin. Did you mean hello?" in server.log


def test_settings_have_to_be_annotated_with_params():
    source = "class P(Plugin):\n    settings: dict\n    @job()\n    def p(self) -> Text:\n        return ''"
    with serve({"p": source}) as server, Wire(server) as wire:
        refused = wire.call("plugins")["plugins"][0]
        assert "annotate settings with a subclass of Params, not <class 'dict'>." in refused["error"]


def test_the_token_is_readable_by_its_user_alone():
    with serve({"hello": HELLO}) as server:
        path = server.folder / "config" / "stable-core" / "token"
        assert path.read_text().strip() == server.token
        assert os.name != "posix" or path.stat().st_mode & 0o777 == 0o600


def test_pictures_appear_in_the_outputs_folder_with_their_metadata():
    source = """
    import PIL.Image
    class P(Params):
        prompt: str = param("red", help="Colour.")
    class Draw(Plugin):
        @job()
        def draw(self, params: P) -> Image:
            facts = {"seed": 5, "infotext": f"{params.prompt}\\nSteps: 1, Seed: 5"}
            return Result(PIL.Image.new("RGB", (8, 8), params.prompt), facts)
    """
    import io
    import json

    import PIL.Image

    with serve({"draw": source}) as server, Wire(server) as wire:
        texts = {}
        for embed in ("full", "minimal", "none"):
            job = wire.submit("draw", {"prompt": "red"}, embed_metadata=embed)
            output = wire.ended(job)["outputs"][0]
            texts[embed] = PIL.Image.open(io.BytesIO(wire.download(output).content)).text
            assert wire.call("artifact", {"id": output})["artifact"]["facts"]["seed"] == 5
        files = wire.until(
            lambda: len(found := sorted(server.folder.glob("outputs/*/*-draw-5-red-*.png"))) == 3 and found
        )
    assert texts["none"] == {} and json.loads(texts["minimal"]["stable-core"]).keys() == {"artifact"}
    assert texts["full"]["parameters"] == "red\nSteps: 1, Seed: 5"
    record = json.loads(texts["full"]["stable-core"])
    assert record["name"] == "draw.draw" and record["params"] == {"prompt": "red"}
    assert len(files) == 3


@pytest.mark.parametrize("offset", range(5))
@pytest.mark.parametrize("length", [0, 1, 3, 4, 1000])
def test_taking_the_mask_off_is_the_xor_of_rfc_6455(length, offset):
    data, mask = bytes(range(256)) * 4, (1, 200, 33, 255)
    naive = bytes(byte ^ mask[(offset + place) % 4] for place, byte in enumerate(data[:length]))
    assert serving.unmask(data[:length], mask, length, offset) == naive


def test_socket_that_is_closed_already_is_shut_down_in_silence():
    near, far = socket.socketpair()
    far.close()
    near.close()
    serving.Buffered(near).shutdown(socket.SHUT_WR)
