"""What every test gets: no settings of the person who runs it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.ops import webclient
from tests import order, warm
from tests.serving import ROOT, serve
from tests.shell import in_process

FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]


def pytest_configure():
    """Several threads of one small network wait for each other wherever other tests take the cores."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.dont_write_bytecode = False  # to prepare the asserts of all files takes each lane 4 s, if no other has done it


def pytest_collection_finish():
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """The files that use `artist` go to one lane: each lane makes its own."""
    from xdist.scheduler import LoadFileScheduling

    class Together(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "artist" if order.ARTIST.search((ROOT / file).read_text("utf-8")) else file

    return Together(config, log) if config.option.dist == "loadfile" else None


@pytest.fixture(scope="session", autouse=True)
def lean():
    """Processes import what they import at users', see tests/lean."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parent / "lean")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path_factory):
    """Neither the tests nor the processes they start see this user's token or server."""
    for name in ("STABLE_CORE_URL", "STABLE_CORE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))


@pytest.fixture
def cold(monkeypatch):
    """Servers start as users start theirs, not as tests/warm.py does."""
    monkeypatch.setattr(warm, "allowed", False)


@pytest.fixture(scope="session")
def artist():
    """A server that draws, and does all else with pictures, for tests of all files that leave it as it is: its workers
    take seconds to load torch. It has the full page, where that can be built."""
    names = ["stable_diffusion", "text", "upscale", "faces", "interrogate", "prompts", "color"]
    names += ["batch", "explore", "flows", "isi", "sequence", "sheets", "sweeps"]
    with serve({name: ROOT / "plugins" / name for name in names}, web="auto") as server:
        yield server


@pytest.fixture(scope="session")
def web():
    """The folder of the full page, built from clients/web: servers of serve(..., web="auto") have it at /."""
    return webclient.build(ROOT, ROOT / ".envs", print)


@pytest.fixture
def cli(server, monkeypatch):
    """cli(words, stdin=...) carries out a line of the command line on the test file's `server`, in this process, which
    is quicker than to start one; returns stdout, stderr and returncode."""
    monkeypatch.setenv("COLUMNS", "100")
    with server.client() as client:
        yield lambda *words, **options: in_process(client, *words, **options)


@pytest.fixture(scope="module")
def browser():
    """A real Chromium, installed if this machine has none and can; best the one that has no windows, which takes two
    thirds of the time."""
    playwright = pytest.importorskip("playwright.sync_api")
    names = [f"chromium{rest}" for rest in ("-headless-shell", "", "-browser")]
    names += ["google-chrome", "google-chrome-stable", "chrome"]
    find = lambda: next(filter(None, map(shutil.which, names)), None)  # noqa: E731
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if root and shutil.which("apt-get"):
        for command in ("update", f"install {names[0]}", f"install {names[1]}"):
            if not find():
                words = [*"apt-get -y --no-install-recommends -o DPkg::Lock::Timeout=300".split(), *command.split()]
                quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
                subprocess.run(words, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, **quiet)
    if not find():
        pytest.skip("no Chromium was found: install it, on Debian with apt-get install chromium")
    with playwright.sync_playwright() as driver:
        flags = FLAGS + (["--no-sandbox"] if root else [])  # Chromium's sandbox does not work for root
        browser = driver.chromium.launch(executable_path=find(), args=flags)
        yield browser
        browser.close()
